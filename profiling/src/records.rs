//! Operations of the page store: the costs of a read, a commit, a scan and an opening.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use nearfield::store::{Durability, Store, StoreOptions};
use serde::{Deserialize, Serialize};

use crate::args::Args;
use crate::results::{Run, folder};
use crate::stats::{next, quantile};
use crate::{Done, Failure};

pub(crate) const HELP: &str = "\
store [--quick] [--records N] [--out FILE.json]
    Operations of the page store on a real file (100,000 records of 16 + 256 bytes; quick 20,000).";

const VALUE: usize = 256;

/// The operations of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Operations {
    pub(crate) records: usize,
    pub(crate) operations: Vec<Operation>,
    /// Bytes of the file for each byte of keys and values.
    pub(crate) file_bytes_per_byte: f64,
}

/// An operation and its time in microseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Operation {
    pub(crate) name: String,
    pub(crate) count: usize,
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

pub(crate) fn run(mut args: Args) -> Result<Done, Failure> {
    let quick = args.flag("--quick");
    let records =
        args.number("--records", if quick { 20_000 } else { 100_000 }, 1000..=100_000_000)?;
    let out = args.path("--out")?;
    args.finish()?;
    // The folder is beside the results, because temporary files may be in memory.
    let folder = folder("benchmarks").join(format!("store-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let measured = measure(&folder, records);
    fs::remove_dir_all(&folder)?;
    let operations = measured?;
    println!(
        "{:34} {:>9} {:>10} {:>10} {:>10} {:>10}",
        "operation", "count", "mean us", "p50", "p99", "max"
    );
    for o in &operations.operations {
        println!(
            "{:34} {:>9} {:>10.2} {:>10.2} {:>10.2} {:>10.1}",
            o.name, o.count, o.mean, o.p50, o.p99, o.max
        );
    }
    Run::new("store", operations).store(out)?;
    Ok(Done::Well)
}

fn key(n: usize) -> [u8; 16] {
    let mut state = n as u64;
    let mut key = [0; 16];
    key[..8].copy_from_slice(&next(&mut state).to_be_bytes());
    key[8..].copy_from_slice(&next(&mut state).to_be_bytes());
    key
}

fn measure(folder: &Path, records: usize) -> Result<Operations, Failure> {
    let path = folder.join("records");
    let value = [7; VALUE];
    let mut operations = Vec::new();

    let store = Store::open(&path)?;
    let mut keys: Vec<[u8; 16]> = (0..records).map(key).collect();
    keys.sort_unstable();
    operations.push(time("bulk load, a record", records, 1, |_| {
        let mut tx = store.begin_write()?;
        let entries = keys.iter().map(|key| (&key[..], &value[..]));
        tx.table::<[u8]>("records")?.bulk_load(entries)?;
        Ok(tx.commit()?)
    })?);

    let insert = |name: &str, durability: Durability, count: usize, offset: usize| {
        time(name, 1, count, |i| {
            let mut tx = store.begin_write()?;
            tx.set_durability(durability);
            tx.table::<[u8]>("records")?.insert(&key(records + offset + i), &value)?;
            Ok(tx.commit()?)
        })
    };
    operations.push(insert("commit of one record, synced", Durability::Immediate, 500, 0)?);
    operations.push(insert("commit of one record, not synced", Durability::None, 5000, 500)?);

    let checkpoint = time("checkpoint", 1, 1, |_| Ok(store.checkpoint()?))?;
    operations.push(checkpoint);
    {
        let tx = store.begin_read()?;
        let table = tx.table::<[u8]>("records")?;
        // Each record is read once, because pages are verified on their first touch.
        operations.push(time("read at random, first touch", 1, records, |i| {
            black_box(table.get(&key(i))?);
            Ok(())
        })?);
        operations.push(time("read at random, again", 1, records, |i| {
            black_box(table.get(&key(i))?);
            Ok(())
        })?);
        operations.push(time("range of 100 records", 1, records / 100, |i| {
            for entry in table.range(&key(i)[..]..)?.take(100) {
                black_box(entry?);
            }
            Ok(())
        })?);
        operations.push(time("scan, a record", records, 1, |_| {
            for entry in table.entries()? {
                black_box(entry?);
            }
            Ok(())
        })?);
        operations.push(time("snapshot", 1, 5000, |_| {
            black_box(store.begin_read()?);
            Ok(())
        })?);
    }
    let file_bytes = store.stats()?.file_bytes;
    store.close()?;
    operations.push(time("open", 1, 20, |_| {
        black_box(StoreOptions::new().open(&path)?);
        Ok(())
    })?);
    let bytes = (records + 5500) * (16 + VALUE);
    Ok(Operations { records, operations, file_bytes_per_byte: file_bytes as f64 / bytes as f64 })
}

/// Times `count` calls, each of which does `each` operations.
fn time(
    name: &str,
    each: usize,
    count: usize,
    mut operation: impl FnMut(usize) -> Result<(), Failure>,
) -> Result<Operation, Failure> {
    let mut micros = Vec::with_capacity(count);
    for i in 0..count {
        let started = Instant::now();
        operation(i)?;
        micros.push(started.elapsed().as_secs_f64() * 1e6 / each as f64);
    }
    let mean = micros.iter().sum::<f64>() / count as f64;
    micros.sort_by(f64::total_cmp);
    let at = |q| quantile(&micros, q);
    Ok(Operation {
        name: name.to_owned(),
        count: count * each,
        mean,
        p50: at(0.5),
        p99: at(0.99),
        max: at(1.0),
    })
}
