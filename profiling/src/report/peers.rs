//! Results of other systems on the same data, measured once and kept in the repository.

use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::results::folder;

/// The baseline of other systems.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Peers {
    /// Machine and method of the measurement.
    pub(super) how: String,
    pub(super) rows: Vec<Peer>,
}

/// A system on a data set, one query thread.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Peer {
    pub(super) dataset: String,
    pub(super) system: String,
    /// Queries per second at a recall@10 of 0.95 and of 0.99; `None` if the system did not reach it.
    pub(super) qps_95: Option<f64>,
    pub(super) qps_99: Option<f64>,
    pub(super) build_s: f64,
    pub(super) memory_mb: f64,
}

/// Returns the stored baseline, or `None` if it is missing.
pub(super) fn read() -> Result<Option<Peers>, Failure> {
    let path = folder("benchmarks/baseline/peers.json");
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(_) => Ok(None),
    }
}
