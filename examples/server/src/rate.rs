//! The number of requests a second that a client may send.

use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::auth::Caller;
use crate::problem::{Problem, Result};

/// Clients after which the rates of idle ones are forgotten.
const MANY: usize = 10_000;

/// The rates of clients.
#[derive(Debug)]
pub struct Rate {
    limiter: Option<RateLimiter<String, HashMapStateStore<String>, DefaultClock>>,
    clock: DefaultClock,
}

impl Rate {
    /// Returns the rates of clients that may send `per_second` requests a second, and that number at one time.
    pub fn new(per_second: Option<NonZeroU32>) -> Self {
        let limiter = per_second.map(|rate| RateLimiter::hashmap(Quota::per_second(rate)));
        Self { limiter, clock: DefaultClock::default() }
    }

    /// Counts a request of a client, which is its key, or else its address.
    ///
    /// # Errors
    ///
    /// 429 with the time to wait.
    pub fn check(&self, caller: &Caller, address: IpAddr) -> Result<()> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        if limiter.len() > MANY {
            limiter.retain_recent();
        }
        let client =
            caller.name().map_or_else(|| address.to_string(), |name| format!("key {name}"));
        limiter.check_key(&client).map_err(|refused| {
            Problem::rate(refused.wait_time_from(self.clock.now()).as_secs_f64().ceil() as u64)
        })
    }
}
