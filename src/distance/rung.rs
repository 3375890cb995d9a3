//! The scale that a code carries: a rung of a ladder with four rungs to a doubling. Its number is in the lowest bits of eight of the
//! code's components.
//!
//! A rung takes no place beside the components, and kernels read it from the last bytes of the row that they read anyway. The
//! eight components lose one bit each: the encoder rounds them to the nearest number that ends in the wanted bit.
//! A ninth bit says whether the vector was centred.

use bytemuck::cast_ref;

use crate::vector::Block;

/// Bits of the fraction of a float below those that rungs have: four rungs make a doubling.
const BELOW: u32 = 21;

/// Components whose lowest bits hold the rung.
pub(crate) const RUNG_BITS: usize = 8;

/// The lowest bits of eight bytes.
const LOWEST: u64 = 0x0101_0101_0101_0101;

/// Position of the bits in the bytes of a row's last block.
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

    /// Returns the rung of a row.
    #[inline(always)]
    pub(crate) fn rung(self, row: &[Block]) -> i8 {
        /// Moves the lowest bit of byte `i` to bit `56 + i`.
        const GATHER: u64 = 0x0102_0408_1020_4080;

        (self.word(row, 7).wrapping_mul(GATHER) >> 56) as i8
    }

    /// Returns the scale of a row.
    #[inline(always)]
    pub(crate) fn scale(self, row: &[Block]) -> f32 {
        scale_of(self.rung(row))
    }

    /// Returns whether the vector of a row was coded without being centred.
    #[inline(always)]
    pub(crate) fn is_plain(self, row: &[Block]) -> bool {
        self.word(row, 6) >> 56 != 0
    }
}

/// Returns the scale of a rung: the float whose exponent and first two bits of the fraction are those of 1 plus the rung.
#[inline(always)]
pub(crate) fn scale_of(rung: i8) -> f32 {
    f32::from_bits((1.0_f32.to_bits() as i32 + (i32::from(rung) << BELOW)) as u32)
}

/// Returns the lowest rung whose scale is at least `ratio`, or the last one.
pub(crate) fn rung_above(ratio: f32) -> i8 {
    // Positive floats order as their bits do.
    let above = ratio.max(0.0).to_bits() as i32 - 1.0_f32.to_bits() as i32 + (1 << BELOW) - 1;
    (above >> BELOW).clamp(i32::from(i8::MIN), i32::from(i8::MAX)) as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rung_is_the_lowest_that_reaches() {
        for rung in i8::MIN..=i8::MAX {
            let quarters = 1.0 + f64::from(rung & 3) / 4.0;
            let expected = quarters * 2.0_f64.powi(i32::from(rung >> 2));
            assert_eq!(f64::from(scale_of(rung)).to_bits(), expected.to_bits());
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
