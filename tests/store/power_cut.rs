//! Power cuts at every kind of moment, one after another, over random histories.
//!
//! After each cut, the disk is in a state that a cut could leave; the store on it must open, be sound, and hold the last
//! acknowledged commit or one in flight. Then the history continues, so that some cuts fall
//! into recovery and into the growth of the file. The same histories must fail when any one of the store's waits
//! for the disk is left out.
//!
//! `NEARFIELD_POWER_CUTS=100000 cargo test --release --test store power_cut::` makes a longer run.

use std::panic::{AssertUnwindSafe, catch_unwind};

use nearfield::store::{Durability, SimulatedDisk, StoreError, StoreOptions, SyncPoint};
use rand::RngExt;

use crate::history::{Model, Random, SMALL, Sizes, content, durability, random, transaction};
use crate::support::cuts::any_cut;

/// Counts of the cases that a run has met.
#[derive(Debug, Default)]
struct Met {
    cuts: usize,
    in_creation: usize,
    in_recovery: usize,
    in_growth: usize,
    /// Cuts while compacting, and of these, cuts while the file was longer than before.
    in_compaction: usize,
    in_evacuation: usize,
    /// Cuts after which the commit in flight was found.
    in_flight: usize,
}

/// States that may be found after a cut, oldest first: the last that is surely safe, then all later ones.
type Candidates = Vec<Model>;

/// Runs one life of a store, from opening to the cut. Returns the failure, if any.
fn live(
    random: &mut Random,
    sizes: Sizes,
    options: &StoreOptions,
    disk: &SimulatedDisk,
    candidates: &mut Candidates,
    met: &mut Met,
) -> Result<(), String> {
    let fresh = disk.image().unwrap().is_empty();
    let failed = |error: StoreError| {
        if disk.is_off() { Ok(()) } else { Err(format!("unexpected error: {error}")) }
    };
    let store = match options.open_simulated(disk) {
        Ok(store) => store,
        Err(error) => {
            met.in_creation += usize::from(fresh);
            return failed(error);
        }
    };
    let mut first = true;
    while !disk.is_off() {
        let model = candidates.last().cloned().unwrap_or_default();
        let length = disk.image().unwrap().len();
        let kind = random.random_range(0..20);
        let result = match kind {
            0 => store.checkpoint().map(|()| true),
            1 | 2 => store.compact().map(|_| true),
            _ => {
                let (mut tx, next) = match transaction(random, sizes, &store, &model) {
                    Ok(done) => done,
                    Err(error) => {
                        met.in_recovery += usize::from(first && store.recovered() > 0);
                        return failed(error);
                    }
                };
                let durability = durability(random);
                tx.set_durability(durability);
                candidates.push(next);
                tx.commit().map(|()| durability == Durability::Immediate)
            }
        };
        match result {
            // The commit was acknowledged as durable, so no older state may be found.
            Ok(true) => {
                candidates.drain(..candidates.len() - 1);
            }
            Ok(false) => {}
            Err(error) => {
                let is_longer = disk.image().unwrap().len() > length;
                met.in_growth += usize::from(is_longer);
                met.in_compaction += usize::from(matches!(kind, 1 | 2));
                met.in_evacuation += usize::from(matches!(kind, 1 | 2) && is_longer);
                return failed(error);
            }
        }
        first = false;
        let published = content(&store).map_err(|error| format!("reading: {error}"))?;
        if Some(published.trimmed()) != candidates.last().map(Model::trimmed) {
            return Err("a reader does not see the last commit".to_owned());
        }
    }
    Ok(())
}

fn run(seed: u64, cuts: usize, ignored: Option<SyncPoint>, met: &mut Met) -> Result<(), String> {
    let mut random = random(seed);
    let options = StoreOptions::new().page_size(4096).log_size(64 << 10);
    let mut disk = SimulatedDisk::new();
    let mut candidates = vec![Model::default()];
    let mut created = false;
    for _ in 0..cuts {
        if let Some(point) = ignored {
            disk.ignore_sync(point);
        }
        // Many lives are short, so that recovery itself is cut, and some are long.
        let life = match random.random_range(0..4) {
            0 => random.random_range(1..8),
            1 => random.random_range(1..20),
            _ => random.random_range(1..80),
        };
        disk.power_off_after(life);
        let operations = if random.random() { 4 } else { 30 };
        let sizes = Sizes { operations, ..SMALL };
        live(&mut random, sizes, &options, &disk, &mut candidates, met)?;
        created |= candidates.len() > 1 || candidates[0] != Model::default();
        met.cuts += 1;

        let cut = any_cut(&mut random);
        disk = disk.after_power_cut(cut, random.random());
        // The check reads a copy, because closing a store writes to it.
        let copy = SimulatedDisk::from_image(disk.image().unwrap()).unwrap();
        let before = copy.operations();
        let store = options.open_simulated(&copy).map_err(|e| format!("{cut:?}: open: {e}"))?;
        if created && copy.operations() != before {
            return Err("opening wrote to the file".to_owned());
        }
        store.check().map_err(|e| format!("{cut:?}: check: {e}"))?;
        let found = content(&store).map_err(|e| format!("{cut:?}: read: {e}"))?;
        let position = candidates.iter().rposition(|model| model.trimmed() == found.trimmed());
        let position = position.ok_or_else(|| {
            format!("{cut:?}: neither the last commit nor one in flight, of {}", candidates.len())
        })?;
        met.in_flight += usize::from(position > 0);
        candidates = vec![candidates.swap_remove(position)];
        // Histories do not grow for ever.
        if found.tables.values().map(std::collections::BTreeMap::len).sum::<usize>() > 600
            || disk.image().unwrap().len() > 4 << 20
        {
            disk = SimulatedDisk::new();
            candidates = vec![Model::default()];
            created = false;
        }
    }
    Ok(())
}

fn cuts() -> usize {
    std::env::var("NEARFIELD_POWER_CUTS").ok().and_then(|n| n.parse().ok()).unwrap_or(500)
}

#[test]
fn every_power_cut_leaves_the_last_commit() {
    leave_the_last_commit(cuts());
}

#[test]
#[ignore = "long: `just test-all`"]
fn every_power_cut_of_many_leaves_the_last_commit() {
    leave_the_last_commit(2000);
}

fn leave_the_last_commit(cuts: usize) {
    let mut met = Met::default();
    let per_history = 50;
    let histories = cuts / per_history;
    for seed in 0..histories as u64 {
        if let Err(what) = run(seed, per_history, None, &mut met) {
            panic!("history {seed}, cut {}: {what}", met.cuts % per_history);
        }
    }
    println!("{met:?}");
    assert!(met.in_compaction > 0 && met.in_evacuation > 0);
    assert!(met.in_creation > 0 && met.in_recovery > 0 && met.in_growth > 0 && met.in_flight > 0);
}

/// The test above is valid only if it detects a missing wait.
#[test]
#[ignore = "long: `just test-all`"]
fn every_missing_sync_is_noticed() {
    for point in SyncPoint::ALL {
        let noticed = (0..400).find(|seed| {
            let run = || run(*seed, 50, Some(point), &mut Met::default());
            !matches!(catch_unwind(AssertUnwindSafe(run)), Ok(Ok(())))
        });
        println!("{point:?}: noticed in history {noticed:?}");
        assert!(noticed.is_some(), "{point:?} can be left out without a test failing");
    }
}
