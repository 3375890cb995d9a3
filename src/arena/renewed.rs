//! A value that readers use without a lock while another value replaces it.
#![expect(unsafe_code, reason = "a value that was replaced lives on while readers use it")]

use std::fmt;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::pin;
use crate::sync::step;

/// A value that is set once, and replaced later.
pub(crate) struct Renewed<T> {
    /// Null, or the pointer of a box.
    current: AtomicPtr<T>,
    owned: PhantomData<T>,
}

impl<T> Renewed<T> {
    /// Creates the place without a value.
    pub(crate) const fn new() -> Self {
        Self { current: AtomicPtr::new(ptr::null_mut()), owned: PhantomData }
    }

    /// Returns the present value. If it may be replaced, the caller is [pinned](pin).
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        step();
        // SAFETY: null, or the pointer of a box that `set` or `replace` filled before. The box is dropped with `self`, or when all
        // callers that may have got the value here no longer use it (`replace`).
        unsafe { self.current.load(Ordering::Acquire).as_ref() }
    }
}

impl<T: Send + Sync> Renewed<T> {
    /// Sets the first value. Returns `value` if one is set already.
    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        let new = Box::into_raw(Box::new(value));
        let (success, failure) = (Ordering::Release, Ordering::Relaxed);
        if self.current.compare_exchange(ptr::null_mut(), new, success, failure).is_ok() {
            return Ok(());
        }
        // SAFETY: the box was made above, and no other thread has seen it.
        Err(*unsafe { Box::from_raw(new) })
    }

    /// Replaces the value by `value`. The old value is dropped when all threads that are pinned now have been unpinned.
    ///
    /// # Safety
    ///
    /// Each caller of [`Self::get`] is [pinned](pin) from before the call until its last use of the value, or keeps this
    /// function from being called meanwhile.
    pub(crate) unsafe fn replace(&self, value: T)
    where
        T: 'static,
    {
        let new = Box::into_raw(Box::new(value));
        step();
        let old = Old(self.current.swap(new, Ordering::AcqRel));
        let guard = pin();
        guard.defer(move || drop(old));
        guard.flush();
    }
}

impl<T> Drop for Renewed<T> {
    fn drop(&mut self) {
        drop(Old(*self.current.get_mut()));
    }
}

impl<T: fmt::Debug> fmt::Debug for Renewed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _pin = pin();
        self.get().fmt(f)
    }
}

/// A value that was replaced.
struct Old<T>(*mut T);

// SAFETY: the pointer is null or of a box, which may go to another thread if its value may.
unsafe impl<T: Send> Send for Old<T> {}

impl<T> Drop for Old<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the pointer is of a box that `set` or `replace` made. The box was replaced or its place is dropped, and no
            // caller that got the value uses it any more: all pins of that time are released (`replace`).
            drop(unsafe { Box::from_raw(self.0) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    /// Counts its ends.
    struct Counted(u64, Arc<AtomicUsize>);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_value_lives_as_long_as_somebody_uses_it() {
        let dropped = Arc::new(AtomicUsize::new(0));
        let counted = |number| Counted(number, dropped.clone());
        let value = Renewed::new();
        assert!(value.get().is_none());
        assert!(value.set(counted(1)).is_ok());
        assert_eq!(value.set(counted(2)).err().map(|refused| refused.0), Some(2));
        let reader = pin();
        let old = value.get().unwrap();
        // SAFETY: all threads of this test are pinned while they use a value.
        unsafe { value.replace(counted(3)) };
        for _ in 0..100 {
            pin().flush();
        }
        assert_eq!((old.0, dropped.load(Ordering::SeqCst)), (1, 1));
        assert_eq!(value.get().unwrap().0, 3);
        drop(reader);
        // Other tests hold pins, too, but not for long.
        while dropped.load(Ordering::SeqCst) == 1 {
            pin().flush();
            std::thread::yield_now();
        }
        drop(value);
        assert_eq!(dropped.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn readers_see_whole_values_while_they_are_replaced() {
        let value = Renewed::new();
        assert!(value.set(vec![0_u64; 16]).is_ok());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..if cfg!(miri) { 20 } else { 5000 } {
                    // SAFETY: all threads of this test are pinned while they use a value.
                    unsafe { value.replace(vec![round; 16]) };
                }
            });
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut last = 0;
                    for _ in 0..if cfg!(miri) { 20 } else { 5000 } {
                        let _pin = pin();
                        let seen = value.get().unwrap();
                        assert!(seen[0] >= last && seen.iter().all(|&x| x == seen[0]));
                        last = seen[0];
                    }
                });
            }
        });
    }
}
