//! Threads that do the work of a batch.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::IndexError;
use crate::threads::{KeptPool, with_threads};

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
            Self::Ambient => Ok(rayon::current_num_threads()),
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
            Self::Count(threads) => Ok(own.get(threads)?.install(parallel)),
            Self::Pool(pool) => Ok(pool.install(parallel)),
            Self::Ambient if rayon::current_num_threads() == 1 => Ok(sequential()),
            Self::Ambient => Ok(with_threads(parallel)),
        }
    }
}

/// Does `task` for each turn below `count` on the threads of the pool that the caller is in, the first turns first; ends
/// at an error.
pub(super) fn in_turn<E: Send>(
    count: usize,
    task: impl Fn(usize) -> Result<(), E> + Sync,
) -> Result<(), E> {
    /// Maximum number of turns that a thread takes at once.
    const RUN: usize = 64;
    /// Minimum number of shares for each thread: none must be left with a long rest.
    const SHARES: usize = 16;

    let run = (count / (SHARES * rayon::current_num_threads())).clamp(1, RUN);
    let next = AtomicUsize::new(0);
    // Rayon's ranges would begin in the middle, too.
    (0..count.div_ceil(run)).into_par_iter().with_max_len(1).try_for_each(|_| {
        let first = next.fetch_add(run, Ordering::Relaxed);
        (first..count.min(first + run)).try_for_each(&task)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Mutex;

    #[test]
    fn each_turn_comes_once_the_first_ones_first_and_an_error_ends_it() {
        let own = OwnPool::default();
        for (threads, count) in [(2, 0), (2, 1), (3, 10), (2, 1000), (4, 5000)] {
            let turns = Mutex::new(Vec::new());
            let all = || {
                in_turn(count, |turn| {
                    turns.lock().push(turn);
                    Ok::<(), ()>(())
                })
            };
            own.get(threads).unwrap().install(all).unwrap();
            let turns = turns.into_inner();
            // No turn is farther from its place than the turns that the other threads hold.
            assert!(turns.iter().enumerate().all(|(at, &turn)| turn <= at + threads * 64));
            let mut sorted = turns;
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..count));
        }
        let failing = || in_turn(100_000, |turn| if turn == 100 { Err(turn) } else { Ok(()) });
        assert_eq!(own.get(2).unwrap().install(failing), Err(100));
    }
}
