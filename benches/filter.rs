//! Searching under filters: `cargo bench --bench filter -- [--dataset DIR] [--quantization none|auto|sq8|sq4] [--ef N]
//! [--json FILE]`.
//!
//! For each selectivity (50, 10, 1 and 0.1 %) and each relation of a filter to the query (none, accepting the nearest vectors,
//! accepting the farthest), as a bitmap and
//! as a closure: recall@10 against the exact answers, queries per second on one thread (the median of rounds), hits that
//! are missing, and the plans that were chosen. Without a data set, 100,000 x 64 are generated.
//!
//! `--table excluded` measures queries whose nearest vectors are excluded, and `--table cost` filters of 1 ns to 100 us,
//! each beside the ways in which a caller could filter by hand, at several `ef`: CPU time of the thread, the ways in turn. Ratios
//! compare ways of
//! equal recall.

mod by_hand;
mod input;
mod quantized;

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use input::{Arguments, Input};
use nearfield::{Filter, Flat, Hit, Hits, Hnsw, KeyBitmap, VectorRef};
use quantized::quantization;

const QUERIES: usize = 200;
const K: usize = 10;

/// The relation of a filter to the query.
#[derive(Debug, Clone, Copy)]
enum Relation {
    None,
    Near,
    Far,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Arguments::read(&["dataset", "ef", "json", "quantization", "table"])?;
    let ef = args.value("ef", 64)?;
    let mut json = args.json()?;
    let Input { base, queries, metric, dimension } = args.input(100_000, 64)?;
    let count = base.len() / dimension;
    let keys: Vec<u64> = (0..count as u64).collect();
    let graph = Hnsw::builder(dimension, metric).quantization(quantization(&args)?).build()?;
    graph.insert_batch(&keys, &base).threads(2).run()?;
    let exact = Flat::builder(dimension, metric).build()?;
    exact.insert_batch(&keys, &base).threads(2).run()?;
    let queries: Vec<&[f32]> = queries.chunks(dimension).take(QUERIES).collect();
    match args.text("table") {
        None => {}
        Some("excluded") => return by_hand::excluded(&graph, &exact, &queries, ef),
        Some("cost") => return by_hand::cost(&graph, &exact, &queries, ef),
        Some(other) => return Err(format!("no table '{other}': excluded or cost").into()),
    }

    println!("{count} x {dimension}, {metric}, ef {ef}, {} queries", queries.len());
    println!("accepted relation  filter      recall        QPS  missing  plans");
    for percent in [50.0, 10.0, 1.0, 0.1] {
        for relation in [Relation::None, Relation::Near, Relation::Far] {
            let maps: Vec<Vec<u64>> = queries
                .iter()
                .map(|query| bitmap(&exact, query, count, percent / 100.0, relation))
                .collect::<Result<_, _>>()?;
            let truth: Vec<Hits> = queries
                .iter()
                .zip(&maps)
                .map(|(query, map)| exact.search(*query).k(K).filter(KeyBitmap::new(map)).run())
                .collect::<Result<_, _>>()?;
            let known: Vec<_> = maps.iter().map(|map| KeyBitmap::new(map)).collect();
            let asked: Vec<_> =
                known.iter().map(|&map| move |key: u64| map.contains(key)).collect();
            for (kind, line) in [
                ("bitmap", measure(&graph, &queries, &known, &truth, ef)?),
                ("closure", measure(&graph, &queries, &asked, &truth, ef)?),
            ] {
                let Line { recall, qps, missing, plans } = line;
                println!(
                    "{percent:>6} % {:<9} {kind:<8} {recall:>9.4} {qps:>10.0} {missing:>8}  {plans:?}",
                    format!("{relation:?}").to_lowercase()
                );
                json.line(&format!(
                    "{{\"system\": \"nearfield\", \"n\": {count}, \"dim\": {dimension}, \
                     \"metric\": \"{metric}\", \"ef\": {ef}, \"k\": {K}, \
                     \"percent\": {percent}, \"relation\": \"{relation:?}\", \
                     \"filter\": \"{kind}\", \"recall\": {recall:.5}, \"qps\": {qps:.1}, \
                     \"missing\": {missing}}}"
                ))?;
            }
        }
    }
    Ok(())
}

/// Returns the keys that are accepted for a query.
fn bitmap(
    exact: &Flat,
    query: &[f32],
    count: usize,
    share: f64,
    relation: Relation,
) -> Result<Vec<u64>, Box<dyn Error>> {
    let part = (count as f64 * share) as usize;
    let mut words = vec![0_u64; count.div_ceil(64)];
    let mut set = |key: u64| words[(key / 64) as usize] |= 1 << (key % 64);
    if matches!(relation, Relation::None) {
        for key in 0..count as u64 {
            let x = (key + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let x = (x ^ x >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11;
            if (x as f64) < share * (1_u64 << 53) as f64 {
                set(key);
            }
        }
        return Ok(words);
    }
    let all = exact.search(query).k(count).run()?;
    let accepted: &[Hit] = match relation {
        Relation::Near => &all[..part],
        _ => &all[count - part..],
    };
    for hit in accepted {
        set(hit.key);
    }
    Ok(words)
}

/// The results of one kind of filter.
struct Line {
    recall: f64,
    qps: f64,
    /// Number of hits fewer than the exact answers.
    missing: usize,
    plans: BTreeMap<String, usize>,
}

fn measure<F: Filter + Copy>(
    graph: &Hnsw,
    queries: &[&[f32]],
    filters: &[F],
    truth: &[Hits],
    ef: usize,
) -> Result<Line, Box<dyn Error>> {
    let mut line = Line { recall: 0.0, qps: 0.0, missing: 0, plans: BTreeMap::new() };
    let mut hits = Hits::new();
    let (begun, mut rounds) = (Instant::now(), Vec::new());
    while rounds.len() < 3 || begun.elapsed() < Duration::from_millis(500) {
        let start = Instant::now();
        let (mut same, mut all) = (0, 0);
        for ((query, &filter), truth) in queries.iter().zip(filters).zip(truth) {
            let query = VectorRef::F32(query);
            graph.search(&query).k(K).ef(ef).filter(filter).run_into(&mut hits)?;
            same += truth.iter().filter(|t| hits.iter().any(|hit| hit.key == t.key)).count();
            all += truth.len();
            if rounds.is_empty() {
                line.missing += truth.len().saturating_sub(hits.len());
                *line.plans.entry(format!("{:?}", hits.plan())).or_default() += 1;
            }
        }
        line.recall = same as f64 / all.max(1) as f64;
        rounds.push(queries.len() as f64 / start.elapsed().as_secs_f64());
    }
    rounds.sort_by(f64::total_cmp);
    line.qps = rounds[rounds.len() / 2];
    Ok(line)
}
