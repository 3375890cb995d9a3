//! Backup, compaction and checks of a collection: `cargo run --release --example maintenance`.
//!
//! All three run beside readers and writers, report their progress, and can be cancelled.

use std::error::Error;

use nearfield::{Collection, Metric};

const DIMENSION: usize = 64;

/// Returns a generated embedding of a key.
fn embedding(key: u64) -> Vec<f32> {
    (0..DIMENSION as u64).map(|i| ((key * 31 + i * 17) as f32 * 0.7).sin()).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join("nearfield-example-maintenance");
    std::fs::create_dir_all(&folder)?;
    let (path, copy) = (folder.join("c.nf"), folder.join("backup.nf"));
    for path in [&path, &copy] {
        if path.exists() {
            std::fs::remove_file(path)?;
        }
    }
    let collection = Collection::builder(DIMENSION, Metric::Cosine).create(&path)?;
    let mut tx = collection.begin_write()?;
    for key in 0..20_000 {
        tx.upsert(key, &embedding(key))?;
        tx.put_payload(key, format!("document {key}").as_bytes())?;
    }
    tx.commit()?;
    let mut tx = collection.begin_write()?;
    for key in 0..15_000 {
        tx.remove(key)?;
    }
    tx.commit()?;
    collection.checkpoint()?;

    // The copy has one commit of the collection; it lacks later ones.
    let shown = |done: u64, all: u64| print!("\rbackup: {done} of {all} bytes");
    collection.task().progress(&shown).backup(&copy)?;
    println!();

    let megabytes = |path| std::fs::metadata(path).map(|file| file.len() as f64 / 1e6);
    let before = megabytes(&path)?;
    let freed = collection.task().compact()?;
    println!(
        "compaction: {before:.1} MB before, {:.1} MB after ({freed} bytes freed)",
        megabytes(&path)?
    );

    println!("{}", collection.check()?);
    let copy = Collection::open(&copy)?;
    println!("the copy: {}", copy.check()?);
    assert_eq!(copy.len(), collection.len());
    drop(copy);
    drop(collection);
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
