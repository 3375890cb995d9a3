//! The state that all requests share.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::body::Bytes;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{Caller, Keys, Right};
use crate::backup::Backups;
use crate::cache::{Key, Results, Stored};
use crate::document::check_vector;
use crate::embed::Embedding;
use crate::gather;
use crate::library::Library;
use crate::observe::recorder;
use crate::problem::{Problem, Result};
use crate::rate::Rate;
use crate::search::{SearchRequest, Wanted};
use crate::settings::{Limits, Settings};
use crate::shelf::Shelf;
use crate::workers::Workers;
use crate::writer;

/// The state that all requests share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App(Arc<Inner>);

/// The parts of the state.
#[derive(Debug)]
pub struct Inner {
    limits: Limits,
    shelf: Arc<Shelf>,
    workers: Arc<Workers>,
    embedding: Embedding,
    results: Results,
    keys: Keys,
    rate: Rate,
    backups: Backups,
    /// Whether another process writes the libraries.
    is_replica: bool,
    metrics: &'static PrometheusHandle,
    writers: TaskTracker,
    ending: CancellationToken,
    is_open: AtomicBool,
    started: Instant,
}

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl App {
    /// Returns the state of a service whose libraries are not open yet.
    ///
    /// # Errors
    ///
    /// A file of the settings that cannot be read; an address beyond the loopback without keys.
    pub fn new(settings: &Settings) -> std::result::Result<Self, String> {
        let keys = settings.keys.as_deref().map_or_else(|| Ok(Keys::default()), Keys::open)?;
        if !keys.are_needed() && !settings.listen.ip().is_loopback() {
            return Err(format!(
                "{} is reachable from other machines, and the service has no keys; set --keys, or listen on 127.0.0.1",
                settings.listen
            ));
        }
        let limits = settings.limits.clone();
        Ok(Self(Arc::new(Inner {
            shelf: Arc::new(Shelf::new(&settings.data, &limits)),
            workers: Arc::new(Workers::new(limits.threads(), limits.queue)),
            embedding: Embedding::open(settings)?,
            results: Results::new(limits.result_cache),
            rate: Rate::new(limits.rate),
            backups: Backups::new(settings.backups.as_deref()),
            is_replica: settings.replica,
            limits,
            keys,
            metrics: recorder()?,
            writers: TaskTracker::new(),
            ending: CancellationToken::new(),
            is_open: AtomicBool::new(false),
            started: Instant::now(),
        })))
    }

    /// Opens the libraries. Requests are refused until then.
    ///
    /// # Errors
    ///
    /// As [`Shelf::open`].
    pub async fn open(&self) -> Result<()> {
        let (shelf, is_replica) = (Arc::clone(&self.shelf), self.is_replica);
        let open = move || {
            if is_replica { shelf.scan().map(|()| Vec::new()) } else { shelf.open() }
        };
        for library in crate::workers::run_beside(open).await?? {
            self.begin(library);
        }
        self.is_open.store(true, Ordering::Release);
        Ok(())
    }

    /// Starts the writer of a library.
    pub fn begin(&self, library: Arc<Library>) {
        self.writers.spawn(writer::run(library));
    }

    /// Makes all changes that were accepted, writes checkpoints and closes the libraries.
    pub async fn close(&self) {
        self.is_open.store(false, Ordering::Release);
        let libraries = self.shelf.all();
        for library in &libraries {
            library.writer.end();
        }
        self.writers.close();
        self.writers.wait().await;
        if self.is_replica {
            return;
        }
        for library in libraries {
            let closed = crate::workers::run_beside(move || library.close()).await;
            if let Err(problem) = closed.and_then(|closed| closed) {
                tracing::error!(
                    detail = problem.detail(),
                    "a library was not closed; it loses nothing"
                );
            }
        }
    }

    /// Answers a search: from the cache, or else with others that wait.
    ///
    /// # Errors
    ///
    /// Those of the query, of full queues and of passed deadlines.
    pub async fn search(
        &self,
        library: &Arc<Library>,
        request: SearchRequest,
        arrived: Instant,
    ) -> Result<Stored> {
        let deadline = arrived + self.limits.timeout(request.timeout_ms);
        let wanted = Wanted::of(&request, &self.limits)?;
        let vector = self.query(library, request.vector, request.text, deadline).await?;
        let key = Key::of(library, &vector, &wanted);
        if let Some(stored) = self.results.get(&key) {
            return Ok(stored);
        }
        let answers = gather::search(library, &self.workers, vector, wanted, deadline).await?;
        let json = Bytes::from(serde_json::to_vec(&answers).map_err(Problem::internal)?);
        let stored = Stored { json, complete: answers.complete, etag: key.etag() };
        if stored.complete {
            self.results.insert(key, stored.clone());
        }
        Ok(stored)
    }

    /// Returns the vector of a query, which a text is embedded for.
    ///
    /// # Errors
    ///
    /// 422 unless the query has either, and as [`Embedding::embed`].
    pub async fn query(
        &self,
        library: &Arc<Library>,
        vector: Option<Vec<f32>>,
        text: Option<String>,
        deadline: Instant,
    ) -> Result<Arc<[f32]>> {
        let dimension = library.shape().dimension;
        match (vector, text) {
            (Some(vector), None) => {
                check_vector(&vector, dimension)?;
                Ok(vector.into())
            }
            (None, Some(text)) => {
                if let Some(vector) = self.embedding.cached(&text, dimension) {
                    return Ok(vector);
                }
                let embedding = self.embedding.clone();
                let embed = move || embedding.embed(&text, dimension, deadline);
                self.workers.run(deadline, embed).await
            }
            _ => Err(Problem::invalid("a search has either `vector` or `text`; send one of them")),
        }
    }

    /// Returns a library in which the client has the right. It is the only way from a name to a library.
    ///
    /// # Errors
    ///
    /// As [`Self::admit`]; 404 if it does not exist.
    pub fn library(&self, caller: &Caller, right: Right, name: &str) -> Result<Arc<Library>> {
        self.admit(caller, right, name)?;
        self.shelf.get(name)
    }

    /// Checks that the client has the right in a library of this name, and the service, too.
    ///
    /// # Errors
    ///
    /// 503 before the libraries are open, 403 without the right, and in a replica for any but that to read.
    pub fn admit(&self, caller: &Caller, right: Right, name: &str) -> Result<()> {
        self.check_open()?;
        caller.check(right, name)?;
        if self.is_replica && right != Right::Read {
            return Err(Problem::read_only());
        }
        Ok(())
    }
}

impl Inner {
    /// Checks that the libraries are open.
    ///
    /// # Errors
    ///
    /// 503 before and after.
    pub fn check_open(&self) -> Result<()> {
        if self.is_open.load(Ordering::Acquire) && !self.ending.is_cancelled() {
            return Ok(());
        }
        Err(Problem::unavailable("the service begins or ends; send the request again later"))
    }

    /// Returns the limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the libraries.
    pub fn shelf(&self) -> &Arc<Shelf> {
        &self.shelf
    }

    /// Returns the threads for blocking work.
    pub fn workers(&self) -> &Arc<Workers> {
        &self.workers
    }

    /// Returns the embedder.
    pub fn embedding(&self) -> &Embedding {
        &self.embedding
    }

    /// Returns the cache of results.
    pub fn results(&self) -> &Results {
        &self.results
    }

    /// Returns the keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Returns the rates of clients.
    pub fn rate(&self) -> &Rate {
        &self.rate
    }

    /// Returns the copies of libraries.
    pub fn backups(&self) -> &Backups {
        &self.backups
    }

    /// Returns the metrics.
    pub fn metrics(&self) -> &'static PrometheusHandle {
        self.metrics
    }

    /// Returns the token that is cancelled when the service begins to end.
    pub fn ending(&self) -> &CancellationToken {
        &self.ending
    }

    /// Returns the time of the start.
    pub fn started(&self) -> Instant {
        self.started
    }
}
