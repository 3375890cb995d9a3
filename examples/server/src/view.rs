//! A library as one request reads it: the newest commit of the writer in this process, or a snapshot of a file that another process writes.

use std::sync::Arc;

use nearfield::collection::{RecordSnapshot, Selection, Source};
use nearfield::{Collection, Predicate, Search, SearchBatch, Snapshot};

use crate::library::IndexKind;
use crate::problem::Result;

/// Candidates of a search in a library of the kind `flat`: so many that the search scans all vectors, which is exact.
const ALL: usize = 1 << 30;

/// A library as one request reads it.
#[derive(Debug, Clone)]
pub struct View {
    origin: Origin,
    commit: u64,
    index: IndexKind,
}

#[derive(Debug, Clone)]
enum Origin {
    Writer(Collection),
    Replica(Snapshot),
}

/// Names and payloads of one commit.
#[derive(Debug)]
pub enum Records<'a> {
    /// Those of the newest commit.
    Newest(RecordSnapshot<'a>),
    /// Those of a snapshot.
    Snapshot(&'a Snapshot),
}

impl View {
    /// Returns the view of a library that this process writes, of which `commit` is acknowledged.
    pub fn of_writer(collection: &Collection, commit: u64, index: IndexKind) -> Self {
        Self { origin: Origin::Writer(collection.clone()), commit, index }
    }

    /// Returns the view of a library that another process writes.
    pub fn of_replica(snapshot: Snapshot, index: IndexKind) -> Self {
        Self { commit: snapshot.number(), origin: Origin::Replica(snapshot), index }
    }

    /// Returns the number of the commit that answers have at least.
    pub fn commit(&self) -> u64 {
        self.commit
    }

    /// Returns the number of documents.
    pub fn len(&self) -> usize {
        match &self.origin {
            Origin::Writer(collection) => collection.len(),
            Origin::Replica(snapshot) => snapshot.len(),
        }
    }

    /// Returns a search. Its parameters come from [`tuned`](crate::search::tuned).
    pub fn search<'a>(&'a self, vector: &'a [f32]) -> Search<'a, fn(u64) -> bool, Source<'a>> {
        match &self.origin {
            Origin::Writer(collection) => collection.search(vector),
            Origin::Replica(snapshot) => snapshot.search(vector),
        }
    }

    /// Returns a search for several vectors, one after the other in `vectors`.
    pub fn search_batch<'a>(&'a self, vectors: &'a [f32]) -> SearchBatch<'a> {
        match &self.origin {
            Origin::Writer(collection) => collection.search_batch(vectors),
            Origin::Replica(snapshot) => snapshot.search_batch(vectors),
        }
    }

    /// Returns the candidates of each search, whatever its client asks for, or `None` if the client chooses.
    pub fn candidates(&self) -> Option<usize> {
        (self.index == IndexKind::Flat).then_some(ALL)
    }

    /// Returns the documents that a predicate accepts.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn matching(&self, predicate: &Predicate) -> Result<Arc<Selection>> {
        let selection = match &self.origin {
            Origin::Writer(collection) => collection.matching(predicate),
            Origin::Replica(snapshot) => snapshot.matching(predicate),
        };
        Ok(Arc::new(selection?))
    }

    /// Returns the vector of a key.
    pub fn vector(&self, key: u64) -> Option<Vec<f32>> {
        match &self.origin {
            Origin::Writer(collection) => collection.get(key),
            Origin::Replica(snapshot) => snapshot.get(key),
        }
    }

    /// Returns the names and payloads of one commit: many are read without asking for the newest commit each time.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn records(&self) -> Result<Records<'_>> {
        Ok(match &self.origin {
            Origin::Writer(collection) => Records::Newest(collection.records()?),
            Origin::Replica(snapshot) => Records::Snapshot(snapshot),
        })
    }
}

impl Records<'_> {
    /// Returns the payload of a key.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn payload(&self, key: u64) -> Result<Option<&[u8]>> {
        Ok(match self {
            Self::Newest(records) => records.payload(key),
            Self::Snapshot(snapshot) => snapshot.payload(key),
        }?)
    }

    /// Returns the id of the document of a key.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn name_of(&self, key: u64) -> Result<Option<&[u8]>> {
        Ok(match self {
            Self::Newest(records) => records.name_of(key),
            Self::Snapshot(snapshot) => snapshot.name_of(key),
        }?)
    }

    /// Returns the key of a document.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn key_of(&self, id: &str) -> Result<Option<u64>> {
        Ok(match self {
            Self::Newest(records) => records.key_of(id),
            Self::Snapshot(snapshot) => snapshot.key_of(id),
        }?)
    }
}
