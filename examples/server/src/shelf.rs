//! The libraries of a service: folders in the folder of data.
//!
//! A library is made in a folder whose name begins with a dot, and renamed when it is whole; it is deleted the other way round. A
//! crash leaves folders with a dot, which the next start removes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::library::{Library, Shape, sync_folder};
use crate::problem::{Problem, Result};
use crate::settings::Limits;

/// Characters of a name, at most.
const MOST_CHARS: usize = 64;

/// The open libraries.
#[derive(Debug)]
pub struct Shelf {
    folder: PathBuf,
    limits: Limits,
    /// `None` for a library that is being made.
    libraries: Mutex<BTreeMap<String, Option<Arc<Library>>>>,
}

/// A name that is reserved until the library is there, or until this is dropped.
struct Reserved<'a> {
    shelf: &'a Shelf,
    name: &'a str,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let mut libraries = self.shelf.lock();
        if libraries.get(self.name).is_some_and(Option::is_none) {
            libraries.remove(self.name);
        }
    }
}

impl Shelf {
    /// Returns the libraries of a folder, none of which is open yet.
    pub fn new(folder: &Path, limits: &Limits) -> Self {
        let libraries = Mutex::default();
        Self { folder: folder.to_path_buf(), limits: limits.clone(), libraries }
    }

    /// Opens all libraries of the folder, which is made if it is missing. Blocks.
    ///
    /// # Errors
    ///
    /// The library that cannot be opened: a service without it would answer that its documents do not exist.
    pub fn open(&self) -> Result<Vec<Arc<Library>>> {
        fs::create_dir_all(&self.folder).map_err(|e| self.fault("make the folder of data", &e))?;
        let mut opened = Vec::new();
        for (name, path) in self.entries()? {
            if name.starts_with(".new-") || name.starts_with(".deleted-") {
                fs::remove_dir_all(path).map_err(|e| self.fault("remove a rest", &e))?;
            } else if is_library(&name, &path) {
                let library = Library::open(&name, &path, &self.limits)?;
                self.lock().insert(name, Some(Arc::clone(&library)));
                opened.push(library);
            }
        }
        Ok(opened)
    }

    /// Opens the libraries that another process made since the last call, and closes those that it deleted. Blocks. A library that cannot be
    /// read is tried again by the next call.
    ///
    /// # Errors
    ///
    /// Those of the folder.
    pub fn scan(&self) -> Result<()> {
        for library in self.all() {
            if !library.is_in_place() {
                self.lock().remove(library.name());
            }
        }
        for (name, path) in self.entries()? {
            if !is_library(&name, &path) || self.lock().contains_key(&name) {
                continue;
            }
            if let Ok(library) = Library::follow(&name, &path, &self.limits) {
                self.lock().insert(name, Some(library));
            } else {
                tracing::warn!(name, "a library could not be opened for reading");
            }
        }
        Ok(())
    }

    /// Takes a snapshot of the newest commit of each library. Blocks. Requests read older ones if it fails.
    pub fn refresh(&self) {
        for library in self.all() {
            if let Err(problem) = library.refresh() {
                let name = library.name();
                tracing::warn!(name, detail = problem.detail(), "a library was not refreshed");
            }
        }
    }

    /// Returns the names and places of what the folder has.
    fn entries(&self) -> Result<Vec<(String, PathBuf)>> {
        let read = || {
            let entry = |entry: io::Result<fs::DirEntry>| {
                let entry = entry?;
                Ok((entry.file_name().to_string_lossy().into_owned(), entry.path()))
            };
            fs::read_dir(&self.folder)?.map(entry).collect::<io::Result<_>>()
        };
        read().map_err(|e| self.fault("read the folder", &e))
    }

    /// Makes a library. Blocks.
    ///
    /// # Errors
    ///
    /// 422 for a name that is not allowed, 409 if it is taken, and as [`Library::create`].
    pub fn create(&self, name: &str, shape: Shape) -> Result<Arc<Library>> {
        check_name(name)?;
        let reserved = self.reserve(name)?;
        let (made, place) = (self.aside("new", name), self.folder.join(name));
        fs::create_dir_all(&made).map_err(|e| self.fault("make a folder", &e))?;
        let created = Library::create(&made, shape).and_then(|()| {
            fs::rename(&made, &place).map_err(|e| self.fault("rename a folder", &e))
        });
        if let Err(problem) = created {
            let _ = fs::remove_dir_all(&made);
            return Err(problem);
        }
        self.sync()?;
        let library = Library::open(name, &place, &self.limits)?;
        self.lock().insert(name.to_owned(), Some(Arc::clone(&library)));
        drop(reserved);
        Ok(library)
    }

    /// Deletes a library. Requests that use it go on to their ends. Blocks.
    ///
    /// # Errors
    ///
    /// 404 if it does not exist.
    pub fn delete(&self, name: &str) -> Result<()> {
        // The name stays taken until the folder has another one.
        let mut libraries = self.lock();
        if libraries.get(name).and_then(Option::as_ref).is_none() {
            return Err(unknown(name));
        }
        let rest = self.aside("deleted", name);
        fs::rename(self.folder.join(name), &rest).map_err(|e| self.fault("rename a folder", &e))?;
        libraries.remove(name);
        drop(libraries);
        self.sync()?;
        fs::remove_dir_all(&rest).map_err(|e| self.fault("remove a folder", &e))
    }

    /// Returns a library.
    ///
    /// # Errors
    ///
    /// 404 if it does not exist.
    pub fn get(&self, name: &str) -> Result<Arc<Library>> {
        self.lock().get(name).cloned().flatten().ok_or_else(|| unknown(name))
    }

    /// Returns all libraries, by their names.
    pub fn all(&self) -> Vec<Arc<Library>> {
        self.lock().values().flatten().cloned().collect()
    }

    fn reserve<'a>(&'a self, name: &'a str) -> Result<Reserved<'a>> {
        let mut libraries = self.lock();
        if libraries.contains_key(name) {
            return Err(Problem::exists(format!(
                "a library {name:?} exists already; choose another name"
            )));
        }
        if libraries.len() >= self.limits.max_libraries {
            let most = self.limits.max_libraries;
            return Err(Problem::invalid(format!(
                "the service has {most} libraries, and takes no more"
            )));
        }
        libraries.insert(name.to_owned(), None);
        Ok(Reserved { shelf: self, name })
    }

    fn aside(&self, state: &str, name: &str) -> PathBuf {
        self.folder.join(format!(".{state}-{name}-{}", Uuid::now_v7()))
    }

    /// Waits until the disk has the names in the folder.
    fn sync(&self) -> Result<()> {
        sync_folder(&self.folder).map_err(|e| self.fault("sync the folder", &e))
    }

    fn fault(&self, action: &str, error: &io::Error) -> Problem {
        Problem::internal(format!("{}: could not {action}: {error}", self.folder.display()))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Option<Arc<Library>>>> {
        self.libraries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_library(name: &str, path: &Path) -> bool {
    check_name(name).is_ok() && path.is_dir()
}

fn unknown(name: &str) -> Problem {
    let shown: String = name.chars().take(MOST_CHARS).collect();
    Problem::missing(format!("no library has the name {shown:?}"))
}

/// Checks the name of a library, which is also that of its folder.
///
/// # Errors
///
/// 422 unless the name consists of lower-case letters, digits, `-` and `_`, and begins with a letter or a digit.
pub fn check_name(name: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_allowed = name.len() <= MOST_CHARS
        && name.starts_with(is_plain)
        && name.chars().all(|c| is_plain(c) || matches!(c, '-' | '_'));
    if is_allowed {
        return Ok(());
    }
    Err(Problem::invalid(format!(
        "a library has a name of up to {MOST_CHARS} characters `a-z`, `0-9`, `-` and `_`, a letter or a digit first"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_folder() {
        for name in ["a", "papers-2024", "0_x", &"a".repeat(64)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let long = "a".repeat(65);
        let wrong = [
            "", ".", "..", "../a", "a/b", "a\\b", "/etc", ".new-a", "-a", "A", "a.nf", "a\0",
            "\u{e9}", "a b",
        ];
        for name in wrong.into_iter().chain([long.as_str()]) {
            assert_eq!(check_name(name).unwrap_err().status(), 422, "{name:?}");
        }
    }
}
