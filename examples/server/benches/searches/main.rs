//! Searches by many clients: requests a second and latencies, with gathering and without, beside `search_batch` in one process.
//!
//! ```sh
//! cargo bench -p server --bench searches                       # 50,000 generated vectors of 384 components
//! cargo bench -p server --bench searches -- --data DIR --seconds 10
//! cargo bench -p server --bench searches -- --folder DIR       # keeps the libraries, and loads nothing where they are
//! ```
//!
//! The server runs in another process. It shares the cores with the clients, which send prepared requests and do not parse the bodies of
//! responses: figures are of both. The same file is searched by `search_batch` in this process, on all cores, after the server's part.

mod client;
#[expect(dead_code, reason = "tests use the rest")]
#[path = "../../tests/support/process.rs"]
mod process;

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use client::{Course, Requests};
use nearfield::Collection;
use nearfield::dataset::{Dataset, Generated, Spectrum, Vectors};
use process::Process;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ROWS: usize = 50_000;
const DIMENSION: usize = 384;
const QUERIES: usize = 1_000;

/// The arguments.
struct Arguments {
    data: Option<PathBuf>,
    folder: Option<PathBuf>,
    seconds: u64,
    connections: usize,
}

fn arguments() -> Result<Arguments> {
    let mut arguments = Arguments { data: None, folder: None, seconds: 5, connections: 64 };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let mut value = || given.next().ok_or_else(|| format!("{name} needs a value"));
        match name.as_str() {
            // Cargo's own.
            "--bench" => {}
            "--data" => arguments.data = Some(value()?.into()),
            "--folder" => arguments.folder = Some(value()?.into()),
            "--seconds" => arguments.seconds = value()?.parse()?,
            "--connections" => arguments.connections = value()?.parse()?,
            other => {
                return Err(format!("{other:?} is no argument; see the head of the file").into());
            }
        }
    }
    Ok(arguments)
}

fn main() -> Result<()> {
    let arguments = arguments()?;
    let (base, queries) = if let Some(folder) = &arguments.data {
        let set = Dataset::open(folder)?;
        (set.base().to_f32()?, set.queries().to_f32()?)
    } else {
        let set = Generated::builder(ROWS, DIMENSION).spectrum(Spectrum::Sentences);
        let (base, queries) = set.queries(QUERIES).build()?.into_parts();
        (base.to_f32()?, queries.to_f32()?)
    };
    let dimension = dimension(arguments.data.as_deref())?;
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    let runtime = threads.worker_threads(1).enable_all().build()?;
    let own = std::env::temp_dir().join(format!("nearfield-bench-{}", std::process::id()));
    let removed = arguments.folder.is_none().then(|| Removed(own.clone()));
    let folder = arguments.folder.unwrap_or(own);

    if !folder.join("load").exists() {
        let server = Process::start(&folder);
        let since = Instant::now();
        runtime.block_on(client::load(address(&server)?, &base, dimension))?;
        let rows = base.len() / dimension;
        println!("{rows} documents of {dimension} components, loaded in {:.1?}", since.elapsed());
    }

    let course = Course {
        connections: arguments.connections,
        time: Duration::from_secs(arguments.seconds),
        pause: None,
    };
    let moderate = Course { connections: 4, pause: Some(Duration::from_millis(8)), ..course };
    let binary = Requests::binary(&queries, dimension);
    let json = Requests::json(&queries, dimension);
    let no_cache: &[&str] = &["--result-cache", "0"];
    let alone: &[&str] = &["--result-cache", "0", "--batch", "1"];
    let cases: [(&str, &[&str], &Requests, Course); 6] = [
        ("binary, gathered", no_cache, &binary, course),
        ("binary, each alone", alone, &binary, course),
        ("JSON, gathered", no_cache, &json, course),
        ("JSON, each alone", alone, &json, course),
        ("binary, 500 a second", no_cache, &binary, moderate),
        ("binary, from the cache", &[], &binary, course),
    ];
    println!(
        "{:<24} {:>9} {:>8} {:>8} {:>8} {:>7}",
        "searches", "a second", "p50 us", "p95 us", "p99 us", "failed"
    );
    for (name, flags, requests, course) in cases {
        let server = Process::start_with(&folder, flags);
        let warm = Course { time: Duration::from_secs(1), ..course };
        runtime.block_on(client::run(address(&server)?, requests, warm))?;
        let measured = runtime.block_on(client::run(address(&server)?, requests, course))?;
        println!(
            "{name:<24} {:>9.0} {:>8} {:>8} {:>8} {:>7}",
            measured.rate(),
            measured.quantile(0.5),
            measured.quantile(0.95),
            measured.quantile(0.99),
            measured.failed
        );
    }
    in_process(&folder, &queries, arguments.seconds)?;
    drop(removed);
    Ok(())
}

/// Returns the address that a server listens on.
fn address(server: &Process) -> Result<SocketAddr> {
    let address = server.base.strip_prefix("http://").ok_or("another scheme than http")?;
    Ok(address.parse()?)
}

/// A folder that is removed with its owner.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Returns the number of components of the vectors.
fn dimension(data: Option<&std::path::Path>) -> Result<usize> {
    Ok(match data {
        Some(folder) => Vectors::dimension(Dataset::open(folder)?.base()),
        None => DIMENSION,
    })
}

/// Searches the file of the server by `search_batch`.
fn in_process(folder: &std::path::Path, queries: &[f32], seconds: u64) -> Result<()> {
    let reader = Collection::open_read_only(folder.join("load/collection.nf"))?;
    let snapshot = reader.snapshot()?;
    snapshot.search_batch(queries).k(10).run()?;
    let (since, mut answered) = (Instant::now(), 0);
    while since.elapsed() < Duration::from_secs(seconds) {
        answered += snapshot.search_batch(queries).k(10).run()?.len();
    }
    let rate = answered as f64 / since.elapsed().as_secs_f64();
    println!("{:<24} {rate:>9.0}", "search_batch in process");
    Ok(())
}
