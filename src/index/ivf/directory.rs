//! Centroids, and the list of each.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytemuck::cast_slice;

use super::codec::{CodeList, Codec, Prepared};
use super::list::{Entry, List};
use super::places::Places;
use super::space::Space;
use crate::error::IndexError;
use crate::graph::Watch;
use crate::metric::Metric;
use crate::sync::RwLock;
use crate::vector::Block;

/// What makes and changes entries works with.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// A vector as floats.
    pub(super) floats: Vec<f32>,
    /// The same in whole blocks.
    pub(super) row: Vec<Block>,
    /// Distances to all centroids.
    pub(super) keys: Vec<u32>,
    residual: Vec<f32>,
    pub(super) code: Vec<u8>,
}

/// The state of an index between two trainings.
///
/// Before the first there is one list, and no centroid. A directory is replaced as a whole, so a
/// search that began with one ends with it.
#[derive(Debug)]
pub(super) struct Directory {
    /// Rows of floats, one for each list; none if there is one list.
    centroids: Vec<Block>,
    /// Taken off centroids and queries before codes are used: the mean of the centroids, or zero
    /// where a shift would change distances.
    origin: Vec<f32>,
    pub(super) codec: Option<Codec>,
    /// Whether lists have the vectors themselves.
    pub(super) has_rows: bool,
    pub(super) lists: Vec<RwLock<List>>,
    pub(super) places: Places,
    /// The sum of the squares of the lists' lengths.
    squares: AtomicU64,
    len: AtomicUsize,
}

/// What came of putting a vector under a key.
#[derive(Debug)]
pub(super) struct Put {
    /// Whether there was one before.
    pub(super) replaced: bool,
    /// The key that took the position which the vector left in another list.
    pub(super) moved: Option<u64>,
}

impl Directory {
    /// The directory before training.
    pub(super) fn untrained() -> Self {
        Self {
            centroids: Vec::new(),
            origin: Vec::new(),
            codec: None,
            has_rows: true,
            lists: vec![RwLock::new(List::new(CodeList::None))],
            places: Places::new(),
            squares: AtomicU64::new(0),
            len: AtomicUsize::new(0),
        }
    }

    /// Empty lists for centroids, which stand one after the other.
    pub(super) fn new(
        space: &Space,
        centroids: &[f32],
        codec: impl FnOnce(&Self) -> Result<Option<Codec>, IndexError>,
        keeps_rows: bool,
    ) -> Result<Self, IndexError> {
        let dimension = space.dimension();
        let count = centroids.len() / dimension;
        let mut rows = Vec::new();
        let blocks = count * space.float_blocks();
        let bytes = blocks * size_of::<Block>();
        rows.try_reserve_exact(blocks).map_err(|_| IndexError::OutOfMemory { bytes })?;
        let mut row = Vec::new();
        for centroid in centroids.chunks_exact(dimension) {
            space.pad(centroid, &mut row);
            rows.extend_from_slice(&row);
        }
        let mut sums = vec![0.0_f64; dimension];
        if space.encoder.metric != Metric::InnerProduct {
            for centroid in centroids.chunks_exact(dimension) {
                sums.iter_mut().zip(centroid).for_each(|(sum, &x)| *sum += f64::from(x));
            }
        }
        let origin = sums.into_iter().map(|sum| (sum / count as f64) as f32).collect();
        let mut directory =
            Self { centroids: rows, origin, lists: Vec::new(), ..Self::untrained() };
        // The residuals that a quantizer is fitted to take centroids.
        directory.lists.resize_with(count, || RwLock::new(List::new(CodeList::None)));
        directory.codec = codec(&directory)?;
        if let Some(codec) = &directory.codec {
            directory.has_rows = keeps_rows;
            for list in &mut directory.lists {
                list.get_mut().codes = codec.list()?;
            }
        }
        Ok(directory)
    }

    /// The directory of these lists, whose centroids stand one after the other: none if it is
    /// untrained and has one list.
    pub(super) fn restored(
        space: &Space,
        centroids: &[f32],
        codec: Option<Codec>,
        keeps_rows: bool,
        lists: Vec<List>,
        places: Places,
    ) -> Result<Self, IndexError> {
        let mut directory = if centroids.is_empty() {
            Self::untrained()
        } else {
            Self::new(space, centroids, |_| Ok(codec), keeps_rows)?
        };
        let (mut len, mut squares) = (0, 0_u64);
        for list in &lists {
            len += list.len();
            squares = squares.wrapping_add((list.len() as u64).wrapping_mul(list.len() as u64));
        }
        directory.lists = lists.into_iter().map(RwLock::new).collect();
        directory.places = places;
        directory.len = AtomicUsize::new(len);
        directory.squares = AtomicU64::new(squares);
        Ok(directory)
    }

    /// Whether there is more than the one list of an untrained index.
    pub(super) fn is_trained(&self) -> bool {
        !self.centroids.is_empty()
    }

    /// Number of vectors.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// The centroid of a list, as floats.
    pub(super) fn centroid(&self, space: &Space, list: u32) -> &[f32] {
        &cast_slice(self.centroid_row(space, list as usize))[..space.dimension()]
    }

    /// The row of a list's centroid; empty if there is none.
    pub(super) fn centroid_row(&self, space: &Space, list: usize) -> &[Block] {
        let blocks = space.float_blocks();
        self.centroids.get(list * blocks..(list + 1) * blocks).unwrap_or_default()
    }

    /// The list of the nearest centroid, the first of them if several are.
    pub(super) fn nearest(&self, space: &Space, row: &[Block], keys: &mut Vec<u32>) -> u32 {
        if !self.is_trained() {
            return 0;
        }
        keys.resize(self.lists.len(), 0);
        space.assigning.keys_in_line(&self.centroids, row, keys);
        let least = keys.iter().copied().min().unwrap_or_default();
        keys.iter().position(|&key| key == least).unwrap_or_default() as u32
    }

    /// Writes to `order`, for each of the queries, which are rows of floats, as many numbers as
    /// there are lists: a list in the lower half, its distance in the upper. Returns the distances
    /// to centroids, of which each is as much work as `weight` others, and breaks off when it is
    /// told to.
    pub(super) fn rank(
        &self,
        space: &Space,
        queries: &[Block],
        keys: &mut Vec<u32>,
        order: &mut Vec<u64>,
        watch: &mut impl Watch,
        weight: usize,
    ) -> usize {
        /// Centroids that all queries are compared with before the next ones.
        const TILE: usize = 32;

        let (blocks, lists) = (space.float_blocks(), self.lists.len());
        order.clear();
        order.resize(queries.len() / blocks * lists, 0);
        if !self.is_trained() {
            return 0;
        }
        keys.resize(TILE.min(lists), 0);
        for (tile, centroids) in self.centroids.chunks(TILE * blocks).enumerate() {
            let keys = &mut keys[..centroids.len() / blocks];
            for (query, order) in queries.chunks_exact(blocks).zip(order.chunks_exact_mut(lists)) {
                space.ranking.keys_in_line(centroids, query, keys);
                let first = (tile * TILE) as u32;
                let places = order[first as usize..].iter_mut();
                for ((place, &key), list) in places.zip(&*keys).zip(first..) {
                    *place = u64::from(key) << 32 | u64::from(list);
                }
            }
            if watch.spent(keys.len() * weight) {
                break;
            }
        }
        order.len()
    }

    /// Prepares a query, given as floats, for codes; none if there are none.
    pub(super) fn prepare(
        &self,
        query: &[f32],
        shifted: &mut Vec<f32>,
    ) -> Result<Option<Prepared<'_>>, IndexError> {
        let Some(codec) = &self.codec else { return Ok(None) };
        shifted.clear();
        shifted.extend(query.iter().zip(&self.origin).map(|(x, origin)| x - origin));
        Space::clamp(shifted);
        codec.prepare(shifted).map(Some)
    }

    /// Writes the residual of a vector.
    pub(super) fn residual(&self, space: &Space, floats: &[f32], list: u32, out: &mut Vec<f32>) {
        let centroid = self.centroid(space, list);
        out.extend(floats.iter().zip(centroid).map(|(x, c)| x - c));
    }

    /// Makes the code of the vector in `scratch.floats`, and its term: what makes the estimate
    /// exact for a query at the centroid. It takes the share of the code's error that lies in the
    /// direction of the centroid out of all estimates.
    fn encode(&self, space: &Space, list: u32, scratch: &mut Scratch) -> Result<f32, IndexError> {
        let Scratch { floats, residual, code, .. } = scratch;
        code.clear();
        let Some(codec) = &self.codec else { return Ok(0.0) };
        residual.clear();
        self.residual(space, floats, list, residual);
        codec.encode(residual, code)?;
        let centroid = self.centroid(space, list);
        let term = if space.encoder.metric == Metric::InnerProduct {
            let products =
                residual.iter().zip(centroid).map(|(r, c)| f64::from(*r) * f64::from(*c));
            let product: f64 = products.sum();
            -product as f32
        } else {
            let square: f64 = residual.iter().map(|r| f64::from(*r) * f64::from(*r)).sum();
            square as f32
        };
        residual.clear();
        residual.extend(centroid.iter().zip(&self.origin).map(|(c, origin)| c - origin));
        let distance = codec.prepare(residual)?.distance(code)?;
        Ok(term - space.weight() * distance)
    }

    /// Puts the vector in `scratch.floats`, whose row is `row`, under a key. `moving` is called if the vector goes to another list than it was in, and what it
    /// returns is held meanwhile.
    pub(super) fn put<M>(
        &self,
        space: &Space,
        key: u64,
        row: &[Block],
        scratch: &mut Scratch,
        replace: bool,
        moving: impl Fn() -> M,
    ) -> Result<Put, IndexError> {
        space.pad(&scratch.floats, &mut scratch.row);
        let list = self.nearest(space, &scratch.row, &mut scratch.keys);
        let term = self.encode(space, list, scratch)?;
        let row = if self.has_rows { row } else { &[] };
        let entry = Entry { key, row, code: &scratch.code, term };

        let mut place = self.places.lock(key);
        let mut meanwhile = None;
        if replace && place.list().is_some_and(|before| before != list) {
            // Whoever holds moves up may be asking for this place.
            drop(place);
            meanwhile = Some(moving());
            place = self.places.lock(key);
        }
        let before = place.list();
        let mut moved = None;
        match before {
            None => {
                place.reserve()?;
                self.push(list, entry)?;
                place.set(list);
                self.len.fetch_add(1, Ordering::Relaxed);
            }
            Some(_) if !replace => return Err(IndexError::KeyExists { key }),
            Some(before) if before == list => {
                let mut list = self.lists[list as usize].write();
                if let Some(position) = list.position(key) {
                    list.replace(position, entry);
                }
            }
            Some(before) => {
                debug_assert!(meanwhile.is_some());
                self.push(list, entry)?;
                place.set(list);
                moved = self.take(before, key);
            }
        }
        Ok(Put { replaced: before.is_some(), moved })
    }

    fn push(&self, list: u32, entry: Entry<'_>) -> Result<(), IndexError> {
        let mut list = self.lists[list as usize].write();
        let len = list.len() as u64;
        list.push(entry)?;
        self.squares.fetch_add(2 * len + 1, Ordering::Relaxed);
        Ok(())
    }

    /// Takes a key out of a list; the key that took its position is returned.
    fn take(&self, list: u32, key: u64) -> Option<u64> {
        let mut list = self.lists[list as usize].write();
        let position = list.position(key)?;
        let moved = list.swap_remove(position);
        self.squares.fetch_sub(2 * list.len() as u64 + 1, Ordering::Relaxed);
        moved
    }

    /// Removes a key, and calls `moved` with the key that took its position, if any; whether there
    /// was such a key.
    pub(super) fn remove(&self, key: u64, moved: impl FnOnce(u64)) -> bool {
        let mut place = self.places.lock(key);
        let Some(list) = place.list() else { return false };
        if let Some(other) = self.take(list, key) {
            moved(other);
        }
        place.remove();
        self.len.fetch_sub(1, Ordering::Relaxed);
        true
    }

    /// Writes the vector at a position of a list as floats, as they were inserted or as its code
    /// tells, and its row, if there is one.
    pub(super) fn read(
        &self,
        space: &Space,
        number: u32,
        list: &List,
        position: usize,
        row: &mut Vec<Block>,
        scratch: &mut Scratch,
    ) {
        row.clear();
        let Scratch { floats, residual, code, .. } = scratch;
        if self.has_rows {
            row.extend_from_slice(list.row(position, space.blocks()));
            space.floats(row, floats);
        } else if let Some(codec) = &self.codec {
            list.codes.get(position, code);
            codec.decode(code, residual);
            floats.clear();
            floats.extend(residual.iter().zip(self.centroid(space, number)).map(|(r, c)| r + c));
        }
    }

    /// [`Self::read`] of a key; whether there is such a key.
    pub(super) fn read_key(
        &self,
        space: &Space,
        key: u64,
        row: &mut Vec<Block>,
        scratch: &mut Scratch,
    ) -> bool {
        let found = self.places.with(key, |number| {
            let list = self.lists[number as usize].read();
            let position = list.position(key)?;
            self.read(space, number, &list, position, row, scratch);
            Some(())
        });
        found.flatten().is_some()
    }

    /// How many times as many vectors a search reads as if all lists were equally long, were
    /// queries spread like vectors.
    pub(super) fn imbalance(&self) -> f64 {
        let len = self.len() as f64;
        if len == 0.0 {
            return 1.0;
        }
        self.squares.load(Ordering::Relaxed) as f64 * self.lists.len() as f64 / (len * len)
    }

    /// Bytes of the centroids.
    pub(super) fn centroid_bytes(&self) -> usize {
        self.centroids.capacity() * size_of::<Block>() + self.origin.capacity() * 4
    }
}

impl Scratch {
    /// Bytes of memory in use.
    pub(super) fn bytes(&self) -> usize {
        (self.floats.capacity() + self.keys.capacity() + self.residual.capacity()) * 4
            + self.row.capacity() * size_of::<Block>()
            + self.code.capacity()
    }
}
