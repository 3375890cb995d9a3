//! Distances as integers of the same order.

use bytemuck::{Pod, Zeroable};

/// A distance as an unsigned integer that sorts like the distance: smaller is nearer.
///
/// Integers compare faster than floats, have a total order, and can carry exact sums. The kernel that made an order key knows
/// the distance that it encodes: of another kernel, the same integer is another distance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
#[repr(transparent)]
pub(crate) struct OrderKey(u32);

impl OrderKey {
    /// Not above any other.
    pub(crate) const MIN: Self = Self(0);
    /// Not below any other, as that of a NaN.
    pub(crate) const MAX: Self = Self(u32::MAX);

    /// Creates the order key that is this integer.
    #[inline(always)]
    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Returns the integer.
    #[inline(always)]
    pub(crate) const fn to_bits(self) -> u32 {
        self.0
    }

    /// Returns the order key of `distance`, which must not be a negative zero. A NaN comes last, with any sign.
    #[inline(always)]
    pub(crate) fn of_f32(distance: f32) -> Self {
        if distance.is_nan() {
            return Self::MAX;
        }
        let bits = distance.to_bits();
        // All bits of negative numbers are flipped; positive numbers move above them.
        Self(bits ^ (((bits as i32) >> 31) as u32 | 0x8000_0000))
    }

    /// Returns the float that [`Self::of_f32`] made the order key from.
    #[inline(always)]
    pub(crate) fn to_f32(self) -> f32 {
        let flipped = ((!self.0 as i32) >> 31) as u32 | 0x8000_0000;
        f32::from_bits(self.0 ^ flipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_keys_ascend_like_floats_and_nan_is_last() {
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
        assert!(ascending.map(OrderKey::of_f32).is_sorted_by(|a, b| a < b));
        for float in ascending {
            assert_eq!(OrderKey::of_f32(float).to_f32().to_bits(), float.to_bits());
        }
        for nan in [f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001), f32::from_bits(0xff80_0001)] {
            assert_eq!(OrderKey::of_f32(nan), OrderKey::MAX);
        }
        assert!(OrderKey::of_f32(f32::INFINITY) < OrderKey::MAX);
        assert!(OrderKey::MAX.to_f32().is_nan());
    }
}
