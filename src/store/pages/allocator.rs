//! The free pages of the file.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::error::StoreError;
use crate::store::format::{MAX_PAGES, PageNo, Run};

/// Maximum number of free runs that are tried for one that no boundary cuts.
const TRIES: usize = 16;
/// The choice among the free runs that have room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// One of the shortest runs.
    Best,
    /// The first run in the file.
    First,
}

/// Free runs below `end`, the first page that was never used.
#[derive(Debug, Clone, Default)]
pub(crate) struct Allocator {
    by_start: BTreeMap<PageNo, u64>,
    by_len: BTreeSet<(u64, PageNo)>,
    free: u64,
    end: PageNo,
}

impl Allocator {
    pub(crate) fn new(end: PageNo) -> Self {
        Self { end, ..Self::default() }
    }

    /// Returns the first page beyond all used and free pages.
    pub(crate) fn end(&self) -> PageNo {
        self.end
    }

    /// Returns the number of free pages below the end.
    pub(crate) fn free_pages(&self) -> u64 {
        self.free
    }

    /// Returns the free runs, ascending.
    pub(crate) fn runs(&self) -> impl Iterator<Item = Run> {
        self.by_start.iter().map(|(&start, &pages)| Run { start, pages })
    }

    fn insert(&mut self, run: Run) {
        self.by_start.insert(run.start, run.pages);
        self.by_len.insert((run.pages, run.start));
        self.free += run.pages;
    }

    fn take(&mut self, run: Run) {
        self.by_start.remove(&run.start);
        self.by_len.remove(&(run.pages, run.start));
        self.free -= run.pages;
    }

    /// Takes the free page nearest to the start of the file, or a new one. `O(log runs)`.
    pub(crate) fn page(&mut self) -> Result<PageNo, StoreError> {
        let Some((&start, &pages)) = self.by_start.first_key_value() else {
            return self.extend(1);
        };
        self.take(Run { start, pages });
        if pages > 1 {
            self.insert(Run { start: start + 1, pages: pages - 1 });
        }
        Ok(start)
    }

    fn extend(&mut self, pages: u64) -> Result<PageNo, StoreError> {
        let start = self.end;
        self.end = start
            .checked_add(pages)
            .filter(|&end| end <= MAX_PAGES)
            .ok_or(StoreError::TooLarge { bytes: pages })?;
        Ok(start)
    }

    /// Takes `pages` adjacent pages, the first a multiple of `align`, all on the same side of every boundary; `boundary(page)` gives
    /// the next boundary after a page. `O(log runs)`.
    pub(crate) fn run(
        &mut self,
        pages: u64,
        align: u64,
        boundary: impl Fn(PageNo) -> PageNo,
    ) -> Result<Run, StoreError> {
        if pages == 1 && align == 1 {
            return self.page().map(Run::one);
        }
        // Several of the smallest runs that are long enough are tried, because a boundary may cut one.
        let found = self.by_len.range((pages, 0)..).take(TRIES).find_map(|&(len, start)| {
            let run = Run { start, pages: len };
            fit(run, pages, align, &boundary).map(|at| (run, at))
        });
        let (free, start) = if let Some(found) = found {
            found
        } else {
            let (mut free_start, mut search) = (self.end, self.end);
            if let Some((&start, &len)) = self.by_start.last_key_value()
                && start + len == self.end
            {
                (free_start, search) = (start, start);
            }
            let start = loop {
                let at = search.next_multiple_of(align);
                let end = at.checked_add(pages).filter(|&end| end <= MAX_PAGES);
                let end = end.ok_or(StoreError::TooLarge { bytes: pages })?;
                if end <= boundary(at) {
                    break at;
                }
                search = boundary(at);
            };
            let new_end = (start + pages).max(self.end);
            let grown = Run { start: self.end, pages: new_end - self.end };
            self.end = new_end;
            if grown.pages > 0 {
                self.release(grown);
            }
            free_start = self.by_start.range(..=start).next_back().map_or(free_start, |(&s, _)| s);
            (Run { start: free_start, pages: self.by_start[&free_start] }, start)
        };
        Ok(self.split(free, Run { start, pages }))
    }

    /// Gives a run back; merges it with its neighbours. `O(log runs)`.
    ///
    /// A run with a free page is ignored: only a corrupt tree can give up a page twice, and a lost page is better than a page that is
    /// allocated twice.
    pub(crate) fn release(&mut self, mut run: Run) {
        let before = self.by_start.range(..run.end()).next_back();
        let overlaps = before.is_some_and(|(&start, &pages)| start + pages > run.start);
        if run.pages == 0 || run.end() > self.end || overlaps {
            return;
        }
        if let Some((&start, &pages)) = before
            && start + pages == run.start
        {
            self.take(Run { start, pages });
            run = Run { start, pages: pages + run.pages };
        }
        if let Some((&start, &pages)) = self.by_start.range(run.end()..).next()
            && start == run.end()
        {
            self.take(Run { start, pages });
            run.pages += pages;
        }
        self.insert(run);
    }

    /// Gives up the free pages at the end from `limit` on.
    pub(crate) fn trim_to(&mut self, limit: PageNo) {
        if let Some((&start, &pages)) = self.by_start.last_key_value()
            && start + pages == self.end
            && self.end > limit
        {
            self.take(Run { start, pages });
            self.end = start.max(limit);
            if self.end > start {
                self.insert(Run { start, pages: self.end - start });
            }
        }
    }

    /// As [`Allocator::run`], before `limit` only. Returns `None` if no free run before it, of those that are tried, has room.
    pub(crate) fn below(
        &mut self,
        pages: u64,
        align: u64,
        limit: PageNo,
        how: (Fit, impl Fn(PageNo) -> PageNo),
    ) -> Option<Run> {
        const MOST: usize = 400;
        /// Runs of each length that are tried.
        const OF_LENGTH: usize = 4;

        let (fit_by, boundary) = how;
        let fits = |start: PageNo, len: u64| {
            let free = Run { start, pages: len };
            let at = fit(free, pages, align, &boundary)?;
            (at + pages <= limit).then_some((free, at))
        };
        let mut found = None;
        if fit_by == Fit::First {
            let runs = self.by_start.range(..limit).filter(|&(_, &len)| len >= pages);
            found = runs.take(MOST).find_map(|(&start, &len)| fits(start, len));
        } else {
            let mut len = pages;
            for _ in 0..MOST {
                let Some(&(longer, _)) = self.by_len.range((len, 0)..).next() else { break };
                let mut runs = self.by_len.range((longer, 0)..(longer, limit)).take(OF_LENGTH);
                found = runs.find_map(|&(len, start)| fits(start, len));
                if found.is_some() {
                    break;
                }
                len = longer + 1;
            }
        }
        let (free, start) = found?;
        Some(self.split(free, Run { start, pages }))
    }

    /// As [`Allocator::run`], behind all used and free pages.
    pub(crate) fn beyond(
        &mut self,
        pages: u64,
        align: u64,
        boundary: impl Fn(PageNo) -> PageNo,
    ) -> Result<Run, StoreError> {
        let before = self.end;
        let mut free = Self::new(before);
        let run = free.run(pages, align, boundary)?;
        self.end = free.end;
        for gap in free.runs() {
            self.release(gap);
        }
        Ok(run)
    }

    /// Returns the free page nearest to the start of the file.
    pub(crate) fn first(&self) -> Option<PageNo> {
        self.by_start.first_key_value().map(|(&start, _)| start)
    }

    /// Takes `run` out of the free run that contains it.
    fn split(&mut self, free: Run, run: Run) -> Run {
        self.take(free);
        if run.start > free.start {
            self.insert(Run { start: free.start, pages: run.start - free.start });
        }
        if free.end() > run.end() {
            self.insert(Run { start: run.end(), pages: free.end() - run.end() });
        }
        run
    }

    /// Gives up all pages from `end` on, none of which is free, and the free pages before them.
    pub(crate) fn cut(&mut self, end: PageNo) {
        debug_assert!(self.by_start.range(end..).next().is_none() && end <= self.end);
        self.end = end;
        self.trim();
    }

    /// Gives up the free pages at the end. Returns the new end.
    pub(crate) fn trim(&mut self) -> PageNo {
        if let Some((&start, &pages)) = self.by_start.last_key_value()
            && start + pages == self.end
        {
            self.take(Run { start, pages });
            self.end = start;
        }
        self.end
    }
}

/// Returns the place in a free run at which the wanted run fits.
fn fit(free: Run, pages: u64, align: u64, boundary: &impl Fn(PageNo) -> PageNo) -> Option<PageNo> {
    let mut at = free.start.next_multiple_of(align);
    while at + pages <= free.end() {
        let end = boundary(at);
        if at + pages <= end {
            return Some(at);
        }
        at = end.next_multiple_of(align);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unbounded(_: PageNo) -> PageNo {
        u64::MAX
    }

    #[test]
    fn pages_come_from_the_front_and_merge_on_return() {
        let mut allocator = Allocator::new(10);
        let pages: Vec<_> = (0..5).map(|_| allocator.page().unwrap()).collect();
        assert_eq!(pages, [10, 11, 12, 13, 14]);
        for page in [11, 13, 12] {
            allocator.release(Run::one(page));
        }
        assert_eq!(allocator.runs().collect::<Vec<_>>(), [Run { start: 11, pages: 3 }]);
        assert_eq!(allocator.page().unwrap(), 11);
    }

    #[test]
    fn runs_keep_alignment_and_boundaries() {
        let mut allocator = Allocator::new(3);
        let boundary = |page: PageNo| (page / 64 + 1) * 64;
        let a = allocator.run(20, 8, boundary).unwrap();
        assert_eq!(a, Run { start: 8, pages: 20 });
        let b = allocator.run(40, 1, boundary).unwrap();
        assert_eq!(b, Run { start: 64, pages: 40 }, "28..68 would cross 64");
        assert_eq!(allocator.free_pages(), 5 + 36);
        let c = allocator.run(30, 2, boundary).unwrap();
        assert_eq!(c, Run { start: 28, pages: 30 });
    }

    #[test]
    fn a_free_end_is_given_up_down_to_a_limit() {
        let mut allocator = Allocator::new(4);
        let run = allocator.run(10, 1, unbounded).unwrap();
        allocator.trim_to(4);
        assert_eq!(allocator.end(), 14, "its pages are in use");
        allocator.release(Run { start: 8, pages: 6 });
        allocator.trim_to(20);
        assert_eq!(allocator.end(), 14);
        allocator.trim_to(10);
        assert_eq!((allocator.end(), allocator.free_pages()), (10, 2));
        allocator.trim_to(0);
        assert_eq!((allocator.end(), allocator.free_pages()), (8, 0));
        assert_eq!(run, Run { start: 4, pages: 10 });
    }

    #[test]
    fn a_place_below_is_the_shortest_that_has_room_there() {
        let mut allocator = Allocator::new(100);
        for run in [Run { start: 10, pages: 9 }, Run { start: 30, pages: 5 }] {
            allocator.release(run);
        }
        allocator.release(Run { start: 60, pages: 4 });
        let mut below = |pages, align, limit| {
            allocator.below(pages, align, limit, (Fit::Best, unbounded)).map(|run| run.start)
        };
        assert_eq!(below(4, 1, 60), Some(30));
        assert_eq!(below(4, 1, 64), Some(60));
        assert_eq!(below(4, 16, 60), None);
        assert_eq!(below(4, 1, 13), None, "it would end at 14");
        assert_eq!(below(3, 16, 60), Some(16));
        assert_eq!(below(7, 1, 60), None);
        let left: Vec<_> = allocator.runs().map(|run| (run.start, run.pages)).collect();
        assert_eq!(left, [(10, 6), (34, 1)]);
        let first = allocator.below(1, 1, 60, (Fit::First, unbounded)).unwrap();
        assert_eq!(first.start, 10, "the first one, though another is shorter");
        allocator.release(first);
        let run = allocator.beyond(8, 16, unbounded).unwrap();
        assert_eq!((run.start, allocator.end()), (112, 120));
        assert_eq!(allocator.free_pages(), 7 + 12);
        allocator.cut(112);
        assert_eq!((allocator.end(), allocator.free_pages()), (100, 7));
    }

    #[test]
    fn nothing_is_lost_or_given_twice() {
        let mut allocator = Allocator::new(0);
        let mut held: Vec<Run> = Vec::new();
        let mut x = 1_u64;
        for _ in 0..20_000 {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let r = x >> 33;
            if r % 3 < 2 || held.is_empty() {
                let align = [1, 1, 4, 16][(r >> 8) as usize % 4];
                held.push(allocator.run(1 + (r >> 12) % 20, align, unbounded).unwrap());
            } else {
                let run = held.swap_remove((r >> 8) as usize % held.len());
                allocator.release(run);
            }
        }
        held.extend(allocator.runs());
        held.sort_by_key(|run| run.start);
        let mut at = 0;
        for run in held {
            assert_eq!(run.start, at);
            at = run.end();
        }
        assert_eq!(at, allocator.end());
    }
}
