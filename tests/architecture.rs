//! The house against its plan: which folder of `src/` imports which, and where `unsafe` may stand.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each part of `src/`, and the parts that it may import (`ARCHITECTURE.md` says why).
const MAY_IMPORT: [(&str, &[&str]); 18] = [
    ("sync", &[]),
    ("vector", &[]),
    ("metric", &[]),
    ("observe", &[]),
    ("guard", &[]),
    ("process", &["guard"]),
    ("threads", &["process"]),
    ("error", &["metric", "vector"]),
    ("simd", &["vector"]),
    ("distance", &["error", "metric", "simd", "vector"]),
    ("quantization", &["distance", "error", "metric", "simd", "threads", "vector"]),
    ("arena", &["simd", "sync"]),
    ("graph", &["arena", "sync"]),
    ("store", &["guard", "observe", "process"]),
    (
        "index",
        &[
            "arena",
            "distance",
            "error",
            "graph",
            "metric",
            "observe",
            "process",
            "quantization",
            "simd",
            "sync",
            "threads",
            "vector",
        ],
    ),
    (
        "collection",
        &[
            "arena",
            "error",
            "graph",
            "guard",
            "index",
            "metric",
            "observe",
            "quantization",
            "simd",
            "store",
            "vector",
        ],
    ),
    ("unwind", &["collection", "index", "store"]),
    ("dataset", &["distance", "error", "metric", "vector"]),
];

/// Folders and files in which `unsafe` may stand.
const MAY_BE_UNSAFE: [&str; 8] = [
    "simd/",
    "arena/",
    "dataset/map.rs",
    "index/maintain.rs",
    "process.rs",
    "store/map.rs",
    "store/frames.rs",
    "store/storage/range_lock/",
];

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// Every source file: its path below `src/`, and its text.
fn sources() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    files(&src, &mut paths);
    let name = |path: &Path| {
        let parts: Vec<_> =
            path.strip_prefix(&src).unwrap().iter().map(|p| p.to_str().unwrap()).collect();
        parts.join("/")
    };
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The part of the house that a file belongs to.
fn part(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap()
}

/// A line of code without its comment; tests may look further than the code they test.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let tests = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    let lines = text[..tests].lines().enumerate();
    lines.map(|(i, line)| (i + 1, line.split("//").next().unwrap()))
}

/// The names that follow `crate::` in a line, those within braces too.
fn imports(line: &str) -> BTreeSet<&str> {
    let word =
        |text: &str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let mut found = BTreeSet::new();
    for rest in line.split("crate::").skip(1) {
        if let Some(group) = rest.strip_prefix('{') {
            // Only the first level: `{arena::{A, B}, graph::C}`.
            let mut depth = 0;
            let mut start = 0;
            for (at, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth > 0 => depth -= 1,
                    ',' | '}' if depth == 0 => {
                        let name = group[start..at].trim();
                        found.insert(&name[..word(name)]);
                        start = at + 1;
                        if c == '}' {
                            break;
                        }
                    }
                    _ => (),
                }
            }
        } else {
            found.insert(&rest[..word(rest)]);
        }
    }
    found.remove("");
    found
}

/// Crossed borders of the files given.
fn crossed(sources: &[(String, String)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (file, text) in sources {
        let own = part(file);
        if own == "lib" || file.ends_with("tests.rs") {
            continue;
        }
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == own) else {
            wrong.push(format!("{file}: a part that the plan does not know"));
            continue;
        };
        for (number, line) in code(text) {
            for name in imports(line) {
                let is_part = MAY_IMPORT.iter().any(|(part, _)| *part == name);
                if is_part && name != own && !allowed.contains(&name) {
                    wrong.push(format!("{file}:{number}: {own} imports {name}"));
                }
                if !is_part {
                    wrong.push(format!("{file}:{number}: {name} is taken from the root"));
                }
            }
        }
    }
    wrong
}

/// Places of `unsafe` outside the folders that may have it, and blocks without a reason.
fn unguarded(sources: &[(String, String)]) -> Vec<String> {
    let is_unsafe = |line: &str| {
        line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
    };
    let mut wrong = Vec::new();
    for (file, text) in sources {
        let allowed = MAY_BE_UNSAFE.iter().any(|place| file.starts_with(place));
        for (number, line) in code(text) {
            if is_unsafe(line) && !allowed {
                wrong.push(format!("{file}:{number}: unsafe outside its places"));
            }
            if line.contains("allow(unsafe_code") {
                wrong.push(format!(
                    "{file}:{number}: unsafe is expected with a reason, not allowed"
                ));
            }
        }
    }
    wrong
}

/// Closures among the kernels of an instruction set. A function inlines into the one that has the set's instructions switched on because
/// it must; a closure does if the compiler likes, and where it does not, each intrinsic in it is a call.
fn closures(sources: &[(String, String)]) -> Vec<String> {
    let kernels = ["avx2.rs", "avx512.rs", "neon.rs", "hadamard.rs"];
    let mut wrong = Vec::new();
    for (file, text) in sources {
        let name = file.strip_prefix("simd/").and_then(|path| path.rsplit('/').next());
        if !name.is_some_and(|name| kernels.contains(&name)) {
            continue;
        }
        for (number, line) in code(text) {
            if ["= |", "(|", ", |", "move |", "{ |"].iter().any(|begin| line.contains(begin)) {
                wrong.push(format!("{file}:{number}: a closure among kernels"));
            }
        }
    }
    wrong
}

/// Files that divide work by rayon without looking first whether its threads are there. `index/merge.rs` does so for the graph.
fn threadless(sources: &[(String, String)]) -> Vec<&str> {
    let divides = |line: &str| {
        let ways = [".par_", ".into_par_", "rayon::join", "rayon::scope", "rayon::spawn"];
        ways.iter().any(|way| line.contains(way))
    };
    let looks = |line: &str| line.contains("with_threads(") || line.contains("threads.run(");
    let files = sources.iter().filter(|(file, _)| !["graph", "threads"].contains(&part(file)));
    let wrong = files.filter(|(_, text)| {
        code(text).any(|(_, line)| divides(line)) && !code(text).any(|(_, line)| looks(line))
    });
    wrong.map(|(file, _)| file.as_str()).collect()
}

#[test]
fn work_is_divided_among_threads_that_are_there() {
    assert_eq!(threadless(&sources()), [""; 0]);
}

#[test]
fn kernels_are_functions() {
    assert_eq!(closures(&sources()), [""; 0]);
}

#[test]
fn folders_import_what_the_plan_names() {
    let sources = sources();
    assert!(sources.len() > 30, "{}", sources.len());
    let wrong = crossed(&sources);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_stands_where_the_plan_names() {
    let wrong = unguarded(&sources());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_models_drive_takes_its_locks_from_sync() {
    // A lock of another kind would block the thread on which a model runs all of its own.
    for (file, text) in sources() {
        if ["arena", "graph", "index"].contains(&part(&file)) {
            let taken = code(&text).find(|(_, line)| {
                ["parking_lot", "crossbeam::epoch", "thread::sleep"]
                    .iter()
                    .any(|p| line.contains(p))
            });
            assert_eq!(taken, None, "{file}");
        }
    }
}

#[test]
fn the_plan_has_no_cycle() {
    // Parts leave the list once all that they import has left: a cycle would never.
    let mut left: Vec<_> = MAY_IMPORT.iter().collect();
    while !left.is_empty() {
        let before = left.len();
        let names: BTreeSet<_> = left.iter().map(|(name, _)| *name).collect();
        left.retain(|(_, imports)| imports.iter().any(|import| names.contains(import)));
        assert!(left.len() < before, "{left:?}");
    }
}

#[test]
fn sources_are_ascii_and_short() {
    for (file, text) in sources() {
        assert!(text.is_ascii(), "{file}");
        let lines = text.lines().count();
        assert!(lines <= 600, "{file}: {lines} lines");
    }
}

#[test]
fn a_crossed_border_is_seen() {
    let file = |name: &str, text: &str| vec![(name.to_owned(), text.to_owned())];
    assert_eq!(crossed(&file("graph/walk.rs", "use crate::arena::Pool;\n")).len(), 0);
    assert_eq!(crossed(&file("graph/walk.rs", "use crate::index::Hnsw;\n")).len(), 1);
    assert_eq!(crossed(&file("graph/walk.rs", "let x = crate::{arena::{A, B}, index};")).len(), 1);
    assert_eq!(crossed(&file("graph/walk.rs", "// crate::index\n")).len(), 0);
    assert_eq!(crossed(&file("graph/walk.rs", "use crate::Metric;\n")).len(), 1);
    assert_eq!(crossed(&file("new/mod.rs", "")).len(), 1);
    assert_eq!(unguarded(&file("index/a.rs", "unsafe { x() }")).len(), 1);
    assert_eq!(unguarded(&file("simd/a.rs", "unsafe { x() }")).len(), 0);
    assert_eq!(unguarded(&file("index/a.rs", "unsafe_code // unsafe")).len(), 0);
    assert_eq!(threadless(&file("index/a.rs", "rows.par_chunks(2);")), ["index/a.rs"]);
    assert_eq!(threadless(&file("index/a.rs", "with_threads(|| rows.par_chunks(2));")).len(), 0);
    assert_eq!(closures(&file("simd/avx2.rs", "let half = |acc, second| {")).len(), 1);
    assert_eq!(closures(&file("simd/neon.rs", "from_fn(|i| a[i] | b[i]) // |i|")).len(), 1);
    assert_eq!(closures(&file("simd/avx2.rs", "let x = a | b; // |i|")).len(), 0);
    assert_eq!(closures(&file("simd/tests.rs", "from_fn(|i| a[i])")).len(), 0);
}
