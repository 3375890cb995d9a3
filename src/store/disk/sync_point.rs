//! The places at which the store waits for the disk.

/// The places at which the store waits for the disk. Each is needed: a test turns them off in turn and expects a power cut to show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(
    not(feature = "simulation"),
    expect(unreachable_pub, reason = "only simulated disks let other crates name it")
)]
pub enum SyncPoint {
    /// A new file's log and first meta slot.
    Create,
    /// Records of the log, before a commit is acknowledged.
    Log,
    /// Pages and extents of a checkpoint, before its meta slot is written.
    CheckpointData,
    /// The meta slot of a checkpoint, before the pages that it replaces are reused.
    CheckpointMeta,
}

#[cfg(feature = "simulation")]
impl SyncPoint {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Create, Self::Log, Self::CheckpointData, Self::CheckpointMeta];
}
