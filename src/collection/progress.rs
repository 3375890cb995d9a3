//! Progress of long operations, which callers may watch and end.

use std::cell::Cell;

use super::error::CollectionError;
use crate::index::CancelToken;

/// Called with the bytes or entries that are done, and with their number at the end.
pub(super) type Callback<'a> = dyn Fn(u64, u64) + Sync + 'a;

/// The progress of an operation. By default nothing watches it.
#[derive(Default)]
pub(super) struct Progress<'a> {
    callback: Option<&'a Callback<'a>>,
    cancel: Option<&'a CancelToken>,
    done: Cell<u64>,
    total: Cell<u64>,
    told: Cell<u64>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(callback: Option<&'a Callback<'a>>, cancel: Option<&'a CancelToken>) -> Self {
        Self { callback, cancel, ..Self::default() }
    }

    /// Adds `more` to the known total.
    pub(super) fn expect(&self, more: u64) {
        self.total.set(self.total.get() + more);
    }

    /// Notes that `more` are done. Returns whether the operation goes on.
    pub(super) fn go_on(&self, more: u64) -> bool {
        if self.callback.is_none() && self.cancel.is_none() {
            return true;
        }
        self.done.set(self.done.get() + more);
        self.total.set(self.total.get().max(self.done.get()));
        if self.done.get() - self.told.get() > self.total.get() / 1000 {
            self.tell();
        }
        !self.cancel.is_some_and(CancelToken::is_cancelled)
    }

    /// As [`Self::go_on`]; an error if the operation ends.
    pub(super) fn step(&self, more: u64) -> Result<(), CollectionError> {
        if self.go_on(more) { Ok(()) } else { Err(CollectionError::Cancelled) }
    }

    fn tell(&self) {
        self.told.set(self.done.get());
        if let Some(callback) = self.callback {
            callback(self.done.get(), self.total.get());
        }
    }

    pub(super) fn finish(&self) {
        self.done.set(self.total.get());
        self.tell();
    }
}
