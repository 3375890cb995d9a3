//! Vectors that rounding barely separates, and others among them.

use nearfield::{Hnsw, Metric};

use crate::support::random::noise;

/// Returns pseudo-random numbers.
/// Inserts other vectors one by one beside thousands of near copies. Returns the number that a search for
/// them does not find, at once and at the end.
fn lost(metric: Metric, ef: usize) -> [usize; 2] {
    let mut next = noise(3);
    let centre: Vec<f32> = (0..32).map(|_| next()).collect();
    let copies: Vec<f32> =
        (0..6000).flat_map(|_| centre.clone()).map(|x| x + 1e-4 * next()).collect();
    let graph = Hnsw::builder(32, metric).build().unwrap();
    graph.insert_batch(&(0..6000).collect::<Vec<_>>(), &copies).threads(1).run().unwrap();
    let others: Vec<Vec<f32>> = (0..200).map(|_| (0..32).map(|_| next()).collect()).collect();
    let is_lost = |key: u64, vector: &Vec<f32>| {
        let hits = graph.search(vector).k(1).ef(ef).run().unwrap();
        usize::from(hits[0].key != key)
    };
    let mut lost = [0, 0];
    for (key, vector) in (6000..).zip(&others) {
        graph.insert(key, vector).unwrap();
        lost[0] += is_lost(key, vector);
    }
    lost[1] = (6000..).zip(&others).map(|(key, vector)| is_lost(key, vector)).sum();
    lost
}

#[test]
fn what_is_inserted_beside_near_copies_is_found() {
    let found = [16, 64, 200].map(|ef| lost(Metric::L2, ef));
    assert!(found.as_flattened().iter().all(|&lost| lost == 0), "{found:?}");
    // Under the cosine, copies whose distances from each other are rounding alone give no direction.
    let found = lost(Metric::Cosine, 200);
    assert!(found.iter().all(|&lost| lost <= 3), "{found:?}");
}
