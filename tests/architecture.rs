//! The house against its plan: which folder of `src/` imports which, which room of a folder, and where `unsafe` may stand.

use std::collections::{BTreeMap, BTreeSet};
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

/// Rooms: the files and folders within a folder of `src/`, and the rooms beside them that each may import.
type Rooms = &'static [(&'static str, &'static [&'static str])];

/// The folders whose rooms have walls.
const ROOMS: [(&str, Rooms); 4] = [
    ("collection", COLLECTION),
    ("graph", GRAPH),
    ("quantization", QUANTIZATION),
    ("store", STORE),
];

/// The `mod.rs` of each room says what the room has.
const COLLECTION: Rooms = &[
    ("error", &[]),
    ("format", &["error"]),
    ("config", &["error", "format"]),
    ("progress", &["error"]),
    ("columns", &["error", "format", "progress"]),
    ("saving", &["columns", "error", "format", "progress"]),
    ("reading", &["columns", "error", "format"]),
    ("writing", &["columns", "config", "error", "format", "progress", "reading"]),
    (
        "maintenance",
        &["columns", "config", "error", "format", "progress", "reading", "saving", "writing"],
    ),
];

/// `graph/mod.rs` says what the graph promises, and the `mod.rs` of each room what the room has.
const GRAPH: Rooms = &[
    ("space", &[]),
    ("rows", &["space"]),
    ("search", &["rows", "space"]),
    ("link", &["rows", "search", "space"]),
    ("removal", &["rows", "search", "space"]),
    ("merge", &["rows", "search", "space"]),
];

/// Quantizers know no other quantizer; the coder of an index chooses among them.
const QUANTIZATION: Rooms = &[
    ("error", &[]),
    ("math", &[]),
    ("quantizer", &["error"]),
    ("admit", &["error", "quantizer"]),
    ("bytes", &["admit", "error"]),
    ("scalar", &["admit", "bytes", "error", "math", "quantizer"]),
    ("product", &["admit", "bytes", "error", "math", "quantizer"]),
    ("rabitq", &["admit", "bytes", "error", "math", "quantizer"]),
    ("coder", &["admit", "product", "quantizer", "rabitq", "scalar"]),
];

/// `store/mod.rs` says what a store is, and the `mod.rs` of each room what the room has.
const STORE: Rooms = &[
    ("turn", &[]),
    ("error", &["turn"]),
    ("key", &[]),
    ("progress", &["error"]),
    ("disk", &["error"]),
    ("format", &["disk", "error"]),
    ("pages", &["disk", "error", "format", "progress", "turn"]),
    ("tree", &["error", "format", "pages"]),
    ("durability", &["disk", "error", "format", "pages", "tree"]),
    ("transaction", &["disk", "durability", "error", "format", "key", "pages", "tree"]),
    (
        "maintenance",
        &[
            "disk",
            "durability",
            "error",
            "format",
            "key",
            "pages",
            "progress",
            "transaction",
            "tree",
        ],
    ),
    (
        "opening",
        &[
            "disk",
            "durability",
            "error",
            "format",
            "maintenance",
            "pages",
            "progress",
            "transaction",
        ],
    ),
];

/// Imports between rooms that the tables above do not allow, and the reasons why they are there yet: file, imported room, reason.
const UPWARD: [(&str, &str, &str); 0] = [];

/// Folders that are not divided into rooms yet.
const FLAT: [&str; 1] = ["index"];

/// Source files in a folder at most.
const MOST_FILES: usize = 15;

/// Folders and files in which `unsafe` may stand.
const MAY_BE_UNSAFE: [&str; 8] = [
    "simd/",
    "arena/",
    "dataset/map.rs",
    "index/maintain.rs",
    "process.rs",
    "store/disk/map.rs",
    "store/pages/frames.rs",
    "store/disk/range_lock/",
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

/// The lines of code with their numbers, without comments; tests may look further than the code they test.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let tests = text.find("\nmod tests {").unwrap_or(text.len());
    let lines = text[..tests].lines().enumerate();
    lines.map(|(i, line)| (i + 1, line.split("//").next().unwrap()))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Reads a path, or the tree of paths in a `use`, from the head of `text`. Adds each path below `before` to `found`, and returns the rest.
fn read_tree<'t>(text: &'t str, before: &[&'t str], found: &mut Vec<Vec<&'t str>>) -> &'t str {
    let mut rest = text.trim_start();
    let mut path = before.to_vec();
    loop {
        if let Some(mut group) = rest.strip_prefix('{') {
            loop {
                group = read_tree(group, &path, found).trim_start();
                match group.strip_prefix(',') {
                    Some(next) => group = next,
                    None => return group.strip_prefix('}').unwrap_or(group),
                }
            }
        }
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if end > 0 {
            path.push(&rest[..end]);
        }
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(next) => rest = next.trim_start(),
            None => break,
        }
    }
    // The other name in `a as b`, or the star of `a::*`.
    let end = rest.find([',', '}', ';']).unwrap_or(rest.len());
    if path.len() > before.len() {
        found.push(path);
    }
    if before.is_empty() { rest } else { &rest[end..] }
}

/// The number of modules written out in the code that are still open at its end.
fn open_modules(code: &str) -> usize {
    let begins = code.match_indices("mod ").filter(|(at, _)| !code[..*at].ends_with(is_word));
    let bodies = begins.filter_map(|(at, head)| {
        let name = &code[at + head.len()..];
        name.trim_start_matches(is_word).strip_prefix(" {")
    });
    bodies.filter(|body| body.matches('}').count() <= body.matches('{').count()).count()
}

/// The paths in the code of a file that begin at the crate or at a module around the file, from the crate on, with their lines.
fn paths(file: &str, text: &str) -> Vec<(usize, Vec<String>)> {
    let code: String = code(text).map(|(_, line)| line.to_owned() + "\n").collect();
    let file = file.strip_suffix(".rs").unwrap();
    let own: Vec<_> = file.strip_suffix("/mod").unwrap_or(file).split('/').collect();
    let mut all = Vec::new();
    let mut at = 0;
    while let Some(begin) =
        ["crate::", "super::"].iter().filter_map(|head| code[at..].find(head)).min()
    {
        let begin = at + begin;
        at = begin + "crate::".len();
        if code[..begin].ends_with(is_word) || code[..begin].ends_with("pub(in ") {
            continue;
        }
        let mut found = Vec::new();
        let rest = read_tree(&code[begin..], &[], &mut found);
        at = at.max(code.len() - rest.len());
        let line = code[..begin].matches('\n').count() + 1;
        for path in found {
            let up = path.iter().take_while(|name| **name == "super").count();
            let names = if up == 0 { 1 } else { up };
            let up = up.saturating_sub(open_modules(&code[..begin]));
            let base = if path[0] == "crate" { &[] } else { &own[..own.len().saturating_sub(up)] };
            let path = base.iter().chain(&path[names..]).map(|name| (*name).to_owned()).collect();
            all.push((line, path));
        }
    }
    all
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
        for (number, path) in paths(file, text) {
            let Some(name) = path.first() else { continue };
            let is_part = MAY_IMPORT.iter().any(|(part, _)| part == name);
            if is_part && name != own && !allowed.contains(&name.as_str()) {
                wrong.push(format!("{file}:{number}: {own} imports {name}"));
            }
            if !is_part {
                wrong.push(format!("{file}:{number}: {name} is taken from the root"));
            }
        }
    }
    wrong
}

/// The room that a file belongs to, within its folder; none for the folder's own `mod.rs`, which is above its rooms.
fn room(file: &str) -> Option<&str> {
    file.split(['/', '.']).nth(1).filter(|room| *room != "mod")
}

/// The arrows between the rooms of one folder: file and line, own room, room that is imported.
fn arrows(folder: &str, sources: &[(String, String)]) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for (file, text) in sources {
        let Some(own) = room(file) else { continue };
        if part(file) != folder || file.ends_with("tests.rs") {
            continue;
        }
        for (number, path) in paths(file, text) {
            if path.first().is_some_and(|name| name == folder) {
                let other = path.get(1).map_or("", String::as_str);
                if other != own {
                    all.push((format!("{file}:{number}"), own.to_owned(), other.to_owned()));
                }
            }
        }
    }
    all
}

/// Crossed walls within the folders that have rooms.
fn crossed_walls(
    sources: &[(String, String)],
    table: &[(&str, Rooms)],
    upward: &[(&str, &str, &str)],
) -> Vec<String> {
    let mut wrong = Vec::new();
    for &(folder, rooms) in table {
        for (file, _) in sources {
            if part(file) == folder
                && let Some(own) = room(file)
                && !file.ends_with("tests.rs")
                && !rooms.iter().any(|(room, _)| *room == own)
            {
                wrong.push(format!("{file}: a room that the plan does not know"));
            }
        }
        for (place, own, other) in arrows(folder, sources) {
            let allowed = rooms.iter().find(|(room, _)| *room == own).map_or(&[][..], |row| row.1);
            if !rooms.iter().any(|(room, _)| *room == other) {
                wrong.push(format!("{place}: {other} is taken from the root of {folder}"));
            } else if !allowed.contains(&other.as_str())
                && !upward.iter().any(|(file, room, _)| place.starts_with(file) && *room == other)
            {
                wrong.push(format!("{place}: {own} imports {other}"));
            }
        }
    }
    wrong
}

/// Folders that hold more source files than [`MOST_FILES`].
fn crowded(sources: &[(String, String)]) -> Vec<String> {
    let mut counts = BTreeMap::new();
    for (file, _) in sources {
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        *counts.entry(folder).or_insert(0) += 1;
    }
    let is_flat = |folder: &str| FLAT.iter().any(|flat| folder.split('/').next() == Some(flat));
    counts.retain(|folder, count| *count > MOST_FILES && !is_flat(folder));
    counts.iter().map(|(folder, count)| format!("{folder}: {count} files")).collect()
}

/// What is left of rows when those go, again and again, that import none of the rest: rows in a circle, or above one.
fn circle(rows: &[(&'static str, &[&str])]) -> Vec<&'static str> {
    let mut left = rows.to_vec();
    loop {
        let names: BTreeSet<_> = left.iter().map(|(name, _)| *name).collect();
        left.retain(|(_, imports)| imports.iter().any(|import| names.contains(import)));
        if left.len() == names.len() {
            return left.iter().map(|(name, _)| *name).collect();
        }
    }
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
fn rooms_import_what_the_plan_names() {
    let wrong = crossed_walls(&sources(), &ROOMS, &UPWARD);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_plan_names_no_arrow_in_vain() {
    let sources = sources();
    let mut vain = Vec::new();
    for (folder, rooms) in ROOMS {
        let arrows = arrows(folder, &sources);
        for (room, imports) in rooms {
            let is_used =
                |import: &str| arrows.iter().any(|(_, own, other)| own == room && other == import);
            let unused = imports.iter().filter(|import| !is_used(import));
            vain.extend(unused.map(|import| format!("{folder}/{room} -> {import}")));
        }
    }
    for (file, room, _) in UPWARD {
        let arrows = arrows(part(file), &sources);
        if !arrows.iter().any(|(place, _, other)| place.starts_with(file) && other == room) {
            vain.push(format!("{file} -> {room}"));
        }
    }
    assert_eq!(vain, [""; 0]);
}

#[test]
fn the_plan_has_no_cycle() {
    assert_eq!(circle(&MAY_IMPORT), [""; 0]);
    for (folder, rooms) in ROOMS {
        assert_eq!(circle(rooms), [""; 0], "{folder}");
    }
}

#[test]
fn folders_are_not_crowded() {
    assert_eq!(crowded(&sources()), [""; 0]);
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
    let head = "#[cfg(test)]\nmod tests";
    let import = "use crate::index::Hnsw;";
    assert_eq!(crossed(&file("graph/walk.rs", &format!("{head} {{\n{import}"))).len(), 0);
    assert_eq!(crossed(&file("graph/walk.rs", &format!("{head};\n{import}"))).len(), 1);
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

#[test]
fn a_crossed_wall_is_seen() {
    let file = |name: &str, text: &str| vec![(name.to_owned(), text.to_owned())];
    let rooms: Rooms = &[("error", &[]), ("disk", &["error"]), ("tree", &["disk", "error"])];
    let crossed = |name: &str, text: &str| {
        crossed_walls(&file(name, text), &[("store", rooms)], &[("store/disk/up.rs", "tree", "")])
    };
    assert_eq!(crossed("store/tree/walk.rs", "use crate::store::disk::File;"), [""; 0]);
    assert_eq!(crossed("store/tree/walk.rs", "use super::node::Node;"), [""; 0]);
    assert_eq!(crossed("store/tree/mod.rs", "use super::disk::File;"), [""; 0]);
    assert_eq!(crossed("store/mod.rs", "pub use tree::Node; use super::store::tree::X;"), [""; 0]);
    assert_eq!(crossed("store/disk/file.rs", "pub(in crate::store) struct File;"), [""; 0]);
    assert_eq!(crossed("store/disk/up.rs", "use crate::store::tree::Node;"), [""; 0]);
    assert_eq!(crossed("graph/walk.rs", "use super::super::Graph;"), [""; 0]);
    let upward = ["store/disk/file.rs:2: disk imports tree"];
    assert_eq!(crossed("store/disk/file.rs", "\nuse crate::store::tree::Node;"), upward);
    assert_eq!(crossed("store/disk/file.rs", "\nuse super::super::tree::Node;"), upward);
    assert_eq!(crossed("store/disk/file.rs", "\nlet x = super::super::tree::get(y);"), upward);
    assert_eq!(crossed("store/disk/file.rs", "\nuse crate::{a, store::{\n  tree::X}};"), upward);
    assert_eq!(crossed("store/disk/mod.rs", "mod off { fn f() {} use super::File; }"), [""; 0]);
    assert_eq!(crossed("store/disk/mod.rs", "mod off { } use super::tree::X;").len(), 1);
    assert_eq!(crossed("store/disk/mod.rs", "use super::tree::Node;").len(), 1);
    assert_eq!(crossed("store/error.rs", "use super::disk::File;").len(), 1);
    assert_eq!(crossed("store/disk/file.rs", "use crate::store::Store;").len(), 1);
    assert_eq!(crossed("store/new.rs", ""), ["store/new.rs: a room that the plan does not know"]);
}

#[test]
fn a_circle_and_a_crowd_are_seen() {
    assert_eq!(circle(&[("a", &["b"]), ("b", &["c"]), ("c", &[])]), [""; 0]);
    assert_eq!(circle(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])]), ["a", "b", "c"]);
    let files = |folder: &str, count: usize| -> Vec<_> {
        (0..count).map(|i| (format!("{folder}/{i}.rs"), String::new())).collect()
    };
    assert_eq!(crowded(&files("simd", 15)), [""; 0]);
    assert_eq!(crowded(&files("simd/sorted", 16)), ["simd/sorted: 16 files"]);
    assert_eq!(crowded(&files(FLAT[0], 16)), [""; 0]);
}
