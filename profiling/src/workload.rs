//! The work that the profilers measure. A new workload implements [`Workload`].

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use nearfield::dataset::Vectors;
use nearfield::store::{Durability, Store, StoreOptions};
use nearfield::{Collection, Element, Hits, Quantization};
use profiling_worker::set::{Set, Source};
use profiling_worker::subject::{Filed, Folder, Recipe, Subject};
use profiling_worker::turnover::Turnover;
use profiling_worker::work::ASK;

use crate::Failure;
use crate::args::usage;

/// Repeatable work. Everything before [`Workload::run`] stays out of the profile.
pub(crate) trait Workload {
    fn name(&self) -> &'static str;

    /// The counted operation: `insertion`, `search`, ...
    fn operation(&self) -> &'static str;

    /// Makes the data that the work needs, and does a little of it, so that buffers are allocated.
    fn prepare(&mut self) -> Result<(), Failure>;

    /// Runs one pass. Returns the number of operations.
    fn pass(&mut self) -> Result<u64, Failure>;

    /// Returns the index of the workload, if any.
    fn index(&self) -> Option<&dyn Subject>;

    /// Runs passes until the time is over, at least one. Returns the number of operations.
    fn run(&mut self, time: Duration) -> Result<u64, Failure> {
        let started = Instant::now();
        let mut operations = self.pass()?;
        while started.elapsed() < time {
            operations += self.pass()?;
        }
        Ok(operations)
    }
}

/// Names of all workloads.
pub(crate) const NAMES: [&str; 7] =
    ["build", "search", "codes", "batch", "churn", "collection", "store"];

/// Returns a workload by name, over a data set's folder or generated vectors.
pub(crate) fn named(name: &str, dataset: Option<&Path>) -> Result<Box<dyn Workload>, Failure> {
    let indexed = |part| -> Result<Box<dyn Workload>, Failure> {
        Ok(Box::new(Indexed { part, set: load(dataset)?, index: None, hits: Hits::new() }))
    };
    match name {
        "build" => indexed(Part::Build),
        "search" => indexed(Part::Search),
        "codes" => indexed(Part::Codes),
        "batch" => indexed(Part::Batch),
        "churn" => Ok(Box::new(Churn { set: load(dataset)?, index: None, turnover: None })),
        "collection" => {
            Ok(Box::new(Transactions { set: load(dataset)?, filed: None, hits: Hits::new() }))
        }
        "store" => Ok(Box::new(Records { store: None, round: 0 })),
        other => Err(usage(format!("no workload '{other}'; there are: {}", NAMES.join(", ")))),
    }
}

/// Returns a folder's vectors as floats, or generated ones: 20,000 of 128 dimensions.
pub(crate) fn load(dataset: Option<&Path>) -> Result<Set, Failure> {
    match dataset {
        Some(folder) => Source::Folder(folder.to_owned(), Some(Element::F32)).load(),
        None => Source::Generated { rows: 20_000, dimension: 128 }.load(),
    }
}

enum Part {
    /// Inserts one vector after the other into an empty index.
    Build,
    /// Searches one query after the other.
    Search,
    /// Searches the same, walking on codes of 4 bits.
    Codes,
    /// Searches all queries at once on this thread.
    Batch,
}

/// Work on an index, on this thread: a profile of one thread reads best.
struct Indexed {
    part: Part,
    set: Set,
    index: Option<Box<dyn Subject>>,
    hits: Hits,
}

impl Indexed {
    fn recipe(&self) -> Recipe {
        match self.part {
            Part::Codes => Recipe::codes(self.set.element, Quantization::Sq4),
            _ => Recipe::hnsw(self.set.element),
        }
    }
}

impl Workload for Indexed {
    fn name(&self) -> &'static str {
        match self.part {
            Part::Build => "build",
            Part::Search => "search",
            Part::Codes => "codes",
            Part::Batch => "batch",
        }
    }

    fn operation(&self) -> &'static str {
        match self.part {
            Part::Build => "insertion",
            Part::Search | Part::Codes | Part::Batch => "search",
        }
    }

    fn prepare(&mut self) -> Result<(), Failure> {
        if !matches!(self.part, Part::Build) {
            let index = self.recipe().make(&self.set)?;
            index.insert_set(&self.set, 1)?;
            self.index = Some(index);
            self.pass()?;
        }
        Ok(())
    }

    fn pass(&mut self) -> Result<u64, Failure> {
        if let Part::Build = self.part {
            let index = self.recipe().make(&self.set)?;
            for (key, vector) in (0..).zip(self.set.base.iter()) {
                index.insert(key, &vector)?;
            }
            self.index = Some(index);
            return Ok(self.set.base.len() as u64);
        }
        let index = self.index.as_deref().ok_or("prepare first")?;
        let queries: &Vectors = &self.set.queries;
        if let Part::Batch = self.part {
            black_box(index.search_set(&self.set, ASK, 1)?);
        } else {
            for query in queries.iter() {
                index.search(&query, ASK, &mut self.hits)?;
                black_box(&self.hits);
            }
        }
        Ok(queries.len() as u64)
    }

    fn index(&self) -> Option<&dyn Subject> {
        self.index.as_deref()
    }
}

/// An index whose vectors are removed and inserted again, and some of which are replaced; maintenance at the end.
struct Churn {
    set: Set,
    index: Option<Box<dyn Subject>>,
    turnover: Option<Turnover>,
}

impl Churn {
    const TURNOVERS: usize = 1000;
}

impl Workload for Churn {
    fn name(&self) -> &'static str {
        "churn"
    }

    fn operation(&self) -> &'static str {
        "turnover"
    }

    fn prepare(&mut self) -> Result<(), Failure> {
        let index = Recipe::hnsw(self.set.element).make(&self.set)?;
        index.insert_set(&self.set, 1)?;
        self.turnover = Some(Turnover::begin(index.as_ref(), &self.set)?);
        self.index = Some(index);
        self.pass()?;
        Ok(())
    }

    fn pass(&mut self) -> Result<u64, Failure> {
        let index = self.index.as_deref().ok_or("prepare first")?;
        let turnover = self.turnover.as_mut().ok_or("prepare first")?;
        turnover.turn(index, &self.set, Self::TURNOVERS)?;
        index.maintain()?;
        Ok(Self::TURNOVERS as u64)
    }

    fn index(&self) -> Option<&dyn Subject> {
        self.index.as_deref()
    }
}

/// A collection in a file: filled by transactions of a hundred vectors with payloads, searched after each, written
/// by a checkpoint, opened again, and removed.
struct Transactions {
    set: Set,
    filed: Option<Box<dyn Subject>>,
    hits: Hits,
}

impl Transactions {
    const COMMITS: usize = 20;
    const VECTORS: usize = 100;
    const SEARCHES: usize = 50;
    const PAYLOAD: [u8; 100] = [7; 100];
}

impl Workload for Transactions {
    fn name(&self) -> &'static str {
        "collection"
    }

    fn operation(&self) -> &'static str {
        "commit"
    }

    fn prepare(&mut self) -> Result<(), Failure> {
        self.pass()?;
        Ok(())
    }

    fn pass(&mut self) -> Result<u64, Failure> {
        // One collection at a time, because its memory is measured.
        self.filed = None;
        let folder = Folder::new()?;
        let path = folder.0.join("collection");
        let config =
            Collection::builder(self.set.dimension, self.set.metric).element(self.set.element);
        let collection = config.clone().open(&path)?;
        let mut vectors = (0..).zip(self.set.base.iter());
        let mut queries = self.set.queries.iter().cycle();
        for _ in 0..Self::COMMITS {
            let mut tx = collection.begin_write()?;
            for (key, vector) in vectors.by_ref().take(Self::VECTORS) {
                tx.upsert(key, &vector)?;
                tx.put_payload(key, &Self::PAYLOAD)?;
            }
            tx.commit()?;
            for query in queries.by_ref().take(Self::SEARCHES) {
                collection.search(&query).k(ASK.k).ef(ASK.ef).run_into(&mut self.hits)?;
                if let Some(hit) = self.hits.first() {
                    black_box(collection.payload(hit.key)?);
                }
            }
        }
        collection.close()?;
        self.filed = Some(Box::new(Filed::open(&path, config)?));
        Ok(Self::COMMITS as u64)
    }

    fn index(&self) -> Option<&dyn Subject> {
        self.filed.as_deref()
    }
}

/// Records of a store in memory: written in commits of ten, read, scanned, and removed again, so that its size is the
/// same after every pass.
struct Records {
    store: Option<Store>,
    round: u64,
}

impl Records {
    const COMMITS: u64 = 1000;
    const RECORDS: u64 = 10;
    const VALUE: [u8; 256] = [7; 256];

    fn key(round: u64, commit: u64, record: u64) -> [u8; 16] {
        let mut state = (round << 40) ^ (commit << 20) ^ record;
        let mut key = [0; 16];
        key[..8].copy_from_slice(&crate::stats::next(&mut state).to_be_bytes());
        key[8..].copy_from_slice(&crate::stats::next(&mut state).to_be_bytes());
        key
    }
}

impl Workload for Records {
    fn name(&self) -> &'static str {
        "store"
    }

    fn operation(&self) -> &'static str {
        "commit"
    }

    fn prepare(&mut self) -> Result<(), Failure> {
        self.store = Some(StoreOptions::new().open_in_memory()?);
        self.pass()?;
        Ok(())
    }

    fn pass(&mut self) -> Result<u64, Failure> {
        let store = self.store.as_ref().ok_or("prepare first")?;
        self.round += 1;
        for commit in 0..Self::COMMITS {
            let mut tx = store.begin_write()?;
            tx.set_durability(Durability::None);
            let mut table = tx.table::<[u8]>("records")?;
            for record in 0..Self::RECORDS {
                table.insert(&Self::key(self.round, commit, record), &Self::VALUE)?;
                // The record that the round before wrote.
                table.remove(&Self::key(self.round - 1, commit, record))?;
            }
            tx.commit()?;
            let tx = store.begin_read()?;
            let table = tx.table::<[u8]>("records")?;
            for record in 0..Self::RECORDS {
                black_box(table.get(&Self::key(self.round, commit, record))?);
            }
            for entry in table.range(&Self::key(self.round, commit, 0)[..]..)?.take(100) {
                black_box(entry?);
            }
        }
        Ok(Self::COMMITS)
    }

    fn index(&self) -> Option<&dyn Subject> {
        None
    }
}
