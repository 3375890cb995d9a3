//! Other codes in the place of those that do not fit what came lately.
//!
//! A quantizer is fitted to a sample of all vectors, the codes are made anew beside insertions, a few with each, and the last
//! ones while insertions stand still for a moment, in which walks go over. Those under way go on with the old codes, whose
//! memory goes when the last of them ends. Vectors are needed for it, or what stands in for them.

use super::Hnsw;
use super::codes::Codes;
use super::entries::Entries;
use super::quantized::{ENOUGH, Quantized};
use super::work::Work;
use crate::arena::pin;
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
    pub(super) fn renew(&self, quantized: &Quantized, codes: &Codes, waits: bool, work: &mut Work) {
        if !self.entries.refines(codes) {
            return;
        }
        let original = |slot: u32, floats: &mut Vec<f32>| {
            self.entries.original_into(codes, slot, floats);
        };
        let count = codes.rows.view().len();
        if quantized.may_fit(count as usize) {
            self.refit(quantized, codes, waits);
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
    fn refit(&self, quantized: &Quantized, codes: &Codes, waits: bool) {
        let slots = &self.entries.slots;
        let mut count = codes.rows.view().len();
        if !codes.fit.is_known() {
            // What came first is what a quantizer was fitted to in a file that does not tell.
            count = count.min(ENOUGH as u32);
        }
        // Whoever is pinned sees none of them written again.
        let live: Vec<u32> = (0..count).filter(|&slot| !slots.is_hidden(slot)).collect();
        let vector = |at: usize, floats: &mut Vec<f32>| {
            self.entries.original_into(codes, live[at], floats);
        };
        if live.is_empty() {
            return;
        }
        if codes.fit.is_known() {
            quantized.refit(codes, live.len(), waits, vector);
        } else {
            quantized.learn(codes, live.len(), vector);
        }
    }

    /// Goes on until codes fit, or are not to be made anew, as long as `goes_on`.
    pub(super) fn renew_all(&self, goes_on: impl Fn() -> bool, work: &mut Work) {
        let Some(quantized) = &self.entries.quantized else { return };
        // Without memory it comes to nothing: each round encodes some.
        for _ in 0..self.entries.keys.len() {
            let _pin = pin();
            let codes = quantized.codes().filter(|codes| codes.fit.is_strained());
            let Some(codes) = codes.filter(|codes| self.entries.refines(codes)) else { return };
            if !goes_on() {
                return;
            }
            self.renew(quantized, codes, true, work);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Dataset;
    use crate::index::{Originals, Quantization};

    /// The address of the codes, and the figure.
    fn codes(index: &Hnsw) -> (usize, f32) {
        let codes = index.entries.codes().unwrap();
        (std::ptr::from_ref(codes) as usize, codes.fit.ratio().unwrap())
    }

    #[test]
    #[cfg_attr(miri, ignore = "minutes")]
    fn ordinary_vectors_keep_their_codes() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/data/");
        for name in ["words-100-10k", "photo-sift-128-5k"] {
            let path = format!("{folder}{name}");
            let Ok(data) = Dataset::open(path) else { panic!("{name}") };
            let (dimension, vectors) = (data.dimension(), data.base().to_f32().unwrap());
            let sub_vectors = dimension / 4;
            for quantization in [
                Quantization::Sq4,
                Quantization::Sq8,
                Quantization::Rabitq { bits: 1 },
                Quantization::Rabitq { bits: 4 },
                Quantization::Pq { sub_vectors, bits: 4 },
                Quantization::Pq { sub_vectors: sub_vectors / 2, bits: 8 },
            ] {
                let builder = Hnsw::builder(dimension, data.metric()).m(4).ef_construction(8);
                let index = builder.quantization(quantization).originals(Originals::Kept);
                let index = index.build().unwrap();
                let keys: Vec<u64> = (0..10_000).collect();
                let insert = |from: usize, to: usize| {
                    let rows = &vectors[from * dimension..to * dimension];
                    index.insert_batch(&keys[from..to], rows).threads(1).run().unwrap();
                };
                insert(0, 4200);
                let (address, mut greatest) = (codes(&index).0, 0.0_f32);
                for from in (4200..10_000).step_by(100) {
                    insert(from, from + 100);
                    greatest = greatest.max(codes(&index).1);
                }
                println!("{name} {quantization:?}: {greatest}");
                assert_eq!(codes(&index).0, address, "{name} {quantization:?} {greatest}");
                let strained = index.entries.codes().unwrap().fit.is_strained();
                assert!(!strained, "{name} {quantization:?}");
            }
        }
    }
}
