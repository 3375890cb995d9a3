//! Merging a few entries into a sorted array with AVX2, without a branch that depends on them.
#![expect(unsafe_code, reason = "intrinsics")]

use std::arch::x86_64::*;

use super::{LONGEST, MERGED, SLACK, Sorted, WORDS};
use crate::simd::Avx2;

/// For each mask of four gaps, the halves of the entries around them.
static MOVED: [[u32; 8]; 16] = moved();

const fn moved() -> [[u32; 8]; 16] {
    let mut all = [[0; 8]; 16];
    let mut mask = 0;
    while mask < 16 {
        let (mut lane, mut count) = (0, 0);
        while lane < 4 {
            all[mask][2 * lane] = 2 * count;
            all[mask][2 * lane + 1] = 2 * count + 1;
            if mask >> lane & 1 == 0 {
                count += 1;
            }
            lane += 1;
        }
        mask += 1;
    }
    all
}

/// For each mask of eight lanes, the numbers of the lanes that are set.
static CHOSEN: [[u8; 8]; 256] = chosen();

const fn chosen() -> [[u8; 8]; 256] {
    let mut all = [[0; 8]; 256];
    let mut mask = 0;
    while mask < 256 {
        let (mut lane, mut count) = (0, 0);
        while lane < 8 {
            if mask >> lane & 1 == 1 {
                all[mask][count] = lane;
                count += 1;
            }
            lane += 1;
        }
        mask += 1;
    }
    all
}

impl Sorted for Avx2 {
    const MERGES: bool = true;

    #[inline(always)]
    fn select(self, keys: &[u32], ids: &[u32], bound: u64, out: &mut [u64]) -> usize {
        assert!(keys.len() == ids.len() && out.len() >= keys.len() + SLACK);
        let mut count = 0;
        let (eights, rest) = keys.as_chunks::<8>();
        let (eight_ids, rest_ids) = ids.as_chunks::<8>();
        for (keys, ids) in eights.iter().zip(eight_ids) {
            // SAFETY: AVX2 as the token proves; eight keys and ids are read; eight entries are written behind `count`,
            // which is at most the number of keys read before, and `out` is longer by that; no alignment needed.
            unsafe {
                let keys = _mm256_loadu_si256(keys.as_ptr().cast());
                let ids = _mm256_loadu_si256(ids.as_ptr().cast());
                let below = match u32::try_from(bound) {
                    Ok(0) => 0,
                    // AVX2 has comparisons for "less or equal" only, and for signed numbers.
                    Ok(bound) => {
                        let most = _mm256_set1_epi32((bound - 1) as i32);
                        let below = _mm256_cmpeq_epi32(_mm256_min_epu32(keys, most), keys);
                        _mm256_movemask_ps(_mm256_castsi256_ps(below)) as usize
                    }
                    Err(_) => 0xff,
                };
                let lanes = _mm_loadl_epi64(CHOSEN[below].as_ptr().cast());
                let lanes = _mm256_cvtepu8_epi32(lanes);
                let keys = _mm256_permutevar8x32_epi32(keys, lanes);
                let ids = _mm256_permutevar8x32_epi32(ids, lanes);
                // Pairs of an id, doubled, and a key are entries, in the order 0, 1, 4, 5 and 2, 3, 6, 7.
                let ids = _mm256_slli_epi32::<1>(ids);
                let low = _mm256_unpacklo_epi32(ids, keys);
                let high = _mm256_unpackhi_epi32(ids, keys);
                let to = out.as_mut_ptr().add(count);
                _mm256_storeu_si256(to.cast(), _mm256_permute2x128_si256::<0x20>(low, high));
                _mm256_storeu_si256(to.add(4).cast(), _mm256_permute2x128_si256::<0x31>(low, high));
                count += below.count_ones() as usize;
            }
        }
        for (&key, &id) in rest.iter().zip(rest_ids) {
            out[count] = u64::from(key) << 32 | u64::from(id) << 1;
            count += usize::from(u64::from(key) < bound);
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
}

impl Avx2 {
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
        // Entries beyond `len` must not count as less than an entry.
        entries[len..len + 4].fill(u64::MAX);
        let mut all = [u64::MAX; MERGED];
        for (one, &entry) in all.iter_mut().zip(fresh) {
            *one = entry;
        }
        // The place of each fresh entry is the number of lesser entries, old and fresh.
        let mut places = [0_u64; MERGED];
        for (places, all_limits) in places
            .as_chunks_mut::<4>()
            .0
            .iter_mut()
            .zip(all.as_chunks::<4>().0)
            .take(fresh.len().div_ceil(4))
        {
            let [a, b, c, d] = all_limits;
            let old = entries[..len.next_multiple_of(4)].as_chunks::<4>().0;
            // SAFETY: AVX2 as the token proves; four entries are read of each chunk, and four places written; no
            // alignment needed.
            unsafe {
                // Comparisons are signed.
                let flip = _mm256_set1_epi64x(i64::MIN);
                let limits = [
                    _mm256_xor_si256(_mm256_set1_epi64x(*a as i64), flip),
                    _mm256_xor_si256(_mm256_set1_epi64x(*b as i64), flip),
                    _mm256_xor_si256(_mm256_set1_epi64x(*c as i64), flip),
                    _mm256_xor_si256(_mm256_set1_epi64x(*d as i64), flip),
                ];
                let mut less = [_mm256_setzero_si256(); 4];
                for four in old.iter().chain(all.as_chunks::<4>().0) {
                    let four = _mm256_xor_si256(_mm256_loadu_si256(four.as_ptr().cast()), flip);
                    for (less, limit) in less.iter_mut().zip(limits) {
                        *less = _mm256_sub_epi64(*less, _mm256_cmpgt_epi64(limit, four));
                    }
                }
                let [a, b, c, d] = less;
                let ab = _mm256_add_epi64(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
                let cd = _mm256_add_epi64(_mm256_unpacklo_epi64(c, d), _mm256_unpackhi_epi64(c, d));
                let less = _mm256_add_epi64(
                    _mm256_permute2x128_si256::<0x20>(ab, cd),
                    _mm256_permute2x128_si256::<0x31>(ab, cd),
                );
                _mm256_storeu_si256(places.as_mut_ptr().cast(), less);
            }
        }
        let places = &places[..fresh.len()];
        let mut first = usize::MAX;
        let mut bits = [0_u64; WORDS];
        let last = (total - 1) / 4;
        // Fresh entries whose places are in front of the last block.
        let mut before = 0;
        for &place in places {
            let place = place as usize;
            first = first.min(place);
            bits[place / 64] |= 1 << (place % 64);
            before += usize::from(place < 4 * last);
        }
        if first >= total {
            return (total, first);
        }
        // From the end, each block takes its entries from further to the front, with gaps for the fresh ones.
        for block in (first / 4..=last).rev() {
            let gaps = (bits[block / 16] >> (4 * (block % 16))) & 0xf;
            let from: &[u64; 4] = entries[4 * block - before..].first_chunk().expect("slack");
            // SAFETY: AVX2 as the token proves; four entries are read, and the numbers of eight lanes; no alignment needed.
            let moved = unsafe {
                let four = _mm256_loadu_si256(from.as_ptr().cast());
                let lanes = _mm256_loadu_si256(MOVED[gaps as usize].as_ptr().cast());
                _mm256_permutevar8x32_epi32(four, lanes)
            };
            entries[4 * block..][..4].copy_from_slice(bytemuck::cast_ref::<_, [u64; 4]>(&moved));
            let previous = block.wrapping_sub(1);
            if previous < block {
                let gaps = (bits[previous / 16] >> (4 * (previous % 16))) & 0xf;
                before -= gaps.count_ones() as usize;
            }
        }
        for (&place, &entry) in places.iter().zip(fresh) {
            if (place as usize) < total {
                entries[place as usize] = entry;
            }
        }
        (total, first)
    }
}
