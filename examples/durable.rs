//! A collection that a crash cannot break: written, killed, opened again.
//!
//! `cargo run --release --example durable`

use std::process::Command;

use nearfield::{Collection, Metric};

const DIMENSION: usize = 32;

/// Returns a generated embedding of a key.
fn embedding(key: u64) -> Vec<f32> {
    (0..DIMENSION as u64).map(|i| ((key * 31 + i * 17) as f32 * 0.7).sin()).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join("nearfield-example-durable.nf");
    if std::env::args().any(|arg| arg == "write") {
        // The other process commits batches until it dies in the middle of one.
        let collection = Collection::builder(DIMENSION, Metric::Cosine).open(&path)?;
        for batch in 0..20 {
            let mut tx = collection.begin_write()?;
            for key in batch * 100..batch * 100 + 100 {
                tx.upsert(key, &embedding(key))?;
            }
            if batch == 13 {
                eprintln!("writer: dies with batch {batch} not committed");
                std::process::abort();
            }
            tx.commit()?; // from here on, no crash can lose the batch
        }
        return Ok(());
    }

    if path.exists() {
        std::fs::remove_file(&path)?;
    }
    let status = Command::new(std::env::current_exe()?).arg("write").status()?;
    assert!(!status.success(), "the writer was to die");

    let collection = Collection::open(&path)?;
    let recovery = collection.recovery();
    println!(
        "opened in {:.1?}: {} vectors, {} operations applied from the journal in {:.1?}",
        recovery.total,
        collection.len(),
        recovery.operations,
        recovery.replay
    );
    assert_eq!(collection.len(), 1300);
    for key in [0, 777, 1299] {
        let hits = collection.search(&embedding(key)).k(1).run()?;
        println!("nearest to the vector of {key}: {} at {:.4}", hits[0].key, hits[0].distance);
    }

    // `close` makes a checkpoint, so that the next opening has no commits to apply.
    collection.close()?;
    let collection = Collection::open(&path)?;
    println!("opened again in {:.1?}", collection.recovery().total);
    println!("{}", collection.check()?);
    drop(collection);
    std::fs::remove_file(&path)?;
    Ok(())
}
