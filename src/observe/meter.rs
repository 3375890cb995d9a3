//! Operations as counters and histograms of the `metrics` facade.

use metrics::{Key, Label, Level, Metadata};

use super::observed::Operation;
use crate::clock::Instant;

/// Times an operation.
pub(super) struct Meter {
    started: Instant,
    keys: &'static Keys,
    ended_well: bool,
}

/// The metrics' keys of an operation. They are made at compile time, so counting allocates nothing here.
struct Keys {
    ended: Key,
    failed: Key,
    items: Key,
    seconds: Key,
}

static SEARCH_DISTANCES: Key = Key::from_static_name("nearfield_search_distances");
static SEARCH_HOPS: Key = Key::from_static_name("nearfield_search_hops");

const METADATA: Metadata<'static> = Metadata::new("nearfield", Level::INFO, Some("nearfield"));

macro_rules! keys {
    ($name:literal) => {{
        static LABELS: [Label; 1] = [Label::from_static_parts("operation", $name)];
        static KEYS: Keys = Keys {
            ended: Key::from_static_parts("nearfield_operations_total", &LABELS),
            failed: Key::from_static_parts("nearfield_failures_total", &LABELS),
            items: Key::from_static_parts("nearfield_items_total", &LABELS),
            seconds: Key::from_static_parts("nearfield_operation_seconds", &LABELS),
        };
        &KEYS
    }};
}

impl Meter {
    pub(super) fn begin(operation: Operation) -> Self {
        let keys = match operation {
            Operation::Search => keys!("search"),
            Operation::SearchBatch => keys!("search_batch"),
            Operation::Insert => keys!("insert"),
            Operation::InsertBatch => keys!("insert_batch"),
            Operation::Upsert => keys!("upsert"),
            Operation::Remove => keys!("remove"),
            Operation::Maintain => keys!("maintain"),
            Operation::Train => keys!("train"),
            Operation::Commit => keys!("commit"),
            Operation::Checkpoint => keys!("checkpoint"),
            Operation::Compact => keys!("compact"),
            Operation::Check => keys!("check"),
            Operation::Load => keys!("load"),
            Operation::Backup => keys!("backup"),
            Operation::Open => keys!("open"),
            Operation::StoreCommit => keys!("store_commit"),
            Operation::StoreCheckpoint => keys!("store_checkpoint"),
            Operation::StoreSync => keys!("store_sync"),
        };
        Self { started: Instant::now(), keys, ended_well: false }
    }

    #[expect(clippy::unused_self, reason = "a part of an operation that goes on")]
    pub(super) fn found(&self, distances: u64, hops: u64) {
        metrics::with_recorder(|recorder| {
            recorder.register_histogram(&SEARCH_DISTANCES, &METADATA).record(distances as f64);
            recorder.register_histogram(&SEARCH_HOPS, &METADATA).record(hops as f64);
        });
    }

    pub(super) fn done(mut self, items: u64) {
        let seconds = self.started.elapsed().as_secs_f64();
        metrics::with_recorder(|recorder| {
            recorder.register_counter(&self.keys.ended, &METADATA).increment(1);
            recorder.register_counter(&self.keys.items, &METADATA).increment(items);
            recorder.register_histogram(&self.keys.seconds, &METADATA).record(seconds);
        });
        self.ended_well = true;
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if !self.ended_well {
            metrics::with_recorder(|recorder| {
                recorder.register_counter(&self.keys.failed, &METADATA).increment(1);
            });
        }
    }
}
