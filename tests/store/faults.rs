//! Every read, write, sync and resize of a history fails in turn.

use nearfield::store::{
    Cut, DiskOperation, InjectedFault, SimulatedDisk, StoreError, StoreOptions,
};

use crate::history::{Model, SMALL, Sizes, content, random, transaction};

/// Runs a history until it ends or an operation fails. Returns the states that may be found, the surest first.
fn history(disk: &SimulatedDisk, options: &StoreOptions) -> (Vec<Model>, Option<StoreError>) {
    let mut random = random(11);
    let sizes = Sizes { operations: 10, ..SMALL };
    let mut states = vec![Model::default()];
    for _ in 0..3 {
        let store = match options.open_simulated(disk) {
            Ok(store) => store,
            Err(error) => return (states, Some(error)),
        };
        for step in 0..8 {
            let model = states[states.len() - 1].clone();
            let result = transaction(&mut random, sizes, &store, &model).and_then(|(tx, next)| {
                states.push(next);
                tx.commit()
            });
            let result = result.and_then(|()| {
                states.drain(..states.len() - 1);
                if step % 4 == 3 { store.checkpoint() } else { Ok(()) }
            });
            if let Err(error) = result {
                // Readers continue, and see an acknowledged commit or the failed one.
                let seen = content(&store).expect("reads survive a failed write").trimmed();
                assert!(states.iter().any(|state| state.trimmed() == seen));
                // A writer may only continue if the disk is as before the failure.
                if matches!(error, StoreError::Io { .. }) {
                    match store.begin_write() {
                        Err(StoreError::Poisoned { cause }) => {
                            assert_eq!(cause, error.to_string());
                        }
                        Ok(tx) => {
                            drop(tx);
                            assert_eq!(
                                states[0].trimmed(),
                                seen,
                                "{error}: a refused commit shows"
                            );
                            let (tx, next) =
                                transaction(&mut random, sizes, &store, &states[0]).unwrap();
                            tx.commit().unwrap();
                            states = vec![next];
                            store.checkpoint().unwrap();
                            assert_eq!(content(&store).unwrap().trimmed(), states[0].trimmed());
                        }
                        Err(other) => panic!("{error}, then {other}"),
                    }
                    // The store can be read in both cases.
                    store.check().unwrap();
                    store.stats().unwrap();
                }
                return (states, Some(error));
            }
        }
    }
    (states, None)
}

#[test]
fn every_operation_may_fail() {
    let options = StoreOptions::new().page_size(4096).log_size(64 << 10);
    let mut failures = 0;
    for kind in
        [DiskOperation::Read, DiskOperation::Write, DiskOperation::Sync, DiskOperation::Resize]
    {
        for fault in [InjectedFault::Error, InjectedFault::Short, InjectedFault::Full] {
            for n in 0.. {
                let disk = SimulatedDisk::new();
                disk.fail_at(kind, n, fault);
                let (states, error) = history(&disk, &options);
                if !disk.fault_happened() {
                    assert!(error.is_none(), "without a fault: {error:?}");
                    break;
                }
                failures += 1;
                // The fault may have hit a closing store, which cannot report it.
                if let Some(error) = &error {
                    assert!(
                        matches!(error, StoreError::Io { .. } | StoreError::Poisoned { .. }),
                        "{kind:?} {n} {fault:?}: {error:?}"
                    );
                }
                // Both the running program and one after a power cut find a commit.
                let places = [
                    disk.clone(),
                    disk.after_power_cut(Cut::Nothing, n),
                    disk.after_power_cut(Cut::Everything, n),
                    disk.after_power_cut(Cut::Subset(50), n),
                ];
                for (i, place) in places.iter().enumerate() {
                    let store = options.open_simulated(place).unwrap_or_else(|error| {
                        panic!("{kind:?} {n} {fault:?}, place {i}: {error}");
                    });
                    store.check().unwrap();
                    let found = content(&store).unwrap().trimmed();
                    assert!(
                        states.iter().any(|state| state.trimmed() == found),
                        "{kind:?} {n} {fault:?}, place {i}: a commit is lost"
                    );
                    // The store is usable again.
                    let mut tx = store.begin_write().unwrap();
                    tx.table::<u32>("after").unwrap().insert(1, b"x").unwrap();
                    tx.commit().unwrap();
                }
            }
        }
    }
    println!("{failures} faults");
    assert!(failures > 300);
}
