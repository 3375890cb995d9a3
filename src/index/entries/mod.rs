//! Keys and vectors by slot: the common part of `Hnsw` and `Flat`.

pub(in crate::index) mod accepted;
pub(in crate::index) mod cost;
pub(in crate::index) mod deliver;
pub(in crate::index) mod gather;
mod key_hints;
pub(in crate::index) mod key_map;
pub(in crate::index) mod replacement;
pub(in crate::index) mod scan;
pub(in crate::index) mod space;

use super::codes::{CodeWork, Codes};
use super::distances::Engine;
use super::encode::Encoder;
use super::scratch::Work;
use crate::arena::{ArenaError, Column, Slot, Slots, Vacant, VacantRun, pin};
use crate::error::{IndexError, VectorError};
use crate::graph::{Graph, Measure};
use crate::index::codes::fitting::Quantized;
use crate::index::codes::representation::Representation;
use crate::index::entries::key_hints::KeyHints;
use crate::index::entries::key_map::KeyMap;
use crate::index::entries::replacement::Replacing;
use crate::process::{Forked, Process};
use crate::sync::Mutex;
use crate::vector::Block;

/// The slot into which a vector was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) slot: Slot,
    /// Whether the slot held another vector before.
    pub(super) is_reused: bool,
}

/// Dense slots, each with a key and a vector, a code, or both.
#[derive(Debug)]
pub(super) struct Entries {
    pub(super) encoder: Encoder,
    /// Compares vectors.
    pub(super) engine: Engine,
    pub(super) vectors: Column<Block>,
    pub(super) quantized: Option<Quantized>,
    pub(super) keys: Column<u64>,
    pub(super) map: KeyMap,
    pub(super) hints: KeyHints,
    /// The slots that hold nothing.
    pub(super) slots: Slots,
    pub(super) replacing: Replacing,
    /// Held while a slot is taken, so that all columns number it alike.
    pub(super) append: Mutex<()>,
    /// The process that mapped columns from a file; `None` if all columns are in memory.
    pub(super) reader: Option<Process>,
}

impl Entries {
    pub(super) fn new(encoder: Encoder, engine: Engine, quantized: Option<Quantized>) -> Self {
        Self {
            encoder,
            engine,
            vectors: Column::new(encoder.blocks()),
            quantized,
            keys: Column::new(1),
            map: KeyMap::new(),
            hints: KeyHints::default(),
            slots: Slots::new(),
            replacing: Replacing::default(),
            append: Mutex::new(()),
            reader: None,
        }
    }

    /// Notes that columns now map a file, which stays unchanged for this process only.
    pub(super) fn bind(&mut self) {
        self.reader = Some(Process::current());
    }

    /// Refuses a forked child of the process that mapped the columns.
    pub(super) fn admit(&self) -> Result<(), IndexError> {
        Ok(self.reader.map_or(Ok(()), Process::admit)?)
    }

    /// Returns the slots that hold a vector, and their keys, in the order of the slots.
    pub(super) fn occupied(&self) -> impl Iterator<Item = (Slot, u64)> + '_ {
        let keys = self.keys.view();
        let lives = |slot: &Slot| !self.slots.is_hidden(*slot);
        (0..keys.len()).map(Slot::new).filter(lives).map(move |slot| (slot, keys.row(slot)[0]))
    }

    /// Returns the keys of all vectors, in the order of the slots; no key in a forked child that cannot read them.
    pub(super) fn all_keys(&self) -> impl Iterator<Item = u64> + '_ {
        let can_read = self.admit().is_ok();
        can_read.then(|| self.occupied()).into_iter().flatten().map(|(_, key)| key)
    }

    /// Returns the codes, if the index has some.
    #[inline]
    pub(super) fn codes(&self) -> Option<&Codes> {
        self.quantized.as_ref().and_then(Quantized::codes)
    }

    /// Returns the vectors.
    #[inline]
    pub(super) fn by_vectors(&self) -> Representation<'_> {
        Representation::of_vectors(&self.vectors, &self.engine)
    }

    /// Returns the representation that walks read.
    #[inline]
    pub(super) fn walked(&self) -> Representation<'_> {
        let Some(codes) = self.codes() else { return self.by_vectors() };
        let walked = Representation::of_codes(codes);
        let is_misleading = codes.blur.is_everywhere() || codes.fit.is_lost();
        if is_misleading { self.exact_beside(walked) } else { walked }
    }

    /// Returns the representation by which rows of the graph are chosen.
    pub(super) fn linked(&self) -> Representation<'_> {
        let Some(codes) = self.codes() else { return self.by_vectors() };
        let walked = Representation::of_codes(codes);
        if codes.blur.is_trusted() { walked } else { self.exact_beside(walked) }
    }

    /// Returns the most exact representation that has all vectors.
    pub(super) fn exact(&self) -> Representation<'_> {
        let codes = self.codes().map(Representation::of_codes);
        codes.map_or(self.by_vectors(), |codes| self.exact_beside(codes))
    }

    /// Returns the most exact representation that has all vectors, for a walk that read `walked`: the vectors, or if these are not
    /// kept, the finest of its codes.
    pub(super) fn exact_beside<'a>(&'a self, walked: Representation<'a>) -> Representation<'a> {
        match walked.codes {
            Some(codes) if !self.has_vectors() => Representation::of_codes(codes.finest()),
            _ => self.by_vectors(),
        }
    }

    /// Returns the codes of `walked` if the index has more exact data: the vectors, or finer codes.
    pub(super) fn refined<'a>(&self, walked: Representation<'a>) -> Option<&'a Codes> {
        walked.codes.filter(|codes| self.refines(codes))
    }

    /// Returns the distances by which rows of the graph are chosen.
    pub(super) fn measure(&self) -> Measure {
        if self.linked().is_coded() { Measure::Codes } else { Measure::Vectors }
    }

    /// Returns whether all vectors can be read.
    pub(super) fn has_vectors(&self) -> bool {
        self.codes().is_none() || !self.drops()
    }

    /// Returns whether the index has more exact data than these codes: the vectors, or finer codes.
    pub(super) fn refines(&self, codes: &Codes) -> bool {
        codes.finer.is_some() || self.has_vectors()
    }

    /// Refuses the vector of a row, which is about to be inserted, if it cannot be kept.
    pub(super) fn check_kept(
        &self,
        row: &[Block],
        floats: &mut Vec<f32>,
    ) -> Result<(), VectorError> {
        let Some(codes) = self.codes().filter(|_| self.drops()) else { return Ok(()) };
        self.encoder.unit_into(row, floats);
        codes.check_kept(floats)
    }

    fn drops(&self) -> bool {
        self.quantized.as_ref().is_some_and(|q| !q.originals.is_kept())
    }

    /// Takes a slot for `key`, which is new, and its encoded vector, in the graph too if one is given. On an error
    /// nothing is changed.
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

    /// Takes a slot and writes `key` and its encoded vector there; the map does not refer to the slot yet.
    pub(super) fn write(
        &self,
        key: u64,
        row: &[Block],
        coding: &mut CodeWork,
        graph: Option<&Graph>,
    ) -> Result<Place, IndexError> {
        let codes = self.codes();
        if let Some(codes) = codes {
            self.encoder.unit_into(row, &mut coding.floats);
            if self.drops() {
                // Callers check the vector before they change anything, but codes can begin between their check and this
                // call. Here they cannot, because the caller keeps them from beginning.
                codes.check_kept(&coding.floats)?;
            }
            codes.encode_new(coding);
        }
        if self.may_refill()
            && let Some(vacant) = self.slots.take()
        {
            return Ok(self.write_again(vacant, key, row, coding));
        }
        let keeps = codes.is_none() || !self.drops();
        let _one_writer = self.append.lock();
        // All fallible reservations precede the first change.
        self.slots.reserve(Slot::new(self.keys.len() as u32))?;
        self.keys.reserve()?;
        if keeps {
            self.vectors.reserve()?;
        }
        if let Some(codes) = codes {
            codes.reserve()?;
        }
        if let Some(graph) = graph {
            graph.reserve()?;
        }
        // Keys are written first, the graph last: a thread that sees a node sees its vector, and a thread that sees a
        // vector sees its key.
        let slot = self.keys.push(|place| place[0] = key)?;
        if keeps {
            let same = self.vectors.push(|vector| vector.copy_from_slice(row))?;
            debug_assert_eq!(slot, same);
        }
        if let Some(codes) = codes {
            let same = codes.push(coding)?;
            debug_assert_eq!(slot, same);
        }
        if let Some(graph) = graph {
            let same = graph.push()?;
            debug_assert_eq!(slot, same.into());
        }
        Ok(Place { slot, is_reused: false })
    }

    /// Returns whether vacant slots may be written again: while codes are made, slot by slot, encoded vectors must not
    /// change.
    fn may_refill(&self) -> bool {
        self.quantized.as_ref().is_none_or(Quantized::is_complete)
    }

    /// Returns the key that maps to a slot. The caller is [pinned](pin).
    pub(super) fn key_at(&self, slot: Slot) -> Option<u64> {
        let key = self.keys.view().row(slot)[0];
        (self.slot(key) == Some(slot)).then_some(key)
    }

    /// Copies the vector of a key from `slot` into a vacant slot below it, if the index has such a slot. The copy is
    /// left in `work`, too. The caller is [pinned](pin).
    pub(super) fn copy_down(&self, key: u64, slot: Slot, work: &mut Work) -> Option<Place> {
        let Work { row, coding, .. } = work;
        if !self.may_refill() || self.slot(key) != Some(slot) {
            return None;
        }
        row.resize(self.encoder.blocks(), Block::ZERO);
        if !self.row_into(slot, row, &mut coding.floats) {
            return None;
        }
        if let Some(codes) = self.codes() {
            codes.copy(slot, coding);
            self.encoder.unit_into(row, &mut coding.floats);
        }
        let vacant = self.slots.take_below(slot)?;
        Some(self.write_again(vacant, key, row, coding))
    }

    /// Redirects a key from `old` to `new`, and hides `old`.
    pub(super) fn supersede(&self, key: u64, old: Slot, new: Slot) {
        self.replacing.switch(old, || {
            self.map.redirect(key, new, &self.keys);
            self.slots.hide(old);
        });
    }

    /// Releases the memory of vacant slots, and lets `others` release that of columns outside these entries.
    pub(super) fn release(&self, least: u32, others: impl Fn(&VacantRun)) {
        if !self.may_refill() {
            return;
        }
        self.slots.release(least, |run| {
            self.keys.release(run);
            self.vectors.release(run);
            if let Some(codes) = self.codes() {
                codes.all().for_each(|codes| codes.rows.release(run));
            }
            others(run);
        });
    }

    fn write_again(&self, vacant: Vacant<'_>, key: u64, row: &[Block], coding: &CodeWork) -> Place {
        let slot = vacant.slot();
        self.keys.refill(&vacant, |place| place[0] = key);
        // If originals are dropped, only the first slots have vectors.
        if slot.index() < self.vectors.len() {
            self.vectors.refill(&vacant, |vector| vector.copy_from_slice(row));
        }
        if let Some(codes) = self.codes() {
            codes.refill(&vacant, coding);
        }
        vacant.show();
        Place { slot, is_reused: true }
    }

    /// Makes sure that any slot can be hidden: appended slots can be, slots from a file may need memory.
    pub(super) fn reserve_hiding(&self) -> Result<(), ArenaError> {
        let slots = self.keys.len() as u32;
        if slots > 0 { self.slots.reserve(Slot::new(slots - 1)) } else { Ok(()) }
    }

    /// Returns whether the slot may be among the answers of a search that began at a moment of [`Replacing`].
    pub(super) fn answers(&self, slot: Slot, began: u64) -> bool {
        !self.slots.is_hidden(slot) || self.replacing.since(began, slot)
    }

    /// Returns whether all slots are answers.
    pub(super) fn all_answer(&self) -> bool {
        self.slots.hidden() == 0
    }

    /// Returns the slot of a key.
    pub(super) fn slot(&self, key: u64) -> Option<Slot> {
        self.map.get(key, &self.keys)
    }

    /// Returns the row of a slot in the most exact form that the index has of it: its vector, or its finest code. Returns `None` if
    /// it has neither.
    pub(super) fn most_exact(&self, slot: Slot) -> Option<(Representation<'_>, &[Block])> {
        let vectors = self.vectors.view();
        if vectors.has(slot) {
            return Some((self.by_vectors(), vectors.row(slot)));
        }
        let form = Representation::of_codes(self.codes()?.finest());
        let rows = form.rows.view();
        rows.has(slot).then(|| (form, rows.row(slot)))
    }

    /// Writes the row of a slot, or the row nearest to its decoded code if its vector is not kept. Returns whether a row
    /// was written. `floats` is scratch.
    pub(super) fn row_into(&self, slot: Slot, row: &mut [Block], floats: &mut Vec<f32>) -> bool {
        let Some((form, stored)) = self.most_exact(slot) else { return false };
        if form.is_coded() {
            form.decode(&self.encoder, stored, floats);
            return self.encoder.encode_nearest(floats, row);
        }
        row.copy_from_slice(stored);
        true
    }

    /// Returns the vector of a key, as floats.
    pub(super) fn get(&self, key: u64) -> Option<Vec<f32>> {
        let _pin = pin();
        let (form, stored) = self.most_exact(self.slot(key)?)?;
        if !form.is_coded() {
            return Some(self.encoder.decode(stored));
        }
        let mut vector = Vec::new();
        form.decode(&self.encoder, stored, &mut vector);
        Some(vector)
    }

    /// Returns the bytes of all slots.
    pub(super) fn bytes(&self) -> usize {
        self.keys.bytes_of(&self.slots) + self.vector_bytes() + self.code_bytes()
    }

    /// Returns the number of keys.
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    /// Returns the bytes of the keys and their map.
    pub(super) fn key_bytes(&self) -> usize {
        self.keys.bytes_of(&self.slots) + self.map.bytes() + self.hints.bytes() + self.slots.bytes()
    }

    /// Returns the bytes of the vectors.
    pub(super) fn vector_bytes(&self) -> usize {
        self.vectors.bytes_of(&self.slots)
    }

    /// Returns the bytes of the codes.
    pub(super) fn code_bytes(&self) -> usize {
        let _pin = pin();
        let complete = self.codes().map_or(0, |codes| codes.bytes_of(&self.slots));
        complete + self.quantized.as_ref().map_or(0, Quantized::bytes)
    }
}

impl From<Forked> for IndexError {
    fn from(_: Forked) -> Self {
        Self::Forked
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
