//! Operations that no distance kernel uses, on every instruction set of this CPU, against plain
//! loops over the definition.

use super::{Isa, MERGED, SLACK, Simd, Task, run_on};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

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

/// Contents with the ends of the range and values between them.
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

struct Merge<'a> {
    entries: &'a mut [u64],
    len: usize,
    capacity: usize,
    fresh: &'a [u64],
}

impl Task for Merge<'_> {
    type Output = (usize, usize);

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> (usize, usize) {
        simd.merge(self.entries, self.len, self.capacity, self.fresh)
    }
}

struct Select<'a>(&'a [u32], &'a [u32], u64, &'a mut [u64]);

impl Task for Select<'_> {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> usize {
        simd.select(self.0, self.1, self.2, self.3)
    }
}

#[test]
fn merging_keeps_the_least_in_order() {
    let mut random = SmallRng::seed_from_u64(11);
    let rounds = if cfg!(miri) { 60 } else { 6000 };
    for round in 0..rounds {
        let capacity = random.random_range(1..=[3, 9, 64, 191, 260][round % 5]);
        let len = if round % 3 == 0 { capacity } else { random.random_range(0..=capacity) };
        let count = random.random_range(1..=MERGED);
        // Distinct entries from a few values: fresh ones are next to each other, before all and behind all.
        let mut all: Vec<u64> = Vec::new();
        while all.len() < len + count {
            let entry = match round % 4 {
                0 => random.random(),
                1 => random.random_range(0..(len + count) as u64),
                2 => u64::MAX - random.random_range(0..600),
                _ => random.random_range(0..2000) << 40,
            };
            if !all.contains(&entry) {
                all.push(entry);
            }
        }
        let fresh = all.split_off(len);
        all.sort_unstable();
        let there = all.clone();
        all.extend(&fresh);
        all.sort_unstable();
        let first = fresh.iter().map(|x| all.iter().position(|y| x == y).unwrap()).min().unwrap();
        all.truncate(capacity);
        for &isa in Isa::available() {
            let mut entries = there.clone();
            entries.resize(capacity + SLACK, 77);
            let merge = Merge { entries: &mut entries, len, capacity, fresh: &fresh };
            let (new_len, place) = run_on(isa, merge);
            assert_eq!(entries[..new_len], all, "{isa} {len} {capacity} {fresh:?}");
            assert!(place == first || place.min(first) >= capacity, "{isa}: {place}, not {first}");
        }
    }
}

#[test]
fn selecting_keeps_the_order_of_what_is_below_the_bound() {
    let mut random = SmallRng::seed_from_u64(12);
    for count in (0..40).chain([100, 1000]) {
        let mut some =
            |limit| (0..count).map(|_| random.random_range(0..=limit)).collect::<Vec<_>>();
        for keys in [some(u32::MAX), some(100)] {
            let ids = some(u32::MAX >> 1);
            for bound in [0, 1, 50, 1 << 31, u64::from(u32::MAX), u64::MAX] {
                let below = keys.iter().zip(&ids).filter(|&(&key, _)| u64::from(key) < bound);
                let expected: Vec<u64> =
                    below.map(|(&key, &id)| u64::from(key) << 32 | u64::from(id) << 1).collect();
                for &isa in Isa::available() {
                    let mut out = vec![0; count + SLACK];
                    let found = run_on(isa, Select(&keys, &ids, bound, &mut out));
                    assert_eq!(out[..found], expected, "{isa} {count} {bound}");
                }
            }
        }
    }
}
