//! Answers as `serde` writes and reads them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::hits::{BatchHits, Hit, Hits, SearchPlan};

/// The answers to one query.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Hits")]
struct Answers<H> {
    hits: H,
    distances_computed: u64,
    hops: u64,
    plan: SearchPlan,
    is_complete: bool,
}

impl Serialize for Hits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let answers = Answers {
            hits: self.as_slice(),
            distances_computed: self.distances_computed(),
            hops: self.hops(),
            plan: self.plan(),
            is_complete: self.is_complete(),
        };
        answers.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Hits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let answers = Answers::<Vec<Hit>>::deserialize(deserializer)?;
        let mut hits = Self::new();
        hits.set(answers.hits.into_iter());
        hits.set_counters(answers.distances_computed, answers.hops);
        hits.set_plan(answers.plan);
        hits.set_complete(answers.is_complete);
        Ok(hits)
    }
}

/// The answers to a query of a batch.
#[derive(Serialize, Deserialize)]
struct Part<H> {
    hits: H,
    plan: SearchPlan,
    is_complete: bool,
}

/// A sequence with the answers to each query.
impl Serialize for BatchHits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().enumerate().map(|(i, hits)| Part {
            hits,
            plan: self.plan(i).unwrap_or_default(),
            is_complete: self.completed(i).unwrap_or_default(),
        }))
    }
}

impl<'de> Deserialize<'de> for BatchHits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut batch = Self::default();
        let mut answers = Hits::new();
        for part in Vec::<Part<Vec<Hit>>>::deserialize(deserializer)? {
            answers.set(part.hits.into_iter());
            answers.set_plan(part.plan);
            answers.set_complete(part.is_complete);
            batch.push(&answers);
        }
        Ok(batch)
    }
}
