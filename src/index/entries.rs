//! Keys and vectors by slot: what `Hnsw` and `Flat` have in common.

use parking_lot::Mutex;

use super::codes::{CodeWork, Codes, Originals, Quantized};
use super::encoder::Encoder;
use super::keys::KeyMap;
use super::replace::Replacing;
use crate::arena::{ArenaError, Column, Slots, Vacant, pin};
use crate::error::IndexError;
use crate::graph::Graph;
use crate::vector::{Block, VectorRef};

/// Where a vector was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) slot: u32,
    /// Whether another vector stood there before.
    pub(super) is_reused: bool,
}

/// Dense slots, each with a key and a vector, a code, or both.
#[derive(Debug)]
pub(super) struct Entries {
    pub(super) encoder: Encoder,
    pub(super) vectors: Column<Block>,
    pub(super) quantized: Option<Quantized>,
    pub(super) keys: Column<u64>,
    pub(super) map: KeyMap,
    /// Which slots hold nothing.
    pub(super) slots: Slots,
    pub(super) replacing: Replacing,
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
            slots: Slots::new(),
            replacing: Replacing::default(),
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

    /// Takes a slot for `key`, which is new, and its encoded vector, in the graph too if there is
    /// one. On an error everything is as it was.
    pub(super) fn append(
        &self,
        key: u64,
        row: &[Block],
        coding: &mut CodeWork,
        graph: Option<&Graph>,
    ) -> Result<Place, IndexError> {
        let vacancy = self.map.vacancy(key, &self.keys).ok_or(IndexError::KeyExists { key })?;
        let place = self.write(key, row, coding, graph)?;
        vacancy.fill(place.slot);
        Ok(place)
    }

    /// Takes a slot and writes `key` and its encoded vector there; the key does not lead there yet.
    pub(super) fn write(
        &self,
        key: u64,
        row: &[Block],
        coding: &mut CodeWork,
        graph: Option<&Graph>,
    ) -> Result<Place, IndexError> {
        let codes = self.codes();
        if let Some(codes) = codes {
            self.encoder.decode_into(row, &mut coding.floats);
            codes.encode(coding);
        }
        // While codes are made, slot by slot, what was coded must not change.
        if (self.quantized.is_none() || codes.is_some())
            && let Some(vacant) = self.slots.take()
        {
            return Ok(self.write_again(vacant, key, row, coding));
        }
        let keeps = codes.is_none() || !self.drops();
        let _one_writer = self.append.lock();
        // Whatever can fail comes before the first change.
        self.slots.reserve(self.keys.len() as u32)?;
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
        Ok(Place { slot, is_reused: false })
    }

    fn write_again(&self, vacant: Vacant<'_>, key: u64, row: &[Block], coding: &CodeWork) -> Place {
        let slot = vacant.slot();
        self.keys.refill(&vacant, |place| place[0] = key);
        // Where originals are dropped, the first slots have some.
        if (slot as usize) < self.vectors.len() {
            self.vectors.refill(&vacant, |vector| vector.copy_from_slice(row));
        }
        if let Some(codes) = self.codes() {
            codes.rows.refill(&vacant, |code| code.copy_from_slice(&coding.code));
        }
        vacant.show();
        Place { slot, is_reused: true }
    }

    /// Makes sure that any slot can be hidden: those that were appended can, those from a file may need memory.
    pub(super) fn reserve_hiding(&self) -> Result<(), ArenaError> {
        let slots = self.keys.len() as u32;
        if slots > 0 { self.slots.reserve(slots - 1) } else { Ok(()) }
    }

    /// Whether the slot may be among the answers of a search that began at a moment of [`Replacing`].
    pub(super) fn answers(&self, slot: u32, began: u64) -> bool {
        !self.slots.is_hidden(slot) || self.replacing.since(began, slot)
    }

    /// Whether all slots are answers.
    pub(super) fn all_answer(&self) -> bool {
        self.slots.hidden() == 0
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
        let _pin = pin();
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
        self.keys.bytes() + self.map.bytes() + self.slots.bytes()
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
