//! A transactional store in one file: tables of byte strings and extents of bytes, which no crash can break.
//!
//! ```
//! use nearfield::store::StoreOptions;
//!
//! let store = StoreOptions::new().open_in_memory()?; // or `open(path)`
//! let mut tx = store.begin_write()?;
//! tx.table::<str>("colours")?.insert("sky", b"blue")?;
//! let vectors = tx.create_extent(4096)?;
//! tx.write_extent(vectors, 128, &[1, 2, 3])?;
//! tx.commit()?; // both or neither, and from here on no power cut can lose them
//!
//! let tx = store.begin_read()?; // a snapshot: later commits do not change it
//! assert_eq!(tx.table::<str>("colours")?.get("sky")?, Some(&b"blue"[..]));
//! assert_eq!(tx.extent(vectors)?.range(128..131)?, [1, 2, 3]);
//! # Ok::<(), nearfield::store::StoreError>(())
//! ```
//!
//! # How it works
//!
//! *Pages* of a file are read through a memory map and never written through it. A *copy-on-write B+tree* keeps the
//! checksum of each page in its parent, so that a page which the disk lost is seen as well as one that it
//! changed; a page is verified when it is first touched. A *commit* writes its operations to the *log*, a ring that was
//! written full when the file was made, waits for the disk once, and leaves its pages in memory. A
//! *checkpoint* writes these to free space, waits, writes the other of two meta slots, and waits; only then is the space
//! of the checkpoint before reused, and not while a snapshot needs it. *Recovery* takes the newest whole
//! slot and applies the log behind it, in memory: it writes nothing, so that a crash in recovery is no new case.
//! A page is reused when no *held state* needs it: open snapshots, the newest state, the last checkpoint, and the checkpoints
//! that other processes read. So a snapshot that is kept for long keeps its own pages, and not those of
//! later versions.
//!
//! A failed sync, or a failed write of the log or of a meta slot, *poisons* the store: it takes no more writes until it is
//! opened again, because the state of the disk is unknown. Reads, checks and statistics go on, and every refusal names the first
//! error. A failed write to free space changes nothing: the transaction or the checkpoint is refused, and the store goes on.
//!
//! *A full disk* loses nothing. Each commit writes zeros to the places that its pages will have, before it is acknowledged, so
//! a later checkpoint needs no room. If they do not fit, the store makes a checkpoint, which frees the pages that wait for one, and tries
//! once more; then the transaction is refused with [`StoreError::Io`] and changes nothing. Behind its last page the
//! file has a reserve of 256 KiB, or of 16 pages if these are more. Only checkpoints, compactions and transactions
//! that remove, or need no more pages than they give up, may use it, so that removing makes room in the file, and [`Store::compact`] on the disk. A removal from
//! very many pages may need more than the reserve; remove in several transactions then, with a [`Store::checkpoint`] after each.
//!
//! # Promises, and their conditions
//!
//! After any crash the store holds every commit that was acknowledged with [`Durability::Immediate`], perhaps the one
//! that was in flight, and each of these whole. The conditions: the disk writes sectors of 512 bytes whole or not at all, and a sync
//! returns only when its data is safe. A record at the very end of the log that is damaged *after* a crash looks like one that was
//! never
//! finished, and is dropped; damage further in front is an error, as is damage anywhere else. After a clean close the log is empty.
//!
//! # Several processes, and the protection of the locks
//!
//! One opening of the file writes; any number read ([`StoreOptions::open_read_only`]). All locks are on bytes of the file itself, far behind
//! its end, and belong to the opening: the writer holds an exclusive lock on one byte, a reader a shared lock on the byte of its
//! checkpoint. No other file is made. So the name, link, mount, user or container by which a
//! process opened the file has no influence, a reader needs only the right to read, and a lock ends with its holder. A reader sees new
//! commits when it begins a snapshot, perhaps shortly before they are on the disk. If the system cannot list the
//! readers, all pages are kept.
//!
//! | system | locks |
//! |---|---|
//! | Linux, Android, macOS, iOS | of open file descriptions (`F_OFD_SETLK`) |
//! | Windows | `LockFileEx` |
//! | other systems, and file systems without such locks | none: opening answers [`StoreError::NoLocks`], unless the caller asks for [`StoreOptions::unguarded`] |
//!
//! A child process that `fork` makes shares its parent's locks, so it is refused ([`StoreError::Forked`]): it does not write, and dropping its
//! copies does nothing. It may open the file anew.
//!
//! All this is among programs that use this crate. *Nothing protects the file from other programs*: if one cuts it
//! while it is mapped, touching the lost pages kills the process (`SIGBUS`), and if one changes bytes that
//! were verified already, the store reads the changed bytes. The same holds for file systems on the network, whose locks and maps
//! may not agree between machines, and for a disk that fails to deliver a page. If this is not acceptable, copy the file, or restrict
//! the right to write to it.
//!
//! # Limits
//!
//! Keys: an eighth of a page. Values: memory. Extents: 1 TiB. A transaction keeps its changed pages in memory. Every snapshot that is kept
//! keeps the pages that it sees from being reused ([`Stats::held_bytes`]).
#![doc = include_str!("FORMAT.md")]

mod disk;
mod durability;
mod error;
mod format;
mod key;
mod maintenance;
mod opening;
mod pages;
mod progress;
mod transaction;
mod tree;
mod turn;

pub(crate) use disk::Replacement;
#[cfg(feature = "simulation")]
pub use disk::{Cut, DiskOperation, InjectedFault, SimulatedDisk, SyncPoint};
pub(crate) use error::Place;
pub use error::StoreError;
pub use key::Key;
pub use maintenance::{CheckReport, Contents, Stats, TreeStats};
pub use opening::{Store, StoreOptions};
pub use pages::{Extent, ExtentId};
pub use transaction::{
    Durability, Entry, Range, ReadTransaction, Savepoint, Table, TableMut, WriteTransaction,
};
pub(crate) use turn::{Refusal, Turn};
