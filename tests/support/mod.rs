//! Helpers that test programs share.
#![allow(dead_code, reason = "each test program uses a part")]

pub(crate) mod collections;
pub(crate) mod cuts;
pub(crate) mod data;
pub(crate) mod files;
pub(crate) mod random;
pub(crate) mod recall;
