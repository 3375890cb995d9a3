//! The file, byte by byte: encodings of pages, nodes, meta slots, log records and catalog entries.
//!
//! Each decoder takes any bytes and returns an error for those that no encoder wrote. `FORMAT.md` in the folder above is the
//! specification. A [`State`] is a committed version: the roots of its trees and its number.

mod catalog;
mod log;
mod meta;
mod node;
mod node_mut;
mod page;
mod record;
mod source;
mod state;

pub(crate) use catalog::{BLOCK, ExtentRecord, MAX_EXTENT, TableRecord};
pub(crate) use log::{Log, LogPosition, damaged_behind, read_record};
#[cfg(feature = "simulation")]
pub(crate) use meta::is_unfinished;
pub(crate) use meta::{FreeList, LOG_OFFSET, Meta, far_page, valid_log_len, valid_page_size};
pub(crate) use node::{
    BRANCH_HEAD, HEADER, LEAF_HEAD, MAX_LEVEL, Node, OVERFLOW, OverflowRef, SLOT, Stored,
    common_prefix,
};
pub(crate) use node_mut::NodeMut;
pub(crate) use page::{MAX_PAGES, NodeRef, PageBuf, PageMap, PageNo, Run, checksum, read};
pub(crate) use record::{Operation, Reader, put_number};
pub(crate) use source::Source;
pub(crate) use state::State;
