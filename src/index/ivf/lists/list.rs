//! One list: the vectors that are nearest to one centroid, side by side.

use crate::error::IndexError;
use crate::index::ivf::codes::code_list::CodeList;
use crate::index::ivf::codes::drift::Figures;
use crate::vector::Block;

/// A vector as a list stores it.
#[derive(Debug, Clone, Copy)]
pub(in crate::index::ivf) struct Entry<'a> {
    pub(in crate::index::ivf) key: u64,
    /// The stored row; empty if the vectors are not kept.
    pub(in crate::index::ivf) row: &'a [Block],
    /// The code; empty without codes.
    pub(in crate::index::ivf) code: &'a [u8],
    /// Added to the estimate by the code.
    pub(in crate::index::ivf) term: f32,
    /// The square of the residual's length, and of its distance from the decoded residual;
    /// zero without a code.
    pub(in crate::index::ivf) length: f32,
    pub(in crate::index::ivf) error: f32,
}

/// The vectors of a list, by position. Positions are dense: the last vector takes the place of one
/// that is removed.
#[derive(Debug)]
pub(in crate::index::ivf) struct List {
    pub(in crate::index::ivf) keys: Vec<u64>,
    /// The vectors themselves, if they are kept.
    pub(in crate::index::ivf) rows: Vec<Block>,
    pub(in crate::index::ivf) codes: CodeList,
    /// A term for each code.
    pub(in crate::index::ivf) terms: Vec<f32>,
    /// Sums over the vectors that were inserted.
    pub(in crate::index::ivf) figures: Figures,
}

impl List {
    pub(in crate::index::ivf) fn new(codes: CodeList) -> Self {
        Self {
            keys: Vec::new(),
            rows: Vec::new(),
            codes,
            terms: Vec::new(),
            figures: Figures::default(),
        }
    }

    /// Returns the number of vectors.
    pub(in crate::index::ivf) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns the row at `position`, of `blocks` blocks.
    pub(in crate::index::ivf) fn row(&self, position: usize, blocks: usize) -> &[Block] {
        &self.rows[position * blocks..(position + 1) * blocks]
    }

    /// Returns the position of a key.
    pub(in crate::index::ivf) fn position(&self, key: u64) -> Option<usize> {
        self.keys.iter().position(|&k| k == key)
    }

    /// Returns the position of a key, which was `position` before other threads may have changed the list.
    pub(in crate::index::ivf) fn still_at(&self, position: u32, key: u64) -> Option<usize> {
        let position = position as usize;
        if self.keys.get(position) == Some(&key) { Some(position) } else { self.position(key) }
    }

    /// Appends a vector. On an error the list is unchanged.
    pub(in crate::index::ivf) fn push(&mut self, entry: Entry<'_>) -> Result<(), IndexError> {
        let len = self.keys.len();
        if len >= u32::MAX as usize {
            return Err(IndexError::Full { len });
        }
        self.reserve(&entry)?;
        self.keys.push(entry.key);
        self.rows.extend_from_slice(entry.row);
        if !entry.code.is_empty() {
            self.codes.push(entry.code);
            self.terms.push(entry.term);
            self.figures.add(entry.length, entry.error);
        }
        Ok(())
    }

    /// Reserves memory for an eighth more, and at least 8 vectors: doubling would leave a quarter of the memory idle.
    fn reserve(&mut self, entry: &Entry<'_>) -> Result<(), IndexError> {
        let len = self.keys.len();
        if len < self.keys.capacity() {
            return Ok(());
        }
        let more = (len / 8).max(8);
        let (row, code) = (size_of_val(entry.row), entry.code.len());
        let refused = |_| IndexError::OutOfMemory { bytes: (len + more) * (8 + row + code + 4) };
        self.rows.try_reserve_exact(more * entry.row.len()).map_err(refused)?;
        if code > 0 {
            self.codes.reserve(more).map_err(refused)?;
            self.terms.try_reserve_exact(more).map_err(refused)?;
        }
        // The keys are last: their capacity implies that of the others.
        self.keys.try_reserve_exact(more).map_err(refused)
    }

    /// Replaces the vector at `position`.
    pub(in crate::index::ivf) fn replace(&mut self, position: usize, entry: Entry<'_>) {
        self.keys[position] = entry.key;
        let blocks = entry.row.len();
        self.rows[position * blocks..(position + 1) * blocks].copy_from_slice(entry.row);
        if !entry.code.is_empty() {
            self.codes.set(position, entry.code);
            self.terms[position] = entry.term;
            self.figures.add(entry.length, entry.error);
        }
    }

    /// Removes a vector. Returns the key of the vector that took its place.
    pub(in crate::index::ivf) fn swap_remove(&mut self, position: usize) -> Option<u64> {
        let blocks = self.rows.len() / self.keys.len();
        let last = self.keys.len() - 1;
        self.keys.swap_remove(position);
        self.rows.copy_within(last * blocks..(last + 1) * blocks, position * blocks);
        self.rows.truncate(last * blocks);
        if !self.terms.is_empty() {
            self.codes.swap_remove(position);
            self.terms.swap_remove(position);
        }
        if self.keys.capacity() > 2 * last + 8 {
            let room = last + last / 8;
            self.rows.shrink_to(room * blocks);
            self.codes.shrink(room);
            self.terms.shrink_to(room);
            // The capacity of the keys represents that of all; each of the others may be greater.
            self.keys.shrink_to(last);
        }
        self.keys.get(position).copied()
    }

    /// Returns the bytes of the vectors, of the codes, and of the keys.
    pub(in crate::index::ivf) fn bytes(&self) -> [usize; 3] {
        [
            self.rows.capacity() * size_of::<Block>(),
            self.codes.bytes() + self.terms.capacity() * 4,
            self.keys.capacity() * 8,
        ]
    }
}
