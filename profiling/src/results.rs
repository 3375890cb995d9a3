//! Results as files: one JSON object per run, with the facts that decide whether runs can be compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::host::{Host, first_line};

/// The schema's number, which rises whenever a field changes its meaning.
pub(crate) const SCHEMA: u32 = 1;

/// A run: its kind, its time, its code, its machine, and its result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run<T> {
    pub(crate) schema: u32,
    /// The kind of `result`: `compare`, `counts`, `curve`, `heap`, `soak`, `kernels`, `store` or `advise`.
    pub(crate) kind: String,
    /// UTC, as `2026-01-31T12:00:00Z`.
    pub(crate) time: String,
    /// The commit, abbreviated; empty outside a repository.
    pub(crate) commit: String,
    /// Whether files differed from the commit.
    pub(crate) dirty: bool,
    pub(crate) rustc: String,
    pub(crate) host: Host,
    pub(crate) result: T,
}

impl<T> Run<T> {
    /// Returns the same run with another result.
    pub(crate) fn of<R>(self, result: R) -> Run<R> {
        let Self { schema, kind, time, commit, dirty, rustc, host, result: _ } = self;
        Run { schema, kind, time, commit, dirty, rustc, host, result }
    }
}

impl<T: Serialize> Run<T> {
    /// Returns a run of a result that was measured just now.
    pub(crate) fn new(kind: &str, result: T) -> Self {
        let git = |args: &[&str]| first_line("git", &[&["-C", root()], args].concat());
        Self {
            schema: SCHEMA,
            kind: kind.to_owned(),
            time: utc(SystemTime::now()),
            commit: git(&["rev-parse", "--short=10", "HEAD"]).unwrap_or_default(),
            dirty: git(&["status", "--porcelain", "-uno"]).is_some_and(|line| !line.is_empty()),
            rustc: first_line("rustc", &["--version"]).unwrap_or_default(),
            host: Host::now(),
            result,
        }
    }

    /// Writes the run to `out`, or to a new file among the stored runs, and prints the path.
    pub(crate) fn store(&self, out: Option<PathBuf>) -> Result<PathBuf, Failure> {
        let name = format!("{}-{}.json", self.time.replace([':', '-'], ""), self.kind);
        let path = out.unwrap_or_else(|| folder("benchmarks/runs").join(name));
        write(&path, &(serde_json::to_string_pretty(self)? + "\n"))?;
        println!("wrote {}", path.display());
        Ok(path)
    }
}

/// Returns all stored runs of a kind below `benchmarks/`, oldest first; files of another schema are ignored.
pub(crate) fn stored<T: DeserializeOwned>(kind: &str) -> Vec<Run<T>> {
    let mut runs: Vec<Run<T>> = json_files(&folder("benchmarks"))
        .into_iter()
        .filter_map(|path| fs::read(path).ok())
        .filter(|bytes| {
            #[derive(Deserialize)]
            struct Head {
                schema: u32,
                kind: String,
            }
            let head = serde_json::from_slice::<Head>(bytes);
            head.is_ok_and(|head| head.schema == SCHEMA && head.kind == kind)
        })
        .filter_map(|bytes| serde_json::from_slice(&bytes).ok())
        .collect();
    runs.sort_by(|a, b| a.time.cmp(&b.time));
    runs
}

fn json_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(json_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files
}

/// Returns the package's own folder.
pub(crate) fn root() -> &'static str {
    env!("CARGO_MANIFEST_DIR")
}

/// Returns a folder of this package.
pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(root()).join(name)
}

/// Writes a file, and makes the folders above it.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    Ok(fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))?)
}

/// Returns a moment as `2026-01-31T12:00:00Z`; before 1970: its beginning.
fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (mut day, second) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{:02}-{:02}T{hour:02}:{minute:02}:{:02}Z", month + 1, day + 1, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn dates() {
        let at = |seconds| utc(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_735_689_599), "2024-12-31T23:59:59Z");
        assert_eq!(at(1_772_323_200), "2026-03-01T00:00:00Z");
    }
}
