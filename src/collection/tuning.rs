//! Settings of an opening, which the file does not keep.

use std::time::Duration;

use crate::simd::Isa;

/// Settings of an opening.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tuning {
    pub(super) isa: Option<Isa>,
    /// Bytes of journal after which a commit makes a checkpoint.
    pub(super) checkpoint_after: u64,
    /// The time that applying the journal may take.
    pub(super) replay_limit: Duration,
    pub(super) memory_limit: Option<u64>,
    /// Bytes that the sets of keys of predicates may take.
    pub(super) selection_memory: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            isa: None,
            checkpoint_after: 8 << 20,
            replay_limit: Duration::from_millis(100),
            memory_limit: None,
            selection_memory: 8 << 20,
        }
    }
}

impl Tuning {
    /// Returns the bytes that the journal may have beside columns of `bytes` bytes.
    pub(super) fn journal_limit(&self, bytes: u64) -> u64 {
        self.checkpoint_after.max(bytes / 16)
    }

    /// Returns whether `operations` on vectors of `bytes` bytes, which took `took`, may not be left to the next opening.
    pub(super) fn is_late(&self, operations: u64, took: Duration, bytes: usize) -> bool {
        /// The time of an operation at least: a clock that says less does not let many of them pass.
        const LEAST: Duration = Duration::from_micros(25);
        /// The time of an operation on a vector of 1 KiB at most: a machine that is busy with other things does not make deltas frequent.
        const MOST: Duration = Duration::from_micros(400);

        let count = u32::try_from(operations).unwrap_or(u32::MAX);
        let most = MOST.saturating_mul((bytes as u32 >> 10).max(1));
        let least = LEAST.saturating_mul(count);
        let took = took.min(most.saturating_mul(count)).max(least);
        operations > 0 && took >= self.replay_limit
    }

    /// Returns the bytes that deltas may have beside columns of `bytes` bytes, of which a checkpoint would write `changed`.
    pub(super) fn delta_limit(bytes: u64, changed: u64) -> u64 {
        /// Below this, a checkpoint costs more than its bytes.
        const LEAST: u64 = 4 << 20;
        /// Bytes that are copied in some hundredths of a second.
        const MOST: u64 = 16 << 20;

        changed.max(LEAST).min(MOST.max(bytes / 64))
    }
}
