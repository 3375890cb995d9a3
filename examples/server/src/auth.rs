//! API keys, and the rights of each in libraries.
//!
//! A key has 256 random bits, so one round of SHA-256 hides it: no dictionary has it. The file of keys contains hashes alone. A key is compared
//! with all entries in constant time. Without a file of keys each client may do everything, and the server listens on the loopback alone.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use constant_time_eq::constant_time_eq_32;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::problem::{Problem, Result};

/// A right in a library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// To search, list and read.
    Read,
    /// To add and remove documents.
    Write,
    /// To make and delete the library.
    Admin,
}

/// An entry of the file of keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The name, shown in logs.
    pub name: String,
    /// SHA-256 of the key, in hexadecimal digits.
    pub sha256: String,
    /// Names of libraries; `*` is all of them.
    pub libraries: Vec<String>,
    /// The rights in these libraries.
    pub rights: Vec<Right>,
}

/// The keys that open the service.
#[derive(Debug, Default)]
pub struct Keys {
    /// `None` if every client may do everything.
    entries: Option<Vec<([u8; 32], Arc<Entry>)>>,
}

/// The client of a request.
#[derive(Debug, Clone)]
pub enum Caller {
    /// A client of a service without keys.
    Anyone,
    /// A client with a key.
    Key(Arc<Entry>),
}

impl Keys {
    /// Reads a file of keys.
    ///
    /// # Errors
    ///
    /// The fault, and its place.
    pub fn open(path: &Path) -> std::result::Result<Self, String> {
        let fault = |fault: &dyn std::fmt::Display| format!("{}: {fault}", path.display());
        let text = fs::read(path).map_err(|error| fault(&error))?;
        let entries: Vec<Entry> = serde_json::from_slice(&text).map_err(|error| fault(&error))?;
        let entries = entries.into_iter().map(|entry| {
            let hash = unhex(&entry.sha256);
            let hash = hash.ok_or_else(|| {
                fault(&format!("`sha256` of {:?} has not 64 hexadecimal digits", entry.name))
            })?;
            Ok((hash, Arc::new(entry)))
        });
        Ok(Self { entries: Some(entries.collect::<std::result::Result<_, String>>()?) })
    }

    /// Returns whether clients need a key.
    pub fn are_needed(&self) -> bool {
        self.entries.is_some()
    }

    /// Returns the client of a request.
    ///
    /// # Errors
    ///
    /// 401 without a valid key.
    pub fn caller(&self, headers: &HeaderMap) -> Result<Caller> {
        let Some(entries) = &self.entries else { return Ok(Caller::Anyone) };
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.strip_prefix("Bearer "));
        let given = given.ok_or_else(|| {
            Problem::unauthorized("send a key of this service as `Authorization: Bearer KEY`")
        })?;
        let hash = hash(given);
        // All entries are compared, so that the time tells nothing about the place of a match.
        let mut found = None;
        for (known, entry) in entries {
            if constant_time_eq_32(known, &hash) {
                found = Some(entry);
            }
        }
        let entry =
            found.ok_or_else(|| Problem::unauthorized("the key is none of this service"))?;
        Ok(Caller::Key(Arc::clone(entry)))
    }
}

impl Caller {
    /// Returns whether the client has a right in a library.
    pub fn may(&self, right: Right, library: &str) -> bool {
        let Self::Key(entry) = self else { return true };
        entry.rights.contains(&right)
            && entry.libraries.iter().any(|name| name == "*" || name == library)
    }

    /// Checks that the client has a right in a library.
    ///
    /// # Errors
    ///
    /// 403 without it, whether the library exists or not.
    pub fn check(&self, right: Right, library: &str) -> Result<()> {
        if self.may(right, library) {
            return Ok(());
        }
        Err(Problem::forbidden(format!("the key lacks the right {right:?} in this library")))
    }

    /// Returns the name of the key.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Anyone => None,
            Self::Key(entry) => Some(&entry.name),
        }
    }
}

/// Returns a new key, and the entry of the file of keys that admits it with all rights.
pub fn new_key(name: String, libraries: Vec<String>) -> (String, Entry) {
    // A version 4 UUID has 122 random bits of the operating system; two have 244.
    let key = format!("nf_{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let sha256 = hash(&key).iter().map(|byte| format!("{byte:02x}")).collect();
    let rights = vec![Right::Read, Right::Write, Right::Admin];
    (key, Entry { name, sha256, libraries, rights })
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_hash_of_its_entry() {
        let (key, entry) = new_key("a".to_owned(), vec!["*".to_owned()]);
        assert_eq!(unhex(&entry.sha256), Some(hash(&key)));
        assert_eq!(key.len(), 67);
        // The hash of the empty text, as FIPS 180-4 gives it.
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(unhex(empty), Some(hash("")));
        assert!(unhex("e3").is_none() && unhex(&"g".repeat(64)).is_none());
    }

    #[test]
    fn rights_are_those_of_the_named_libraries() {
        let (_, mut entry) = new_key("a".to_owned(), vec!["papers".to_owned()]);
        entry.rights = vec![Right::Read];
        let caller = Caller::Key(Arc::new(entry));
        assert!(caller.may(Right::Read, "papers"));
        assert!(!caller.may(Right::Write, "papers") && !caller.may(Right::Read, "other"));
        assert!(!caller.may(Right::Read, "*"));
        assert!(Caller::Anyone.may(Right::Admin, "papers"));
    }
}
