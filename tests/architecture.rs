//! Checks the sources against their plan: the imports of each folder of `src/` and of each room of a folder, the places of `unsafe`, and the
//! number of dependencies.

mod architecture_support;

use architecture_support::manifest::direct;
use architecture_support::paths::paths;
use architecture_support::rooms::{ROOMS, Rooms, UPWARD, arrows, circle, crossed_walls, crowded};
use architecture_support::words::vague;
use architecture_support::{code, part, sources};

/// Each part of `src/`, and the parts that it may import, as `ARCHITECTURE.md` says.
const MAY_IMPORT: [(&str, &[&str]); 26] = [
    ("sync", &[]),
    ("vector", &[]),
    ("metric", &[]),
    ("order_key", &[]),
    ("clock", &[]),
    ("mmap", &["vector"]),
    ("observe", &["clock"]),
    ("guard", &[]),
    ("process", &["guard"]),
    ("threads", &["process"]),
    ("error_kind", &[]),
    ("attributes", &["error_kind"]),
    ("error", &["error_kind", "metric", "vector"]),
    ("simd", &["vector"]),
    ("arena", &["mmap", "order_key", "simd", "sync"]),
    ("distance", &["arena", "error", "metric", "order_key", "simd", "vector"]),
    (
        "quantization",
        &[
            "arena",
            "distance",
            "error",
            "error_kind",
            "metric",
            "order_key",
            "simd",
            "threads",
            "vector",
        ],
    ),
    ("graph", &["arena", "order_key", "sync", "threads"]),
    ("store", &["clock", "error_kind", "guard", "mmap", "observe", "process"]),
    (
        "index",
        &[
            "arena",
            "clock",
            "distance",
            "error",
            "graph",
            "metric",
            "mmap",
            "observe",
            "order_key",
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
            "attributes",
            "clock",
            "distance",
            "error",
            "error_kind",
            "graph",
            "guard",
            "index",
            "metric",
            "mmap",
            "observe",
            "quantization",
            "simd",
            "store",
            "threads",
            "vector",
        ],
    ),
    ("interop", &["collection", "index", "metric", "simd", "vector"]),
    ("names", &["error", "index", "metric", "simd", "vector"]),
    ("unwind", &["collection", "index", "store"]),
    ("dataset", &["distance", "error", "error_kind", "metric", "threads", "vector"]),
    (
        "any_error",
        &["attributes", "collection", "dataset", "error", "error_kind", "quantization", "store"],
    ),
];

/// Folders and files that may contain `unsafe`.
const MAY_BE_UNSAFE: [&str; 9] = [
    "simd/",
    "arena/",
    "dataset/map.rs",
    "index/flat/maintain.rs",
    "index/hnsw/maintain.rs",
    "process.rs",
    "store/disk/map.rs",
    "store/pages/frames.rs",
    "store/disk/range_lock/",
];

/// Direct dependencies of a default build at most, those of every system together.
const MOST_DEPENDENCIES: usize = 11;

/// Direct dependencies of a single system.
const SYSTEMS: [&str; 2] = ["libc", "windows-sys"];

/// Returns the imports of these files that the table does not allow.
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

/// Returns the places of `unsafe` outside the folders that may contain it, and `unsafe` blocks without a reason.
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

/// Returns closures among the kernels of an instruction set. A function inlines into the one that has the set's instructions switched on because
/// it must; the compiler may choose not to inline a closure, and each intrinsic in the closure is a call then.
fn closures(sources: &[(String, String)]) -> Vec<String> {
    let kernels = ["avx2", "avx512", "neon", "simd128", "hadamard"];
    let mut wrong = Vec::new();
    for (file, text) in sources {
        // A file of that name, or a file in a folder of that name.
        let path = file.strip_prefix("simd/").and_then(|path| path.strip_suffix(".rs"));
        if !path.is_some_and(|path| path.split('/').any(|part| kernels.contains(&part))) {
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

/// Returns files outside `threads` that divide work by rayon themselves: `threads` checks first whether the threads exist, and
/// compiles rayon's code once.
fn threadless(sources: &[(String, String)]) -> Vec<&str> {
    let divides = |line: &str| {
        let ways = [".par_", ".into_par_", "rayon::join", "rayon::scope", "rayon::spawn"];
        ways.iter().any(|way| line.contains(way))
    };
    let files = sources.iter().filter(|(file, _)| part(file) != "threads");
    let wrong = files.filter(|(_, text)| code(text).any(|(_, line)| divides(line)));
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
    // A lock of another kind would block the thread on which a model runs all its threads.
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
fn direct_dependencies_are_few() {
    let all = direct(include_str!("../Cargo.toml"));
    assert!(all.contains(&"rayon") && SYSTEMS.iter().all(|name| all.contains(name)), "{all:?}");
    // A build is for one system.
    for system in SYSTEMS {
        let is_taken = |name: &&&str| **name == system || !SYSTEMS.contains(name);
        let taken: Vec<_> = all.iter().filter(is_taken).collect();
        assert!(taken.len() <= MOST_DEPENDENCIES, "{}: {taken:?}", taken.len());
    }
}

#[test]
fn a_direct_dependency_is_seen() {
    let plain = "[package]\nname = \"x\"\n[dependencies]\n# b = 1\na = \"1\" # b = 2\n";
    assert_eq!(direct(plain), ["a"]);
    assert_eq!(direct("[dependencies]\na = { version = \"1\", optional = true }"), [""; 0]);
    assert_eq!(direct("[dependencies]\na = { version = \"1\" }\n\n[features]\nb = []"), ["a"]);
    assert_eq!(direct("[target.'cfg(unix)'.dependencies]\na = \"1\""), ["a"]);
    assert_eq!(direct("[target.'cfg(nearfield_model)'.dependencies]\na = \"1\""), [""; 0]);
    let packed = "[dependencies.a]\nversion = \"1\"\n\n[dependencies.b]\noptional = true\n";
    assert_eq!(direct(packed), ["a"]);
    assert_eq!(direct("[target.\"cfg(unix)\".dependencies.a]\nversion = \"1\""), ["a"]);
    assert_eq!(direct("[dev-dependencies.a]\nversion = \"1\""), [""; 0]);
    assert_eq!(direct("[dev-dependencies]\na = \"1\"\n[[bench]]\nname = \"b\""), [""; 0]);
    assert_eq!(direct("[target.'cfg(unix)'.dev-dependencies]\na = \"1\""), [""; 0]);
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
    assert_eq!(threadless(&file("threads/a.rs", "rows.par_chunks(2);")).len(), 0);
    assert_eq!(threadless(&file("index/a.rs", "map(2, |at| rows[at]);")).len(), 0);
    assert_eq!(closures(&file("simd/avx2.rs", "let half = |acc, second| {")).len(), 1);
    assert_eq!(closures(&file("simd/avx2/nibbles.rs", "let half = |acc, second| {")).len(), 1);
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
}

#[test]
fn comments_name_their_nouns() {
    assert_eq!(vague(&sources()), [""; 0]);
}

#[test]
fn a_hidden_noun_is_seen() {
    let file = |text: &str| vec![("graph/walk.rs".to_owned(), text.repeat(200))];
    assert_eq!(vague(&file("// A node has a row of links.\n")), [""; 0]);
    assert_eq!(vague(&file("// What stands there is as many as there are.\n")).len(), 1);
    assert_eq!(vague(&file("let x = \"what\"; // `what there is` is code\n")), [""; 0]);
}
