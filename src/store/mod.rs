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
//! An operation that fails because of the disk *poisons* the store: it takes no more writes until it is opened again, as
//! nobody knows what became of the failed one. Reads go on.
//!
//! # What is promised, and on what it rests
//!
//! After any crash the store holds every commit that was acknowledged with [`Durability::Immediate`], perhaps the one
//! that was in flight, and each of these whole. This rests on: sectors of 512 bytes that are written whole or not at
//! all, and a sync that means it. A record at the very end of the log that is damaged *after* a crash looks like one that was never
//! finished, and is dropped; damage further in front is an error, as is damage anywhere else. After a clean close there is nothing in
//! the log.
//!
//! # Several processes, and what the lock protects
//!
//! One process writes: it holds a lock on `FILE.lock`. Any number read ([`StoreOptions::open_read_only`]); each tells the writer by a
//! locked file `FILE.reader-*` which checkpoint it reads, and sees new commits when it begins a snapshot. It may see a commit shortly before
//! it is on the disk. All this is among programs that use this crate. *Nothing protects the file from other programs*: if one cuts it
//! while it is mapped, touching the lost pages kills the process (`SIGBUS`), and if one changes bytes that
//! were verified already, what is read from them is anything. The same holds for file systems on the network, whose locks and maps
//! do not agree between machines, and for a disk that fails to deliver a page. Where this is not acceptable, copy
//! the file, or restrict who may write to it.
//!
//! # Limits
//!
//! Keys: an eighth of a page. Values: memory. Extents: 1 TiB. A transaction keeps its changed pages in memory. Every snapshot that is kept
//! keeps the pages that it sees from being reused ([`Stats::held_bytes`]).
#![doc = include_str!("FORMAT.md")]

mod allocator;
mod catalog;
mod changes;
mod check;
mod checkpoint;
mod compact;
mod error;
mod extent;
mod follower;
mod frames;
mod handle;
mod key;
mod log;
mod map;
mod meta;
mod options;
mod page;
mod process;
mod read;
mod record;
mod recovery;
mod shared;
mod snapshot;
mod stats;
mod steps;
mod storage;
mod survey;
mod table;
mod table_mut;
mod tree;
mod turn;
mod view;
mod waiting;
mod workspace;
mod write;
mod writer;

pub use check::CheckReport;
pub use error::StoreError;
pub use extent::{Extent, ExtentId};
pub use handle::Store;
pub use key::Key;
pub use options::StoreOptions;
pub(crate) use options::sync_folder;
pub(crate) use process::WriterLock;
pub use read::ReadTransaction;
pub use stats::{Stats, TreeStats};
pub use storage::{Cut, Fault, FaultKind, SimulatedDisk, SyncPoint};
pub use table::{Entry, Range, Table};
pub use table_mut::TableMut;
pub(crate) use turn::{Refusal, Turn};
pub use write::{Durability, Savepoint, WriteTransaction};
