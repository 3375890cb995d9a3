//! An operation from its beginning to its end.

#[cfg(feature = "metrics")]
use super::meter::Meter;
#[cfg(feature = "tracing")]
use super::span::Span;

/// The observed operations. Names are those of spans and of the label `operation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// One query; an item is a query.
    Search,
    SearchBatch,
    /// One vector; an item is a vector.
    Insert,
    InsertBatch,
    /// One vector; an item is a vector, new or replacing another.
    Upsert,
    /// One vector; an item is a vector that was in the index.
    Remove,
    /// Maintenance of an index in memory; an item is a slot that became vacant, or a vector that moved.
    Maintain,
    /// An inverted-file index finds its lists; an item is a vector.
    Train,
    /// A commit of a collection; an item is a changed vector.
    Commit,
    /// A checkpoint of a collection, the store's included; an item is a byte of a chunk.
    Checkpoint,
    /// Compaction of a collection; an item is a byte by which the file became shorter.
    Compact,
    /// A check of a collection: all of it is read and verified.
    Check,
    /// A collection is read into memory.
    Load,
    /// A collection is copied to another file.
    Backup,
    /// A collection is opened; an item is an operation of the journal that was applied anew.
    Open,
    /// A commit of the store under collections.
    StoreCommit,
    StoreCheckpoint,
    /// A wait for the disk.
    StoreSync,
}

impl Operation {
    /// Notes that the operation begins.
    pub(crate) fn begin(self) -> Observed {
        Observed {
            #[cfg(feature = "tracing")]
            span: Span::begin(self),
            #[cfg(feature = "metrics")]
            meter: Meter::begin(self),
        }
    }
}

/// A running operation.
#[must_use = "an operation that is dropped has failed"]
pub(crate) struct Observed {
    #[cfg(feature = "tracing")]
    span: Span,
    #[cfg(feature = "metrics")]
    meter: Meter,
}

impl Observed {
    /// Notes the distances and hops of a search for one query.
    pub(crate) fn found(&self, distances: u64, hops: u64) {
        #[cfg(feature = "tracing")]
        self.span.found(distances, hops);
        #[cfg(feature = "metrics")]
        self.meter.found(distances, hops);
    }

    /// Notes that the operation succeeded with `items` items.
    pub(crate) fn done(self, items: u64) {
        #[cfg(feature = "metrics")]
        self.meter.done(items);
        #[cfg(feature = "tracing")]
        self.span.done(items);
    }
}
