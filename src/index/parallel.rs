//! Threads that do the work of a batch.

use std::fmt;
use std::sync::Arc;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::IndexError;
use crate::threads::{self, KeptPool, install, with_threads};

/// Threads of a batch.
#[derive(Clone, Copy, Default)]
pub(super) enum Threads<'a> {
    /// The rayon pool that the caller is in, or else the global one.
    #[default]
    Ambient,
    /// This number of threads; one is the caller's own thread.
    Count(usize),
    /// The caller's pool.
    Pool(&'a ThreadPool),
}

impl fmt::Debug for Threads<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ambient => f.write_str("Ambient"),
            Self::Count(n) => f.debug_tuple("Count").field(n).finish(),
            Self::Pool(pool) => f.debug_tuple("Pool").field(&pool.current_num_threads()).finish(),
        }
    }
}

/// The last pool that was started for a thread count: most callers ask for the same count again.
#[derive(Debug, Default)]
pub(super) struct OwnPool(KeptPool);

impl OwnPool {
    fn get(&self, threads: usize) -> Result<Arc<ThreadPool>, IndexError> {
        let start = || {
            let builder = ThreadPoolBuilder::new().num_threads(threads);
            builder.thread_name(|i| format!("nearfield-{i}")).build()
        };
        let pool = self.0.get(|pool| pool.current_num_threads() == threads, start);
        pool.map_err(|e| IndexError::Threads { reason: e.to_string() })
    }
}

fn none() -> IndexError {
    IndexError::Parameter { name: "threads", value: 0.to_string(), allowed: "1 or more" }
}

impl Threads<'_> {
    /// Returns the number of threads.
    pub(super) fn count(self) -> Result<usize, IndexError> {
        match self {
            Self::Count(0) => Err(none()),
            Self::Count(threads) => Ok(threads),
            Self::Pool(pool) => Ok(pool.current_num_threads()),
            Self::Ambient => Ok(threads::count()),
        }
    }

    /// Runs `sequential` on the caller's thread if that is the only one, else `parallel` within
    /// the pool.
    pub(super) fn run<R: Send>(
        self,
        own: &OwnPool,
        sequential: impl FnOnce() -> R + Send,
        parallel: impl FnOnce() -> R + Send,
    ) -> Result<R, IndexError> {
        match self {
            Self::Count(0) => Err(none()),
            Self::Count(1) => Ok(sequential()),
            Self::Count(threads) => Ok(install(&*own.get(threads)?, parallel)),
            Self::Pool(pool) => Ok(install(pool, parallel)),
            Self::Ambient if threads::count() == 1 => Ok(sequential()),
            Self::Ambient => Ok(with_threads(parallel)),
        }
    }
}
