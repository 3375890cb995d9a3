//! Inserting into a graph and searching it, on the data that the repository carries.
//!
//! Names are `group/set/parameters`. `cargo bench --bench hnsw -- --save-baseline before`, then
//! `-- --baseline before`, compares two states of the code. `-- --profile-time 5 [NAME]` measures nothing and draws a
//! flame graph of each benchmark instead: `target/criterion/NAME/profile/flamegraph.svg`.

#[cfg(target_os = "linux")]
mod flamegraphs;

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nearfield::dataset::{Dataset, Vectors};
use nearfield::{Element, Hits, Hnsw};

/// A carried set, with its vectors as they are stored and as floats.
struct Carried {
    set: Dataset,
    keys: Vec<u64>,
}

impl Carried {
    fn all() -> Vec<Self> {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/data");
        ["photo-sift-128-5k", "words-100-10k"]
            .map(|name| {
                let set = Dataset::open(data.join(name)).expect("the repository carries it");
                let keys = (0..set.base().len() as u64).collect();
                Self { set, keys }
            })
            .into()
    }

    fn empty(&self, element: Element) -> Hnsw {
        Hnsw::builder(self.set.dimension(), self.set.metric())
            .element(element)
            .build()
            .expect("the metric is defined over the element")
    }

    fn full(&self, element: Element) -> Hnsw {
        let index = self.empty(element);
        index.insert_batch(&self.keys, self.set.base()).run().expect("sound vectors");
        index
    }

    /// Returns floats, and the set's own type.
    fn elements(&self) -> [Element; 2] {
        [Element::F32, self.set.element()]
    }
}

/// Returns the queries in the type that the index stores, so that no conversion is measured.
fn queries(set: &Dataset, element: Element) -> Vectors {
    let queries = set.queries();
    if element == queries.element() {
        Vectors::from_rows(queries.dimension(), queries)
    } else {
        let floats = queries.to_f32().expect("small");
        Vectors::from_rows(queries.dimension(), &floats)
    }
    .expect("whole rows")
}

/// Inserts one vector after the other into an empty index, on one thread.
fn insert(c: &mut Criterion) {
    const ROWS: usize = 2000;
    let mut group = c.benchmark_group("insert");
    group.sample_size(10).measurement_time(Duration::from_secs(8));
    group.throughput(Throughput::Elements(ROWS as u64));
    for carried in Carried::all() {
        for element in carried.elements() {
            let id = BenchmarkId::new(carried.set.name(), format!("{element}/{ROWS}"));
            group.bench_function(id, |b| {
                b.iter_batched(
                    || carried.empty(element),
                    |index| {
                        for (&key, row) in
                            carried.keys.iter().zip(carried.set.base().iter().take(ROWS))
                        {
                            index.insert(key, &row).expect("a sound vector");
                        }
                        index
                    },
                    BatchSize::LargeInput,
                );
            });
        }
    }
    group.finish();
}

/// Searches one query at a time, cycling through the set's queries.
fn search(c: &mut Criterion) {
    let mut group = c.benchmark_group("search");
    group.throughput(Throughput::Elements(1));
    for carried in Carried::all() {
        for element in carried.elements() {
            let index = carried.full(element);
            let queries = queries(&carried.set, element);
            for ef in [16, 64, 256] {
                let id = BenchmarkId::new(carried.set.name(), format!("{element}/k10/ef{ef}"));
                let mut hits = Hits::new();
                let mut next = queries.iter().cycle();
                group.bench_function(id, |b| {
                    b.iter(|| {
                        if let Some(query) = next.next() {
                            let search = index.search(black_box(&query)).k(10).ef(ef);
                            search.run_into(&mut hits).expect("a sound query");
                        }
                        hits.len()
                    });
                });
            }
        }
    }
    group.finish();
}

fn config() -> Criterion {
    #[cfg(target_os = "linux")]
    return Criterion::default().with_profiler(flamegraphs::Flamegraphs::default());
    #[cfg(not(target_os = "linux"))]
    Criterion::default()
}

criterion_group! {
    name = benches;
    config = config();
    targets = insert, search
}
criterion_main!(benches);
