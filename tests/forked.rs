//! Parallel work in forked children: a child has none of its parent's threads, so work given to these would wait for ever.
#![cfg(unix)]
#![expect(unsafe_code, reason = "fork")]

mod fork_support;

use fork_support::in_child;
use nearfield::quantization::{ProductQuantizer, Quantizer, RabitqQuantizer, ScalarQuantizer};
use nearfield::{Collection, Flat, Hnsw, Ivf, Metric, Quantization, Shards};
use rayon::prelude::*;

const DIMENSION: usize = 16;
const COUNT: usize = 6000;

fn vectors() -> Vec<f32> {
    let mut state = 7_u64;
    let mut step = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..COUNT * DIMENSION).map(|_| step()).collect()
}

/// Trains a quantizer of each kind and encodes all vectors. Returns the bytes that identify the quantizers, and the codes.
fn quantize(vectors: &[f32]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let product = |bits, rotated| {
        let builder = ProductQuantizer::builder(DIMENSION, Metric::L2);
        builder.sub_vectors(4).bits(bits).rotated(rotated).rounds(3).train(vectors).unwrap()
    };
    let rabitq = |bits| RabitqQuantizer::builder(DIMENSION, Metric::L2).bits(bits).train(vectors);
    let scalar = |bits| ScalarQuantizer::builder(DIMENSION, Metric::L2).bits(bits).train(vectors);
    let quantizers: [Box<dyn Quantizer>; 8] = [
        Box::new(product(4, false)),
        Box::new(product(4, true)),
        Box::new(product(8, false)),
        Box::new(rabitq(1).unwrap()),
        Box::new(rabitq(2).unwrap()),
        Box::new(rabitq(4).unwrap()),
        Box::new(scalar(4).unwrap()),
        Box::new(scalar(8).unwrap()),
    ];
    let both = quantizers.iter().map(|quantizer| {
        (quantizer.to_bytes(), quantizer.quantize_batch(vectors).expect("vectors of its kind"))
    });
    both.collect()
}

/// Builds, trains, saves, loads and merges indexes of each kind, and searches them.
fn index(vectors: &[f32]) -> bool {
    let keys: Vec<u64> = (0..COUNT as u64).collect();
    let folder = std::env::temp_dir().join(format!("nearfield-forked-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let query = &vectors[..DIMENSION];
    let mut is_right = true;

    for codes in [
        Quantization::None,
        Quantization::Sq4,
        Quantization::Rabitq { bits: 2 },
        Quantization::Pq { sub_vectors: 4, bits: 4 },
    ] {
        let index = Hnsw::builder(DIMENSION, Metric::L2).m(6).ef_construction(20);
        let index = index.quantization(codes).build().unwrap();
        index.insert_batch(&keys, vectors).run().unwrap();
        is_right &= index.search_batch(vectors).k(1).run().unwrap().len() == COUNT;
        is_right &= index.search(query).k(1).run().unwrap()[0].key == 0;
    }
    for codes in [Quantization::None, Quantization::Pq4, Quantization::Rabitq { bits: 2 }] {
        let index = || Ivf::builder(DIMENSION, Metric::L2).quantization(codes).build().unwrap();
        let (batch, single) = (index(), index());
        batch.insert_batch(&keys, vectors).run().unwrap();
        for (&key, vector) in keys.iter().zip(vectors.chunks_exact(DIMENSION)) {
            single.insert(key, vector).unwrap();
        }
        is_right &= batch.is_trained() && single.is_trained();
        batch.train().unwrap();
        let path = folder.join("lists.nf");
        batch.save(&path).unwrap();
        is_right &= Ivf::load(&path).unwrap().search(query).k(1).run().unwrap()[0].key == 0;
    }

    let halves = [&keys[..COUNT / 2], &keys[COUNT / 2..]].map(|half| {
        let flat = Flat::builder(DIMENSION, Metric::L2).build().unwrap();
        let start = half[0] as usize * DIMENSION;
        flat.insert_batch(half, &vectors[start..][..half.len() * DIMENSION]).run().unwrap();
        flat
    });
    let shards = Shards::new(halves).unwrap();
    is_right &= shards.search(query).k(1).run().unwrap()[0].key == 0;
    is_right &= shards.search_batch(vectors).k(1).run().unwrap().len() == COUNT;

    let parts = [0, 1].map(|part| {
        let path = folder.join(format!("part-{part}.nf"));
        let config = Collection::builder(DIMENSION, Metric::L2).m(6).ef_construction(20);
        let collection = config.open(path).unwrap();
        let mut tx = collection.begin_write().unwrap();
        for key in keys.iter().copied().filter(|key| key % 2 == part) {
            tx.upsert(key, &vectors[key as usize * DIMENSION..][..DIMENSION]).unwrap();
        }
        tx.commit().unwrap();
        collection.checkpoint().unwrap();
        collection.snapshot().unwrap()
    });
    let whole = folder.join("whole.nf");
    is_right &= Collection::merge(&parts, &whole).run().unwrap().vectors == COUNT as u64;
    let whole = Hnsw::load(&whole).unwrap();
    is_right &= whole.search(query).k(1).run().unwrap()[0].key == 0;
    is_right &= !whole.calibrate().k(5).run().unwrap().points.is_empty();
    std::fs::remove_dir_all(&folder).unwrap();
    is_right
}

/// One test, because its order matters: the library must not have been used before the first child is forked.
#[test]
fn forked_children_have_threads_of_their_own() {
    let vectors = vectors();
    // The program uses the global pool before the fork; only the child uses the library.
    assert!(vectors.par_iter().sum::<f32>().is_finite());
    assert!(in_child(|| quantize(&vectors).len() == 8));
    assert!(in_child(|| index(&vectors)));

    let expected = quantize(&vectors);
    assert!(in_child(|| quantize(&vectors) == expected));
    assert!(in_child(|| index(&vectors)));
    // A child of a child that has started its own threads.
    assert!(in_child(|| {
        quantize(&vectors) == expected && in_child(|| quantize(&vectors) == expected)
    }));
    // A child forked by one thread of a pool; the pool's other threads stay with the parent.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    assert!(pool.install(|| in_child(|| quantize(&vectors) == expected)));
    // A pool that the child makes.
    assert!(in_child(|| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        pool.install(|| quantize(&vectors) == expected)
    }));
    assert!(quantize(&vectors) == expected);
}
