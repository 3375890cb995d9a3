//! nearfield's store beside redb, LMDB (through heed) and fjall: the same records, one run, one thread.
//!
//! `cargo bench -p profiling --bench db_comparison -- [records] [folder]`, by default 1,000,000 records of 16 + 256
//! bytes in the folder for temporary files. Prints one line per workload, with the ratio to each peer.
//!
//! Every engine is durable when a load or a commit returns. Reads follow a warm-up pass, in three rounds in which
//! the engines take turns; the median counts. Values are random, so that compression gains nothing. Bytes
//! written are the process's own (`wchar` of `/proc/self/io`), the same measure for all.

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fjall::PersistMode;
use heed::types::Bytes;
use redb::{ReadableDatabase, ReadableTable};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const KEY: usize = 16;
const VALUE: usize = 256;
const COMMITS: usize = 2000;

/// Records in random order of keys.
struct Records {
    keys: Vec<[u8; KEY]>,
    values: Vec<u8>,
}

fn next(state: &mut u64) -> u64 {
    // SplitMix64.
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Records {
    fn new(n: usize, seed: u64) -> Self {
        let mut state = seed;
        let mut keys = Vec::with_capacity(n);
        for _ in 0..n {
            let mut key = [0; KEY];
            key[..8].copy_from_slice(&next(&mut state).to_le_bytes());
            key[8..].copy_from_slice(&next(&mut state).to_le_bytes());
            keys.push(key);
        }
        let mut values = vec![0; n * VALUE];
        for chunk in values.chunks_exact_mut(8) {
            chunk.copy_from_slice(&next(&mut state).to_le_bytes());
        }
        Self { keys, values }
    }

    fn value(&self, i: usize) -> &[u8] {
        &self.values[i * VALUE..][..VALUE]
    }

    fn ascending(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.keys.len()).collect();
        order.sort_unstable_by_key(|&i| self.keys[i]);
        order
    }
}

/// The way in which an empty store is filled, in one transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    /// Ascending keys, by the engine's fastest way.
    Ascending,
    /// Keys in random order that are all known at the beginning, by the fastest way.
    Random,
    /// Keys in random order, each inserted as it arrives.
    Inserts,
}

/// The measured operations. Each sum keeps the optimiser honest and is compared between engines.
trait Engine {
    fn name(&self) -> &'static str;
    fn load(&mut self, records: &Records, order: &[usize], way: Load) -> Result<()>;
    /// Makes one durable commit of one record for each index.
    fn commit_each(&mut self, records: &Records, indexes: &[usize]) -> Result<()>;
    fn read(&self, records: &Records, order: &[usize]) -> Result<u64>;
    fn scan(&self) -> Result<u64>;
    /// Reads ranges of 100 records from the given ones on.
    fn ranges(&self, records: &Records, starts: &[usize]) -> Result<u64>;
}

fn touch(value: &[u8]) -> u64 {
    value[0] as u64 + value[VALUE - 1] as u64
}

struct Nearfield(nearfield::store::Store);

impl Nearfield {
    fn open(folder: &Path) -> Result<Self> {
        Ok(Self(nearfield::store::Store::open(folder.join("nearfield"))?))
    }
}

impl Engine for Nearfield {
    fn name(&self) -> &'static str {
        "nearfield"
    }

    fn load(&mut self, records: &Records, order: &[usize], way: Load) -> Result<()> {
        let mut tx = self.0.begin_write()?;
        let mut table = tx.table::<[u8]>("t")?;
        let entries = order.iter().map(|&i| (&records.keys[i][..], records.value(i)));
        match way {
            Load::Ascending => {
                table.bulk_load(entries)?;
            }
            Load::Random => {
                table.bulk_load_unsorted(entries)?;
            }
            Load::Inserts => {
                for (key, value) in entries {
                    table.insert(key, value)?;
                }
            }
        }
        Ok(tx.commit()?)
    }

    fn commit_each(&mut self, records: &Records, indexes: &[usize]) -> Result<()> {
        for &i in indexes {
            let mut tx = self.0.begin_write()?;
            tx.table::<[u8]>("t")?.insert(&records.keys[i], records.value(i))?;
            tx.commit()?;
        }
        Ok(())
    }

    fn read(&self, records: &Records, order: &[usize]) -> Result<u64> {
        let tx = self.0.begin_read()?;
        let table = tx.table::<[u8]>("t")?;
        let mut sum = 0;
        for &i in order {
            sum += touch(table.get(&records.keys[i])?.ok_or("missing")?);
        }
        Ok(sum)
    }

    fn scan(&self) -> Result<u64> {
        let tx = self.0.begin_read()?;
        let mut sum = 0;
        for entry in tx.table::<[u8]>("t")?.entries()? {
            sum += touch(entry?.1);
        }
        Ok(sum)
    }

    fn ranges(&self, records: &Records, starts: &[usize]) -> Result<u64> {
        let tx = self.0.begin_read()?;
        let table = tx.table::<[u8]>("t")?;
        let mut sum = 0;
        for &i in starts {
            for entry in table.range(&records.keys[i][..]..)?.take(100) {
                sum += touch(entry?.1);
            }
        }
        Ok(sum)
    }
}

const REDB: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("t");

struct Redb(redb::Database);

impl Redb {
    fn open(folder: &Path) -> Result<Self> {
        // The cache holds all records, as in redb's own benchmark.
        Ok(Self(redb::Builder::new().set_cache_size(4 << 30).create(folder.join("redb"))?))
    }
}

impl Engine for Redb {
    fn name(&self) -> &'static str {
        "redb"
    }

    fn load(&mut self, records: &Records, order: &[usize], _: Load) -> Result<()> {
        let tx = self.0.begin_write()?;
        {
            let mut table = tx.open_table(REDB)?;
            for &i in order {
                table.insert(&records.keys[i][..], records.value(i))?;
            }
        }
        Ok(tx.commit()?)
    }

    fn commit_each(&mut self, records: &Records, indexes: &[usize]) -> Result<()> {
        for &i in indexes {
            let tx = self.0.begin_write()?;
            tx.open_table(REDB)?.insert(&records.keys[i][..], records.value(i))?;
            tx.commit()?;
        }
        Ok(())
    }

    fn read(&self, records: &Records, order: &[usize]) -> Result<u64> {
        let tx = self.0.begin_read()?;
        let table = tx.open_table(REDB)?;
        let mut sum = 0;
        for &i in order {
            sum += touch(table.get(&records.keys[i][..])?.ok_or("missing")?.value());
        }
        Ok(sum)
    }

    fn scan(&self) -> Result<u64> {
        let tx = self.0.begin_read()?;
        let mut sum = 0;
        for entry in tx.open_table(REDB)?.iter()? {
            sum += touch(entry?.1.value());
        }
        Ok(sum)
    }

    fn ranges(&self, records: &Records, starts: &[usize]) -> Result<u64> {
        let tx = self.0.begin_read()?;
        let table = tx.open_table(REDB)?;
        let mut sum = 0;
        for &i in starts {
            for entry in table.range(&records.keys[i][..]..)?.take(100) {
                sum += touch(entry?.1.value());
            }
        }
        Ok(sum)
    }
}

struct Lmdb {
    env: heed::Env,
    table: heed::Database<Bytes, Bytes>,
}

impl Lmdb {
    #[expect(unsafe_code, reason = "heed's way of opening a map")]
    fn open(folder: &Path) -> Result<Self> {
        let folder = folder.join("lmdb");
        std::fs::create_dir_all(&folder)?;
        // SAFETY: the folder is new and no other process uses it.
        let env = unsafe { heed::EnvOpenOptions::new().map_size(16 << 30).open(folder)? };
        let mut tx = env.write_txn()?;
        let table = env.create_database(&mut tx, None)?;
        tx.commit()?;
        Ok(Self { env, table })
    }
}

impl Engine for Lmdb {
    fn name(&self) -> &'static str {
        "lmdb"
    }

    fn load(&mut self, records: &Records, order: &[usize], way: Load) -> Result<()> {
        let mut tx = self.env.write_txn()?;
        let flags =
            if way == Load::Ascending { heed::PutFlags::APPEND } else { heed::PutFlags::empty() };
        for &i in order {
            self.table.put_with_flags(&mut tx, flags, &records.keys[i], records.value(i))?;
        }
        Ok(tx.commit()?)
    }

    fn commit_each(&mut self, records: &Records, indexes: &[usize]) -> Result<()> {
        for &i in indexes {
            let mut tx = self.env.write_txn()?;
            self.table.put(&mut tx, &records.keys[i], records.value(i))?;
            tx.commit()?;
        }
        Ok(())
    }

    fn read(&self, records: &Records, order: &[usize]) -> Result<u64> {
        let tx = self.env.read_txn()?;
        let mut sum = 0;
        for &i in order {
            sum += touch(self.table.get(&tx, &records.keys[i])?.ok_or("missing")?);
        }
        Ok(sum)
    }

    fn scan(&self) -> Result<u64> {
        let tx = self.env.read_txn()?;
        let mut sum = 0;
        for entry in self.table.iter(&tx)? {
            sum += touch(entry?.1);
        }
        Ok(sum)
    }

    fn ranges(&self, records: &Records, starts: &[usize]) -> Result<u64> {
        let tx = self.env.read_txn()?;
        let mut sum = 0;
        for &i in starts {
            for entry in self
                .table
                .range(&tx, &(Bound::Included(&records.keys[i][..]), Bound::Unbounded))?
                .take(100)
            {
                sum += touch(entry?.1);
            }
        }
        Ok(sum)
    }
}

struct Fjall {
    database: fjall::Database,
    table: fjall::Keyspace,
}

impl Fjall {
    fn open(folder: &Path) -> Result<Self> {
        let database = fjall::Database::builder(folder.join("fjall")).cache_size(4 << 30).open()?;
        let table = database.keyspace("t", fjall::KeyspaceCreateOptions::default)?;
        Ok(Self { database, table })
    }
}

impl Engine for Fjall {
    fn name(&self) -> &'static str {
        "fjall"
    }

    fn load(&mut self, records: &Records, order: &[usize], way: Load) -> Result<()> {
        if way == Load::Ascending {
            let mut ingestion = self.table.start_ingestion()?;
            for &i in order {
                ingestion.write(&records.keys[i][..], records.value(i))?;
            }
            ingestion.finish()?;
        } else {
            for &i in order {
                self.table.insert(records.keys[i], records.value(i))?;
            }
        }
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }

    fn commit_each(&mut self, records: &Records, indexes: &[usize]) -> Result<()> {
        for &i in indexes {
            self.table.insert(records.keys[i], records.value(i))?;
            self.database.persist(PersistMode::SyncData)?;
        }
        Ok(())
    }

    fn read(&self, records: &Records, order: &[usize]) -> Result<u64> {
        let mut sum = 0;
        for &i in order {
            sum += touch(&self.table.get(records.keys[i])?.ok_or("missing")?);
        }
        Ok(sum)
    }

    fn scan(&self) -> Result<u64> {
        let mut sum = 0;
        for guard in self.table.iter() {
            sum += touch(&guard.into_inner()?.1);
        }
        Ok(sum)
    }

    fn ranges(&self, records: &Records, starts: &[usize]) -> Result<u64> {
        let mut sum = 0;
        for &i in starts {
            for guard in self.table.range(&records.keys[i][..]..).take(100) {
                sum += touch(&guard.into_inner()?.1);
            }
        }
        Ok(sum)
    }
}

fn bytes_written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Returns the bytes of files on the disk: a sparse file counts for its allocated blocks.
fn disk_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(data) = std::fs::metadata(path) else { return 0 };
    if data.is_dir() {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        return entries.map(|entry| disk_bytes(&entry.path())).sum();
    }
    data.blocks() * 512
}

/// Figures by workload, then by engine.
#[derive(Default)]
struct Report {
    rows: Vec<(String, &'static str, BTreeMap<&'static str, f64>)>,
}

impl Report {
    fn add(&mut self, workload: &str, unit: &'static str, engine: &'static str, figure: f64) {
        let row = match self.rows.iter().position(|row| row.0 == workload) {
            Some(row) => row,
            None => {
                self.rows.push((workload.to_owned(), unit, BTreeMap::new()));
                self.rows.len() - 1
            }
        };
        self.rows[row].2.insert(engine, figure);
        eprintln!("{workload} {engine}: {figure:.2} {unit}");
    }

    fn print(&self) {
        println!(
            "| workload | unit | nearfield | redb | lmdb | fjall | against redb | against lmdb |"
        );
        println!("|---|---|---|---|---|---|---|---|");
        for (workload, unit, figures) in &self.rows {
            let figure = |engine| figures.get(engine).copied().unwrap_or(f64::NAN);
            let own = figure("nearfield");
            // All figures are costs: less is better.
            println!(
                "| {workload} | {unit} | {own:.2} | {:.2} | {:.2} | {:.2} | {:.2}x | {:.2}x |",
                figure("redb"),
                figure("lmdb"),
                figure("fjall"),
                figure("redb") / own,
                figure("lmdb") / own,
            );
        }
    }
}

fn timed(f: impl FnOnce() -> Result<u64>) -> Result<(Duration, u64)> {
    let start = Instant::now();
    let sum = f()?;
    Ok((start.elapsed(), sum))
}

/// Measures three rounds in which the engines take turns, after one to warm up; all engines must return the same sum.
fn measure_reads(
    report: &mut Report,
    workload: &str,
    count: usize,
    engines: &[Box<dyn Engine>],
    f: impl Fn(&dyn Engine) -> Result<u64>,
) -> Result<()> {
    let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut sums = Vec::new();
    for round in 0..4 {
        for engine in engines {
            let (time, sum) = timed(|| f(&**engine))?;
            sums.push(sum);
            if round > 0 {
                let ns = time.as_nanos() as f64 / count as f64;
                times.entry(engine.name()).or_default().push(ns);
            }
        }
    }
    if sums.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(format!("{workload}: the engines disagree").into());
    }
    for engine in engines {
        let times = times.entry(engine.name()).or_default();
        times.sort_by(f64::total_cmp);
        report.add(workload, "ns", engine.name(), times[times.len() / 2]);
    }
    Ok(())
}

fn open_all(folder: &Path) -> Result<Vec<Box<dyn Engine>>> {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder)?;
    Ok(vec![
        Box::new(Nearfield::open(folder)?),
        Box::new(Redb::open(folder)?),
        Box::new(Lmdb::open(folder)?),
        Box::new(Fjall::open(folder)?),
    ])
}

fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let count: usize = arguments.first().map_or(Ok(1_000_000), |n| n.parse())?;
    let folder = arguments.get(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("nearfield-db-comparison-{}", std::process::id()));
    let records = Records::new(count, 1);
    let ascending = records.ascending();
    let order: Vec<usize> = (0..count).collect();
    let mut report = Report::default();
    let user_bytes = (count * (KEY + VALUE)) as f64;

    for (workload, order, way) in [
        ("bulk load, ascending", &ascending, Load::Ascending),
        ("bulk load, random", &order, Load::Random),
        ("inserts, random", &order, Load::Inserts),
    ] {
        let mut engines = open_all(&folder)?;
        for engine in &mut engines {
            let before = bytes_written();
            let (time, _) = timed(|| engine.load(&records, order, way).map(|()| 0))?;
            let written = (bytes_written() - before) as f64;
            let per = time.as_nanos() as f64 / count as f64;
            report.add(workload, "ns/record", engine.name(), per);
            let name = format!("{workload}: bytes written per byte");
            report.add(&name, "", engine.name(), written / user_bytes);
            let file = disk_bytes(&folder.join(engine.name())) as f64;
            report.add(&format!("{workload}: file"), "MB", engine.name(), file / 1e6);
        }
        // Reads and commits use the tree that insertions made, because its pages are not full.
        if way != Load::Inserts {
            continue;
        }
        let mut random = Vec::with_capacity(count);
        let mut state = 7;
        random.resize_with(count, || (next(&mut state) % count as u64) as usize);
        measure_reads(&mut report, "point read, random", count, &engines, |engine| {
            engine.read(&records, &random)
        })?;
        measure_reads(&mut report, "scan", count, &engines, |engine| engine.scan())?;
        let starts = &random[..count / 100];
        measure_reads(&mut report, "range of 100", starts.len() * 100, &engines, |engine| {
            engine.ranges(&records, starts)
        })?;
        let fresh = Records::new(COMMITS * 4, 99);
        // The commits are measured in four parts of the same length, so that no engine has all of a noisy moment.
        let mut times: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for part in 0..4 {
            let indexes: Vec<usize> = (part * COMMITS / 4..(part + 1) * COMMITS / 4).collect();
            for engine in &mut engines {
                let before = bytes_written();
                let (time, _) = timed(|| engine.commit_each(&fresh, &indexes).map(|()| 0))?;
                let entry = times.entry(engine.name()).or_default();
                entry.0 += time.as_nanos() as f64;
                entry.1 += (bytes_written() - before) as f64;
            }
        }
        for (engine, (time, written)) in times {
            report.add("durable commit of one record", "us", engine, time / COMMITS as f64 / 1e3);
            let bytes = written / (COMMITS * (KEY + VALUE)) as f64;
            report.add("durable commit: bytes written per byte", "", engine, bytes);
        }
    }
    report.print();
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
