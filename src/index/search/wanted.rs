//! Parameters of a search, as the caller sets them.

use std::time::Duration;

use super::Searchable;
use crate::clock::{self, Instant};
use crate::error::IndexError;
use crate::index::query::budget::{CancelToken, Limit};
use crate::index::query::filter::{Filter, Screen};
use crate::index::query::key_sets::KeySet;
use crate::index::query::request::Request;

/// Candidates kept during a walk, if the caller sets no `ef`.
const DEFAULT_EF: usize = 64;

/// Maximum number of answers, if the caller sets no `k`.
const DEFAULT_K: usize = 10;

/// Maximum number of answers within a radius that one search finds, as it does without a radius:
/// the radius takes answers away and changes none. A search for more works in rounds.
const AT_ONCE: usize = 1024;

/// Effort of a search.
#[derive(Debug, Clone, Copy)]
enum Effort {
    Ef(usize),
    Recall(f64),
}

/// Number of answers, and the effort to find them.
#[derive(Debug, Clone, Copy)]
pub(in crate::index) struct Wanted<'a> {
    pub(in crate::index) k: Option<usize>,
    effort: Effort,
    pub(in crate::index) nprobe: Option<usize>,
    pub(in crate::index) radius: Option<f32>,
    pub(in crate::index) timeout: Option<Duration>,
    pub(in crate::index) deadline: Option<Instant>,
    pub(in crate::index) cancel: Option<&'a CancelToken>,
    /// Cancelled if the filter failed.
    pub(in crate::index) failed: Option<&'a CancelToken>,
    pub(in crate::index) excluded: Option<&'a KeySet>,
}

impl<'a> Wanted<'a> {
    pub(in crate::index) const DEFAULT: Self = Self {
        k: None,
        effort: Effort::Ef(DEFAULT_EF),
        nprobe: None,
        radius: None,
        timeout: None,
        deadline: None,
        cancel: None,
        failed: None,
        excluded: None,
    };

    pub(in crate::index) fn set_ef(&mut self, ef: usize) {
        self.effort = Effort::Ef(ef);
    }

    pub(in crate::index) fn set_recall(&mut self, recall: f64) {
        self.effort = Effort::Recall(recall);
    }

    /// Returns the maximum number of answers: within a radius all, if the caller sets no `k`.
    pub(in crate::index) fn k(&self) -> usize {
        self.k.unwrap_or(if self.radius.is_some() { usize::MAX } else { DEFAULT_K })
    }

    /// Returns the parameters with a token that is cancelled if the filter fails.
    pub(in crate::index) fn unless<'b>(self, failed: &'b CancelToken) -> Wanted<'b>
    where
        'a: 'b,
    {
        Wanted { failed: Some(failed), ..self }
    }

    /// Returns the parameters with the timeout, which begins now, as a deadline.
    pub(in crate::index) fn begun(mut self) -> Self {
        if !clock::is_set() {
            // The request refuses the timeout.
            return self;
        }
        // A timeout beyond the end of time sets no limit.
        let end = self.timeout.take().and_then(|timeout| Instant::now().checked_add(timeout));
        self.deadline = end.into_iter().chain(self.deadline).min();
        self
    }

    /// Returns the request to `index`. The timeout begins now.
    pub(in crate::index) fn request<F: Filter>(
        self,
        index: &dyn Searchable,
        filter: Option<&'a F>,
    ) -> Result<Request<'a>, IndexError> {
        index.admit()?;
        let Self { radius, timeout, deadline, cancel, failed, excluded, .. } = self.begun();
        if let Some(timeout) = timeout.filter(|_| !clock::is_set()) {
            let (value, allowed) = (format!("{timeout:?}"), "none before the program sets a clock");
            return Err(IndexError::Parameter { name: "timeout", value, allowed });
        }
        if let Some(radius) = radius.filter(|radius| radius.is_nan()) {
            let value = radius.to_string();
            return Err(IndexError::Parameter { name: "within", value, allowed: "a number" });
        }
        let limit = Limit { until: deadline, cancel, failed };
        let filter = filter.map(|filter| filter as &dyn Filter);
        let screen = Screen::new(filter, excluded.filter(|keys| !keys.is_empty()));
        let (ef, nprobe) = (self.ef(index)?, self.nprobe(index)?);
        let k = self.k();
        let takes_rounds = radius.is_some() && k > AT_ONCE;
        Ok(Request { k, ef, nprobe, screen, radius, takes_rounds, limit, began: 0 })
    }

    fn nprobe(&self, index: &dyn Searchable) -> Result<Option<usize>, IndexError> {
        let allowed = match self.nprobe {
            Some(_) if !index.has_lists() => "none here: only an Ivf has lists",
            Some(0) => "1 or more",
            nprobe => return Ok(nprobe),
        };
        let value = self.nprobe.unwrap_or_default().to_string();
        Err(IndexError::Parameter { name: "nprobe", value, allowed })
    }

    fn ef(&self, index: &dyn Searchable) -> Result<usize, IndexError> {
        match self.effort {
            Effort::Ef(0) => Err(IndexError::Parameter {
                name: "ef",
                value: 0.to_string(),
                allowed: "1 or more; it is raised to k",
            }),
            Effort::Ef(ef) => Ok(ef),
            Effort::Recall(recall) if recall > 0.0 && recall <= 1.0 => {
                index.ef_for(recall, self.k.or(self.radius.is_none().then_some(DEFAULT_K)))
            }
            Effort::Recall(recall) => Err(IndexError::Parameter {
                name: "recall",
                value: recall.to_string(),
                allowed: "above 0, up to 1",
            }),
        }
    }
}

/// Makes the setters of builders that have a field `wanted`, each with the documentation before its name.
macro_rules! search_settings {
    ($($(#[$doc:meta])* $setting:ident;)*) => {
        $(search_settings! { @ $setting $(#[$doc])* })*
    };
    (@ exclude $(#[$doc:meta])*) => {
        $(#[$doc])*
        pub fn exclude(mut self, keys: &'a KeySet) -> Self {
            self.wanted.excluded = Some(keys);
            self
        }
    };
    (@ k $(#[$doc:meta])*) => {
        $(#[$doc])*
        pub fn k(mut self, k: usize) -> Self {
            self.wanted.k = Some(k);
            self
        }
    };
    (@ ef $(#[$doc:meta])*) => {
        $(#[$doc])*
        pub fn ef(mut self, ef: usize) -> Self {
            self.wanted.set_ef(ef);
            self
        }
    };
    (@ nprobe $(#[$doc:meta])*) => {
        $(#[$doc])*
        pub fn nprobe(mut self, nprobe: usize) -> Self {
            self.wanted.nprobe = Some(nprobe);
            self
        }
    };
    (@ recall $(#[$doc:meta])*) => {
        $(#[$doc])*
        pub fn recall(mut self, recall: f64) -> Self {
            self.wanted.set_recall(recall);
            self
        }
    };
    (@ within $(#[$doc:meta])*) => {
        $(#[$doc])*
        pub fn within(mut self, radius: f32) -> Self {
            self.wanted.radius = Some(radius);
            self
        }
    };
    (@ timeout $(#[$doc:meta])*) => {
        $(#[$doc])*
        pub fn timeout(mut self, timeout: Duration) -> Self {
            self.wanted.timeout = Some(timeout);
            self
        }
    };
    (@ deadline $(#[$doc:meta])*) => {
        $(#[$doc])*
        pub fn deadline(mut self, deadline: Instant) -> Self {
            self.wanted.deadline = Some(deadline);
            self
        }
    };
    (@ cancel $(#[$doc:meta])*) => {
        $(#[$doc])*
        pub fn cancel(mut self, cancel: &'a CancelToken) -> Self {
            self.wanted.cancel = Some(cancel);
            self
        }
    };
}

pub(in crate::index) use search_settings;
