//! Codes of residuals, which are vectors less their centroids.

use std::collections::TryReserveError;

use super::code_list::CodeList;
use crate::error::IndexError;
use crate::index::ivf::builder::{ListCoding, ListSettings};
use crate::metric::Metric;
use crate::quantization::{
    Coder, Coding, PackedCodes, PreparedQuery, ProductQuantizer, ProductQuery, QuantizationError,
    Quantizer, RabitqQuantizer, RabitqQuery,
};
use crate::simd::Isa;

/// A quantizer of residuals. It estimates inner products under every metric of the index: so a
/// query is prepared once for all lists that share a base.
#[derive(Debug)]
pub(in crate::index::ivf) enum Codec {
    /// The factor that makes products unbiased; `None` in files of version 1, whose residuals were
    /// coded at their own length.
    Product(ProductQuantizer, Option<f32>),
    Rabitq(RabitqQuantizer),
}

/// The result of coding a residual, besides the code.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::index::ivf) struct Encoded {
    /// The power of two that the code is multiplied by, as the exponent of an `f32`.
    exponent: u8,
    /// Squared error of the code, as estimates use it.
    pub(in crate::index::ivf) error: f32,
}

/// Converts the distance by a code into an estimate.
#[derive(Debug, Clone, Copy)]
pub(in crate::index::ivf) struct Formula {
    /// Added to all estimates of a list.
    pub(in crate::index::ivf) bias: f32,
    /// Factor of a code's term.
    pub(in crate::index::ivf) slope: f32,
    /// Factor of a code's distance.
    pub(in crate::index::ivf) weight: f32,
    /// Whether the lowest bits of a term are an exponent.
    pub(in crate::index::ivf) has_exponents: bool,
}

/// Bounds of the errors of estimates.
#[derive(Debug, Clone, Copy)]
pub(in crate::index::ivf) struct Spread {
    /// Multiples of the deviation by which an estimate may be too large.
    pub(in crate::index::ivf) deviations: f32,
    /// The least variance that measured errors show, in squares of the expected deviation.
    pub(in crate::index::ivf) least_variance: f32,
}

/// Bits of a term that hold an exponent.
const EXPONENT: u32 = 0xFF;

impl Formula {
    /// Returns the estimate by the distance of a code.
    #[inline(always)]
    pub(in crate::index::ivf) fn estimate(&self, term: f32, distance: f32) -> f32 {
        let (term, factor) = if self.has_exponents { unpack(term) } else { (term, 1.0) };
        self.bias + (self.slope * term + self.weight * factor * distance)
    }

    /// Replaces the distances of codes by estimates.
    pub(in crate::index::ivf) fn estimate_all(&self, terms: &[f32], distances: &mut [f32]) {
        let Self { bias, slope, weight, .. } = *self;
        if self.has_exponents {
            for (distance, &term) in distances.iter_mut().zip(terms) {
                let (term, factor) = unpack(term);
                *distance = bias + (slope * term + weight * factor * *distance);
            }
        } else {
            for (distance, term) in distances.iter_mut().zip(terms) {
                *distance = bias + (slope * term + weight * *distance);
            }
        }
    }
}

/// Returns a term without the exponent, and the power of two that the exponent encodes.
#[inline(always)]
fn unpack(term: f32) -> (f32, f32) {
    let bits = term.to_bits();
    (f32::from_bits(bits & !EXPONENT), f32::from_bits((bits & EXPONENT) << 23))
}

/// Scales a residual by a power of two to a length of .71 to 1.42. Returns the exponent of its
/// reciprocal; 0 if the residual is too short for that.
fn scale(residual: &mut [f32]) -> u8 {
    let square: f64 = residual.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let length = (square.sqrt() * std::f64::consts::SQRT_2) as f32;
    // The sign is positive, and components are bounded.
    let exponent = (length.to_bits() >> 23) as u8;
    let factor = if exponent == 0 {
        0.0
    } else {
        f32::from_bits((254 - u32::from(exponent.min(253))) << 23)
    };
    for x in residual {
        *x *= factor;
    }
    exponent
}

/// A query prepared for the codes of all lists.
#[derive(Debug)]
pub(in crate::index::ivf) enum Prepared<'a> {
    Product(ProductQuery<'a>),
    Rabitq(RabitqQuery<'a>),
}

impl Codec {
    /// Fits the quantizer to residuals, given one after the other.
    pub(in crate::index::ivf) fn train(
        coding: ListCoding,
        sub_vectors: Option<usize>,
        dimension: usize,
        seed: u64,
        mut residuals: Vec<f32>,
    ) -> Result<Option<Self>, IndexError> {
        if coding == ListCoding::Pq4 {
            residuals.chunks_exact_mut(dimension).for_each(|residual| _ = scale(residual));
        }
        let residuals = &residuals;
        let rabitq = |bits| {
            let builder = RabitqQuantizer::builder(dimension, Metric::InnerProduct);
            Ok(Some(Self::Rabitq(builder.bits(bits).seed(seed).train(residuals)?)))
        };
        match coding {
            ListCoding::Vectors => Ok(None),
            ListCoding::Pq4 => {
                let sub_vectors = sub_vectors.unwrap_or(dimension.div_ceil(2));
                let builder = ProductQuantizer::builder(dimension, Metric::InnerProduct);
                let builder = builder.bits(4).sub_vectors(sub_vectors).seed(seed);
                let quantizer = builder.train(residuals)?;
                let factor = unbiasing(&quantizer, residuals)?;
                Ok(Some(Self::Product(quantizer, Some(factor))))
            }
            ListCoding::Rabitq1 => rabitq(1),
            ListCoding::Rabitq2 => rabitq(2),
            ListCoding::Rabitq4 => rabitq(4),
        }
    }

    /// Returns the quantizer that [`Self::to_bytes`] wrote as these bytes, with this fingerprint, for an
    /// index of these settings. Returns `None` if it did not.
    pub(in crate::index::ivf) fn from_bytes(
        settings: &ListSettings,
        fingerprint: u64,
        bytes: &[u8],
        unbiasing: Option<f32>,
    ) -> Option<Self> {
        let ListSettings { coding, sub_vectors, dimension, .. } = *settings;
        let coding = if coding == ListCoding::Pq4 {
            let sub_vectors = sub_vectors.unwrap_or(dimension.div_ceil(2)) as u32;
            Coding::Product { sub_vectors, bits: 4 }
        } else {
            Coding::Rabitq { bits: coding.bits()? }
        };
        let coder =
            Coder::from_bytes(bytes, dimension, Metric::InnerProduct, coding, Isa::detect());
        let codec = match coder? {
            Coder::Product(quantizer) => Self::Product(quantizer, unbiasing),
            Coder::Rabitq(quantizer) => Self::Rabitq(quantizer),
            Coder::Scalar(_) => return None,
        };
        (codec.quantizer().fingerprint() == fingerprint).then_some(codec)
    }

    /// Returns the quantizer as bytes, and its fingerprint.
    pub(in crate::index::ivf) fn to_bytes(&self) -> (u64, Vec<u8>) {
        let quantizer = self.quantizer();
        (quantizer.fingerprint(), quantizer.to_bytes())
    }

    fn quantizer(&self) -> &dyn Quantizer {
        match self {
            Self::Product(quantizer, _) => quantizer,
            Self::Rabitq(quantizer) => quantizer,
        }
    }

    /// Returns the factor that makes the products of product codes unbiased, if they are scaled.
    pub(in crate::index::ivf) fn unbiasing(&self) -> Option<f32> {
        match self {
            Self::Product(_, unbiasing) => *unbiasing,
            Self::Rabitq(_) => None,
        }
    }

    /// Returns the formula of estimates in a list with this bias, if terms have the factor `slope` and
    /// exact products `weight`.
    pub(in crate::index::ivf) fn formula(&self, bias: f32, slope: f32, weight: f32) -> Formula {
        let unbiasing = self.unbiasing();
        let weight = weight * unbiasing.unwrap_or(1.0);
        Formula { bias, slope, weight, has_exponents: unbiasing.is_some() }
    }

    /// Returns the error of a query's own rounding, as a share of its length.
    pub(in crate::index::ivf) fn query_error(&self) -> f32 {
        match self {
            // The error of tables of eight bits.
            Self::Product(..) => 0.006,
            // The errors of the best uniform quantizers of a normal distribution, with eight bits and four.
            Self::Rabitq(quantizer) if quantizer.bits() == 4 => 0.0093,
            Self::Rabitq(_) => 0.107,
        }
    }

    /// Returns the bounds of the errors of estimates by the codes.
    pub(in crate::index::ivf) fn spread(&self) -> Spread {
        match self {
            // Product codes are not rotated, and unbiased over all vectors only: errors of near copies are alike, so
            // measured errors may say little about others.
            Self::Product(..) => Spread { deviations: 5.0, least_variance: 1.0 },
            Self::Rabitq(_) => Spread { deviations: 4.0, least_variance: 0.0 },
        }
    }

    /// Writes the code of a residual, which it may scale, to `code`.
    pub(in crate::index::ivf) fn encode(
        &self,
        residual: &mut [f32],
        code: &mut Vec<u8>,
    ) -> Result<Encoded, IndexError> {
        code.resize(self.quantizer().code_len(), 0);
        Ok(match self {
            Self::Product(quantizer, Some(unbiasing)) => {
                let exponent = scale(residual);
                let error = quantizer.quantize_measured(residual, code)?;
                let factor = f32::from_bits(u32::from(exponent) << 23);
                Encoded { exponent, error: error * factor * factor * unbiasing }
            }
            Self::Product(quantizer, None) => {
                Encoded { exponent: 0, error: quantizer.quantize_measured(residual, code)? }
            }
            Self::Rabitq(quantizer) => {
                Encoded { exponent: 0, error: quantizer.quantize_measured(residual, code)? }
            }
        })
    }

    /// Returns the term with the exponent in its lowest bits.
    pub(in crate::index::ivf) fn pack(&self, term: f32, encoded: Encoded) -> f32 {
        if self.unbiasing().is_none() {
            return term;
        }
        let rounded = term.to_bits().saturating_add(EXPONENT / 2 + 1) & !EXPONENT;
        f32::from_bits(rounded | u32::from(encoded.exponent))
    }

    /// Writes a residual near to those that have this code and term.
    pub(in crate::index::ivf) fn decode(&self, code: &[u8], term: f32, residual: &mut Vec<f32>) {
        let quantizer = self.quantizer();
        residual.clear();
        residual.resize(quantizer.dimension(), 0.0);
        let decoded = quantizer.dequantize_into(code, residual);
        debug_assert!(decoded.is_ok(), "a code of this quantizer");
        if self.unbiasing().is_some() {
            let (_, factor) = unpack(term);
            for x in residual {
                *x *= factor;
            }
        }
    }

    /// Prepares a query.
    pub(in crate::index::ivf) fn prepare(&self, query: &[f32]) -> Result<Prepared<'_>, IndexError> {
        Ok(match self {
            Self::Product(quantizer, _) => Prepared::Product(quantizer.query(query)?),
            Self::Rabitq(quantizer) => Prepared::Rabitq(quantizer.query(query)?),
        })
    }

    /// Returns the bytes of `len` codes in the form of [`CodeList::stored`].
    pub(in crate::index::ivf) fn stored_len(&self, len: usize) -> usize {
        match self {
            Self::Product(quantizer, _) => PackedCodes::stored_len(quantizer.sub_vectors(), len),
            Self::Rabitq(quantizer) => quantizer.code_len() * len,
        }
    }

    /// Returns the `len` codes that [`CodeList::stored`] returned as these bytes. Returns `None` if it did not.
    pub(in crate::index::ivf) fn restored(
        &self,
        len: usize,
        bytes: &[u8],
    ) -> Result<Option<CodeList>, TryReserveError> {
        match self {
            Self::Product(quantizer, _) => {
                let packed = PackedCodes::restored(quantizer.sub_vectors(), len, bytes)?;
                Ok(packed.map(CodeList::Packed))
            }
            Self::Rabitq(quantizer) => {
                let code_len = quantizer.code_len();
                let mut codes = bytes.chunks_exact(code_len);
                let sound = bytes.len() == self.stored_len(len)
                    && codes.all(|code| quantizer.is_code(code));
                if !sound {
                    return Ok(None);
                }
                let mut codes = Vec::new();
                codes.try_reserve_exact(bytes.len())?;
                codes.extend_from_slice(bytes);
                Ok(Some(CodeList::Plain(code_len, codes)))
            }
        }
    }

    /// Returns an empty list of codes.
    pub(in crate::index::ivf) fn list(&self) -> Result<CodeList, IndexError> {
        Ok(match self {
            Self::Product(quantizer, _) => CodeList::Packed(quantizer.pack(&[])?),
            Self::Rabitq(quantizer) => CodeList::Plain(quantizer.code_len(), Vec::new()),
        })
    }
}

/// Returns the factor by which products of residuals with their own codes are too small.
fn unbiasing(quantizer: &ProductQuantizer, residuals: &[f32]) -> Result<f32, IndexError> {
    let dimension = quantizer.dimension();
    let codes = quantizer.quantize_batch(residuals)?;
    let mut near = vec![0.0; dimension];
    let (mut squares, mut products) = (0.0_f64, 0.0_f64);
    let codes = codes.chunks_exact(quantizer.code_len());
    for (residual, code) in residuals.chunks_exact(dimension).zip(codes) {
        quantizer.dequantize_into(code, &mut near)?;
        for (&x, &y) in residual.iter().zip(&near) {
            squares += f64::from(x) * f64::from(x);
            products += f64::from(x) * f64::from(y);
        }
    }
    let factor = squares / products;
    // If all residuals are zero, so are products.
    Ok(if factor.is_finite() { factor.clamp(1.0, MOST_UNBIASING) as f32 } else { 1.0 })
}

/// Upper bound of [`unbiasing`]: a larger factor would amplify the noise of nearly useless codes.
pub(in crate::index::ivf) const MOST_UNBIASING: f64 = 4.0;

impl Prepared<'_> {
    /// Returns the estimated inner product of the query and a residual, negated.
    pub(in crate::index::ivf) fn distance(&self, code: &[u8]) -> Result<f32, IndexError> {
        Ok(match self {
            Self::Product(query) => query.distance(code)?,
            Self::Rabitq(query) => query.distance(code)?,
        })
    }

    /// Writes [`Self::distance`] of the codes of a list, from a position on, a multiple of 32, to all of
    /// `distances`.
    pub(in crate::index::ivf) fn scan(&self, codes: &CodeList, from: usize, distances: &mut [f32]) {
        let scanned = match (self, codes) {
            (Self::Product(query), CodeList::Packed(codes)) => {
                query.scan_from(codes, from, distances)
            }
            (Self::Rabitq(query), CodeList::Plain(len, codes)) => {
                query.distances(&codes[from * len..(from + distances.len()) * len], distances)
            }
            _ => {
                distances.fill(0.0);
                Ok(())
            }
        };
        debug_assert!(scanned.is_ok(), "codes of this quantizer, and a place for each");
    }
}

impl From<QuantizationError> for IndexError {
    fn from(error: QuantizationError) -> Self {
        match error {
            QuantizationError::Vector(source) => Self::Vector(source),
            QuantizationError::BatchVector { position, source } => {
                Self::BatchVector { position, source }
            }
            QuantizationError::TooFewVectors { needed, found } => {
                Self::TooFewVectors { needed, found }
            }
            QuantizationError::Parameter { name, value, allowed } => {
                Self::Parameter { name, value, allowed }
            }
            other => Self::Parameter {
                name: "quantization",
                value: other.to_string(),
                allowed: "codes of the index's own quantizer",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a product codec of 16 components, and residuals like those that it was fitted to.
    fn codec() -> (Codec, Vec<f32>) {
        let residuals: Vec<f32> = (0..16 * 400).map(|i| ((i * i) as f32 * 0.37).sin()).collect();
        let codec = Codec::train(ListCoding::Pq4, None, 16, 1, residuals.clone());
        (codec.unwrap().unwrap(), residuals)
    }

    #[test]
    fn codes_of_residuals_of_any_length_are_equally_precise() {
        let (codec, residuals) = codec();
        let (mut code, mut near) = (Vec::new(), Vec::new());
        for residual in residuals.chunks_exact(16).take(50) {
            let mut shares = Vec::new();
            for factor in [1.0, 1e-20, 3e-5, 0.4, 77.0, 1e12_f32] {
                let scaled: Vec<f32> = residual.iter().map(|x| x * factor).collect();
                let encoded = codec.encode(&mut scaled.clone(), &mut code).unwrap();
                let term = codec.pack(-0.75, encoded);
                let (kept, _) = unpack(term);
                assert!((kept + 0.75).abs() < 1e-5, "{kept}");
                codec.decode(&code, term, &mut near);
                let square = |a: &[f32], b: &[f32]| -> f64 {
                    a.iter().zip(b).map(|(&a, &b)| f64::from(a - b).powi(2)).sum()
                };
                let length = square(&scaled, &[0.0; 16]);
                shares.push(square(&scaled, &near) / length);
                let told = f64::from(encoded.error) / length;
                let factor = f64::from(codec.unbiasing().unwrap());
                assert!((told / factor - shares[shares.len() - 1]).abs() < 1e-3, "{told}");
            }
            assert!(shares.iter().all(|&share| share < 0.6), "{shares:?}");
        }
        // Zero has its own exponent, and is decoded as zero.
        let encoded = codec.encode(&mut [0.0; 16], &mut code).unwrap();
        assert_eq!(encoded.exponent, 0);
        codec.decode(&code, codec.pack(1.0, encoded), &mut near);
        assert_eq!(near, [0.0; 16]);
    }

    #[test]
    fn estimates_one_by_one_are_those_of_a_list() {
        let (codec, residuals) = codec();
        let mut code = Vec::new();
        let terms: Vec<f32> = residuals
            .chunks_exact(16)
            .take(70)
            .map(|residual| {
                let encoded = codec.encode(&mut residual.to_vec(), &mut code).unwrap();
                codec.pack(residual[0], encoded)
            })
            .collect();
        let formula = codec.formula(3.0, -0.5, 2.0);
        let distances: Vec<f32> = residuals[..70].to_vec();
        let mut all = distances.clone();
        formula.estimate_all(&terms, &mut all);
        for ((&term, &distance), estimate) in terms.iter().zip(&distances).zip(all) {
            assert_eq!(formula.estimate(term, distance).to_bits(), estimate.to_bits());
        }
    }
}
