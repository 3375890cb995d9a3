//! Tests of the library where no system is: each exported function is one, and `tests/check.mjs` calls them in the order of the file.

use std::time::Duration;

use nearfield::store::{StoreError, StoreOptions};
use nearfield::{
    Bf16, CollectionError, Determinism, Distance, Element, F16, Flat, Hnsw, IndexError, Isa, Ivf,
    Metric, Originals, Quantization,
};
use wasm_bindgen::prelude::*;

const DIMENSION: usize = 24;

/// Fails the test with the text of its arguments, unless the condition holds.
macro_rules! hold {
    ($condition:expr, $($text:tt)*) => {
        if !$condition {
            return Err(format!($($text)*));
        }
    };
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// Returns numbers from -1 to 1 of Sebastiano Vigna's `SplitMix64`.
fn random(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Returns keys and vectors around some centres.
fn data(rows: usize) -> (Vec<u64>, Vec<f32>) {
    let mut next = random(7);
    let centres: Vec<f32> = (0..40 * DIMENSION).map(|_| next()).collect();
    let vector = |row: usize, next: &mut dyn FnMut() -> f32| {
        let centre = &centres[row % 40 * DIMENSION..][..DIMENSION];
        centre.iter().map(|x| x + 0.3 * next()).collect::<Vec<f32>>()
    };
    let vectors = (0..rows).flat_map(|row| vector(row, &mut next)).collect();
    ((0..rows as u64).collect(), vectors)
}

/// Returns the share of the nearest ten that `found` has, over some queries.
fn recall(
    vectors: &[f32],
    mut found: impl FnMut(&[f32]) -> Result<Vec<u64>, IndexError>,
) -> Result<f64, String> {
    let (mut hits, mut wanted) = (0, 0);
    for query in vectors.chunks_exact(DIMENSION).step_by(211).take(20) {
        let near =
            |row: &[f32]| -> f32 { row.iter().zip(query).map(|(a, b)| (a - b).powi(2)).sum() };
        let mut all: Vec<_> = vectors.chunks_exact(DIMENSION).map(near).zip(0_u64..).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        let keys = found(query).map_err(text)?;
        wanted += 10;
        hits += all[..10].iter().filter(|(_, key)| keys.contains(key)).count();
    }
    Ok(f64::from(hits as u32) / f64::from(wanted))
}

/// A search refuses a time that no clock measures.
#[wasm_bindgen]
pub fn a_timeout_needs_a_clock() -> Result<(), String> {
    let index = Flat::builder(1, Metric::L2).build().map_err(text)?;
    index.insert(1, &[0.5]).map_err(text)?;
    let refused = index.search(&[0.0]).timeout(Duration::from_secs(1)).run();
    let is_refused = matches!(refused, Err(IndexError::Parameter { name: "timeout", .. }));
    hold!(is_refused, "{refused:?}");
    let refused = index.search_batch(&[0.0]).timeout(Duration::from_secs(1)).run();
    hold!(refused.is_err(), "{refused:?}");
    let found = index.search(&[0.0]).k(1).run().map_err(text)?;
    hold!(found.is_complete() && found[0].key == 1, "{found:?}");
    Ok(())
}

/// A clock that goes on by a millisecond at each look.
#[wasm_bindgen]
pub fn the_program_sets_the_clock() -> Result<(), String> {
    use std::sync::atomic::{AtomicU64, Ordering};

    fn now() -> Duration {
        static LOOKS: AtomicU64 = AtomicU64::new(0);
        Duration::from_millis(LOOKS.fetch_add(1, Ordering::Relaxed))
    }
    hold!(nearfield::clock::set(now), "the clock was set before");
    hold!(!nearfield::clock::set(now), "the clock is set twice");
    let (keys, vectors) = data(4000);
    let index = Flat::builder(DIMENSION, Metric::L2).build().map_err(text)?;
    index.insert_batch(&keys, &vectors).run().map_err(text)?;
    let query = &vectors[..DIMENSION];
    let all = index.search(query).timeout(Duration::from_secs(60)).run().map_err(text)?;
    hold!(all.is_complete() && all.len() == 10, "{all:?}");
    let few = index.search(query).timeout(Duration::from_millis(2)).run().map_err(text)?;
    hold!(!few.is_complete(), "{few:?}");
    let deadline = nearfield::clock::Instant::now() + Duration::from_secs(60);
    let all = index.search(query).deadline(deadline).run().map_err(text)?;
    hold!(all.is_complete(), "{all:?}");
    Ok(())
}

/// One thread is there, and asking for more is an error.
#[wasm_bindgen]
pub fn more_threads_are_refused() -> Result<(), String> {
    let index = Hnsw::builder(1, Metric::L2).build().map_err(text)?;
    let refused = index.insert_batch(&[1, 2], &[0.0, 1.0]).threads(2).run();
    hold!(matches!(refused, Err(IndexError::Threads { .. })), "{refused:?}");
    index.insert_batch(&[1, 2], &[0.0, 1.0]).threads(1).run().map_err(text)?;
    index.insert_batch(&[3, 4], &[3.0, 4.0]).run().map_err(text)?;
    let found = index.search_batch(&[0.0, 4.0]).k(1).run().map_err(text)?;
    let nearest: Vec<u64> = found.iter().map(|hits| hits[0].key).collect();
    hold!(nearest == [1, 4], "{nearest:?}");
    Ok(())
}

/// A graph is built, searched under a filter, changed and maintained.
#[wasm_bindgen]
pub fn a_graph_works() -> Result<(), String> {
    let (keys, vectors) = data(3000);
    for determinism in [Determinism::None, Determinism::Bitwise] {
        let index =
            Hnsw::builder(DIMENSION, Metric::L2).ef_construction(60).build().map_err(text)?;
        let batch = index.insert_batch(&keys, &vectors).determinism(determinism);
        batch.run().map_err(text)?;
        let recall = recall(&vectors, |query| {
            Ok(index.search(query).ef(80).run()?.iter().map(|hit| hit.key).collect())
        })?;
        hold!(recall > 0.97, "{recall}");
        let query = &vectors[..DIMENSION];
        let odd = index.search(query).filter(&|key| key % 2 == 1).run().map_err(text)?;
        hold!(odd.len() == 10 && odd.iter().all(|hit| hit.key % 2 == 1), "{odd:?}");
        for key in 0..2000 {
            hold!(index.remove(key).map_err(text)?, "{key}");
        }
        index.upsert(2500, query).map_err(text)?;
        hold!(index.search(query).k(1).run().map_err(text)?[0].key == 2500, "upsert");
        hold!(index.maintain(Duration::from_secs(600)).is_complete, "maintenance ended early");
        hold!(index.check().is_ok() && index.len() == 1000, "{}", index.check());
    }
    Ok(())
}

/// All codes of a graph, fitted in passing by insertions one by one.
#[wasm_bindgen]
pub fn codes_work() -> Result<(), String> {
    let (keys, vectors) = data(6000);
    for (quantization, originals, least) in [
        (Quantization::Sq4, Originals::Sq8, 0.95),
        (Quantization::Sq8, Originals::Dropped, 0.93),
        (Quantization::Rabitq { bits: 4 }, Originals::Kept, 0.95),
        (Quantization::Pq { sub_vectors: 12, bits: 4 }, Originals::Kept, 0.95),
    ] {
        let index = Hnsw::builder(DIMENSION, Metric::L2).ef_construction(40);
        let index = index.quantization(quantization).originals(originals).build().map_err(text)?;
        for (key, vector) in keys.iter().zip(vectors.chunks_exact(DIMENSION)) {
            index.insert(*key, vector).map_err(text)?;
        }
        hold!(index.stats().code_bits.is_some(), "no codes of {quantization:?}");
        let found = |index: &Hnsw, query: &[f32]| -> Result<Vec<u64>, IndexError> {
            Ok(index.search(query).ef(100).run()?.iter().map(|hit| hit.key).collect())
        };
        let recall = recall(&vectors, |query| found(&index, query))?;
        hold!(recall > least, "{quantization:?}: {recall}");
        let again = Hnsw::from_bytes(&index.to_bytes().map_err(text)?).map_err(text)?;
        hold!(again.len() == index.len() && again.check().is_ok(), "{quantization:?}");
    }
    Ok(())
}

/// Lists are trained, with and without codes.
#[wasm_bindgen]
pub fn lists_work() -> Result<(), String> {
    let (keys, vectors) = data(3000);
    for quantization in [Quantization::None, Quantization::Rabitq { bits: 4 }] {
        let index = Ivf::builder(DIMENSION, Metric::L2).lists(20).quantization(quantization);
        let index = index.build().map_err(text)?;
        index.insert_batch(&keys, &vectors).run().map_err(text)?;
        index.train().map_err(text)?;
        let recall = recall(&vectors, |query| {
            Ok(index.search(query).nprobe(8).run()?.iter().map(|hit| hit.key).collect())
        })?;
        hold!(recall > 0.9, "{quantization:?}: {recall}");
        let again = Ivf::from_bytes(&index.to_bytes().map_err(text)?).map_err(text)?;
        let query = &vectors[..DIMENSION];
        let (a, b) = (index.search(query).run(), again.search(query).run());
        hold!(a == b, "{a:?} {b:?}");
    }
    Ok(())
}

/// Bytes come back, as they were written on this system, and damaged ones are errors.
#[wasm_bindgen]
pub fn bytes_come_back() -> Result<(), String> {
    let (keys, vectors) = data(1000);
    let query = &vectors[..DIMENSION];
    let exact = Flat::builder(DIMENSION, Metric::Cosine).build().map_err(text)?;
    exact.insert_batch(&keys, &vectors).run().map_err(text)?;
    let mut bytes = Vec::new();
    exact.write_to(&mut bytes).map_err(text)?;
    let again = Flat::read_from(&*bytes).map_err(text)?;
    hold!(again.search(query).run() == exact.search(query).run(), "other answers");
    let refused = Hnsw::from_bytes(&bytes).map(drop);
    hold!(matches!(refused, Err(CollectionError::Kind { .. })), "{refused:?}");
    for damaged in [&bytes[..bytes.len() / 2], &bytes[1..], &[]] {
        hold!(Flat::from_bytes(damaged).is_err(), "{} bytes were read", damaged.len());
    }
    let saved = exact.save("index.nf").map(drop);
    hold!(saved.is_err(), "a file was written");
    Ok(())
}

/// Reads bytes that another system wrote, and returns the nearest keys to the first vector.
#[wasm_bindgen]
pub fn nearest_in(bytes: &[u8]) -> Result<Vec<u64>, String> {
    let index = Hnsw::from_bytes(bytes).map_err(text)?;
    let first = index.get(0).ok_or("no vector has key 0")?;
    Ok(index.search(&first).k(5).run().map_err(text)?.iter().map(|hit| hit.key).collect())
}

/// A store in memory, and a second transaction of the one thread.
#[wasm_bindgen]
pub fn a_store_in_memory_works() -> Result<(), String> {
    let store = StoreOptions::new().open_in_memory().map_err(text)?;
    let mut tx = store.begin_write().map_err(text)?;
    tx.table::<str>("colours").map_err(text)?.insert("sky", b"blue").map_err(text)?;
    let second = store.begin_write().map(drop);
    hold!(matches!(second, Err(StoreError::Deadlock)), "{second:?}");
    tx.commit().map_err(text)?;
    let tx = store.begin_read().map_err(text)?;
    let sky = tx.table::<str>("colours").map_err(text)?.get("sky").map_err(text)?;
    hold!(sky == Some(&b"blue"[..]), "{sky:?}");
    Ok(())
}

/// Distances of all lengths up to some registers, against loops over the definition in 64 bits.
#[wasm_bindgen]
pub fn distances_are_right() -> Result<(), String> {
    let expected = if cfg!(target_feature = "simd128") { Isa::Simd128 } else { Isa::Scalar };
    hold!(Isa::detect() == expected, "{}", Isa::detect());
    let mut next = random(11);
    for len in (1..140).chain([1000, 4096]) {
        let (a, b): (Vec<f32>, Vec<f32>) = (0..len).map(|_| (next(), next())).unzip();
        // Rounded to few bits, so that each type holds them.
        let rounded =
            |x: &Vec<f32>| x.iter().map(|x| (x * 64.0).round() / 64.0).collect::<Vec<_>>();
        let (a, b) = (rounded(&a), rounded(&b));
        let sum = |term: &dyn Fn(f64, f64) -> f64| -> f64 {
            a.iter().zip(&b).map(|(&a, &b)| term(f64::from(a), f64::from(b))).sum()
        };
        let (dot, l2) = (sum(&|a, b| a * b), sum(&|a, b| (a - b).powi(2)));
        let (aa, bb) = (sum(&|a, _| a * a), sum(&|_, b| b * b));
        let cosine = if aa * bb > 0.0 { 1.0 - dot / (aa * bb).sqrt() } else { f64::NAN };
        for (metric, right) in
            [(Metric::L2, l2), (Metric::InnerProduct, -dot), (Metric::Cosine, cosine)]
        {
            let check = |found: f32, name: &str| {
                // A vector of zeros has no cosine.
                if right.is_nan() || near(found, right, len) {
                    return Ok(());
                }
                Err(format!("{metric} {name} {len}: {found} {right}"))
            };
            let between = Distance::new(metric, Element::F32).map_err(text)?;
            check(between.between(&a, &b).map_err(text)?, "f32")?;
            let half = |x: &[f32]| x.iter().map(|&x| F16::from_f32(x)).collect::<Vec<_>>();
            let brain = |x: &[f32]| x.iter().map(|&x| Bf16::from_f32(x)).collect::<Vec<_>>();
            let between = Distance::new(metric, Element::F16).map_err(text)?;
            check(between.between(&half(&a), &half(&b)).map_err(text)?, "f16")?;
            let between = Distance::new(metric, Element::Bf16).map_err(text)?;
            check(between.between(&brain(&a), &brain(&b)).map_err(text)?, "bf16")?;
        }
        let bytes = |x: &[f32]| x.iter().map(|x| (x * 127.0) as i8).collect::<Vec<i8>>();
        let (a, b) = (bytes(&a), bytes(&b));
        let l2: i32 = a.iter().zip(&b).map(|(&a, &b)| (i32::from(a) - i32::from(b)).pow(2)).sum();
        let between = Distance::new(Metric::L2, Element::I8).map_err(text)?;
        let found = between.between(&a, &b).map_err(text)?;
        hold!(found == l2 as f32, "i8 {len}: {found} {l2}");
        let unsigned = |x: &[i8]| x.iter().map(|&x| x.cast_unsigned()).collect::<Vec<u8>>();
        let (a, b) = (unsigned(&a), unsigned(&b));
        let l2: i32 = a.iter().zip(&b).map(|(&a, &b)| (i32::from(a) - i32::from(b)).pow(2)).sum();
        let between = Distance::new(Metric::L2, Element::U8).map_err(text)?;
        let found = between.between(&a, &b).map_err(text)?;
        hold!(found == l2 as f32, "u8 {len}: {found} {l2}");
        let bits: u32 = a.iter().zip(&b).map(|(a, b)| (a ^ b).count_ones()).sum();
        let between = Distance::new(Metric::Hamming, Element::Bit).map_err(text)?;
        let found = between.between(&a, &b).map_err(text)?;
        hold!(found == bits as f32, "bits {len}: {found} {bits}");
    }
    Ok(())
}

fn near(found: f32, right: f64, len: usize) -> bool {
    (f64::from(found) - right).abs() <= 2e-6 * (len as f64 + right.abs())
}
