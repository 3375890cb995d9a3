//! Maintenance that can be watched and ended.

use std::fmt;
use std::path::Path;

use super::check::CollectionReport;
use crate::collection::error::CollectionError;
use crate::collection::progress::{Callback, Progress};
use crate::collection::writing::Collection;
use crate::index::CancelToken;

/// Maintenance that can be watched and ended. Made by [`Collection::task`].
///
/// ```
/// # let folder = std::env::temp_dir().join(format!("nearfield-doc-task-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("photos.nf");
/// use nearfield::{CancelToken, Collection, CollectionError, Metric};
///
/// let photos = Collection::builder(3, Metric::L2).open(&path)?;
/// let cancel = CancelToken::new(); // a clone of it may go to another thread
/// let report = photos
///     .task()
///     .progress(&|done, total| eprintln!("{:.0} %", 100.0 * done as f64 / total as f64))
///     .cancel(&cancel)
///     .check()?;
/// assert!(report.is_ok());
///
/// cancel.cancel();
/// assert!(matches!(photos.task().cancel(&cancel).compact(), Err(CollectionError::Cancelled)));
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
#[must_use = "nothing is done until one of the operations is called"]
pub struct MaintenanceTask<'a> {
    collection: &'a Collection,
    progress: Option<&'a Callback<'a>>,
    cancel: Option<&'a CancelToken>,
}

impl Collection {
    /// Returns a [`MaintenanceTask`]: maintenance that can be watched and ended.
    pub fn task(&self) -> MaintenanceTask<'_> {
        MaintenanceTask { collection: self, progress: None, cancel: None }
    }
}

impl<'a> MaintenanceTask<'a> {
    /// Sets a callback, called about a thousand times, by the thread that does the work, with the bytes read or written and their
    /// expected total; the total may grow, and both are equal at the end. The callback may search; a call that would have to wait for
    /// the operation itself, a transaction or [`Collection::stats`], is refused with
    /// [`StoreError::Deadlock`](crate::store::StoreError::Deadlock).
    pub fn progress(mut self, progress: &'a (dyn Fn(u64, u64) + Sync + 'a)) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Ends the operation when [`CancelToken::cancel`] is called, with [`CollectionError::Cancelled`], within some megabytes of work; the graph
    /// is checked in one piece, though, which takes about a second for a million vectors. The collection stays unchanged, and so does
    /// the file at the path of a backup.
    pub fn cancel(mut self, cancel: &'a CancelToken) -> Self {
        self.cancel = Some(cancel);
        self
    }

    /// [`Collection::checkpoint`].
    ///
    /// # Errors
    ///
    /// As there, and [`CollectionError::Cancelled`].
    pub fn checkpoint(self) -> Result<(), CollectionError> {
        self.run(|progress| self.collection.checkpoint_along(progress))
    }

    /// [`Collection::compact`].
    ///
    /// # Errors
    ///
    /// As there, and [`CollectionError::Cancelled`].
    pub fn compact(self) -> Result<u64, CollectionError> {
        self.run(|progress| self.collection.compact_along(progress))
    }

    /// [`Collection::check`].
    ///
    /// # Errors
    ///
    /// As there, and [`CollectionError::Cancelled`].
    pub fn check(self) -> Result<CollectionReport, CollectionError> {
        self.run(|progress| self.collection.check_along(progress))
    }

    /// [`Collection::preload`].
    ///
    /// # Errors
    ///
    /// As there, and [`CollectionError::Cancelled`]; chunks that are loaded already stay in memory.
    pub fn preload(self) -> Result<(), CollectionError> {
        self.run(|progress| self.collection.load_along(progress))
    }

    /// [`Collection::backup`].
    ///
    /// # Errors
    ///
    /// As there, and [`CollectionError::Cancelled`].
    pub fn backup(self, path: impl AsRef<Path>) -> Result<(), CollectionError> {
        self.run(|progress| self.collection.backup_along(path.as_ref(), progress))
    }

    /// [`Collection::build_index`]. Its progress counts keys, and a cancelled one keeps the transactions that are committed.
    ///
    /// # Errors
    ///
    /// As there, and [`CollectionError::Cancelled`].
    pub fn build_index(self, field: &str) -> Result<(), CollectionError> {
        self.run(|progress| self.collection.build_index_along(field, progress))
    }

    fn run<R>(
        self,
        operation: impl FnOnce(&Progress<'a>) -> Result<R, CollectionError>,
    ) -> Result<R, CollectionError> {
        let progress = Progress::new(self.progress, self.cancel);
        progress.step(0)?;
        let result = operation(&progress)?;
        progress.finish();
        Ok(result)
    }
}

impl fmt::Debug for MaintenanceTask<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaintenanceTask")
            .field("collection", self.collection)
            .field("progress", &self.progress.is_some())
            .field("cancel", &self.cancel)
            .finish_non_exhaustive()
    }
}
