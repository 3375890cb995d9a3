//! All runs of a state, and the length of the file if they were packed.

use std::collections::BTreeMap;

use crate::store::durability::Changes;
use crate::store::error::StoreError;
use crate::store::format::{ExtentRecord, NodeRef, PageNo, Run, Stored, TableRecord};
use crate::store::pages::{Allocator, Workspace};
use crate::store::tree::{self, Visit};

/// The coarsest granularity of mappings, used for an extent that has no room at its own alignment.
const COARSE: u64 = 64 << 10;

/// The alignment of extents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Align {
    /// The alignment of new extents, if such a place is free.
    Fine,
    /// At most [`COARSE`].
    Coarse,
    /// At most [`COARSE`], and none for extents that are aligned to [`COARSE`] or less when they are new. Systems whose pages
    /// are longer than those of the store copy them instead of mapping them.
    Tight,
}

impl Align {
    /// Returns the alignment in pages for an extent that is aligned to `pages` when it is new.
    pub(crate) fn of(self, pages: u64, page_size: usize) -> u64 {
        let coarse = (COARSE / page_size as u64).max(1);
        match self {
            Self::Fine => pages,
            Self::Coarse => pages.min(coarse),
            Self::Tight if pages <= coarse => 1,
            Self::Tight => coarse,
        }
    }
}

/// All runs of a state: pages and alignment by first page.
pub(crate) struct Survey(BTreeMap<PageNo, (u64, u64)>);

impl Survey {
    pub(crate) fn of(changes: &Changes) -> Result<Self, StoreError> {
        let size = changes.pages.page_size();
        let mut runs = BTreeMap::new();
        for (_, record) in extents(changes)? {
            runs.insert(record.page, (record.pages(size), record.align(size)));
        }
        let mut roots = vec![changes.state.catalog, changes.state.extents];
        roots.extend(tables(changes)?.into_iter().map(|(_, record)| record.root));
        for root in roots {
            tree::visit(&changes.pages, root, &mut |visit| {
                match visit {
                    Visit::Node(node) => drop(runs.insert(node.page(), (1, 1))),
                    Visit::Entry(_, Stored::Overflow(value)) => {
                        let pages = value.len.div_ceil(size as u64);
                        runs.insert(value.page, (pages, 1));
                    }
                    Visit::Entry(..) => {}
                }
                Ok(())
            })?;
        }
        Ok(Self(runs))
    }

    /// Returns the place behind which all runs should be packed anew, if that makes the file shorter, and the alignment of extents.
    pub(crate) fn gain(&self, pages: &Workspace) -> Option<(PageNo, Align)> {
        let allocator = &pages.writer.allocator;
        let used: u64 = self.0.values().map(|&(pages, _)| pages).sum();
        let ideal = pages.writer.reserved() + used;
        let bearable = ideal / 100;
        let mut free = 0;
        let from = allocator.runs().find_map(|run| {
            free += run.pages;
            (free > bearable).then_some(run.start)
        })?;
        let ends = [Align::Fine, Align::Coarse, Align::Tight]
            .map(|align| (self.packed(pages, from, align), align));
        let (packed, align) =
            ends.into_iter().find(|(end, _)| *end <= ends[2].0 + ideal * 3 / 100)?;
        (packed + 1 + bearable / 2 < allocator.end()).then_some((from, align))
    }

    /// Returns the end of the file if all runs from `from` on were packed.
    fn packed(&self, pages: &Workspace, from: PageNo, align: Align) -> PageNo {
        let size = pages.page_size() as u64;
        let segments = &pages.shared.frames.segments;
        let boundary = |page: PageNo| segments.segment_end(page * size) / size;
        let mut sim: Allocator = pages.writer.allocator.clone();
        let moved = || self.0.range(from..).map(|(&start, &(pages, align))| (start, pages, align));
        for (start, pages, _) in moved() {
            sim.release(Run { start, pages });
        }
        sim.trim();
        let mut runs: Vec<_> =
            moved().map(|(_, length, fine)| (align.of(fine, size as usize), length)).collect();
        runs.sort_unstable_by_key(|&(align, pages)| std::cmp::Reverse((align > 1, pages)));
        for (align, pages) in runs {
            if sim.run(pages, align, boundary).is_err() {
                return PageNo::MAX / 2;
            }
        }
        sim.end()
    }

    /// Returns the bytes of the runs from `from` on, with the bytes that alignment may add.
    pub(crate) fn bytes(&self, pages: &Workspace, from: PageNo) -> u64 {
        let runs = self.0.range(from..).map(|(_, &(pages, align))| pages + align - 1);
        runs.sum::<u64>() * pages.page_size() as u64
    }
}

pub(crate) fn extents(changes: &Changes) -> Result<Vec<(Vec<u8>, ExtentRecord)>, StoreError> {
    entries(changes, changes.state.extents, ExtentRecord::decode)
}

pub(crate) fn tables(changes: &Changes) -> Result<Vec<(Vec<u8>, TableRecord)>, StoreError> {
    entries(changes, changes.state.catalog, TableRecord::decode)
}

fn entries<R>(
    changes: &Changes,
    root: NodeRef,
    decode: impl Fn(u64, &[u8]) -> Result<R, StoreError>,
) -> Result<Vec<(Vec<u8>, R)>, StoreError> {
    let mut found = Vec::new();
    tree::visit(&changes.pages, root, &mut |visit| {
        if let Visit::Entry(key, Stored::Inline(value)) = visit {
            found.push((key.to_vec(), decode(root.page, value)?));
        }
        Ok(())
    })?;
    Ok(found)
}
