//! Records of a collection as bytes; `FORMAT.md` describes them.

use super::error::CollectionError;
use crate::graph::GraphState;
use crate::index::{CodeSettings, GraphSettings, Originals, Settings, State};
use crate::metric::Metric;
use crate::quantization::{Bits, Coding};
use crate::vector::Element;

/// Version of the format that this file describes.
pub(super) const VERSION: u32 = 1;

/// Version of inverted-file indexes with codes; those without have [`VERSION`].
pub(super) const VERSION_OF_CODED_LISTS: u32 = 2;

/// Table of the two records below, by name.
pub(super) const HEAD: &str = "nearfield";
/// The record of [`Settings`].
pub(super) const SETTINGS: &str = "settings";
/// The record of [`Checkpoint`].
pub(super) const CHECKPOINT: &str = "checkpoint";
/// The record of the greatest key that a name had, once that name is removed; may be missing.
pub(super) const LAST_NAMED: &str = "last named";
/// The record of the name of a custom metric; only if the settings have one.
pub(super) const METRIC: &str = "metric";
/// Table from column and chunk to extent.
pub(super) const COLUMNS: &str = "columns";
/// Table from commit and part to the operations of this commit.
pub(super) const JOURNAL: &str = "journal";
/// Table from number to the rows that changed behind the checkpoint; may be missing.
pub(super) const DELTAS: &str = "deltas";
/// Table from key to payload.
pub(super) const PAYLOADS: &str = "payloads";
/// Table from name to key.
pub(super) const KEYS_OF_NAMES: &str = "keys of names";
/// Table from key to name.
pub(super) const NAMES_OF_KEYS: &str = "names of keys";
/// Table from key to attributes.
pub(super) const ATTRIBUTES: &str = "attributes";
/// Table from the name of a field to its number.
pub(super) const FIELDS: &str = "fields";
/// Table from a value of a field, and a chunk of the keys, to those that have the value.
pub(super) const INDEX_OF_ATTRIBUTES: &str = "index of attributes";

/// The names of tables of the user's own begin so. No table of the collection does.
pub(super) const OWN: &str = "own: ";

/// Keys of names begin here.
pub(super) const FIRST_NAMED: u64 = 1 << 63;

/// The number of a missing value.
const NONE: u32 = u32::MAX;

/// The kind of index in a file, as records number it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Graph = 1,
    Exact = 2,
    Lists = 3,
}

impl Kind {
    const ALL: [(u8, Self); 3] = [(1, Self::Graph), (2, Self::Exact), (3, Self::Lists)];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Graph => "a graph index",
            Self::Exact => "an exact index",
            Self::Lists => "an inverted-file index",
        }
    }

    /// Returns the kind that a record of settings begins with.
    pub(super) fn of(settings: &[u8]) -> Result<Self, CollectionError> {
        let mut reader = Reader(settings);
        let found = reader.u32()?;
        if ![VERSION, VERSION_OF_CODED_LISTS].contains(&found) {
            return Err(CollectionError::Version { path: None, found, supported: VERSION });
        }
        let [kind] = reader.take()?;
        value(&Self::ALL, kind).ok_or(corrupt("the kind of index is unknown"))
    }

    /// Refuses another kind than `expected`.
    pub(super) fn expect(self, expected: Self) -> Result<(), CollectionError> {
        if self == expected {
            return Ok(());
        }
        let (expected, found) = (expected.name(), self.name());
        Err(CollectionError::Kind { path: None, expected, found })
    }
}

pub(super) const METRICS: [(u8, Metric); 5] = [
    (1, Metric::L2),
    (2, Metric::InnerProduct),
    (3, Metric::Cosine),
    (4, Metric::Hamming),
    (5, Metric::Custom),
];

pub(super) const ELEMENTS: [(u8, Element); 6] = [
    (1, Element::F32),
    (2, Element::F16),
    (3, Element::Bf16),
    (4, Element::I8),
    (5, Element::U8),
    (6, Element::Bit),
];

/// The form in which the vectors are kept, in the order of the numbers below.
const ORIGINALS: [Originals; 4] =
    [Originals::Kept, Originals::Dropped, Originals::Sq8, Originals::Sq12];

/// The codings, with their numbers in records, one for each of [`ORIGINALS`]. A product quantizer's number is followed by its
/// sub-vectors and bits, at the end of the record.
const CODINGS: [([u8; 4], Coding); 5] = [
    ([1, 3, 13, 19], Coding::Scalar(Bits::Four)),
    ([2, 4, 14, 20], Coding::Scalar(Bits::Eight)),
    ([5, 8, 15, 21], Coding::Rabitq { bits: 1 }),
    ([6, 9, 16, 22], Coding::Rabitq { bits: 2 }),
    ([7, 10, 17, 23], Coding::Rabitq { bits: 4 }),
];
const PRODUCT: [u8; 4] = [11, 12, 18, 24];
/// Under the inner product, product codes have lengths.
const PRODUCT_WITH_LENGTHS: [u8; 4] = [25, 26, 27, 28];

/// The commit and the state of the index that the columns hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// The last commit that is in the columns.
    pub(super) commit: u64,
    pub(super) state: State,
}

/// Returns an error if the columns' numbers would have another byte order than the file's.
pub(super) fn check_byte_order() -> Result<(), CollectionError> {
    if cfg!(target_endian = "little") { Ok(()) } else { Err(CollectionError::ByteOrder) }
}

/// Returns the key in a record of a name.
pub(super) fn key_of_name(record: &[u8]) -> Result<u64, CollectionError> {
    let key = record.try_into().map_err(|_| corrupt("the key of a name is malformed"))?;
    Ok(u64::from_le_bytes(key))
}

pub(super) fn corrupt(reason: &'static str) -> CollectionError {
    CollectionError::corrupt(reason)
}

/// Little-endian numbers, one after the other.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], CollectionError> {
        let (first, rest) = self.0.split_first_chunk().ok_or(corrupt("a record is too short"))?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn u32(&mut self) -> Result<u32, CollectionError> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, CollectionError> {
        self.take().map(u64::from_le_bytes)
    }

    pub(super) fn bytes(&mut self, len: u32) -> Result<Vec<u8>, CollectionError> {
        let len = len as usize;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(corrupt("a record is too short"))?;
        self.0 = rest;
        Ok(bytes.to_vec())
    }

    pub(super) fn end(&self) -> Result<(), CollectionError> {
        if self.0.is_empty() { Ok(()) } else { Err(corrupt("a record is too long")) }
    }
}

pub(super) fn number<T: Copy + PartialEq>(table: &[(u8, T)], value: T) -> u8 {
    table.iter().find(|(_, of)| *of == value).map_or(0, |&(number, _)| number)
}

pub(super) fn value<T: Copy>(table: &[(u8, T)], number: u8) -> Option<T> {
    table.iter().find(|(of, _)| *of == number).map(|&(_, value)| value)
}

pub(super) fn encode_settings(settings: &Settings) -> Vec<u8> {
    let mut out = VERSION.to_le_bytes().to_vec();
    out.push(if settings.graph.is_some() { Kind::Graph } else { Kind::Exact } as u8);
    out.push(number(&METRICS, settings.metric));
    out.push(number(&ELEMENTS, settings.element));
    let mut product: Vec<u8> = Vec::new();
    out.push(settings.codes.map_or(0, |CodeSettings { coding, originals }| {
        let at = ORIGINALS.iter().position(|&of| of == originals).unwrap_or(0);
        if let Coding::Product { sub_vectors, bits } = coding {
            product.extend([sub_vectors, bits].map(u32::to_le_bytes).as_flattened());
            return product_numbers(settings.metric)[at];
        }
        let found = CODINGS.iter().find(|(_, of)| *of == coding);
        found.map_or(0, |(numbers, _)| numbers[at])
    }));
    out.extend((settings.dimension as u32).to_le_bytes());
    if let Some(GraphSettings { m, ef_construction, seed, alpha }) = settings.graph {
        out.extend((m as u32).to_le_bytes());
        out.extend((ef_construction as u32).to_le_bytes());
        out.extend(alpha.unwrap_or(0.0).to_le_bytes());
        out.extend(seed.to_le_bytes());
    }
    out.extend(product);
    out
}

/// Returns the numbers of product codes under a metric.
fn product_numbers(metric: Metric) -> &'static [u8; 4] {
    if metric == Metric::InnerProduct { &PRODUCT_WITH_LENGTHS } else { &PRODUCT }
}

pub(super) fn decode_settings(bytes: &[u8]) -> Result<Settings, CollectionError> {
    let kind = Kind::of(bytes)?;
    let mut reader = Reader(bytes);
    let found = reader.u32()?;
    if found != VERSION {
        return Err(CollectionError::Version { path: None, found, supported: VERSION });
    }
    let [_, metric, element, codes] = reader.take()?;
    let metric = value(&METRICS, metric).ok_or(corrupt("the metric is unknown"))?;
    let element = value(&ELEMENTS, element).ok_or(corrupt("the element type is unknown"))?;
    let dimension = reader.u32()? as usize;
    let graph = match kind {
        Kind::Graph => {
            let (m, ef_construction) = (reader.u32()? as usize, reader.u32()? as usize);
            let alpha = f32::from_le_bytes(reader.take()?);
            let alpha = (alpha.to_bits() != 0).then_some(alpha);
            Some(GraphSettings { m, ef_construction, seed: reader.u64()?, alpha })
        }
        Kind::Exact => None,
        Kind::Lists => return Err(corrupt("lists have settings of another form")),
    };
    let codes = decode_codes(codes, metric, dimension, &mut reader)?;
    reader.end()?;
    Ok(Settings { dimension, metric, element, graph, codes })
}

fn decode_codes(
    number: u8,
    metric: Metric,
    dimension: usize,
    reader: &mut Reader<'_>,
) -> Result<Option<CodeSettings>, CollectionError> {
    let place = |numbers: &[u8; 4]| numbers.iter().position(|&of| of == number);
    if number == 0 {
        return Ok(None);
    }
    if let Some(at) = place(product_numbers(metric)) {
        let (sub_vectors, bits) = (reader.u32()?, reader.u32()?);
        if sub_vectors == 0 || sub_vectors as usize > dimension || (bits != 4 && bits != 8) {
            return Err(corrupt("the product quantization is none"));
        }
        let coding = Coding::Product { sub_vectors, bits };
        return Ok(Some(CodeSettings { coding, originals: ORIGINALS[at] }));
    }
    let found = CODINGS.iter().find_map(|(numbers, coding)| Some((place(numbers)?, *coding)));
    let (at, coding) = found.ok_or(corrupt("the quantization is unknown"))?;
    Ok(Some(CodeSettings { coding, originals: ORIGINALS[at] }))
}

pub(super) fn encode_checkpoint(checkpoint: &Checkpoint) -> Vec<u8> {
    let Checkpoint { commit, state: State { graph, vectors, coder, hidden } } = checkpoint;
    let (level, row) = graph.entry.unwrap_or((NONE, 0));
    let mut out = commit.to_le_bytes().to_vec();
    out.extend(level.to_le_bytes());
    out.extend(row.to_le_bytes());
    out.extend(vectors.to_le_bytes());
    out.extend((graph.rows.len() as u32).to_le_bytes());
    out.extend(graph.rows.iter().flat_map(|rows| rows.to_le_bytes()));
    match coder {
        Some(coder) => {
            out.extend((coder.len() as u32).to_le_bytes());
            out.extend_from_slice(coder);
        }
        None => out.extend(NONE.to_le_bytes()),
    }
    let (sum, count) = graph.spread;
    if !hidden.is_empty() || count > 0 {
        out.extend((hidden.len() as u32).to_le_bytes());
        out.extend(hidden.iter().flat_map(|word| word.to_le_bytes()));
    }
    if count > 0 {
        out.extend(sum.to_le_bytes());
        out.extend(count.to_le_bytes());
    }
    out
}

pub(super) fn decode_checkpoint(bytes: &[u8]) -> Result<Checkpoint, CollectionError> {
    let mut reader = Reader(bytes);
    let commit = reader.u64()?;
    if commit > MAX_COMMIT {
        return Err(corrupt("a commit's number is out of range"));
    }
    let (level, row) = (reader.u32()?, reader.u32()?);
    let vectors = reader.u32()?;
    let levels = reader.u32()?;
    if levels > 64 {
        return Err(corrupt("the number of levels is out of range"));
    }
    let rows = (0..levels).map(|_| reader.u32()).collect::<Result<_, _>>()?;
    let coder = match reader.u32()? {
        NONE => None,
        len => Some(reader.bytes(len)?),
    };
    let mut hidden = Vec::new();
    if !reader.0.is_empty() {
        for _ in 0..reader.u32()? {
            hidden.push(reader.u64()?);
        }
    }
    let spread = if reader.0.is_empty() { (0, 0) } else { (reader.u64()?, reader.u64()?) };
    reader.end()?;
    let graph = GraphState { rows, entry: (level != NONE).then_some((level, row)), spread };
    Ok(Checkpoint { commit, state: State { graph, vectors, coder, hidden } })
}

/// Returns the key of a chunk in [`COLUMNS`].
pub(super) fn chunk_key(column: u32, chunk: u32) -> u64 {
    u64::from(column) << 32 | u64::from(chunk)
}

/// Returns the value of a chunk in [`COLUMNS`].
pub(super) fn encode_chunk(extent: u64, len: u64) -> [u8; 16] {
    let mut out = [0; 16];
    out[..8].copy_from_slice(&extent.to_le_bytes());
    out[8..].copy_from_slice(&len.to_le_bytes());
    out
}

pub(super) fn decode_chunk(bytes: &[u8]) -> Result<(u64, u64), CollectionError> {
    let mut reader = Reader(bytes);
    let chunk = (reader.u64()?, reader.u64()?);
    reader.end()?;
    Ok(chunk)
}

/// Bits of a journal key that number the parts of a commit.
const PART_BITS: u32 = 20;
/// Maximum number of parts of a commit.
pub(super) const MAX_PARTS: u64 = 1 << PART_BITS;
/// Maximum number of a commit.
pub(super) const MAX_COMMIT: u64 = (1 << (64 - PART_BITS)) - 2;

/// Returns the key of a part of a commit in [`JOURNAL`].
pub(super) fn journal_key(commit: u64, part: u64) -> u64 {
    debug_assert!(commit <= MAX_COMMIT + 1 && part < MAX_PARTS);
    commit << PART_BITS | part
}

/// Returns the commit that a key of [`JOURNAL`] belongs to.
pub(super) fn commit_of(key: u64) -> u64 {
    key >> PART_BITS
}

const UPSERT: u8 = 1;
const REMOVE: u8 = 2;

/// A change of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation<'a> {
    /// The key's vector, as the index stores it, without padding.
    Upsert(u64, &'a [u8]),
    Remove(u64),
}

impl Operation<'_> {
    /// Returns the number of bytes that [`Self::encode`] appends.
    pub(super) fn len(&self) -> usize {
        let vector = if let Self::Upsert(_, vector) = self { vector.len() } else { 0 };
        1 + size_of::<u64>() + vector
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Upsert(key, vector) => {
                out.push(UPSERT);
                out.extend(key.to_le_bytes());
                out.extend_from_slice(vector);
            }
            Self::Remove(key) => {
                out.push(REMOVE);
                out.extend(key.to_le_bytes());
            }
        }
    }
}

/// Returns the operations of a part, whose vectors have `vector_bytes` bytes.
pub(super) fn decode_operations(
    mut bytes: &[u8],
    vector_bytes: usize,
) -> Result<Vec<Operation<'_>>, CollectionError> {
    let mut operations = Vec::new();
    while let Some((&kind, rest)) = bytes.split_first() {
        let mut reader = Reader(rest);
        let key = reader.u64()?;
        bytes = reader.0;
        operations.push(match kind {
            UPSERT => {
                let torn = corrupt("an operation of the journal is torn");
                let (vector, rest) = bytes.split_at_checked(vector_bytes).ok_or(torn)?;
                bytes = rest;
                Operation::Upsert(key, vector)
            }
            REMOVE => Operation::Remove(key),
            _ => return Err(corrupt("an operation of the journal is unknown")),
        });
    }
    Ok(operations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_damaged_ones_are_errors() {
        for (_, metric) in METRICS {
            for (_, element) in ELEMENTS {
                for alpha in [None, Some(1.44)] {
                    let graph = GraphSettings { m: 16, ef_construction: 200, seed: 7, alpha };
                    let codes = CODINGS.map(|(_, coding)| coding).into_iter();
                    let codes = codes.chain(
                        [(1, 4), (100, 8)]
                            .map(|(sub_vectors, bits)| Coding::Product { sub_vectors, bits }),
                    );
                    let codes = codes.flat_map(|coding| {
                        ORIGINALS.map(|originals| {
                            (Some(graph), Some(CodeSettings { coding, originals }))
                        })
                    });
                    for (graph, codes) in [(None, None)].into_iter().chain(codes) {
                        let settings = Settings { dimension: 100, metric, element, graph, codes };
                        let bytes = encode_settings(&settings);
                        assert_eq!(decode_settings(&bytes).unwrap(), settings);
                        for len in 0..bytes.len() {
                            assert!(decode_settings(&bytes[..len]).is_err());
                        }
                    }
                }
            }
        }
        // Product codes without lengths, of a file under the inner product.
        let graph = Some(GraphSettings { m: 16, ef_construction: 200, seed: 7, alpha: None });
        let coding = Coding::Product { sub_vectors: 4, bits: 4 };
        for (at, originals) in ORIGINALS.into_iter().enumerate() {
            let codes = Some(CodeSettings { coding, originals });
            let (metric, element) = (Metric::InnerProduct, Element::F32);
            let settings = Settings { dimension: 8, metric, element, graph, codes };
            let mut bytes = encode_settings(&settings);
            assert_eq!(bytes[7], PRODUCT_WITH_LENGTHS[at]);
            bytes[7] = PRODUCT[at];
            assert!(decode_settings(&bytes).is_err());
        }
        for (entry, coder) in [(None, None), (Some((2, 9)), Some(vec![1, 2, 3]))] {
            let graph = GraphState { rows: vec![100, 10, 1], entry, spread: (0, 0) };
            let state = State { graph, vectors: 90, coder, hidden: Vec::new() };
            let mut checkpoint = Checkpoint { commit: 77, state };
            let bytes = encode_checkpoint(&checkpoint);
            assert_eq!(decode_checkpoint(&bytes).unwrap(), checkpoint);
            for len in 0..bytes.len() {
                assert!(decode_checkpoint(&bytes[..len]).is_err());
            }
            let short = bytes.len();
            checkpoint.state.hidden = vec![5, u64::MAX];
            let bytes = encode_checkpoint(&checkpoint);
            assert_eq!(decode_checkpoint(&bytes).unwrap(), checkpoint);
            for len in short + 1..bytes.len() {
                assert!(decode_checkpoint(&bytes[..len]).is_err());
            }
            let long = bytes.len();
            checkpoint.state.graph.spread = (7, 9);
            let bytes = encode_checkpoint(&checkpoint);
            assert_eq!(decode_checkpoint(&bytes).unwrap(), checkpoint);
            for len in long + 1..bytes.len() {
                assert!(decode_checkpoint(&bytes[..len]).is_err());
            }
        }
        assert_eq!(decode_chunk(&encode_chunk(3, 1 << 40)).unwrap(), (3, 1 << 40));
        assert_eq!(commit_of(journal_key(MAX_COMMIT, MAX_PARTS - 1)), MAX_COMMIT);
    }

    #[test]
    fn operations_come_back_and_torn_ones_are_errors() {
        let operations =
            [Operation::Upsert(1, &[1, 2, 3]), Operation::Remove(u64::MAX), Operation::Remove(0)];
        let mut bytes = Vec::new();
        for operation in &operations {
            operation.encode(&mut bytes);
        }
        assert_eq!(decode_operations(&bytes, 3).unwrap(), operations);
        for len in [1, 5, 11, 13, 20] {
            assert!(decode_operations(&bytes[..len], 3).is_err(), "{len}");
        }
        assert!(decode_operations(&[9; 12], 3).is_err());
    }
}
