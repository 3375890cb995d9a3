//! Deltas, by which the file keeps up with the index in memory between two checkpoints, and the newest state for snapshots.

use std::sync::Arc;
use std::time::Duration;

use super::handle::Inner;
use super::writer::Writer;
use crate::collection::columns::{Moment, Origins, changed_bytes, newest_commit, read_head, track};
use crate::collection::error::CollectionError;
use crate::collection::format::{DELTAS, Kind};
use crate::collection::progress::Progress;
use crate::collection::reading::Live;
use crate::collection::tuning::Tuning;
use crate::index::Stored;
use crate::store::Durability;
use crate::threads;

/// Whether the index in memory has the newest commit of the store.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Places of the vectors behind the last delta in the journal.
    pub(super) origins: Origins,
    /// Operations that freeze the index for long, and may run a callback meanwhile.
    pub(super) holders: usize,
}

/// Marks the index as frozen for long, until it is dropped.
pub(super) struct Holding<'a>(&'a Inner);

impl<'a> Holding<'a> {
    pub(super) fn new(inner: &'a Inner) -> Self {
        inner.pace.lock().holders += 1;
        Self(inner)
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.0.pace.lock().holders -= 1;
    }
}

impl Inner {
    /// Returns whether replaying the operations behind columns and deltas would take too long.
    pub(super) fn is_late(&self, writer: &Writer) -> bool {
        self.tuning.is_late(writer.late, writer.took, self.settings.vector_bytes())
    }

    /// Writes the rows that changed since the last delta, or a checkpoint if deltas would become too long.
    pub(super) fn write_delta(&self, writer: &mut Writer) -> Result<(), CollectionError> {
        let mut pace = self.pace.lock();
        let is_written = self.index.frozen(|image| {
            let most = Tuning::delta_limit(writer.columns, changed_bytes(&image));
            let most = most.saturating_sub(writer.deltas);
            let read = self.store.begin_read()?;
            let head = read_head(&read, Kind::Graph)?
                .ok_or(CollectionError::NotACollection { path: None })?;
            let moment = Moment::of(&image, writer.commit, &read, &pace.origins, most)?;
            let Some(moment) = moment else { return Ok(false) };
            let delta = moment.encode(&head, writer.journal);
            let mut tx = self.store.begin_write()?;
            // If a power cut takes the delta, the journal still has its operations.
            tx.set_durability(Durability::Eventual);
            tx.table::<u64>(DELTAS)?.insert(writer.next_delta, &delta)?;
            tx.commit()?;
            writer.deltas += delta.len() as u64;
            writer.delta_bytes += delta.len() as u64;
            writer.next_delta += 1;
            writer.count_anew();
            track(&image);
            Ok::<_, CollectionError>(true)
        })?;
        pace.origins.clear();
        drop(pace);
        if is_written { Ok(()) } else { self.checkpoint(writer, &Progress::default()) }
    }

    /// Returns the newest commit as the index in memory has it. Returns `None` if only the file has the commit, or if the index is
    /// frozen for long.
    pub(super) fn live(&self) -> Result<Option<Live>, CollectionError> {
        /// A commit takes less time as a rule.
        const PATIENCE: Duration = Duration::from_secs(1);
        /// The commit may wait for this thread of the pool.
        const ON_POOL: Duration = Duration::from_millis(20);

        let is_on_pool = threads::is_in_pool();
        let pace = self.pace.try_lock_for(if is_on_pool { ON_POOL } else { PATIENCE });
        let Some(pace) = pace.filter(|pace| pace.holders == 0 && self.writer.refusal().is_none())
        else {
            return Ok(None);
        };
        self.index.frozen(|image| {
            let tx = Arc::new(self.store.begin_read()?);
            let head = read_head(&tx, Kind::Graph)?
                .ok_or(CollectionError::NotACollection { path: None })?;
            let commit = newest_commit(&tx, &head)?;
            let moment = Moment::of(&image, commit, &tx, &pace.origins, u64::MAX)?;
            Ok(moment.map(|moment| Live { tx, head, moment }))
        })
    }
}
