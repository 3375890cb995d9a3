//! Codes of what is left of a vector when its centroid is taken off.

use std::collections::TryReserveError;

use super::builder::IvfQuantization;
use crate::error::IndexError;
use crate::metric::Metric;
use crate::quantization::{
    Coder, Coding, PackedCodes, PreparedQuery, ProductQuantizer, ProductQuery, QuantizationError,
    Quantizer, RabitqQuantizer, RabitqQuery,
};
use crate::simd::Isa;

/// A quantizer of residuals. It estimates inner products, whatever the metric of the index: so a
/// query is prepared once for all lists.
#[derive(Debug)]
pub(super) enum Codec {
    Product(ProductQuantizer),
    Rabitq(RabitqQuantizer),
}

/// A query prepared for the codes of all lists.
#[derive(Debug)]
pub(super) enum Prepared<'a> {
    Product(ProductQuery<'a>),
    Rabitq(RabitqQuery<'a>),
}

/// The codes of a list.
#[derive(Debug)]
pub(super) enum CodeList {
    None,
    /// In blocks of 32.
    Packed(PackedCodes),
    /// One after the other, each of so many bytes.
    Plain(usize, Vec<u8>),
}

impl Codec {
    /// Fits the quantizer to residuals that stand one after the other.
    pub(super) fn train(
        quantization: IvfQuantization,
        sub_vectors: Option<usize>,
        dimension: usize,
        seed: u64,
        residuals: &[f32],
    ) -> Result<Option<Self>, IndexError> {
        let rabitq = |bits| {
            let builder = RabitqQuantizer::builder(dimension, Metric::InnerProduct);
            Ok(Some(Self::Rabitq(builder.bits(bits).seed(seed).train(residuals)?)))
        };
        match quantization.resolved() {
            IvfQuantization::None | IvfQuantization::Auto => Ok(None),
            IvfQuantization::Pq4 => {
                let sub_vectors = sub_vectors.unwrap_or(dimension.div_ceil(2));
                let builder = ProductQuantizer::builder(dimension, Metric::InnerProduct);
                let builder = builder.bits(4).sub_vectors(sub_vectors).seed(seed);
                Ok(Some(Self::Product(builder.train(residuals)?)))
            }
            IvfQuantization::Rabitq1 => rabitq(1),
            IvfQuantization::Rabitq2 => rabitq(2),
            IvfQuantization::Rabitq4 => rabitq(4),
        }
    }

    /// The quantizer that [`Self::to_bytes`] gave as these bytes, with this fingerprint, for an
    /// index of these settings; `None` if it gave others.
    pub(super) fn from_bytes(
        quantization: IvfQuantization,
        sub_vectors: Option<usize>,
        dimension: usize,
        fingerprint: u64,
        bytes: &[u8],
    ) -> Option<Self> {
        let coding = if quantization == IvfQuantization::Pq4 {
            let sub_vectors = sub_vectors.unwrap_or(dimension.div_ceil(2)) as u32;
            Coding::Product { sub_vectors, bits: 4 }
        } else {
            Coding::Rabitq { bits: quantization.bits()? }
        };
        let coder =
            Coder::from_bytes(bytes, dimension, Metric::InnerProduct, coding, Isa::detect());
        let codec = match coder? {
            Coder::Product(quantizer) => Self::Product(quantizer),
            Coder::Rabitq(quantizer) => Self::Rabitq(quantizer),
            Coder::Scalar(_) => return None,
        };
        (codec.quantizer().fingerprint() == fingerprint).then_some(codec)
    }

    /// The quantizer as bytes, and its fingerprint.
    pub(super) fn to_bytes(&self) -> (u64, Vec<u8>) {
        let quantizer = self.quantizer();
        (quantizer.fingerprint(), quantizer.to_bytes())
    }

    fn quantizer(&self) -> &dyn Quantizer {
        match self {
            Self::Product(quantizer) => quantizer,
            Self::Rabitq(quantizer) => quantizer,
        }
    }

    /// Puts the code of a residual in place of what `code` held.
    pub(super) fn encode(&self, residual: &[f32], code: &mut Vec<u8>) -> Result<(), IndexError> {
        let quantizer = self.quantizer();
        code.resize(quantizer.code_len(), 0);
        Ok(quantizer.quantize_into(residual, code)?)
    }

    /// A residual near to those that have this code.
    pub(super) fn decode(&self, code: &[u8], residual: &mut Vec<f32>) {
        let quantizer = self.quantizer();
        residual.clear();
        residual.resize(quantizer.dimension(), 0.0);
        let decoded = quantizer.dequantize_into(code, residual);
        debug_assert!(decoded.is_ok(), "a code of this quantizer");
    }

    /// Prepares a query.
    pub(super) fn prepare(&self, query: &[f32]) -> Result<Prepared<'_>, IndexError> {
        Ok(match self {
            Self::Product(quantizer) => Prepared::Product(quantizer.query(query)?),
            Self::Rabitq(quantizer) => Prepared::Rabitq(quantizer.query(query)?),
        })
    }

    /// Bytes of `len` codes as [`CodeList::stored`] gives them.
    pub(super) fn stored_len(&self, len: usize) -> usize {
        match self {
            Self::Product(quantizer) => PackedCodes::stored_len(quantizer.sub_vectors(), len),
            Self::Rabitq(quantizer) => quantizer.code_len() * len,
        }
    }

    /// The `len` codes that [`CodeList::stored`] gave as these bytes; `None` if it gave others.
    pub(super) fn restored(
        &self,
        len: usize,
        bytes: &[u8],
    ) -> Result<Option<CodeList>, TryReserveError> {
        match self {
            Self::Product(quantizer) => {
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

    /// An empty list of codes.
    pub(super) fn list(&self) -> Result<CodeList, IndexError> {
        Ok(match self {
            Self::Product(quantizer) => CodeList::Packed(quantizer.pack(&[])?),
            Self::Rabitq(quantizer) => CodeList::Plain(quantizer.code_len(), Vec::new()),
        })
    }
}

impl Prepared<'_> {
    /// The estimated inner product of the query and a residual, negated.
    pub(super) fn distance(&self, code: &[u8]) -> Result<f32, IndexError> {
        Ok(match self {
            Self::Product(query) => query.distance(code)?,
            Self::Rabitq(query) => query.distance(code)?,
        })
    }

    /// [`Self::distance`] of the codes of a list from a position on, a multiple of 32, for as many
    /// as there are places.
    pub(super) fn scan(&self, codes: &CodeList, from: usize, distances: &mut [f32]) {
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

impl CodeList {
    pub(super) fn push(&mut self, code: &[u8]) {
        match self {
            Self::None => (),
            Self::Packed(codes) => {
                let pushed = codes.push(code);
                debug_assert!(pushed.is_ok(), "a code of this quantizer");
            }
            Self::Plain(_, bytes) => bytes.extend_from_slice(code),
        }
    }

    pub(super) fn set(&mut self, position: usize, code: &[u8]) {
        match self {
            Self::None => (),
            Self::Packed(codes) => {
                let set = codes.set(position, code);
                debug_assert!(set.is_ok(), "a code of this quantizer");
            }
            Self::Plain(len, bytes) => {
                bytes[position * *len..(position + 1) * *len].copy_from_slice(code);
            }
        }
    }

    pub(super) fn swap_remove(&mut self, position: usize) {
        match self {
            Self::None => (),
            Self::Packed(codes) => {
                let removed = codes.swap_remove(position);
                debug_assert!(removed.is_ok(), "a position of the list");
            }
            Self::Plain(len, bytes) => {
                let last = bytes.len() - *len;
                bytes.copy_within(last.., position * *len);
                bytes.truncate(last);
            }
        }
    }

    /// Puts the code at `position` in place of what `code` held.
    pub(super) fn get(&self, position: usize, code: &mut Vec<u8>) {
        code.clear();
        match self {
            Self::None => (),
            Self::Packed(codes) => code.extend(codes.get(position).unwrap_or_default()),
            Self::Plain(len, bytes) => {
                code.extend_from_slice(&bytes[position * len..(position + 1) * len]);
            }
        }
    }

    /// The codes as they stand in memory, which is the same on every machine.
    pub(super) fn stored(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Packed(codes) => codes.stored(),
            Self::Plain(_, bytes) => bytes,
        }
    }

    /// Makes room for `more` codes.
    pub(super) fn reserve(&mut self, more: usize) -> Result<(), TryReserveError> {
        match self {
            Self::None => Ok(()),
            Self::Packed(codes) => codes.reserve(more),
            Self::Plain(len, bytes) => bytes.try_reserve_exact(more * *len),
        }
    }

    /// Gives back memory beyond `room` codes.
    pub(super) fn shrink(&mut self, room: usize) {
        match self {
            Self::None => (),
            Self::Packed(codes) => codes.shrink(room),
            Self::Plain(len, bytes) => bytes.shrink_to(room * *len),
        }
    }

    /// Bytes of memory in use.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Packed(codes) => codes.bytes(),
            Self::Plain(_, bytes) => bytes.capacity(),
        }
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
