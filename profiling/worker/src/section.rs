//! Sections whose instructions are counted under `valgrind --tool=callgrind --toggle-collect=NAME`: functions of their
//! own that no optimiser inlines, so that setting up stays out of the count.

use crate::Failure;
use crate::work::Work;

/// Work of a section: small, as it runs some fifty times slower there.
const SEARCHES: usize = 100;
const INSERTIONS: usize = 200;
const ROWS: usize = 1000;

/// Counted: 100 searches in an index of some 1500 vectors.
#[inline(never)]
pub fn counted_searches(work: &mut Work) -> Result<(), Failure> {
    work.search(SEARCHES)
}

/// Counted: 200 insertions into an index of some 1500 vectors.
#[inline(never)]
pub fn counted_insertions(work: &mut Work) -> Result<(), Failure> {
    work.insert(INSERTIONS)
}

/// Runs both on a workload of insertions.
pub fn run(mut work: Work) -> Result<(), Failure> {
    work.insert(ROWS)?;
    counted_insertions(&mut work)?;
    // Scratch memory of searches.
    work.search(10)?;
    counted_searches(&mut work)
}
