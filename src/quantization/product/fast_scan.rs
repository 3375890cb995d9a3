//! Codes of 4 bits in blocks of 32, and tables that fit registers.

use std::collections::TryReserveError;

use crate::quantization::error::QuantizationError;
use crate::quantization::quantizer::check_codes;
use crate::simd::{Isa, Simd, Task, run_on};

/// Codes of a block.
const BLOCK: usize = 32;

/// Steps of four tables whose sums of bytes fit 16 bits: 256 times 255.
const STEPS: usize = 64;

/// Codes of 4 bits arranged for [`ProductQuery::scan`](super::ProductQuery::scan), made by
/// [`ProductQuantizer::pack`](super::ProductQuantizer::pack).
///
/// They are stored in blocks of 32, within which the choices for one sub-vector are neighbours. A
/// block takes `16 * sub_vectors` bytes, with the number of sub-vectors rounded up to a multiple
/// of four.
///
/// ```
/// use nearfield::Metric;
/// use nearfield::quantization::{ProductQuantizer, Quantizer};
///
/// let vectors: Vec<f32> = (0..8 * 100).map(|i| (i as f32).cos()).collect();
/// let quantizer = ProductQuantizer::builder(8, Metric::L2).bits(4).train(&vectors)?;
/// let mut packed = quantizer.pack(&[])?;
/// for vector in vectors.chunks(8) {
///     packed.push(&quantizer.quantize(vector)?)?;
/// }
/// assert_eq!(packed.len(), 100);
/// assert_eq!(packed, quantizer.pack(&quantizer.quantize_batch(&vectors)?)?);
/// # Ok::<(), nearfield::quantization::QuantizationError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedCodes {
    sub_vectors: usize,
    len: usize,
    /// For each block, `sub_vectors / 4` steps, rounded up, in the layout of `Simd::lookup`.
    steps: Vec<[u8; 64]>,
}

impl PackedCodes {
    /// Packs whole codes, in their order.
    pub(super) fn new(sub_vectors: usize, codes: &[u8]) -> Self {
        let code_len = sub_vectors.div_ceil(2);
        let steps = (codes.len() / code_len).div_ceil(BLOCK) * sub_vectors.div_ceil(4);
        let mut packed = Self { sub_vectors, len: 0, steps: Vec::with_capacity(steps) };
        for code in codes.chunks_exact(code_len) {
            packed.append(code);
        }
        packed
    }

    /// Returns the number of codes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the number of codes is zero.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the number of sub-vectors of each code.
    pub fn sub_vectors(&self) -> usize {
        self.sub_vectors
    }

    /// Adds a code at the end.
    ///
    /// # Errors
    ///
    /// [`QuantizationError::CodeLength`].
    pub fn push(&mut self, code: &[u8]) -> Result<(), QuantizationError> {
        check_codes(code, self.sub_vectors.div_ceil(2), 1)?;
        self.append(code);
        Ok(())
    }

    /// Returns the code at `position`. Returns `None` behind the last code.
    pub fn get(&self, position: usize) -> Option<Vec<u8>> {
        if position >= self.len {
            return None;
        }
        let mut code = vec![0; self.sub_vectors.div_ceil(2)];
        for part in 0..self.sub_vectors {
            let (byte, shift) = self.place(position, part);
            let nibble = self.steps.as_flattened()[byte] >> shift & 15;
            code[part / 2] |= nibble << (4 * (part % 2));
        }
        Some(code)
    }

    /// Replaces the code at `position`.
    ///
    /// # Errors
    ///
    /// [`QuantizationError::CodeLength`]; [`QuantizationError::Parameter`] if `position` is behind the last code.
    pub fn set(&mut self, position: usize, code: &[u8]) -> Result<(), QuantizationError> {
        check_codes(code, self.sub_vectors.div_ceil(2), 1)?;
        self.check_position(position)?;
        self.write(position, code);
        Ok(())
    }

    /// Removes the code at `position` and moves the last one to its place.
    ///
    /// # Errors
    ///
    /// [`QuantizationError::Parameter`] if no code has this position.
    pub fn swap_remove(&mut self, position: usize) -> Result<(), QuantizationError> {
        self.check_position(position)?;
        let last = self.len - 1;
        if let Some(code) = self.get(last).filter(|_| position < last) {
            self.write(position, &code);
        }
        // Places beyond the last code are zeros: `append` adds its bits to them.
        self.write(last, &vec![0; self.sub_vectors.div_ceil(2)]);
        self.len = last;
        self.steps.truncate(self.len.div_ceil(BLOCK) * self.sub_vectors.div_ceil(4));
        Ok(())
    }

    /// Returns the blocks as they are in memory, which is the same on every machine.
    pub(crate) fn stored(&self) -> &[u8] {
        self.steps.as_flattened()
    }

    /// Returns the number of bytes of `len` codes as [`Self::stored`] gives them.
    pub(crate) fn stored_len(sub_vectors: usize, len: usize) -> usize {
        len.div_ceil(BLOCK) * sub_vectors.div_ceil(4) * 64
    }

    /// Returns the `len` codes that [`Self::stored`] gave as these bytes. Returns `None` for other bytes.
    pub(crate) fn restored(
        sub_vectors: usize,
        len: usize,
        bytes: &[u8],
    ) -> Result<Option<Self>, TryReserveError> {
        let (steps, rest) = bytes.as_chunks::<64>();
        if !rest.is_empty() || bytes.len() != Self::stored_len(sub_vectors, len) {
            return Ok(None);
        }
        let mut packed = Self { sub_vectors, len, steps: Vec::new() };
        packed.steps.try_reserve_exact(steps.len())?;
        packed.steps.extend_from_slice(steps);
        // `append` adds its bits to zeros.
        let parts = sub_vectors.next_multiple_of(4);
        let vacant = (len..len.next_multiple_of(BLOCK)).any(|position| {
            (0..parts).any(|part| {
                let (byte, shift) = packed.place(position, part);
                packed.steps.as_flattened()[byte] >> shift & 15 != 0
            })
        });
        let beyond = !sub_vectors.is_multiple_of(4)
            && packed.steps.chunks_exact(parts / 4).any(|block| {
                let last = block.last().map_or(&[][..], |step| &step[16 * (sub_vectors % 4)..]);
                last.iter().any(|&byte| byte != 0)
            });
        Ok((!vacant && !beyond).then_some(packed))
    }

    /// Makes room for `additional` codes more, and for no others.
    pub(crate) fn reserve(&mut self, additional: usize) -> Result<(), TryReserveError> {
        let blocks = self.len.saturating_add(additional).div_ceil(BLOCK);
        let steps = blocks.saturating_mul(self.sub_vectors.div_ceil(4));
        self.steps.try_reserve_exact(steps.saturating_sub(self.steps.len()))
    }

    /// Gives back memory beyond `room` codes.
    pub(crate) fn shrink(&mut self, room: usize) {
        self.steps.shrink_to(room.div_ceil(BLOCK) * self.sub_vectors.div_ceil(4));
    }

    /// Returns the bytes of memory in use.
    pub(crate) fn bytes(&self) -> usize {
        self.steps.capacity() * 64
    }

    fn check_position(&self, position: usize) -> Result<(), QuantizationError> {
        if position < self.len {
            return Ok(());
        }
        let value = position.to_string();
        let allowed = "less than the number of codes";
        Err(QuantizationError::Parameter { name: "position", value, allowed })
    }

    /// Returns the byte, and the bit in it, at which the choice of a code for a sub-vector begins.
    fn place(&self, position: usize, part: usize) -> (usize, usize) {
        let step = position / BLOCK * self.sub_vectors.div_ceil(4) + part / 4;
        let within = position % BLOCK;
        (64 * step + 16 * (part % 4) + within % 16, 4 * (within / 16))
    }

    /// [`Self::set`] of a code that has the right length, at the position of a code.
    fn write(&mut self, position: usize, code: &[u8]) {
        for part in 0..self.sub_vectors {
            let nibble = code[part / 2] >> (4 * (part % 2)) & 15;
            let (byte, shift) = self.place(position, part);
            let byte = &mut self.steps.as_flattened_mut()[byte];
            *byte = *byte & !(15 << shift) | nibble << shift;
        }
    }

    /// [`Self::push`] of a code that has the right length.
    fn append(&mut self, code: &[u8]) {
        let steps = self.sub_vectors.div_ceil(4);
        let (block, place) = (self.len / BLOCK, self.len % BLOCK);
        self.steps.resize((block + 1) * steps, [0; 64]);
        let block = &mut self.steps[block * steps..];
        for part in 0..self.sub_vectors {
            let nibble = code[part / 2] >> (4 * (part % 2)) & 15;
            block[part / 4][16 * (part % 4) + place % 16] |= nibble << (4 * (place / 16));
        }
        self.len += 1;
    }
}

/// Tables of eight bits: an entry `e` has the value `least of its table + step * e`.
#[derive(Debug)]
pub(super) struct ScanTables {
    /// Four tables each; the last ones may be zeros.
    tables: Vec<[u8; 64]>,
    /// The sum of the least entries of all tables.
    bias: f32,
    step: f32,
    error: f32,
}

impl ScanTables {
    /// Rounds tables of sixteen entries each.
    pub(super) fn new(exact: &[[f32; 16]]) -> Self {
        let (mut widest, mut spreads, mut bias, mut magnitude) = (0.0_f32, 0.0, 0.0, 0.0);
        for table in exact {
            let (least, greatest) = ends(table);
            widest = widest.max(greatest - least);
            spreads += f64::from(greatest - least);
            bias += f64::from(least);
            magnitude += f64::from(least.abs() + greatest.abs());
        }
        let step = widest / 255.0;
        // Nearly equal entries become equal.
        let (step, scale) = if step.is_normal() { (step, 1.0 / step) } else { (0.0, 0.0) };
        let mut tables = vec![[0; 64]; exact.len().div_ceil(4)];
        for (bytes, table) in
            tables.as_flattened_mut().as_chunks_mut::<16>().0.iter_mut().zip(exact)
        {
            let (least, _) = ends(table);
            for (byte, entry) in bytes.iter_mut().zip(table) {
                *byte = ((entry - least) * scale + 0.5) as i32 as u8;
            }
        }
        // Each entry is off by half a step, and the sums by the rounding of their additions.
        let count = exact.len() as f64;
        let rounding = 2.0 * (count + 4.0) * f64::from(f32::EPSILON) * magnitude;
        let coarseness = if step > 0.0 { 0.5 * count * f64::from(step) } else { spreads };
        Self { tables, bias: bias as f32, step, error: (coarseness + rounding) as f32 }
    }

    pub(super) fn error(&self) -> f32 {
        self.error
    }

    /// Writes the distances to packed codes, starting with a code that begins a block.
    pub(super) fn scan(&self, isa: Isa, codes: &PackedCodes, from: usize, distances: &mut [f32]) {
        debug_assert!(from.is_multiple_of(BLOCK));
        let steps = &codes.steps[from / BLOCK * self.tables.len()..];
        run_on(isa, Scan { tables: self, steps, distances });
    }
}

/// Returns the least and the greatest entry. Not inlined: into a loop over tables, it becomes 30 KB of code.
#[inline(never)]
fn ends(table: &[f32; 16]) -> (f32, f32) {
    let (mut least, mut greatest) = (*table, *table);
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            let (a, b) = (least[i], least[i + half]);
            least[i] = if b < a { b } else { a };
            let (a, b) = (greatest[i], greatest[i + half]);
            greatest[i] = if a < b { b } else { a };
        }
    }
    (least[0], greatest[0])
}

struct Scan<'a> {
    tables: &'a ScanTables,
    steps: &'a [[u8; 64]],
    distances: &'a mut [f32],
}

impl Task for Scan<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let ScanTables { ref tables, bias, step, .. } = *self.tables;
        let blocks = self.steps.chunks_exact(tables.len());
        for (distances, codes) in self.distances.chunks_mut(BLOCK).zip(blocks) {
            let mut sums = [0_u32; BLOCK];
            for (tables, codes) in tables.chunks(STEPS).zip(codes.chunks(STEPS)) {
                let mut acc = simd.lookup_zero();
                for (tables, codes) in tables.iter().zip(codes) {
                    acc = simd.lookup(acc, tables, codes);
                }
                for (sum, part) in sums.iter_mut().zip(simd.lookup_sums(acc)) {
                    *sum += u32::from(part);
                }
            }
            let mut block = [0.0; BLOCK];
            for (distance, sum) in block.iter_mut().zip(sums) {
                *distance = bias + step * sum as f32;
            }
            distances.copy_from_slice(&block[..distances.len()]);
        }
    }
}
