//! A query as tables: the part of each centroid of each sub-vector in the distance.

use std::fmt;

use super::fast_scan::{PackedCodes, ScanTables};
use super::{ProductQuantizer, Quantizer};
use crate::metric::Metric;
use crate::quantization::error::QuantizationError;
use crate::quantization::quantizer::{PreparedQuery, check_codes, check_output};
use crate::simd::{Simd, Task, run_on};

/// A query prepared by [`ProductQuantizer::query`].
///
/// ```
/// use nearfield::Metric;
/// use nearfield::quantization::{PreparedQuery, ProductQuantizer, Quantizer};
///
/// let vectors: Vec<f32> = (0..8 * 500).map(|i| (i as f32).sin()).collect();
/// let quantizer = ProductQuantizer::builder(8, Metric::L2).bits(4).train(&vectors)?;
/// let codes = quantizer.quantize_batch(&vectors)?;
/// let query = quantizer.query(&vectors[..8])?;
///
/// let mut distances = vec![0.0; 500];
/// query.distances(&codes, &mut distances)?;
/// // 32 codes at a time, with tables of eight bits.
/// let mut scanned = vec![0.0; 500];
/// query.scan(&quantizer.pack(&codes)?, &mut scanned)?;
/// for (a, b) in distances.iter().zip(&scanned) {
///     assert!((a - b).abs() <= query.scan_error());
/// }
/// # Ok::<(), nearfield::quantization::QuantizationError>(())
/// ```
pub struct ProductQuery<'a> {
    quantizer: &'a ProductQuantizer,
    /// `2^bits` entries for each sub-vector; for 4 bits an even number of tables, of which the
    /// last may be zeros.
    tables: Vec<f32>,
    /// The same in eight bits, for codes of 4 bits.
    scan: Option<ScanTables>,
}

impl<'a> ProductQuery<'a> {
    /// Fills the tables from a vector ready to be cut.
    pub(super) fn new(quantizer: &'a ProductQuantizer, query: &[f32]) -> Self {
        let mut tables = vec![0.0; quantizer.table_entries()];
        quantizer.write_tables(query, &mut tables);
        let (sixteens, _) = tables.as_chunks::<16>();
        let scan =
            (quantizer.bits == 4).then(|| ScanTables::new(&sixteens[..quantizer.parts.len()]));
        Self { quantizer, tables, scan }
    }

    /// Writes the estimated distances to all packed codes, in order, at several times the speed of
    /// [`PreparedQuery::distances`]: table entries are rounded to eight bits, so each distance may
    /// differ by [`ProductQuery::scan_error`]. Allocates nothing.
    ///
    /// This is the "fast scan" of Andre, Kermarrec and Le Scouarnec (VLDB 9, 2015), with blocks of
    /// 32 codes and sums of 16 bits.
    ///
    /// # Errors
    ///
    /// [`QuantizationError::Parameter`] if the quantizer has 8 bits or packs other codes;
    /// [`QuantizationError::OutputLength`] if `distances` has another length than the packed codes.
    pub fn scan(
        &self,
        codes: &PackedCodes,
        distances: &mut [f32],
    ) -> Result<(), QuantizationError> {
        let tables = self.scan_tables(codes)?;
        check_output(distances.len(), codes.len())?;
        tables.scan(self.quantizer.isa, codes, 0, distances);
        Ok(())
    }

    /// [`Self::scan`] of the codes from a position on, a multiple of 32, up to the length of `distances`.
    pub(crate) fn scan_from(
        &self,
        codes: &PackedCodes,
        from: usize,
        distances: &mut [f32],
    ) -> Result<(), QuantizationError> {
        let tables = self.scan_tables(codes)?;
        let rest = codes.len().saturating_sub(from);
        check_output(distances.len(), rest.min(distances.len()))?;
        tables.scan(self.quantizer.isa, codes, from, distances);
        Ok(())
    }

    /// Returns the tables for packed codes, if these are of the quantizer.
    fn scan_tables(&self, codes: &PackedCodes) -> Result<&ScanTables, QuantizationError> {
        let Some(tables) = &self.scan else {
            let value = self.quantizer.bits.to_string();
            return Err(QuantizationError::Parameter { name: "bits", value, allowed: "4" });
        };
        if codes.sub_vectors() != self.quantizer.parts.len() {
            let value = codes.sub_vectors().to_string();
            let allowed = "those of the quantizer";
            return Err(QuantizationError::Parameter { name: "sub_vectors", value, allowed });
        }
        Ok(tables)
    }

    /// Returns the greatest difference between a distance of [`ProductQuery::scan`] and that of [`PreparedQuery::distance`]; zero for 8
    /// bits, which cannot be scanned.
    pub fn scan_error(&self) -> f32 {
        self.scan.as_ref().map_or(0.0, ScanTables::error)
    }
}

impl PreparedQuery for ProductQuery<'_> {
    fn distance(&self, code: &[u8]) -> Result<f32, QuantizationError> {
        check_codes(code, self.quantizer.code_len(), 1)?;
        let [sum] = sums(self.quantizer.bits, &self.tables, [code]);
        Ok(sum)
    }

    fn distances(&self, codes: &[u8], distances: &mut [f32]) -> Result<(), QuantizationError> {
        let code_len = self.quantizer.code_len();
        check_codes(codes, code_len, distances.len())?;
        let (fours, rest) = distances.as_chunks_mut::<4>();
        let (four_codes, codes) = codes.split_at(4 * code_len * fours.len());
        for (four, codes) in fours.iter_mut().zip(four_codes.chunks_exact(4 * code_len)) {
            let (ab, cd) = codes.split_at(2 * code_len);
            let (a, b) = ab.split_at(code_len);
            let (c, d) = cd.split_at(code_len);
            *four = sums(self.quantizer.bits, &self.tables, [a, b, c, d]);
        }
        for (one, code) in rest.iter_mut().zip(codes.chunks_exact(code_len)) {
            [*one] = sums(self.quantizer.bits, &self.tables, [code]);
        }
        Ok(())
    }
}

impl ProductQuantizer {
    /// Returns the number of entries of all tables: `2^bits` for each sub-vector, and for 4 bits those of an even number of tables.
    pub(super) fn table_entries(&self) -> usize {
        let parts = self.parts.len();
        let padded = if self.bits == 4 { parts.next_multiple_of(2) } else { parts };
        padded * self.centroids()
    }

    /// Writes the tables of a query, a vector ready to be cut; the last table may stay unchanged.
    pub(super) fn write_tables(&self, query: &[f32], tables: &mut [f32]) {
        run_on(self.isa, Fill { quantizer: self, query, tables });
    }
}

/// Returns the sums of the entries of `tables` that `codes` of `bits` bits choose, each in the order of sub-vectors.
#[inline(always)]
pub(super) fn sums<const N: usize>(bits: u32, tables: &[f32], codes: [&[u8]; N]) -> [f32; N] {
    let mut sums = [0.0; N];
    if bits == 8 {
        let (tables, _) = tables.as_chunks::<256>();
        let codes = codes.map(|code| &code[..tables.len()]);
        for (i, table) in tables.iter().enumerate() {
            for (sum, code) in sums.iter_mut().zip(codes) {
                *sum += table[usize::from(code[i])];
            }
        }
    } else {
        let (tables, _) = tables.as_chunks::<32>();
        let codes = codes.map(|code| &code[..tables.len()]);
        for (i, table) in tables.iter().enumerate() {
            for (sum, code) in sums.iter_mut().zip(codes) {
                *sum += table[usize::from(code[i] & 15)];
                *sum += table[usize::from(16 | code[i] >> 4)];
            }
        }
    }
    sums
}

impl fmt::Debug for ProductQuery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProductQuery").field("quantizer", &self.quantizer).finish_non_exhaustive()
    }
}

/// Computes the tables.
struct Fill<'a> {
    quantizer: &'a ProductQuantizer,
    query: &'a [f32],
    tables: &'a mut [f32],
}

impl Task for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { quantizer, query, tables } = self;
        let (sixteens, _) = tables.as_chunks_mut::<16>();
        let blocks = quantizer.centroids() / 16;
        for (part, table) in quantizer.parts.iter().zip(sixteens.chunks_exact_mut(blocks)) {
            let query = &query[part.range.clone()];
            if quantizer.metric == Metric::InnerProduct {
                part.centroids.products(query, table);
            } else {
                part.centroids.squares(query, table);
            }
        }
        let factor = match quantizer.metric {
            Metric::InnerProduct => -1.0,
            Metric::Cosine => 0.5,
            _ => 1.0,
        };
        for x in sixteens.as_flattened_mut() {
            *x *= factor;
        }
    }
}
