//! Models of the work of readers without locks and writers on rows and slots: the code itself, on small indexes, under a scheduler
//! that chooses the next thread at each access (`src/graph/mod.rs`, Concurrency; how to run them is in `CONTRIBUTING.md`).
//!
//! In every schedule: a key inserted before a search began, and not being removed, is found; a key removed before is
//! not; each key is found once, with a vector that it had; a replaced one in a version no older than when the search began; and at
//! the end the graph is whole.
//!
//! # Teeth
//!
//! Ten faults are planted one by one (`nearfield::model::Fault`), and [`FAULTS`] names the model that finds each, and the
//! number of schedules. Three more were in the code until a model found them, each in one of some thousand schedules: a node was
//! taken out of the trees before its neighbours were joined, so that a search that began between saw a part of the index only;
//! the rows of a slot were cleared for its next vector while a sweep mended their former links, so that a row had a neighbour
//! twice; and a search during all of a replacement met neither vector.
#![cfg(nearfield_model)]

mod cases;
mod explore;

use explore::{Model, bounded, seeded};
use nearfield::model::Fault;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}

/// Runs a model in seeded schedules, and in those with one interruption; or in the one that `NEARFIELD_MODEL_SEED` names.
fn hold(name: &str, model: Model) {
    let seeds = match number("NEARFIELD_MODEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("NEARFIELD_MODELS").unwrap_or(4_000),
    };
    let count = seeds.end - seeds.start;
    let found = seeded(model, seeds, None);
    println!("{name}: {found:?} of seeds");
    if let Err(failure) = found {
        let explore::Failure { schedule, reason } = failure;
        panic!("NEARFIELD_MODEL_SEED={schedule}: {reason}");
    }
    for graph in 0..if count == 1 { 0 } else { 4 } {
        let found = bounded(model, graph, 1, count / 4);
        println!("{name}: {found:?} with one interruption");
        if let Err(explore::Failure { schedule, reason }) = found {
            panic!("graph {graph}, schedule {schedule} with one interruption: {reason}");
        }
    }
}

macro_rules! models {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                hold(stringify!($name), cases::$name);
            }
        )*

        /// The models, for the faults that they must find.
        const MODELS: &[(&str, Model)] = &[$((stringify!($name), cases::$name)),*];
    };
}

models! { insertions raised reuse upserts moves removals scans scanned_upserts }

/// Each fault, a model that finds it, and the schedules within which the model must find it.
const FAULTS: [(Fault, &str, u64); 10] = [
    (Fault::CountedEarly, "scans", 400),
    (Fault::EntryEarly, "raised", 100),
    (Fault::LinkedBackEarly, "insertions", 100),
    (Fault::Emptied, "insertions", 1_000),
    (Fault::TreePruned, "insertions", 100),
    (Fault::Unlocked, "moves", 1_000),
    (Fault::VacantEarly, "scans", 1_000),
    (Fault::Unswept, "moves", 1_000),
    (Fault::ReplacedUnnoted, "upserts", 1_000),
    (Fault::ViewedEarly, "upserts", 10_000),
];

#[test]
fn planted_faults_are_found() {
    let mut missed = Vec::new();
    for (fault, name, schedules) in FAULTS {
        let (_, model) = MODELS.iter().find(|(model, _)| *model == name).expect("a model");
        match seeded(*model, 0..schedules, Some(fault)) {
            Ok(count) => missed.push((fault, name, count)),
            Err(failure) => println!("{fault:?}: {name}, {failure:?}"),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
