//! Operations as spans of `tracing`.

use tracing::field::Empty;
use tracing::span::EnteredSpan;

use super::observed::Operation;

/// An entered span, which is left when it is dropped.
pub(super) struct Span {
    span: EnteredSpan,
    ended_well: bool,
}

/// A span of the level and name given. Each use is a separate call site for subscribers, so names are literals.
macro_rules! span {
    ($level:ident, $name:literal) => {
        tracing::span!(
            target: "nearfield",
            tracing::Level::$level,
            $name,
            items = Empty,
            distances = Empty,
            hops = Empty,
            failed = Empty
        )
    };
}

impl Span {
    pub(super) fn begin(operation: Operation) -> Self {
        let span = match operation {
            Operation::Search => span!(TRACE, "search"),
            Operation::SearchBatch => span!(DEBUG, "search_batch"),
            Operation::Insert => span!(TRACE, "insert"),
            Operation::InsertBatch => span!(DEBUG, "insert_batch"),
            Operation::Upsert => span!(TRACE, "upsert"),
            Operation::Remove => span!(TRACE, "remove"),
            Operation::Maintain => span!(INFO, "maintain"),
            Operation::Train => span!(INFO, "train"),
            Operation::Commit => span!(DEBUG, "commit"),
            Operation::Checkpoint => span!(INFO, "checkpoint"),
            Operation::Compact => span!(INFO, "compact"),
            Operation::Check => span!(INFO, "check"),
            Operation::Load => span!(INFO, "load"),
            Operation::Backup => span!(INFO, "backup"),
            Operation::Open => span!(INFO, "open"),
            Operation::StoreCommit => span!(TRACE, "store_commit"),
            Operation::StoreCheckpoint => span!(DEBUG, "store_checkpoint"),
            Operation::StoreSync => span!(TRACE, "store_sync"),
        };
        Self { span: span.entered(), ended_well: false }
    }

    pub(super) fn found(&self, distances: u64, hops: u64) {
        self.span.record("distances", distances);
        self.span.record("hops", hops);
    }

    pub(super) fn done(mut self, items: u64) {
        self.span.record("items", items);
        self.ended_well = true;
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if !self.ended_well {
            self.span.record("failed", true);
        }
    }
}
