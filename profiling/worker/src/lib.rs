//! Fixed, seeded pieces of work on an index, and their costs: the part of the profiling harness that is compiled
//! against two states of the library and measured side by side.

pub mod allocations;
pub mod clock;
pub mod facts;
pub mod section;
pub mod set;
pub mod subject;
pub mod turnover;
pub mod work;

/// The reason why a measurement failed.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
