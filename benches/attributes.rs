//! Searches under predicates over attributes: `cargo bench --bench attributes -- [--dataset DIR] [--quantization none|auto|sq8|sq4]
//! [--recall X] [--json FILE]`.
//!
//! Each vector has a tenant (one of 20), a year (1990 to 2025), a score (0 to 1, all different), three of fifty tags, and a topic: the
//! nearest of 32 vectors. For each predicate: the selected share, the time of evaluating the predicate, and the queries per second on one
//! thread with the selection in hand, and with the predicate evaluated for each query, at the least `ef` of a recall@10 of .95 (`--recall`); the
//! ratios are to the unfiltered search at that recall. Then the time of inserting with and without attributes, the bytes of
//! attributes in the file, and the time of opening.

mod input;
mod quantized;

use std::collections::HashSet;
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use input::{Arguments, Input};
use nearfield::collection::Selection;
use nearfield::{Attributes, Collection, Flat, Predicate, attributes};
use quantized::quantization;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

const QUERIES: usize = 200;
const K: usize = 10;
const TOPICS: usize = 32;
const RECALL: f64 = 0.95;

/// Vectors of a commit.
const COMMIT: usize = 5000;

/// Predicates; `{}` is the query's topic.
const PREDICATES: [&str; 14] = [
    "score < 0.5",
    "score < 0.1",
    "score < 0.01",
    "score < 0.001",
    "score < 0.0001",
    "year >= 2008",
    "year between 2001 and 2004",
    "tenant = 'tenant 7'",
    "tenant in ('tenant 1', 'tenant 2', 'tenant 3') and year < 2000",
    "tags has 'tag 9' and year >= 2000 and score < 0.5",
    "tags any of ('tag 1', 'tag 2') and year >= 1995 and score < 0.5 and not tenant = 'tenant 3'",
    "(tenant = 'tenant 1' or tags has 'tag 5') and year >= 1995 and year < 2020 and score >= 0.2 and topic is not null",
    "topic = {}",
    "topic != {}",
];

fn main() -> Result<(), Box<dyn Error>> {
    let args = Arguments::read(&["dataset", "json", "quantization", "recall"])?;
    let recall = args.value("recall", RECALL)?;
    let mut json = args.json()?;
    let Input { base, queries, metric, dimension } = args.input(100_000, 64)?;
    let queries: Vec<&[f32]> = queries.chunks(dimension).take(QUERIES).collect();
    let rows: Vec<&[f32]> = base.chunks(dimension).collect();
    let folder = std::env::temp_dir().join(format!("nearfield-attributes-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let topics = Flat::builder(dimension, metric).build()?;
    for (topic, row) in (0..).zip(rows.iter().step_by(rows.len() / TOPICS).take(TOPICS)) {
        topics.insert(topic, *row)?;
    }
    let topic = |row: &[f32]| Ok::<_, Box<dyn Error>>(topics.search(row).k(1).run()?[0].key as i64);
    let mut random = SmallRng::seed_from_u64(1);
    let all: Vec<Attributes> = rows
        .iter()
        .map(|row| Ok(with(&mut random, topic(row)?)))
        .collect::<Result<_, Box<dyn Error>>>()?;

    let quantization = quantization(&args)?;
    let make = |name: &str| {
        let builder = Collection::builder(dimension, metric).quantization(quantization);
        // Each evaluation is made anew.
        builder.selection_memory(0).create(folder.join(name))
    };
    let (plain, collection) = (make("plain")?, make("attributes")?);
    let (mut without, mut took) = (Duration::ZERO, Duration::ZERO);
    for (batch, part) in (0..).zip(rows.chunks(COMMIT)) {
        without += insert(&plain, batch * COMMIT, part, &[])?;
        took += insert(&collection, batch * COMMIT, part, &all[batch * COMMIT..][..part.len()])?;
    }
    plain.checkpoint()?;
    collection.checkpoint()?;
    plain.compact()?;
    collection.compact()?;
    let exact = Flat::builder(dimension, metric).build()?;
    exact.insert_batch(&(0..rows.len() as u64).collect::<Vec<_>>(), &base).run()?;

    println!("{} x {dimension}, {metric}, {quantization:?}, {} queries", rows.len(), queries.len());
    let plain_line = measure(&plain, &exact, &queries, recall, &mut |_| Ok(None))?;
    println!(
        "unfiltered: {:.0} QPS at ef {}, recall {:.3}",
        plain_line.qps, plain_line.ef, plain_line.recall
    );
    println!(
        "    share  evaluated     ef  recall       QPS  ratio  with the predicate: QPS  ratio"
    );
    for text in PREDICATES {
        let predicates: Vec<Predicate> = queries
            .iter()
            .map(|query| Ok(text.replace("{}", &topic(query)?.to_string()).parse()?))
            .collect::<Result<_, Box<dyn Error>>>()?;
        let start = Instant::now();
        let selections: Vec<Selection> =
            predicates.iter().map(|p| collection.matching(p)).collect::<Result<_, _>>()?;
        let evaluated = start.elapsed().as_secs_f64() / predicates.len() as f64;
        let share = selections.iter().map(Selection::len).sum::<usize>() as f64
            / (selections.len() * rows.len()) as f64;
        let line = measure(&collection, &exact, &queries, recall, &mut |at| {
            Ok(Some(selections[at].clone()))
        })?;
        let whole = 1.0 / (1.0 / line.qps + evaluated);
        println!(
            "{:>7.3} % {:>7.1} us {:>6} {:>7.3} {:>9.0} {:>6.2} {whole:>24.0} {:>6.2}  {text}",
            share * 100.0,
            evaluated * 1e6,
            line.ef,
            line.recall,
            line.qps,
            line.qps / plain_line.qps,
            whole / plain_line.qps,
        );
        json.line(&format!(
            "{{\"predicate\": {text:?}, \"share\": {share}, \"evaluated_us\": {}, \"ef\": {}, \"recall\": {}, \"qps\": {}, \"qps_whole\": {whole}}}",
            evaluated * 1e6, line.ef, line.recall, line.qps
        ))?;
    }
    drop((plain, collection));
    let kept = kept(&folder.join("attributes"))?;
    println!("the same predicate on the same commit: {:.2} us", kept.as_secs_f64() * 1e6);
    let count = rows.len() as f64;
    let bytes =
        |name: &str| Ok::<_, std::io::Error>(std::fs::metadata(folder.join(name))?.len() as f64);
    let more = (bytes("attributes")? - bytes("plain")?) / count;
    println!(
        "inserted in {:.2} s, {:.2} s with attributes: {:.3}; {more:.1} bytes more a vector; opened in {:?}, {:?} without",
        without.as_secs_f64(),
        took.as_secs_f64(),
        took.as_secs_f64() / without.as_secs_f64(),
        opening(&folder.join("attributes"))?,
        opening(&folder.join("plain"))?,
    );
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

fn with(random: &mut SmallRng, topic: i64) -> Attributes {
    let tags: HashSet<u32> = (0..3).map(|_| random.random_range(0..50)).collect();
    attributes! {
        "tenant" => format!("tenant {}", random.random_range(0..20)),
        "year" => random.random_range(1990..2026),
        "score" => random.random::<f64>(),
        "tags" => tags.into_iter().map(|tag| format!("tag {tag}")).collect::<Vec<_>>(),
        "topic" => topic,
    }
}

fn insert(
    collection: &Collection,
    first: usize,
    rows: &[&[f32]],
    attributes: &[Attributes],
) -> Result<Duration, Box<dyn Error>> {
    let keys: Vec<u64> = (first as u64..).take(rows.len()).collect();
    let start = Instant::now();
    let mut tx = collection.begin_write()?;
    tx.upsert_batch(&keys, &rows.concat())?;
    for (&key, attributes) in keys.iter().zip(attributes) {
        tx.set(key, attributes.clone())?;
    }
    tx.commit()?;
    Ok(start.elapsed())
}

fn opening(path: &Path) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    let collection = Collection::open(path)?;
    let took = start.elapsed();
    assert!(!collection.is_empty());
    Ok(took)
}

/// Returns the time of a predicate that was evaluated before, on average.
fn kept(path: &Path) -> Result<Duration, Box<dyn Error>> {
    const ROUNDS: u32 = 1000;

    let collection = Collection::open(path)?;
    let texts = PREDICATES.map(|text| text.replace("{}", "1"));
    let predicates: Vec<Predicate> =
        texts.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    predicates.iter().try_for_each(|predicate| collection.matching(predicate).map(drop))?;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        for predicate in &predicates {
            std::hint::black_box(collection.matching(predicate)?.len());
        }
    }
    Ok(start.elapsed() / ROUNDS / predicates.len() as u32)
}

struct Line {
    ef: usize,
    recall: f64,
    qps: f64,
}

/// Measures searches at the least `ef` with enough recall.
fn measure(
    collection: &Collection,
    exact: &Flat,
    queries: &[&[f32]],
    recall: f64,
    selection: &mut dyn FnMut(usize) -> Result<Option<Selection>, Box<dyn Error>>,
) -> Result<Line, Box<dyn Error>> {
    let selections: Vec<Option<Selection>> =
        (0..queries.len()).map(selection).collect::<Result<_, _>>()?;
    let mut truth = Vec::new();
    for (query, selection) in queries.iter().zip(&selections) {
        let hits = exact.search(*query).k(K).filter(selection.as_ref()).run()?;
        truth.push(hits.keys().collect::<HashSet<_>>());
    }
    let mut line = Line { ef: 0, recall: 0.0, qps: 0.0 };
    for ef in [10, 16, 24, 32, 48, 64, 96, 128, 256, 512] {
        let (mut found, mut all) = (0, 0);
        let mut times = Vec::new();
        for round in 0..5 {
            let start = Instant::now();
            for ((query, selection), truth) in queries.iter().zip(&selections).zip(&truth) {
                let hits =
                    collection.search(*query).k(K).ef(ef).filter(selection.as_ref()).run()?;
                if round == 0 {
                    found += hits.keys().filter(|key| truth.contains(key)).count();
                    all += truth.len();
                }
            }
            times.push(start.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        let qps = queries.len() as f64 / times[times.len() / 2];
        line = Line { ef, recall: found as f64 / all.max(1) as f64, qps };
        if line.recall >= recall {
            break;
        }
    }
    Ok(line)
}
