//! The effect of turnover on an index: `cargo bench --bench churn -- [--dataset DIR] [--turnovers N]
//! [--quantization none|auto|sq8|sq4] [--ef N] [--json FILE]`.
//!
//! The index holds one half of the vectors. In a turnover each of them is removed, the oldest
//! first, and one of the other half inserted. After each turnover: recall@10 at a fixed `ef`, queries per second on one
//! thread and bytes in memory, beside those of an index that was built of the same vectors at once; the two are
//! timed in turns, and the median counts. At the end nine tenths of all vectors are removed and maintenance is run; the bench reports
//! the resident memory that is left. Without a data set, 40,000 x 64 are
//! generated.
//!
//! With `--vanish COUNT`, only this end is run, with `COUNT` generated vectors of 128 components.

mod input;
mod quantized;

use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

use input::{Arguments, Input, Json};
use nearfield::{Flat, Hits, Hnsw, Quantization};
use quantized::quantization;

const K: usize = 10;
/// Timings of each index after a turnover.
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let names = ["dataset", "turnovers", "quantization", "ef", "json", "vanish"];
    let args = Arguments::read(&names)?;
    let quantization = quantization(&args)?;
    let mut json = args.json()?;
    if let Some(count) = args.text("vanish") {
        let input = args.input(count.parse()?, 128)?;
        return vanish(&input, quantization, &mut json);
    }
    let input = args.input(40_000, 64)?;
    turn_over(
        &input,
        quantization,
        args.value("turnovers", 10)?,
        args.value("ef", 64)?,
        &mut json,
    )?;
    vanish(&input, quantization, &mut json)
}

fn keys(range: std::ops::Range<usize>) -> Vec<u64> {
    range.map(|key| key as u64).collect()
}

fn turn_over(
    input: &Input,
    quantization: Quantization,
    turnovers: usize,
    ef: usize,
    json: &mut Json,
) -> Result<(), Box<dyn Error>> {
    let &Input { ref base, ref queries, metric, dimension } = input;
    let half = base.len() / dimension / 2;
    let row = |at: usize| &base[at * dimension..][..dimension];
    let new = || Hnsw::builder(dimension, metric).quantization(quantization).build();
    // For each half: an index built at once, and the exact answers.
    let halves = [0..half, half..2 * half].map(|range| {
        let vectors = &base[range.start * dimension..range.end * dimension];
        let (fresh, exact) = (new()?, Flat::builder(dimension, metric).build()?);
        fresh.insert_batch(&keys(range.clone()), vectors).run()?;
        exact.insert_batch(&keys(range), vectors).run()?;
        Ok::<_, Box<dyn Error>>((fresh, exact.search_batch(queries).k(K).run()?))
    });
    let [first, second] = halves;
    let halves = [first?, second?];
    let index = new()?;
    index.insert_batch(&keys(0..half), &base[..half * dimension]).run()?;
    println!("{half} x {dimension}, {metric}, {quantization:?}, ef {ef}");
    println!("turnovers  recall   fresh       QPS     fresh  ratio   bytes/vector   fresh    s");
    for turnover in 0..=turnovers {
        let started = Instant::now();
        if turnover > 0 {
            let (old, new) = if turnover % 2 == 1 { (0, half) } else { (half, 0) };
            for at in 0..half {
                index.remove((old + at) as u64)?;
                index.insert((new + at) as u64, row(new + at))?;
            }
            index.maintain(Duration::MAX);
        }
        let took = started.elapsed().as_secs_f64();
        let (fresh, truth) = &halves[turnover % 2];
        let recall = |index: &Hnsw| -> Result<f64, Box<dyn Error>> {
            let found = index.search_batch(queries).k(K).ef(ef).threads(1).run()?;
            let mut same = 0;
            for (found, truth) in found.iter().zip(truth.iter()) {
                same += found.iter().filter(|f| truth.iter().any(|t| t.key == f.key)).count();
            }
            Ok(same as f64 / (truth.len() * K) as f64)
        };
        let (turned_recall, fresh_recall) = (recall(&index)?, recall(fresh)?);
        let mut qps = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (index, qps) in [&index, fresh].into_iter().zip(&mut qps) {
                qps.push(queries_per_second(index, queries, dimension, ef)?);
            }
        }
        let [turned_qps, fresh_qps] = qps.map(|mut qps| {
            qps.sort_by(f64::total_cmp);
            qps[ROUNDS / 2]
        });
        let bytes = |index: &Hnsw| {
            let bytes = index.stats().bytes;
            (bytes.total() - bytes.scratch) as f64 / half as f64
        };
        let (turned_bytes, fresh_bytes) = (bytes(&index), bytes(fresh));
        println!(
            "{turnover:>9} {turned_recall:>7.4} {fresh_recall:>7.4} {turned_qps:>9.0} {fresh_qps:>9.0} {:>6.3} {turned_bytes:>14.1} {fresh_bytes:>7.1} {took:>4.0}",
            turned_qps / fresh_qps,
        );
        json.line(&format!(
            "{{\"system\": \"nearfield\", \"n\": {half}, \"dim\": {dimension}, \
             \"metric\": \"{metric}\", \"quantization\": \"{quantization:?}\", \"ef\": {ef}, \
             \"turnover\": {turnover}, \"recall\": {turned_recall}, \
             \"fresh_recall\": {fresh_recall}, \"qps\": {turned_qps:.1}, \
             \"fresh_qps\": {fresh_qps:.1}, \"bytes_per_vector\": {turned_bytes:.1}, \
             \"fresh_bytes_per_vector\": {fresh_bytes:.1}}}"
        ))?;
    }
    let report = index.check();
    if report.is_ok() { Ok(()) } else { Err(report.to_string().into()) }
}

fn queries_per_second(
    index: &Hnsw,
    queries: &[f32],
    dimension: usize,
    ef: usize,
) -> Result<f64, Box<dyn Error>> {
    let mut hits = Hits::new();
    let started = Instant::now();
    for query in queries.chunks(dimension) {
        index.search(query).k(K).ef(ef).run_into(&mut hits)?;
    }
    Ok((queries.len() / dimension) as f64 / started.elapsed().as_secs_f64())
}

/// Removes nine tenths of an index and runs maintenance, which gives their memory back.
fn vanish(
    input: &Input,
    quantization: Quantization,
    json: &mut Json,
) -> Result<(), Box<dyn Error>> {
    let &Input { ref base, metric, dimension, .. } = input;
    let count = base.len() / dimension;
    let before = resident_mb()?;
    let index = Hnsw::builder(dimension, metric).quantization(quantization).build()?;
    index.insert_batch(&keys(0..count), base).run()?;
    let peak = resident_mb()? - before;
    let started = Instant::now();
    for key in (0..count as u64).filter(|key| key % 10 != 0) {
        index.remove(key)?;
    }
    let removal = started.elapsed().as_secs_f64();
    let removed = resident_mb()? - before;
    let started = Instant::now();
    let done = index.maintain(Duration::MAX);
    let maintenance = started.elapsed().as_secs_f64();
    let left = resident_mb()? - before;
    println!("nine tenths of {count} vanish: {done}");
    println!(
        "resident: {peak:.1} MB with all, {removed:.1} MB after removing them ({removal:.1} s), {left:.1} MB after maintenance ({maintenance:.1} s): {:.1} %",
        100.0 * left / peak
    );
    json.line(&format!(
        "{{\"system\": \"nearfield\", \"n\": {count}, \"dim\": {dimension}, \
         \"quantization\": \"{quantization:?}\", \"peak_mb\": {peak:.1}, \
         \"removed_mb\": {removed:.1}, \"left_mb\": {left:.1}}}"
    ))?;
    let report = index.check();
    if report.is_ok() { Ok(()) } else { Err(report.to_string().into()) }
}

/// Returns the resident memory of this process in megabytes.
fn resident_mb() -> Result<f64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line.and_then(|l| l.split_whitespace().next()).ok_or("no VmRSS")?.parse()?;
    Ok(kib / 1024.0)
}
