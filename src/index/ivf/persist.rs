//! The index as a file stores it: settings, a few numbers, and lists as bytes.

use std::collections::TryReserveError;
use std::ops::Range;
use std::sync::atomic::Ordering;

use bytemuck::{AnyBitPattern, NoUninit, cast_slice, cast_slice_mut};

use super::builder::{ListCoding, ListSettings, MAX_LISTS};
use super::space::Space;
use super::{Ivf, Originals};
use crate::arena::Unsound;
use crate::error::IndexError;
use crate::index::image::{CODES, KEYS, VECTORS};
use crate::index::ivf::codes::bases::Bases;
use crate::index::ivf::codes::code_list::CodeList;
use crate::index::ivf::codes::codec::{Codec, MOST_UNBIASING};
use crate::index::ivf::codes::drift::{Drift, DriftLimits, Figures};
use crate::index::ivf::lists::directory::Directory;
use crate::index::ivf::lists::list::List;
use crate::index::ivf::lists::places::Places;
use crate::metric::Metric;
use crate::sync::RwLockReadGuard;
use crate::threads::map;
use crate::vector::Block;

/// State of an index besides its lists.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ListState {
    /// Lists with a centroid; 0 before the first training, when the one list has none.
    pub(crate) centroids: u32,
    /// Vectors of all lists.
    pub(crate) vectors: u64,
    /// Vectors at which the index is trained next.
    pub(crate) train_at: u64,
    /// Insertions since the last training.
    pub(crate) changes: u64,
    /// The imbalance of the lists after the last training.
    pub(crate) balance: f64,
    /// Fingerprint and parameters of the quantizer, if the index has codes.
    pub(crate) quantizer: Option<(u64, Vec<u8>)>,
    /// Absent in files of version 1 with codes, and in some others of version 1.
    pub(crate) watched: Option<Watched>,
}

/// Drift since the last training, and the factor for reading codes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Watched {
    /// Trainings since the index was made.
    pub(crate) trainings: u64,
    /// Vectors since the last training that exceed its limits.
    pub(crate) strays: u64,
    /// Limit of a vector's squared distance from its centroid.
    pub(crate) distance: f32,
    /// Limit of the square of a code's relative error.
    pub(crate) code_error: f32,
    /// The factor of product codes that are scaled; 0 without such codes.
    pub(crate) unbiasing: f32,
}

/// Number of the column of terms, one beside each code.
const TERMS: u32 = 3;
/// Number of the column of centroids, one for each list.
const CENTROIDS: u32 = 5;
/// Number of the column that holds the length of each list.
pub(crate) const LENGTHS: u32 = 4;
/// Number of the column of sums over the residuals of each list.
const FIGURES: u32 = 6;
/// Number of the column of the bases of codes.
pub(crate) const BASES: u32 = 7;
/// Number of the column that holds the number of each list's base.
pub(crate) const BASE_OF_LISTS: u32 = 8;
/// Columns whose rows are stored by list, one list after the other.
pub(crate) const OF_LISTS: [u32; 6] = [CENTROIDS, KEYS, VECTORS, CODES, TERMS, FIGURES];

/// Maximum number of changes that a load accepts: counting on from it does not overflow.
const MOST_CHANGES: u64 = 1 << 62;

/// Maximum number of lists after a training: at most the number that it was to make is split off.
const MOST_LISTS: usize = 4 * MAX_LISTS;

/// An index while no thread changes it.
pub(crate) struct ListImage<'a> {
    pub(crate) settings: ListSettings,
    pub(crate) state: ListState,
    /// Vectors of each list.
    pub(crate) lengths: Vec<u32>,
    layout: Layout<'a>,
    directory: &'a Directory,
    lists: Vec<RwLockReadGuard<'a, List>>,
}

impl ListImage<'_> {
    /// Returns the lists that share a chunk, chunk after chunk.
    pub(crate) fn runs(&self) -> Vec<Range<usize>> {
        self.layout.runs(&self.lengths)
    }

    /// Returns the number of bytes of all lists.
    pub(crate) fn bytes(&self) -> u64 {
        let of_list = |list| OF_LISTS.iter().map(|&c| self.part(c, list).len() as u64).sum::<u64>();
        (0..self.lists.len()).map(of_list).sum()
    }

    /// Returns the bytes of a column that belong to one list.
    pub(crate) fn part(&self, column: u32, list: usize) -> &[u8] {
        let of_list = &self.lists[list];
        match column {
            CENTROIDS => cast_slice(self.directory.centroid_row(self.layout.space, list)),
            KEYS => cast_slice(&of_list.keys),
            VECTORS => cast_slice(&of_list.rows),
            CODES => of_list.codes.stored(),
            TERMS => cast_slice(&of_list.terms),
            FIGURES if self.layout.has_figures => {
                cast_slice(std::slice::from_ref(&of_list.figures))
            }
            _ => &[],
        }
    }

    /// Returns the bases, one row after the other, and the number of each list's base; both empty without
    /// codes.
    pub(crate) fn bases(&self) -> (&[f32], Vec<u32>) {
        if self.directory.codec.is_none() {
            return (&[], Vec::new());
        }
        let bases = &self.directory.bases;
        (bases.rows(), (0..self.lists.len() as u32).map(|list| bases.of_list(list)).collect())
    }
}

/// Bytes of each column that belong to a list.
#[derive(Clone, Copy)]
struct Layout<'a> {
    space: &'a Space,
    is_trained: bool,
    has_rows: bool,
    has_figures: bool,
    codec: Option<&'a Codec>,
}

impl Layout<'_> {
    fn bytes(&self, column: u32, len: u32) -> u64 {
        let row = (self.space.blocks() * size_of::<Block>()) as u64;
        let float_row = (self.space.float_blocks() * size_of::<Block>()) as u64;
        let vectors = u64::from(len);
        match column {
            CENTROIDS if self.is_trained => float_row,
            KEYS => 8 * vectors,
            VECTORS if self.has_rows => row * vectors,
            CODES => self.codec.map_or(0, |codec| codec.stored_len(len as usize) as u64),
            TERMS if self.codec.is_some() => 4 * vectors,
            FIGURES if self.has_figures => size_of::<Figures>() as u64,
            _ => 0,
        }
    }

    /// Returns the lists of each chunk. Chunks are of whole lists, so that a list can be read without another.
    fn runs(&self, lengths: &[u32]) -> Vec<Range<usize>> {
        /// Bytes of all columns above which a chunk takes no further list.
        const CHUNK: u64 = 32 << 20;

        let mut runs = Vec::new();
        let (mut start, mut bytes) = (0, 0);
        for (list, &len) in lengths.iter().enumerate() {
            let of_list: u64 = OF_LISTS.iter().map(|&column| self.bytes(column, len)).sum();
            if list > start && bytes + of_list > CHUNK {
                runs.push(start..list);
                (start, bytes) = (list, 0);
            }
            bytes += of_list;
        }
        runs.push(start..lengths.len());
        runs
    }
}

impl Ivf {
    /// Runs `with` while no thread changes the index; searches continue.
    pub(crate) fn frozen<R>(&self, with: impl FnOnce(&ListImage<'_>) -> R) -> R {
        let _alone = self.changing.write();
        let directory = &*self.directory();
        let lists: Vec<_> = directory.lists.iter().map(|list| list.read()).collect();
        let lengths: Vec<u32> = lists.iter().map(|list| list.len() as u32).collect();
        let is_trained = directory.is_trained();
        with(&ListImage {
            settings: self.settings,
            state: ListState {
                centroids: if is_trained { lists.len() as u32 } else { 0 },
                vectors: lengths.iter().map(|&len| u64::from(len)).sum(),
                train_at: self.train_at.load(Ordering::Relaxed) as u64,
                changes: self.changes.load(Ordering::Relaxed) as u64,
                balance: f64::from_bits(self.balance.load(Ordering::Relaxed)),
                quantizer: directory.codec.as_ref().map(Codec::to_bytes),
                watched: is_trained.then(|| self.watched(directory)),
            },
            lengths,
            layout: Layout {
                space: &self.space,
                is_trained,
                has_rows: directory.has_rows,
                has_figures: directory.codec.is_some(),
                codec: directory.codec.as_ref(),
            },
            directory,
            lists,
        })
    }

    fn watched(&self, directory: &Directory) -> Watched {
        let DriftLimits { distance, code_error } = directory.drift.limits();
        Watched {
            trainings: self.trainings.load(Ordering::Relaxed),
            strays: directory.drift.strays() as u64,
            distance,
            code_error,
            unbiasing: directory.codec.as_ref().and_then(Codec::unbiasing).unwrap_or(0.0),
        }
    }

    /// Creates the index whose columns are read from `source`, which receives the number of the column and of
    /// the chunk. Nothing is assumed about their contents: the index is as sound as if its vectors had been
    /// inserted, except that a vector may be in another list than that of its nearest centroid.
    pub(crate) fn restore<'a, E: From<Unsound> + From<IndexError>>(
        settings: &ListSettings,
        state: &ListState,
        mut source: impl FnMut(u32, u32) -> Result<&'a [u8], E>,
    ) -> Result<Self, E> {
        let mut index = settings.build(None)?;
        let codec = read_codec(settings, state)?;
        let lengths = read_lengths(state, source(LENGTHS, 0)?)?;
        let watched = state.watched.iter().all(|watched| {
            let Watched { trainings, strays, distance, code_error, unbiasing } = *watched;
            trainings.max(strays) <= MOST_CHANGES
                && distance >= 0.0
                && code_error >= 0.0
                && (unbiasing == 0.0 || (1.0..=MOST_UNBIASING as f32).contains(&unbiasing))
        });
        if !state.balance.is_finite() || state.changes > MOST_CHANGES || !watched {
            return Err(Unsound("a count of the lists is out of range").into());
        }
        let is_trained = state.centroids > 0;
        let has_rows = codec.is_none() || settings.originals == Originals::Kept;
        let has_figures = codec.is_some() && state.watched.is_some();
        let (space, of_codes) = (&index.space, codec.as_ref());
        let layout = Layout { space, is_trained, has_rows, has_figures, codec: of_codes };
        // Untrained, too: a vector that could not be encoded later is refused from the beginning.
        let is_coded = index.is_coded();
        let mut centroids = Vec::new();
        let mut lists = Vec::new();
        let places = Places::new();
        for (chunk, run) in layout.runs(&lengths).into_iter().enumerate() {
            let mut parts = [&[][..]; OF_LISTS.len()];
            for (part, column) in parts.iter_mut().zip(OF_LISTS) {
                let lengths = &lengths[run.clone()];
                let expected: u64 = lengths.iter().map(|&len| layout.bytes(column, len)).sum();
                if expected > 0 {
                    *part = source(column, chunk as u32)?;
                }
                if part.len() as u64 != expected {
                    return Err(Unsound("a chunk has another length than its lists").into());
                }
            }
            if is_trained {
                read_centroids(&index.space, parts[0], &mut centroids)
                    .map_err(Refused::into_error::<E>)?;
            }
            let entries = run.clone().map(|list| {
                let len = lengths[list];
                let of_list = OF_LISTS.map(|column| layout.bytes(column, len) as usize);
                let mut taken = [&[][..]; OF_LISTS.len()];
                for ((taken, part), len) in taken.iter_mut().zip(&mut parts).zip(of_list) {
                    let (first, rest) = part.split_at(len);
                    (*taken, *part) = (first, rest);
                }
                (list as u32, len as usize, taken)
            });
            let entries: Vec<_> = entries.collect();
            let read = map(entries.len(), |at| {
                let (number, len, parts) = entries[at];
                let list = read_list(&layout, is_coded, len, parts)?;
                list.keys.iter().try_for_each(|&key| {
                    let mut place = places.lock(key);
                    if place.list().is_some() {
                        return Err(Unsound("a key is there twice").into());
                    }
                    place.reserve()?;
                    place.set(number);
                    Ok::<_, Refused>(())
                })?;
                Ok(list)
            });
            let read: Result<Vec<List>, Refused> = read.into_iter().collect();
            lists.extend(read.map_err(Refused::into_error::<E>)?);
        }
        let bases = if has_figures {
            read_bases(
                space.dimension(),
                lists.len(),
                source(BASES, 0)?,
                source(BASE_OF_LISTS, 0)?,
            )?
        } else if space.encoder.metric == Metric::InnerProduct {
            Bases::one(vec![0.0; space.dimension()])
        } else {
            Bases::mean(space.dimension(), &centroids)
        };
        let mut directory = Directory::untrained();
        if is_trained {
            directory = Directory::new(space, &centroids)?;
        }
        if let Some(codec) = codec {
            directory = directory.with_codec(space, &centroids, codec, bases, has_rows)?;
        }
        let mut directory = directory.restored(lists, places);
        if directory.codec.is_some() && !has_figures {
            directory.count_again(space);
        }
        let count = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        if let Some(Watched { trainings, strays, distance, code_error, .. }) = state.watched {
            let limits = DriftLimits { distance, code_error };
            directory.drift = Drift::new(limits, count(strays));
            *index.trainings.get_mut() = trainings;
        } else {
            *index.trainings.get_mut() = u64::from(is_trained);
        }
        *index.directory.get_mut() = std::sync::Arc::new(directory);
        *index.train_at.get_mut() = count(state.train_at);
        *index.changes.get_mut() = count(state.changes);
        *index.balance.get_mut() = state.balance.to_bits();
        Ok(index)
    }
}

/// Reason why a list cannot be loaded.
enum Refused {
    Unsound(Unsound),
    Index(IndexError),
}

impl Refused {
    fn into_error<E: From<Unsound> + From<IndexError>>(self) -> E {
        match self {
            Self::Unsound(unsound) => unsound.into(),
            Self::Index(error) => error.into(),
        }
    }
}

impl From<Unsound> for Refused {
    fn from(unsound: Unsound) -> Self {
        Self::Unsound(unsound)
    }
}

impl From<IndexError> for Refused {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

fn read_codec(settings: &ListSettings, state: &ListState) -> Result<Option<Codec>, Unsound> {
    let expected = state.centroids > 0 && settings.coding != ListCoding::Vectors;
    let unbiasing = state.watched.map(|watched| watched.unbiasing).filter(|&factor| factor > 0.0);
    match &state.quantizer {
        None if expected => Err(Unsound("the quantizer is missing")),
        Some(_) if !expected => Err(Unsound("there are codes where none are expected")),
        None => Ok(None),
        Some((fingerprint, bytes)) => Codec::from_bytes(settings, *fingerprint, bytes, unbiasing)
            .map(Some)
            .ok_or(Unsound("the quantizer is none for this index")),
    }
}

fn read_bases(
    dimension: usize,
    lists: usize,
    rows: &[u8],
    of_lists: &[u8],
) -> Result<Bases, Unsound> {
    let unsound = Unsound("the bases of the lists do not fit them");
    let (rows, rest) = rows.as_chunks();
    let (of_lists, others) = of_lists.as_chunks();
    if !rest.is_empty() || !others.is_empty() || of_lists.len() != lists {
        return Err(unsound);
    }
    let rows = rows.iter().map(|&float| f32::from_le_bytes(float)).collect();
    let of_lists = of_lists.iter().map(|&base| u32::from_le_bytes(base)).collect();
    Bases::restored(dimension, rows, of_lists).ok_or(unsound)
}

fn read_lengths(state: &ListState, bytes: &[u8]) -> Result<Vec<u32>, Unsound> {
    if state.centroids as usize > MOST_LISTS {
        return Err(Unsound("the number of lists is out of range"));
    }
    let (lengths, rest) = bytes.as_chunks();
    if !rest.is_empty() || lengths.len() as u64 != u64::from(state.centroids.max(1)) {
        return Err(Unsound("the number of lists is not that of their lengths"));
    }
    let lengths: Vec<u32> = lengths.iter().map(|&len| u32::from_le_bytes(len)).collect();
    if lengths.iter().map(|&len| u64::from(len)).sum::<u64>() != state.vectors {
        return Err(Unsound("the number of vectors is not that of the lists"));
    }
    Ok(lengths)
}

/// Appends the centroids in `bytes` to `centroids`, without padding.
fn read_centroids(space: &Space, bytes: &[u8], centroids: &mut Vec<f32>) -> Result<(), Refused> {
    let dimension = space.dimension();
    let row = space.float_blocks() * size_of::<Block>();
    let count = bytes.len() / row * dimension;
    centroids.try_reserve_exact(count).map_err(|_| out_of_memory(4 * count))?;
    for row in bytes.chunks_exact(row) {
        let start = centroids.len();
        let floats = row.as_chunks().0[..dimension].iter();
        centroids.extend(floats.map(|&float| f32::from_le_bytes(float)));
        if !centroids[start..].iter().all(|x| x.is_finite()) {
            return Err(Unsound("a centroid is not finite").into());
        }
    }
    Ok(())
}

fn out_of_memory(bytes: usize) -> IndexError {
    IndexError::OutOfMemory { bytes }
}

/// Copies bytes as numbers into their own memory.
fn copied<T: AnyBitPattern + NoUninit>(bytes: &[u8]) -> Result<Vec<T>, TryReserveError> {
    let len = bytes.len() / size_of::<T>();
    let mut out = Vec::new();
    out.try_reserve_exact(len)?;
    out.resize(len, T::zeroed());
    cast_slice_mut(&mut out).copy_from_slice(bytes);
    Ok(out)
}

/// Returns the list of `len` vectors that the parts of [`OF_LISTS`] describe.
fn read_list(
    layout: &Layout<'_>,
    is_coded: bool,
    len: usize,
    parts: [&[u8]; OF_LISTS.len()],
) -> Result<List, Refused> {
    let [_, keys, rows, codes, terms, figures] = parts;
    let bytes = keys.len() + rows.len() + codes.len() + terms.len();
    let refused = |_| out_of_memory(bytes);
    let rows: Vec<Block> = copied(rows).map_err(refused)?;
    let mut floats = Vec::new();
    for row in rows.chunks_exact(layout.space.blocks()) {
        if !layout.space.is_row(row, is_coded, &mut floats) {
            return Err(Unsound("a vector is none for this index").into());
        }
    }
    let codes = match layout.codec {
        None => CodeList::None,
        Some(codec) => {
            let codes = codec.restored(len, codes).map_err(refused)?;
            codes.ok_or(Unsound("a code is none of the quantizer's"))?
        }
    };
    let terms: Vec<f32> = copied(terms).map_err(refused)?;
    if !terms.iter().all(|term| term.is_finite()) {
        return Err(Unsound("the term of a code is out of range").into());
    }
    let figures: Vec<Figures> = copied(figures).map_err(refused)?;
    let figures = figures.first().copied().unwrap_or_default();
    if !figures.is_sound() {
        return Err(Unsound("the figures of a list are out of range").into());
    }
    Ok(List { keys: copied(keys).map_err(refused)?, rows, codes, terms, figures })
}
