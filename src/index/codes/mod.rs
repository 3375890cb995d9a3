//! The codes that a quantised index walks on, beside the vectors that it answers from.

pub(in crate::index) mod blur;
pub(in crate::index) mod fit;
pub(in crate::index) mod fitting;
pub(in crate::index) mod pair;
pub(in crate::index) mod representation;
pub(in crate::index) mod rerank;

use std::sync::Arc;

use super::distances::Engine;
use super::encode::Encoder;
use crate::arena::{ArenaError, Column, Slot, Slots, Vacant};
use crate::error::{IndexError, VectorError};
use crate::index::codes::blur::Blur;
use crate::index::codes::fit::Fit;
use crate::metric::Metric;
use crate::order_key::OrderKey;
use crate::quantization::{Bits, Coder, Coding};
use crate::simd::Isa;
use crate::vector::{Block, Element};

/// The codes that searches read instead of the vectors.
///
/// | | [`Hnsw`](crate::Hnsw), collections | [`Ivf`](crate::Ivf) |
/// |---|---|---|
/// | [`None`](Self::None) | vectors | vectors |
/// | [`Auto`](Self::Auto) | the fastest codes at equal recall, or none | [`Rabitq`](Self::Rabitq) with 4 bits |
/// | [`Sq8`](Self::Sq8), [`Sq4`](Self::Sq4) | yes | refused |
/// | [`Pq4`](Self::Pq4), [`Pq`](Self::Pq) | 4 or 8 bits | 4 bits |
/// | [`Rabitq`](Self::Rabitq) | 1, 2 or 4 bits | 1, 2 or 4 bits |
///
/// A builder refuses a quantization that its index cannot use with
/// [`IndexError::Parameter`](crate::IndexError::Parameter), which names the ones that it can. The following is of graphs;
/// [`IvfBuilder::quantization`](crate::IvfBuilder::quantization) describes the codes of lists.
///
/// Codes guide the walk, and the head of its candidates is measured again by the vectors themselves, or by their kept
/// form ([`Originals`]). An index starts without codes: once about 4,000 vectors are in it, or one batch brings them, it
/// fits the quantizer to a sample and encodes its vectors, a few with each insertion. Searches and insertions continue.
/// If later vectors are unlike earlier ones, so that code errors grow, and vectors are kept, or rounded, another
/// quantizer is fitted to a sample of all, and codes are made anew in the same way
/// ([`Stats::code_error`](crate::Stats::code_error) measures the growth).
///
/// Under L2 and the cosine, one quantizer serves all vectors, so vectors of a cluster much narrower than the whole get
/// nearly the same code. If vectors are kept, or rounded, such an index is built by the vectors and finds the same
/// neighbours as without codes: a search continues on the vectors if its code errors are as large as its distances, if
/// answers rank late by the codes, or if more answers are likely to be beyond the end of the walk. If most searches
/// would, all walks read vectors from the start ([`Stats::code_bits`](crate::Stats::code_bits) is `None` then). Searches
/// detect this under every metric. They do not detect vectors whose codes put them far away: those inserted after a
/// [`Pq`](Self::Pq) was trained. Once such vectors are about 2 % of all (4 % with `Pq`), walks read vectors until
/// another quantizer is ready. Under the inner product every scalar code carries its own scale, every product code its
/// own length, and a query its own scale: the length of either costs no precision.
///
/// Codes of few bits order candidates roughly. If vectors are kept, or rounded, walks on [`Rabitq`](Self::Rabitq) and
/// [`Pq`](Self::Pq) codes keep more candidates than the requested `ef`: `1 + 1024 / (4^bits * dimension)` times `ef`,
/// with the bits of a component, four times at most. An `ef` of 64 or 128 then finds the same neighbours as without
/// codes, within half a point of recall@10 (photographs, words and sentences of 100 to 384 dimensions, 1 to 4 bits), in
/// more time.
///
/// These bounds hold on data of any shape (clusters, sorted or moving data, lengths of any spread, copies, offsets,
/// sparse vectors, queries of another kind), with the tests that check them on some forty shapes:
///
/// | setting | recall@10 at `ef` 64, beside `None` | vectors and distances | test |
/// |---|---|---|---|
/// | [`Originals::Kept`] | within .02; for vectors unlike those before, once they are 2 % (4 % with [`Pq`](Self::Pq)); up to .09 less with [`Sq4`](Self::Sq4) under L2 for vectors 30 times as long as those before | exact | `shapes::product` |
/// | [`Originals::Sq12`] | within .02, but for neighbours that are nearer to one another than vectors are off | off by .15 % of the vector's own length at most | `shapes::product`, `shapes::once_failed` |
/// | [`Originals::Sq8`], and [`Sq8`](Self::Sq8) dropped | as above | off by 2 % at most | `shapes::product`, `shapes::once_failed` |
/// | others, dropped | - | the error at fitting times [`Stats::code_error`](crate::Stats::code_error) | `index::moved_codes` |
/// | queries of any length, inner product | the same at each length, also after [`calibrate`](crate::Hnsw::calibrate) | | `shapes::once_failed` |
/// | vectors of any length, inner product | within .02; `None` finds the longest wherever it was inserted | | `shapes::once_failed`, `index::long_vectors` |
/// | [`Ivf`](crate::Ivf), all lists read, originals kept | .99 at least | exact | `shapes::ivf` |
/// | filters, radii and `exclude` | those of the plain search; no answer is lost by a radius or a `k` | | `index::plans`, `index::filter` |
///
/// | | bits a component | compression of `f32` | for |
/// |---|---|---|---|
/// | [`Sq8`](Self::Sq8) | 8 | 4 | inner products, and answers by codes alone |
/// | [`Sq4`](Self::Sq4) | 4 | 8 | speed |
/// | [`Rabitq`](Self::Rabitq) | 1, 2, 4 | 32, 16, 8 | little memory, hundreds of dimensions |
/// | [`Pq`](Self::Pq) | `sub_vectors * bits / dimension` | any | little memory, any dimension |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Quantization {
    /// No codes: searches read the vectors.
    #[default]
    None,
    /// The choice of the index, for the dimension, the metric and the element type.
    Auto,
    /// 8 bits a component: a quarter of `f32`.
    Sq8,
    /// 4 bits a component: an eighth of `f32`.
    Sq4,
    /// [`Pq`](Self::Pq) with 4 bits for each part of two components: a sixteenth of `f32`.
    Pq4,
    /// Product quantization ([`ProductQuantizer`](crate::quantization::ProductQuantizer)): each of `sub_vectors` parts
    /// of the vector, 1 to its dimension, becomes one of 16 or 256 centroids (`bits` 4 or 8). Training takes a second or
    /// so: a batch that brings enough vectors waits for it, and single insertions continue beside it. If vectors are
    /// kept, they choose the rows of the graph.
    Pq {
        /// Parts of a vector.
        sub_vectors: usize,
        /// Bits for each.
        bits: u32,
    },
    /// `RaBitQ` ([`RabitqQuantizer`](crate::quantization::RabitqQuantizer)) with 1, 2 or 4 bits a component. If vectors
    /// are kept, they choose the rows of the graph.
    Rabitq {
        /// Bits a component.
        bits: u32,
    },
}

/// The form in which vectors are kept once the index has codes.
///
/// | | bytes a component | answers |
/// |---|---|---|
/// | [`Kept`](Self::Kept) | those of the element type | exact |
/// | [`Sq12`](Self::Sq12) | 1.5 | as good as with `f16`: recall is within a tenth of a point |
/// | [`Sq8`](Self::Sq8) | 1 | exact for whole numbers of a byte, else a point less at a recall of .99 |
/// | [`Dropped`](Self::Dropped) | 0 | as exact as the codes that walks read |
///
/// All but the first need a [`Quantization`] that makes codes. Vectors inserted before the index has codes are kept
/// besides, about 4,000 at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Originals {
    /// All vectors, as the index's element type; they decide the order of the answers.
    #[default]
    Kept,
    /// Vectors rounded to 12 bits a component, after a random rotation that evens them out
    /// ([`ScalarQuantizer`](crate::quantization::ScalarQuantizer)). Rounded vectors decide the order of the answers and
    /// the distances, and [`get`](crate::Hnsw::get) returns them. Each vector has its own scale: its error is .15 % of
    /// its own length at most, and half of that on average, also if later vectors are unlike earlier ones.
    Sq12,
    /// Vectors rounded to 8 bits a component, as [`Sq12`](Self::Sq12), with an error of 2 % of the vector's own length
    /// at most, and less than 1 % on average. Under [`Metric::L2`], if all vectors are of whole numbers in `0..=255`
    /// when codes begin, vectors are kept unchanged, and others are refused from then on
    /// ([`VectorError::NotRepresentable`](crate::VectorError::NotRepresentable)). [`Sq12`](Self::Sq12) distinguishes
    /// neighbours that are nearer to one another than a hundredth of their lengths. Beside [`Quantization::Sq8`] it is
    /// the same as `Dropped`.
    Sq8,
    /// No vectors: codes answer alone, with distances and vectors as exact as codes are. The quantizer that was fitted
    /// first is final: less is kept of later vectors that are unlike earlier ones.
    /// [`Stats::code_error`](crate::Stats::code_error) measures the loss.
    Dropped,
}

impl Originals {
    /// Returns whether vectors are kept unchanged.
    pub(super) fn is_kept(self) -> bool {
        self == Self::Kept
    }
}

impl Quantization {
    /// Returns the coding of an index of these facts; `None` if it walks on its vectors.
    ///
    /// # Errors
    ///
    /// [`IndexError::Parameter`] if the quantizer is invalid for this index.
    pub(super) fn coding(self, encoder: &Encoder) -> Result<Option<Coding>, IndexError> {
        let Encoder { dimension, metric, element } = *encoder;
        let wrong = |allowed| {
            let value = format!("{self:?}");
            Err(IndexError::Parameter { name: "quantization", value, allowed })
        };
        if element == Element::Bit && !matches!(self, Self::None | Self::Auto) {
            return wrong("None or Auto over packed bits, which are codes already");
        }
        if metric == Metric::Custom && self != Self::None {
            return wrong("None under a custom metric, of which codes tell nothing");
        }
        let floats = matches!(element, Element::F32 | Element::F16 | Element::Bf16);
        Ok(match self {
            Self::None => None,
            Self::Auto if !floats || dimension < 32 => None,
            Self::Auto if metric == Metric::InnerProduct => Some(Coding::Scalar(Bits::Eight)),
            Self::Auto | Self::Sq4 => Some(Coding::Scalar(Bits::Four)),
            // Bytes are their own codes.
            Self::Sq8 => floats.then_some(Coding::Scalar(Bits::Eight)),
            Self::Pq4 => {
                Some(Coding::Product { sub_vectors: dimension.div_ceil(2) as u32, bits: 4 })
            }
            Self::Pq { sub_vectors, bits } => {
                if sub_vectors == 0 || sub_vectors > dimension {
                    return wrong("sub_vectors from 1 to the dimension");
                }
                if bits != 4 && bits != 8 {
                    return wrong("4 or 8 bits for each sub-vector");
                }
                Some(Coding::Product { sub_vectors: sub_vectors as u32, bits })
            }
            Self::Rabitq { bits: bits @ (1 | 2 | 4) } => Some(Coding::Rabitq { bits }),
            Self::Rabitq { .. } => return wrong("1, 2 or 4 bits a component"),
        })
    }
}

/// A fitted quantizer and the codes of all vectors.
#[derive(Debug)]
pub(super) struct Codes {
    pub(super) coder: Arc<Coder>,
    pub(super) engine: Engine,
    pub(super) rows: Column<Block>,
    pub(super) blur: Blur,
    /// Shared with the thread that fits another quantizer.
    pub(super) fit: Arc<Fit>,
    /// Finer codes that answer in place of vectors, if the index has some. Codes that replace these share them.
    pub(super) finer: Option<Arc<Codes>>,
}

/// Buffers of encoding.
#[derive(Debug, Default)]
pub(super) struct CodeWork {
    /// A vector as floats.
    pub(super) floats: Vec<f32>,
    pub(super) rotated: Vec<f32>,
    /// A prepared query.
    pub(super) query: Vec<Block>,
    pub(super) code: Vec<Block>,
    /// The finer code, which replaces the vector.
    pub(super) finer: Vec<Block>,
}

impl CodeWork {
    /// Returns the bytes of memory in use.
    pub(super) fn bytes(&self) -> usize {
        (self.floats.capacity() + self.rotated.capacity()) * 4
            + (self.query.capacity() + self.code.capacity() + self.finer.capacity())
                * size_of::<Block>()
    }
}

impl Codes {
    pub(super) fn new(
        coder: Coder,
        isa: Isa,
        rows: Column<Block>,
        blur: Blur,
        fit: Fit,
    ) -> Option<Self> {
        let coder = Arc::new(coder);
        let engine = Engine::over_codes(&coder, isa)?;
        Some(Self { coder, engine, rows, blur, fit: Arc::new(fit), finer: None })
    }

    /// Returns the most exact codes: these, or finer ones.
    pub(super) fn finest(&self) -> &Self {
        self.finer.as_deref().unwrap_or(self)
    }

    /// Returns these codes, and finer ones.
    pub(super) fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.finer.as_deref())
    }

    /// Prepares the query in `work.floats`.
    pub(super) fn prepare(&self, work: &mut CodeWork) {
        work.query.resize(self.coder.query_blocks(), Block::ZERO);
        self.coder.prepare(&mut work.floats, &mut work.rotated, &mut work.query);
    }

    /// Writes the code of the vector in `work.floats` into `work.code`, and the finer one.
    pub(super) fn encode(&self, work: &mut CodeWork) {
        let CodeWork { floats, rotated, code, finer, .. } = work;
        for (codes, code) in self.all().zip([code, finer]) {
            code.resize(codes.coder.code_blocks(), Block::ZERO);
            codes.coder.encode(floats, rotated, code);
        }
    }

    /// [`Self::encode`] for a new vector: the fit of its code is noted.
    pub(super) fn encode_new(&self, work: &mut CodeWork) {
        self.encode(work);
        self.fit.watch(&self.coder, self.rows.len(), work);
    }

    /// Copies the code of a slot into `work.code`, and the finer one.
    pub(super) fn copy(&self, slot: Slot, work: &mut CodeWork) {
        for (codes, code) in self.all().zip([&mut work.code, &mut work.finer]) {
            code.clear();
            code.extend_from_slice(codes.rows.view().row(slot));
        }
    }

    /// Makes sure that the next [`Self::push`] finds memory: neither of two columns may get a row if the other cannot.
    pub(super) fn reserve(&self) -> Result<(), ArenaError> {
        self.all().try_for_each(|codes| codes.rows.reserve())
    }

    /// Appends the code that [`Self::encode`] or [`Self::copy`] left in `work`. The caller has made
    /// [room](Self::reserve) for it. Finer codes are appended first, so that a thread that sees a code sees the finer
    /// code, too.
    pub(super) fn push(&self, work: &CodeWork) -> Result<Slot, ArenaError> {
        if let Some(finer) = &self.finer {
            finer.rows.push(|row| row.copy_from_slice(&work.finer))?;
        }
        self.rows.push(|row| row.copy_from_slice(&work.code))
    }

    /// [`Self::push`] into a vacant slot.
    pub(super) fn refill(&self, slot: &Vacant<'_>, work: &CodeWork) {
        for (codes, code) in self.all().zip([&work.code, &work.finer]) {
            codes.rows.refill(slot, |row| row.copy_from_slice(code));
        }
    }

    /// Refuses a vector that these codes cannot keep unchanged: they are whole numbers, as all vectors were when codes
    /// began.
    pub(super) fn check_kept(&self, floats: &[f32]) -> Result<(), VectorError> {
        let Some(component) = self.finest().coder.misfit(floats) else { return Ok(()) };
        let (value, element) = (floats[component], Element::U8);
        Err(VectorError::NotRepresentable { component, value, element })
    }

    /// Returns the bytes of memory in use, of codes for these slots.
    pub(super) fn bytes_of(&self, slots: &Slots) -> usize {
        self.all().map(|codes| codes.rows.bytes_of(slots) + codes.coder.bytes()).sum()
    }

    /// Returns the distance that an order key of the engine encodes.
    pub(super) fn distance(&self, order: OrderKey) -> f32 {
        self.coder.distance(self.engine.distance(order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_bits_for_each_two_components_are_product_codes() {
        for (dimension, sub_vectors) in [(1, 1), (8, 4), (9, 5)] {
            let (metric, element) = (Metric::L2, Element::F32);
            let encoder = Encoder { dimension, metric, element };
            let chosen = Quantization::Pq { sub_vectors, bits: 4 };
            assert_eq!(Quantization::Pq4.coding(&encoder), chosen.coding(&encoder));
            assert!(chosen.coding(&encoder).is_ok_and(|coding| coding.is_some()));
        }
    }
}
