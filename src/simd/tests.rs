//! Operations that no distance kernel uses, on every instruction set of this CPU, against plain
//! loops over the definition.

use super::{Isa, Simd, Task, run_on};

/// Sebastiano Vigna's `SplitMix64`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// Contents that reach the ends of the range and what lies between.
fn patterns(len: usize, seed: u64) -> [Vec<u8>; 3] {
    [Random(seed).bytes(len), vec![0; len], vec![255; len]]
}

struct Lookup<'a>(&'a [u8], &'a [u8]);

impl Task for Lookup<'_> {
    type Output = [u16; 32];

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> [u16; 32] {
        let mut acc = simd.lookup_zero();
        for (tables, codes) in self.0.as_chunks().0.iter().zip(self.1.as_chunks().0) {
            acc = simd.lookup(acc, tables, codes);
        }
        simd.lookup_sums(acc)
    }
}

#[test]
fn lookups_add_what_the_nibbles_choose() {
    // At 64 steps the sums reach 65,280; at 70 they have wrapped.
    for steps in [0, 1, 2, 3, 7, 16, 64, 70] {
        for tables in patterns(64 * steps, 1) {
            for codes in patterns(64 * steps, 2) {
                let expected: [u16; 32] = std::array::from_fn(|code| {
                    let sum: u64 = (0..4 * steps)
                        .map(|table| {
                            let byte = codes[16 * table + code % 16];
                            let nibble = if code < 16 { byte & 15 } else { byte >> 4 };
                            u64::from(tables[16 * table + usize::from(nibble)])
                        })
                        .sum();
                    sum as u16
                });
                for &isa in Isa::available() {
                    let found = run_on(isa, Lookup(&tables, &codes));
                    assert_eq!(found, expected, "{isa}, {steps} steps");
                }
            }
        }
    }
}

struct Planes<'a>(&'a [u8], &'a [u8]);

impl Task for Planes<'_> {
    type Output = [i32; 2];

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> [i32; 2] {
        let mut acc = simd.plane_zero();
        for (code, planes) in self.0.as_chunks().0.iter().zip(self.1.as_chunks().0) {
            acc = simd.plane_counts(acc, code, planes);
        }
        let one = simd.plane_weigh(simd.i32_zero(), acc, 0);
        [simd.i32_sum(one), simd.i32_sum(simd.plane_weigh(one, acc, 5))]
    }
}

#[test]
fn plane_counts_are_the_differing_bits_by_weight() {
    // 512 steps are 65,536 bits.
    for steps in [0, 1, 2, 3, 8, 33, 512] {
        for code in patterns(16 * steps, 3) {
            for planes in patterns(64 * steps, 4) {
                let count = |plane: usize| -> i32 {
                    (0..16 * steps)
                        .map(|byte| {
                            let (word, byte_in_word) = (byte / 8, byte % 8);
                            let other = planes[32 * word + 8 * plane + byte_in_word];
                            (code[byte] ^ other).count_ones() as i32
                        })
                        .sum()
                };
                let one = count(0) + 2 * count(1) + 4 * count(2) + 8 * count(3);
                let expected = [one, 33 * one];
                for &isa in Isa::available() {
                    let found = run_on(isa, Planes(&code, &planes));
                    assert_eq!(found, expected, "{isa}, {steps} steps");
                }
            }
        }
    }
}
