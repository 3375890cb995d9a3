//! Builders of indexes.

use super::Hnsw;
use crate::distance::{Custom, CustomUse};
use crate::error::IndexError;
use crate::graph::Parameters;
use crate::index::codes::fitting::Quantized;
use crate::index::codes::{Originals, Quantization};
use crate::index::encode::Encoder;
use crate::index::entries::Entries;
use crate::index::settings::{Basis, basis_settings, in_range};
use crate::metric::Metric;
use crate::simd::Isa;
use crate::vector::Element;

/// Settings of an [`Hnsw`] index. Made by [`Hnsw::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct HnswBuilder {
    basis: Basis,
    m: usize,
    ef_construction: usize,
    alpha: f32,
    seed: u64,
    quantization: Quantization,
    originals: Originals,
    /// The last step of building.
    finish: fn(Hnsw) -> Hnsw,
}

/// Checks the parameters of a graph.
pub(in crate::index) fn check_graph(m: usize, ef_construction: usize) -> Result<(), IndexError> {
    in_range("m", m, 2..=512, "2 to 512")?;
    in_range("ef_construction", ef_construction, 1..=65_536, "1 to 65536")
}

/// Returns the parameters of the graph of an index.
pub(in crate::index) fn parameters(
    (m, ef_construction): (usize, usize),
    seed: u64,
    metric: Metric,
    custom: Option<&CustomUse>,
) -> Parameters {
    let are_products = metric == Metric::InnerProduct;
    let grow = !are_products && !custom.is_some_and(CustomUse::may_be_negative);
    Parameters { m, ef_construction, seed, are_products, grow }
}

impl HnswBuilder {
    pub(in crate::index) fn new(dimension: usize, metric: Metric) -> Self {
        Self::of(Basis::new(dimension, metric))
    }

    pub(in crate::index) fn custom(dimension: usize, custom: Custom) -> Self {
        let builder = Self::of(Basis::custom(dimension, custom));
        Self { finish: Hnsw::with_undo, ..builder }
    }

    fn of(basis: Basis) -> Self {
        Self {
            basis,
            m: 16,
            ef_construction: 200,
            alpha: 1.0,
            seed: 0x6e65_6172,
            quantization: Quantization::default(),
            originals: Originals::default(),
            finish: std::convert::identity,
        }
    }

    basis_settings!();

    /// Sets the number of neighbours that a new node chooses on each level, and half of the links that a node of the
    /// base level keeps; 2 to 512, 16 by default. More: better recall, more memory (`8 * m` bytes a node), slower
    /// insertion.
    pub fn m(mut self, m: usize) -> Self {
        self.m = m;
        self
    }

    /// Sets the number of candidates that an insertion considers, 1 to 65,536, 200 by default. More: a better graph,
    /// slower insertion.
    pub fn ef_construction(mut self, ef_construction: usize) -> Self {
        self.ef_construction = ef_construction;
        self
    }

    /// Sets the factor by which a neighbour must be nearer to a candidate than the new node is, to make a link to that
    /// candidate superfluous (the factor of Vamana's RobustPrune); 1.0 to 2.0, 1.0 by default. More keeps more long
    /// links. Ignored under [`Metric::InnerProduct`], because it has no geometric meaning there. The distances of a custom
    /// metric are taken as they are.
    pub fn alpha(mut self, alpha: f32) -> Self {
        self.alpha = alpha;
        self
    }

    /// Sets the codes that walks read; by default they read the vectors themselves ([`Quantization::None`]).
    /// [`Quantization::Auto`] makes searches over `f32` 1.5 to 4 times as fast and insertions 1.3 to 3 times, for an
    /// eighth of the memory of the vectors more. Over `f16`, which is read faster to begin with, it is 1.05 times for
    /// searches of 100 components, 1.2 times for 128, 2.5 times for 384.
    ///
    /// ```
    /// use nearfield::{Element, Hnsw, Metric, Originals, Quantization};
    ///
    /// // Walks on 4-bit codes, answers from half-precision vectors.
    /// let index = Hnsw::builder(384, Metric::Cosine)
    ///     .element(Element::F16)
    ///     .quantization(Quantization::Auto)
    ///     .build()?;
    /// // As good answers, from vectors rounded to 12 bits: half of the memory that `f32` takes without codes.
    /// let half = Hnsw::builder(384, Metric::Cosine)
    ///     .quantization(Quantization::Sq4)
    ///     .originals(Originals::Sq12)
    ///     .build()?;
    /// // A fifth: the codes are all there is.
    /// let small = Hnsw::builder(384, Metric::Cosine)
    ///     .quantization(Quantization::Sq4)
    ///     .originals(Originals::Dropped)
    ///     .build()?;
    /// # Ok::<(), nearfield::IndexError>(())
    /// ```
    pub fn quantization(mut self, quantization: Quantization) -> Self {
        self.quantization = quantization;
        self
    }

    /// Sets whether vectors are kept beside their codes, whole or rounded; by default they are kept whole.
    pub fn originals(mut self, originals: Originals) -> Self {
        self.originals = originals;
        self
    }

    /// Sets the seed of the levels that nodes are given, and of a quantizer's rotation.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Returns the empty index.
    ///
    /// # Errors
    ///
    /// [`IndexError::Parameter`] for a setting out of its range, [`IndexError::Unsupported`] for
    /// a metric that is not defined over the element type.
    pub fn build(self) -> Result<Hnsw, IndexError> {
        let Self { basis, m, ef_construction, alpha, seed, quantization, originals, finish } = self;
        let (encoder, isa, engine) = basis.check()?;
        let Encoder { dimension, metric, .. } = encoder;
        check_graph(m, ef_construction)?;
        if !(1.0..=2.0).contains(&alpha) {
            return Err(IndexError::Parameter {
                name: "alpha",
                value: alpha.to_string(),
                allowed: "1.0 to 2.0",
            });
        }
        // Keys order squared distances (half of them, for cosine), so the factor is squared.
        let squared = metric != Metric::InnerProduct && alpha > 1.0;
        let alpha = squared.then_some(alpha * alpha);
        let parameters = parameters((m, ef_construction), seed, metric, engine.custom_use());
        let coding = quantization.coding(&encoder)?;
        if coding.is_none() && !originals.is_kept() {
            return Err(IndexError::Parameter {
                name: "originals",
                value: format!("{originals:?}"),
                allowed: "Kept, unless there is a quantization that makes codes",
            });
        }
        let quantized =
            coding.map(|coding| Quantized::new(coding, originals, dimension, metric, seed, isa));
        Ok(finish(Hnsw::new(Entries::new(encoder, engine, quantized), isa, parameters, alpha)))
    }
}
