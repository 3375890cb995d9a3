//! The work that is looked at: building an index, then searching it.

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use nearfield::dataset::{Dataset, Generated, Vectors};
use nearfield::{Element, Hits, Hnsw, IndexError, Metric};

/// Vectors and queries in memory.
pub(crate) struct Workload {
    metric: Metric,
    dimension: usize,
    element: Element,
    base: Vectors,
    queries: Vectors,
}

impl Workload {
    /// A folder's data set, or a generated one.
    pub(crate) fn load(dataset: Option<&Path>) -> Result<Self, Box<dyn Error>> {
        let Some(folder) = dataset else {
            let (base, queries) = Generated::builder(20_000, 128).build()?.into_parts();
            let (metric, element) = (Metric::L2, Element::F32);
            return Ok(Self { metric, dimension: 128, element, base, queries });
        };
        let set = Dataset::open(folder)?;
        let floats = |vectors: &Vectors| {
            if set.metric() == Metric::Hamming {
                Vectors::from_rows(vectors.dimension(), vectors)
            } else {
                Vectors::from_rows(vectors.dimension(), &vectors.to_f32()?)
            }
        };
        let (metric, dimension) = (set.metric(), set.dimension());
        let element = if metric == Metric::Hamming { Element::Bit } else { Element::F32 };
        let (base, queries) = (floats(set.base())?, floats(set.queries())?);
        Ok(Self { metric, dimension, element, base, queries })
    }

    /// Builds the index on this thread: a profile of one thread reads best.
    pub(crate) fn build(&self) -> Result<Hnsw, IndexError> {
        let index = Hnsw::builder(self.dimension, self.metric).element(self.element).build()?;
        let keys: Vec<u64> = (0..self.base.len() as u64).collect();
        let started = Instant::now();
        index.insert_batch(&keys, &self.base).threads(1).run()?;
        eprintln!("built {} vectors in {:.2?}", index.len(), started.elapsed());
        Ok(index)
    }

    /// Asks all queries again and again for a while; returns how many were answered.
    pub(crate) fn search(&self, index: &Hnsw, time: Duration) -> Result<usize, IndexError> {
        let mut hits = Hits::new();
        let mut answered = 0;
        let started = Instant::now();
        while started.elapsed() < time {
            for query in self.queries.iter() {
                index.search(&query).k(10).ef(64).run_into(&mut hits)?;
                black_box(&hits);
            }
            answered += self.queries.len();
        }
        eprintln!("answered {answered} queries in {:.2?}", started.elapsed());
        Ok(answered)
    }
}
