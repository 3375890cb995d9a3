//! Keys and vectors by slot: what `Hnsw` and `Flat` have in common.

use parking_lot::Mutex;

use super::codes::{CodeWork, Codes, Originals, Quantized};
use super::encoder::Encoder;
use super::keys::KeyMap;
use crate::arena::{ArenaError, Column};
use crate::error::IndexError;
use crate::graph::Graph;
use crate::vector::{Block, VectorRef};

/// Dense slots, each with a key and a vector, a code, or both.
#[derive(Debug)]
pub(super) struct Entries {
    pub(super) encoder: Encoder,
    pub(super) vectors: Column<Block>,
    pub(super) quantized: Option<Quantized>,
    pub(super) keys: Column<u64>,
    pub(super) map: KeyMap,
    /// Held while a slot is taken, so that all columns number it alike.
    pub(super) append: Mutex<()>,
}

impl Entries {
    pub(super) fn new(encoder: Encoder, quantized: Option<Quantized>) -> Self {
        Self {
            encoder,
            vectors: Column::new(encoder.blocks()),
            quantized,
            keys: Column::new(1),
            map: KeyMap::new(),
            append: Mutex::new(()),
        }
    }

    /// The codes that walks read, if there are.
    #[inline]
    pub(super) fn codes(&self) -> Option<&Codes> {
        self.quantized.as_ref().and_then(Quantized::codes)
    }

    /// Whether all vectors are there to be read.
    pub(super) fn has_vectors(&self) -> bool {
        self.codes().is_none() || !self.drops()
    }

    fn drops(&self) -> bool {
        self.quantized.as_ref().is_some_and(|q| q.originals == Originals::Dropped)
    }

    /// Takes a slot for `key` and its encoded vector, in the graph too if there is one. On an
    /// error everything is as it was.
    pub(super) fn append(
        &self,
        key: u64,
        row: &[Block],
        coding: &mut CodeWork,
        graph: Option<&Graph>,
    ) -> Result<u32, IndexError> {
        let vacancy = self.map.vacancy(key, &self.keys).ok_or(IndexError::KeyExists { key })?;
        let codes = self.codes();
        if let Some(codes) = codes {
            self.encoder.decode_into(row, &mut coding.floats);
            codes.encode(coding);
        }
        let keeps = codes.is_none() || !self.drops();
        let _one_writer = self.append.lock();
        // Whatever can fail comes before the first change.
        self.keys.reserve()?;
        if keeps {
            self.vectors.reserve()?;
        }
        if let Some(codes) = codes {
            codes.rows.reserve()?;
        }
        if let Some(graph) = graph {
            graph.reserve()?;
        }
        // Keys first, graph last: who sees a node sees its vector, who sees a vector its key.
        let slot = self.keys.push(|place| place[0] = key)?;
        if keeps {
            let same = self.vectors.push(|vector| vector.copy_from_slice(row))?;
            debug_assert_eq!(slot, same);
        }
        if let Some(codes) = codes {
            let same = codes.rows.push(|code| code.copy_from_slice(&coding.code))?;
            debug_assert_eq!(slot, same);
        }
        if let Some(graph) = graph {
            let same = graph.push()?;
            debug_assert_eq!(slot, same);
        }
        vacancy.fill(slot);
        Ok(slot)
    }

    /// The slot of a key.
    pub(super) fn slot(&self, key: u64) -> Option<u32> {
        self.map.get(key, &self.keys)
    }

    /// Writes the row of a slot, or what its code stands for where vectors were dropped; whether
    /// there is one.
    pub(super) fn row_into(&self, slot: u32, row: &mut [Block]) -> bool {
        let vectors = self.vectors.view();
        if slot < vectors.len() {
            row.copy_from_slice(vectors.row(slot));
            return true;
        }
        let Some(codes) = self.codes().filter(|codes| slot < codes.rows.view().len()) else {
            return false;
        };
        let mut floats = Vec::new();
        codes.grid.decode(codes.rows.view().row(slot), &mut floats);
        self.encoder.encode(VectorRef::F32(&floats), row).is_ok()
    }

    /// The vector of a key, as floats.
    pub(super) fn get(&self, key: u64) -> Option<Vec<f32>> {
        let slot = self.slot(key)?;
        let vectors = self.vectors.view();
        if slot < vectors.len() {
            return Some(self.encoder.decode(vectors.row(slot)));
        }
        let codes = self.codes()?;
        let mut vector = Vec::new();
        codes.grid.decode(codes.rows.view().row(slot), &mut vector);
        Some(vector)
    }

    /// Number of keys.
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    /// Bytes of the keys and their map.
    pub(super) fn key_bytes(&self) -> usize {
        self.keys.bytes() + self.map.bytes()
    }
}

impl From<ArenaError> for IndexError {
    fn from(error: ArenaError) -> Self {
        match error {
            ArenaError::OutOfMemory { bytes } => Self::OutOfMemory { bytes },
            ArenaError::Full { len } => Self::Full { len },
        }
    }
}
