//! Searches of collections and snapshots, and the moment from which their answers' records are.

use std::fmt;

use crate::attributes::Predicate;
use crate::collection::attributes::{Evaluation, KnownFields, Selection, evaluate, matching};
use crate::collection::error::CollectionError;
use crate::collection::reading::Snapshot;
use crate::collection::records::Records;
use crate::collection::writing::Collection;
use crate::index::{AnyKey, Hnsw, Origin, Search};
use crate::metric::Metric;
use crate::store::ReadTransaction;
use crate::vector::AsVector;

/// The collection or the snapshot that a search is of.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    place: Place<'a>,
}

#[derive(Clone, Copy)]
enum Place<'a> {
    Collection(&'a Collection),
    Snapshot(&'a Snapshot),
}

impl Origin for Source<'_> {}

impl Collection {
    /// Searches the newest vectors near `query`, as [`Hnsw::search`]. Commits that are made meanwhile may be visible in part;
    /// [`Collection::snapshot`] shows one commit.
    pub fn search<'a, V: AsVector + ?Sized>(
        &'a self,
        query: &'a V,
    ) -> Search<'a, AnyKey, Source<'a>> {
        let source = Source { place: Place::Collection(self) };
        self.inner.index.search(query).with_source(|()| source)
    }
}

impl Snapshot {
    /// As [`Hnsw::search`].
    pub fn search<'a, V: AsVector + ?Sized>(
        &'a self,
        query: &'a V,
    ) -> Search<'a, AnyKey, Source<'a>> {
        let source = Source { place: Place::Snapshot(self) };
        self.hnsw().search(query).with_source(|()| source)
    }
}

impl<'a, F> Search<'a, F, Source<'a>> {
    /// Returns the search as one of an index, which returns hits alone: for functions that search indexes and collections alike.
    ///
    /// ```
    /// use nearfield::{Collection, Flat, IndexError, Metric, Search};
    ///
    /// fn nearest(search: Search<'_>) -> Result<Option<u64>, IndexError> {
    ///     Ok(search.k(1).run()?.keys().next())
    /// }
    ///
    /// # let path = std::env::temp_dir().join(format!("nearfield-doc-hits-only-{}.nf", std::process::id()));
    /// let words = Flat::builder(2, Metric::L2).build()?;
    /// let photos = Collection::builder(2, Metric::L2).create(&path)?;
    /// assert_eq!(nearest(words.search(&[0.0, 1.0]))?, None);
    /// assert_eq!(nearest(photos.search(&[0.0, 1.0]).hits_only())?, None);
    /// # drop(photos);
    /// # let _ = std::fs::remove_file(&path);
    /// # Ok::<(), nearfield::CollectionError>(())
    /// ```
    pub fn hits_only(self) -> Search<'a, F> {
        self.with_source(|_| ())
    }
}

impl<'a> Source<'a> {
    fn hnsw(self) -> &'a Hnsw {
        match self.place {
            Place::Collection(collection) => &collection.inner.index,
            Place::Snapshot(snapshot) => snapshot.hnsw(),
        }
    }

    /// Returns the number of vectors.
    pub(super) fn len(self) -> usize {
        self.hnsw().len()
    }

    /// Returns the vector of a key as floats.
    pub(super) fn vector(self, key: u64) -> Option<Vec<f32>> {
        self.hnsw().get(key)
    }

    pub(super) fn metric(self) -> Metric {
        self.hnsw().metric()
    }

    /// Adds the path of the file to an error.
    pub(super) fn place(self) -> impl Fn(CollectionError) -> CollectionError + 'a {
        move |error| match self.place {
            Place::Collection(collection) => collection.inner.place()(error),
            Place::Snapshot(snapshot) => error.at(snapshot.store().path()),
        }
    }

    /// Returns the newest commit of a collection, or that of a snapshot.
    pub(super) fn moment(self) -> Result<Moment<'a>, CollectionError> {
        Ok(match self.place {
            Place::Collection(collection) => {
                Moment::Newest(collection.inner.store.begin_read()?, collection)
            }
            Place::Snapshot(snapshot) => Moment::Snapshot(snapshot),
        })
    }
}

/// The tables of one commit.
pub(super) enum Moment<'a> {
    Newest(ReadTransaction, &'a Collection),
    Snapshot(&'a Snapshot),
}

impl<'a> Moment<'a> {
    fn tables(&self) -> (&ReadTransaction, &KnownFields) {
        match self {
            Self::Newest(tx, collection) => (tx, &collection.inner.fields),
            Self::Snapshot(snapshot) => (snapshot.store(), snapshot.fields()),
        }
    }

    pub(super) fn records(&self) -> Result<Records<'_>, CollectionError> {
        let (tx, fields) = self.tables();
        Records::of(tx, fields)
    }

    /// Returns the records of a snapshot, which live as long as it. Returns `None` for a collection's.
    pub(super) fn lasting_records(&self) -> Result<Option<Records<'a>>, CollectionError> {
        match self {
            Self::Newest(..) => Ok(None),
            Self::Snapshot(snapshot) => snapshot.records().map(Some),
        }
    }

    /// Returns the keys for which a predicate is true.
    pub(super) fn matching(&self, predicate: &Predicate) -> Result<Selection, CollectionError> {
        match self {
            Self::Newest(tx, collection) => {
                let known = collection.inner.selections.of(tx.number());
                collection.with_keys(|keys| matching(tx, known, predicate, keys))
            }
            Self::Snapshot(snapshot) => snapshot.matching(predicate),
        }
    }

    /// Does [`Self::matching`], and returns its steps.
    pub(super) fn evaluate(&self, predicate: &Predicate) -> Result<Evaluation, CollectionError> {
        match self {
            Self::Newest(tx, collection) => {
                let known = collection.inner.selections.of(tx.number());
                collection.with_keys(|keys| evaluate(tx, known, predicate, keys))
            }
            Self::Snapshot(snapshot) => {
                let (tx, known) = (snapshot.store(), snapshot.known());
                snapshot.with_keys(|keys| evaluate(tx, known, predicate, keys))
            }
        }
    }
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Collection(collection) => collection.fmt(f),
            Place::Snapshot(snapshot) => snapshot.fmt(f),
        }
    }
}
