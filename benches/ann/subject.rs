//! The index under measurement, whichever it is.

use nearfield::{Flat, Hnsw, IndexError, InsertBatch, Search, SearchBatch, Stats, VectorRef};

use crate::args::{Kind, Settings};
use crate::sets::Set;

pub(crate) enum Subject {
    Hnsw(Box<Hnsw>),
    Flat(Box<Flat>),
}

impl Subject {
    pub(crate) fn new(set: &Set, settings: &Settings) -> Result<Self, IndexError> {
        Ok(match settings.index {
            Kind::Hnsw => {
                let mut builder = Hnsw::builder(set.dimension, set.metric)
                    .element(set.element)
                    .quantization(settings.quantization)
                    .originals(settings.originals)
                    .m(settings.m)
                    .ef_construction(settings.ef_construction);
                if let Some(alpha) = settings.alpha {
                    builder = builder.alpha(alpha);
                }
                Self::Hnsw(Box::new(builder.build()?))
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
            Self::Flat(index) => index.insert_batch(keys, &set.base),
        }
    }

    pub(crate) fn search<'a>(&'a self, query: &'a VectorRef<'a>) -> Search<'a> {
        match self {
            Self::Hnsw(index) => index.search(query),
            Self::Flat(index) => index.search(query),
        }
    }

    pub(crate) fn search_batch<'a>(&'a self, set: &'a Set) -> SearchBatch<'a> {
        match self {
            Self::Hnsw(index) => index.search_batch(&set.queries),
            Self::Flat(index) => index.search_batch(&set.queries),
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        match self {
            Self::Hnsw(index) => index.stats(),
            Self::Flat(index) => index.stats(),
        }
    }

    /// What is wrong with the graph, if anything.
    pub(crate) fn fault(&self) -> Option<String> {
        match self {
            Self::Hnsw(index) => {
                let report = index.check();
                (!report.is_ok()).then(|| report.to_string())
            }
            Self::Flat(_) => None,
        }
    }
}
