//! Are deadlines kept? `cargo bench --bench deadline -- [--dataset DIR] [--micros N] [--json FILE]`.
//!
//! Searches that would take much longer than their deadline (walks with a huge `ef`, scans, all
//! answers at once, filters that accept nothing, ranges), on vectors and on codes: their time, and the share that returns within the
//! deadline plus a fifth. Without a data set, 200,000 x 128 are
//! generated.

mod input;

use std::error::Error;
use std::time::{Duration, Instant};

use input::{Arguments, Input};
use nearfield::{Flat, Hits, Hnsw, IndexError, Quantization};

const SEARCHES: usize = 500;

/// A search for a query.
type Asked<'a> = dyn Fn(&[f32], &mut Hits) -> Result<(), IndexError> + 'a;

fn main() -> Result<(), Box<dyn Error>> {
    let args = Arguments::read(&["dataset", "micros", "json"])?;
    let micros = args.value("micros", 1000)?;
    let mut json = args.json()?;
    let Input { base, queries, metric, dimension } = args.input(200_000, 128)?;
    let count = base.len() / dimension;
    let keys: Vec<u64> = (0..count as u64).collect();
    let deadline = Duration::from_micros(micros);
    println!("{count} x {dimension}, {metric}, deadline {deadline:?}, {SEARCHES} searches each");
    println!("index  search                 p50       p99       max    in time  complete");

    let exact = Flat::builder(dimension, metric).build()?;
    exact.insert_batch(&keys, &base).threads(2).run()?;
    let mut report = |index: &str, what: &str, search: &Asked<'_>| {
        let mut hits = Hits::new();
        let mut took = Vec::with_capacity(SEARCHES);
        let mut complete = 0;
        let mut queries = queries.chunks(dimension).cycle();
        // The first searches allocate scratch memory.
        for turn in 0..SEARCHES + 20 {
            let query = queries.next().expect("a cycle");
            let start = Instant::now();
            search(query, &mut hits)?;
            if turn >= 20 {
                took.push(start.elapsed());
                complete += usize::from(hits.is_complete());
            }
        }
        took.sort_unstable();
        let in_time = took.iter().filter(|&&took| took <= deadline * 6 / 5).count();
        println!(
            "{index:<6} {what:<16} {:>9.1?} {:>9.1?} {:>9.1?} {:>8.1} % {complete:>9}",
            took[SEARCHES / 2],
            took[SEARCHES * 99 / 100],
            took[SEARCHES - 1],
            100.0 * in_time as f64 / SEARCHES as f64,
        );
        json.line(&format!(
            "{{\"system\": \"nearfield\", \"n\": {count}, \"dim\": {dimension}, \
             \"index\": \"{index}\", \"search\": \"{what}\", \"deadline_us\": {micros}, \
             \"p50_us\": {:.1}, \"p99_us\": {:.1}, \"complete\": {complete}}}",
            took[SEARCHES / 2].as_secs_f64() * 1e6,
            took[SEARCHES * 99 / 100].as_secs_f64() * 1e6,
        ))?;
        Ok::<(), Box<dyn Error>>(())
    };
    let nothing = |_: u64| false;
    report("flat", "k 10", &|query, hits| exact.search(query).timeout(deadline).run_into(hits))?;
    report("flat", "all", &|query, hits| {
        exact.search(query).k(count).timeout(deadline).run_into(hits)
    })?;
    for (name, quantization) in
        [("hnsw", Quantization::None), ("sq8", Quantization::Sq8), ("sq4", Quantization::Sq4)]
    {
        let graph = Hnsw::builder(dimension, metric).quantization(quantization).build()?;
        graph.insert_batch(&keys, &base).threads(2).run()?;
        let huge = count / 17;
        report(name, "ef n/17", &|query, hits| {
            graph.search(query).ef(huge).timeout(deadline).run_into(hits)
        })?;
        report(name, "k n/17", &|query, hits| {
            graph.search(query).k(huge).timeout(deadline).run_into(hits)
        })?;
        report(name, "all", &|query, hits| {
            graph.search(query).k(count).timeout(deadline).run_into(hits)
        })?;
        report(name, "within infinity", &|query, hits| {
            let search = graph.search(query).within(f32::INFINITY);
            search.timeout(deadline).run_into(hits)
        })?;
        report(name, "half, ef n/40", &|query, hits| {
            let search = graph.search(query).ef(count / 40);
            search.filter(|key: u64| key.is_multiple_of(2)).timeout(deadline).run_into(hits)
        })?;
        report(name, "accepts nothing", &|query, hits| {
            let search = graph.search(query).filter(nothing);
            search.timeout(deadline).run_into(hits)
        })?;
    }
    Ok(())
}
