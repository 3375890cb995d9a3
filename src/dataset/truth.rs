//! Exact neighbours.

use std::path::Path;

use super::bigann::{self, Numbers};
use super::input::Input;
use super::layout::{Layout, from_little_endian, zeroed};
use super::{DatasetError, vecs};
use crate::vector::Element;

/// The `k` exact neighbours of each query, nearest first: row numbers of the base vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct GroundTruth {
    k: usize,
    ids: Vec<u32>,
    distances: Option<Vec<f32>>,
}

impl GroundTruth {
    /// Reads an `ibin` file, with distances or without, or an `ivecs` file, which has none.
    ///
    /// # Errors
    ///
    /// [`DatasetError`] if the file cannot be read, has another ending, is empty, or is not exactly
    /// as long as its header says.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DatasetError> {
        let input = Input::open(path.as_ref())?;
        match input.path.extension().and_then(|e| e.to_str()).unwrap_or("") {
            "ibin" => Self::read_ibin(&input),
            "ivecs" => {
                // Ids are as wide as floats.
                let layout = vecs::layout(&input, Element::F32)?;
                let ids = layout.read(&input)?;
                Ok(Self { k: layout.dimension, ids, distances: None })
            }
            other => Err(DatasetError::Unsupported {
                path: input.path.clone(),
                found: format!("the ending '{other}'"),
                supported: "ibin, ivecs",
            }),
        }
    }

    fn read_ibin(input: &Input) -> Result<Self, DatasetError> {
        let [queries, k] = input.head()?.map(u64::from);
        // Without distances the file is a matrix of ids; with them it is one of twice the rows.
        let only_ids = (queries * k).checked_mul(4).and_then(|bytes| bytes.checked_add(8));
        if only_ids == Some(input.len) {
            let layout = Layout::check(input, Element::F32, queries, k, 8, false)?;
            return Ok(Self { k: layout.dimension, ids: layout.read(input)?, distances: None });
        }
        let layout = Layout::check(input, Element::F32, 2 * queries, k, 8, false)?;
        let half = layout.components() / 2;
        let mut ids: Vec<u32> = zeroed(half)?;
        let mut distances: Vec<f32> = zeroed(half)?;
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut ids);
        input.read_at(8, bytes)?;
        from_little_endian::<u32>(bytes);
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut distances);
        input.read_at(8 + 4 * half as u64, bytes)?;
        from_little_endian::<f32>(bytes);
        Ok(Self { k: layout.dimension, ids, distances: Some(distances) })
    }

    /// Creates the truth from `k` ids a query, and the same number of distances if they are known.
    ///
    /// # Errors
    ///
    /// [`DatasetError::Argument`] if `ids` is empty or no whole number of lists, or if the number of
    /// distances differs from that of ids.
    pub fn from_parts(
        k: usize,
        ids: Vec<u32>,
        distances: Option<Vec<f32>>,
    ) -> Result<Self, DatasetError> {
        if k == 0 || ids.is_empty() || !ids.len().is_multiple_of(k) {
            return Err(DatasetError::Argument {
                name: "k",
                value: format!("{k} with {} ids", ids.len()),
                allowed: "a divisor of a number of ids above zero",
            });
        }
        match &distances {
            Some(distances) if distances.len() != ids.len() => Err(DatasetError::Argument {
                name: "distances",
                value: format!("{} with {} ids", distances.len(), ids.len()),
                allowed: "one distance for each id",
            }),
            _ => Ok(Self { k, ids, distances }),
        }
    }

    /// Returns the number of queries.
    pub fn len(&self) -> usize {
        self.ids.len() / self.k
    }

    /// Returns `false`: a truth has at least one query.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Returns the number of neighbours known of each query.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Returns the neighbours of a query, nearest first, or `None` if the query does not exist.
    pub fn ids(&self, query: usize) -> Option<&[u32]> {
        self.ids.chunks_exact(self.k).nth(query)
    }

    /// Returns the distances to a query's neighbours, if the file had any: squared for L2, `1 - cos` for
    /// cosine.
    pub fn distances(&self, query: usize) -> Option<&[f32]> {
        self.distances.as_ref()?.chunks_exact(self.k).nth(query)
    }

    /// Returns the neighbours of all queries, in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        self.ids.chunks_exact(self.k)
    }

    /// Returns the first query with a neighbour that is no row of `len` base vectors, and that neighbour.
    pub(super) fn beyond(&self, len: usize) -> Option<(usize, u32)> {
        let at = self.ids.iter().position(|&id| id as usize >= len)?;
        Some((at / self.k, self.ids[at]))
    }

    /// Writes the `ibin` layout: `u32` queries, `u32` k, all ids, then all distances if they are
    /// known.
    ///
    /// # Errors
    ///
    /// [`DatasetError`] if the file cannot be written.
    pub fn write_ibin(&self, path: impl AsRef<Path>) -> Result<(), DatasetError> {
        let mut parts = vec![Numbers::Four(&self.ids)];
        parts.extend(self.distances.as_deref().map(|d| Numbers::Four(bytemuck::cast_slice(d))));
        bigann::write(path.as_ref(), self.len(), self.k, &parts)
    }
}
