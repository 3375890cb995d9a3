//! Other codes in the place of those that do not fit what came lately.
//!
//! A quantizer is fitted to a sample of all vectors, the codes are made anew beside insertions, a few with each, and the last
//! ones while insertions stand still for a moment, in which walks go over. Those under way go on with the old codes, whose
//! memory goes when the last of them ends. Vectors are needed for it, or what stands in for them.

use super::Hnsw;
use super::codes::Codes;
use super::entries::Entries;
use super::quantized::Quantized;
use super::work::Work;
use crate::vector::Block;

impl Entries {
    /// Puts the vector of a slot, or what stands in for it beside `codes`, in place of what `floats` held; nothing where a slot
    /// that holds nothing has no memory.
    fn original_into(&self, codes: &Codes, slot: u32, floats: &mut Vec<f32>) {
        let vectors = self.vectors.view();
        let is_vector = slot < vectors.len();
        let finest = codes.finest();
        let row = if is_vector { vectors.row(slot) } else { finest.rows.view().row(slot) };
        if self.slots.is_hidden(slot) && row.iter().all(|&block| block == Block::ZERO) {
            floats.clear();
        } else if is_vector {
            self.encoder.unit_into(row, floats);
        } else {
            finest.coder.decode(row, floats);
        }
    }
}

impl Hnsw {
    /// Goes on with what leads to other codes than `codes`, which are strained, if there can be some: a little work, after a
    /// change. The caller is [pinned](crate::arena::pin).
    #[cold]
    #[inline(never)]
    pub(super) fn renew(&self, quantized: &Quantized, codes: &Codes, work: &mut Work) {
        if !self.entries.refines(codes) {
            return;
        }
        let original = |slot: u32, floats: &mut Vec<f32>| {
            self.entries.original_into(codes, slot, floats);
        };
        let count = codes.rows.view().len();
        if quantized.may_fit(count as usize) {
            self.refit(quantized, codes);
        }
        if !quantized.is_filling() {
            return;
        }
        if !quantized.is_renewing() {
            // Nobody is writing a slot again: from now on those that are coded stay as they are.
            let _alone = self.inserting.write();
            if !quantized.is_filling() || !quantized.are_current(Some(codes)) {
                return;
            }
            quantized.set_renewing(true);
        }
        // Without memory, walks go on with the old codes; the next insertion tries again.
        if let Ok(true) = quantized.fill(count, &mut work.coding, original) {
            let _alone = self.inserting.write();
            if !quantized.are_current(Some(codes)) {
                // Another thread was faster.
                return;
            }
            let count = codes.rows.view().len();
            if let Ok(Some(codes)) = quantized.finish(count, &mut work.coding, original) {
                self.go_over(quantized, codes);
            }
        }
    }

    /// Fits a quantizer to some of all vectors that there are.
    fn refit(&self, quantized: &Quantized, codes: &Codes) {
        let slots = &self.entries.slots;
        // Whoever is pinned sees none of them written again.
        let live: Vec<u32> =
            (0..codes.rows.view().len()).filter(|&slot| !slots.is_hidden(slot)).collect();
        quantized.refit(codes, live.len(), false, |at, floats| {
            self.entries.original_into(codes, live[at], floats);
        });
    }
}
