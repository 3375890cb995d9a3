//! Inserting into the graph index, one vector at a time.

use std::sync::atomic::Ordering;

use super::Hnsw;
use crate::arena::{Slot, pin};
use crate::distance::Vigil;
use crate::error::{IndexError, VectorError};
use crate::graph::{Counters, Measure, Scratch};
use crate::index::build::order::coarse_first;
use crate::index::build::ordered::Ordered;
use crate::index::build::{Insertable, insert_or_replace};
use crate::index::codes::fitting::ENOUGH;
use crate::index::entries::Place;
use crate::index::entries::space::{Linking, Rows};
use crate::index::scratch::Work;
use crate::vector::Block;

impl Hnsw {
    /// Continues with the codes, if the index is to have some: a little work, after an insertion. If the index has codes,
    /// checks whether they are of use. If codes are to be made anew and training takes long, the caller may wait for it.
    pub(in crate::index) fn advance(&self, waits: bool, work: &mut Work) {
        let Some(quantized) = &self.entries.quantized else { return };
        let _pin = pin();
        if let Some(codes) = quantized.codes() {
            self.mind_blur(codes, work);
            if codes.fit.is_strained() {
                self.renew(quantized, codes, waits, work);
            }
            return;
        }
        let vectors = self.entries.vectors.view();
        if !quantized.is_filling() {
            // The vector before has filled a page of 2 MiB if the bytes of a row are a power of two, and its insertion
            // has made a huge page of it, which takes as long as the fit.
            if (vectors.len() as usize) <= ENOUGH {
                return;
            }
            quantized.fit(vectors.len() as usize, false, |at, floats| {
                self.entries.encoder.unit_into(vectors.row(Slot::new(at as u32)), floats);
            });
            return;
        }
        let decode = |slot: Slot, floats: &mut Vec<f32>| {
            self.entries.encoder.unit_into(self.entries.vectors.view().row(slot), floats);
        };
        // Without memory for codes, walks continue to read vectors; the next insertion tries again.
        if let Ok(true) = quantized.fill(vectors.len(), waits, &mut work.coding, decode) {
            // No thread is between a slot and its links: all threads switch to codes.
            let _alone = self.inserting.write();
            if quantized.codes().is_some() {
                return;
            }
            let count = self.entries.vectors.view().len();
            drop(quantized.finish(count, &mut work.coding, decode));
            if self.entries.linked().is_coded() {
                self.graph.change_measure(Measure::Codes);
            }
        }
    }

    /// Inserts the vector in `work.row` under a new key.
    pub(in crate::index) fn insert_row(&self, key: u64, work: &mut Work) -> Result<(), IndexError> {
        let (slot, linked) = {
            let _shared = self.inserting.read();
            let _pin = pin();
            let Work { row, coding, .. } = &mut *work;
            let place = self.entries.append(key, row, coding, Some(&self.graph))?;
            let vigil = Vigil::begin(self.entries.engine.custom_use());
            self.link(place, None, work);
            (place.slot, vigil.end())
        };
        if let Err(error) = linked {
            self.undo.map_or(Ok(true), |undo| undo(self, key, Some(slot), work))?;
            return Err(error);
        }
        self.advance(false, work);
        self.sweep_on(work);
        Ok(())
    }

    /// Links the vector of `place`, which is still in `work`, to all nodes but `leaving`.
    pub(in crate::index) fn link(&self, place: Place, leaving: Option<Slot>, work: &mut Work) {
        self.compare(leaving, work, |space, query, scratch| {
            self.join(space, query, place, scratch);
        });
    }

    /// Passes the vector in `work`, which is there as floats too if the index has codes, and the rows to compare it with to
    /// `run`.
    pub(in crate::index) fn compare(
        &self,
        leaving: Option<Slot>,
        work: &mut Work,
        run: impl FnOnce(Rows<'_>, &[Block], &mut Scratch),
    ) {
        let linking = Some(Linking { leaving, ..self.linking() });
        let Work { scratch, row, coding, .. } = &mut *work;
        scratch.counters = Counters::default();
        let form = self.entries.linked();
        let query = form.prepare_unit(row, coding);
        run(Rows::new(form, linking), query, scratch);
        self.count_insertion(work);
    }

    fn join(&self, space: Rows<'_>, query: &[Block], place: Place, scratch: &mut Scratch) {
        let node = place.slot.into();
        if place.is_reused {
            self.graph.insert_again(space, query, node, scratch);
        } else {
            self.graph.insert(space, query, node, scratch);
        }
    }

    /// Adds the distances that a change of the graph has computed.
    pub(in crate::index) fn count_insertion(&self, work: &Work) {
        let distances = work.scratch.counters.distances;
        self.insert_distances.fetch_add(distances, Ordering::Relaxed);
    }
}

impl Insertable for Hnsw {
    fn check_kept(&self, work: &mut Work) -> Result<(), VectorError> {
        let _pin = pin();
        self.entries.check_kept(&work.row, &mut work.coding.floats)
    }

    fn contains(&self, key: u64) -> bool {
        Self::contains(self, key)
    }

    fn expect(&self, count: usize, vector: &dyn Fn(usize, &mut Work)) {
        let Some(quantized) = &self.entries.quantized else { return };
        if quantized.codes().is_some() || self.entries.keys.len() + count < ENOUGH {
            return;
        }
        self.work.with(|work| {
            let work = std::cell::RefCell::new(work);
            if count >= ENOUGH / 2 {
                quantized.fit(count, true, |position, floats| {
                    let work = &mut **work.borrow_mut();
                    vector(position, work);
                    self.entries.encoder.unit_into(&work.row, floats);
                });
            }
            let work = work.into_inner();
            let vectors = self.entries.vectors.view();
            if quantized.coding.is_slow() {
                // The vectors of the index outnumber the batch, and the batch waits rather than each of its insertions.
                quantized.fit(vectors.len() as usize, true, |at, floats| {
                    self.entries.encoder.unit_into(vectors.row(Slot::new(at as u32)), floats);
                });
            }
            while quantized.is_filling() {
                self.advance(false, work);
            }
        });
    }

    fn position(&self, turn: usize, count: usize) -> usize {
        coarse_first(turn, count)
    }

    fn upsert_encoded(&self, key: u64, work: &mut Work) -> Result<bool, IndexError> {
        insert_or_replace(self, key, work, |work| {
            let is_replaced = self.supersede(key, None, work, |Work { row, coding, .. }| {
                self.entries.write(key, row, coding, Some(&self.graph)).map(Some)
            })?;
            self.advance(false, work);
            self.sweep_on(work);
            Ok(is_replaced)
        })
    }

    fn insert_encoded(&self, key: u64, work: &mut Work) -> Result<(), IndexError> {
        self.insert_row(key, work)
    }

    fn insert_in_order(&self, ordered: &Ordered<'_>) -> Result<(), IndexError> {
        Self::insert_in_order(self, ordered)
    }
}
