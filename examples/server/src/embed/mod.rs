//! Texts as vectors: an embedder, and a cache before it.

mod endpoint;
mod words;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use moka::sync::Cache;

use crate::problem::{Problem, Result};
use crate::settings::Settings;

pub use endpoint::Endpoint;
pub use words::Words;

/// Makes vectors of texts. Blocks, so it is called where blocking is allowed.
pub trait Embedder: Send + Sync + fmt::Debug {
    /// Returns the components of a vector.
    fn dimension(&self) -> usize;

    /// Returns the vector of a text.
    ///
    /// # Errors
    ///
    /// 422 if the text has no vector, 504 if the deadline passes, 503 if the embedder does not answer.
    fn embed(&self, text: &str, deadline: Instant) -> Result<Vec<f32>>;
}

/// The embedder of a service, with the vectors of recent texts.
#[derive(Debug, Clone)]
pub struct Embedding {
    embedder: Option<Arc<dyn Embedder>>,
    cache: Cache<String, Arc<[f32]>>,
}

impl Embedding {
    /// Returns the embedder that the settings name: a service, or else word vectors. Without word vectors at their place the server runs
    /// and refuses texts.
    ///
    /// # Errors
    ///
    /// The reason for which the embedding service cannot be called.
    pub fn open(settings: &Settings) -> std::result::Result<Self, String> {
        let embedder: Option<Arc<dyn Embedder>> =
            match (&settings.embed_url, settings.embed_dimension) {
                (Some(url), Some(dimension)) => {
                    Some(Arc::new(Endpoint::new(url, &settings.embed_model, dimension)?))
                }
                _ => match Words::open(&settings.words) {
                    Ok(words) => Some(Arc::new(words)),
                    Err(error) => {
                        tracing::warn!(%error, "no word vectors: texts have no embedder");
                        None
                    }
                },
            };
        Ok(Self::new(embedder, settings.limits.embedding_cache))
    }

    /// Returns an embedder with a cache of `capacity` texts.
    pub fn new(embedder: Option<Arc<dyn Embedder>>, capacity: u64) -> Self {
        Self { embedder, cache: Cache::new(capacity) }
    }

    /// Returns the components of a vector, or `None` without an embedder.
    pub fn dimension(&self) -> Option<usize> {
        self.embedder.as_ref().map(|embedder| embedder.dimension())
    }

    /// Returns the vector of a text if a recent request made it and it has this dimension. Does not block.
    pub fn cached(&self, text: &str, dimension: usize) -> Option<Arc<[f32]>> {
        let found = self.cache.get(text).filter(|vector| vector.len() == dimension);
        let outcome = if found.is_some() { "hit" } else { "miss" };
        metrics::counter!("server_cache_total", "cache" => "embedding", "outcome" => outcome)
            .increment(1);
        found
    }

    /// Returns the vector of a text. Blocks.
    ///
    /// # Errors
    ///
    /// As [`Embedder::embed`]; 422 without an embedder, or if the library takes vectors of another dimension.
    pub fn embed(&self, text: &str, dimension: usize, deadline: Instant) -> Result<Arc<[f32]>> {
        let embedder = self.embedder.as_ref();
        let embedder = embedder
            .ok_or_else(|| Problem::invalid("the service has no embedder; send a vector"))?;
        if embedder.dimension() != dimension {
            return Err(Problem::invalid(format!(
                "the library has vectors of {dimension} components, and the embedder makes {}; send a vector",
                embedder.dimension()
            )));
        }
        if let Some(vector) = self.cache.get(text) {
            return Ok(vector);
        }
        let since = Instant::now();
        let vector: Arc<[f32]> = embedder.embed(text, deadline)?.into();
        crate::workers::stage("embed", since.elapsed());
        self.cache.insert(text.to_owned(), Arc::clone(&vector));
        Ok(vector)
    }
}
