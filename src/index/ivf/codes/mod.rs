//! Codes of the vectors in lists: their quantizer, the bases that share a prepared query, and their drift.

pub(in crate::index::ivf) mod bases;
pub(in crate::index::ivf) mod code_list;
pub(in crate::index::ivf) mod codec;
pub(in crate::index::ivf) mod drift;
