//! Which threads do the work of a batch.

use std::fmt;
use std::sync::Arc;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::IndexError;
use crate::sync::Mutex;

/// Where a batch runs.
#[derive(Clone, Copy, Default)]
pub(super) enum Threads<'a> {
    /// The rayon pool that the caller is in, or else the global one.
    #[default]
    Ambient,
    /// This many; one is the caller's own thread.
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

/// The last pool that was started for a thread count: most callers ask for the same again.
#[derive(Debug, Default)]
pub(super) struct OwnPool {
    last: Mutex<Option<Arc<ThreadPool>>>,
}

impl OwnPool {
    fn get(&self, threads: usize) -> Result<Arc<ThreadPool>, IndexError> {
        let mut last = self.last.lock();
        if let Some(pool) = last.as_ref().filter(|pool| pool.current_num_threads() == threads) {
            return Ok(Arc::clone(pool));
        }
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("nearfield-{i}"))
            .build()
            .map_err(|e| IndexError::Threads { reason: e.to_string() })?;
        let pool = Arc::new(pool);
        *last = Some(Arc::clone(&pool));
        Ok(pool)
    }
}

fn none() -> IndexError {
    IndexError::Parameter { name: "threads", value: 0.to_string(), allowed: "1 or more" }
}

impl Threads<'_> {
    /// How many there are.
    pub(super) fn count(self) -> Result<usize, IndexError> {
        match self {
            Self::Count(0) => Err(none()),
            Self::Count(threads) => Ok(threads),
            Self::Pool(pool) => Ok(pool.current_num_threads()),
            Self::Ambient => Ok(rayon::current_num_threads()),
        }
    }

    /// Runs `sequential` on the caller's thread if that is all there is, else `parallel` within
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
            Self::Count(threads) => Ok(own.get(threads)?.install(parallel)),
            Self::Pool(pool) => Ok(pool.install(parallel)),
            Self::Ambient if rayon::current_num_threads() == 1 => Ok(sequential()),
            Self::Ambient => Ok(parallel()),
        }
    }
}
