//! Work that is divided among the threads of the caller's pool.
//!
//! Rayon's iterators are compiled anew for each closure, with some thousand lines of code each. Here they are compiled once, and closures
//! are called through pointers, once for each task.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::pools;

/// Does `task` for each number below `count`.
fn each(count: usize, task: &(dyn Fn(usize) + Sync)) {
    if count < 2 {
        return (0..count).for_each(task);
    }
    pools::each(count, task);
}

/// Returns the results of `task` for each number below `count`, in the order of the numbers.
pub(crate) fn map<R: Send>(count: usize, task: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let results: Vec<Mutex<Option<R>>> = (0..count).map(|_| Mutex::new(None)).collect();
    each(count, &|at| {
        let result = task(at);
        *results[at].lock() = Some(result);
    });
    results.into_iter().filter_map(Mutex::into_inner).collect()
}

/// Returns the results of `task` for each chunk of `len` of the items, the last one perhaps shorter, and its number, in their order.
pub(crate) fn map_parts<T: Sync, R: Send>(
    items: &[T],
    len: usize,
    task: impl Fn(usize, &[T]) -> R + Sync,
) -> Vec<R> {
    let part = |at: usize| &items[at * len..items.len().min((at + 1) * len)];
    map(items.len().div_ceil(len), |at| task(at, part(at)))
}

/// Returns [`map_parts`] of items that `task` changes.
pub(crate) fn map_chunks<T: Send, R: Send>(
    items: &mut [T],
    len: usize,
    task: impl Fn(usize, &mut [T]) -> R + Sync,
) -> Vec<R> {
    let chunks: Vec<Mutex<&mut [T]>> = items.chunks_mut(len).map(Mutex::new).collect();
    map(chunks.len(), |at| task(at, &mut chunks[at].lock()))
}

/// Does `task` for each turn below `count`, the first turns first; ends at an error.
pub(crate) fn in_turn<E: Send>(
    count: usize,
    task: impl Fn(usize) -> Result<(), E> + Sync,
) -> Result<(), E> {
    /// Maximum number of turns that a thread takes at once.
    const RUN: usize = 64;
    /// Minimum number of shares for each thread: none must be left with a long rest.
    const SHARES: usize = 16;

    let run = (count / (SHARES * pools::count())).clamp(1, RUN);
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
    // Rayon's ranges would begin in the middle, too.
    each(count.div_ceil(run), &|_| {
        let first = next.fetch_add(run, Ordering::Relaxed).min(count);
        if let Err(error) = (first..count.min(first + run)).try_for_each(&task) {
            // Later turns are beyond the end.
            next.store(count, Ordering::Relaxed);
            *failed.lock() = Some(error);
        }
    });
    failed.into_inner().map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use rayon::ThreadPoolBuilder;

    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_tasks() {
        let pool = ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        for count in [0, 1, 2, 1000] {
            let squares: Vec<usize> = (0..count).map(|at| at * at).collect();
            assert_eq!(pool.install(|| map(count, |at| at * at)), squares);
            let mut items: Vec<usize> = (0..count).collect();
            let sums = pool.install(|| {
                map_chunks(&mut items, 7, |at, chunk| {
                    let sum: usize = chunk.iter().sum();
                    chunk.fill(at);
                    sum
                })
            });
            assert!(items.iter().enumerate().all(|(at, &item)| item == at / 7));
            let all: Vec<usize> = (0..count).collect();
            let expected: Vec<usize> = all.chunks(7).map(|chunk| chunk.iter().sum()).collect();
            assert_eq!(sums, expected);
            let parts = pool.install(|| map_parts(&all, 7, |at, part| (at, part.to_vec())));
            assert!(parts.into_iter().eq(all.chunks(7).map(<[_]>::to_vec).enumerate()));
        }
    }

    #[test]
    fn each_turn_comes_once_the_first_ones_first_and_an_error_ends_it() {
        for (threads, count) in [(2, 0), (2, 1), (3, 10), (2, 1000), (4, 5000)] {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let turns = Mutex::new(Vec::new());
            let all = || {
                in_turn(count, |turn| {
                    turns.lock().push(turn);
                    Ok::<(), ()>(())
                })
            };
            pool.install(all).unwrap();
            let turns = turns.into_inner();
            // No turn is farther from its place than the turns that the other threads hold.
            assert!(turns.iter().enumerate().all(|(at, &turn)| turn <= at + threads * 64));
            let mut sorted = turns;
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..count));
        }
        let pool = ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let failing = || in_turn(100_000, |turn| if turn == 100 { Err(turn) } else { Ok(()) });
        assert_eq!(pool.install(failing), Err(100));
    }
}
