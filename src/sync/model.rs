//! Locks and epochs of the model checker.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::PoisonError;
use std::time::Duration;

use shuttle::sync::atomic::{AtomicBool, Ordering};

pub use super::Fault;

/// Keys hash alike in every run, because a schedule could not be replayed otherwise.
pub(crate) type RandomState = BuildHasherDefault<DefaultHasher>;

pub(crate) use shuttle::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

thread_local! {
    // All coroutines of a model run on one thread, so the thread's variables are the model's.
    static POINT: AtomicBool = const { AtomicBool::new(false) };
    static IS_EXPLORING: Cell<bool> = const { Cell::new(false) };
    static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
    static PINS: RefCell<Pins> = RefCell::default();
}

/// Plants a fault, or removes it, in the models that this thread runs from now on.
pub fn plant(fault: Option<Fault>) {
    PLANTED.set(fault);
}

/// Begins a run of a model: drops the state of the last run, which may have failed in the middle.
pub fn begin() {
    IS_EXPLORING.set(false);
    PINS.take();
}

/// Sets whether `step` is a schedule point from now on. Preparing a model takes many steps, during which no other thread runs.
pub fn explore(is_exploring: bool) {
    IS_EXPLORING.set(is_exploring);
}

pub(crate) fn is_planted(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

/// Marks a schedule point: another thread may run here.
pub(crate) fn step() {
    if IS_EXPLORING.get() && !std::thread::panicking() {
        // Shuttle asks its scheduler before each operation of its atomics.
        POINT.with(|point| point.load(Ordering::SeqCst));
    }
}

/// Lets other threads run.
pub(crate) fn pause(_time: Duration) {
    shuttle::thread::yield_now();
}

/// Shuttle's mutex with the interface of `parking_lot`'s.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok()
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shuttle's lock with the interface of `parking_lot`'s.
#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(shuttle::sync::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(shuttle::sync::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pins that a deferred function waits for, and the function.
type Waiting = (BTreeSet<u64>, Box<dyn FnOnce()>);

/// The pins that are held, and the deferred functions that wait for pins.
#[derive(Default)]
struct Pins {
    next: u64,
    held: BTreeSet<u64>,
    waiting: Vec<Waiting>,
}

/// An epoch's guard. A deferred function runs as early as epochs allow: when the last guard pinned at that moment is dropped.
/// `crossbeam` runs it then or later.
#[derive(Debug)]
pub(crate) struct Guard(u64);

/// Pins the caller.
pub(crate) fn pin() -> Guard {
    step();
    PINS.with_borrow_mut(|pins| {
        pins.next += 1;
        pins.held.insert(pins.next);
        Guard(pins.next)
    })
}

impl Guard {
    /// Runs `deferred` once all guards that are pinned now, this one included, are dropped.
    pub(crate) fn defer<R>(&self, deferred: impl FnOnce() -> R + Send + 'static) {
        PINS.with_borrow_mut(|pins| {
            debug_assert!(pins.held.contains(&self.0));
            let waiting = (pins.held.clone(), Box::new(|| drop(deferred())) as Box<_>);
            pins.waiting.push(waiting);
        });
    }

    /// Does nothing: deferred functions already run as early as possible.
    #[expect(clippy::unused_self, reason = "the face of crossbeam's")]
    pub(crate) fn flush(&self) {}
}

impl Drop for Guard {
    fn drop(&mut self) {
        step();
        let ready = PINS.with_borrow_mut(|pins| {
            pins.held.remove(&self.0);
            for (others, _) in &mut pins.waiting {
                others.remove(&self.0);
            }
            let waiting = std::mem::take(&mut pins.waiting);
            let (ready, waiting): (Vec<_>, _) =
                waiting.into_iter().partition(|(others, _)| others.is_empty());
            pins.waiting = waiting;
            ready
        });
        if !std::thread::panicking() {
            for (_, deferred) in ready {
                deferred();
            }
        }
    }
}
