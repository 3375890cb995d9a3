//! Pages in memory and in the map, and the space that they take.
//!
//! [`Frames`] gives every reader the pages of its state through a [`Pin`]. [`Shared`] and [`Writer`] are the state of an open store; a
//! [`Workspace`] holds the pages that one write transaction reads and changes. [`Allocator`] keeps free runs, `waiting.rs` runs that
//! held states still need, and [`backing`] takes room on the disk before a commit is acknowledged. An [`Extent`] is a run of bytes under one number.
//!
//! A run is needed by the held states between the transaction that made it and the one that gave it up. Snapshots, the last checkpoint
//! and readers in other processes hold states.

mod allocator;
pub(crate) mod backing;
pub(crate) mod extent;
mod frames;
mod shared;
mod view;
mod waiting;
mod workspace;
mod writer;

pub(crate) use allocator::{Allocator, Fit};
pub(crate) use backing::Claim;
pub use extent::{Extent, ExtentId};
pub(crate) use frames::{Frames, Pin};
pub(crate) use shared::Shared;
pub(crate) use view::View;
pub(crate) use waiting::Life;
pub(crate) use workspace::{DIRECT, Installed, Mark, Placing, Workspace};
pub(crate) use writer::{Freed, Writer};
