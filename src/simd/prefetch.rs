//! Prefetching memory before it is needed.
#![cfg_attr(
    all(not(miri), any(target_arch = "x86_64", target_arch = "aarch64")),
    expect(unsafe_code, reason = "prefetch instructions")
)]

const LINE: usize = 64;

/// Brings every cache line of `data` into the first-level cache. A hint: it changes nothing that a
/// program can observe except time, and costs one instruction a line.
#[inline(always)]
pub(crate) fn prefetch<T>(data: &[T]) {
    let start = data.as_ptr().cast::<u8>();
    let before = start.addr() % LINE;
    let mut line = start.wrapping_sub(before);
    for _ in 0..(before + size_of_val(data)).div_ceil(LINE) {
        prefetch_line(line);
        line = line.wrapping_add(LINE);
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
fn prefetch_line(line: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: SSE is in every x86-64, and a prefetch of any address, even an invalid one, has no
    // architectural effect.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
}

#[cfg(all(target_arch = "aarch64", not(miri)))]
#[inline(always)]
fn prefetch_line(line: *const u8) {
    // SAFETY: PRFM is in the base instruction set, reads and writes nothing architectural, and
    // ignores addresses that are not mapped.
    unsafe {
        std::arch::asm!(
            "prfm pldl1keep, [{line}]",
            line = in(reg) line,
            options(nostack, preserves_flags, readonly)
        );
    }
}

#[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
#[inline(always)]
fn prefetch_line(_line: *const u8) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_slice_may_be_prefetched() {
        let data = [0u8; 300];
        for start in 0..130 {
            prefetch(&data[start..]);
        }
        prefetch::<u64>(&[]);
        prefetch(&[1.0f32; 7]);
    }
}
