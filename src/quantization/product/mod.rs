//! Product quantization: a vector is cut into parts, and each part is replaced by the number of
//! the nearest of a few centroids.

mod builder;
mod fast_scan;
mod kernel;
mod query;
#[cfg(test)]
mod tests;

pub use builder::ProductQuantizerBuilder;
pub use fast_scan::PackedCodes;
pub(crate) use kernel::{ProductKernel, make_unit};
pub use query::ProductQuery;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;

use crate::error::VectorError;
use crate::metric::Metric;
use crate::quantization::admit::admit;
use crate::quantization::bytes::{Reader, Writer, wrong};
use crate::quantization::error::QuantizationError;
use crate::quantization::math::Centroids;
use crate::quantization::math::Rotation;
use crate::quantization::quantizer::{PreparedQuery, Quantizer, check_codes, check_output};
use crate::simd::{Isa, Simd, Task, run_on};

const MARK: [u8; 4] = *b"NFPQ";

/// Entries of the tables of distances between centroids above which these are computed anew for
/// every pair of codes: 16 MiB.
const MOST_PAIRS: usize = 1 << 22;

/// Product quantization (Jegou, Douze and Schmid, IEEE TPAMI 33, 2011): the vector is cut into
/// *sub-vectors*, and each is replaced by the number of the nearest of 256 centroids (8 bits) or
/// 16 (4 bits), which were found by k-means on training vectors.
///
/// The dimension need not be a multiple of the number of sub-vectors: the first ones are then
/// longer by one component. Vectors may be rotated at random before they are cut
/// ([`ProductQuantizerBuilder::rotated`]). Distances from a prepared query are sums of table entries, one for
/// each sub-vector. For 4 bits the tables fit registers, and [`ProductQuantizer::pack`] with
/// [`ProductQuery::scan`] compare 32 codes at a time.
///
/// | | cost |
/// |---|---|
/// | code | `sub_vectors * bits / 8` bytes, rounded up |
/// | quantize | `dimension * 2^bits` |
/// | prepare | `dimension * 2^bits` |
/// | distance | `sub_vectors` |
/// | memory | `4 * dimension * 2^bits` bytes; for distances between codes up to 16 MiB more |
///
/// ```
/// use nearfield::Metric;
/// use nearfield::quantization::{ProductQuantizer, Quantizer};
///
/// // A thousand points near a curve in ten dimensions.
/// let vectors: Vec<f32> =
///     (0..10_000).map(|i| ((i / 10) as f32 * 0.01 * (i % 10) as f32).sin()).collect();
/// let quantizer = ProductQuantizer::builder(10, Metric::L2).sub_vectors(3).train(&vectors)?;
/// assert_eq!(quantizer.code_len(), 3);
///
/// let code = quantizer.quantize(&vectors[..10])?;
/// let back = quantizer.dequantize(&code)?;
/// assert!(back.iter().zip(&vectors).all(|(a, b)| (a - b).abs() < 0.3));
///
/// let codes = quantizer.quantize_batch(&vectors)?;
/// let mut distances = vec![0.0; 1000];
/// quantizer.query(&vectors[70..80])?.distances(&codes, &mut distances)?;
/// # use nearfield::quantization::PreparedQuery;
/// assert!(distances[7] < distances[500]);
/// # Ok::<(), nearfield::quantization::QuantizationError>(())
/// ```
pub struct ProductQuantizer {
    metric: Metric,
    dimension: usize,
    bits: u32,
    rotation: Option<(u64, Rotation)>,
    parts: Vec<Part>,
    /// Distances between centroids, computed at their first use.
    pairs: OnceLock<Vec<f32>>,
    isa: Isa,
}

/// One sub-vector: its components, and the centroids that may replace it.
#[derive(Debug, Clone, PartialEq)]
struct Part {
    range: Range<usize>,
    centroids: Centroids,
}

/// Returns the components of each sub-vector: the first sub-vectors are longer by one component if the split is not even.
fn split(dimension: usize, sub_vectors: usize) -> impl Iterator<Item = Range<usize>> {
    let (length, longer) = (dimension / sub_vectors, dimension % sub_vectors);
    (0..sub_vectors).map(move |i| {
        let start = i * length + i.min(longer);
        start..start + length + usize::from(i < longer)
    })
}

impl ProductQuantizer {
    /// Starts the choices for vectors of `dimension` components.
    pub fn builder(dimension: usize, metric: Metric) -> ProductQuantizerBuilder {
        ProductQuantizerBuilder::new(dimension, metric)
    }

    /// Returns the number of sub-vectors.
    pub fn sub_vectors(&self) -> usize {
        self.parts.len()
    }

    /// Returns the bits for each sub-vector: 4 or 8.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// Prepares a query: [`Quantizer::prepare`], with the type that can [`ProductQuery::scan`].
    ///
    /// # Errors
    ///
    /// [`QuantizationError::Vector`], as for [`Quantizer::quantize_into`].
    pub fn query(&self, query: &[f32]) -> Result<ProductQuery<'_>, QuantizationError> {
        Ok(ProductQuery::new(self, &self.admit(query)?))
    }

    /// Arranges codes of 4 bits, which are stored without gaps, for [`ProductQuery::scan`].
    ///
    /// # Errors
    ///
    /// [`QuantizationError::Parameter`] if this quantizer has 8 bits;
    /// [`QuantizationError::CodeLength`] if the bytes are no whole number of codes.
    pub fn pack(&self, codes: &[u8]) -> Result<PackedCodes, QuantizationError> {
        if self.bits != 4 {
            let value = self.bits.to_string();
            return Err(QuantizationError::Parameter { name: "bits", value, allowed: "4" });
        }
        let code_len = self.code_len();
        check_codes(codes, code_len, codes.len().div_ceil(code_len))?;
        Ok(PackedCodes::new(self.sub_vectors(), codes))
    }

    /// Returns whether vectors are rotated before they are cut.
    pub fn is_rotated(&self) -> bool {
        self.rotation.is_some()
    }

    /// Returns the vector ready to be cut: admitted and rotated.
    fn admit<'a>(&self, vector: &'a [f32]) -> Result<Cow<'a, [f32]>, VectorError> {
        let vector = admit(vector, self.dimension, self.metric)?;
        let Some((_, rotation)) = &self.rotation else { return Ok(vector) };
        let mut rotated = vector.into_owned();
        rotated.resize(rotation.len(), 0.0);
        rotation.apply(&mut rotated);
        Ok(Cow::Owned(rotated))
    }

    /// Writes the code of a vector ready to be cut. Returns the squared distance of the vector from its decoded code.
    pub(crate) fn encode(&self, vector: &[f32], code: &mut [u8]) -> f32 {
        run_on(self.isa, Encode { quantizer: self, vector, code })
    }

    /// [`Quantizer::quantize_into`] with the result of [`Self::encode`].
    pub(crate) fn quantize_measured(
        &self,
        vector: &[f32],
        code: &mut [u8],
    ) -> Result<f32, QuantizationError> {
        check_codes(code, self.code_len(), 1)?;
        Ok(self.encode(&self.admit(vector)?, code))
    }

    /// Returns the bytes of the centroids, and of their distances if these were computed.
    pub(crate) fn bytes(&self) -> usize {
        let components: usize = self.parts.iter().map(|part| part.range.len()).sum();
        let pairs = self.pairs.get().map_or(0, Vec::capacity);
        ((components << self.bits) + pairs) * size_of::<f32>()
    }

    /// Returns the number of centroids for each sub-vector.
    fn centroids(&self) -> usize {
        1 << self.bits
    }

    /// Returns the centroid that `code` names for a sub-vector.
    fn choice(&self, code: &[u8], part: usize) -> usize {
        let byte =
            if self.bits == 8 { code[part] } else { code[part / 2] >> (4 * (part % 2)) & 15 };
        usize::from(byte)
    }

    /// Returns the components of the centroids that `code` names, before any rotation is undone.
    fn points<'a>(&'a self, code: &'a [u8]) -> impl Iterator<Item = f32> + 'a {
        let parts = self.parts.iter().enumerate();
        parts.flat_map(|(i, part)| part.centroids.point(self.choice(code, i)))
    }

    /// Returns the part of two centroids of one sub-vector in the distance.
    fn pair(&self, part: &Part, a: usize, b: usize) -> f32 {
        let both = part.centroids.point(a).zip(part.centroids.point(b));
        match self.metric {
            Metric::InnerProduct => -both.map(|(a, b)| a * b).sum::<f32>(),
            Metric::Cosine => 0.5 * both.map(|(a, b)| (a - b) * (a - b)).sum::<f32>(),
            _ => both.map(|(a, b)| (a - b) * (a - b)).sum(),
        }
    }

    /// Returns [`Self::pair`] of all pairs, part after part. Returns an empty slice if the pairs are too many.
    fn pairs(&self) -> &[f32] {
        let count = self.centroids();
        self.pairs.get_or_init(|| {
            if self.parts.len() * count * count > MOST_PAIRS {
                return Vec::new();
            }
            let numbers = move || (0..count).flat_map(move |a| (0..count).map(move |b| (a, b)));
            let pairs = |part| numbers().map(move |(a, b)| self.pair(part, a, b));
            self.parts.iter().flat_map(pairs).collect()
        })
    }
}

impl Quantizer for ProductQuantizer {
    fn metric(&self) -> Metric {
        self.metric
    }

    fn dimension(&self) -> usize {
        self.dimension
    }

    fn code_len(&self) -> usize {
        (self.parts.len() * self.bits as usize).div_ceil(8)
    }

    fn quantize_into(&self, vector: &[f32], code: &mut [u8]) -> Result<(), QuantizationError> {
        self.quantize_measured(vector, code).map(drop)
    }

    fn dequantize_into(&self, code: &[u8], vector: &mut [f32]) -> Result<(), QuantizationError> {
        check_codes(code, self.code_len(), 1)?;
        check_output(vector.len(), self.dimension)?;
        let points = self.points(code);
        if let Some((_, rotation)) = &self.rotation {
            let mut rotated: Vec<f32> = points.collect();
            rotation.invert(&mut rotated);
            vector.copy_from_slice(&rotated[..vector.len()]);
        } else {
            vector.iter_mut().zip(points).for_each(|(x, component)| *x = component);
        }
        Ok(())
    }

    fn distance(&self, a: &[u8], b: &[u8]) -> Result<f32, QuantizationError> {
        check_codes(a, self.code_len(), 1)?;
        check_codes(b, self.code_len(), 1)?;
        let choices = |i| (self.choice(a, i), self.choice(b, i));
        let (pairs, count) = (self.pairs(), self.centroids());
        if pairs.is_empty() {
            let parts = self.parts.iter().enumerate();
            return Ok(parts.map(|(i, part)| self.pair(part, choices(i).0, choices(i).1)).sum());
        }
        let tables = pairs.chunks_exact(count * count).enumerate();
        Ok(tables.map(|(i, table)| table[choices(i).0 * count + choices(i).1]).sum())
    }

    fn prepare<'a>(
        &'a self,
        query: &[f32],
    ) -> Result<Box<dyn PreparedQuery + 'a>, QuantizationError> {
        Ok(Box::new(self.query(query)?))
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new(MARK, self.dimension, self.metric);
        writer.u32(self.parts.len() as u32);
        writer.u32(self.bits);
        writer.u32(u32::from(self.rotation.is_some()));
        writer.u64(self.rotation.as_ref().map_or(0, |&(seed, _)| seed));
        for part in &self.parts {
            for i in 0..part.centroids.count() {
                part.centroids.point(i).for_each(|x| writer.f32(x));
            }
        }
        writer.finish()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, QuantizationError> {
        let mut reader = Reader::new(MARK, bytes)?;
        let (dimension, metric) = (reader.dimension, reader.metric);
        let (sub_vectors, bits) = (reader.u32()? as usize, reader.u32()?);
        let (is_rotated, seed) = (reader.flag()?, reader.u64()?);
        if sub_vectors == 0 || sub_vectors > dimension {
            return wrong("the number of sub-vectors is out of range");
        }
        if bits != 4 && bits != 8 {
            return wrong("the number of bits is neither 4 nor 8");
        }
        let rotation = is_rotated.then(|| (seed, Rotation::new(dimension, seed, Isa::detect())));
        let length = rotation.as_ref().map_or(dimension, |(_, rotation)| rotation.len());
        let points = reader.components(length << bits)?;
        reader.finish()?;
        let parts = split(length, sub_vectors).map(|range| {
            let points = &points[range.start << bits..range.end << bits];
            Part { centroids: Centroids::new(range.len(), points), range }
        });
        Ok(Self::new(metric, dimension, bits, rotation, parts.collect()))
    }
}

impl ProductQuantizer {
    fn new(
        metric: Metric,
        dimension: usize,
        bits: u32,
        rotation: Option<(u64, Rotation)>,
        parts: Vec<Part>,
    ) -> Self {
        let (pairs, isa) = (OnceLock::new(), Isa::detect());
        Self { metric, dimension, bits, rotation, parts, pairs, isa }
    }
}

impl fmt::Debug for ProductQuantizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProductQuantizer")
            .field("dimension", &self.dimension)
            .field("metric", &self.metric)
            .field("sub_vectors", &self.parts.len())
            .field("bits", &self.bits)
            .field("rotated", &self.is_rotated())
            .finish_non_exhaustive()
    }
}

/// Writes the code of a vector.
struct Encode<'a> {
    quantizer: &'a ProductQuantizer,
    vector: &'a [f32],
    code: &'a mut [u8],
}

impl Task for Encode<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> f32 {
        let Self { quantizer, vector, code } = self;
        code.fill(0);
        let mut error = 0.0;
        for (i, part) in quantizer.parts.iter().enumerate() {
            let [(nearest, square)] = part.centroids.nearest([&vector[part.range.clone()]]);
            error += square;
            if quantizer.bits == 8 {
                code[i] = nearest as u8;
            } else {
                code[i / 2] |= (nearest as u8) << (4 * (i % 2));
            }
        }
        error
    }
}
