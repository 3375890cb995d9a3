//! Memory of a collection: its limit, and searches of collections larger than memory.
//!
//! `NEARFIELD_LARGER_ROWS=1000000 cargo test --release --test collection_memory larger -- --nocapture` builds 1,000,000 x 384 of `f16` with
//! codes of 4 bits and searches them in a process that may have 250 MB (in a memory cgroup, for which it must be root).
#![cfg(target_os = "linux")]

mod support;

use std::path::Path;
use std::process::Command;

use nearfield::dataset::{Generated, Vectors};
use nearfield::{
    AsVector, Collection, CollectionBuilder, CollectionError, Element, Flat, Hnsw, Metric,
    Quantization, VectorRef,
};
use support::collections::{config, open, vector};
use support::files::Folder;

const ROLE: &str = "NEARFIELD_TEST_ROLE";
const FILE: &str = "NEARFIELD_TEST_FILE";
const DIMENSION: usize = 128;
const ROWS: u64 = 24_000;

/// Returns the bytes of this process that are not mapped from a file.
fn anonymous() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Returns a configuration whose only checkpoints are due to the memory limit.
fn small(dimension: usize, m: usize, limit: Option<u64>) -> CollectionBuilder {
    let config = config(dimension).m(m).ef_construction(30).checkpoint_after(64 << 20);
    limit.map_or(config.clone(), |limit| config.memory_limit(limit))
}

/// Fills a collection in commits of 100, and prints the greatest memory that it took.
fn fill(path: &Path, limit: Option<u64>) {
    let before = anonymous();
    let mut most = 0;
    let collection = open(path, small(DIMENSION, 6, limit));
    for first in (0..ROWS).step_by(100) {
        let keys: Vec<u64> = (first..first + 100).collect();
        let vectors: Vec<f32> = keys.iter().flat_map(|&key| vector(key, 0, DIMENSION)).collect();
        let mut tx = collection.begin_write().unwrap();
        tx.upsert_batch(&keys, &vectors).unwrap();
        tx.commit().unwrap();
        most = most.max(anonymous().saturating_sub(before));
    }
    let checkpoints = collection.stats().unwrap().checkpoints;
    println!("took {most} {checkpoints}");
}

/// The body of the other process, not a test. Returns at once if `ROLE` is not set.
#[test]
fn role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = std::env::var(FILE).unwrap();
    match role.split_once(' ') {
        Some(("fill", limit)) => fill(path.as_ref(), limit.parse().ok()),
        Some(("search", dimension)) => search(path.as_ref(), dimension.parse().unwrap()),
        _ => panic!("unknown role {role}"),
    }
}

/// Runs this test program in a role, after a line of shell. Returns the words of the line that begins with `word`.
fn child(before: &str, role: &str, path: &Path, word: &str) -> Vec<String> {
    let program = std::env::current_exe().unwrap();
    let output = Command::new("sh")
        .args(["-c", &format!("{before} exec \"$0\" role --exact --nocapture --test-threads 1")])
        .arg(program)
        .env(ROLE, role)
        .env(FILE, path)
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{role}: {}, {out}, {error}", output.status);
    let line = out.lines().find_map(|line| line.split_once(word).map(|(_, rest)| rest));
    line.unwrap().split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_limit_is_kept() {
    let folder = Folder::new("memory-limit");
    let filled = |name: &str, limit: &str| {
        let role = format!("fill {limit}");
        let found = child("", &role, &folder.file(name), "took ");
        (found[0].parse::<u64>().unwrap(), found[1].parse::<u64>().unwrap())
    };
    let limit: u64 = 8 << 20;
    let (without, few) = filled("without.nf", "none");
    let (with, many) = filled("with.nf", &limit.to_string());
    println!("{with} bytes with a limit of {limit}, {many} checkpoints; {without} without, {few}");
    // The limit does not include scratch memory, threads and the allocator.
    assert!(many > few && with < without, "{with} with {many} checkpoints, {without} with {few}");
    let collection = open(&folder.file("with.nf"), small(DIMENSION, 6, Some(limit)));
    assert_eq!(collection.len() as u64, ROWS);
    assert!(collection.check().unwrap().is_ok());
    for key in (0..ROWS).step_by(997) {
        assert_eq!(collection.get(key), Some(vector(key, 0, DIMENSION)));
    }
}

#[test]
fn what_would_go_beyond_the_limit_is_refused() {
    let folder = Folder::new("memory-refused");
    let path = folder.file("c.nf");
    // With few dimensions and many links, the graph takes most of the memory.
    let (dimension, m) = (8, 32);
    let vector = |key| vector(key, 0, dimension);
    let collection = open(&path, small(dimension, m, Some(1 << 20)));
    let (mut refused, mut next) = (0, 0);
    'filling: while next < ROWS {
        let mut tx = collection.begin_write().unwrap();
        let mut taken = 0;
        loop {
            match tx.upsert(next, &vector(next)) {
                Ok(()) => (taken, next) = (taken + 1, next + 1),
                Err(CollectionError::Memory { needed, limit }) => {
                    assert!(needed > limit && limit == 1 << 20);
                    refused += 1;
                    tx.commit().unwrap();
                    if taken == 0 {
                        break 'filling;
                    }
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    // Transactions were refused early until the graph itself had reached the limit.
    println!("{refused} transactions were cut short until there were {next} vectors");
    assert!(refused > 1 && (500..ROWS).contains(&next), "{refused} refused, {next} vectors");
    assert_eq!(collection.len() as u64, next);
    assert!(collection.check().unwrap().is_ok());
    let mut tx = collection.begin_write().unwrap();
    let payload = tx.put_payload(0, &vec![0; 1 << 20]);
    assert!(matches!(payload, Err(CollectionError::Memory { .. })));
    // Removing is always allowed.
    assert!(tx.remove(0).unwrap());
    tx.commit().unwrap();
    drop(collection);
    let collection = open(&path, small(dimension, m, None));
    assert_eq!(collection.len() as u64, next - 1);
    let mut tx = collection.begin_write().unwrap();
    tx.upsert(next, &vector(next)).unwrap();
    tx.commit().unwrap();
    assert!(collection.check().unwrap().is_ok());
}

const QUERIES: usize = 100;
const K: usize = 10;
const EFS: [usize; 4] = [64, 128, 256, 512];

fn floats(vectors: &Vectors) -> &[f32] {
    match vectors.as_vector() {
        VectorRef::F32(floats) => floats,
        _ => panic!("generated vectors are floats"),
    }
}

/// Answers the queries in the file next to the collection, at several `ef`.
fn search(path: &Path, dimension: usize) {
    let before = anonymous();
    let bytes = std::fs::read(path.with_extension("queries")).unwrap();
    let queries: Vec<f32> =
        bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    let collection = Collection::builder(dimension, Metric::L2).open(path).unwrap();
    let mut keys = Vec::new();
    for ef in EFS {
        for query in queries.chunks_exact(dimension) {
            let hits = collection.search(query).k(K).ef(ef).run().unwrap();
            keys.extend(hits.iter().map(|hit| hit.key.to_string()));
        }
    }
    println!("found {} {}", anonymous().saturating_sub(before), keys.join(" "));
}

/// Makes a cgroup that limits memory. Returns its folder and the line of shell that moves a process into it, or an error if that is not allowed.
fn limited(bytes: u64) -> Result<(std::path::PathBuf, String), std::io::Error> {
    let name = format!("nearfield-{}", std::process::id());
    let (root, file) = if Path::new("/sys/fs/cgroup/memory").exists() {
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
    } else {
        ("/sys/fs/cgroup", "memory.max")
    };
    let group = Path::new(root).join(name);
    std::fs::create_dir(&group)?;
    if let Err(error) = std::fs::write(group.join(file), bytes.to_string()) {
        let _ = std::fs::remove_dir(&group);
        return Err(error);
    }
    let line = format!("echo $$ > {}/cgroup.procs || exit 9;", group.display());
    Ok((group, line))
}

#[test]
fn what_is_larger_than_memory_is_searched() {
    let rows = std::env::var("NEARFIELD_LARGER_ROWS").ok().and_then(|rows| rows.parse().ok());
    let (rows, dimension) = rows.map_or((30_000, 128), |rows: usize| (rows, 384));
    let limit = 250 * rows as u64;
    let folder = Folder::new("memory-larger");
    let path = folder.file("c.nf");
    let data = Generated::builder(rows, dimension).queries(QUERIES).seed(3).build().unwrap();
    let keys: Vec<u64> = (0..rows as u64).collect();
    let truth: Vec<u64> = {
        let flat = Flat::builder(dimension, Metric::L2).element(Element::F16).build().unwrap();
        flat.insert_batch(&keys, floats(data.base())).run().unwrap();
        let hits = flat.search_batch(floats(data.queries())).k(K).run().unwrap();
        hits.iter().flat_map(|hits| hits.iter().map(|hit| hit.key)).collect()
    };
    let index = Hnsw::builder(dimension, Metric::L2)
        .element(Element::F16)
        .quantization(Quantization::Sq4)
        .build()
        .unwrap();
    index.insert_batch(&keys, floats(data.base())).run().unwrap();
    index.save(&path).unwrap();
    drop(index);
    let queries: Vec<u8> = floats(data.queries()).iter().flat_map(|x| x.to_le_bytes()).collect();
    std::fs::write(path.with_extension("queries"), queries).unwrap();
    let size = std::fs::metadata(&path).unwrap().len();
    drop(data);

    let role = format!("search {dimension}");
    // A tenth of the real size would be less than the memory of the program itself.
    let limited =
        if rows >= 100_000 { limited(limit) } else { Err(std::io::Error::other("few vectors")) };
    let found = match limited {
        Ok((group, line)) => {
            // The search reads a copy, because the pages of the original are in memory already and not charged to the cgroup.
            let copy = folder.file("copy.nf");
            let (from, to) = (path.display(), copy.display());
            let beside = copy.with_extension("queries");
            std::fs::copy(path.with_extension("queries"), beside).unwrap();
            let before = format!("{line} cp {from} {to} && sync {to} && rm {from} || exit 9;");
            let found = child(&before, &role, &copy, "found ");
            let mut peak = ["memory.max_usage_in_bytes", "memory.peak"].into_iter();
            let peak = peak.find_map(|name| std::fs::read_to_string(group.join(name)).ok());
            println!("searched within {limit} bytes, at most {}", peak.unwrap_or_default().trim());
            let _ = std::fs::remove_dir(group);
            found
        }
        Err(reason) => {
            println!("no limit was set: {reason}");
            child("", &role, &path, "found ")
        }
    };
    let own: u64 = found[0].parse().unwrap();
    let found: Vec<u64> = found[1..].iter().map(|key| key.parse().unwrap()).collect();
    let mut best = 0.0_f64;
    for (ef, found) in EFS.iter().zip(found.chunks_exact(QUERIES * K)) {
        let pairs = found.chunks_exact(K).zip(truth.chunks_exact(K));
        let common = pairs.map(|(a, b)| a.iter().filter(|key| b.contains(key)).count());
        let recall = common.sum::<usize>() as f64 / (QUERIES * K) as f64;
        println!("{rows} x {dimension}, ef {ef}: recall@10 {recall:.4}");
        best = best.max(recall);
    }
    println!("a file of {size} bytes, {own} bytes of the process's own");
    assert!(best >= 0.95, "recall {best}");
    // The process holds neither vectors nor codes nor rows, but the queries, scratch memory and threads.
    assert!(own < size / 4, "{own} bytes for a file of {size}");
}
