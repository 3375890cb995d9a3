//! Four collections built by four processes, searched as one, merged into one.
//!
//! `cargo run --release --example shards`

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use nearfield::dataset::Generated;
use nearfield::{Collection, Metric, Shards, Snapshot};

const DIMENSION: usize = 64;
const VECTORS: usize = 40_000;
const SHARDS: usize = 4;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Builds one shard: every fourth vector. Runs in a separate process; on a cluster, on a separate machine.
fn build(path: &Path, shard: usize) -> Result<()> {
    let (vectors, _) = Generated::builder(VECTORS, DIMENSION).build()?.into_parts();
    let collection = Collection::builder(DIMENSION, Metric::L2).create(path)?;
    let mut tx = collection.begin_write()?;
    for key in (shard..VECTORS).step_by(SHARDS) {
        let vector = vectors.row(key).ok_or("a row is missing")?;
        tx.upsert(key as u64, &vector)?;
        tx.put_payload(key as u64, format!("built by process {shard}").as_bytes())?;
    }
    tx.commit()?;
    // The next opening has no commits to apply.
    collection.close()?;
    Ok(())
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, command, path, shard] = &arguments[..]
        && command == "build"
    {
        return build(Path::new(path), shard.parse()?);
    }

    let folder =
        std::env::temp_dir().join(format!("nearfield-example-shards-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let paths: Vec<PathBuf> = (0..SHARDS).map(|n| folder.join(format!("shard-{n}.nf"))).collect();

    let start = Instant::now();
    let mut builders = Vec::new();
    for (shard, path) in paths.iter().enumerate() {
        let mut command = Command::new(std::env::current_exe()?);
        builders.push(command.arg("build").arg(path).arg(shard.to_string()).spawn()?);
    }
    for mut builder in builders {
        if !builder.wait()?.success() {
            return Err("a builder failed".into());
        }
    }
    println!("{SHARDS} processes built {VECTORS} vectors in {:.2?}", start.elapsed());

    // The files are opened read-only: other processes may have them open, or be writing them.
    let snapshots = paths
        .iter()
        .map(|path| Collection::open_read_only(path)?.snapshot())
        .collect::<std::result::Result<Vec<Snapshot>, _>>()?;
    let shards = Shards::new(snapshots.clone())?;
    let (_, queries) = Generated::builder(VECTORS, DIMENSION).build()?.into_parts();
    let query = queries.row(0).ok_or("no query")?;
    for hit in &shards.search(&query).k(3).run()? {
        let payload = shards.shards()[hit.shard].payload(hit.key)?.unwrap_or_default();
        let payload = String::from_utf8_lossy(payload);
        println!("  {} at {:.3} in shard {}: {payload}", hit.key, hit.distance, hit.shard);
    }

    let start = Instant::now();
    let path = folder.join("whole.nf");
    let merged = Collection::merge(&snapshots, &path).run()?;
    println!("merged {} vectors in {:.2?}", merged.vectors, start.elapsed());

    let whole = Collection::open(&path)?;
    for hit in &whole.search(&query).k(3).run()? {
        let payload = whole.payload(hit.key)?.unwrap_or_default();
        println!("  {} at {:.3}: {}", hit.key, hit.distance, String::from_utf8_lossy(&payload));
    }
    println!("{}", whole.check()?);

    let together = shards.search_batch(&queries).k(10).ef(64).run()?;
    let alone = whole.search_batch(&queries).k(10).ef(64).run()?;
    let pairs = together.iter().zip(alone.iter());
    let same: usize =
        pairs.map(|(a, b)| b.iter().filter(|hit| a.keys().any(|key| key == hit.key)).count()).sum();
    let share = same as f64 / (10 * together.len()) as f64;
    println!("{:.1} % of the answers of the shards come from the merged one", 100.0 * share);
    if share < 0.9 {
        return Err("the merged collection misses too much".into());
    }
    drop((shards, snapshots, whole));
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
