//! Rayon's pools, if their threads run in this process: a forked child has none of its parent's threads.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use crate::process::Process;

/// Returns the number of threads of the pool that the caller is in, or else of the global one.
pub(crate) fn count() -> usize {
    rayon::current_num_threads()
}

/// Returns whether the caller's thread is one of a pool.
pub(crate) fn is_in_pool() -> bool {
    rayon::current_thread_index().is_some()
}

/// Runs `task` in a thread of its own, or drops it if no thread can be started.
pub(crate) fn spawn(name: &str, task: impl FnOnce() + Send + 'static) {
    drop(thread::Builder::new().name(name.to_owned()).spawn(task));
}

/// Does `task` for each number below `count`, at least two, on the threads of the caller's pool.
pub(super) fn each(count: usize, task: &(dyn Fn(usize) + Sync)) {
    with_threads(|| (0..count).into_par_iter().with_max_len(1).for_each(task));
}

/// Runs `f`, which divides its work by rayon: in the caller's pool, else in rayon's global pool. In a forked child the global pool
/// of the parent has no threads, so `f` runs in a pool of the child.
pub(crate) fn with_threads<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    static OWN: KeptPool = KeptPool::new();

    // The caller's thread belongs to its pool. In a child forked by such a thread, it is the only thread and does all the work.
    if is_in_pool() || is_global_alive() {
        return f();
    }
    match OWN.get(|_| true, start_pool) {
        Ok(own) => install(&own, f),
        Err(_) => f(),
    }
}

/// Runs `f` in `pool`. Rayon's part is compiled once, and not for each `f`.
pub(crate) fn install<R: Send>(pool: &ThreadPool, f: impl FnOnce() -> R + Send) -> R {
    fn enter(pool: &ThreadPool, f: &mut (dyn FnMut() + Send)) {
        pool.install(f);
    }

    let (mut f, mut result) = (Some(f), None);
    enter(pool, &mut || result = f.take().map(|f| f()));
    result.expect("a pool runs a closure, or passes its panic on")
}

/// Returns whether the threads of rayon's global pool run in this process.
fn is_global_alive() -> bool {
    /// The process that has the threads. An atomic instead of a lock, because a child could inherit a locked lock.
    static HOME: AtomicU64 = AtomicU64::new(UNKNOWN);
    const UNKNOWN: u64 = 0;
    /// An earlier process, which had forked before this library asked.
    const ELSEWHERE: u64 = u64::MAX;

    let here = Process::current().number();
    let home = HOME.load(Ordering::Relaxed);
    if home != UNKNOWN {
        return home == here;
    }
    let found = match ThreadPoolBuilder::new().build_global() {
        Ok(()) => here,
        // The system provides no thread.
        Err(error) if error.source().is_some() => ELSEWHERE,
        // Another part of the program started it: in this process, or before a fork.
        Err(_) if answers() => here,
        Err(_) => ELSEWHERE,
    };
    let before = HOME.compare_exchange(UNKNOWN, found, Ordering::Relaxed, Ordering::Relaxed);
    before.map_or_else(|home| home, |_| found) == here
}

/// Returns whether a thread of the global pool takes up work. A thread that is busy for long counts as missing, which costs only the
/// threads of another pool.
fn answers() -> bool {
    const PATIENCE: Duration = Duration::from_millis(250);

    let answer = Arc::new((Mutex::new(false), Condvar::new()));
    let asked = Arc::clone(&answer);
    rayon::spawn(move || {
        *asked.0.lock() = true;
        asked.1.notify_one();
    });
    let mut answered = answer.0.lock();
    answer.1.wait_while_for(&mut answered, |answered| !*answered, PATIENCE);
    *answered
}

/// Starts a pool. If the system provides no thread, the caller's own thread is the pool.
fn start_pool() -> Result<ThreadPool, ThreadPoolBuildError> {
    let builder = || ThreadPoolBuilder::new().thread_name(|i| format!("nearfield-child-{i}"));
    builder().build().or_else(|_| builder().num_threads(1).use_current_thread().build())
}

/// The last pool that was started, and the process that started it.
#[derive(Debug, Default)]
pub(crate) struct KeptPool(Mutex<Option<(Process, Arc<ThreadPool>)>>);

impl KeptPool {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Returns the kept pool if it has threads in this process and `fits`, or else a new pool.
    pub(crate) fn get(
        &self,
        fits: impl Fn(&ThreadPool) -> bool,
        start: impl FnOnce() -> Result<ThreadPool, ThreadPoolBuildError>,
    ) -> Result<Arc<ThreadPool>, ThreadPoolBuildError> {
        let here = Process::current();
        let kept = self.0.lock().clone();
        if let Some((process, pool)) = kept
            && process == here
            && fits(&pool)
        {
            return Ok(pool);
        }
        // The lock is not held: starting takes long, and a child forked meanwhile would inherit it locked.
        let pool = Arc::new(start()?);
        *self.0.lock() = Some((here, Arc::clone(&pool)));
        Ok(pool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_kept_while_it_fits() {
        let kept = KeptPool::default();
        let get = |threads: usize| {
            let start = || ThreadPoolBuilder::new().num_threads(threads).build();
            kept.get(|pool| pool.current_num_threads() == threads, start).unwrap()
        };
        let two = get(2);
        assert!(Arc::ptr_eq(&two, &get(2)));
        let three = get(3);
        assert_eq!(three.current_num_threads(), 3);
        assert!(!Arc::ptr_eq(&two, &get(2)));
    }

    #[test]
    fn work_stays_in_the_pool_of_its_caller() {
        let pool = ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let inside = || with_threads(rayon::current_num_threads);
        assert_eq!(pool.install(inside), 3);
        assert_eq!(with_threads(|| 7), 7);
    }
}
