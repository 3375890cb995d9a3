//! Work whose instructions are counted under `valgrind --tool=callgrind --toggle-collect=*counted_section*`: a separate
//! function that no optimiser inlines, so that setting up stays out of the count. Its input is made before, without
//! valgrind, under which everything takes some fifty times as long.

use std::hint::black_box;
use std::path::Path;

use nearfield::{Element, Hits, Hnsw, Quantization};

use crate::Failure;
use crate::set::{Set, Source};
use crate::subject::{Filed, Subject, config};
use crate::turnover::Turnover;
use crate::work::ASK;

/// Every section.
pub const NAMES: [&str; 5] = ["search", "search-codes", "insert", "churn", "commit"];

/// Rows inserted in advance; the section inserts those after.
const ROWS: usize = 4800;
const ROWS_OF_COLLECTION: usize = 1000;

/// These numbers are small, because valgrind is slow.
const SEARCHES: usize = 100;
const INSERTIONS: usize = 100;
const TURNOVERS: usize = 50;

fn load(data: &Path) -> Result<Set, Failure> {
    Source::Folder(data.join("photo-sift-128-5k"), Some(Element::F32)).load()
}

/// Writes the input of the sections to `folder`. Runs on one thread, so that the input is the same every time.
pub fn prepare(data: &Path, folder: &Path) -> Result<(), Failure> {
    let set = load(data)?;
    for (name, quantization) in [("graph", Quantization::None), ("codes", Quantization::Sq4)] {
        let index = Hnsw::builder(set.dimension, set.metric).quantization(quantization).build()?;
        insert(&index, &set, 0..ROWS)?;
        index.save(folder.join(name))?;
    }
    let filed = Filed::open(&folder.join("collection"), config(&set, Element::F32))?;
    insert(&filed, &set, 0..ROWS_OF_COLLECTION)?;
    Ok(filed.collection().checkpoint()?)
}

/// Runs a section on its input in `folder`.
pub fn run(name: &str, data: &Path, folder: &Path) -> Result<(), Failure> {
    let set = load(data)?;
    let graph = |file: &str| Hnsw::load(folder.join(file));
    match name {
        "search" => searches(&graph("graph")?, &set),
        "search-codes" => searches(&graph("codes")?, &set),
        "insert" => insertions(&graph("graph")?, &set, ROWS),
        "churn" => turnovers(&graph("graph")?, &set),
        "commit" => {
            let filed = Filed::open(&folder.join("collection"), config(&set, Element::F32))?;
            insertions(&filed, &set, ROWS_OF_COLLECTION)
        }
        other => Err(format!("no section '{other}'; there are: {}", NAMES.join(", ")).into()),
    }
}

fn searches(index: &dyn Subject, set: &Set) -> Result<(), Failure> {
    let mut hits = Hits::new();
    let mut next = set.queries.iter().cycle();
    let mut search = |count| {
        for query in next.by_ref().take(count) {
            index.search(black_box(&query), ASK, &mut hits)?;
            black_box(&hits);
        }
        Ok(())
    };
    // These queries make the scratch memory.
    search(10)?;
    counted_section(|| search(SEARCHES))
}

fn insertions(index: &dyn Subject, set: &Set, from: usize) -> Result<(), Failure> {
    let warm = from + 10;
    insert(index, set, from..warm)?;
    counted_section(|| insert(index, set, warm..warm + INSERTIONS))
}

fn turnovers(index: &dyn Subject, set: &Set) -> Result<(), Failure> {
    let mut turnover = Turnover::begin(index, set)?;
    turnover.turn(index, set, 10)?;
    counted_section(|| turnover.turn(index, set, TURNOVERS))
}

fn insert(index: &dyn Subject, set: &Set, rows: std::ops::Range<usize>) -> Result<(), Failure> {
    for row in rows {
        let vector = set.base.row(row).ok_or("more insertions than vectors")?;
        index.insert(row as u64, black_box(&vector))?;
    }
    Ok(())
}

#[inline(never)]
fn counted_section(work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    // This line prevents a tail call, which would take this function off the stack.
    black_box(work())
}
