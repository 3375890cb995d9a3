//! The quantizers of an index: of the codes that walks read, and of finer codes that answer.

use std::borrow::Borrow;
use std::sync::Arc;

use super::Codes;
use super::blur::Blur;
use super::fit::{Fit, mean_error};
use super::fitting::HELD_OUT;
use crate::arena::Column;
use crate::metric::Metric;
use crate::quantization::{Coder, Coding};
use crate::simd::Isa;
use crate::vector::Block;

/// Vectors for training, one after the other.
#[derive(Debug)]
pub(in crate::index) struct Sample {
    pub(in crate::index) floats: Vec<f32>,
    /// Whether these are almost all different vectors of an index: its other vectors are copies.
    pub(in crate::index) is_whole: bool,
}

/// Trained quantizers.
#[derive(Debug)]
pub(in crate::index) struct Coders {
    pub(in crate::index) walked: Coder,
    pub(in crate::index) finer: Option<Coder>,
    /// The fit of the first quantizer.
    pub(in crate::index) fit: Fit,
}

impl Coders {
    /// Fits quantizers to the vectors in `sample`, as [`Coder::train`].
    pub(in crate::index) fn train(
        mut sample: Sample,
        dimension: usize,
        metric: Metric,
        (walked, finer): (Coding, Option<Coding>),
        seed: u64,
        isa: Isa,
    ) -> Option<Self> {
        let train = |floats: &mut Vec<f32>, coding| {
            Coder::train(floats, dimension, metric, coding, seed, isa)
        };
        // The finer quantizer is trained first, because others may change the sample.
        let finer = match finer {
            Some(coding) => Some(train(&mut sample.floats, coding)?),
            None => None,
        };
        let (mut learned, others) = sample.hold_out(walked, dimension);
        let coder = train(&mut learned, walked)?;
        let known = coder.training_error().filter(|_| others.is_none());
        let error = known
            .unwrap_or_else(|| mean_error(&coder, others.as_ref().unwrap_or(&learned), dimension));
        Some(Self { walked: coder, finer, fit: Fit::of(error) })
    }

    /// Creates the code columns. `rows(n)` supplies a column of `n` blocks a row, empty or with the codes of the index's
    /// vectors. Returns `None` if this CPU lacks `isa`.
    pub(in crate::index) fn codes<E>(
        self,
        isa: Isa,
        blur: Blur,
        mut rows: impl FnMut(usize) -> Result<Column<Block>, E>,
    ) -> Result<Option<Codes>, E> {
        let column = rows(self.walked.code_blocks())?;
        let Some(mut codes) = Codes::new(self.walked, isa, column, blur, self.fit) else {
            return Ok(None);
        };
        if let Some(finer) = self.finer {
            let column = rows(finer.code_blocks())?;
            let Some(finer) = Codes::new(finer, isa, column, Blur::default(), Fit::default())
            else {
                return Ok(None);
            };
            codes.finer = Some(Arc::new(finer));
        }
        Ok(Some(codes))
    }

    /// Returns one or two quantizers as bytes: of two, the length of the first precedes it.
    pub(in crate::index) fn bytes(coders: impl Iterator<Item: Borrow<Coder>>) -> Vec<u8> {
        let mut parts: Vec<_> = coders.map(|coder| coder.borrow().to_bytes()).collect();
        if parts.len() > 1 {
            let len = parts[0].len() as u32;
            parts.insert(0, len.to_le_bytes().to_vec());
        }
        parts.concat()
    }

    /// Reads the quantizers from bytes that [`Self::bytes`] gave for an index of these facts, after the fit of the
    /// first, if it is known. Returns `None` if the bytes are invalid.
    pub(in crate::index) fn from_bytes(
        bytes: &[u8],
        dimension: usize,
        metric: Metric,
        (walked, finer): (Coding, Option<Coding>),
        isa: Isa,
    ) -> Option<Self> {
        let read = |bytes, coding| Coder::from_bytes(bytes, dimension, metric, coding, isa);
        let (fit, bytes) = Fit::from_bytes(bytes)?;
        let Some(finer) = finer else {
            return Some(Self { walked: read(bytes, walked)?, finer: None, fit });
        };
        let (len, rest) = bytes.split_first_chunk()?;
        let (first, second) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        Some(Self { walked: read(first, walked)?, finer: Some(read(second, finer)?), fit })
    }
}

impl Sample {
    /// Splits the sample into vectors to learn from and others to measure on, if a quantizer fits the former better than
    /// the index's other vectors. A whole sample is not split: its copies are coded as it is, and a rare vector that was
    /// held out would get the code of another.
    pub(in crate::index) fn hold_out(
        self,
        coding: Coding,
        dimension: usize,
    ) -> (Vec<f32>, Option<Vec<f32>>) {
        let Self { floats, is_whole } = self;
        let every = HELD_OUT + 1;
        if is_whole || !coding.is_slow() || floats.len() < 2 * every * dimension {
            return (floats, None);
        }
        let (mut learned, mut others) = (Vec::with_capacity(floats.len()), Vec::new());
        for (at, vector) in floats.chunks_exact(dimension).enumerate() {
            let to = if at % every == HELD_OUT { &mut others } else { &mut learned };
            to.extend_from_slice(vector);
        }
        (learned, Some(others))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantization::Bits;

    #[test]
    fn quantizers_come_back_and_damaged_ones_do_not() {
        let (dimension, metric, isa) = (20, Metric::Cosine, Isa::detect());
        let floats: Vec<f32> = (0..40 * dimension).map(|i| (i as f32).sin()).collect();
        let eight = Some(Coding::Scalar(Bits::Eight));
        for walked in [Coding::Scalar(Bits::Four), Coding::Rabitq { bits: 1 }] {
            for codings in [(walked, None), (walked, eight)] {
                let read =
                    |bytes: &[u8]| Coders::from_bytes(bytes, dimension, metric, codings, isa);
                let sample = Sample { floats: floats.clone(), is_whole: false };
                let coders = Coders::train(sample, dimension, metric, codings, 1, isa).unwrap();
                let bytes = |coders: &Coders| {
                    let all = std::iter::once(&coders.walked).chain(&coders.finer);
                    [coders.fit.to_bytes(), Coders::bytes(all)].concat()
                };
                let whole = bytes(&coders);
                assert_eq!(bytes(&read(&whole).unwrap()), whole);
                assert!((0..whole.len()).all(|len| read(&whole[..len]).is_none()));
                let other = (walked, eight.filter(|_| codings.1.is_none()));
                assert!(Coders::from_bytes(&whole, dimension, metric, other, isa).is_none());
                // Files of earlier versions have no fit.
                let fit = coders.fit.to_bytes().len();
                let bare = read(&whole[fit..]).unwrap();
                assert!(!bare.fit.is_known() && bytes(&bare) == whole[fit..]);
                for at in [0, fit] {
                    let mut damaged = whole.clone();
                    damaged[at..at + 4].fill(0xff);
                    assert!(codings.1.is_none() && at > 0 || read(&damaged).is_none());
                }
            }
        }
    }
}
