//! Centroids, and the list of each.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytemuck::cast_slice;

use super::estimates::Facts;
use super::list::{Entry, List};
use super::places::Places;
use crate::error::IndexError;
use crate::graph::Watch;
use crate::index::ivf::codes::bases::Bases;
use crate::index::ivf::codes::code_list::CodeList;
use crate::index::ivf::codes::codec::{Codec, Prepared};
use crate::index::ivf::codes::drift::{Drift, DriftLimits, SharedMargins};
use crate::index::ivf::space::Space;
use crate::metric::Metric;
use crate::order_key::OrderKey;
use crate::sync::RwLock;
use crate::vector::Block;

/// Buffers for making and changing entries.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// A vector as floats.
    pub(in crate::index::ivf) floats: Vec<f32>,
    /// The same in whole blocks.
    pub(in crate::index::ivf) row: Vec<Block>,
    /// Order keys of the distances to all centroids.
    pub(in crate::index::ivf) order_keys: Vec<OrderKey>,
    pub(in crate::index::ivf) residual: Vec<f32>,
    pub(in crate::index::ivf) code: Vec<u8>,
}

/// The state of an index between two trainings.
///
/// Before the first training it has one list, and no centroid. A directory is replaced as a whole, so a
/// search that began with a directory ends with it.
#[derive(Debug)]
pub(in crate::index::ivf) struct Directory {
    /// Rows of floats, one for each list; empty before the first training.
    centroids: Vec<Block>,
    /// Facts of each list with codes.
    pub(in crate::index::ivf) facts: Vec<Facts>,
    pub(in crate::index::ivf) bases: Bases,
    pub(in crate::index::ivf) codec: Option<Codec>,
    pub(in crate::index::ivf) drift: Drift,
    /// Whether lists have the vectors themselves.
    pub(in crate::index::ivf) has_rows: bool,
    pub(in crate::index::ivf) lists: Vec<RwLock<List>>,
    pub(in crate::index::ivf) places: Places,
    /// The sum of the squares of the lists' lengths.
    squares: AtomicU64,
    len: AtomicUsize,
}

/// The result of coding a vector, besides the code.
#[derive(Debug, Clone, Copy, Default)]
struct Coded {
    term: f32,
    /// The squares of the residual's length and of its distance from the decoded residual.
    length: f32,
    error: f32,
}

/// The result of putting a vector under a key.
#[derive(Debug)]
pub(in crate::index::ivf) struct Put {
    /// Whether the key had a vector before.
    pub(in crate::index::ivf) replaced: bool,
    /// The key that took the position which the vector left in another list.
    pub(in crate::index::ivf) moved: Option<u64>,
}

impl Directory {
    /// Creates the directory of an untrained index.
    pub(in crate::index::ivf) fn untrained() -> Self {
        Self {
            centroids: Vec::new(),
            facts: Vec::new(),
            bases: Bases::default(),
            codec: None,
            drift: Drift::new(DriftLimits::NONE, 0),
            has_rows: true,
            lists: vec![RwLock::new(List::new(CodeList::None))],
            places: Places::new(),
            squares: AtomicU64::new(0),
            len: AtomicUsize::new(0),
        }
    }

    /// Creates empty lists for centroids, given one after the other.
    pub(in crate::index::ivf) fn new(space: &Space, centroids: &[f32]) -> Result<Self, IndexError> {
        let count = centroids.len() / space.dimension();
        let mut rows = Vec::new();
        let blocks = count * space.float_blocks();
        let bytes = blocks * size_of::<Block>();
        rows.try_reserve_exact(blocks).map_err(|_| IndexError::OutOfMemory { bytes })?;
        let mut row = Vec::new();
        for centroid in centroids.chunks_exact(space.dimension()) {
            space.pad(centroid, &mut row);
            rows.extend_from_slice(&row);
        }
        let mut directory = Self { centroids: rows, lists: Vec::new(), ..Self::untrained() };
        directory.lists.resize_with(count, || RwLock::new(List::new(CodeList::None)));
        Ok(directory)
    }

    /// Adds codes to the lists; their queries are prepared from `bases`.
    pub(in crate::index::ivf) fn with_codec(
        mut self,
        space: &Space,
        centroids: &[f32],
        codec: Codec,
        bases: Bases,
        keeps_rows: bool,
    ) -> Result<Self, IndexError> {
        for list in &mut self.lists {
            list.get_mut().codes = codec.list()?;
        }
        let offsets = bases.offsets(centroids).into_iter();
        let facts = |(offset, centroid): (f64, &[f32])| {
            let square: f64 = centroid.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            let offset = offset.sqrt() as f32;
            Facts { square: square as f32, offset, margins: SharedMargins::default() }
        };
        self.facts = offsets.zip(centroids.chunks_exact(space.dimension())).map(facts).collect();
        self.has_rows = keeps_rows;
        (self.codec, self.bases) = (Some(codec), bases);
        Ok(self)
    }

    /// Returns this directory with lists that were read from a file.
    pub(in crate::index::ivf) fn restored(mut self, lists: Vec<List>, places: Places) -> Self {
        let (mut len, mut squares) = (0, 0_u64);
        for list in &lists {
            len += list.len();
            squares = squares.wrapping_add((list.len() as u64).wrapping_mul(list.len() as u64));
        }
        for (list, facts) in lists.iter().zip(&self.facts) {
            facts.margins.set(list.figures.margins());
        }
        self.lists = lists.into_iter().map(RwLock::new).collect();
        self.places = places;
        self.len = AtomicUsize::new(len);
        self.squares = AtomicU64::new(squares);
        self
    }

    /// Returns whether the directory has centroids, and not the one list of an untrained index.
    pub(in crate::index::ivf) fn is_trained(&self) -> bool {
        !self.centroids.is_empty()
    }

    /// Returns the number of vectors.
    pub(in crate::index::ivf) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Returns the centroid of a list, as floats.
    pub(in crate::index::ivf) fn centroid(&self, space: &Space, list: u32) -> &[f32] {
        &cast_slice(self.centroid_row(space, list as usize))[..space.dimension()]
    }

    /// Returns the row of a list's centroid; empty before the first training.
    pub(in crate::index::ivf) fn centroid_row(&self, space: &Space, list: usize) -> &[Block] {
        let blocks = space.float_blocks();
        self.centroids.get(list * blocks..(list + 1) * blocks).unwrap_or_default()
    }

    /// Returns the list of the nearest centroid, the first of them if several are, and the squared
    /// distance from it.
    pub(in crate::index::ivf) fn nearest(
        &self,
        space: &Space,
        row: &[Block],
        order_keys: &mut Vec<OrderKey>,
    ) -> (u32, f32) {
        if !self.is_trained() {
            return (0, 0.0);
        }
        order_keys.resize(self.lists.len(), OrderKey::MIN);
        space.assigning.orders_in_line(&self.centroids, row, order_keys);
        let least = order_keys.iter().copied().min().unwrap_or_default();
        let list =
            order_keys.iter().position(|&order_key| order_key == least).unwrap_or_default() as u32;
        (list, space.assigning.distance(least))
    }

    /// Writes to `order`, for each of the queries, which are rows of floats, one number per list:
    /// the list in the lower half, the order key of its distance in the upper. Returns the number of distances
    /// to centroids, each as much work as `weight` others, and ends early if `watch`
    /// expires.
    pub(in crate::index::ivf) fn rank(
        &self,
        space: &Space,
        queries: &[Block],
        (order_keys, order): (&mut Vec<OrderKey>, &mut Vec<u64>),
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
        order_keys.resize(TILE.min(lists), OrderKey::MIN);
        for (tile, centroids) in self.centroids.chunks(TILE * blocks).enumerate() {
            let order_keys = &mut order_keys[..centroids.len() / blocks];
            for (query, order) in queries.chunks_exact(blocks).zip(order.chunks_exact_mut(lists)) {
                space.ranking.orders_in_line(centroids, query, order_keys);
                let first = (tile * TILE) as u32;
                let places = order[first as usize..].iter_mut();
                for ((place, &order_key), list) in places.zip(&*order_keys).zip(first..) {
                    *place = u64::from(order_key.to_bits()) << 32 | u64::from(list);
                }
            }
            if watch.spent(order_keys.len() * weight) {
                break;
            }
        }
        order.len()
    }

    /// Prepares a query, given as floats, for the codes of a list, and of all with the same base.
    /// Returns `None` without codes.
    pub(in crate::index::ivf) fn prepare(
        &self,
        query: &[f32],
        list: u32,
        shifted: &mut Vec<f32>,
    ) -> Result<Option<Prepared<'_>>, IndexError> {
        let Some(codec) = &self.codec else { return Ok(None) };
        shifted.clear();
        shifted.extend(query.iter().zip(self.bases.row_of(list)).map(|(x, base)| x - base));
        Space::clamp(shifted);
        codec.prepare(shifted).map(Some)
    }

    /// Writes the residual of a vector.
    pub(in crate::index::ivf) fn residual(
        &self,
        space: &Space,
        floats: &[f32],
        list: u32,
        out: &mut Vec<f32>,
    ) {
        let centroid = self.centroid(space, list);
        out.extend(floats.iter().zip(centroid).map(|(x, c)| x - c));
    }

    /// Encodes the vector in `scratch.floats`, and computes its term, which makes the estimate
    /// exact for a query at the centroid. The term removes the share of the code's error in the
    /// direction of the centroid from all estimates.
    fn encode(&self, space: &Space, list: u32, scratch: &mut Scratch) -> Result<Coded, IndexError> {
        let Scratch { floats, residual, code, .. } = scratch;
        code.clear();
        let Some(codec) = &self.codec else { return Ok(Coded::default()) };
        residual.clear();
        self.residual(space, floats, list, residual);
        let centroid = self.centroid(space, list);
        let square: f64 = residual.iter().map(|r| f64::from(*r) * f64::from(*r)).sum();
        let exact = if space.encoder.metric == Metric::InnerProduct {
            let products =
                residual.iter().zip(centroid).map(|(r, c)| f64::from(*r) * f64::from(*c));
            let product: f64 = products.sum();
            -product as f32
        } else {
            square as f32
        };
        let encoded = codec.encode(residual, code)?;
        residual.clear();
        let base = self.bases.row_of(list);
        residual.extend(centroid.iter().zip(base).map(|(c, base)| c - base));
        let distance = codec.prepare(residual)?.distance(code)?;
        let of_code = codec.formula(0.0, 0.0, space.weight());
        let product = of_code.estimate(codec.pack(0.0, encoded), distance);
        let term = codec.pack(exact - product, encoded);
        Ok(Coded { term, length: square as f32, error: encoded.error })
    }

    /// Returns the square of the relative error of a vector's code.
    pub(in crate::index::ivf) fn code_error(
        &self,
        space: &Space,
        floats: &[f32],
        list: u32,
    ) -> Result<f32, IndexError> {
        let Some(codec) = &self.codec else { return Ok(0.0) };
        let (mut residual, mut code) = (Vec::new(), Vec::new());
        self.residual(space, floats, list, &mut residual);
        let square: f64 = residual.iter().map(|r| f64::from(*r) * f64::from(*r)).sum();
        let encoded = codec.encode(&mut residual, &mut code)?;
        Ok(if square > 0.0 { encoded.error / square as f32 } else { 0.0 })
    }

    /// Returns whether the vector in `scratch.floats` differs from those that the index was trained on.
    pub(in crate::index::ivf) fn would_stray(&self, space: &Space, scratch: &mut Scratch) -> bool {
        space.pad(&scratch.floats, &mut scratch.row);
        let (list, distance) = self.nearest(space, &scratch.row, &mut scratch.order_keys);
        let error = self.code_error(space, &scratch.floats, list);
        self.drift.is_stray(distance, error.unwrap_or_default())
    }

    /// Puts the vector in `scratch.floats`, whose row is `row`, under a key: a new one without `moving`. With it, the vector may
    /// replace the key's; `put` calls `moving` if the vector moves from another list, and holds its result meanwhile.
    pub(in crate::index::ivf) fn put<M>(
        &self,
        space: &Space,
        key: u64,
        row: &[Block],
        scratch: &mut Scratch,
        moving: Option<&dyn Fn() -> M>,
    ) -> Result<Put, IndexError> {
        space.pad(&scratch.floats, &mut scratch.row);
        let (list, distance) = self.nearest(space, &scratch.row, &mut scratch.order_keys);
        let Coded { term, length, error } = self.encode(space, list, scratch)?;
        let row = if self.has_rows { row } else { &[] };
        let entry = Entry { key, row, code: &scratch.code, term, length, error };
        let code_error = if length > 0.0 { error / length } else { 0.0 };
        if self.drift.is_stray(distance, code_error) {
            self.drift.count();
        }

        let mut place = self.places.lock(key);
        let mut meanwhile = None;
        if let Some(moving) = moving
            && place.list().is_some_and(|before| before != list)
        {
            // A thread that blocks moves may be waiting for this place.
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
            Some(_) if moving.is_none() => return Err(IndexError::KeyExists { key }),
            Some(before) if before == list => {
                let mut list = self.lists[list as usize].write();
                if let Some(position) = list.position(key) {
                    list.replace(position, entry);
                    self.tell_margins(before, &list);
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

    fn push(&self, number: u32, entry: Entry<'_>) -> Result<(), IndexError> {
        let mut list = self.lists[number as usize].write();
        let len = list.len() as u64;
        list.push(entry)?;
        self.tell_margins(number, &list);
        self.squares.fetch_add(2 * len + 1, Ordering::Relaxed);
        Ok(())
    }

    /// Removes a key from a list. Returns the key that took its position.
    fn take(&self, list: u32, key: u64) -> Option<u64> {
        let mut list = self.lists[list as usize].write();
        let position = list.position(key)?;
        let moved = list.swap_remove(position);
        self.squares.fetch_sub(2 * list.len() as u64 + 1, Ordering::Relaxed);
        moved
    }

    /// Removes a key, and calls `moved` with the key that took its position, if any. Returns whether
    /// the key had a vector.
    pub(in crate::index::ivf) fn remove(&self, key: u64, moved: impl FnOnce(u64)) -> bool {
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
    /// decodes, and its row, if rows are kept.
    pub(in crate::index::ivf) fn read(
        &self,
        space: &Space,
        (number, list, position): (u32, &List, usize),
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
            codec.decode(code, list.terms[position], residual);
            floats.clear();
            floats.extend(residual.iter().zip(self.centroid(space, number)).map(|(r, c)| r + c));
        }
    }

    /// Does [`Self::read`] for a key. Returns whether the key has a vector.
    pub(in crate::index::ivf) fn read_key(
        &self,
        space: &Space,
        key: u64,
        row: &mut Vec<Block>,
        scratch: &mut Scratch,
    ) -> bool {
        let found = self.places.with(key, |number| {
            let list = self.lists[number as usize].read();
            let position = list.position(key)?;
            self.read(space, (number, &list, position), row, scratch);
            Some(())
        });
        found.flatten().is_some()
    }

    /// Returns the ratio of the vectors that a search reads to those that it would read if all lists were equally long, if
    /// queries are spread like vectors.
    pub(in crate::index::ivf) fn imbalance(&self) -> f64 {
        let len = self.len() as f64;
        if len == 0.0 {
            return 1.0;
        }
        self.squares.load(Ordering::Relaxed) as f64 * self.lists.len() as f64 / (len * len)
    }

    /// Returns the bytes of the centroids.
    pub(in crate::index::ivf) fn centroid_bytes(&self) -> usize {
        self.centroids.capacity() * size_of::<Block>()
            + self.bases.bytes()
            + self.facts.capacity() * size_of::<Facts>()
    }
}

impl Scratch {
    /// Returns the bytes of memory in use.
    pub(in crate::index::ivf) fn bytes(&self) -> usize {
        (self.floats.capacity() + self.order_keys.capacity() + self.residual.capacity()) * 4
            + self.row.capacity() * size_of::<Block>()
            + self.code.capacity()
    }
}
