//! The steps of evaluating a predicate.

use std::fmt;
use std::time::Duration;

/// A step of evaluating a predicate: some of its clauses.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// The clauses.
    pub predicate: String,
    /// Keys for which they are true alone, as the index lets expect.
    pub estimated: u64,
    /// Keys for which they and the steps before are true.
    pub left: u64,
    /// The place from which the keys are.
    pub source: StepSource,
    /// The time of the step.
    pub time: Duration,
}

/// The place from which the keys of a step are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StepSource {
    /// The index of attributes.
    Index,
    /// The records of the keys that the steps before left, which are so few that they cost less than the index.
    Records,
    /// The records of all keys: the index lacks a field of the step.
    AllRecords,
    /// An evaluation before, on the same commit.
    Kept,
    /// None: the steps before left no keys.
    Skipped,
}

impl fmt::Display for StepSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Index => "by the index",
            Self::Records => "by the records of the keys left",
            Self::AllRecords => "by the records of all keys",
            Self::Kept => "kept from before",
            Self::Skipped => "skipped, no keys are left",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { predicate, estimated, left, source, time } = self;
        if *source == StepSource::Skipped {
            return write!(f, "{predicate}: {source}");
        }
        write!(f, "{predicate}: about {estimated} expected, {left} left, {source}, {time:.1?}")
    }
}
