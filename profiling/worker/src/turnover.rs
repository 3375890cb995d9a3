//! Changes of a living index: vectors are removed, inserted again, and replaced.

use std::hint::black_box;

use nearfield::VectorRef;

use crate::Failure;
use crate::set::Set;
use crate::subject::Subject;

/// Vectors that are away at any time.
const AWAY: usize = 100;

/// Turns from one replacement of a vector to the next.
const REWRITE_EVERY: usize = 4;

/// A round over the vectors of a set: at any time some are away, all others are in the index.
#[derive(Debug)]
pub struct Turnover {
    /// The next row to remove.
    next: usize,
    away: usize,
}

impl Turnover {
    /// Removes the first vectors of an index that holds all of a set under their row numbers.
    pub fn begin(index: &dyn Subject, set: &Set) -> Result<Self, Failure> {
        let away = AWAY.min(set.base.len() / 4);
        for row in 0..away {
            index.remove(row as u64)?;
        }
        Ok(Self { next: away, away })
    }

    /// Repeats `count` times: removes a vector, and inserts the one that has been away for longest. Every fourth time, replaces a vector
    /// in the index by itself, so that the contents stay known.
    pub fn turn(&mut self, index: &dyn Subject, set: &Set, count: usize) -> Result<(), Failure> {
        let rows = set.base.len();
        for _ in 0..count {
            index.remove((self.next % rows) as u64)?;
            insert(index, set, (self.next + rows - self.away) % rows)?;
            if self.next.is_multiple_of(REWRITE_EVERY) {
                let at = (self.next + rows / 2) % rows;
                index.upsert(at as u64, black_box(&row(set, at)?))?;
            }
            self.next += 1;
        }
        Ok(())
    }

    /// Inserts all vectors that are away.
    pub fn end(self, index: &dyn Subject, set: &Set) -> Result<(), Failure> {
        let rows = set.base.len();
        for row in 0..self.away {
            insert(index, set, (self.next + rows - self.away + row) % rows)?;
        }
        Ok(())
    }
}

fn insert(index: &dyn Subject, set: &Set, at: usize) -> Result<(), Failure> {
    index.insert(at as u64, black_box(&row(set, at)?))
}

fn row(set: &Set, at: usize) -> Result<VectorRef<'_>, Failure> {
    Ok(set.base.row(at).ok_or("a set without vectors")?)
}
