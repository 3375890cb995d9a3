//! Sorted arrays of entries that keep the least ones: the basis of a pool of candidates.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

/// Entries that [`Sorted::merge`] takes at a time.
pub(crate) const MERGED: usize = 8;
/// Slots beyond the counted entries, which operations may overwrite.
pub(crate) const SLACK: usize = 16;

/// Length of the longest array that registers are compared with as a whole.
#[cfg(target_arch = "x86_64")]
const LONGEST: usize = 192;

/// Words with one bit for each place of such an array and each merged entry.
#[cfg(target_arch = "x86_64")]
const WORDS: usize = (LONGEST + MERGED).div_ceil(64);

/// Operations of an instruction set on sorted arrays.
pub(crate) trait Sorted: Copy {
    /// Whether [`Self::merge`] takes less time than insertions one by one.
    const MERGES: bool = false;

    /// Inserts `entry` before the first greater one of the ascending `entries[..len]`; `entries` has room
    /// for one more. Returns the place of `entry`.
    #[inline(always)]
    fn insert_sorted(self, entries: &mut [u64], len: usize, entry: u64) -> usize {
        let at = entries[..len].partition_point(|&e| e <= entry);
        entries.copy_within(at..len, at + 1);
        entries[at] = entry;
        at
    }

    /// Writes `key << 32 | id << 1` for each key below `bound` to the front of `out`, in order, and returns their number. `out`
    /// has room for all, and for [`SLACK`] more.
    #[inline(always)]
    fn select(self, keys: &[u32], ids: &[u32], bound: u64, out: &mut [u64]) -> usize {
        let mut count = 0;
        for (&key, &id) in keys.iter().zip(ids) {
            if u64::from(key) < bound {
                out[count] = u64::from(key) << 32 | u64::from(id) << 1;
                count += 1;
            }
        }
        count
    }

    /// Merges up to [`MERGED`] distinct entries, at least one, in any order, into the ascending `entries[..len]` and keeps the
    /// `capacity` least; `entries` has room for [`SLACK`] more. Returns the new length and the place of the
    /// first merged entry, or a number beyond all places if no entry was kept.
    #[inline(always)]
    fn merge(
        self,
        entries: &mut [u64],
        len: usize,
        capacity: usize,
        fresh: &[u64],
    ) -> (usize, usize) {
        self.insert_each(entries, len, capacity, fresh)
    }

    /// [`Self::merge`], one entry after the other.
    #[inline(always)]
    fn insert_each(
        self,
        entries: &mut [u64],
        len: usize,
        capacity: usize,
        fresh: &[u64],
    ) -> (usize, usize) {
        let (mut len, mut first) = (len, usize::MAX);
        for &entry in fresh {
            if len == capacity && entry >= entries[len - 1] {
                continue;
            }
            let kept = len.min(capacity - 1);
            first = first.min(self.insert_sorted(entries, kept, entry));
            len = kept + 1;
        }
        (len, first)
    }
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128", not(test))))]
impl Sorted for super::Scalar {}

#[cfg(target_arch = "aarch64")]
impl Sorted for super::Neon {}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
impl Sorted for super::Simd128 {}
