//! The scale that a code carries: a rung of a geometric ladder, whose number lies in the lowest bits of eight of the code's
//! components.
//!
//! A rung takes no place beside the components, and kernels read it from the last bytes of the row that they read anyway. The
//! eight components lose one bit each: the encoder rounds them to the nearest number that ends in the wanted bit.
//! A ninth bit says whether the vector was centred.

use bytemuck::cast_ref;

use crate::vector::Block;

/// Rungs from one doubling of the scale to the next.
const PER_DOUBLING: i32 = 4;

/// `2^(i / 4)`, rounded.
const QUARTERS: [f32; PER_DOUBLING as usize] =
    [1.0, 1.189_207_1, std::f32::consts::SQRT_2, 1.681_792_9];

/// Components whose lowest bits hold the rung.
pub(crate) const RUNG_BITS: usize = 8;

/// The lowest bits of eight bytes.
const LOWEST: u64 = 0x0101_0101_0101_0101;

/// Where the bits lie in the bytes of a row's last block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the lowest bit of a byte: components of eight bits.
    Byte,
    /// In the lowest bit of the upper nibble: components of four bits, and the lower four bits of components of twelve.
    Upper,
}

impl Place {
    #[inline(always)]
    fn shift(self) -> u32 {
        match self {
            Self::Byte => 0,
            Self::Upper => 4,
        }
    }

    #[inline(always)]
    fn word(self, row: &[Block], at: usize) -> u64 {
        let Some(last) = row.last() else { return 0 };
        let words: &[[u8; 8]; 8] = cast_ref(last);
        (u64::from_le_bytes(words[at]) >> self.shift()) & LOWEST
    }

    /// The rung of a row.
    #[inline(always)]
    pub(crate) fn rung(self, row: &[Block]) -> i8 {
        /// Brings the lowest bit of byte `i` to bit `56 + i`.
        const GATHER: u64 = 0x0102_0408_1020_4080;

        (self.word(row, 7).wrapping_mul(GATHER) >> 56) as i8
    }

    /// The scale of a row.
    #[inline(always)]
    pub(crate) fn scale(self, row: &[Block]) -> f32 {
        scale_of(self.rung(row))
    }

    /// Whether the vector of a row was coded as it is, and not centred.
    #[inline(always)]
    pub(crate) fn is_plain(self, row: &[Block]) -> bool {
        self.word(row, 6) >> 56 != 0
    }
}

/// The scale of a rung, `2^(rung / 4)`.
#[inline(always)]
pub(crate) fn scale_of(rung: i8) -> f32 {
    let doublings = (rung >> 2) as i32;
    let quarter = QUARTERS[(rung & 3) as usize];
    // An exponent is added to that of a number from 1 to 2.
    f32::from_bits((quarter.to_bits() as i32 + (doublings << 23)) as u32)
}

/// The lowest rung whose scale is at least `ratio`, as far as the ladder reaches: the same on every machine.
pub(crate) fn rung_above(ratio: f32) -> i8 {
    if !ratio.is_normal() {
        return if ratio > 1.0 { i8::MAX } else { i8::MIN };
    }
    let doublings = (ratio.to_bits() >> 23 & 0xff) as i32 - 127;
    let fraction = f32::from_bits(ratio.to_bits() & 0x7f_ffff | 1.0_f32.to_bits());
    let above = QUARTERS.iter().filter(|&&quarter| fraction > quarter).count() as i32;
    (PER_DOUBLING * doublings + above).clamp(i32::from(i8::MIN), i32::from(i8::MAX)) as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rung_is_the_lowest_that_reaches() {
        for rung in i8::MIN..=i8::MAX {
            let expected = 2.0_f64.powf(f64::from(rung) / 4.0);
            assert!((f64::from(scale_of(rung)) / expected - 1.0).abs() < 1e-6, "{rung}");
            assert_eq!(rung_above(scale_of(rung)), rung);
            let more = f32::from_bits(scale_of(rung).to_bits() + 1);
            assert_eq!(rung_above(more), rung.saturating_add(1));
        }
        assert_eq!(rung_above(0.0), i8::MIN);
        assert_eq!(rung_above(f32::MIN_POSITIVE / 4.0), i8::MIN);
        assert_eq!(rung_above(f32::MAX), i8::MAX);
        assert_eq!(rung_above(f32::INFINITY), i8::MAX);
    }

    #[test]
    fn bits_of_a_row_are_its_rung() {
        for (place, bit) in [(Place::Byte, 1_u8), (Place::Upper, 16)] {
            for rung in i8::MIN..=i8::MAX {
                for plain in [false, true] {
                    let mut bytes = [!bit; 128];
                    for (i, byte) in bytes[120..].iter_mut().enumerate() {
                        *byte |= if rung as u8 >> i & 1 != 0 { bit } else { 0 };
                    }
                    bytes[119] |= if plain { bit } else { 0 };
                    let mut rows = [Block::ZERO; 2];
                    bytemuck::cast_slice_mut(&mut rows).copy_from_slice(&bytes);
                    assert_eq!((place.rung(&rows), place.is_plain(&rows)), (rung, plain));
                }
            }
        }
        assert_eq!(Place::Byte.rung(&[]), 0);
    }
}
