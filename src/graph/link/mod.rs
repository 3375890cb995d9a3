//! Links for new nodes.
//!
//! An insertion searches each level for candidates, selects neighbours among them, writes the node's own rows and then adds the links
//! back (`insert.rs`, `connect.rs`). A batch does each of these steps for all of its nodes before the next one, so that the result does
//! not depend on threads (`draft.rs`). Long vectors under inner products get more rows (`long.rs`).

mod connect;
mod draft;
mod insert;
mod long;

pub(crate) use draft::{Draft, LinkBack};
pub(crate) use insert::Outlook;
