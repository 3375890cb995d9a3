//! Reading answers one by one: `cargo run --release --example streaming`.
//!
//! 50,000 generated vectors are photographs, each with a photographer. The program reads the nearest photographs until it has five
//! photographers: their number is not known beforehand. Then it returns the same answers page by page, with only a cursor kept between
//! two pages, and lists all within a radius.

use std::collections::BTreeSet;
use std::error::Error;

use nearfield::dataset::Generated;
use nearfield::search::Cursor;
use nearfield::{Hnsw, Metric};

const PHOTOGRAPHS: usize = 50_000;
const DIMENSION: usize = 64;

fn photographer(key: u64) -> u64 {
    // Some photographers take many photographs.
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).leading_zeros().into()
}

fn main() -> Result<(), Box<dyn Error>> {
    let (base, queries) = Generated::builder(PHOTOGRAPHS, DIMENSION).build()?.into_parts();
    let keys: Vec<u64> = (0..PHOTOGRAPHS as u64).collect();
    let index = Hnsw::builder(DIMENSION, Metric::L2).build()?;
    index.insert_batch(&keys, &base).run()?;
    let query = queries.row(0).ok_or("no query")?;

    let mut photographers = BTreeSet::new();
    let mut seen = 0;
    for hit in index.search(&query).iter()? {
        seen += 1;
        photographers.insert(photographer(hit.key));
        if photographers.len() == 5 {
            println!("{seen} photographs by five photographers, up to {:.3}", hit.distance);
            break;
        }
    }

    // The state that a server keeps for a user between two requests.
    let mut cursor = Cursor::default();
    let mut given = BTreeSet::new();
    for page in 1..=3 {
        let mut hits = index.search(&query).iter_from(cursor)?;
        let keys: Vec<u64> = hits.by_ref().take(20).map(|hit| hit.key).collect();
        println!("page {page}: {keys:?}");
        given.extend(keys);
        cursor = hits.cursor();
    }
    if given.len() != 60 || cursor.given() != 60 {
        return Err("a photograph was given twice".into());
    }

    // All photographs that are as near as the 200th; under L2 the unit is squared.
    let radius = index.search(&query).iter()?.nth(199).ok_or("fewer than 200")?.distance;
    let near = index.search(&query).within(radius).run()?;
    println!("{} within {radius:.3}, in {} distances", near.len(), near.distances_computed());
    let own = |key: u64| photographer(key) == 41;
    let near = index.search(&query).within(radius).filter(own).run()?;
    println!("{} of them by one photographer, {:?}", near.len(), near.plan());
    Ok(())
}
