//! The workloads: an index, and a next step of a fixed amount.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use nearfield::{Element, Hits, Quantization};

use crate::Failure;
use crate::clock::thread_time;
use crate::set::{Set, Source};
use crate::subject::{Ask, Recipe, Subject};
use crate::turnover::Turnover;

/// The parameters of every search here: enough for a recall around 0.99 on the carried sets.
pub const ASK: Ask = Ask { k: 10, ef: 64 };

/// Vectors that are in an index before insertions are measured, because the first ones cost almost nothing.
const FIRST_INSERTED: usize = 500;

/// A workload by its name, with the data and the index that it needs.
#[derive(Debug, Clone)]
pub struct Plan {
    pub name: &'static str,
    pub source: Source,
    pub recipe: Recipe,
    pub kind: Kind,
}

/// The work of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Searches the next queries.
    Search,
    /// Inserts the next vectors; into an empty index, once all are in.
    Insert,
    /// Removes vectors and inserts them again.
    Churn,
}

/// Returns the workloads to compare. `data` holds the carried sets. A short list has one for each kind of work.
pub fn plans(data: &Path, short: bool) -> Vec<Plan> {
    let photo = |element| Source::Folder(data.join("photo-sift-128-5k"), element);
    let words = |element| Source::Folder(data.join("words-100-10k"), element);
    let plan = |name, source, recipe, kind| Plan { name, source, recipe, kind };
    let mut plans = vec![
        plan(
            "search/photo-sift-128-5k/f32",
            photo(Some(Element::F32)),
            Recipe::hnsw(Element::F32),
            Kind::Search,
        ),
        plan(
            "search/photo-sift-128-5k/sq4",
            photo(Some(Element::F32)),
            Recipe::codes(Element::F32, Quantization::Sq4),
            Kind::Search,
        ),
        plan(
            "insert/photo-sift-128-5k/f32",
            photo(Some(Element::F32)),
            Recipe::hnsw(Element::F32),
            Kind::Insert,
        ),
        plan(
            "churn/photo-sift-128-5k/f32",
            photo(Some(Element::F32)),
            Recipe::hnsw(Element::F32),
            Kind::Churn,
        ),
        plan(
            "commit/photo-sift-128-5k/u8",
            photo(None),
            Recipe::Collection { element: Element::U8 },
            Kind::Insert,
        ),
    ];
    if !short {
        plans.extend([
            plan(
                "search/photo-sift-128-5k/u8",
                photo(None),
                Recipe::hnsw(Element::U8),
                Kind::Search,
            ),
            plan("search/words-100-10k/f16", words(None), Recipe::hnsw(Element::F16), Kind::Search),
            plan(
                "search/words-100-10k/sq8",
                words(Some(Element::F32)),
                Recipe::codes(Element::F32, Quantization::Sq8),
                Kind::Search,
            ),
            // The set does not fit the caches.
            plan(
                "search/generated-128-20k/f32",
                Source::Generated { rows: 20_000, dimension: 128 },
                Recipe::hnsw(Element::F32),
                Kind::Search,
            ),
        ]);
    }
    plans
}

/// A workload ready to run.
pub struct Work {
    pub plan: Plan,
    pub set: Set,
    pub index: Box<dyn Subject>,
    next: usize,
    turnover: Option<Turnover>,
    hits: Hits,
}

impl Work {
    /// Loads the data and, for searches, builds the index on this thread, so that it is the same in every run.
    pub fn prepare(plan: Plan) -> Result<Self, Failure> {
        let set = plan.source.load()?;
        let index = plan.recipe.make(&set)?;
        let mut work = Self { plan, set, index, next: 0, turnover: None, hits: Hits::new() };
        work.begin()?;
        Ok(work)
    }

    /// Fills the index to the size at which the first step begins.
    fn begin(&mut self) -> Result<(), Failure> {
        self.next = 0;
        match self.plan.kind {
            Kind::Search | Kind::Churn => self.insert(self.set.base.len())?,
            Kind::Insert => return self.insert(FIRST_INSERTED),
        }
        self.next = 0;
        if let Kind::Churn = self.plan.kind {
            self.turnover = Some(Turnover::begin(self.index.as_ref(), &self.set)?);
        }
        Ok(())
    }

    /// Returns the queries or vectors of one step: some 1.5 ms of work, short enough that two processes meet the same moment of a
    /// busy machine.
    pub fn step_len(&self) -> usize {
        match self.plan.kind {
            Kind::Search => 40,
            Kind::Insert => 20,
            Kind::Churn => 5,
        }
    }

    /// Runs one step. Returns its CPU time. A few unmeasured queries run first, because other processes have used
    /// the caches since the last step.
    pub fn step(&mut self) -> Result<Duration, Failure> {
        match self.plan.kind {
            Kind::Search => {
                self.search(self.step_len() / 4)?;
                let started = thread_time();
                self.search(self.step_len())?;
                Ok(thread_time() - started)
            }
            Kind::Insert => {
                if self.next + self.step_len() > self.set.base.len() {
                    self.index = self.plan.recipe.make(&self.set)?;
                    self.begin()?;
                }
                let started = thread_time();
                self.insert(self.step_len())?;
                Ok(thread_time() - started)
            }
            Kind::Churn => {
                let started = thread_time();
                self.churn(self.step_len())?;
                Ok(thread_time() - started)
            }
        }
    }

    /// Removes the next `count` vectors and inserts others again.
    pub fn churn(&mut self, count: usize) -> Result<(), Failure> {
        let turnover = self.turnover.as_mut().ok_or("no workload of changes")?;
        turnover.turn(self.index.as_ref(), &self.set, count)
    }

    /// Inserts the vectors that are away, and runs maintenance.
    pub fn settle(&mut self) -> Result<(), Failure> {
        if let Some(turnover) = self.turnover.take() {
            turnover.end(self.index.as_ref(), &self.set)?;
        }
        self.index.maintain()
    }

    /// Searches the next `count` queries, in cycles.
    pub fn search(&mut self, count: usize) -> Result<(), Failure> {
        for _ in 0..count {
            let row = self.next % self.set.queries.len();
            self.next += 1;
            let query = self.set.queries.row(row).ok_or("a set without queries")?;
            self.index.search(black_box(&query), ASK, &mut self.hits)?;
            black_box(&self.hits);
        }
        Ok(())
    }

    /// Inserts the next `count` vectors.
    pub fn insert(&mut self, count: usize) -> Result<(), Failure> {
        for _ in 0..count {
            let vector = self.set.base.row(self.next).ok_or("more insertions than vectors")?;
            self.index.insert(self.next as u64, black_box(&vector))?;
            self.next += 1;
        }
        Ok(())
    }
}
