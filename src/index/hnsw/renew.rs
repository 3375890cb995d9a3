//! Other codes in place of those that do not fit the vectors that were inserted lately.
//!
//! A quantizer is fitted to a sample of all vectors, the codes are made anew beside insertions, a few with each, and the last
//! ones while insertions wait for a moment, in which walks switch. Running walks continue with the old codes, whose memory is
//! freed when the last of them ends. A renewal needs vectors, or the finer codes that answer in their place.

use super::Hnsw;
use crate::arena::{Slot, pin};
use crate::index::codes::Codes;
use crate::index::codes::fitting::{ENOUGH, Quantized};
use crate::index::entries::Entries;
use crate::index::scratch::Work;
use crate::vector::Block;

impl Entries {
    /// Writes the vector of a slot, or the one that its finer code means, into `floats`, which is left empty if a vacant slot
    /// has no memory.
    fn original_into(&self, codes: &Codes, slot: Slot, floats: &mut Vec<f32>) {
        let vectors = self.vectors.view();
        let is_vector = vectors.has(slot);
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
    /// Does a part of the way to codes in place of `codes`, which are strained, after a change. The caller is
    /// [pinned](crate::arena::pin).
    #[cold]
    #[inline(never)]
    pub(in crate::index) fn renew(
        &self,
        quantized: &Quantized,
        codes: &Codes,
        waits: bool,
        work: &mut Work,
    ) {
        if !self.entries.refines(codes) {
            return;
        }
        let original = |slot: Slot, floats: &mut Vec<f32>| {
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
            // No slot is being written again, and none will be until the codes are complete.
            let _alone = self.inserting.write();
            if !quantized.is_filling() || !quantized.are_current(Some(codes)) {
                return;
            }
            quantized.set_renewing(true);
        }
        // Without memory, walks continue with the old codes; the next insertion tries again.
        if let Ok(true) = quantized.fill(count, waits, &mut work.coding, original) {
            let _alone = self.inserting.write();
            if !quantized.are_current(Some(codes)) {
                // Another thread replaced the codes first.
                return;
            }
            let count = codes.rows.view().len();
            if let Ok(Some(codes)) = quantized.finish(count, &mut work.coding, original) {
                self.go_over(quantized, codes);
            }
        }
    }

    /// Fits a quantizer to some of all vectors.
    fn refit(&self, quantized: &Quantized, codes: &Codes, waits: bool) {
        let slots = &self.entries.slots;
        let mut count = codes.rows.view().len();
        if !codes.fit.is_known() {
            // A quantizer from a file that does not record its error was fitted to the vectors that were inserted first.
            count = count.min(ENOUGH as u32);
        }
        // Because the caller is pinned, none of the slots is written again.
        let live: Vec<Slot> =
            (0..count).map(Slot::new).filter(|&slot| !slots.is_hidden(slot)).collect();
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

    /// Continues until codes fit, or are not to be made anew, as long as `goes_on` returns `true`.
    pub(in crate::index) fn renew_all(&self, goes_on: impl Fn() -> bool, work: &mut Work) {
        let Some(quantized) = &self.entries.quantized else { return };
        // Without memory no round encodes anything; each other round encodes some.
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
    use crate::arena::{ArenaError, Unsound};
    use crate::dataset::Dataset;
    use crate::error::IndexError;
    use crate::index::codes::fit::Fit;
    use crate::index::{Kernels, Originals, Quantization, Stored};
    use crate::metric::Metric;
    use crate::mmap::MmapMut;
    use std::sync::Arc;
    use xxhash_rust::xxh3::xxh3_64;

    /// Returns the fit of the present codes, and its ratio.
    fn codes(index: &Hnsw) -> (Arc<Fit>, f32) {
        let fit = Arc::clone(&index.entries.codes().unwrap().fit);
        let ratio = fit.ratio().unwrap();
        (fit, ratio)
    }

    #[test]
    #[cfg_attr(miri, ignore = "minutes")]
    fn ordinary_vectors_keep_their_codes() {
        keep_their_codes(&["photo-sift-128-5k"]);
    }

    #[test]
    #[ignore = "long: `just test-all`"]
    fn ordinary_words_keep_their_codes() {
        keep_their_codes(&["words-100-10k"]);
    }

    fn keep_their_codes(sets: &[&str]) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/data/");
        for name in sets {
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
                let count = vectors.len() / dimension;
                let keys: Vec<u64> = (0..count as u64).collect();
                let insert = |from: usize, to: usize| {
                    let rows = &vectors[from * dimension..to * dimension];
                    index.insert_batch(&keys[from..to], rows).threads(1).run().unwrap();
                };
                insert(0, 4200);
                let (fit, mut greatest) = (codes(&index).0, 0.0_f32);
                for from in (4200..count).step_by(100) {
                    insert(from, from + 100);
                    greatest = greatest.max(codes(&index).1);
                }
                println!("{name} {quantization:?}: {greatest}");
                let is_same = Arc::ptr_eq(&codes(&index).0, &fit);
                assert!(is_same && !fit.is_strained(), "{name} {quantization:?} {greatest}");
            }
        }
    }

    /// Returns the index as restored from a file of an earlier version, which does not record the fit of the quantizer.
    fn from_earlier(index: &Hnsw) -> Hnsw {
        index.frozen(|image| {
            let mut state = image.state.clone();
            let coder = state.coder.take().unwrap();
            state.coder = Some(Fit::from_bytes(&coder).unwrap().1.to_vec());
            let restored =
                Hnsw::restore(&image.settings, Kernels::default(), &state, |number, chunk, len| {
                    let mut bytes = Vec::new();
                    let (_, column) =
                        image.columns.iter().find(|column| column.0 == number).unwrap();
                    column.copy(chunk, &mut bytes);
                    let mut map = MmapMut::map_anon(len).unwrap();
                    map.copy_from_slice(&bytes[..len]);
                    Ok::<_, Refused>(map.into())
                });
            restored.unwrap()
        })
    }

    #[derive(Debug)]
    struct Refused;

    impl From<ArenaError> for Refused {
        fn from(_: ArenaError) -> Self {
            Self
        }
    }

    impl From<Unsound> for Refused {
        fn from(_: Unsound) -> Self {
            Self
        }
    }

    impl From<IndexError> for Refused {
        fn from(_: IndexError) -> Self {
            Self
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "minutes")]
    fn a_quantizer_of_which_nothing_is_known_is_looked_at_first() {
        const DIMENSION: usize = 32;
        let vectors: Vec<f32> = (0..9000 * DIMENSION as u32)
            .map(|i| {
                let x = xxh3_64(&i.to_le_bytes()) as u8 as f32 / 255.0;
                // The later vectors are from elsewhere.
                if i < 5000 * DIMENSION as u32 { x } else { x + (i % 32) as f32 }
            })
            .collect();
        let keys: Vec<u64> = (0..9000).collect();
        let insert = |index: &Hnsw, from: usize, to: usize| {
            let rows = &vectors[from * DIMENSION..to * DIMENSION];
            index.insert_batch(&keys[from..to], rows).threads(1).run().unwrap();
        };
        let index = Hnsw::builder(DIMENSION, Metric::L2).m(4).ef_construction(8);
        let index = index.quantization(Quantization::Sq4).build().unwrap();
        insert(&index, 0, 4500);
        let index = from_earlier(&index);
        assert_eq!(index.stats().code_error, None);
        insert(&index, 4500, 5000);
        let (fit, ratio) = codes(&index);
        assert!((0.9..1.1).contains(&ratio), "{ratio}");
        insert(&index, 5000, 9000);
        let (other, ratio) = codes(&index);
        assert!(!Arc::ptr_eq(&fit, &other) && ratio < 1.3, "{ratio}");
        assert!(index.check().is_ok());
    }
}
