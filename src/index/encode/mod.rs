//! Converts a user's vector to a stored row: checked, converted, normalised, padded.

pub(in crate::index) mod half;

use std::borrow::Cow;

use bytemuck::{cast_slice, cast_slice_mut};

use crate::error::{IndexError, VectorError};
use crate::index::encode::half::{Half, narrow_all, sum_of_squares, widen_all, widen_into};
use crate::metric::Metric;
use crate::vector::{Bf16, Block, Element, F16, VectorRef};

/// The greatest length of a vector under a metric whose distances grow with it, a little below the root of
/// `f32::MAX / 4`: squared distances and inner products of such vectors, and sums of a few of them, are finite.
const LONGEST: f64 = (1_u64 << 62) as f64;

/// Vectors of at most 65,536 components, all of them below `LARGE`, are no longer than `LONGEST`.
pub(super) const LARGE: f32 = (1_u64 << 54) as f32;

/// Returns the components of a vector as floats. Code for rows is then compiled for one type of components.
fn floats_of(vector: VectorRef<'_>) -> Cow<'_, [f32]> {
    Cow::Owned(match vector {
        VectorRef::F32(v) => return Cow::Borrowed(v),
        VectorRef::F16(v) => widen_all(v),
        VectorRef::Bf16(v) => widen_all(v),
        VectorRef::I8(v) => v.iter().map(|&x| f32::from(x)).collect(),
        VectorRef::U8(v) => v.iter().map(|&x| f32::from(x)).collect(),
    })
}

/// Converts vectors to the rows that an index stores.
#[derive(Debug, Clone, Copy)]
pub(super) struct Encoder {
    pub(super) dimension: usize,
    pub(super) metric: Metric,
    pub(super) element: Element,
}

impl Encoder {
    /// Returns the blocks of a row.
    pub(super) fn blocks(&self) -> usize {
        self.element.bytes(self.dimension).div_ceil(size_of::<Block>())
    }

    /// Returns the elements of a vector in the form that users pass: the dimension, or the bytes of packed bits.
    pub(super) fn elements(&self) -> usize {
        if self.element == Element::Bit { self.dimension.div_ceil(8) } else { self.dimension }
    }

    /// Returns the number of vectors that `flat` holds, one after the other.
    pub(super) fn count(&self, flat: VectorRef<'_>) -> Result<usize, VectorError> {
        let (found, expected) = (flat.len(), self.elements());
        if found.is_multiple_of(expected) {
            Ok(found / expected)
        } else {
            Err(VectorError::Length { expected: found.next_multiple_of(expected), found })
        }
    }

    /// Writes the row of `vector` into `row`, which is [`Self::blocks`] long.
    pub(super) fn encode(
        &self,
        vector: VectorRef<'_>,
        row: &mut [Block],
    ) -> Result<(), VectorError> {
        let expected = self.elements();
        if vector.len() != expected {
            return Err(VectorError::Length { expected, found: vector.len() });
        }
        match (self.element, vector) {
            (Element::Bit, VectorRef::U8(bits)) => {
                self.encode_bits(bits, row);
                Ok(())
            }
            (Element::Bit, other) => {
                Err(VectorError::ElementMismatch { expected: Element::Bit, found: other.element() })
            }
            (Element::I8, VectorRef::I8(v)) => self.encode_same(v, row),
            (Element::U8, VectorRef::U8(v)) => self.encode_same(v, row),
            (Element::F32, v) => self.encode_f32(&floats_of(v), row),
            (Element::F16, v) => self.encode_half::<F16>(&floats_of(v), row),
            (Element::Bf16, v) => self.encode_half::<Bf16>(&floats_of(v), row),
            (Element::I8, v) => self.encode_integers(&floats_of(v), row, |x| x as i8),
            (Element::U8, v) => self.encode_integers(&floats_of(v), row, |x| x as u8),
        }
    }

    /// Writes the row of a vector that [`Self::decode`] gave, with the components that it had: under the cosine, [`Self::encode`] would scale
    /// and round them again. Other vectors have the row that it writes. A vector of bits has a number for each, 0 or 1.
    #[cfg(feature = "json")]
    pub(super) fn encode_as_kept(
        &self,
        vector: &[f32],
        row: &mut [Block],
    ) -> Result<(), VectorError> {
        if self.element == Element::Bit {
            return self.encode_numbers_of_bits(vector, row);
        }
        self.encode(VectorRef::F32(vector), row)?;
        if self.metric == Metric::Cosine {
            match self.element {
                Element::F32 => keep(vector, row, |x| x, |x| x, 1.0 / (1 << 20) as f64),
                Element::F16 => keep(vector, row, F16::from_f32, F16::widen, 1.0 / 1024.0),
                Element::Bf16 => keep(vector, row, Bf16::from_f32, Bf16::widen, 1.0 / 128.0),
                Element::I8 | Element::U8 | Element::Bit => {}
            }
        }
        Ok(())
    }

    #[cfg(feature = "json")]
    fn encode_numbers_of_bits(&self, vector: &[f32], row: &mut [Block]) -> Result<(), VectorError> {
        if vector.len() != self.dimension {
            return Err(VectorError::Length { expected: self.dimension, found: vector.len() });
        }
        let mut bits = vec![0_u8; self.elements()];
        for (component, &value) in vector.iter().enumerate() {
            let bit = value as u8;
            if bit > 1 || f32::from(bit).to_bits() != (value + 0.0).to_bits() {
                let element = self.element;
                return Err(VectorError::NotRepresentable { component, value, element });
            }
            bits[component / 8] |= bit << (component % 8);
        }
        self.encode_bits(&bits, row);
        Ok(())
    }

    /// Returns the rows of the vectors that `flat` holds, one after the other.
    pub(super) fn encode_all(&self, flat: VectorRef<'_>) -> Result<Vec<Block>, IndexError> {
        let count = self.count(flat)?;
        let (elements, blocks) = (self.elements(), self.blocks());
        let mut rows = bytemuck::zeroed_vec::<Block>(count * blocks);
        for (position, row) in rows.chunks_exact_mut(blocks).enumerate() {
            let vector = flat.slice(position * elements..(position + 1) * elements);
            self.encode(vector, row)
                .map_err(|source| IndexError::BatchVector { position, source })?;
        }
        Ok(rows)
    }

    /// Returns the vector of a row, as floats (bits as 0 and 1).
    pub(super) fn decode(&self, row: &[Block]) -> Vec<f32> {
        let mut floats = Vec::with_capacity(self.dimension);
        self.decode_into(row, &mut floats);
        floats
    }

    /// Replaces the contents of `floats` by the vector of a row.
    pub(super) fn decode_into(&self, row: &[Block], floats: &mut Vec<f32>) {
        let n = self.dimension;
        floats.clear();
        match self.element {
            Element::F32 => floats.extend_from_slice(&cast_slice::<_, f32>(row)[..n]),
            Element::F16 => widen_into(&cast_slice::<_, F16>(row)[..n], floats),
            Element::Bf16 => widen_into(&cast_slice::<_, Bf16>(row)[..n], floats),
            Element::I8 => {
                floats.extend(cast_slice::<_, i8>(row)[..n].iter().map(|&x| f32::from(x)));
            }
            Element::U8 => {
                floats.extend(cast_slice::<_, u8>(row)[..n].iter().map(|&x| f32::from(x)));
            }
            Element::Bit => {
                let bytes = cast_slice::<_, u8>(row);
                floats.extend((0..n).map(|i| f32::from(bytes[i / 8] >> (i % 8) & 1)));
            }
        }
    }

    /// Returns the distance to answer: within the range of the metric, and 0 if rounding alone may have made it under
    /// the cosine, as between a vector and itself.
    pub(super) fn answered(&self, distance: f32) -> f32 {
        if self.metric != Metric::Cosine {
            return distance;
        }
        // The bound covers sixteen or more sums of products, and the change by rounding the components.
        let rounding = (self.dimension as f32 / 32.0 + 10.0) * (f32::EPSILON / 2.0);
        let is_whole = matches!(self.element, Element::I8 | Element::U8);
        if distance <= rounding && !is_whole {
            0.0
        } else if distance > 2.0 {
            2.0
        } else {
            distance
        }
    }

    /// [`Self::decode_into`], but of unit length under the cosine, as quantizers require; rows of whole numbers cannot
    /// have unit length.
    pub(super) fn unit_into(&self, row: &[Block], floats: &mut Vec<f32>) {
        self.decode_into(row, floats);
        if self.metric == Metric::Cosine && matches!(self.element, Element::I8 | Element::U8) {
            let scaled = normalize(floats);
            debug_assert!(scaled.is_ok(), "no row without a direction is stored");
        }
    }

    /// Writes the row that is nearest to a vector that a quantizer gave, of unit length under the cosine. Returns
    /// whether such a row exists.
    pub(super) fn encode_nearest(&self, floats: &mut [f32], row: &mut [Block]) -> bool {
        let (least, greatest) = match self.element {
            Element::I8 => (-128.0, 127.0),
            Element::U8 => (0.0, 255.0),
            _ => return self.encode(VectorRef::F32(floats), row).is_ok(),
        };
        if self.metric == Metric::Cosine {
            let longest = floats.iter().fold(0.0_f32, |longest, x| longest.max(x.abs()));
            let scale = if longest > 0.0 { greatest / longest } else { 1.0 };
            for x in &mut *floats {
                *x *= scale;
            }
        }
        for x in &mut *floats {
            *x = x.round_ties_even().clamp(least, greatest) + 0.0;
        }
        self.encode(VectorRef::F32(floats), row).is_ok()
    }

    fn encode_f32(&self, values: &[f32], row: &mut [Block]) -> Result<(), VectorError> {
        let out = cast_slice_mut::<_, f32>(row);
        let n = values.len();
        out[..n].copy_from_slice(values);
        out[n..].fill(0.0);
        let out = &mut out[..n];
        self.check_range(out)?;
        if self.metric == Metric::Cosine { normalize(out) } else { Ok(()) }
    }

    fn encode_half<H: Half>(&self, values: &[f32], row: &mut [Block]) -> Result<(), VectorError> {
        let mut scale = 1.0;
        if self.metric == Metric::Cosine {
            let square = sum_of_squares(values);
            if square == 0.0 {
                return Err(VectorError::ZeroNorm);
            }
            scale = 1.0 / square.sqrt();
        }
        let out = cast_slice_mut::<_, H>(row);
        out[values.len()..].fill(H::zeroed());
        if narrow_all(values, scale, out) {
            if self.metric == Metric::Cosine {
                even_out(values, scale, out);
            }
            return Ok(());
        }
        for (component, (out, &value)) in out.iter().zip(values).enumerate() {
            if !value.is_finite() {
                return Err(VectorError::NonFinite { component });
            }
            if !out.is_finite() {
                let element = self.element;
                return Err(VectorError::NotRepresentable { component, value, element });
            }
        }
        self.check_length(values)
    }

    /// Refuses components that are not finite, and vectors too long for their distances to be finite.
    fn check_range(&self, values: &[f32]) -> Result<(), VectorError> {
        // The loop has no branch for a component, so that it vectorises.
        let worst = values
            .iter()
            .fold(0, |worst: i32, value| worst.max((value.to_bits() & !(1 << 31)) as i32));
        if worst < LARGE.to_bits() as i32 {
            return Ok(());
        }
        if let Some(component) = values.iter().position(|value| !value.is_finite()) {
            return Err(VectorError::NonFinite { component });
        }
        self.check_length(values)
    }

    /// Refuses a finite vector whose distances may exceed `f32`.
    #[cold]
    fn check_length(&self, values: &[f32]) -> Result<(), VectorError> {
        let length = sum_of_squares(values).sqrt();
        // The distances of a custom metric have an order, infinite ones too.
        if matches!(self.metric, Metric::Cosine | Metric::Custom) || length <= LONGEST {
            return Ok(());
        }
        Err(VectorError::TooLong { length })
    }

    fn encode_integers<T: bytemuck::Pod + PartialEq + Into<f32>>(
        &self,
        values: &[f32],
        row: &mut [Block],
        narrow: fn(f32) -> T,
    ) -> Result<(), VectorError> {
        let out = cast_slice_mut::<_, T>(row);
        let n = values.len();
        out[n..].fill(T::zeroed());
        for (component, (out, &value)) in out.iter_mut().zip(values).enumerate() {
            if !value.is_finite() {
                return Err(VectorError::NonFinite { component });
            }
            *out = narrow(value);
            let back: f32 = (*out).into();
            if back.to_bits() != value.to_bits() && (back, value) != (0.0, -0.0) {
                let element = self.element;
                return Err(VectorError::NotRepresentable { component, value, element });
            }
        }
        self.check_direction(&out[..n])
    }

    fn encode_same<T: bytemuck::Pod + PartialEq>(
        &self,
        vector: &[T],
        row: &mut [Block],
    ) -> Result<(), VectorError> {
        let out = cast_slice_mut::<_, T>(row);
        out[..vector.len()].copy_from_slice(vector);
        out[vector.len()..].fill(T::zeroed());
        self.check_direction(vector)
    }

    fn check_direction<T: bytemuck::Pod + PartialEq>(
        &self,
        vector: &[T],
    ) -> Result<(), VectorError> {
        if self.metric == Metric::Cosine && vector.iter().all(|x| *x == T::zeroed()) {
            return Err(VectorError::ZeroNorm);
        }
        Ok(())
    }

    /// Copies packed bits and clears those beyond the dimension, because they must not count as differences.
    fn encode_bits(&self, bits: &[u8], row: &mut [Block]) {
        let out = cast_slice_mut::<_, u8>(row);
        out[..bits.len()].copy_from_slice(bits);
        out[bits.len()..].fill(0);
        if !self.dimension.is_multiple_of(8) {
            out[self.dimension / 8] &= (1 << (self.dimension % 8)) - 1;
        }
    }
}

/// Writes the components of a vector of unit length into a row, unless its elements are others or the square of the length is off by more
/// than `off`.
#[cfg(feature = "json")]
fn keep<T: bytemuck::Pod>(
    vector: &[f32],
    row: &mut [Block],
    narrow: impl Fn(f32) -> T,
    widen: impl Fn(T) -> f32,
    off: f64,
) {
    let is_exact = vector.iter().all(|&x| widen(narrow(x)).to_bits() == x.to_bits());
    if is_exact && (sum_of_squares(vector) - 1.0).abs() <= off {
        for (out, &x) in cast_slice_mut::<_, T>(row).iter_mut().zip(vector) {
            *out = narrow(x);
        }
    }
}

/// Restores the length of a row of halves, which rounding changed, to 1 or barely more: the nearest halves above or
/// below replace some of its components. So the distance of a vector from itself is 0.
fn even_out<H: Half>(values: &[f32], scale: f64, row: &mut [H]) {
    let square = |half: H| f64::from(half.widen()) * f64::from(half.widen());
    let mut sum: f64 = row.iter().map(|&half| square(half)).sum();
    let grows = sum < 1.0;
    for (half, &value) in row.iter_mut().zip(values) {
        if grows && sum >= 1.0 {
            return;
        }
        let wanted = (f64::from(value) * scale).abs();
        let held = f64::from(half.widen()).abs();
        let other = if grows && held < wanted {
            half.longer()
        } else if !grows && held > wanted {
            half.shorter()
        } else {
            continue;
        };
        let changed = sum + square(other) - square(*half);
        if grows || changed >= 1.0 {
            (*half, sum) = (other, changed);
        }
    }
}

/// Scales to unit length. The sum is in `f64`, in which the squares of `f32` cannot overflow.
pub(super) fn normalize(values: &mut [f32]) -> Result<(), VectorError> {
    let square = sum_of_squares(values);
    if square == 0.0 {
        return Err(VectorError::ZeroNorm);
    }
    let scale = 1.0 / square.sqrt();
    if (f64::from(f32::MIN_POSITIVE)..f64::from(f32::MAX)).contains(&scale) {
        let scale = scale as f32;
        for value in values {
            *value *= scale;
        }
    } else {
        for value in values {
            *value = (f64::from(*value) * scale) as f32;
        }
    }
    Ok(())
}
