//! An index as bytes, to keep them where no file is: `cargo run --release --example bytes -- FILE`.

use nearfield::{Hnsw, Metric};

fn main() -> nearfield::Result<()> {
    let index = Hnsw::builder(16, Metric::L2).build()?;
    let vectors: Vec<f32> = (0..1000 * 16).map(|i| (i as f32 * 0.37).sin()).collect();
    let keys: Vec<u64> = (0..1000).collect();
    index.insert_batch(&keys, &vectors).run()?;

    let bytes = index.to_bytes()?;
    let again = Hnsw::from_bytes(&bytes)?;
    println!("{} vectors are {} bytes", again.len(), bytes.len());
    // They are those of a file, which `Hnsw::open` searches in place.
    if let Some(path) = std::env::args_os().nth(1) {
        index.save(path)?;
    }
    Ok(())
}
