//! Inverted-file indexes.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod damage;
mod files;
mod queries;
