//! A value that one caller at a time holds: the right to write.

use std::fmt;
use std::thread::{self, ThreadId};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::clock::Instant;

/// Time that a thread waits for a value that it took itself. A program may have handed the value to another
/// thread, which has not used it yet.
const GRACE: Duration = Duration::from_millis(250);

/// A value that callers take and give back.
pub(crate) struct Turn<T> {
    state: Mutex<State<T>>,
    returned: Condvar,
}

struct State<T> {
    /// `None` while a caller holds the value.
    value: Option<T>,
    holder: Option<Holder>,
    /// The first error after which the value is refused.
    cause: Option<String>,
}

/// The thread that holds the value.
#[derive(Clone, Copy)]
struct Holder {
    /// The thread that took the value or, after it was handed to another thread, used it last.
    thread: ThreadId,
    /// Whether the thread runs a closure of the caller, so that it keeps the value for sure.
    calls_back: bool,
}

impl Holder {
    fn current(calls_back: bool) -> Self {
        Self { thread: thread::current().id(), calls_back }
    }
}

/// The reason for which a caller does not get the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No caller gets the value any more, after this error.
    Over { cause: String },
    /// The calling thread holds the value.
    Deadlock,
}

impl<T> Turn<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            state: Mutex::new(State { value: Some(value), holder: None, cause: None }),
            returned: Condvar::new(),
        }
    }

    /// Waits for the value and takes it. A thread that holds it already gets [`Refusal::Deadlock`]: at once in a
    /// callback, else after [`GRACE`].
    pub(crate) fn take(&self) -> Result<T, Refusal> {
        self.take_if(false)
    }

    /// As [`Self::take`], and after [`Self::end`] as well: the caller must change nothing.
    pub(crate) fn take_to_look(&self) -> Result<T, Refusal> {
        self.take_if(true)
    }

    fn take_if(&self, over: bool) -> Result<T, Refusal> {
        let this = Holder::current(false);
        let mut deadline = None;
        let mut state = self.state.lock();
        loop {
            if let Some(cause) = &state.cause
                && !over
            {
                return Err(Refusal::Over { cause: cause.clone() });
            }
            if let Some(value) = state.value.take() {
                state.holder = Some(this);
                return Ok(value);
            }
            match state.holder {
                Some(holder) if holder.thread == this.thread => {
                    let now = Instant::now();
                    let deadline = *deadline.get_or_insert(now + GRACE);
                    // In WebAssembly the caller is the only thread, so no other gives the value back.
                    let is_alone = cfg!(target_family = "wasm");
                    if holder.calls_back || is_alone || now >= deadline {
                        return Err(Refusal::Deadlock);
                    }
                    self.returned.wait_for(&mut state, deadline.saturating_duration_since(now));
                }
                _ => {
                    deadline = None;
                    self.returned.wait(&mut state);
                }
            }
        }
    }

    /// Takes the value unless another caller holds it.
    pub(crate) fn try_take(&self) -> Result<Option<T>, Refusal> {
        let mut state = self.state.lock();
        if let Some(cause) = &state.cause {
            return Err(Refusal::Over { cause: cause.clone() });
        }
        let value = state.value.take();
        if value.is_some() {
            state.holder = Some(Holder::current(false));
        }
        Ok(value)
    }

    /// Notes that the calling thread uses the value that was taken, perhaps on another thread.
    pub(crate) fn used(&self) {
        let mut state = self.state.lock();
        if state.value.is_none() {
            state.holder = Some(Holder::current(false));
        }
    }

    /// Notes that the calling thread, which holds the value, runs a closure of the caller from now on: until the
    /// value is given back, [`Self::take`] on this thread is refused at once.
    pub(crate) fn ask(&self) {
        self.state.lock().holder = Some(Holder::current(true));
    }

    pub(crate) fn give_back(&self, value: T) {
        let mut state = self.state.lock();
        (state.value, state.holder) = (Some(value), None);
        drop(state);
        self.returned.notify_one();
    }

    /// Calls `f` with the value once no caller holds it. The value is given back after an error and a panic, too.
    pub(crate) fn with<R, E: From<Refusal>>(
        &self,
        f: impl FnOnce(&mut T) -> Result<R, E>,
    ) -> Result<R, E> {
        self.lend(self.take()?, f)
    }

    /// As [`Self::with`], and after [`Self::end`] as well: `f` must change nothing.
    pub(crate) fn look<R, E: From<Refusal>>(
        &self,
        f: impl FnOnce(&T) -> Result<R, E>,
    ) -> Result<R, E> {
        self.lend(self.take_to_look()?, |value| f(value))
    }

    /// As [`Self::with`], unless another caller holds the value.
    pub(crate) fn try_with<R, E: From<Refusal>>(
        &self,
        f: impl FnOnce(&mut T) -> Result<R, E>,
    ) -> Result<Option<R>, E> {
        self.try_take()?.map(|value| self.lend(value, f)).transpose()
    }

    fn lend<R, E: From<Refusal>>(
        &self,
        value: T,
        f: impl FnOnce(&mut T) -> Result<R, E>,
    ) -> Result<R, E> {
        struct Lent<'a, T>(&'a Turn<T>, Option<T>);

        impl<T> Drop for Lent<'_, T> {
            fn drop(&mut self) {
                if let Some(value) = self.1.take() {
                    self.0.give_back(value);
                }
            }
        }

        let mut lent = Lent(self, Some(value));
        // The line before has set the value.
        f(lent.1.as_mut().ok_or(Refusal::Deadlock)?)
    }

    /// Refuses the value to all callers from now on. The first cause counts.
    pub(crate) fn end(&self, cause: &dyn fmt::Display) {
        // The lock excludes a change between the test and the wait of a thread in `take`.
        let mut state = self.state.lock();
        state.cause.get_or_insert_with(|| cause.to_string());
        self.returned.notify_all();
    }

    /// Returns the refusal that callers get after [`Self::end`].
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        let cause = self.state.lock().cause.clone();
        cause.map(|cause| Refusal::Over { cause })
    }

    /// Runs `f`, after whose error or panic the value is refused.
    pub(crate) fn or_end<R, E: fmt::Display>(
        &self,
        f: impl FnOnce() -> Result<R, E>,
    ) -> Result<R, E> {
        let done = self.unless_panic(f);
        if let Err(error) = &done {
            self.end(error);
        }
        done
    }

    /// Runs `f`, after whose panic the value is refused.
    pub(crate) fn unless_panic<R>(&self, f: impl FnOnce() -> R) -> R {
        struct End<'a, T>(Option<&'a Turn<T>>);

        impl<T> Drop for End<'_, T> {
            fn drop(&mut self) {
                if let Some(turn) = self.0 {
                    turn.end(&"a panic in the middle of a write");
                }
            }
        }

        let mut end = End(Some(self));
        let done = f();
        end.0 = None;
        done
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc;

    use super::*;

    fn over(cause: &str) -> Refusal {
        Refusal::Over { cause: cause.to_owned() }
    }

    #[test]
    fn one_at_a_time_has_it() {
        let turn = Turn::new(0_u32);
        let mut value = turn.take().unwrap();
        assert_eq!(turn.try_take(), Ok(None));
        thread::scope(|scope| {
            let next = scope.spawn(|| turn.take());
            value += 1;
            turn.give_back(value);
            assert_eq!(next.join().unwrap(), Ok(1));
        });
    }

    #[test]
    fn a_thread_that_holds_it_is_refused_it() {
        let turn = Turn::new(0_u32);
        let value = turn.take().unwrap();
        let start = Instant::now();
        assert_eq!(turn.take(), Err(Refusal::Deadlock));
        assert!(start.elapsed() >= GRACE);
        turn.ask();
        let start = Instant::now();
        assert_eq!(turn.take(), Err(Refusal::Deadlock));
        assert!(start.elapsed() < GRACE, "in a callback it waits for nothing");
        turn.give_back(value);
        let value = turn.take().unwrap();
        assert!(thread::scope(|scope| {
            // Another thread waits, whichever asked before.
            let other = scope.spawn(|| turn.take());
            turn.give_back(value);
            other.join().unwrap().is_ok()
        }));
    }

    #[test]
    fn a_thread_that_handed_it_on_waits_for_it() {
        let turn = Turn::new(0_u32);
        let value = turn.take().unwrap();
        let (begun, wait) = mpsc::channel();
        thread::scope(|scope| {
            let turn = &turn;
            scope.spawn(move || {
                begun.send(()).unwrap();
                thread::sleep(GRACE / 5);
                turn.used();
                thread::sleep(GRACE * 3);
                turn.give_back(value + 1);
            });
            wait.recv().unwrap();
            assert_eq!(turn.take(), Ok(1), "longer than the grace, as the other thread uses it");
        });
    }

    #[test]
    fn a_waiting_thread_is_told_that_it_is_over() {
        let turn = Turn::new(0_u32);
        let value = turn.take().unwrap();
        thread::scope(|scope| {
            let waiting = [scope.spawn(|| turn.take()), scope.spawn(|| turn.take())];
            turn.end(&"the first error");
            turn.end(&"a later one");
            for waiting in waiting {
                assert_eq!(waiting.join().unwrap(), Err(over("the first error")));
            }
        });
        turn.give_back(value);
        assert_eq!(turn.try_take(), Err(over("the first error")));
        assert_eq!(turn.look(|value| Ok::<_, Refusal>(*value)), Ok(0));
        assert_eq!(turn.refusal(), Some(over("the first error")));
    }

    #[test]
    fn a_lent_value_comes_back_after_an_error_and_a_panic() {
        let turn = Turn::new(1_u32);
        let failed: Result<(), Refusal> = turn.with(|value| {
            *value += 1;
            Err(Refusal::Deadlock)
        });
        assert_eq!(failed, Err(Refusal::Deadlock));
        let panics = || turn.try_with(|_| -> Result<(), Refusal> { panic!("planted") });
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        assert_eq!(turn.with(|value| Ok::<_, Refusal>(*value)), Ok(2));
    }

    #[test]
    fn an_error_or_a_panic_on_the_way_ends_it() {
        let turn = Turn::new(1_u32);
        assert_eq!(turn.or_end(|| Ok::<_, &str>(3)), Ok(3));
        assert_eq!(turn.refusal(), None);
        assert_eq!(turn.unless_panic(|| Err::<(), _>("an error")), Err("an error"));
        assert_eq!(turn.refusal(), None);
        let panics = || turn.or_end(|| -> Result<(), &str> { panic!("planted") });
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        assert_eq!(turn.take(), Err(over("a panic in the middle of a write")));
        let turn = Turn::new(1_u32);
        assert_eq!(turn.or_end(|| Err::<(), _>("an error")), Err("an error"));
        assert_eq!(turn.take(), Err(over("an error")));
    }
}
