//! The index under measurement, of any kind.

use nearfield::{Flat, Hnsw, IndexError, InsertBatch, Ivf, Search, SearchBatch, Stats, VectorRef};

use crate::args::{Effort, Kind, Settings};
use crate::sets::Set;

pub(crate) enum Subject {
    Hnsw(Box<Hnsw>),
    Ivf(Box<Ivf>),
    Flat(Box<Flat>),
}

impl Subject {
    pub(crate) fn new(set: &Set, settings: &Settings) -> Result<Self, IndexError> {
        Ok(match settings.index {
            Kind::Hnsw => {
                let mut builder = Hnsw::builder(set.dimension, set.metric)
                    .element(set.element)
                    .quantization(settings.quantization(set.dimension))
                    .originals(settings.originals)
                    .m(settings.m)
                    .ef_construction(settings.ef_construction);
                if let Some(alpha) = settings.alpha {
                    builder = builder.alpha(alpha);
                }
                Self::Hnsw(Box::new(builder.build()?))
            }
            Kind::Ivf => {
                let mut builder = Ivf::builder(set.dimension, set.metric)
                    .element(set.element)
                    .quantization(settings.quantization(set.dimension))
                    .originals(settings.originals);
                if let Some(lists) = settings.lists {
                    builder = builder.lists(lists);
                }
                Self::Ivf(Box::new(builder.build()?))
            }
            Kind::Flat => {
                let builder = Flat::builder(set.dimension, set.metric).element(set.element);
                Self::Flat(Box::new(builder.build()?))
            }
        })
    }

    pub(crate) fn insert_batch<'a>(&'a self, keys: &'a [u64], set: &'a Set) -> InsertBatch<'a> {
        match self {
            Self::Hnsw(index) => index.insert_batch(keys, &set.base),
            Self::Ivf(index) => index.insert_batch(keys, &set.base),
            Self::Flat(index) => index.insert_batch(keys, &set.base),
        }
    }

    pub(crate) fn search<'a>(&'a self, query: &'a VectorRef<'a>, effort: Effort) -> Search<'a> {
        let search = match self {
            Self::Hnsw(index) => index.search(query),
            Self::Ivf(index) => index.search(query),
            Self::Flat(index) => index.search(query),
        };
        let search = search.ef(effort.ef);
        effort.nprobe.map_or(search, |nprobe| search.nprobe(nprobe))
    }

    pub(crate) fn search_batch<'a>(&'a self, set: &'a Set, effort: Effort) -> SearchBatch<'a> {
        let search = match self {
            Self::Hnsw(index) => index.search_batch(&set.queries),
            Self::Ivf(index) => index.search_batch(&set.queries),
            Self::Flat(index) => index.search_batch(&set.queries),
        };
        let search = search.ef(effort.ef);
        effort.nprobe.map_or(search, |nprobe| search.nprobe(nprobe))
    }

    pub(crate) fn stats(&self) -> Stats {
        match self {
            Self::Hnsw(index) => index.stats(),
            Self::Ivf(index) => index.stats(),
            Self::Flat(index) => index.stats(),
        }
    }

    /// Returns the fault of the graph or the lists, if the check finds one.
    pub(crate) fn fault(&self) -> Option<String> {
        let report = match self {
            Self::Hnsw(index) => index.check(),
            Self::Ivf(index) => index.check(),
            Self::Flat(_) => return None,
        };
        (!report.is_ok()).then(|| report.to_string())
    }
}
