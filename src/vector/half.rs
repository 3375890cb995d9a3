//! Half-precision numbers as 16-bit patterns: the `f16` type is not stable.

use bytemuck::{Pod, Zeroable};
use std::fmt;

/// IEEE 754 half precision, kept as its bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Pod, Zeroable)]
#[repr(transparent)]
pub struct F16(u16);

/// Brain float: the upper 16 bits of an `f32`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Pod, Zeroable)]
#[repr(transparent)]
pub struct Bf16(u16);

macro_rules! half {
    ($name:ident) => {
        impl $name {
            /// Creates the number from its bit pattern.
            pub const fn from_bits(bits: u16) -> Self {
                Self(bits)
            }

            /// Returns the bit pattern.
            pub const fn to_bits(self) -> u16 {
                self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.to_f32().fmt(f)
            }
        }

        impl From<$name> for f32 {
            fn from(half: $name) -> Self {
                half.to_f32()
            }
        }
    };
}

half!(F16);
half!(Bf16);

impl F16 {
    /// Returns the nearest half-precision number, ties to even; beyond 65,504 it is infinite.
    pub const fn from_f32(value: f32) -> Self {
        let bits = value.to_bits();
        let sign = ((bits >> 16) & 0x8000) as u16;
        let magnitude = bits & 0x7fff_ffff;
        // No early return: selections can be vectorised. Below the normal numbers, adding 0.5 lets the hardware round at
        // the last bit of a half.
        let shifted = f32::from_bits(magnitude) + 0.5;
        let subnormal = shifted.to_bits().wrapping_sub(0x3f00_0000);
        let odd = (magnitude >> 13) & 1;
        let normal = (magnitude + 0x0fff + odd).wrapping_sub(0x3800_0000) >> 13;
        let finite = if magnitude < 0x3880_0000 { subnormal } else { normal };
        let beyond = if magnitude > 0x7f80_0000 { 0x7e00 } else { 0x7c00 };
        let half = if magnitude >= 0x4780_0000 { beyond } else { finite };
        Self(sign | half as u16)
    }

    /// Returns the same number, exactly.
    pub const fn to_f32(self) -> f32 {
        let sign = ((self.0 & 0x8000) as u32) << 16;
        let rest = (self.0 & 0x7fff) as u32;
        // Exponents are rebiased by a multiplication, which also normalises subnormals.
        let scaled = f32::from_bits(rest << 13) * f32::from_bits(0x7780_0000);
        // Infinities and NaNs keep the greatest exponent. No early return: a
        // selection can be vectorised.
        let greatest = if rest >= 0x7c00 { 0x7f80_0000 } else { 0 };
        f32::from_bits(sign | scaled.to_bits() | greatest)
    }
}

impl Bf16 {
    /// Returns the nearest brain float, ties to even.
    pub const fn from_f32(value: f32) -> Self {
        let bits = value.to_bits();
        let is_nan = bits & 0x7fff_ffff > 0x7f80_0000;
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        Self(if is_nan { (bits >> 16) as u16 | 0x40 } else { rounded as u16 })
    }

    /// Returns the same number, exactly.
    pub const fn to_f32(self) -> f32 {
        f32::from_bits((self.0 as u32) << 16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_survives_a_round_trip() {
        let step = if cfg!(miri) { 97 } else { 1 };
        for bits in (0..=u16::MAX).step_by(step) {
            let half = F16(bits);
            let back = F16::from_f32(half.to_f32());
            if half.to_f32().is_nan() {
                assert!(back.to_f32().is_nan());
            } else {
                assert_eq!(back, half);
            }
            let brain = Bf16(bits);
            let back = Bf16::from_f32(brain.to_f32());
            assert!(back == brain || brain.to_f32().is_nan() && back.to_f32().is_nan());
        }
    }

    #[test]
    fn halves_round_to_nearest_even() {
        for (value, bits) in [
            (1.0, 0x3c00),
            (65504.0, 0x7bff),
            (65519.99, 0x7bff),
            (65520.0, 0x7c00),
            (1.0 + 1.0 / 2048.0, 0x3c00),
            (1.0 + 3.0 / 2048.0, 0x3c02),
            (5.960_464_5e-8, 0x0001),
            (2.980_232_2e-8, 0x0000),
            (-0.0, 0x8000),
            (6.103_515_6e-5, 0x0400),
        ] {
            assert_eq!(F16::from_f32(value).0, bits, "{value}");
        }
        assert_eq!(Bf16::from_f32(1.0 + 1.0 / 256.0).to_bits(), 0x3f80);
        assert_eq!(Bf16::from_f32(1.0 + 3.0 / 256.0).to_bits(), 0x3f82);
    }
}
