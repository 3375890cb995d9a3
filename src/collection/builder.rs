//! The builder of collections, and the comparison of its settings with a file.

use std::time::Duration;

use crate::error::IndexError;
use crate::index::{CodeSettings, GraphSettings, Hnsw, Originals, Quantization, Settings, Stored};
use crate::metric::Metric;
use crate::quantization::{Bits, Coding};
use crate::simd::Isa;
use crate::store::StoreOptions;
use crate::vector::Element;

use super::error::CollectionError;
use super::format::Kind;
use super::tuning::Tuning;

/// Settings of a [`Collection`](crate::Collection). Made by [`Collection::builder`](crate::Collection::builder).
///
/// [`create`](Self::create) makes a collection; [`open`](Self::open) makes one, or opens the one in the file. The parameters that shape
/// the vectors and the graph are chosen when the collection is made, and the file keeps them. Opening compares the parameters that are
/// set here with the file, and takes the others from it.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `open` or `create` is called"]
pub struct CollectionBuilder {
    dimension: usize,
    metric: Metric,
    element: Option<Element>,
    m: Option<usize>,
    ef_construction: Option<usize>,
    alpha: Option<f32>,
    seed: Option<u64>,
    quantization: Option<Quantization>,
    originals: Option<Originals>,
    log_size: u64,
    page_size: u32,
    is_guarded: bool,
    tuning: Tuning,
}

impl CollectionBuilder {
    pub(super) fn new(dimension: usize, metric: Metric) -> Self {
        Self {
            dimension,
            metric,
            element: None,
            m: None,
            ef_construction: None,
            alpha: None,
            seed: None,
            quantization: None,
            originals: None,
            log_size: 8 << 20,
            page_size: 16 << 10,
            is_guarded: true,
            tuning: Tuning::default(),
        }
    }

    /// As [`HnswBuilder::element`](crate::HnswBuilder::element).
    pub fn element(mut self, element: Element) -> Self {
        self.element = Some(element);
        self
    }

    /// As [`HnswBuilder::m`](crate::HnswBuilder::m).
    pub fn m(mut self, m: usize) -> Self {
        self.m = Some(m);
        self
    }

    /// As [`HnswBuilder::ef_construction`](crate::HnswBuilder::ef_construction).
    pub fn ef_construction(mut self, ef_construction: usize) -> Self {
        self.ef_construction = Some(ef_construction);
        self
    }

    /// As [`HnswBuilder::alpha`](crate::HnswBuilder::alpha).
    pub fn alpha(mut self, alpha: f32) -> Self {
        self.alpha = Some(alpha);
        self
    }

    /// As [`HnswBuilder::seed`](crate::HnswBuilder::seed).
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// As [`HnswBuilder::quantization`](crate::HnswBuilder::quantization).
    pub fn quantization(mut self, quantization: Quantization) -> Self {
        self.quantization = Some(quantization);
        self
    }

    /// As [`HnswBuilder::originals`](crate::HnswBuilder::originals).
    pub fn originals(mut self, originals: Originals) -> Self {
        self.originals = Some(originals);
        self
    }

    /// As [`HnswBuilder::isa`](crate::HnswBuilder::isa); not kept in the file.
    pub fn isa(mut self, isa: Isa) -> Self {
        self.tuning.isa = Some(isa);
        self
    }

    /// As [`StoreOptions::log_size`](crate::store::StoreOptions::log_size); 8 MiB if not said. A file that exists keeps its own.
    pub fn log_size(mut self, bytes: u64) -> Self {
        self.log_size = bytes;
        self
    }

    /// As [`StoreOptions::page_size`](crate::store::StoreOptions::page_size); 16 KiB if not said. A file that exists keeps its own.
    pub fn page_size(mut self, bytes: u32) -> Self {
        self.page_size = bytes;
        self
    }

    /// Sets the bytes of journal after which a commit makes a checkpoint, or a sixteenth of the columns' bytes, if that is more; 8 MiB
    /// if not set. A checkpoint writes every chunk that changed, so a higher value makes writing faster and the file longer.
    /// [`Self::replay_limit`] bounds the time of opening. Not kept in the file.
    pub fn checkpoint_after(mut self, bytes: u64) -> Self {
        self.tuning.checkpoint_after = bytes;
        self
    }

    /// Sets the time that applying the journal may take on opening, 100 ms if not set. Not kept in the file.
    ///
    /// Applying a commit anew takes as long as it took the first time. A commit that finds that this would take longer, for all
    /// operations that the columns of the file lack, adds the rows that changed to a *delta* in the file: opening copies them. The next
    /// checkpoint drops the deltas. It is made earlier if they grow to the bytes that it would write, or to 16 MiB or a sixty-fourth of
    /// the columns' bytes. A lower limit makes opening faster, and a higher one makes commits write less. After a crash, opening may
    /// have to apply the whole last commit, however large it is.
    pub fn replay_limit(mut self, limit: Duration) -> Self {
        self.tuning.replay_limit = limit;
        self
    }

    /// Sets the bytes of memory that the collection may take for good; unlimited if not set. Not kept in the file.
    ///
    /// The limit counts the graph's rows, because any insertion may change any of them; vectors, keys and codes that are not in the
    /// file yet or were changed since the last checkpoint; transactions. Unchanged maps do not count, because the system takes them
    /// back when memory is short. When about half of the memory beside the graph is taken, the next transaction begins with a
    /// checkpoint after which everything is mapped; an operation that would go beyond the limit is refused with
    /// [`CollectionError::Memory`], and the transaction stays unchanged, so that it can be committed. The count is an upper estimate,
    /// except for scratch memory of searches (a bit for each vector and thread), snapshots, and applying the journal on opening
    /// ([`Self::checkpoint_after`]).
    ///
    /// Selections that are kept ([`Self::selection_memory`]) do not count.
    ///
    /// [`Collection::preload`](crate::Collection::preload) ignores the limit; the next transaction gives back the memory that it took.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.tuning.memory_limit = Some(bytes);
        self
    }

    /// Sets the bytes that the collection may keep selections in, 8 MiB if not set. Not kept in the file.
    ///
    /// A [`matching`](crate::Collection::matching) keeps the keys that it found, and those of costly clauses, until commits and other predicates
    /// take their place; the same predicate then costs a microsecond on the same commit, also on a [`Snapshot`](crate::Snapshot) of it. With 0,
    /// each predicate is evaluated anew. [`CollectionStats`](crate::collection::CollectionStats) counts them.
    pub fn selection_memory(mut self, bytes: u64) -> Self {
        self.tuning.selection_memory = bytes;
        self
    }

    /// Opens the file without locks, for file systems that have none: see
    /// [`StoreOptions::unguarded`](crate::store::StoreOptions::unguarded) for the promise that the caller makes. Not kept in the file.
    pub fn unguarded(mut self) -> Self {
        self.is_guarded = false;
        self
    }

    pub(super) fn tuning(&self) -> Tuning {
        self.tuning
    }

    pub(super) fn store_options(&self) -> StoreOptions {
        let options = StoreOptions::new().log_size(self.log_size).page_size(self.page_size);
        if self.is_guarded { options } else { options.unguarded() }
    }

    /// Returns the empty index, and the settings that the file keeps.
    pub(super) fn build(&self) -> Result<(Hnsw, Settings), IndexError> {
        let mut builder = Hnsw::builder(self.dimension, self.metric);
        if let Some(element) = self.element {
            builder = builder.element(element);
        }
        if let Some(m) = self.m {
            builder = builder.m(m);
        }
        if let Some(ef_construction) = self.ef_construction {
            builder = builder.ef_construction(ef_construction);
        }
        if let Some(alpha) = self.alpha {
            builder = builder.alpha(alpha);
        }
        if let Some(seed) = self.seed {
            builder = builder.seed(seed);
        }
        if let Some(quantization) = self.quantization {
            builder = builder.quantization(quantization);
        }
        if let Some(originals) = self.originals {
            builder = builder.originals(originals);
        }
        if let Some(isa) = self.tuning.isa {
            builder = builder.isa(isa);
        }
        let index = builder.build()?;
        let settings = index.frozen(|image| image.settings);
        Ok((index, settings))
    }

    /// Returns an error if a parameter that is set differs from the file's.
    pub(super) fn check(&self, stored: &Settings) -> Result<(), CollectionError> {
        // Building refuses parameters out of range, and turns alpha into the form that the file has.
        let given = self.build()?.1;
        let &Settings { dimension, metric, element, graph, codes } = stored;
        let (Some(graph), Some(given_graph)) = (graph, given.graph) else {
            return Kind::Exact.expect(Kind::Graph);
        };
        let GraphSettings { m, ef_construction, seed, alpha } = graph;
        same("dimension", dimension, given.dimension, |v| v.to_string())?;
        same("metric", metric, given.metric, |v| v.to_string())?;
        let element_given = self.element.unwrap_or(element);
        same("element", element, element_given, |v| v.to_string())?;
        same("m", m, self.m.unwrap_or(m), |v| v.to_string())?;
        let ef_given = self.ef_construction.unwrap_or(ef_construction);
        same("ef_construction", ef_construction, ef_given, |v| v.to_string())?;
        same("seed", seed, self.seed.unwrap_or(seed), |v| v.to_string())?;
        if self.quantization.is_some() || self.originals.is_some() {
            same("quantization", codes, given.codes, codes_text)?;
        }
        let alpha_given = if self.alpha.is_some() { given_graph.alpha } else { alpha };
        same("alpha", alpha, alpha_given, alpha_text)
    }
}

/// Refuses two values of a parameter that differ; `text` writes a value as callers give it to [`CollectionBuilder`].
pub(super) fn same<T: Copy + PartialEq>(
    name: &'static str,
    stored: T,
    given: T,
    text: impl Fn(T) -> String,
) -> Result<(), CollectionError> {
    if stored == given {
        return Ok(());
    }
    let (stored, given) = (text(stored), text(given));
    Err(CollectionError::Mismatch { path: None, name, stored, given })
}

/// Returns the codes and the originals beside them, in the words of [`Quantization`] and [`Originals`].
pub(super) fn codes_text(codes: Option<CodeSettings>) -> String {
    let Some(CodeSettings { coding, originals }) = codes else { return "none".to_owned() };
    let quantization = match coding {
        Coding::Scalar(Bits::Four) | Coding::Rounded(Bits::Four) => "Sq4".to_owned(),
        Coding::Scalar(Bits::Eight) | Coding::Rounded(Bits::Eight) => "Sq8".to_owned(),
        Coding::Scalar(Bits::Twelve) | Coding::Rounded(Bits::Twelve) => "Sq12".to_owned(),
        Coding::Rabitq { bits } => format!("Rabitq with {bits} bits"),
        Coding::Product { sub_vectors, bits } => {
            format!("Pq with {sub_vectors} sub-vectors of {bits} bits")
        }
    };
    let originals = match originals {
        Originals::Kept => "kept".to_owned(),
        Originals::Dropped => "dropped".to_owned(),
        originals => format!("{originals:?}"),
    };
    format!("{quantization} and {originals} originals")
}

/// Returns the `alpha` of [`CollectionBuilder`], of which files hold the square.
pub(super) fn alpha_text(alpha: Option<f32>) -> String {
    alpha.map_or_else(|| "1".to_owned(), |square| ((square.sqrt() * 1e4).round() / 1e4).to_string())
}
