//! Insertions into a sorted array with AVX2: what comes is chosen without a branch that depends on it, and what is greater
//! moves up by vectors.
#![expect(unsafe_code, reason = "intrinsics")]

use super::{Avx2, SLACK};
use std::arch::x86_64::*;

/// For each mask of eight lanes, the numbers of those that are set.
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

impl Avx2 {
    /// Writes `key << 32 | id << 1` for each key below `bound` to the front of `out`, in order, and returns their number.
    #[expect(clippy::unused_self, reason = "the proof")]
    #[inline(always)]
    pub(super) fn select_below(
        self,
        keys: &[u32],
        ids: &[u32],
        bound: u64,
        out: &mut [u64],
    ) -> usize {
        assert!(keys.len() == ids.len() && out.len() >= keys.len() + SLACK);
        let mut count = 0;
        let (eights, rest) = keys.as_chunks::<8>();
        let (eight_ids, rest_ids) = ids.as_chunks::<8>();
        for (keys, ids) in eights.iter().zip(eight_ids) {
            // SAFETY: AVX2 as the token proves; eight keys and ids are read; eight entries are written behind `count`,
            // which is no more than were read before these, and `out` is longer by that; no alignment needed.
            unsafe {
                let keys = _mm256_loadu_si256(keys.as_ptr().cast());
                let ids = _mm256_loadu_si256(ids.as_ptr().cast());
                let below = match u32::try_from(bound) {
                    Ok(0) => 0,
                    // There are only comparisons for "less or equal", and for signed numbers.
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
                // Pairs of an id, doubled, and a key are entries. They come out as 0, 1, 4, 5 and 2, 3, 6, 7.
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

    /// Inserts `entry` before the first greater one of the ascending `entries[..len]`, of which there is one more, and
    /// returns where it stands.
    #[expect(clippy::unused_self, reason = "the proof")]
    #[inline(always)]
    pub(super) fn insert_by_vectors(self, entries: &mut [u64], len: usize, entry: u64) -> usize {
        assert!(len < entries.len());
        let start = entries.as_mut_ptr().cast::<i64>();
        let mut end = len;
        // Four at a time from the end: those greater move up by one.
        while end >= 4 {
            // SAFETY: AVX2 as the token proves; it reads `end - 4..end` and writes inside `end - 3..=end`, and
            // `end <= len < entries.len()`; no alignment needed.
            let greater = unsafe {
                // Comparisons are signed.
                let flip = _mm256_set1_epi64x(i64::MIN);
                let four = _mm256_loadu_si256(start.add(end - 4).cast());
                let limit = _mm256_set1_epi64x((entry ^ 1 << 63) as i64);
                let greater = _mm256_cmpgt_epi64(_mm256_xor_si256(four, flip), limit);
                _mm256_maskstore_epi64(start.add(end - 3), greater, four);
                _mm256_movemask_pd(_mm256_castsi256_pd(greater)).count_ones()
            };
            if greater != 4 {
                let at = end - greater as usize;
                entries[at] = entry;
                return at;
            }
            end -= 4;
        }
        while end > 0 && entries[end - 1] > entry {
            entries[end] = entries[end - 1];
            end -= 1;
        }
        entries[end] = entry;
        end
    }
}
