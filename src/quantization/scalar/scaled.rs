//! Codes that carry a scale each, so that a vector's error is in proportion to its length.
//!
//! These codes are those of LVQ (Aguerrebere et al., Similarity search in the blink of an eye with compressed indices, 2023), with
//! scales from a ladder of four rungs to a doubling. The lowest bits of eight components have the number of the rung. A vector is not
//! centred, and a ninth bit is set, if centring would make it much longer.

use bytemuck::{cast_mut, cast_slice, cast_slice_mut};

use super::round::Round;
use super::{Bits, GREATEST_12, ScalarGrid};
use crate::distance::{
    NIBBLES, Place, RUNG_BITS, put_component, rung_above, scale_of, write_code, write_form,
};
use crate::metric::Metric;
use crate::vector::Block;

/// Half the width of the 4-bit grid, in the deviations of a vector's components: the width with the least error of normally
/// distributed components is 2.6 (Max, Quantizing for minimum distortion, 1960).
const CLIP_4: f32 = 2.6;

/// About half of the way from one rung to the next.
const HALF_RUNG: f32 = 1.1;

/// Sums that are added up side by side.
const LANES: usize = 16;

impl Bits {
    /// Returns the greatest number of a component of a code.
    fn greatest(self) -> f32 {
        match self {
            Self::Four => 7.5,
            Self::Eight => 127.0,
            Self::Twelve => GREATEST_12,
        }
    }

    /// Returns the greatest number of a component of a prepared query.
    fn greatest_asked(self) -> f32 {
        match self {
            Self::Four | Self::Eight => 127.0,
            Self::Twelve => GREATEST_12,
        }
    }

    /// Returns the place of the rung in a code.
    fn place(self) -> Place {
        match self {
            Self::Four | Self::Twelve => Place::Upper,
            Self::Eight => Place::Byte,
        }
    }

    /// Returns the number of components that a code has room for.
    fn room(self, code: &[Block]) -> usize {
        match self {
            Self::Four => code.len() * NIBBLES,
            Self::Eight => size_of_val(code),
            Self::Twelve => code.len() / crate::distance::TWELVE_BLOCKS * NIBBLES,
        }
    }
}

impl ScalarGrid {
    /// Returns the step for vectors with components of this deviation; rungs are multiples of it.
    pub(super) fn base_step(&self, deviation: f32) -> f32 {
        /// The greatest number of a grid without clipping, in deviations.
        const REACH: f32 = 4.0;

        let reach = if self.bits == Bits::Four { CLIP_4 * 7.5 / 8.0 } else { REACH };
        deviation * reach / self.bits.greatest()
    }

    /// Returns whether some vectors may be coded without centring.
    pub(crate) fn has_plain_codes(&self) -> bool {
        self.is_scaled && !self.mean.is_empty()
    }

    /// Returns whether the vector of a code was coded without centring, though others are centred.
    pub(crate) fn is_plain(&self, code: &[Block]) -> bool {
        self.has_plain_codes() && self.bits.place().is_plain(code)
    }

    /// Returns whether no kernel compares two codes: one is centred, and the other is not.
    pub(crate) fn differ(&self, a: &[Block], b: &[Block]) -> bool {
        self.is_plain(a) != self.is_plain(b)
    }

    /// Returns the distance between two decoded vectors, under L2 or the cosine.
    pub(super) fn distance_of_decoded(&self, a: &[Block], b: &[Block]) -> f32 {
        let [a, b] = [a, b].map(|code| {
            let mut vector = Vec::new();
            self.decode(code, &mut vector);
            vector
        });
        let square: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        (if self.metric == Metric::Cosine { square / 2.0 } else { square }) as f32
    }

    pub(super) fn encode_scaled(&self, vector: &[f32], rotated: &mut Vec<f32>, code: &mut [Block]) {
        let is_plain = self.is_shorter_plain(vector);
        self.rotate_from(vector, is_plain, rotated);
        let rung = self.rung(rotated);
        // A grid of subnormal steps serves no components but zeros.
        let mut scale = (1.0 / (self.step * scale_of(rung))).min(f32::MAX);
        let greatest = self.bits.greatest();
        let room = self.bits.room(code);
        match self.bits {
            Bits::Eight => {
                let round = Round { scale, shift: 0.0, least: -greatest, greatest };
                round.all(self.isa, rotated, cast_slice_mut(code));
            }
            Bits::Twelve => {
                let round = Round { scale, shift: 0.0, least: -greatest, greatest };
                write_code(code, rotated, |x| round.one(x));
            }
            Bits::Four => {
                rotated.resize(room, 0.0);
                scale *= stretch(rotated, scale);
                write_nibbles(rotated, scale, code);
            }
        }
        rotated.resize(room, 0.0);
        let mut put = |at: usize, is_odd: bool| {
            self.put(code, at, round_to(rotated[at] * scale, is_odd, self.bits));
        };
        for bit in 0..RUNG_BITS {
            put(room - RUNG_BITS + bit, rung as u8 >> bit & 1 != 0);
        }
        if !self.mean.is_empty() {
            put(room - RUNG_BITS - 1, is_plain);
        }
    }

    pub(super) fn prepare_scaled(
        &self,
        vector: &[f32],
        rotated: &mut Vec<f32>,
        query: &mut [Block],
    ) {
        let Some((last, forms)) = query.split_last_mut() else { return };
        let constants: &mut [f64; 8] = cast_mut(last);
        *constants = [0.0; 8];
        if self.metric == Metric::InnerProduct {
            self.rotate(vector, rotated);
            (constants[0], constants[1]) = self.write_form(rotated, forms);
            return;
        }
        let (centred, plain) = forms.split_at_mut(forms.len() / 2);
        self.rotate(vector, rotated);
        (constants[0], constants[1]) = self.write_form(rotated, centred);
        for (x, mean) in rotated.iter_mut().zip(&self.rotated_mean) {
            *x += mean;
        }
        (constants[2], constants[3]) = self.write_form(rotated, plain);
    }

    /// Returns the width of a cell of a code.
    pub(super) fn step_of(&self, code: &[Block]) -> f32 {
        if self.is_scaled { self.step * scale_of(self.bits.place().rung(code)) } else { self.step }
    }

    /// Returns whether centring a vector makes it much longer.
    fn is_shorter_plain(&self, vector: &[f32]) -> bool {
        /// The square of a plain vector by that of the centred one. Most vectors are to be of one kind, because codes of one kind are
        /// compared faster.
        const MUCH: f32 = 0.6;

        let (mut plain, mut centred) = ([0.0_f32; LANES], [0.0_f32; LANES]);
        for (xs, means) in vector.chunks(LANES).zip(self.mean.chunks(LANES)) {
            for (((&x, &mean), plain), centred) in
                xs.iter().zip(means).zip(&mut plain).zip(&mut centred)
            {
                *plain += x * x;
                *centred += (x - mean) * (x - mean);
            }
        }
        plain.iter().sum::<f32>() < MUCH * centred.iter().sum::<f32>()
    }

    /// Returns the rung for a rotated vector: the lowest that clips nothing; with four bits, the rung of the least error.
    fn rung(&self, rotated: &[f32]) -> i8 {
        let whole = largest(rotated) / self.bits.greatest();
        if self.bits != Bits::Four {
            return rung_above(whole / self.step);
        }
        let mut squares = [0.0_f32; LANES];
        for xs in rotated.as_chunks::<LANES>().0 {
            for (sum, &x) in squares.iter_mut().zip(xs) {
                *sum += x * x;
            }
        }
        let deviation = (squares.iter().sum::<f32>() / rotated.len() as f32).sqrt();
        rung_above(whole.min(deviation * CLIP_4 / 8.0) / self.step / HALF_RUNG)
    }

    /// Writes a rotated query in the scale of its largest component. Returns that scale in steps and a constant: the square of the
    /// rounded query in squared steps, less the mean that rounding adds; for four bits the number that makes nibbles signed.
    fn write_form(&self, rotated: &[f32], form: &mut [Block]) -> (f64, f64) {
        let greatest = self.bits.greatest_asked();
        let step = largest(rotated) / greatest;
        let step = if step.is_normal() { step } else { 1.0 };
        let round = Round { scale: 1.0 / step, shift: 0.0, least: -greatest, greatest };
        let scale = f64::from(step) / f64::from(self.step);
        let square_of = |squares: f64| squares * scale * scale;
        match self.bits {
            Bits::Four => {
                let (bytes, rest) = cast_slice_mut::<_, u8>(form).split_at_mut(rotated.len());
                rest.fill(0);
                let (sum, _) = round.all(self.isa, rotated, bytes);
                // Keys are in 16ths of a squared step, and nibbles count halves of one.
                (8.0 * scale, f64::from(15 * sum))
            }
            Bits::Eight => {
                round.all(self.isa, rotated, cast_slice_mut(form));
                let squares: i64 =
                    cast_slice::<_, i8>(form).iter().map(|&x| i64::from(x).pow(2)).sum();
                (scale, square_of(squares as f64 - rotated.len() as f64 / 12.0))
            }
            Bits::Twelve => {
                let mut squares = 0.0;
                write_form(form, rotated, |x| {
                    let number = round.one(x);
                    squares += f64::from(number * number);
                    number
                });
                (scale, square_of(squares))
            }
        }
    }

    fn put(&self, code: &mut [Block], at: usize, value: i32) {
        match self.bits {
            Bits::Eight => cast_slice_mut::<_, u8>(code)[at] = value as u8,
            Bits::Twelve => put_component(code, at, value),
            Bits::Four => {
                let (group, within) = (at / NIBBLES * 64, at % NIBBLES);
                let shift = within / 64 * 4;
                let byte = &mut cast_slice_mut::<_, u8>(code)[group + within % 64];
                *byte = *byte & !(15 << shift) | (value as u8) << shift;
            }
        }
    }
}

/// Writes the cells of components, two in a byte.
pub(super) fn write_nibbles(components: &[f32], scale: f32, code: &mut [Block]) {
    let code: &mut [u8] = cast_slice_mut(code);
    let cell = |x: f32| (x * scale + 8.0).clamp(0.0, 15.0) as u8;
    let groups = components.as_chunks::<NIBBLES>().0;
    for (bytes, values) in code.as_chunks_mut::<64>().0.iter_mut().zip(groups) {
        let (low, high) = values.split_at(64);
        for ((byte, &low), &high) in bytes.iter_mut().zip(low).zip(high) {
            *byte = cell(low) | cell(high) << 4;
        }
    }
}

/// Returns the factor by which components are stretched before they are rounded to four bits, so that the inner product of the vector
/// with its code is that with itself. Clipping makes codes too short, each by another share, and the nearest vectors of a query have
/// its direction. (Extended RaBitQ and score-aware quantization keep the same product, by a factor beside the code and by its cells.)
fn stretch(components: &[f32], scale: f32) -> f32 {
    /// Further stretching clips more components than it corrects.
    const MOST: f32 = 1.25;
    const ROUNDS: usize = 3;

    let mut sums = [0.0_f32; LANES];
    for xs in components.as_chunks::<LANES>().0 {
        for (sum, &x) in sums.iter_mut().zip(xs) {
            *sum += x * scale * x;
        }
    }
    let wanted = sums.iter().sum::<f32>();
    let mut factor = 1.0;
    for _ in 0..ROUNDS {
        let by = wanted / product_with_code(components, scale * factor);
        if !by.is_finite() {
            return 1.0;
        }
        factor = (factor * by).clamp(1.0 / MOST, MOST);
    }
    factor
}

/// Returns the inner product of components and the numbers of their cells, in cells.
fn product_with_code(components: &[f32], scale: f32) -> f32 {
    let mut sums = [0.0_f32; LANES];
    for xs in components.as_chunks::<LANES>().0 {
        for (sum, &x) in sums.iter_mut().zip(xs) {
            *sum += x * (f32::from((x * scale + 8.0).clamp(0.0, 15.0) as u8) - 7.5);
        }
    }
    sums.iter().sum()
}

/// Returns the number of a code, odd or even, that is nearest to `x`, which is in steps.
fn round_to(x: f32, is_odd: bool, bits: Bits) -> i32 {
    let odd = f32::from(u8::from(is_odd));
    let (offset, least, greatest) = match bits {
        Bits::Four => (7.5, 0.0, 14.0),
        Bits::Eight | Bits::Twelve if is_odd => {
            (0.0, -bits.greatest() - 1.0, bits.greatest() - 1.0)
        }
        Bits::Eight | Bits::Twelve => (0.0, 1.0 - bits.greatest(), bits.greatest() - 1.0),
    };
    let (least, greatest) = (least / 2.0, greatest / 2.0);
    let round = Round { scale: 0.5, shift: (offset - odd) / 2.0, least, greatest };
    2 * round.one(x) + i32::from(is_odd)
}

/// Returns the largest absolute value.
fn largest(components: &[f32]) -> f32 {
    let mut largest = [0.0_f32; LANES];
    for xs in components.as_chunks::<LANES>().0 {
        for (largest, &x) in largest.iter_mut().zip(xs) {
            *largest = largest.max(x.abs());
        }
    }
    largest.iter().fold(0.0, |a, &b| a.max(b))
}
