//! Indexes as whoever keeps them in a file sees them: settings, columns, and a few numbers.

use bytemuck::cast_slice_mut;
use memmap2::MmapMut;
use parking_lot::Mutex;
use rayon::prelude::*;

use super::batch::Insertable;
use super::builder::{Basis, check_graph};
use super::encoder::Encoder;
use super::entries::Entries;
use super::keys::KeyMap;
use super::work::{Parts, Work};
use super::{Flat, Hnsw};
use crate::arena::{ArenaError, Column, Persistent, Unsound};
use crate::error::{IndexError, VectorError};
use crate::graph::{Graph, GraphState, Parameters};
use crate::metric::Metric;
use crate::simd::Isa;
use crate::vector::{Block, Element, VectorRef};

/// What an index is made with and keeps for life.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Settings {
    pub(crate) dimension: usize,
    pub(crate) metric: Metric,
    pub(crate) element: Element,
    /// None for an exact index.
    pub(crate) graph: Option<GraphSettings>,
}

/// What shapes a graph.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct GraphSettings {
    pub(crate) m: usize,
    pub(crate) ef_construction: usize,
    pub(crate) seed: u64,
    /// Factor on squared distances for pruning.
    pub(crate) alpha: Option<f32>,
}

/// An index while nobody changes it.
pub(crate) struct Image<'a> {
    pub(crate) settings: Settings,
    /// Rows of each level of the graph, which for an exact index is the number of slots alone.
    pub(crate) state: GraphState,
    /// Each column with its number: [`KEYS`], [`VECTORS`], and [`LEVELS`] plus the level.
    pub(crate) columns: Vec<(u32, &'a dyn Persistent)>,
}

/// Number of the column of keys.
pub(crate) const KEYS: u32 = 0;
/// Number of the column of vectors.
pub(crate) const VECTORS: u32 = 1;
/// Number of the column of the base level's rows; those of the levels above follow.
pub(crate) const LEVELS: u32 = 16;

/// An index that can be kept in a file.
pub(crate) trait Stored: Sized + Send + Sync {
    /// Whether it has a graph.
    const GRAPH: bool;

    /// Runs `with` while nobody changes the index; searches go on.
    fn frozen<R>(&self, with: impl FnOnce(Image<'_>) -> R) -> R;

    /// The index whose columns come from `source`, which is given the column's number, the number of the chunk, and the
    /// bytes that are needed of it. Nothing is assumed of these.
    fn restore<E: From<ArenaError> + From<Unsound> + From<IndexError>>(
        settings: &Settings,
        isa: Option<Isa>,
        state: &GraphState,
        source: impl FnMut(u32, u32, usize) -> Result<MmapMut, E>,
    ) -> Result<Self, E>;

    /// Appends the vector as it is stored to `out`, without padding.
    fn encode(&self, vector: VectorRef<'_>, out: &mut Vec<u8>) -> Result<(), VectorError>;

    /// Vectors that stand in `flat`, one after the other, and the elements of each.
    fn count(&self, flat: VectorRef<'_>) -> Result<(usize, usize), VectorError>;

    /// Inserts vectors as [`Self::encode`] gives them, on all threads of the pool that the caller is in.
    fn insert_encoded(&self, entries: &[(u64, &[u8])]) -> Result<(), IndexError>;
}

impl Settings {
    /// Bytes of a vector as it is stored, without padding.
    pub(crate) fn vector_bytes(&self) -> usize {
        self.element.bytes(self.dimension)
    }

    fn basis(&self, isa: Option<Isa>) -> Basis {
        let Self { dimension, metric, element, .. } = *self;
        Basis { dimension, metric, element, isa }
    }

    fn of(encoder: &Encoder, graph: Option<GraphSettings>) -> Self {
        let Encoder { dimension, metric, element } = *encoder;
        Self { dimension, metric, element, graph }
    }
}

impl Entries {
    fn restore<E: From<ArenaError> + From<Unsound>>(
        encoder: Encoder,
        slots: u32,
        source: &mut impl FnMut(u32, u32, usize) -> Result<MmapMut, E>,
    ) -> Result<Self, E> {
        let keys = Column::restore(1, slots, |chunk, len| source(KEYS, chunk, len))?;
        let blocks = encoder.blocks();
        let vectors = Column::restore(blocks, slots, |chunk, len| source(VECTORS, chunk, len))?;
        Ok(Self { encoder, keys, vectors, map: KeyMap::restored(slots), append: Mutex::new(()) })
    }

    fn columns(&self) -> [(u32, &dyn Persistent); 2] {
        [(KEYS, &self.keys), (VECTORS, &self.vectors)]
    }
}

fn encode(index: &impl Parts, vector: VectorRef<'_>, out: &mut Vec<u8>) -> Result<(), VectorError> {
    let encoder = index.encoder();
    index.work().with(|work| {
        work.row.resize(encoder.blocks(), Block::ZERO);
        encoder.encode(vector, &mut work.row)?;
        let bytes: &[u8] = bytemuck::cast_slice(&work.row);
        out.extend_from_slice(&bytes[..encoder.element.bytes(encoder.dimension)]);
        Ok(())
    })
}

fn insert(index: &impl Insertable, entries: &[(u64, &[u8])]) -> Result<(), IndexError> {
    let one = |&(key, bytes): &(u64, &[u8])| {
        index.work().with(|work: &mut Work| {
            work.row.clear();
            work.row.resize(index.encoder().blocks(), Block::ZERO);
            let row: &mut [u8] = cast_slice_mut(&mut work.row);
            row[..bytes.len()].copy_from_slice(bytes);
            index.insert_encoded(key, work)
        })
    };
    if entries.len() < 8 || rayon::current_num_threads() == 1 {
        return entries.iter().try_for_each(one);
    }
    entries.par_iter().with_max_len(64).try_for_each(one)
}

impl Stored for Hnsw {
    const GRAPH: bool = true;

    fn frozen<R>(&self, with: impl FnOnce(Image<'_>) -> R) -> R {
        let _alone = self.inserting.write();
        let Parameters { m, ef_construction, seed } = *self.graph.parameters();
        let graph = GraphSettings { m, ef_construction, seed, alpha: self.alpha };
        let levels = (LEVELS..).zip(self.graph.columns());
        with(Image {
            settings: Settings::of(&self.entries.encoder, Some(graph)),
            state: self.graph.state(),
            columns: self.entries.columns().into_iter().chain(levels).collect(),
        })
    }

    fn restore<E: From<ArenaError> + From<Unsound> + From<IndexError>>(
        settings: &Settings,
        isa: Option<Isa>,
        state: &GraphState,
        mut source: impl FnMut(u32, u32, usize) -> Result<MmapMut, E>,
    ) -> Result<Self, E> {
        let graph = settings.graph.ok_or(Unsound("the file holds an exact index"))?;
        let (encoder, isa, engine) = settings.basis(isa).check()?;
        let GraphSettings { m, ef_construction, seed, alpha } = graph;
        check_graph(m, ef_construction)?;
        if alpha.is_some_and(|alpha| !(1.0..=4.0).contains(&alpha)) {
            return Err(Unsound("alpha is out of range").into());
        }
        let slots = state.rows.first().copied().unwrap_or(0);
        let parameters = Parameters { m, ef_construction, seed };
        let mut index = Self::new(encoder, isa, engine, parameters, alpha);
        index.entries = Entries::restore(encoder, slots, &mut source)?;
        index.graph = Graph::restore(parameters, state, |level, chunk, len| {
            source(LEVELS + level as u32, chunk, len)
        })?;
        Ok(index)
    }

    fn encode(&self, vector: VectorRef<'_>, out: &mut Vec<u8>) -> Result<(), VectorError> {
        encode(self, vector, out)
    }

    fn count(&self, flat: VectorRef<'_>) -> Result<(usize, usize), VectorError> {
        let encoder = &self.entries.encoder;
        Ok((encoder.count(flat)?, encoder.elements()))
    }

    fn insert_encoded(&self, entries: &[(u64, &[u8])]) -> Result<(), IndexError> {
        insert(self, entries)
    }
}

impl Stored for Flat {
    const GRAPH: bool = false;

    fn frozen<R>(&self, with: impl FnOnce(Image<'_>) -> R) -> R {
        let _alone = self.entries.append.lock();
        with(Image {
            settings: Settings::of(&self.entries.encoder, None),
            state: GraphState { rows: vec![self.entries.keys.len() as u32], entry: None },
            columns: self.entries.columns().into(),
        })
    }

    fn restore<E: From<ArenaError> + From<Unsound> + From<IndexError>>(
        settings: &Settings,
        isa: Option<Isa>,
        state: &GraphState,
        mut source: impl FnMut(u32, u32, usize) -> Result<MmapMut, E>,
    ) -> Result<Self, E> {
        if settings.graph.is_some() {
            return Err(Unsound("the file holds a graph index").into());
        }
        let (encoder, isa, engine) = settings.basis(isa).check()?;
        let &[slots] = &state.rows[..] else {
            return Err(Unsound("an exact index has no levels").into());
        };
        let mut index = Self::new(encoder, isa, engine);
        index.entries = Entries::restore(encoder, slots, &mut source)?;
        Ok(index)
    }

    fn encode(&self, vector: VectorRef<'_>, out: &mut Vec<u8>) -> Result<(), VectorError> {
        encode(self, vector, out)
    }

    fn count(&self, flat: VectorRef<'_>) -> Result<(usize, usize), VectorError> {
        let encoder = &self.entries.encoder;
        Ok((encoder.count(flat)?, encoder.elements()))
    }

    fn insert_encoded(&self, entries: &[(u64, &[u8])]) -> Result<(), IndexError> {
        insert(self, entries)
    }
}
