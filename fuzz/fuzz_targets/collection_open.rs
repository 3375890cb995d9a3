//! Changes bytes of a saved index and walks it in the map: chunks are not verified, so damage reaches the graph.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use nearfield::{Collection, Hnsw, Metric};

const DIMENSION: usize = 4;
/// Meta slots and the log end here.
const START: usize = 192 << 10;

fn path() -> PathBuf {
    std::env::temp_dir().join(format!("nearfield-fuzz-{}.nf", std::process::id()))
}

fn valid() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let index = Hnsw::builder(DIMENSION, Metric::L2).m(3).ef_construction(12).build().unwrap();
        let keys: Vec<u64> = (0..800).collect();
        let vectors: Vec<f32> =
            (0..800 * DIMENSION).map(|i| (i as f32 * 0.37).sin() * 10.0).collect();
        index.insert_batch(&keys, &vectors).threads(1).run().unwrap();
        index.save(path()).unwrap();
        std::fs::read(path()).unwrap()
    })
}

fuzz_target!(|changes: &[u8]| {
    let mut bytes = valid().to_vec();
    // Each change has a position, a number of bytes, and their value.
    for change in changes.chunks_exact(8).take(64) {
        let word = u64::from_le_bytes(change.try_into().unwrap());
        let at = START + (word >> 16) as usize % (bytes.len() - START);
        let end = (at + (word >> 8) as usize % 8 + 1).min(bytes.len());
        bytes[at..end].fill(word as u8);
    }
    std::fs::write(path(), &bytes).unwrap();
    if let Ok(index) = Hnsw::open(path()) {
        for i in 0..8 {
            let query = [i as f32, 1.0, -2.0, 0.5 * i as f32];
            let _ = index.search(&query).k(5).ef(10).run();
            let _ = index.get(i * 97);
            let _ = index.insert((1 << 40) + i, &query);
        }
        let _ = index.check();
    }
    let _ = Hnsw::load(path());
    if let Ok(collection) = Collection::builder(DIMENSION, Metric::L2).open(path()) {
        if let Ok(mut tx) = collection.begin_write() {
            let _ = tx.upsert(1 << 50, &[0.5; DIMENSION]);
            let _ = tx.commit();
        }
        let _ = collection.check();
        let _ = collection.checkpoint();
    }
});
