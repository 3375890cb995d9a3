//! Panics that pass through.
//!
//! Filters, progress callbacks and iterators are the caller's, and may panic. No lock stays taken then, nothing is half
//! done, and the right to write goes back, so that whoever catches the panic can go on with the same index or file. What
//! is changed when the panic comes is kept in an index, and undone in a transaction.

use std::panic::{RefUnwindSafe, UnwindSafe};

use crate::collection::{Collection, Reader, Snapshot};
use crate::index::{Flat, Hnsw, Ivf};
use crate::store::{ReadTransaction, Store};

macro_rules! stays_sound {
    ($($shared:ty),*) => {
        $(
            impl UnwindSafe for $shared {}
            impl RefUnwindSafe for $shared {}
        )*
    };
}

stays_sound!(Hnsw, Flat, Ivf, Collection, Reader, Snapshot, Store, ReadTransaction);
