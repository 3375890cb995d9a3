//! All operations of a store, once and in miniature, on memory: small enough for an interpreter (Miri) and for a thread
//! sanitizer, which the large tests are not.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use nearfield::store::{Store, StoreError, StoreOptions};

fn small() -> StoreOptions {
    StoreOptions::new().page_size(4096).log_size(64 << 10)
}

fn equals(store: &Store, model: &BTreeMap<u64, Vec<u8>>) -> Result<bool, StoreError> {
    let tx = store.begin_read()?;
    let table = tx.table::<u64>("t")?;
    let found: Vec<_> = table.entries()?.collect::<Result<_, _>>()?;
    let same = found.iter().map(|&(k, v)| (k, v)).eq(model.iter().map(|(&k, v)| (k, &v[..])));
    let mut looked_up = true;
    for (key, value) in model {
        looked_up &= table.get(*key)? == Some(&value[..]);
    }
    Ok(same && looked_up && table.get(u64::MAX)?.is_none())
}

#[test]
fn everything_once() -> Result<(), StoreError> {
    let store = small().open_in_memory()?;
    let mut model = BTreeMap::new();
    let mut tx = store.begin_write()?;
    let mut table = tx.table::<u64>("t")?;
    let rows = if cfg!(miri) { 30 } else { 90 };
    for n in 0..rows {
        let (key, value) = (n * 37 % 101, vec![n as u8; 150 + n as usize * 3]);
        table.insert(key, &value)?;
        model.insert(key, value);
    }
    let long = vec![7; 6000];
    table.insert(500, &long)?;
    model.insert(500, long);
    let extent = tx.create_extent(5000)?;
    tx.write_extent(extent, 100, &[1, 2, 3])?;
    tx.commit()?;
    assert!(equals(&store, &model)?, "from memory");

    let snapshot = store.begin_read()?;
    let old = model.clone();
    let mut tx = store.begin_write()?;
    let savepoint = tx.savepoint()?;
    tx.table::<u64>("t")?.insert(1000, b"undone")?;
    tx.roll_back(savepoint)?;
    let mut table = tx.table::<u64>("t")?;
    for key in (0..101).step_by(2) {
        assert_eq!(table.remove(key)?, model.remove(&key).is_some());
    }
    tx.write_extent(extent, 101, &[9])?;
    tx.commit()?;
    assert!(equals(&store, &model)?, "after removals");
    assert_eq!(snapshot.table::<u64>("t")?.len(), old.len() as u64);
    assert_eq!(snapshot.extent(extent)?.range(100..103)?, [1, 2, 3]);

    store.checkpoint()?;
    assert!(equals(&store, &model)?, "from the map");
    for (&key, value) in &old {
        assert_eq!(snapshot.table::<u64>("t")?.get(key)?, Some(&value[..]));
    }
    drop(snapshot);

    let mut tx = store.begin_write()?;
    let entries = [(3_u64, &b"three"[..]), (1, b"one"), (2, b"two")];
    tx.table::<u64>("loaded")?.bulk_load_unsorted(entries)?;
    tx.remove_extent(extent)?;
    tx.commit()?;
    store.compact()?;
    store.check()?;
    let tx = store.begin_read()?;
    let loaded: Vec<_> = tx.table::<u64>("loaded")?.entries()?.collect::<Result<_, _>>()?;
    assert_eq!(loaded, [(1, &b"one"[..]), (2, b"two"), (3, b"three")]);
    assert!(equals(&store, &model)?, "after moving");
    Ok(())
}

/// Every commit sets all keys to one number, so a reader that sees two numbers has seen half of a commit.
#[test]
fn readers_beside_a_writer() -> Result<(), StoreError> {
    const KEYS: u64 = 12;
    let commits = if cfg!(miri) { 3 } else { 300 };
    let store = small().open_in_memory()?;
    let set = |number: u64| -> Result<(), StoreError> {
        let mut tx = store.begin_write()?;
        let mut table = tx.table::<u64>("t")?;
        for key in 0..KEYS {
            table.insert(key, &number.to_le_bytes().repeat(50))?;
        }
        tx.commit()
    };
    set(0)?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| -> Result<(), StoreError> {
                    let mut last = 0;
                    loop {
                        let finished = done.load(Ordering::Acquire);
                        let tx = store.begin_read()?;
                        let table = tx.table::<u64>("t")?;
                        let mut seen = Vec::new();
                        for key in 0..KEYS {
                            seen.extend(
                                table
                                    .get(key)?
                                    .map(|v| u64::from_le_bytes(v[392..].try_into().unwrap())),
                            );
                        }
                        assert_eq!(seen, vec![seen[0]; KEYS as usize]);
                        assert!(seen[0] >= last, "time goes backwards");
                        last = seen[0];
                        if finished {
                            assert_eq!(last, commits);
                            return Ok(());
                        }
                    }
                })
            })
            .collect();
        for number in 1..=commits {
            set(number)?;
            if number % 3 == 0 {
                store.checkpoint()?;
            }
        }
        done.store(true, Ordering::Release);
        readers.into_iter().try_for_each(|reader| reader.join().expect("a reader panicked"))
    })
}
