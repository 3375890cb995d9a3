//! Keys and vectors by slot: what `Hnsw` and `Flat` have in common.

use parking_lot::Mutex;

use super::encoder::Encoder;
use super::keys::KeyMap;
use crate::arena::{ArenaError, Column};
use crate::error::IndexError;
use crate::graph::Graph;
use crate::vector::Block;

/// Dense slots, each with a key and a vector.
#[derive(Debug)]
pub(super) struct Entries {
    pub(super) encoder: Encoder,
    pub(super) vectors: Column<Block>,
    pub(super) keys: Column<u64>,
    pub(super) map: KeyMap,
    /// Held while a slot is taken, so that all columns number it alike.
    pub(super) append: Mutex<()>,
}

impl Entries {
    pub(super) fn new(encoder: Encoder) -> Self {
        Self {
            encoder,
            vectors: Column::new(encoder.blocks()),
            keys: Column::new(1),
            map: KeyMap::new(),
            append: Mutex::new(()),
        }
    }

    /// Takes a slot for `key` and its encoded vector, in the graph too if there is one. On an
    /// error everything is as it was.
    pub(super) fn append(
        &self,
        key: u64,
        row: &[Block],
        graph: Option<&Graph>,
    ) -> Result<u32, IndexError> {
        let vacancy = self.map.vacancy(key, &self.keys).ok_or(IndexError::KeyExists { key })?;
        let _one_writer = self.append.lock();
        // Whatever can fail comes before the first change.
        self.keys.reserve()?;
        self.vectors.reserve()?;
        if let Some(graph) = graph {
            graph.reserve()?;
        }
        // Keys first, graph last: who sees a node sees its vector, who sees a vector its key.
        let slot = self.keys.push(|place| place[0] = key)?;
        let same = self.vectors.push(|vector| vector.copy_from_slice(row))?;
        debug_assert_eq!(slot, same);
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

    /// The vector of a key, as floats.
    pub(super) fn get(&self, key: u64) -> Option<Vec<f32>> {
        let slot = self.slot(key)?;
        Some(self.encoder.decode(self.vectors.view().row(slot)))
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
