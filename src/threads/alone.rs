//! The caller's thread, where no other can be started.

use std::fmt;
use std::sync::Arc;

use rayon::ThreadPool;

/// No thread can be started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Alone;

impl fmt::Display for Alone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebAssembly has one thread")
    }
}

pub(crate) fn count() -> usize {
    1
}

pub(crate) fn is_in_pool() -> bool {
    false
}

/// Runs `task` at once.
pub(crate) fn spawn(_name: &str, task: impl FnOnce() + Send + 'static) {
    task();
}

pub(super) fn each(count: usize, task: &(dyn Fn(usize) + Sync)) {
    (0..count).for_each(task);
}

pub(crate) fn with_threads<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    f()
}

pub(crate) fn install<R: Send>(_pool: &ThreadPool, f: impl FnOnce() -> R + Send) -> R {
    f()
}

/// No pool.
#[derive(Debug, Default)]
pub(crate) struct KeptPool;

impl KeptPool {
    #[expect(clippy::unused_self, reason = "a pool, where pools can be started")]
    pub(crate) fn get<E>(
        &self,
        _fits: impl Fn(&ThreadPool) -> bool,
        _start: impl FnOnce() -> Result<ThreadPool, E>,
    ) -> Result<Arc<ThreadPool>, Alone> {
        Err(Alone)
    }
}
