//! A search allocates nothing once its scratch memory exists: the latency does not depend on the allocator
//! under load, but on the walk alone.
#![expect(unsafe_code, reason = "an allocator is unsafe to write")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use nearfield::dataset::{Generated, Vectors};
use nearfield::{
    CancelToken, Element, Flat, Hits, Hnsw, KeyBitmap, Metric, Originals, Quantization,
};

thread_local! {
    /// Allocations of this thread: the test harness has its own threads.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting.
struct Counting;

fn count() {
    // A thread that is ending has no counter any more.
    let _ = COUNT.try_with(|c| c.set(c.get() + 1));
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(f: impl FnOnce()) -> u64 {
    let before = COUNT.with(Cell::get);
    f();
    COUNT.with(Cell::get) - before
}

fn vectors() -> (Vectors, Vectors) {
    Generated::builder(3000, 48).queries(100).build().unwrap().into_parts()
}

/// Rounds of queries before the one that must allocate nothing.
const WARM: usize = 3;

/// Further rounds of queries with filters, of which one must allocate nothing.
const TRIED: usize = 10;

/// Checks that queries allocate nothing. They walk different parts of the graph: after [`WARM`] rounds all scratch has its final size.
fn assert_none(what: &str, queries: &Vectors, mut search: impl FnMut(&nearfield::VectorRef<'_>)) {
    let mut round = || queries.iter().for_each(|query| search(&query));
    for _ in 0..WARM {
        round();
    }
    assert_eq!(allocations(&mut round), 0, "{what}");
}

/// [`assert_none`] for plans that follow the measured time of a filter. A plan that a busy machine makes rare grows its scratch in a later
/// round.
fn assert_none_at_last(
    what: &str,
    queries: &Vectors,
    mut search: impl FnMut(&nearfield::VectorRef<'_>),
) {
    let mut round = || queries.iter().for_each(|query| search(&query));
    for _ in 0..WARM {
        round();
    }
    let least = (0..TRIED).map(|_| allocations(&mut round)).find(|&count| count == 0);
    assert_eq!(least, Some(0), "{what}");
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1_u8; 100]))), 1);
    assert_eq!(allocations(|| assert_eq!(std::hint::black_box([1_u8; 100]).len(), 100)), 0);
}

#[test]
fn searching_a_graph_allocates_nothing() {
    allocate_nothing(&[
        (Metric::L2, Element::F32),
        (Metric::Cosine, Element::F16),
        (Metric::InnerProduct, Element::Bf16),
    ]);
}

#[test]
#[ignore = "long: `just test-all`"]
fn searching_a_graph_of_any_elements_allocates_nothing() {
    let elements = [Element::F32, Element::F16, Element::Bf16];
    let cases: Vec<_> = [Metric::L2, Metric::Cosine, Metric::InnerProduct]
        .into_iter()
        .flat_map(|metric| elements.map(|element| (metric, element)))
        .collect();
    allocate_nothing(&cases);
}

fn allocate_nothing(cases: &[(Metric, Element)]) {
    let (base, queries) = vectors();
    let keys: Vec<u64> = (0..base.len() as u64).collect();
    for &(metric, element) in cases {
        let index = Hnsw::builder(48, metric).element(element).build().unwrap();
        index.insert_batch(&keys, &base).threads(2).run().unwrap();
        // The last pair is answered by a scan.
        for (k, ef) in [(1, 1), (10, 64), (32, 100), (10, 3000)] {
            let what = format!("{metric} {element} k {k} ef {ef}");
            let mut found = 0;
            assert_none(&what, &queries, |query| {
                found += index.search(query).k(k).ef(ef).run().unwrap().len();
            });
            assert_eq!(found, (WARM + 1) * k * queries.len());
            let mut hits = Hits::new();
            assert_none(&what, &queries, |query| {
                index.search(query).k(k).ef(ef).run_into(&mut hits).unwrap();
            });
        }
        // Hits beyond the inline capacity reuse their own memory.
        let mut hits = Hits::new();
        assert_none("k 100", &queries, |query| {
            index.search(query).k(100).ef(120).run_into(&mut hits).unwrap();
        });
        assert_eq!(hits.len(), 100);
    }
}

#[test]
#[ignore = "long: `just test-all`"]
fn searching_by_codes_allocates_nothing() {
    let (base, queries) = Generated::builder(5000, 48).queries(100).build().unwrap().into_parts();
    let keys: Vec<u64> = (0..base.len() as u64).collect();
    for quantization in [
        Quantization::Sq4,
        Quantization::Sq8,
        Quantization::Rabitq { bits: 1 },
        Quantization::Rabitq { bits: 4 },
        Quantization::Pq { sub_vectors: 15, bits: 4 },
        Quantization::Pq { sub_vectors: 12, bits: 8 },
    ] {
        for originals in [Originals::Kept, Originals::Sq12, Originals::Sq8, Originals::Dropped] {
            let builder = Hnsw::builder(48, Metric::L2).quantization(quantization);
            let index = builder.originals(originals).build().unwrap();
            index.insert_batch(&keys, &base).threads(2).run().unwrap();
            assert!(index.stats().code_bits.is_some());
            for (k, ef) in [(1, 1), (10, 64), (32, 100), (10, 5000)] {
                let what = format!("{quantization:?} {originals:?} k {k} ef {ef}");
                assert_none(&what, &queries, |query| {
                    assert_eq!(index.search(query).k(k).ef(ef).run().unwrap().len(), k);
                });
            }
        }
    }
}

#[test]
fn searching_exactly_allocates_nothing() {
    let (base, queries) = vectors();
    let keys: Vec<u64> = (0..base.len() as u64).collect();
    let index = Flat::builder(48, Metric::L2).build().unwrap();
    index.insert_batch(&keys, &base).run().unwrap();
    let mut hits = Hits::new();
    assert_none("flat", &queries, |query| {
        index.search(query).k(10).run_into(&mut hits).unwrap();
    });
    assert_eq!(hits.len(), 10);
}

#[test]
fn every_way_to_ask_allocates_nothing() {
    let (base, queries) = Generated::builder(5000, 48).queries(100).build().unwrap().into_parts();
    let keys: Vec<u64> = (0..base.len() as u64).collect();
    let exact = Flat::builder(48, Metric::L2).build().unwrap();
    exact.insert_batch(&keys, &base).run().unwrap();
    let (cancel, hour) = (CancelToken::new(), Duration::from_hours(1));
    let radius = exact.search(&queries.row(0).unwrap()).k(200).run().unwrap()[199].distance;
    for quantization in [Quantization::None, Quantization::Sq8] {
        let index = Hnsw::builder(48, Metric::L2).quantization(quantization).build().unwrap();
        index.insert_batch(&keys, &base).threads(2).run().unwrap();
        index.calibrate().sample(100).run().unwrap();
        let mut hits = Hits::new();
        assert_none("limits", &queries, |query| {
            let search = index.search(query).timeout(hour).cancel(&cancel);
            search.run_into(&mut hits).unwrap();
        });
        assert_none("recall", &queries, |query| {
            index.search(query).recall(0.9).run_into(&mut hits).unwrap();
        });
        assert_none("within, few", &queries, |query| {
            index.search(query).within(radius).k(20).run_into(&mut hits).unwrap();
        });
        assert_none("within, all", &queries, |query| {
            index.search(query).within(radius).run_into(&mut hits).unwrap();
            exact.search(query).within(radius).run_into(&mut hits).unwrap();
        });
        for one_in in [2, 5, 20, 500] {
            let accepts = |key: u64| key.is_multiple_of(one_in);
            let mut words = [0_u64; 5000_usize.div_ceil(64)];
            for key in keys.iter().copied().filter(|&key| accepts(key)) {
                words[(key / 64) as usize] |= 1 << (key % 64);
            }
            let map = KeyBitmap::new(&words);
            assert_none_at_last("filters", &queries, |query| {
                let search = index.search(query).k(3).ef(8);
                search.filter(accepts).run_into(&mut hits).unwrap();
                search.filter(map).timeout(hour).run_into(&mut hits).unwrap();
                exact.search(query).filter(map).run_into(&mut hits).unwrap();
            });
        }
    }
}
