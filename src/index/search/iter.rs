//! Answers one after the other, for as long as the caller continues.

use std::fmt;
use std::iter::FusedIterator;

use super::Searchable;
use super::cursor::Cursor;
use super::wanted::Wanted;
use crate::distance::Vigil;
use crate::error::IndexError;
use crate::index::query::filter::{Filter, Screen};
use crate::index::query::hits::{Hit, Hits, SearchPlan};
use crate::index::query::request::Request;
use crate::vector::{Block, VectorRef};

/// Answers of the first round.
const FIRST: usize = 32;

/// Factor by which the next round finds more answers: while rounds walk, and once each round scans all
/// vectors.
const GROWTH: (usize, usize) = (2, 16);

/// Hits, the nearest first, found as they are asked for. Made by
/// [`Search::iter`](crate::Search::iter).
pub struct SearchIter<'a, F> {
    index: &'a dyn Searchable,
    /// The request of each round, without the number of answers.
    request: Request<'a>,
    filter: Option<F>,
    cursor: Cursor,
    /// The last round; hits before `place` were given.
    hits: Hits,
    place: usize,
    /// Whether the last round was the final one.
    ended: bool,
}

impl<'a, F: Filter> SearchIter<'a, F> {
    pub(in crate::index) fn new(
        index: &'a dyn Searchable,
        query: VectorRef<'_>,
        wanted: Wanted<'a>,
        filter: Option<F>,
        mut cursor: Cursor,
    ) -> Result<Self, IndexError> {
        let request = wanted.request(index, None::<&fn(u64) -> bool>)?;
        let request = Request { k: wanted.k.unwrap_or(usize::MAX), ..request };
        let encoder = index.encoder();
        let mut row = vec![Block::ZERO; encoder.blocks()];
        encoder.encode(query, &mut row)?;
        if !cursor.row.is_empty() && cursor.row != row {
            return Err(IndexError::Parameter {
                name: "cursor",
                value: "that of another query".to_owned(),
                allowed: "one that an iteration of the same query gave",
            });
        }
        cursor.row = row;
        Ok(Self { index, request, filter, cursor, hits: Hits::new(), place: 0, ended: false })
    }

    /// Searches for more hits than the last round.
    fn refill(&mut self) {
        let Self { index, request, filter, cursor, hits, place, ended } = self;
        let growth = if cursor.scanned { GROWTH.1 } else { GROWTH.0 };
        let k = cursor.round.saturating_mul(growth).clamp(FIRST, request.k.max(FIRST));
        let filter = filter.as_ref().map(|filter| filter as &dyn Filter);
        let screen = Screen::new(filter, request.screen.excluded);
        // The last answers of a round would have lower recall than the first if `ef` did not exceed `k`.
        let ef = request.ef.max(k.saturating_add(k / 2));
        let request = Request { k, ef, screen, ..*request };
        index.work().with(|work| {
            work.row.clear();
            work.row.extend_from_slice(&cursor.row);
            let vigil = Vigil::begin(index.custom_use());
            index.find(&request, work, hits);
            // Without distances the hits would be any.
            if vigil.end().is_err() {
                hits.set_nothing();
            }
        });
        *place = 0;
        *ended = hits.len() < k || k >= self.request.k || !hits.is_complete();
        cursor.round = k;
        cursor.scanned = matches!(hits.plan(), SearchPlan::Scan | SearchPlan::FilteredScan);
    }
}

impl<F> SearchIter<'_, F> {
    pub(super) fn asked(&self) -> Option<&F> {
        self.filter.as_ref()
    }

    /// Returns whether no search has ended early until now, by its limit of time or because a custom metric panicked: see
    /// [`Hits::is_complete`](crate::Hits::is_complete).
    pub fn is_complete(&self) -> bool {
        self.hits.is_complete()
    }

    /// Returns the position reached: hits given before it are not given again.
    pub fn cursor(&self) -> Cursor {
        let mut cursor = self.cursor.clone();
        // Hits that were found and not given must be found again.
        if self.place < self.hits.len() {
            cursor.round /= if cursor.scanned { GROWTH.1 } else { GROWTH.0 };
        }
        cursor
    }
}

impl<F: Filter> Iterator for SearchIter<'_, F> {
    type Item = Hit;

    fn next(&mut self) -> Option<Hit> {
        if self.cursor.given.len() >= self.request.k {
            return None;
        }
        loop {
            while let Some(&hit) = self.hits.get(self.place) {
                self.place += 1;
                if self.cursor.given.insert(hit.key) {
                    return Some(hit);
                }
            }
            if self.ended {
                return None;
            }
            self.refill();
        }
    }
}

impl<F: Filter> FusedIterator for SearchIter<'_, F> {}

impl<F> fmt::Debug for SearchIter<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SearchIter")
            .field("given", &self.cursor.given.len())
            .field("round", &self.cursor.round)
            .field("filter", &self.filter.is_some())
            .finish_non_exhaustive()
    }
}
