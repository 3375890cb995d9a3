//! Reports on an index: figures, and the faults that a check finds.

pub(in crate::index) mod calibration;
pub(in crate::index) mod check;
pub(in crate::index) mod maintenance;
pub(in crate::index) mod stats;
