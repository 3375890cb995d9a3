//! Sources, their paths and their rooms, and the manifest, for the test of the architecture.

pub(crate) mod manifest;
pub(crate) mod paths;
pub(crate) mod rooms;
pub(crate) mod words;

use std::fs;
use std::path::{Path, PathBuf};

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

/// Returns every source file: its path below `src/`, and its text.
pub(crate) fn sources() -> Vec<(String, String)> {
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

/// Returns the part of `src/` that contains a file.
pub(crate) fn part(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap()
}

/// Returns the lines of code with their numbers, without comments and unit tests; tests may import more than the code they test.
pub(crate) fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let tests = text.find("\nmod tests {").unwrap_or(text.len());
    let lines = text[..tests].lines().enumerate();
    lines.map(|(i, line)| (i + 1, line.split("//").next().unwrap()))
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
