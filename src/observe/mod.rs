//! Observation from outside: spans of `tracing` and metrics of the `metrics` facade, each behind a feature of its name.
//!
//! Statements of it are in [`watch!`], which omits them if both features are off, so they cost nothing: the compiler never sees
//! them. An operation begins with `Operation::begin` and succeeds with `Observed::done`; an operation that is dropped before
//! has failed.

#[cfg(feature = "metrics")]
mod meter;
#[cfg(any(feature = "metrics", feature = "tracing"))]
mod observed;
#[cfg(feature = "tracing")]
mod span;

#[cfg(any(feature = "metrics", feature = "tracing"))]
pub(crate) use observed::Operation;

/// A statement that is compiled only if a feature of observation is on.
macro_rules! watch {
    ($($statement:tt)*) => {
        #[cfg(any(feature = "metrics", feature = "tracing"))]
        $($statement)*;
    };
}

pub(crate) use watch;
