//! The rooms within the folders of `src/`, and the imports between them.

use std::collections::{BTreeMap, BTreeSet};

use super::part;
use super::paths::paths;

/// Rooms: the files and folders within a folder of `src/`, and the rooms beside them that each may import.
pub(crate) type Rooms = &'static [(&'static str, &'static [&'static str])];

/// The folders whose rooms have walls.
pub(crate) const ROOMS: [(&str, Rooms); 6] = [
    ("attributes", ATTRIBUTES),
    ("collection", COLLECTION),
    ("graph", GRAPH),
    ("index", INDEX),
    ("quantization", QUANTIZATION),
    ("store", STORE),
];

/// `attributes/mod.rs` describes values, predicates and their truth.
const ATTRIBUTES: Rooms = &[
    ("kind", &[]),
    ("error", &["kind"]),
    ("timestamp", &["error"]),
    ("value", &["error", "kind", "timestamp"]),
    ("map", &["error", "value"]),
    ("predicate", &["error", "value"]),
    ("schema", &["error", "kind", "map", "value"]),
    ("builder", &["predicate", "value"]),
    ("display", &["predicate", "value"]),
    ("parse", &["display", "error", "predicate", "timestamp", "value"]),
    ("truth", &["error", "map", "predicate", "value"]),
    ("json", &["builder", "error", "map", "predicate", "timestamp", "value"]),
    ("random", &["builder", "map", "predicate", "timestamp", "value"]),
];

/// The `mod.rs` of each room describes the room.
const COLLECTION: Rooms = &[
    ("error", &[]),
    ("format", &["error"]),
    ("tuning", &[]),
    ("builder", &["error", "format", "tuning"]),
    ("progress", &["error"]),
    ("attributes", &["error", "format"]),
    ("columns", &["error", "format", "progress"]),
    ("saving", &["columns", "error", "format", "progress"]),
    ("records", &["attributes", "error", "format"]),
    ("reading", &["attributes", "columns", "error", "format", "records", "tuning"]),
    (
        "writing",
        &[
            "attributes",
            "builder",
            "columns",
            "error",
            "format",
            "progress",
            "reading",
            "records",
            "tuning",
        ],
    ),
    ("answers", &["attributes", "error", "reading", "records", "writing"]),
    ("exchange", &["error", "format", "progress", "reading", "records", "writing"]),
    (
        "maintenance",
        &[
            "attributes",
            "builder",
            "columns",
            "error",
            "format",
            "progress",
            "reading",
            "saving",
            "writing",
        ],
    ),
];

/// `graph/mod.rs` describes the promises of the graph, and the `mod.rs` of each room describes the room.
const GRAPH: Rooms = &[
    ("id", &[]),
    ("space", &["id"]),
    ("rows", &["id", "space"]),
    ("search", &["id", "rows", "space"]),
    ("link", &["id", "rows", "search", "space"]),
    ("removal", &["id", "rows", "search", "space"]),
    ("merge", &["id", "rows", "search", "space"]),
];

/// `index/mod.rs` describes the ways through the rooms, and the `mod.rs` of each room describes the room.
const INDEX: Rooms = &[
    ("encode", &[]),
    ("parallel", &[]),
    ("sampling", &[]),
    ("query", &[]),
    ("distances", &["query"]),
    ("settings", &["distances", "encode"]),
    ("codes", &["distances", "encode", "query"]),
    ("scratch", &["codes", "distances", "encode", "parallel", "query"]),
    ("entries", &["codes", "distances", "encode", "query", "sampling", "scratch"]),
    ("reports", &[]),
    ("search", &["parallel", "query", "scratch"]),
    ("build", &["parallel", "query", "scratch"]),
    ("image", &["build", "codes", "encode", "entries", "scratch", "settings"]),
    (
        "hnsw",
        &[
            "build", "codes", "encode", "entries", "image", "parallel", "query", "reports",
            "sampling", "scratch", "search", "settings",
        ],
    ),
    (
        "flat",
        &[
            "build", "encode", "entries", "image", "parallel", "query", "reports", "scratch",
            "search", "settings",
        ],
    ),
    (
        "ivf",
        &[
            "build",
            "codes",
            "distances",
            "encode",
            "image",
            "parallel",
            "query",
            "reports",
            "scratch",
            "search",
            "settings",
        ],
    ),
    ("common", &["build", "flat", "hnsw", "ivf", "reports", "search"]),
    ("shards", &["encode", "flat", "hnsw", "ivf", "parallel", "query", "search"]),
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

/// `store/mod.rs` describes a store, and the `mod.rs` of each room describes the room.
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

/// Imports between rooms that the tables above do not allow, and the reasons for them: file, imported room, reason.
pub(crate) const UPWARD: [(&str, &str, &str); 0] = [];

/// The largest number of source files in a folder.
const MOST_FILES: usize = 15;

/// Returns the room that contains a file, within its folder, or `None` for the folder's own `mod.rs`, which is above its rooms.
fn room(file: &str) -> Option<&str> {
    file.split(['/', '.']).nth(1).filter(|room| *room != "mod")
}

/// Returns the arrows between the rooms of one folder: file and line, own room, imported room.
pub(crate) fn arrows(folder: &str, sources: &[(String, String)]) -> Vec<(String, String, String)> {
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

/// Returns the imports between rooms that the tables do not allow.
pub(crate) fn crossed_walls(
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

/// Returns folders that have more source files than [`MOST_FILES`].
pub(crate) fn crowded(sources: &[(String, String)]) -> Vec<String> {
    let mut counts = BTreeMap::new();
    for (file, _) in sources {
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        *counts.entry(folder).or_insert(0) += 1;
    }
    counts.retain(|_, count| *count > MOST_FILES);
    counts.iter().map(|(folder, count)| format!("{folder}: {count} files")).collect()
}

/// Returns the rows that remain after removing, repeatedly, those that import no other row: rows in a circle, or above one.
pub(crate) fn circle(rows: &[(&'static str, &[&str])]) -> Vec<&'static str> {
    let mut left = rows.to_vec();
    loop {
        let names: BTreeSet<_> = left.iter().map(|(name, _)| *name).collect();
        left.retain(|(_, imports)| imports.iter().any(|import| names.contains(import)));
        if left.len() == names.len() {
            return left.iter().map(|(name, _)| *name).collect();
        }
    }
}
