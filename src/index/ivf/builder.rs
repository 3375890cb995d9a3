//! Making an inverted-file index.

use super::Ivf;
use super::space::Space;
use crate::error::IndexError;
use crate::index::codes::{Originals, Quantization};
use crate::index::settings::{Basis, basis_settings, in_range};
use crate::metric::Metric;
use crate::simd::Isa;
use crate::vector::Element;

/// Form in which lists hold vectors for searches to read. A code is of the vector less its list's centroid, and is made once the
/// index is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListCoding {
    /// The vector itself.
    Vectors,
    /// Product quantization with 4 bits for each sub-vector.
    Pq4,
    /// `RaBitQ` with 1 bit a component.
    Rabitq1,
    Rabitq2,
    Rabitq4,
}

const PACKED: &str = "None or Auto over packed bits, which are codes already";

/// Returns the error about a quantization that lists cannot have.
fn refused(value: String, allowed: &'static str) -> IndexError {
    IndexError::Parameter { name: "quantization", value, allowed }
}

impl ListCoding {
    /// Returns the coding that a quantization means for vectors of `basis`, and the number of sub-vectors, if it was chosen.
    fn of(quantization: Quantization, basis: &Basis) -> Result<(Self, Option<usize>), IndexError> {
        let is_packed = basis.element == Element::Bit;
        let found = match quantization {
            Quantization::None => Ok((Self::Vectors, None)),
            Quantization::Auto if is_packed => Ok((Self::Vectors, None)),
            _ if is_packed => Err(PACKED),
            Quantization::Auto | Quantization::Rabitq { bits: 4 } => Ok((Self::Rabitq4, None)),
            Quantization::Rabitq { bits: 2 } => Ok((Self::Rabitq2, None)),
            Quantization::Rabitq { bits: 1 } => Ok((Self::Rabitq1, None)),
            Quantization::Pq4 => Ok((Self::Pq4, None)),
            Quantization::Pq { sub_vectors, bits: 4 } => Ok((Self::Pq4, Some(sub_vectors))),
            _ => Err("None, Auto, Pq4, Pq of 4 bits, Rabitq of 1, 2 or 4 bits, in lists"),
        };
        let checked = found.and_then(|(coding, sub_vectors)| {
            coding.check(sub_vectors, basis).map(|()| (coding, sub_vectors))
        });
        checked.map_err(|allowed| refused(format!("{quantization:?}"), allowed))
    }

    /// Returns an error that names the allowed quantizations if vectors of `basis` cannot have codes of this kind.
    fn check(self, sub_vectors: Option<usize>, basis: &Basis) -> Result<(), &'static str> {
        if basis.element == Element::Bit && self != Self::Vectors {
            return Err(PACKED);
        }
        match sub_vectors {
            Some(number) if number == 0 || number > basis.dimension => {
                Err("sub_vectors from 1 to the dimension")
            }
            _ => Ok(()),
        }
    }

    /// Returns the bits of a component, rounded up; `None` without codes.
    pub(super) fn bits(self) -> Option<u32> {
        match self {
            Self::Vectors => None,
            Self::Rabitq1 => Some(1),
            Self::Pq4 | Self::Rabitq2 => Some(2),
            Self::Rabitq4 => Some(4),
        }
    }
}

/// Settings that an index is made with and keeps for life.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ListSettings {
    pub(crate) dimension: usize,
    pub(crate) metric: Metric,
    pub(crate) element: Element,
    pub(crate) lists: Option<usize>,
    pub(crate) nprobe: Option<usize>,
    pub(crate) coding: ListCoding,
    /// Sub-vectors of product codes; `None` for half the dimension.
    pub(crate) sub_vectors: Option<usize>,
    pub(crate) originals: Originals,
    pub(crate) seed: u64,
}

impl ListSettings {
    /// Returns the empty index of these settings.
    pub(super) fn build(self, isa: Option<Isa>) -> Result<Ivf, IndexError> {
        let Self { dimension, metric, element, lists, nprobe, coding, .. } = self;
        let basis = Basis { dimension, metric, element, isa, custom: None };
        let (encoder, isa, engine) = basis.check()?;
        if let Some(lists) = lists {
            in_range("lists", lists, 1..=MAX_LISTS, "1 to 1048576")?;
        }
        if nprobe == Some(0) {
            in_range("nprobe", 0, 1..=usize::MAX, "1 or more")?;
        }
        coding.check(self.sub_vectors, &basis).map_err(|allowed| {
            let sub_vectors = self.sub_vectors.map(|number| format!(", {number} sub-vectors"));
            refused(format!("{coding:?}{}", sub_vectors.unwrap_or_default()), allowed)
        })?;
        let allowed = match self.originals {
            Originals::Sq8 | Originals::Sq12 => Some("Kept or Dropped, in lists"),
            Originals::Dropped if coding == ListCoding::Vectors => {
                Some("Kept, unless there is a quantization that makes codes")
            }
            Originals::Kept | Originals::Dropped => None,
        };
        if let Some(allowed) = allowed {
            let value = format!("{:?}", self.originals);
            return Err(IndexError::Parameter { name: "originals", value, allowed });
        }
        Ok(Ivf::new(Space::new(encoder, isa, engine)?, self))
    }
}

/// Settings of an [`Ivf`] index. Made by [`Ivf::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct IvfBuilder {
    basis: Basis,
    lists: Option<usize>,
    nprobe: Option<usize>,
    quantization: Quantization,
    originals: Originals,
    seed: u64,
}

/// Maximum number of lists.
pub(super) const MAX_LISTS: usize = 1 << 20;

impl IvfBuilder {
    pub(super) fn new(dimension: usize, metric: Metric) -> Self {
        Self {
            basis: Basis::new(dimension, metric),
            lists: None,
            nprobe: None,
            quantization: Quantization::default(),
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

    /// Sets the form that searches read; the default is the vectors themselves
    /// ([`Quantization::None`]). Lists hold product codes of 4 bits ([`Quantization::Pq4`], or [`Quantization::Pq`] with 4 bits) or
    /// `RaBitQ` codes ([`Quantization::Rabitq`]); [`Quantization::Auto`] is `RaBitQ` with 4 bits, the most precise. A code is of
    /// the vector less its list's centroid, and is made once the index is trained. 32 product codes are compared at a time.
    ///
    /// ```
    /// use nearfield::{Ivf, Metric, Originals, Quantization};
    ///
    /// // Codes find the candidates, half-precision vectors decide.
    /// let index = Ivf::builder(384, Metric::Cosine)
    ///     .element(nearfield::Element::F16)
    ///     .quantization(Quantization::Pq4)
    ///     .build()?;
    /// // Codes are all there is: 192 bytes a vector, and some for its key and its place.
    /// let small = Ivf::builder(384, Metric::Cosine)
    ///     .quantization(Quantization::Rabitq { bits: 4 })
    ///     .originals(Originals::Dropped)
    ///     .build()?;
    /// # Ok::<(), nearfield::IndexError>(())
    /// ```
    pub fn quantization(mut self, quantization: Quantization) -> Self {
        self.quantization = quantization;
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
        let Self { basis, lists, nprobe, quantization, originals, seed } = self;
        let (coding, sub_vectors) = ListCoding::of(quantization, &basis)?;
        let Basis { dimension, metric, element, isa, .. } = basis;
        let settings = ListSettings {
            dimension,
            metric,
            element,
            lists,
            nprobe,
            coding,
            sub_vectors,
            originals,
            seed,
        };
        settings.build(isa)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_take_a_quantization_if_they_have_codes_of_it() {
        let basis = Basis::new(9, Metric::L2);
        let of = |quantization| ListCoding::of(quantization, &basis);
        assert_eq!(of(Quantization::Auto), Ok((ListCoding::Rabitq4, None)));
        assert_eq!(of(Quantization::Rabitq { bits: 2 }), Ok((ListCoding::Rabitq2, None)));
        assert_eq!(of(Quantization::Pq4), Ok((ListCoding::Pq4, None)));
        let chosen = Quantization::Pq { sub_vectors: 9, bits: 4 };
        assert_eq!(of(chosen), Ok((ListCoding::Pq4, Some(9))));
        for (refused, named) in [
            (Quantization::Sq8, "Pq of 4 bits"),
            (Quantization::Sq4, "Pq of 4 bits"),
            (Quantization::Rabitq { bits: 3 }, "Rabitq of 1, 2 or 4 bits"),
            (Quantization::Pq { sub_vectors: 9, bits: 8 }, "Pq of 4 bits"),
            (Quantization::Pq { sub_vectors: 0, bits: 4 }, "from 1 to the dimension"),
            (Quantization::Pq { sub_vectors: 10, bits: 4 }, "from 1 to the dimension"),
        ] {
            let error = Ivf::builder(9, Metric::L2).quantization(refused).build().unwrap_err();
            let IndexError::Parameter { name, value, allowed } = error else { panic!("{error}") };
            assert_eq!((name, value), ("quantization", format!("{refused:?}")));
            assert!(allowed.contains(named), "{allowed}");
        }
    }
}
