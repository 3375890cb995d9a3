//! Panics that pass through.
//!
//! Filters, progress callbacks and iterators are the caller's, and may panic. No lock stays taken then, no change is half
//! done, and the writer lock is released, so that a caller that catches the panic can continue with the same index or file. An
//! index keeps the changes made before the panic, and a transaction undoes them. A panic of a custom metric passes through no index: it
//! becomes an error (`distance/custom/`).

use std::panic::{RefUnwindSafe, UnwindSafe};

use crate::collection::{Collection, CollectionReader, Snapshot};
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

stays_sound!(Hnsw, Flat, Ivf, Collection, CollectionReader, Snapshot, Store, ReadTransaction);
