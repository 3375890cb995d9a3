//! What one at a time has, in turns.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ThreadId};

use parking_lot::{Condvar, Mutex};

/// A value that callers take and give back.
pub(crate) struct Turn<T> {
    state: Mutex<State<T>>,
    returned: Condvar,
    is_over: AtomicBool,
}

struct State<T> {
    /// None while somebody has it.
    value: Option<T>,
    /// The thread that has it, while it calls a caller's closure.
    asking: Option<ThreadId>,
}

/// Why nobody gets the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nobody does any more.
    Over,
    /// The one who asks has it.
    Deadlock,
}

impl<T> Turn<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            state: Mutex::new(State { value: Some(value), asking: None }),
            returned: Condvar::new(),
            is_over: AtomicBool::new(false),
        }
    }

    /// Waits until nobody has the value, and takes it.
    pub(crate) fn take(&self) -> Result<T, Refusal> {
        let mut state = self.state.lock();
        loop {
            if self.is_over() {
                return Err(Refusal::Over);
            }
            if let Some(value) = state.value.take() {
                return Ok(value);
            }
            if state.asking == Some(thread::current().id()) {
                return Err(Refusal::Deadlock);
            }
            self.returned.wait(&mut state);
        }
    }

    /// Takes the value if nobody has it.
    pub(crate) fn try_take(&self) -> Result<Option<T>, Refusal> {
        let mut state = self.state.lock();
        if self.is_over() { Err(Refusal::Over) } else { Ok(state.value.take()) }
    }

    /// For the one who has the value, and calls a caller's closure from now on: until the value is given back, this thread is refused
    /// it at once where it asks for it, too.
    pub(crate) fn ask(&self) {
        self.state.lock().asking = Some(thread::current().id());
    }

    pub(crate) fn give_back(&self, value: T) {
        *self.state.lock() = State { value: Some(value), asking: None };
        self.returned.notify_one();
    }

    /// Lets `f` work with the value once nobody has it. It comes back whatever happens.
    pub(crate) fn with<R, E: From<Refusal>>(
        &self,
        f: impl FnOnce(&mut T) -> Result<R, E>,
    ) -> Result<R, E> {
        self.lend(self.take()?, f)
    }

    /// As [`Self::with`], if nobody has it.
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
        f(lent.1.as_mut().ok_or(Refusal::Over)?)
    }

    /// Nobody gets the value from now on.
    pub(crate) fn end(&self) {
        // Not between the look and the wait of somebody who asks for the value.
        let _state = self.state.lock();
        self.is_over.store(true, Ordering::Release);
        self.returned.notify_all();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Does what must be done to the end: nobody gets the value after an error or a panic.
    pub(crate) fn or_end<R, E>(&self, f: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
        struct End<'a, T>(Option<&'a Turn<T>>);

        impl<T> Drop for End<'_, T> {
            fn drop(&mut self) {
                if let Some(turn) = self.0 {
                    turn.end();
                }
            }
        }

        let mut end = End(Some(self));
        let done = f()?;
        end.0 = None;
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

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
    fn who_asks_for_what_it_has_is_told_so() {
        let turn = Turn::new(0_u32);
        let value = turn.take().unwrap();
        turn.ask();
        assert_eq!(turn.take(), Err(Refusal::Deadlock));
        turn.give_back(value);
        let value = turn.take().unwrap();
        assert!(thread::scope(|scope| {
            // Another thread waits, whoever asked before.
            let other = scope.spawn(|| turn.take());
            turn.give_back(value);
            other.join().unwrap().is_ok()
        }));
    }

    #[test]
    fn who_waits_is_told_that_it_is_over() {
        let turn = Turn::new(0_u32);
        let value = turn.take().unwrap();
        thread::scope(|scope| {
            let waiting = [scope.spawn(|| turn.take()), scope.spawn(|| turn.take())];
            turn.end();
            for waiting in waiting {
                assert_eq!(waiting.join().unwrap(), Err(Refusal::Over));
            }
        });
        turn.give_back(value);
        assert_eq!(turn.try_take(), Err(Refusal::Over));
    }

    #[test]
    fn what_is_lent_comes_back_after_an_error_and_a_panic() {
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
    fn what_is_not_done_to_the_end_ends_it() {
        let turn = Turn::new(1_u32);
        assert_eq!(turn.or_end(|| Ok::<_, Refusal>(3)), Ok(3));
        assert!(!turn.is_over());
        let panics = || turn.or_end(|| -> Result<(), Refusal> { panic!("planted") });
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        assert_eq!(turn.take(), Err(Refusal::Over));
        let turn = Turn::new(1_u32);
        assert_eq!(turn.or_end(|| Err::<(), _>("an error")), Err("an error"));
        assert!(turn.is_over());
    }
}
