//! Statistics of a store, and of its trees and extents.

use std::sync::atomic::Ordering;

use crate::store::error::StoreError;
use crate::store::format::{ExtentRecord, NodeRef, Stored, TableRecord};
use crate::store::pages::{Pin, Shared};
use crate::store::tree::{self, Visit};

/// Sizes of one tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct TreeStats {
    /// Entries.
    pub entries: u64,
    /// Levels; 0 for an empty tree.
    pub depth: u64,
    /// Pages above the leaves.
    pub branch_pages: u64,
    /// Pages with entries.
    pub leaf_pages: u64,
    /// Pages of values that are too long for a leaf.
    pub overflow_pages: u64,
    /// Bytes of keys and values.
    pub data_bytes: u64,
    /// Used bytes of branch and leaf pages.
    pub used_bytes: u64,
}

/// Sizes of the trees and extents of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Contents {
    /// Each table by name, and the two system trees as `(catalog)` and `(extents)`.
    pub trees: Vec<(String, TreeStats)>,
    /// Number of extents.
    pub extents: u64,
    /// Bytes of extents.
    pub extent_bytes: u64,
    /// Pages of extents.
    pub extent_pages: u64,
}

/// Sizes and counts of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Stats {
    /// Bytes of a page.
    pub page_size: usize,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes of the log, and of these in use.
    pub log_bytes: (u64, u64),
    /// Pages of meta slots and log.
    pub reserved_pages: u64,
    /// Pages that can be used at once. The file also has zeros behind its last page: see the [module](crate::store).
    pub free_pages: u64,
    /// Pages that wait for a checkpoint or for a snapshot to end.
    pub waiting_pages: u64,
    /// Bytes of the waiting pages that snapshots of this process, or checkpoints that other
    /// processes read, keep from being reused.
    pub held_bytes: u64,
    /// Open snapshots of this process.
    pub snapshots: usize,
    /// Bytes of pages that are in memory because no checkpoint has written them, or a snapshot still sees them.
    pub resident_bytes: usize,
    /// Commits since the store was opened.
    pub commits: u64,
    /// Checkpoints since the store was opened.
    pub checkpoints: u64,
    /// Bytes of operations committed since the store was opened; bytes of pages for a commit that was not logged.
    pub committed_bytes: u64,
    /// Bytes written to the file since the store was opened.
    pub written_bytes: u64,
    /// Number of waits for the disk since the store was opened.
    pub syncs: u64,
}

impl TreeStats {
    /// Returns the used part of the tree's pages, from 0 to 1.
    pub fn fill(&self, page_size: usize) -> f64 {
        let pages = self.branch_pages + self.leaf_pages;
        if pages == 0 {
            return 0.0;
        }
        self.used_bytes as f64 / (pages * page_size as u64) as f64
    }
}

impl Stats {
    /// Returns the bytes written to the file per committed byte since the store was opened; 0 without a commit.
    pub fn write_amplification(&self) -> f64 {
        if self.committed_bytes == 0 {
            return 0.0;
        }
        self.written_bytes as f64 / self.committed_bytes as f64
    }
}

pub(crate) fn stats(shared: &Shared) -> Result<Stats, StoreError> {
    let (free_pages, waiting_pages, held_bytes, log_used, log_len, reserved) =
        shared.writer.look(|writer| {
            Ok::<_, StoreError>((
                writer.allocator.free_pages(),
                writer.waiting_runs().map(|run| run.pages).sum(),
                writer.held_pages(&shared.frames) * shared.page_size as u64,
                writer.log.used(),
                writer.meta.log_len,
                writer.reserved() + u64::from(writer.meta.far != 0),
            ))
        })?;
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    Ok(Stats {
        page_size: shared.page_size,
        file_bytes: shared.storage.len().map_err(StoreError::io("measure the file"))?,
        log_bytes: (log_len, log_used),
        reserved_pages: reserved,
        free_pages,
        waiting_pages,
        held_bytes,
        snapshots: shared.frames.readers(),
        resident_bytes: shared.frames.resident_bytes(),
        commits: count(&shared.traffic.commits),
        checkpoints: count(&shared.traffic.checkpoints),
        committed_bytes: count(&shared.traffic.committed),
        written_bytes: count(&shared.traffic.written),
        syncs: count(&shared.traffic.syncs),
    })
}

pub(crate) fn contents(shared: &Shared) -> Result<Contents, StoreError> {
    let pin = shared.frames.pin();
    let mut tables = Vec::new();
    let catalog = tree_stats(&pin, pin.state.catalog, |key, value| {
        let record = TableRecord::decode(pin.state.catalog.page, value)?;
        tables.push((String::from_utf8_lossy(key).into_owned(), record.root));
        Ok(())
    })?;
    let (mut extents, mut extent_bytes, mut extent_pages) = (0, 0, 0);
    let extent_tree = tree_stats(&pin, pin.state.extents, |_, value| {
        let record = ExtentRecord::decode(pin.state.extents.page, value)?;
        extents += 1;
        extent_bytes += record.len;
        extent_pages += record.pages(shared.page_size);
        Ok(())
    })?;
    let mut trees = vec![("(catalog)".to_owned(), catalog), ("(extents)".to_owned(), extent_tree)];
    for (name, root) in tables {
        trees.push((name, tree_stats(&pin, root, |_, _| Ok(()))?));
    }
    Ok(Contents { trees, extents, extent_bytes, extent_pages })
}

fn tree_stats(
    pin: &Pin,
    root: NodeRef,
    mut entry: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<TreeStats, StoreError> {
    let mut stats = TreeStats::default();
    tree::visit(pin, root, &mut |visit| {
        match visit {
            Visit::Node(node) => {
                stats.depth = stats.depth.max(node.level() as u64 + 1);
                stats.used_bytes += node.used() as u64;
                *(if node.is_leaf() { &mut stats.leaf_pages } else { &mut stats.branch_pages }) +=
                    1;
            }
            Visit::Entry(key, stored) => {
                stats.entries += 1;
                stats.data_bytes += key.len() as u64;
                match stored {
                    Stored::Inline(value) => {
                        stats.data_bytes += value.len() as u64;
                        entry(key, value)?;
                    }
                    Stored::Overflow(value) => {
                        stats.data_bytes = stats.data_bytes.saturating_add(value.len);
                        let pages = value.len.div_ceil(pin.page_size() as u64);
                        stats.overflow_pages = stats.overflow_pages.saturating_add(pages);
                    }
                }
            }
        }
        Ok(())
    })?;
    Ok(stats)
}
