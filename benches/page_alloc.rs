//! Space: pages taken and given back by transactions, in a dense file and in one full of holes; extents.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nearfield::store::{Durability, Store, StoreOptions};

const PAGES: u64 = 1000;

/// Returns a store with about `holes` free runs of a page, left by removed values of a page.
fn with_holes(holes: u64) -> Store {
    let store = StoreOptions::new().page_size(4096).open_in_memory().unwrap();
    let mut tx = store.begin_write().unwrap();
    let mut table = tx.table::<u64>("t").unwrap();
    for n in 0..holes * 2 {
        table.insert(n, &[1; 4000]).unwrap();
    }
    tx.commit().unwrap();
    let mut tx = store.begin_write().unwrap();
    let mut table = tx.table::<u64>("t").unwrap();
    for n in 0..holes {
        table.remove(n * 2).unwrap();
    }
    tx.commit().unwrap();
    store.checkpoint().unwrap();
    store
}

fn transactions(c: &mut Criterion) {
    let mut group = c.benchmark_group("page_alloc");
    group.throughput(Throughput::Elements(PAGES));
    for holes in [0, 1000, 100_000] {
        let store = with_holes(holes);
        group.bench_function(BenchmarkId::new("take and give back", holes), |b| {
            b.iter(|| {
                let mut tx = store.begin_write().unwrap();
                let mut table = tx.table::<u64>("new").unwrap();
                for n in 0..PAGES {
                    table.insert(n, &[2; 4000]).unwrap();
                }
                // Dropping the transaction frees all its pages.
            });
        });
        let mut n = 0;
        group.bench_function(BenchmarkId::new("checkpoint after one change", holes), |b| {
            b.iter(|| {
                let mut tx = store.begin_write().unwrap();
                n += 1;
                tx.table::<u64>("new").unwrap().insert(n % 50, &[3; 100]).unwrap();
                tx.set_durability(Durability::None);
                tx.commit().unwrap();
                store.checkpoint().unwrap();
            });
        });
    }
    for kib in [4, 64, 1024] {
        let store = with_holes(1000);
        group.throughput(Throughput::Bytes(kib * 1024));
        group.bench_function(BenchmarkId::new("extent", format!("{kib} KiB")), |b| {
            b.iter(|| {
                let mut tx = store.begin_write().unwrap();
                tx.create_extent(kib * 1024).unwrap();
            });
        });
    }
}

criterion_group!(benches, transactions);
criterion_main!(benches);
