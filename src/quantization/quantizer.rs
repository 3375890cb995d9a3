//! The traits that all quantizers implement.

use std::fmt::Debug;

use xxhash_rust::xxh3::xxh3_64;

use super::error::QuantizationError;
use crate::error::VectorError;
use crate::metric::Metric;
use crate::threads::map_chunks;

/// Vector in, code of a fixed number of bytes out, and distances between the two.
///
/// Vectors are `f32` here; other element types convert without loss. Under [`Metric::Cosine`]
/// vectors are scaled to unit length before anything else. Distances have the unit of the metric
/// ([`Metric`] says which), so that they can be compared with exact ones; they are estimates.
///
/// The trait is object safe but for [`Quantizer::from_bytes`]:
///
/// ```
/// use nearfield::Metric;
/// use nearfield::quantization::{ProductQuantizer, Quantizer, RabitqQuantizer};
///
/// let vectors: Vec<f32> = (0..16 * 100).map(|i| (i * i % 97) as f32).collect();
/// let quantizers: [Box<dyn Quantizer>; 2] = [
///     Box::new(ProductQuantizer::builder(16, Metric::L2).sub_vectors(4).bits(4).train(&vectors)?),
///     Box::new(RabitqQuantizer::builder(16, Metric::L2).bits(4).train(&vectors)?),
/// ];
/// for quantizer in &quantizers {
///     let codes = quantizer.quantize_batch(&vectors)?;
///     assert_eq!(codes.len(), 100 * quantizer.code_len());
///     let mut distances = [0.0; 100];
///     quantizer.prepare(&vectors[..16])?.distances(&codes, &mut distances)?;
///     let nearest = (0..100).min_by(|&a, &b| distances[a].total_cmp(&distances[b]));
///     assert_eq!(nearest, Some(0));
/// }
/// # Ok::<(), nearfield::quantization::QuantizationError>(())
/// ```
pub trait Quantizer: Debug + Send + Sync {
    /// Returns the metric of the estimated distances: [`Metric::L2`], [`Metric::InnerProduct`] or
    /// [`Metric::Cosine`].
    fn metric(&self) -> Metric;

    /// Returns the number of components of a vector.
    fn dimension(&self) -> usize;

    /// Returns the number of bytes of a code.
    fn code_len(&self) -> usize;

    /// Writes the code of `vector` into `code`, which is [`Quantizer::code_len`] bytes.
    ///
    /// # Errors
    ///
    /// [`QuantizationError::Vector`] if the vector is of another dimension, has a component that
    /// is not finite or is beyond the range of the sums (2^50 in magnitude), or has no direction
    /// under [`Metric::Cosine`]; [`QuantizationError::CodeLength`].
    fn quantize_into(&self, vector: &[f32], code: &mut [u8]) -> Result<(), QuantizationError>;

    /// Writes a vector near to the vectors with this code. Under [`Metric::Cosine`] it is near to these vectors scaled to unit length.
    ///
    /// # Errors
    ///
    /// [`QuantizationError::CodeLength`], [`QuantizationError::OutputLength`].
    fn dequantize_into(&self, code: &[u8], vector: &mut [f32]) -> Result<(), QuantizationError>;

    /// Returns the estimated distance of two coded vectors (symmetric distance).
    ///
    /// # Errors
    ///
    /// [`QuantizationError::CodeLength`].
    fn distance(&self, a: &[u8], b: &[u8]) -> Result<f32, QuantizationError>;

    /// Prepares a query for the distances to many codes.
    ///
    /// # Errors
    ///
    /// [`QuantizationError::Vector`], as for [`Quantizer::quantize_into`].
    fn prepare<'a>(
        &'a self,
        query: &[f32],
    ) -> Result<Box<dyn PreparedQuery + 'a>, QuantizationError>;

    /// Returns the choices and the trained numbers, in a versioned form of little-endian numbers that [`Quantizer::from_bytes`] reads
    /// on every machine.
    fn to_bytes(&self) -> Vec<u8>;

    /// Reads a quantizer that [`Quantizer::to_bytes`] wrote.
    ///
    /// # Errors
    ///
    /// [`QuantizationError::Bytes`] if they are not the bytes of a quantizer of this type. No
    /// bytes cause a panic, and none an allocation of more than a small multiple of their length.
    fn from_bytes(bytes: &[u8]) -> Result<Self, QuantizationError>
    where
        Self: Sized;

    /// Returns the 64-bit xxh3 of [`Quantizer::to_bytes`]: codes can be read with the quantizer that has the fingerprint of the one
    /// that wrote them. Takes the time of making those bytes.
    fn fingerprint(&self) -> u64 {
        xxh3_64(&self.to_bytes())
    }

    /// Returns the code of `vector`.
    ///
    /// # Errors
    ///
    /// [`QuantizationError::Vector`], as for [`Quantizer::quantize_into`].
    fn quantize(&self, vector: &[f32]) -> Result<Vec<u8>, QuantizationError> {
        let mut code = vec![0; self.code_len()];
        self.quantize_into(vector, &mut code)?;
        Ok(code)
    }

    /// Returns the codes of `vectors`; vectors and codes are stored without gaps. The work is spread over the rayon pool that the
    /// caller is in; the result does not depend on it.
    ///
    /// # Errors
    ///
    /// [`QuantizationError::Vector`] if the components are no whole number of vectors;
    /// [`QuantizationError::BatchVector`] names the first vector that was refused.
    fn quantize_batch(&self, vectors: &[f32]) -> Result<Vec<u8>, QuantizationError> {
        /// Vectors that a thread takes at once.
        const TASK: usize = 64;

        let (dimension, code_len) = (self.dimension(), self.code_len());
        let count = rows(vectors, dimension)?;
        let mut codes = vec![0; count * code_len];
        let refused = map_chunks(&mut codes, TASK * code_len, |task, codes| {
            let vectors = vectors[task * TASK * dimension..].chunks_exact(dimension);
            codes.chunks_exact_mut(code_len).zip(vectors).enumerate().find_map(
                |(at, (code, vector))| {
                    self.quantize_into(vector, code).err().map(|error| (task * TASK + at, error))
                },
            )
        });
        match refused.into_iter().flatten().next() {
            None => Ok(codes),
            Some((position, QuantizationError::Vector(source))) => {
                Err(QuantizationError::BatchVector { position, source })
            }
            Some((_, error)) => Err(error),
        }
    }

    /// Returns a vector near to the vectors with this code; see [`Quantizer::dequantize_into`].
    ///
    /// # Errors
    ///
    /// [`QuantizationError::CodeLength`].
    fn dequantize(&self, code: &[u8]) -> Result<Vec<f32>, QuantizationError> {
        let mut vector = vec![0.0; self.dimension()];
        self.dequantize_into(code, &mut vector)?;
        Ok(vector)
    }
}

/// A query, made ready by [`Quantizer::prepare`] for the distances to many codes (asymmetric
/// distance: the query is not coded, or coded with more digits).
pub trait PreparedQuery: Debug + Send + Sync {
    /// Returns the estimated distance to the vector that has this code.
    ///
    /// # Errors
    ///
    /// [`QuantizationError::CodeLength`].
    fn distance(&self, code: &[u8]) -> Result<f32, QuantizationError>;

    /// Writes the estimated distances to the vectors of `codes`, which are stored without gaps, into `distances`, which has the number
    /// of the codes. The same as [`PreparedQuery::distance`] of each, in less time; allocates no more than for one of them.
    ///
    /// # Errors
    ///
    /// [`QuantizationError::CodeLength`] if the number of codes differs; `distances` then stays unchanged.
    fn distances(&self, codes: &[u8], distances: &mut [f32]) -> Result<(), QuantizationError>;
}

/// Returns the number of vectors in `vectors`.
pub(super) fn rows(vectors: &[f32], dimension: usize) -> Result<usize, VectorError> {
    let found = vectors.len();
    if found.is_multiple_of(dimension) {
        Ok(found / dimension)
    } else {
        Err(VectorError::Length { expected: found.next_multiple_of(dimension), found })
    }
}

/// Refuses a `code` without the length of `count` codes of `code_len` bytes.
pub(super) fn check_codes(
    code: &[u8],
    code_len: usize,
    count: usize,
) -> Result<(), QuantizationError> {
    let (expected, found) = (code_len.saturating_mul(count), code.len());
    if expected == found { Ok(()) } else { Err(QuantizationError::CodeLength { expected, found }) }
}

/// Refuses an output slice without exactly `expected` elements.
pub(super) fn check_output(found: usize, expected: usize) -> Result<(), QuantizationError> {
    if expected == found {
        Ok(())
    } else {
        Err(QuantizationError::OutputLength { expected, found })
    }
}
