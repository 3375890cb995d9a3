//! Operations on a table of 16-byte keys: insert, search, range, remove; random and ascending; values of 16 to 4,096
//! bytes. In memory, so that the tree is measured and not the disk.

use std::hint::black_box;
use std::ops::Bound;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nearfield::store::{Durability, Store, StoreOptions, WriteTransaction};

const RECORDS: usize = 200_000;
/// Operations per measured step.
const STEP: usize = 1000;

fn key(n: u64) -> [u8; 16] {
    // SplitMix64, twice.
    let mix = |n: u64| {
        let z = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut key = [0; 16];
    key[..8].copy_from_slice(&mix(n.wrapping_add(1)).to_be_bytes());
    key[8..].copy_from_slice(&mix(n ^ 0x5555).to_be_bytes());
    key
}

fn keys(ascending: bool) -> Vec<[u8; 16]> {
    let mut keys: Vec<_> = (0..RECORDS as u64).map(key).collect();
    if ascending {
        keys.sort_unstable();
    }
    keys
}

fn filled(page_size: u32, value: usize) -> Store {
    let store = StoreOptions::new().page_size(page_size).open_in_memory().unwrap();
    let value = vec![7; value];
    let keys = keys(true);
    let mut tx = store.begin_write().unwrap();
    let mut table = tx.table::<[u8]>("t").unwrap();
    table.bulk_load(keys.iter().map(|key| (&key[..], &value[..]))).unwrap();
    tx.commit().unwrap();
    store
}

fn begin(store: &Store) -> WriteTransaction {
    let mut tx = store.begin_write().unwrap();
    tx.set_durability(Durability::None);
    tx
}

fn search(c: &mut Criterion) {
    let mut group = c.benchmark_group("search");
    group.throughput(Throughput::Elements(STEP as u64));
    for page_size in [4096, 8192, 16384, 32768] {
        for value in [16, 256, 4096] {
            if value == 4096 && page_size > 8192 {
                continue;
            }
            let store = filled(page_size, value);
            let tx = store.begin_read().unwrap();
            let table = tx.table::<[u8]>("t").unwrap();
            for (order, ascending) in [("random", false), ("ascending", true)] {
                let keys = keys(ascending);
                let mut at = 0;
                let name = format!("{order}/value {value}");
                group.bench_function(BenchmarkId::new(name, page_size), |b| {
                    b.iter(|| {
                        for _ in 0..STEP {
                            black_box(table.get(&keys[at]).unwrap());
                            at = (at + 1) % RECORDS;
                        }
                    });
                });
            }
        }
    }
}

fn range(c: &mut Criterion) {
    let mut group = c.benchmark_group("range");
    let store = filled(8192, 256);
    let tx = store.begin_read().unwrap();
    let table = tx.table::<[u8]>("t").unwrap();
    let keys = keys(false);
    for length in [10, 100, 10_000] {
        group.throughput(Throughput::Elements(length));
        let mut at = 0;
        group.bench_function(BenchmarkId::new("forward", length), |b| {
            b.iter(|| {
                at = (at + 1) % RECORDS;
                let from = Bound::Included(&keys[at][..]);
                for entry in table.range((from, Bound::Unbounded)).unwrap().take(length as usize) {
                    black_box(entry.unwrap());
                }
            });
        });
        group.bench_function(BenchmarkId::new("backward", length), |b| {
            b.iter(|| {
                at = (at + 1) % RECORDS;
                let to = Bound::Included(&keys[at][..]);
                let range = table.range((Bound::Unbounded, to)).unwrap();
                for entry in range.rev().take(length as usize) {
                    black_box(entry.unwrap());
                }
            });
        });
    }
}

fn insert(c: &mut Criterion) {
    let mut group = c.benchmark_group("insert");
    group.sample_size(10).throughput(Throughput::Elements(RECORDS as u64));
    for value in [16, 256, 4096] {
        let content = vec![7; value];
        for (order, ascending) in [("random", false), ("ascending", true)] {
            let keys = keys(ascending);
            group.bench_function(BenchmarkId::new(order, value), |b| {
                b.iter_batched(
                    || StoreOptions::new().open_in_memory().unwrap(),
                    |store| {
                        let mut tx = begin(&store);
                        let mut table = tx.table::<[u8]>("t").unwrap();
                        for key in &keys {
                            table.insert(key, &content).unwrap();
                        }
                        tx.commit().unwrap();
                        store
                    },
                    BatchSize::PerIteration,
                );
            });
        }
    }
    let keys = keys(true);
    let content = [7; 256];
    group.bench_function("bulk load/256", |b| {
        b.iter_batched(
            || StoreOptions::new().open_in_memory().unwrap(),
            |store| {
                let mut tx = begin(&store);
                let mut table = tx.table::<[u8]>("t").unwrap();
                table.bulk_load(keys.iter().map(|key| (&key[..], &content[..]))).unwrap();
                tx.commit().unwrap();
                store
            },
            BatchSize::PerIteration,
        );
    });
}

fn commit(c: &mut Criterion) {
    let mut group = c.benchmark_group("commit");
    let store = filled(8192, 256);
    let keys = keys(false);
    let mut at = 0;
    group.bench_function("one record, memory", |b| {
        b.iter(|| {
            let mut tx = begin(&store);
            at = (at + 1) % RECORDS;
            tx.table::<[u8]>("t").unwrap().insert(&keys[at], &[at as u8; 256]).unwrap();
            tx.commit().unwrap();
        });
    });
}

fn remove(c: &mut Criterion) {
    let mut group = c.benchmark_group("remove");
    group.sample_size(10).throughput(Throughput::Elements(RECORDS as u64));
    for (order, ascending) in [("random", false), ("ascending", true)] {
        let keys = keys(ascending);
        group.bench_function(order, |b| {
            b.iter_batched(
                || filled(8192, 256),
                |store| {
                    let mut tx = begin(&store);
                    let mut table = tx.table::<[u8]>("t").unwrap();
                    for key in &keys {
                        table.remove(key).unwrap();
                    }
                    tx.commit().unwrap();
                    store
                },
                BatchSize::PerIteration,
            );
        });
    }
}

criterion_group!(benches, search, range, insert, commit, remove);
criterion_main!(benches);
