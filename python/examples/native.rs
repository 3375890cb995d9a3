//! Searches an index without Python, to measure beside it: `python python/benches/overhead.py` runs both.
//!
//! Arguments: the file of an index, a file of queries, `k`, `ef`, the rounds. Prints the microseconds of a search, one query after the other,
//! and the queries a second of batches: the mean of each query's fastest round, and the fastest batch.

use std::time::Instant;

use nearfield::Hnsw;
use nearfield::dataset::Vectors;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [index, queries, k, ef, rounds] = &arguments[..] else {
        return Err("arguments: index queries k ef rounds".into());
    };
    let index = Hnsw::load(index)?;
    let queries = Vectors::open(queries)?;
    let (k, ef, rounds): (usize, usize, usize) = (k.parse()?, ef.parse()?, rounds.parse()?);
    let (mut single, mut batch) = (vec![f64::INFINITY; queries.len()], 0.0_f64);
    for _ in 0..rounds {
        for (query, fastest) in queries.iter().zip(&mut single) {
            let start = Instant::now();
            assert_eq!(index.search(&query).k(k).ef(ef).run()?.len(), k);
            *fastest = fastest.min(start.elapsed().as_secs_f64());
        }
        let start = Instant::now();
        assert_eq!(index.search_batch(&queries).k(k).ef(ef).run()?.len(), queries.len());
        batch = batch.max(queries.len() as f64 / start.elapsed().as_secs_f64());
    }
    let mean = single.iter().sum::<f64>() * 1e6 / queries.len() as f64;
    println!("{mean} {batch}");
    Ok(())
}
