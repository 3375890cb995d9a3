//! Costs of a workload apart from time: counts that are the same in every run of the same code.

use nearfield::Hits;
use nearfield::dataset::recall;

use crate::Failure;
use crate::allocations;
use crate::work::{ASK, Kind, Work};

/// A quantity and its value.
pub type Fact = (&'static str, f64);

/// Vectors that are removed and inserted again before the index is measured: each row of a carried set about half a time.
const TURNED: usize = 2500;

/// Queries, insertions or turnovers over which allocations are counted.
const COUNTED: usize = 500;

/// Returns the counts of a workload. Uses it up: insertions continue from its last one.
pub fn of(work: &mut Work) -> Result<Vec<Fact>, Failure> {
    match work.plan.kind {
        Kind::Search => of_search(work),
        Kind::Insert => of_insert(work),
        Kind::Churn => of_churn(work),
    }
}

fn of_search(work: &mut Work) -> Result<Vec<Fact>, Failure> {
    let queries = work.set.queries.len();
    let (mut distances, mut hops) = (0, 0);
    let mut answers = Vec::with_capacity(queries);
    let mut hits = Hits::new();
    for query in work.set.queries.iter() {
        work.index.search(&query, ASK, &mut hits)?;
        distances += hits.distances_computed();
        hops += hits.hops();
        answers.push(hits.keys().collect::<Vec<_>>());
    }
    // All scratch memory has its final size now.
    let (done, allocations) = allocations::during(|| work.search(COUNTED));
    done?;
    let stats = work.index.stats()?;
    let per_query = |count: u64| count as f64 / queries as f64;
    let per_vector = |bytes: usize| bytes as f64 / stats.len as f64;
    Ok(vec![
        ("recall", recall(answers, &work.set.truth, ASK.k)?),
        ("distances per search", per_query(distances)),
        ("hops per search", per_query(hops)),
        ("allocations per search", allocations as f64 / COUNTED as f64),
        ("distances per insertion", stats.insert_distances as f64 / stats.len as f64),
        ("bytes per vector", per_vector(stats.bytes.total() - stats.bytes.scratch)),
    ])
}

/// Returns the cost of a turnover, and the recall and reads of an index that has seen many.
fn of_churn(work: &mut Work) -> Result<Vec<Fact>, Failure> {
    work.churn(COUNTED)?;
    let before = work.index.stats()?.insert_distances;
    let (done, allocations) = allocations::during(|| work.churn(COUNTED));
    done?;
    let distances = work.index.stats()?.insert_distances - before;
    work.churn(TURNED - 2 * COUNTED)?;
    work.settle()?;
    let mut facts = vec![
        ("allocations per turnover", allocations as f64 / COUNTED as f64),
        ("distances per turnover", distances as f64 / COUNTED as f64),
    ];
    // Another workload reports the cost of building.
    facts.extend(of_search(work)?.into_iter().filter(|fact| fact.0 != "distances per insertion"));
    Ok(facts)
}

fn of_insert(work: &mut Work) -> Result<Vec<Fact>, Failure> {
    let (before, written) = (work.index.stats()?.insert_distances, work.index.written()?);
    let (done, allocations) = allocations::during(|| work.insert(COUNTED));
    done?;
    let distances = work.index.stats()?.insert_distances - before;
    let mut facts = vec![
        ("allocations per insertion", allocations as f64 / COUNTED as f64),
        ("distances per insertion", distances as f64 / COUNTED as f64),
    ];
    if let Some((before, now)) = written.zip(work.index.written()?) {
        facts.push(("bytes written per insertion", (now - before) as f64 / COUNTED as f64));
    }
    Ok(facts)
}
