//! The commit of a write transaction.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Durability, WriteTransaction};
use crate::observe::watch;
use crate::store::durability::Changes;
use crate::store::error::StoreError;
use crate::store::format::State;
use crate::store::pages::Shared;

impl WriteTransaction {
    /// Makes the changes visible and safe by the durability. After an error the store is unchanged; if the error poisoned it, the
    /// changes may still appear after a power cut.
    ///
    /// # Errors
    ///
    /// [`StoreError::TransactionFailed`] if an operation failed before, [`StoreError::Io`] if the disk refused: a full
    /// disk poisons nothing; [`StoreError::Poisoned`] after an earlier failure.
    pub fn commit(mut self) -> Result<(), StoreError> {
        watch!(let observed = crate::observe::Operation::StoreCommit.begin());
        self.change(Changes::seal)?;
        let changes = self.view()?;
        let shared = Arc::clone(&changes.pages.shared);
        let unchanged = self.log.as_ref().is_some_and(Vec::is_empty);
        if unchanged && !changes.pages.has_written {
            let changes = self.changes.take().ok_or(StoreError::TransactionFailed)?;
            flush(changes, self.durability)?;
            watch!(observed.done(1));
            return Ok(());
        }
        let log = self.log.take();
        let mut applied = shared.writer.unless_panic(|| self.apply(log.as_deref()));
        if let Err(error) = &applied
            && error.is_full()
            && shared.writer.refusal().is_none()
            && self.make_room()
            && let Some(log) = &log
        {
            applied = shared.writer.unless_panic(|| self.apply_again(log));
        }
        if let Some(changes) = self.changes.take() {
            give_back(changes);
        }
        let Applied { sync, publish } = applied.map_err(shared.place())?;
        if let Some(lsn) = sync {
            shared.sync_log(lsn)?;
        }
        if let Some(state) = publish {
            shared.frames.publish(state);
        }
        shared.traffic.commits.fetch_add(1, Ordering::Relaxed);
        watch!(observed.done(1));
        Ok(())
    }

    fn apply(&mut self, log: Option<&[u8]>) -> Result<Applied, StoreError> {
        let (durability, only_removes) = (self.durability, !self.adds);
        let changes = self.changes.as_mut().ok_or(StoreError::TransactionFailed)?;
        changes.pages.claim_room(only_removes)?;
        apply(changes, log, durability)
    }

    /// Drops the changes, for which the disk has no room, and makes a checkpoint if pages wait for one to become
    /// free. Returns whether a checkpoint was made.
    fn make_room(&mut self) -> bool {
        self.renew();
        let waiting = |changes: &Changes| !changes.pages.writer.waiting.is_empty();
        self.changes.as_ref().is_some_and(waiting) && self.settle().is_ok()
    }

    /// Makes the same changes again, as recovery would.
    fn apply_again(&mut self, log: &[u8]) -> Result<Applied, StoreError> {
        let changes = self.changes.as_mut().ok_or(StoreError::TransactionFailed)?;
        changes.replay(log)?;
        changes.seal()?;
        self.apply(Some(log))
    }
}

/// The rest of a commit when the next transaction may already begin.
struct Applied {
    /// The log must be on the disk up to here.
    sync: Option<u64>,
    /// The state to publish then; `None` if a checkpoint has published it.
    publish: Option<State>,
}

fn apply(
    changes: &mut Changes,
    log: Option<&[u8]>,
    durability: Durability,
) -> Result<Applied, StoreError> {
    let shared = Arc::clone(&changes.pages.shared);
    let pages = &mut changes.pages;
    let before = pages.writer.state;
    let state = changes.state.committed(&before, before.transaction + 1);
    let Some(body) = log.filter(|log| !pages.has_written && pages.writer.log.fits(log.len()))
    else {
        let bytes = pages.own_bytes();
        pages.commit_by_checkpoint(state)?;
        shared.traffic.committed.fetch_add(bytes, Ordering::Relaxed);
        return Ok(Applied { sync: None, publish: None });
    };
    shared.or_poison(|| {
        let ring = &mut pages.writer.log;
        ring.set_synced(shared.synced());
        ring.append(state.transaction, body);
        if durability != Durability::None {
            shared.wrote(ring.write(&*shared.storage)?);
            shared.log_written(ring.end().lsn);
        }
        let sync = (durability == Durability::Immediate).then(|| ring.end().lsn);
        shared.traffic.committed.fetch_add(body.len() as u64, Ordering::Relaxed);
        pages.install(state.transaction)?;
        pages.writer.state = state;
        Ok(Applied { sync, publish: Some(state) })
    })
}

/// Commits no change, but makes earlier commits safe by the durability.
fn flush(mut changes: Changes, durability: Durability) -> Result<(), StoreError> {
    let mut written = Ok(0);
    if durability != Durability::None {
        let shared = Arc::clone(&changes.pages.shared);
        let log = &mut changes.pages.writer.log;
        written = shared.or_poison(|| log.write(&*shared.storage));
        if written.is_ok() {
            shared.log_written(log.end().lsn);
        }
    }
    let lsn = changes.pages.writer.log.end().lsn;
    let shared = give_back(changes);
    shared.wrote(written?);
    if durability == Durability::Immediate { shared.sync_log(lsn) } else { Ok(()) }
}

/// Lets the next transaction begin.
pub(super) fn give_back(changes: Changes) -> Arc<Shared> {
    let (shared, writer) = changes.pages.abandon();
    shared.writer.give_back(writer);
    shared
}
