//! Pages of a real file: checksum, first touch and later ones, the map against copying, writing.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nearfield::store::{ExtentId, Store, StoreOptions};

const EXTENT: u64 = 64 << 20;
const BLOCK: u64 = 64 << 10;

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let path =
            std::env::temp_dir().join(format!("nearfield-page-store-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("file")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn fill(scratch: &Scratch) -> (Store, ExtentId) {
    let store = StoreOptions::new().open(scratch.file()).unwrap();
    let mut tx = store.begin_write().unwrap();
    let extent = tx.create_extent(EXTENT).unwrap();
    for block in 0..EXTENT / BLOCK {
        tx.write_extent(extent, block * BLOCK, &vec![block as u8; BLOCK as usize]).unwrap();
    }
    tx.commit().unwrap();
    store.checkpoint().unwrap();
    (store, extent)
}

fn pages(c: &mut Criterion) {
    let scratch = Scratch::new();
    let (store, extent) = fill(&scratch);
    let mut group = c.benchmark_group("page_store");

    for kib in [4, 8, 16, 64] {
        let bytes = vec![7; kib << 10];
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::new("checksum", format!("{kib} KiB")), |b| {
            b.iter(|| xxhash_rust::xxh3::xxh3_64(black_box(&bytes)));
        });
    }

    group.throughput(Throughput::Bytes(BLOCK));
    let tx = store.begin_read().unwrap();
    let content = tx.extent(extent).unwrap();
    let mut block = 0;
    let mut next = move || {
        // The stride is prime to the number of blocks: no two neighbours follow each other.
        block = (block + 389) % (EXTENT / BLOCK);
        block * BLOCK
    };
    group.bench_function("read block/map, verified before", |b| {
        b.iter(|| {
            let at = next();
            content.range(at..at + BLOCK).unwrap().iter().map(|&byte| byte as u64).sum::<u64>()
        });
    });
    let file = File::open(scratch.file()).unwrap();
    let mut buffer = vec![0; BLOCK as usize];
    group.bench_function("read block/copy", |b| {
        b.iter(|| {
            file.read_exact_at(&mut buffer, (1 << 20) + next()).unwrap();
            buffer.iter().map(|&byte| byte as u64).sum::<u64>()
        });
    });

    group.sample_size(20);
    group.throughput(Throughput::Bytes(EXTENT));
    group.bench_function("read extent/first touch", |b| {
        b.iter_batched(
            || Store::open_read_only(scratch.file()).unwrap().begin_read().unwrap(),
            |tx| {
                tx.extent(extent).unwrap().bytes().unwrap();
                tx
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("read extent/later", |b| {
        b.iter(|| black_box(content.bytes().unwrap()));
    });
    group.sample_size(10);
    group.bench_function("write extent of 64 MiB, commit", |b| {
        b.iter(|| {
            let mut tx = store.begin_write().unwrap();
            let extent = tx.create_extent(EXTENT).unwrap();
            for block in 0..EXTENT / (1 << 20) {
                tx.write_extent(extent, block << 20, &vec![1; 1 << 20]).unwrap();
            }
            tx.remove_extent(extent).unwrap();
            tx.commit().unwrap();
        });
    });
    group.bench_function("open and read one block", |b| {
        b.iter(|| {
            let store = Store::open_read_only(scratch.file()).unwrap();
            let tx = store.begin_read().unwrap();
            tx.extent(extent).unwrap().range(0..64).unwrap()[0]
        });
    });
}

criterion_group!(benches, pages);
criterion_main!(benches);
