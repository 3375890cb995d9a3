//! Making an inverted-file index.

use super::Ivf;
use super::space::Space;
use crate::error::IndexError;
use crate::index::codes::Originals;
use crate::index::settings::{Basis, basis_settings, in_range};
use crate::metric::Metric;
use crate::simd::Isa;
use crate::vector::Element;

/// Form in which the lists of an [`Ivf`] hold vectors for searches to read.
///
/// A code is of the vector less its list's centroid, and is made once the index is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum IvfQuantization {
    /// The vector itself.
    #[default]
    None,
    /// [`Rabitq4`](Self::Rabitq4), the most precise.
    Auto,
    /// Product quantization, 4 bits for each sub-vector of two components: a sixteenth of `f32`
    /// vectors. 32 codes are compared at a time.
    Pq4,
    /// `RaBitQ` with 1 bit a component: a thirty-second of `f32` vectors, for hundreds of
    /// dimensions and more.
    Rabitq1,
    /// `RaBitQ` with 2 bits a component: a sixteenth of `f32` vectors.
    Rabitq2,
    /// `RaBitQ` with 4 bits a component: an eighth of `f32` vectors.
    Rabitq4,
}

impl IvfQuantization {
    /// Returns the quantization in place of [`Self::Auto`].
    pub(super) fn resolved(self) -> Self {
        if self == Self::Auto { Self::Rabitq4 } else { self }
    }

    /// Returns the bits of a component, rounded up; `None` without codes.
    pub(super) fn bits(self) -> Option<u32> {
        match self.resolved() {
            Self::None | Self::Auto => None,
            Self::Rabitq1 => Some(1),
            Self::Pq4 | Self::Rabitq2 => Some(2),
            Self::Rabitq4 => Some(4),
        }
    }
}

/// Settings of an [`Ivf`] index. Made by [`Ivf::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct IvfBuilder {
    basis: Basis,
    pub(super) lists: Option<usize>,
    pub(super) nprobe: Option<usize>,
    pub(super) quantization: IvfQuantization,
    pub(super) sub_vectors: Option<usize>,
    pub(super) originals: Originals,
    pub(super) seed: u64,
}

/// Maximum number of lists.
pub(super) const MAX_LISTS: usize = 1 << 20;

impl IvfBuilder {
    pub(super) fn new(dimension: usize, metric: Metric) -> Self {
        Self {
            basis: Basis::new(dimension, metric),
            lists: None,
            nprobe: None,
            quantization: IvfQuantization::default(),
            sub_vectors: None,
            originals: Originals::default(),
            seed: 0x6e65_6172,
        }
    }

    basis_settings!();

    /// Sets the number of lists, 1 to 1,048,576. The default is four times the square root of the number of
    /// vectors, chosen anew at each training, and the index is trained again when it has grown. An
    /// index with a chosen number of lists is trained once it has 32 vectors for each list, and
    /// then only if the data moves ([`ListStats::strays`](crate::report::ListStats::strays)), or by
    /// [`Ivf::train`].
    pub fn lists(mut self, lists: usize) -> Self {
        self.lists = Some(lists);
        self
    }

    /// Sets the lists that a search reads if it sets none ([`Search::nprobe`](crate::Search::nprobe));
    /// the default is twice the
    /// square root of the number of lists.
    pub fn nprobe(mut self, nprobe: usize) -> Self {
        self.nprobe = Some(nprobe);
        self
    }

    /// Sets the form that searches read; the default is the vectors themselves ([`IvfQuantization::None`]).
    ///
    /// ```
    /// use nearfield::{Ivf, IvfQuantization, Metric, Originals};
    ///
    /// // Codes find the candidates, half-precision vectors decide.
    /// let index = Ivf::builder(384, Metric::Cosine)
    ///     .element(nearfield::Element::F16)
    ///     .quantization(IvfQuantization::Pq4)
    ///     .build()?;
    /// // Codes are all there is: 192 bytes a vector, and some for its key and its place.
    /// let small = Ivf::builder(384, Metric::Cosine)
    ///     .quantization(IvfQuantization::Rabitq4)
    ///     .originals(Originals::Dropped)
    ///     .build()?;
    /// # Ok::<(), nearfield::IndexError>(())
    /// ```
    pub fn quantization(mut self, quantization: IvfQuantization) -> Self {
        self.quantization = quantization;
        self
    }

    /// Sets the sub-vectors of [`IvfQuantization::Pq4`], half a byte each: 1 to the dimension; the default is half the
    /// dimension. Other quantizations ignore it.
    pub fn sub_vectors(mut self, sub_vectors: usize) -> Self {
        self.sub_vectors = Some(sub_vectors);
        self
    }

    /// Sets whether vectors are kept beside their codes, to measure the best candidates again; the default
    /// keeps them. Without them every training after the first uses decoded vectors,
    /// and loses some precision: insert such an index's vectors in few, large batches.
    /// [`Originals::Sq8`] and [`Originals::Sq12`] are for graphs.
    pub fn originals(mut self, originals: Originals) -> Self {
        self.originals = originals;
        self
    }

    /// Sets the seed of the clustering and of a quantizer's rotation.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Builds the empty index.
    ///
    /// # Errors
    ///
    /// [`IndexError::Parameter`] for a setting out of its range, [`IndexError::Unsupported`] for
    /// a metric that is not defined over the element type.
    pub fn build(self) -> Result<Ivf, IndexError> {
        let (encoder, isa, engine) = self.basis.check()?;
        if let Some(lists) = self.lists {
            in_range("lists", lists, 1..=MAX_LISTS, "1 to 1048576")?;
        }
        if self.nprobe == Some(0) {
            in_range("nprobe", 0, 1..=usize::MAX, "1 or more")?;
        }
        if let Some(sub_vectors) = self.sub_vectors {
            in_range("sub_vectors", sub_vectors, 1..=encoder.dimension, "1 to the dimension")?;
        }
        let coded = self.quantization.resolved() != IvfQuantization::None;
        if encoder.element == Element::Bit && coded && self.quantization != IvfQuantization::Auto {
            return Err(IndexError::Parameter {
                name: "quantization",
                value: format!("{:?}", self.quantization),
                allowed: "None or Auto over packed bits, which are codes already",
            });
        }
        let quantization = if encoder.element == Element::Bit {
            IvfQuantization::None
        } else {
            self.quantization.resolved()
        };
        let allowed = match self.originals {
            Originals::Sq8 | Originals::Sq12 => Some("Kept or Dropped, in lists"),
            Originals::Dropped if quantization == IvfQuantization::None => {
                Some("Kept, unless there is a quantization that makes codes")
            }
            Originals::Kept | Originals::Dropped => None,
        };
        if let Some(allowed) = allowed {
            let value = format!("{:?}", self.originals);
            return Err(IndexError::Parameter { name: "originals", value, allowed });
        }
        let space = Space::new(encoder, isa, engine)?;
        Ok(Ivf::new(space, Self { quantization, ..self }))
    }
}
