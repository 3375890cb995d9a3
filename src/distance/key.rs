//! Floats as integers of the same order.

/// Returns a key that ascends like `distance`, which must not be a negative zero. A NaN comes
/// last, with any sign.
#[inline(always)]
pub(crate) fn of_f32(distance: f32) -> u32 {
    if distance.is_nan() {
        return u32::MAX;
    }
    let bits = distance.to_bits();
    // All bits of negative numbers are flipped; positive numbers move above them.
    bits ^ (((bits as i32) >> 31) as u32 | 0x8000_0000)
}

/// Returns the float that [`of_f32`] made `key` from.
#[inline(always)]
pub(crate) fn to_f32(key: u32) -> f32 {
    let flipped = ((!key as i32) >> 31) as u32 | 0x8000_0000;
    f32::from_bits(key ^ flipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_ascend_like_floats_and_nan_is_last() {
        let ascending = [
            f32::NEG_INFINITY,
            f32::MIN,
            -1.5,
            -f32::MIN_POSITIVE,
            -f32::from_bits(1),
            0.0,
            f32::from_bits(1),
            f32::MIN_POSITIVE,
            1.5,
            f32::MAX,
            f32::INFINITY,
        ];
        assert!(ascending.map(of_f32).is_sorted_by(|a, b| a < b));
        for float in ascending {
            assert_eq!(to_f32(of_f32(float)).to_bits(), float.to_bits());
        }
        for nan in [f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001), f32::from_bits(0xff80_0001)] {
            assert_eq!(of_f32(nan), u32::MAX);
        }
        assert!(of_f32(f32::INFINITY) < u32::MAX);
        assert!(to_f32(u32::MAX).is_nan());
    }
}
