//! What others may watch: spans of `tracing` and metrics of the `metrics` facade, each behind a feature of its name.
//!
//! Statements about it stand in [`watch!`], which leaves them out where both features are off: the compiler never sees them, so
//! that they cost nothing. An operation begins with `Operation::begin` and ends well with `Observed::done`; one that is dropped
//! before has failed.

#[cfg(feature = "metrics")]
mod meter;
#[cfg(any(feature = "metrics", feature = "tracing"))]
mod observed;
#[cfg(feature = "tracing")]
mod span;

#[cfg(any(feature = "metrics", feature = "tracing"))]
pub(crate) use observed::Operation;

/// A statement that is there only if somebody can watch.
macro_rules! watch {
    ($($statement:tt)*) => {
        #[cfg(any(feature = "metrics", feature = "tracing"))]
        $($statement)*;
    };
}

pub(crate) use watch;
