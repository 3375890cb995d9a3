//! Filters beside the ways in which a caller could filter by hand.

use std::collections::HashSet;
use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use nearfield::search::SearchIter;
use nearfield::{Flat, Hit, Hnsw, KeySet};

const K: usize = 10;

/// Rounds of all ways, of which the median counts.
const ROUNDS: usize = 5;

/// Minimum time of a way in a round.
const PASS: Duration = Duration::from_millis(100);

/// Returns the CPU time of this thread, or the time of the clock if the system does not report it.
fn thread_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    nanos.map_or_else(since_start, Duration::from_nanos)
}

fn since_start() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// A way to the answers of one query, by its number.
type Way<'a> = (String, Box<dyn Fn(usize) -> Vec<Hit> + 'a>);

/// Returns microseconds a query and recall of each way, measured in turn.
fn compare(ways: &[Way<'_>], truth: &[Vec<u64>]) -> Vec<(f64, f64)> {
    let mut took = vec![Vec::new(); ways.len()];
    let mut same = vec![0; ways.len()];
    for round in 0..ROUNDS {
        for (at, (_, way)) in ways.iter().enumerate() {
            let mut found = Vec::with_capacity(truth.len());
            let start = thread_time();
            // The system counts in steps of some milliseconds.
            let (begun, mut passes) = (Instant::now(), 0);
            while passes == 0 || begun.elapsed() < PASS {
                found.clear();
                (0..truth.len()).for_each(|query| found.push(way(query)));
                passes += 1;
            }
            let micros = thread_time().saturating_sub(start).as_secs_f64() * 1e6
                / (truth.len() * passes) as f64;
            took[at].push(micros);
            if round == 0 {
                let pairs = found.iter().zip(truth);
                same[at] = pairs
                    .map(|(hits, truth)| hits.iter().filter(|hit| truth.contains(&hit.key)).count())
                    .sum();
            }
        }
    }
    let wanted: usize = truth.iter().map(Vec::len).sum();
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    took.iter_mut().zip(same).map(|(t, s)| (median(t), s as f64 / wanted as f64)).collect()
}

/// Recall by which two ways may differ and still count as equally good.
const NOISE: f64 = 0.005;

/// Prints a line: each way with its time and recall, and the times of the first `own` ways over the best way by hand of equal recall.
fn print(label: &str, ways: &[Way<'_>], lines: &[(f64, f64)], own: usize) {
    print!("{label}");
    for ((name, _), (micros, recall)) in ways.iter().zip(lines) {
        print!("  {name} {micros:>9.1} us {recall:.3}");
    }
    let ratio = |&(micros, recall): &(f64, f64)| {
        let equal = lines[own..].iter().filter(|line| line.1 >= recall - NOISE);
        micros / equal.map(|line| line.0).fold(f64::INFINITY, f64::min)
    };
    let ratios: Vec<String> =
        lines[..own].iter().map(|line| format!("{:.2}", ratio(line))).collect();
    println!("  ratio {}", ratios.join(" "));
}

/// Measures searches that exclude the nearest vectors of each query, as if the user had seen them.
pub(crate) fn excluded(
    graph: &Hnsw,
    exact: &Flat,
    queries: &[&[f32]],
    ef: usize,
) -> Result<(), Box<dyn Error>> {
    let queries = &queries[..queries.len().min(50)];
    println!("excluded  ways: us a query, recall; ratio to the best by hand at equal recall");
    for excluded in [0, 1, 3, 10, 30, 60, 100, 300, 1000, 3000] {
        let mut seen = Vec::new();
        let mut truth = Vec::new();
        for query in queries {
            let all = exact.search(*query).k(excluded + K).run()?;
            seen.push(all.keys().take(excluded).collect::<KeySet>());
            truth.push(all.keys().skip(excluded).collect::<Vec<_>>());
        }
        let sets: Vec<HashSet<u64>> = seen
            .iter()
            .map(|set| (0..graph.len() as u64).filter(|&key| set.contains(key)).collect())
            .collect();
        let (sets, seen) = (&sets, &seen);
        let by_set = move |at: usize| {
            let search = graph.search(queries[at]).k(K).ef(ef).exclude(&seen[at]);
            search.run().map(|hits| hits.to_vec()).unwrap_or_default()
        };
        let by_closure = move |at: usize| {
            let fresh = |key: u64| !sets[at].contains(&key);
            let search = graph.search(queries[at]).k(K).ef(ef).filter(fresh);
            search.run().map(|hits| hits.to_vec()).unwrap_or_default()
        };
        let first = move |at: usize, hits: &mut dyn Iterator<Item = Hit>| -> Vec<Hit> {
            hits.filter(|hit| !sets[at].contains(&hit.key)).take(K).collect()
        };
        let mut ways: Vec<Way<'_>> = vec![
            ("exclude".to_owned(), Box::new(by_set)),
            ("closure".to_owned(), Box::new(by_closure)),
        ];
        for times in [1.0, 1.25, 1.5, 2.0, 3.0] {
            let kept = ((K + excluded).max(ef) as f64 * times) as usize;
            let skip = move |at: usize| {
                let hits = graph.search(queries[at]).k(K + excluded).ef(kept).run();
                first(at, &mut hits.map(|hits| hits.to_vec()).unwrap_or_default().into_iter())
            };
            ways.push((format!("skip x{times}"), Box::new(skip)));
            let kept = (ef as f64 * times) as usize;
            let iterate = move |at: usize| {
                let hits = graph.search(queries[at]).ef(kept).iter();
                hits.map(|mut hits| first(at, &mut hits)).unwrap_or_default()
            };
            ways.push((format!("iter x{times}"), Box::new(iterate)));
        }
        let scan = move |at: usize| {
            let hits = exact.search(queries[at]).k(K + excluded).run();
            first(at, &mut hits.map(|hits| hits.to_vec()).unwrap_or_default().into_iter())
        };
        ways.push(("scan".to_owned(), Box::new(scan)));
        print(&format!("{excluded:>8}"), &ways, &compare(&ways, &truth), 2);
    }
    Ok(())
}

/// Works for about `nanos` nanoseconds.
fn work(nanos: u64) {
    if nanos < 100 {
        (0..nanos / 2).for_each(|step| {
            black_box(step);
        });
        return;
    }
    let start = Instant::now();
    while start.elapsed() < Duration::from_nanos(nanos) {
        std::hint::spin_loop();
    }
}

/// Measures filters that take time, and accept a share of all vectors.
pub(crate) fn cost(
    graph: &Hnsw,
    exact: &Flat,
    queries: &[&[f32]],
    ef: usize,
) -> Result<(), Box<dyn Error>> {
    let mix = |key: u64| {
        let x = (key + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((x ^ x >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11) as f64 / (1_u64 << 53) as f64
    };
    println!("cost and share  ways: us a query, recall; ratio to the best by hand at equal recall");
    for nanos in [1, 10, 100, 1000, 10_000, 100_000] {
        let queries = &queries[..queries.len().min(if nanos > 5000 { 8 } else { 40 })];
        for share in [0.026, 0.2, 0.6, 0.998] {
            let accepts = move |key: u64| mix(key) < share;
            let truth: Vec<Vec<u64>> = queries
                .iter()
                .map(|query| exact.search(*query).k(K).filter(accepts).run())
                .map(|hits| hits.map(|hits| hits.keys().collect()))
                .collect::<Result<_, _>>()?;
            let asked = move |key: u64| {
                work(nanos);
                accepts(key)
            };
            let by_filter = move |at: usize| {
                let search = graph.search(queries[at]).k(K).ef(ef).filter(asked);
                search.run().map(|hits| hits.to_vec()).unwrap_or_default()
            };
            let by_set = move |at: usize| {
                let set: KeySet = (0..graph.len() as u64).filter(|&key| asked(key)).collect();
                let search = graph.search(queries[at]).k(K).ef(ef).filter(&set);
                search.run().map(|hits| hits.to_vec()).unwrap_or_default()
            };
            let mut ways: Vec<Way<'_>> = vec![("filter".to_owned(), Box::new(by_filter))];
            for times in [1.0, 1.5, 2.5] {
                let kept = (ef as f64 * times) as usize;
                let iterate = move |at: usize| {
                    let hits = graph.search(queries[at]).ef(kept).iter();
                    let first = |hits: SearchIter<'_, _>| {
                        hits.filter(|hit| asked(hit.key)).take(K).collect()
                    };
                    hits.map(first).unwrap_or_default()
                };
                ways.push((format!("iter x{times}"), Box::new(iterate)));
            }
            // Testing every key takes seconds.
            if nanos <= 100 {
                ways.push(("key set".to_owned(), Box::new(by_set)));
            }
            let label = format!("{nanos:>6} ns {share:>6}");
            print(&label, &ways, &compare(&ways, &truth), 1);
        }
    }
    Ok(())
}
