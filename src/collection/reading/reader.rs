//! Readers of a collection that another process may be writing.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::snapshot::{Snapshot, Views};
use crate::collection::attributes::KnownSelections;
use crate::collection::error::CollectionError;
use crate::collection::format::check_byte_order;
use crate::collection::tuning::Tuning;
use crate::store::{Store, StoreOptions};

/// A collection that another process may be writing. Cheap to clone; clones are handles to the same, for any thread.
///
/// Ask for a [`Snapshot`] to search, and for another to see later commits.
#[derive(Clone)]
pub struct CollectionReader {
    store: Store,
    views: Arc<Mutex<Views>>,
}

impl CollectionReader {
    pub(in crate::collection) fn open(
        path: &Path,
        options: &StoreOptions,
    ) -> Result<Self, CollectionError> {
        check_byte_order()?;
        let store = options.open_read_only(path)?;
        let selections = KnownSelections::new(Tuning::default().selection_memory);
        let views = Arc::new(Mutex::new(Views::new(Arc::new(selections))));
        let reader = Self { store, views };
        // The first snapshot reports a file that is no collection.
        reader.snapshot().map_err(|error| error.at(Some(path)))?;
        Ok(reader)
    }

    /// Returns a snapshot of the newest commit. If the last snapshot shows an older one, the commits since then are applied to a view
    /// without a holder: drop a snapshot before asking for the next one, and following the writer costs one insertion per vector. If
    /// every view is held, or the writer has made a checkpoint, or more than a thousand vectors were committed that deltas have
    /// ([`CollectionBuilder::replay_limit`](crate::CollectionBuilder::replay_limit)), the collection is opened anew.
    ///
    /// # Errors
    ///
    /// [`CollectionError`] for every kind of damage met, [`StoreError::Io`](crate::store::StoreError::Io).
    pub fn snapshot(&self) -> Result<Snapshot, CollectionError> {
        let newest = self.views.lock().newest(&self.store, None, None);
        newest.map_err(|error| error.at(self.store.path()))
    }
}

impl fmt::Debug for CollectionReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectionReader").finish_non_exhaustive()
    }
}
