//! The settings of a server: flags, or variables of the environment.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// The word vectors that the repository carries.
const WORDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../benches/data/words-100-10k");

/// A server for libraries of documents, found by the nearness of their vectors.
///
/// Without settings it listens on 127.0.0.1:8080 and keeps its libraries in ./data.
#[derive(Debug, Parser)]
#[command(name = "server", version)]
pub struct Command {
    /// Settings of the server.
    #[command(flatten)]
    pub settings: Settings,
    /// Another task than serving.
    #[command(subcommand)]
    pub task: Option<Task>,
}

/// A task other than serving.
#[derive(Debug, Clone, Subcommand)]
pub enum Task {
    /// Print a new API key, and the entry of the key file that admits it.
    NewKey {
        /// The name of the entry, shown in logs.
        name: String,
        /// The libraries that the key opens; `*` is all of them.
        #[arg(long, default_value = "*")]
        libraries: Vec<String>,
    },
}

/// Settings of a server.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Address to listen on. Any address beyond the loopback needs `--keys`.
    #[arg(long, env = "SERVER_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Folder of the libraries.
    #[arg(long, env = "SERVER_DATA", default_value = "data")]
    pub data: PathBuf,
    /// Answer searches of the libraries that another process on this machine writes in the same folder, and refuse changes.
    #[arg(long, env = "SERVER_REPLICA")]
    pub replica: bool,
    /// Folder for backups of libraries. Without it the service makes none.
    #[arg(long, env = "SERVER_BACKUPS")]
    pub backups: Option<PathBuf>,
    /// File of API keys, made with `new-key`. Without it every client on the loopback may do everything.
    #[arg(long, env = "SERVER_KEYS")]
    pub keys: Option<PathBuf>,
    /// Folder of the word vectors that embed texts.
    #[arg(long, env = "SERVER_WORDS", default_value = WORDS)]
    pub words: PathBuf,
    /// Embedding service in the place of word vectors: the address of an `embeddings` endpoint as `OpenAI` defines it, by http.
    #[arg(long, env = "SERVER_EMBED_URL", requires = "embed_dimension")]
    pub embed_url: Option<String>,
    /// Model that the embedding service is asked for.
    #[arg(long, env = "SERVER_EMBED_MODEL", default_value = "default")]
    pub embed_model: String,
    /// Components of a vector of the embedding service.
    #[arg(long, env = "SERVER_EMBED_DIMENSION")]
    pub embed_dimension: Option<usize>,
    /// Limits of requests, queues and caches.
    #[command(flatten)]
    pub limits: Limits,
}

/// Limits of requests, queues and caches.
#[derive(Debug, Clone, Args)]
pub struct Limits {
    /// Threads that search at one time; the number of cores if not set.
    #[arg(long, env = "SERVER_THREADS")]
    pub threads: Option<usize>,
    /// Requests that may wait for a thread; further ones are refused with 429.
    #[arg(long, env = "SERVER_QUEUE", default_value_t = 256)]
    pub queue: usize,
    /// Milliseconds that a request may take if it names no limit itself, its time in queues included.
    #[arg(long, env = "SERVER_TIMEOUT_MS", default_value_t = 2_000)]
    pub timeout_ms: u64,
    /// Milliseconds that a request may ask for at most.
    #[arg(long, env = "SERVER_MAX_TIMEOUT_MS", default_value_t = 60_000)]
    pub max_timeout_ms: u64,
    /// Concurrent searches that are answered together, at most; 1 answers each alone.
    #[arg(long, env = "SERVER_BATCH", default_value_t = 64)]
    pub batch: usize,
    /// Microseconds for which a search may wait for others while other threads search, at most 500.
    #[arg(long, env = "SERVER_GATHER_US", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=500))]
    pub gather_us: u64,
    /// Bytes of the body of a request; bulk loads are streams and have no limit of their own.
    #[arg(long, env = "SERVER_BODY_BYTES", default_value_t = 2 << 20)]
    pub body_bytes: usize,
    /// Bytes of one line of a bulk load.
    #[arg(long, env = "SERVER_LINE_BYTES", default_value_t = 1 << 20)]
    pub line_bytes: usize,
    /// Components of a vector.
    #[arg(long, env = "SERVER_MAX_DIMENSION", default_value_t = 4_096)]
    pub max_dimension: usize,
    /// Answers of a search.
    #[arg(long, env = "SERVER_MAX_K", default_value_t = 1_000)]
    pub max_k: usize,
    /// Libraries of the server.
    #[arg(long, env = "SERVER_MAX_LIBRARIES", default_value_t = 256)]
    pub max_libraries: usize,
    /// Requests a second of one client, by its key or else its address; unlimited if not set.
    #[arg(long, env = "SERVER_RATE")]
    pub rate: Option<NonZeroU32>,
    /// Bytes of the cache of results; 0 turns it off.
    #[arg(long, env = "SERVER_RESULT_CACHE", default_value_t = 64 << 20)]
    pub result_cache: u64,
    /// Texts whose embedding is cached; 0 turns the cache off.
    #[arg(long, env = "SERVER_EMBEDDING_CACHE", default_value_t = 10_000)]
    pub embedding_cache: u64,
    /// Milliseconds between two looks of a replica for newer commits.
    #[arg(long, env = "SERVER_REFRESH_MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub refresh_ms: u64,
    /// Seconds for which requests may go on after the signal to end.
    #[arg(long, env = "SERVER_GRACE_S", default_value_t = 10)]
    pub grace_s: u64,
}

impl Settings {
    /// Returns the settings of a server that is started without flags, in a folder of data.
    pub fn in_folder(data: impl Into<PathBuf>) -> Self {
        let mut settings = Command::parse_from(["server"]).settings;
        settings.data = data.into();
        settings
    }
}

impl Limits {
    /// Returns the number of threads that search at one time.
    pub fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.unwrap_or_else(cores).max(1)
    }

    /// Returns the time that a request may take which asks for `wanted` milliseconds.
    pub fn timeout(&self, wanted: Option<u64>) -> Duration {
        Duration::from_millis(wanted.unwrap_or(self.timeout_ms).min(self.max_timeout_ms))
    }

    /// Returns the time for which a search may wait for others.
    pub fn gather(&self) -> Duration {
        Duration::from_micros(self.gather_us)
    }
}
