//! Indexes as a file stores them: settings, columns, and a few numbers.

use bytemuck::cast_slice_mut;

use super::build::Insertable;
use super::codes::Originals;
use super::encode::Encoder;
use super::entries::Entries;
use super::scratch::Work;
use super::settings::Basis;
use crate::arena::{ArenaError, Column, Persistent, Piece, Slots, Unsound};
use crate::distance::Custom;
use crate::error::{IndexError, VectorError};
use crate::graph::GraphState;
use crate::index::codes::fit::Fit;
use crate::index::codes::fitting::Quantized;
use crate::index::entries::key_map::KeyMap;
use crate::metric::Metric;
use crate::quantization::Coding;
use crate::simd::Isa;
use crate::threads::{self, in_turn};
use crate::vector::{Block, Element, VectorRef};

/// Settings that an index is made with and keeps for life.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Settings {
    pub(crate) dimension: usize,
    pub(crate) metric: Metric,
    pub(crate) element: Element,
    /// `None` for an exact index.
    pub(crate) graph: Option<GraphSettings>,
    /// `None` for an index that walks on its vectors.
    pub(crate) codes: Option<CodeSettings>,
}

/// Parameters of a graph.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct GraphSettings {
    pub(crate) m: usize,
    pub(crate) ef_construction: usize,
    pub(crate) seed: u64,
    /// Factor on squared distances for pruning.
    pub(crate) alpha: Option<f32>,
}

/// Codes of an index, once it has some.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CodeSettings {
    pub(crate) coding: Coding,
    pub(crate) originals: Originals,
}

/// State of an index besides its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// Rows of each level of the graph, which for an exact index is the number of slots alone.
    pub(crate) graph: GraphState,
    /// Rows of the vectors: one for each slot, or fewer if originals are dropped.
    pub(crate) vectors: u32,
    /// The quantizers, if all slots have codes.
    pub(crate) coder: Option<Vec<u8>>,
    /// A bit for each vacant or hidden slot; slots beyond the last word all hold a vector.
    pub(crate) hidden: Vec<u64>,
}

impl State {
    /// Returns whether the quantizers are the same, without the errors of their fit.
    pub(crate) fn has_quantizers_of(&self, other: &Self) -> bool {
        let quantizers = |state: &Self| {
            let bytes = state.coder.as_deref()?;
            Some(Fit::from_bytes(bytes).map_or(bytes, |(_, rest)| rest).to_vec())
        };
        quantizers(self) == quantizers(other)
    }
}

/// The instruction set and the custom metric by which an index from a file measures.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Kernels<'a> {
    /// `None` for the best one.
    pub(crate) isa: Option<Isa>,
    /// The metric of a file that names one.
    pub(crate) custom: Option<&'a Custom>,
}

impl Kernels<'_> {
    pub(crate) fn on(isa: Option<Isa>) -> Self {
        Self { isa, custom: None }
    }
}

/// An index while no thread changes it.
pub(crate) struct Image<'a> {
    pub(crate) settings: Settings,
    pub(crate) state: State,
    /// The name of the metric, if it is a custom one.
    pub(crate) custom: Option<&'a str>,
    /// Each column with its number: [`KEYS`], [`VECTORS`], [`CODES`], [`FINER`], and [`LEVELS`] plus the level.
    pub(crate) columns: Vec<(u32, &'a dyn Persistent)>,
}

/// Number of the column of keys.
pub(crate) const KEYS: u32 = 0;
/// Number of the column of vectors.
pub(crate) const VECTORS: u32 = 1;
/// Number of the column of codes.
pub(crate) const CODES: u32 = 2;
/// Number of the column of codes that answer.
pub(crate) const FINER: u32 = 3;
/// Number of the column of the base level's rows; those of the levels above follow.
pub(crate) const LEVELS: u32 = 16;

/// An index that can be kept in a file.
pub(crate) trait Stored: Sized + Send + Sync {
    /// Whether the index has a graph.
    const GRAPH: bool;

    /// Runs `with` while no thread changes the index; searches continue.
    fn frozen<R>(&self, with: impl FnOnce(Image<'_>) -> R) -> R;

    /// Creates the index whose columns are read from `source`, which receives the column's number, the number of the chunk, and the
    /// bytes needed of it. Nothing is assumed about their contents.
    fn restore<'p, E: From<ArenaError> + From<Unsound> + From<IndexError>>(
        settings: &Settings,
        kernels: Kernels<'_>,
        state: &State,
        source: impl FnMut(u32, u32, usize) -> Result<Piece<'p, E>, E>,
    ) -> Result<Self, E>;

    /// Notes that this process maps columns from a file, so that forked children are refused.
    fn bind(&mut self);

    /// Returns whether this process can rely on the columns.
    fn is_bound_here(&self) -> bool;

    /// Appends the vector as it is stored to `out`, without padding.
    fn encode(&self, vector: VectorRef<'_>, out: &mut Vec<u8>) -> Result<(), VectorError>;

    /// [`Self::encode`] of a vector that this kind of index gave, without rounding it again. A vector of bits has a number for each.
    #[cfg(feature = "json")]
    fn encode_as_kept(&self, vector: &[f32], out: &mut Vec<u8>) -> Result<(), VectorError>;

    /// Returns the number of vectors in `flat`, one after the other, and the elements of each.
    fn count(&self, flat: VectorRef<'_>) -> Result<(usize, usize), VectorError>;

    /// Upserts vectors in the form that [`Self::encode`] writes, on all threads of the pool that the caller is in.
    fn upsert_encoded(&self, entries: &[(u64, &[u8])]) -> Result<(), IndexError>;

    /// Removes the vector of a key, if the key has one.
    fn remove_key(&self, key: u64) -> Result<(), IndexError>;
}

impl Settings {
    /// Returns the bytes of a vector as it is stored, without padding.
    pub(crate) fn vector_bytes(&self) -> usize {
        self.element.bytes(self.dimension)
    }

    pub(super) fn basis(&self, kernels: Kernels<'_>) -> Basis {
        let Self { dimension, metric, element, .. } = *self;
        let Kernels { isa, custom } = kernels;
        Basis { dimension, metric, element, isa, custom: custom.cloned() }
    }

    pub(super) fn of(entries: &Entries, graph: Option<GraphSettings>) -> Self {
        let Encoder { dimension, metric, element } = entries.encoder;
        let quantized = entries.quantized.as_ref();
        let codes = quantized.map(|q| CodeSettings { coding: q.coding, originals: q.originals });
        Self { dimension, metric, element, graph, codes }
    }
}

impl Entries {
    /// Returns these entries, which are empty, with the columns that `source` reads.
    pub(super) fn restored<'p, E: From<ArenaError> + From<Unsound>>(
        self,
        slots: u32,
        state: &State,
        source: &mut impl FnMut(u32, u32, usize) -> Result<Piece<'p, E>, E>,
    ) -> Result<Self, E> {
        let quantized = self.quantized.as_ref();
        let drops = quantized.is_some_and(|q| !q.originals.is_kept());
        let fewer = drops && state.coder.is_some() && state.vectors < slots;
        if state.vectors != slots && !fewer {
            return Err(Unsound("the number of vectors is not that of the keys").into());
        }
        let keys = Column::restore(1, slots, |chunk, len| source(KEYS, chunk, len))?;
        let (blocks, rows) = (self.encoder.blocks(), state.vectors);
        let vectors = Column::restore(blocks, rows, |chunk, len| source(VECTORS, chunk, len))?;
        if let Some(coder) = &state.coder {
            let none = Unsound("there are codes where none are expected");
            let mut numbers = [CODES, FINER].into_iter();
            let restored = quantized.ok_or(none)?.restore(coder, |blocks| {
                let number = numbers.next().ok_or(Unsound("there are too many codes"))?;
                Column::restore(blocks, slots, |chunk, len| source(number, chunk, len))
            })?;
            restored.ok_or(Unsound("the quantizer is none for this index"))?;
        }
        let words = &state.hidden;
        let last = words
            .iter()
            .rposition(|&word| word != 0)
            .map_or(0, |at| at as u64 * 64 + u64::from(u64::BITS - words[at].leading_zeros()));
        if words.len() > slots.div_ceil(64) as usize || last > u64::from(slots) {
            return Err(Unsound("slots are empty that do not exist").into());
        }
        let (map, slots) = (KeyMap::restored(slots, words.clone()), Slots::restore(words)?);
        Ok(Self { vectors, keys, map, slots, ..self })
    }

    pub(super) fn columns(&self) -> Vec<(u32, &dyn Persistent)> {
        let mut columns: Vec<(u32, &dyn Persistent)> =
            vec![(KEYS, &self.keys), (VECTORS, &self.vectors)];
        if let Some(codes) = self.codes() {
            let numbers = [CODES, FINER].into_iter();
            columns.extend(numbers.zip(codes.all().map(|codes| &codes.rows as &dyn Persistent)));
        }
        columns
    }

    pub(super) fn state(&self, graph: GraphState) -> State {
        let coder = self.quantized.as_ref().and_then(Quantized::coder);
        let hidden = if self.slots.hidden() == 0 { Vec::new() } else { self.slots.words() };
        State { graph, vectors: self.vectors.len() as u32, coder, hidden }
    }
}

/// Makes the methods of [`Stored`] of an index whose vectors are in [`Entries`].
macro_rules! stored_entries {
    () => {
        fn bind(&mut self) {
            self.entries.bind();
        }

        fn is_bound_here(&self) -> bool {
            self.entries.admit().is_ok()
        }

        fn encode(&self, vector: VectorRef<'_>, out: &mut Vec<u8>) -> Result<(), VectorError> {
            encode(self, out, |encoder, row| encoder.encode(vector, row))
        }

        #[cfg(feature = "json")]
        fn encode_as_kept(&self, vector: &[f32], out: &mut Vec<u8>) -> Result<(), VectorError> {
            encode(self, out, |encoder, row| encoder.encode_as_kept(vector, row))
        }

        fn count(&self, flat: VectorRef<'_>) -> Result<(usize, usize), VectorError> {
            let encoder = &self.entries.encoder;
            Ok((encoder.count(flat)?, encoder.elements()))
        }

        fn remove_key(&self, key: u64) -> Result<(), IndexError> {
            self.remove(key).map(|_was_there| ())
        }
    };
}

pub(in crate::index) use stored_entries;

pub(super) fn encode(
    index: &impl Insertable,
    out: &mut Vec<u8>,
    write: impl FnOnce(&Encoder, &mut [Block]) -> Result<(), VectorError>,
) -> Result<(), VectorError> {
    let encoder = index.encoder();
    index.work().with(|work| {
        work.row.resize(encoder.blocks(), Block::ZERO);
        write(encoder, &mut work.row)?;
        index.check_kept(work)?;
        let bytes: &[u8] = bytemuck::cast_slice(&work.row);
        out.extend_from_slice(&bytes[..encoder.element.bytes(encoder.dimension)]);
        Ok(())
    })
}

pub(super) fn upsert(index: &impl Insertable, entries: &[(u64, &[u8])]) -> Result<(), IndexError> {
    let fill = |bytes: &[u8], work: &mut Work| {
        work.row.clear();
        work.row.resize(index.encoder().blocks(), Block::ZERO);
        let row: &mut [u8] = cast_slice_mut(&mut work.row);
        row[..bytes.len()].copy_from_slice(bytes);
    };
    let one = |turn: usize| {
        let (key, bytes) = entries[index.position(turn, entries.len())];
        index.work().with(|work| {
            fill(bytes, work);
            index.upsert_encoded(key, work).map(|_was_there| ())
        })
    };
    index.expect(entries.len(), &|position, work| fill(entries[position].1, work));
    if entries.len() < 8 || threads::count() == 1 {
        return (0..entries.len()).try_for_each(one);
    }
    in_turn(entries.len(), one)
}
