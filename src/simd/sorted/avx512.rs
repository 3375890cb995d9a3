//! Merging a few entries into a sorted array with AVX-512, without a branch that depends on them.
#![expect(unsafe_code, reason = "intrinsics")]

use std::arch::x86_64::*;

use super::{LONGEST, MERGED, SLACK, Sorted, WORDS};
use crate::simd::Avx512;

impl Sorted for Avx512 {
    const MERGES: bool = true;

    #[inline(always)]
    fn select(self, keys: &[u32], ids: &[u32], bound: u64, out: &mut [u64]) -> usize {
        assert!(keys.len() == ids.len() && out.len() >= keys.len() + SLACK);
        let mut count = 0;
        for (keys, ids) in keys.chunks(16).zip(ids.chunks(16)) {
            let some = ((1_u32 << keys.len()) - 1) as u16;
            // SAFETY: AVX-512 as the token proves; the masks select elements of `keys` and `ids`, which have one length; up
            // to 16 entries are written behind `count`, which is at most the number of keys read before, and `out` is longer by that.
            unsafe {
                let keys = _mm512_maskz_loadu_epi32(some, keys.as_ptr().cast());
                let ids = _mm512_maskz_loadu_epi32(some, ids.as_ptr().cast());
                let below = match u32::try_from(bound) {
                    Ok(bound) => {
                        _mm512_mask_cmplt_epu32_mask(some, keys, _mm512_set1_epi32(bound as i32))
                    }
                    Err(_) => some,
                };
                let keys = _mm512_maskz_compress_epi32(below, keys);
                let ids = _mm512_maskz_compress_epi32(below, ids);
                let (low_keys, low_ids) =
                    (_mm512_castsi512_si256(keys), _mm512_castsi512_si256(ids));
                let low = self.entries(low_keys, low_ids);
                let high_keys = _mm512_extracti64x4_epi64::<1>(keys);
                let high = self.entries(high_keys, _mm512_extracti64x4_epi64::<1>(ids));
                let to = out.as_mut_ptr().cast::<i64>().add(count);
                _mm512_storeu_epi64(to, low);
                _mm512_storeu_epi64(to.add(8), high);
                count += below.count_ones() as usize;
            }
        }
        count
    }

    #[inline(always)]
    fn merge(
        self,
        entries: &mut [u64],
        len: usize,
        capacity: usize,
        fresh: &[u64],
    ) -> (usize, usize) {
        if len <= LONGEST {
            return self.merge_short(entries, len, capacity, fresh);
        }
        self.insert_each(entries, len, capacity, fresh)
    }

    #[inline(always)]
    fn insert_sorted(self, entries: &mut [u64], len: usize, entry: u64) -> usize {
        assert!(len < entries.len());
        let start = entries.as_mut_ptr().cast::<i64>();
        let mut end = len;
        // Eight at a time from the end: greater entries move up by one.
        while end >= 8 {
            // SAFETY: AVX-512 as the token proves; it reads `end - 8..end` and writes inside
            // `end - 7..=end`, and `end <= len < entries.len()`; no alignment needed.
            let greater = unsafe {
                let eight = _mm512_loadu_epi64(start.add(end - 8));
                let greater = _mm512_cmpgt_epu64_mask(eight, _mm512_set1_epi64(entry as i64));
                _mm512_mask_storeu_epi64(start.add(end - 7), greater, eight);
                greater
            };
            if greater != u8::MAX {
                let at = end - greater.count_ones() as usize;
                entries[at] = entry;
                return at;
            }
            end -= 8;
        }
        let rest = (1_u8 << end) - 1;
        // SAFETY: AVX-512 as the token proves; the masks select entries below `end` to read and
        // `1..=end` to write, and `end <= len < entries.len()`.
        let greater = unsafe {
            let few = _mm512_maskz_loadu_epi64(rest, start);
            let greater = _mm512_mask_cmpgt_epu64_mask(rest, few, _mm512_set1_epi64(entry as i64));
            _mm512_mask_storeu_epi64(start.add(1), greater, few);
            greater
        };
        let at = end - greater.count_ones() as usize;
        entries[at] = entry;
        at
    }
}

impl Avx512 {
    #[expect(clippy::unused_self, reason = "the proof")]
    #[inline(always)]
    fn entries(self, keys: __m256i, ids: __m256i) -> __m512i {
        // SAFETY: AVX-512 as the token proves; registers only.
        unsafe {
            _mm512_or_epi64(
                _mm512_slli_epi64::<32>(_mm512_cvtepu32_epi64(keys)),
                _mm512_slli_epi64::<1>(_mm512_cvtepu32_epi64(ids)),
            )
        }
    }

    /// Merges `fresh` into the ascending `entries[..len]` and keeps the `capacity` least. Returns the new length
    /// and the place of the first entry of `fresh`.
    #[expect(clippy::unused_self, reason = "the proof")]
    #[inline(always)]
    fn merge_short(
        self,
        entries: &mut [u64],
        len: usize,
        capacity: usize,
        fresh: &[u64],
    ) -> (usize, usize) {
        assert!(len <= capacity && len <= LONGEST && (1..=MERGED).contains(&fresh.len()));
        assert!(entries.len() >= capacity + SLACK);
        let total = capacity.min(len + fresh.len());
        let start = entries.as_mut_ptr().cast::<i64>();
        let mut places = [0; MERGED];
        let mut bits = [0_u64; WORDS];
        let mut first = usize::MAX;
        // The place of each fresh entry is the number of lesser entries, old and fresh.
        for (place, &entry) in places.iter_mut().zip(fresh) {
            // SAFETY: AVX-512 as the token proves; full blocks end at `len` or before, and masks select the entries below `len` of
            // the last block and the entries of `fresh`.
            let less = unsafe {
                let entry = _mm512_set1_epi64(entry as i64);
                let few = ((1_u32 << fresh.len()) - 1) as u8;
                let others = _mm512_maskz_loadu_epi64(few, fresh.as_ptr().cast());
                let mut less = _mm512_mask_cmplt_epu64_mask(few, others, entry).count_ones();
                for block in 0..len / 8 {
                    let there = _mm512_loadu_epi64(start.add(8 * block));
                    less += _mm512_cmplt_epu64_mask(there, entry).count_ones();
                }
                let rest = (1_u8 << (len % 8)) - 1;
                let there = _mm512_maskz_loadu_epi64(rest, start.add(len / 8 * 8));
                less + _mm512_mask_cmplt_epu64_mask(rest, there, entry).count_ones()
            };
            *place = less as usize;
            bits[*place / 64] |= 1 << (*place % 64);
            first = first.min(*place);
        }
        if first >= total {
            return (total, first);
        }
        // From the end, each block takes its entries from further to the front, with gaps for the fresh ones.
        let last = (total - 1) / 8;
        let mut before = 0;
        for &place in &places[..fresh.len()] {
            before += usize::from(place < 8 * last);
        }
        for block in (first / 8..=last).rev() {
            let gaps = (bits[block / 8] >> (8 * (block % 8))) as u8;
            // SAFETY: AVX-512 as the token proves. Places of a block begin at `8 * block`, and `before` fresh entries, at most that
            // number, have places in front of it. The load ends before the block does, and a block that begins below
            // `capacity` ends within `SLACK` of it.
            unsafe {
                let moved = _mm512_maskz_expandloadu_epi64(!gaps, start.add(8 * block - before));
                _mm512_storeu_epi64(start.add(8 * block), moved);
            }
            let previous = block.wrapping_sub(1);
            if previous < block {
                before -= (bits[previous / 8] >> (8 * (previous % 8)) & 0xff).count_ones() as usize;
            }
        }
        for (&place, &entry) in places.iter().zip(fresh) {
            if place < total {
                entries[place] = entry;
            }
        }
        (total, first)
    }
}
