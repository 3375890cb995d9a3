//! The form in which quantizers are written: a mark, a version, little-endian numbers, a checksum.

use xxhash_rust::xxh3::xxh3_64;

use super::admit::{MAX_COMPONENT, check_space};
use super::error::QuantizationError;
use crate::metric::Metric;

/// The version that is written and read.
const VERSION: u32 = 1;
/// Bytes of the checksum at the end.
const SUM: usize = 8;

/// Collects numbers.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// Begins with the mark of a kind of quantizer and with the facts that all of them have.
    pub(super) fn new(mark: [u8; 4], dimension: usize, metric: Metric) -> Self {
        let mut writer = Self(mark.to_vec());
        writer.u32(VERSION);
        writer.u32(dimension as u32);
        writer.u32(match metric {
            Metric::L2 => 0,
            Metric::InnerProduct => 1,
            Metric::Cosine => 2,
            Metric::Hamming => 3,
            Metric::Custom => 4,
        });
        writer
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.0.extend(value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }

    pub(super) fn f32(&mut self, value: f32) {
        self.0.extend(value.to_le_bytes());
    }

    /// Ends with the checksum of all that was written.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let sum = xxh3_64(&self.0);
        self.u64(sum);
        self.0
    }
}

/// Returns the numbers in their order, or an error behind the last one.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    pub(super) dimension: usize,
    pub(super) metric: Metric,
}

impl<'a> Reader<'a> {
    /// Checks mark, version and checksum, and reads the facts that all quantizers have.
    pub(super) fn new(mark: [u8; 4], bytes: &'a [u8]) -> Result<Self, QuantizationError> {
        if !bytes.starts_with(&mark) {
            return wrong("it is of another kind");
        }
        let Some((body, sum)) = bytes.split_last_chunk::<SUM>() else {
            return wrong("it is too short");
        };
        let mut reader = Self { rest: body, dimension: 0, metric: Metric::L2 };
        reader.take::<4>()?;
        if reader.u32()? != VERSION {
            return wrong("the version is unknown");
        }
        if xxh3_64(body) != u64::from_le_bytes(*sum) {
            return wrong("the checksum does not fit");
        }
        reader.dimension = reader.u32()? as usize;
        reader.metric = match reader.u32()? {
            0 => Metric::L2,
            1 => Metric::InnerProduct,
            2 => Metric::Cosine,
            _ => return wrong("the metric is unknown"),
        };
        if check_space(reader.dimension, reader.metric).is_err() {
            return wrong("the dimension is out of range");
        }
        Ok(reader)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], QuantizationError> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return wrong("it is too short");
        };
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u32(&mut self) -> Result<u32, QuantizationError> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, QuantizationError> {
        self.take().map(u64::from_le_bytes)
    }

    pub(super) fn f32(&mut self) -> Result<f32, QuantizationError> {
        self.take().map(f32::from_le_bytes)
    }

    /// Reads a number that is zero or one.
    pub(super) fn flag(&mut self) -> Result<bool, QuantizationError> {
        match self.u32()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => wrong("a flag is neither set nor clear"),
        }
    }

    /// Reads `count` components, each in the range of components; rotated vectors may reach beyond it by the root of their dimension.
    pub(super) fn components(&mut self, count: usize) -> Result<Vec<f32>, QuantizationError> {
        let bytes = count.checked_mul(4).filter(|&bytes| bytes <= self.rest.len());
        let Some((taken, rest)) = bytes.and_then(|bytes| self.rest.split_at_checked(bytes)) else {
            return wrong("it is too short");
        };
        self.rest = rest;
        let components: Vec<f32> =
            taken.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        // 2^50 times the root of 2^16, and a last bit for rounding.
        if components.iter().all(|x| x.abs() <= 257.0 * MAX_COMPONENT) {
            Ok(components)
        } else {
            wrong("a number is out of range")
        }
    }

    /// Refuses bytes that are left.
    pub(super) fn finish(self) -> Result<(), QuantizationError> {
        if self.rest.is_empty() { Ok(()) } else { wrong("it is too long") }
    }
}

/// Returns an error with its reason.
pub(super) fn wrong<T>(reason: &'static str) -> Result<T, QuantizationError> {
    Err(QuantizationError::Bytes { reason })
}
