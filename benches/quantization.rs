//! Cost of training, coding, decoding and comparing, on the data that the repository carries.
//!
//! Names are `group/quantizer/set`. `encode`, `decode` and `encode-batch` report bytes of `f32`
//! vectors a second; `distances` (codes without gaps), `scan` (packed codes) and
//! `symmetric` report codes a second, from one thread. `prepare` is one query.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use nearfield::Metric;
use nearfield::dataset::Dataset;
use nearfield::quantization::{
    ProductQuantizer, QuantizationError, Quantizer, RabitqQuantizer, ScalarQuantizer,
};

/// Codes of one comparison, which stay in the second-level cache.
const CODES: usize = 1024;

/// A carried set as floats.
struct Carried {
    name: &'static str,
    dimension: usize,
    metric: Metric,
    base: Vec<f32>,
    queries: Vec<f32>,
}

impl Carried {
    fn all() -> Vec<Self> {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/data");
        [("sift", "photo-sift-128-5k"), ("words", "words-100-10k")]
            .map(|(name, folder)| {
                let set = Dataset::open(data.join(folder)).expect("the repository carries it");
                Self {
                    name,
                    dimension: set.dimension(),
                    metric: set.metric(),
                    base: set.base().to_f32().expect("small"),
                    queries: set.queries().to_f32().expect("small"),
                }
            })
            .into()
    }
}

type Train = fn(&Carried) -> Result<Box<dyn Quantizer>, QuantizationError>;

const KINDS: [(&str, Train); 9] = [
    ("scalar-8", |set| Ok(Box::new(scalar(set, 8)?))),
    ("scalar-4", |set| Ok(Box::new(scalar(set, 4)?))),
    ("scalar-12", |set| Ok(Box::new(scalar(set, 12)?))),
    ("product-8", |set| Ok(Box::new(product(set, 8)?))),
    ("product-4", |set| Ok(Box::new(product(set, 4)?))),
    ("rabitq-1", |set| Ok(Box::new(rabitq(set, 1)?))),
    ("rabitq-2", |set| Ok(Box::new(rabitq(set, 2)?))),
    ("rabitq-4", |set| Ok(Box::new(rabitq(set, 4)?))),
    ("product-4-rotated", |set| {
        let builder = ProductQuantizer::builder(set.dimension, set.metric).bits(4).rotated(true);
        Ok(Box::new(builder.train(&set.base)?))
    }),
];

fn scalar(set: &Carried, bits: u32) -> Result<ScalarQuantizer, QuantizationError> {
    ScalarQuantizer::builder(set.dimension, set.metric).bits(bits).train(&set.base)
}

fn product(set: &Carried, bits: u32) -> Result<ProductQuantizer, QuantizationError> {
    ProductQuantizer::builder(set.dimension, set.metric).bits(bits).train(&set.base)
}

fn rabitq(set: &Carried, bits: u32) -> Result<RabitqQuantizer, QuantizationError> {
    RabitqQuantizer::builder(set.dimension, set.metric).bits(bits).train(&set.base)
}

/// Returns a group with its measure of throughput.
fn group<'a>(
    criterion: &'a mut Criterion,
    name: &str,
    throughput: Throughput,
) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(throughput);
    group
}

fn bench(criterion: &mut Criterion, set: &Carried, name: &str, train: Train) {
    let id = || BenchmarkId::new(name, set.name);
    let quantizer = train(set).expect("sound vectors");
    let vectors = &set.base[..CODES * set.dimension];
    let codes = quantizer.quantize_batch(vectors).expect("sound vectors");
    let code_len = quantizer.code_len();
    let (first, code) = (&vectors[..set.dimension], &codes[..code_len]);
    let bytes = Throughput::Bytes(4 * set.dimension as u64);
    let query = &set.queries[..set.dimension];

    let rows = Throughput::Elements((set.base.len() / set.dimension) as u64);
    group(criterion, "train", rows)
        .sample_size(10)
        .bench_function(id(), |b| b.iter(|| train(black_box(set))));
    group(criterion, "encode", bytes.clone()).bench_function(id(), |b| {
        let mut code = vec![0; code_len];
        b.iter(|| quantizer.quantize_into(black_box(first), &mut code));
    });
    group(criterion, "encode-batch", Throughput::Bytes(4 * vectors.len() as u64))
        .bench_function(id(), |b| b.iter(|| quantizer.quantize_batch(black_box(vectors))));
    group(criterion, "decode", bytes).bench_function(id(), |b| {
        let mut vector = vec![0.0; set.dimension];
        b.iter(|| quantizer.dequantize_into(black_box(code), &mut vector));
    });
    group(criterion, "prepare", Throughput::Elements(1))
        .bench_function(id(), |b| b.iter(|| quantizer.prepare(black_box(query)).is_ok()));
    let mut distances = vec![0.0; CODES];
    let each = Throughput::Elements(CODES as u64);
    group(criterion, "distances", each).bench_function(id(), |b| {
        let query = quantizer.prepare(query).expect("a sound query");
        b.iter(|| query.distances(black_box(&codes), &mut distances));
    });
    group(criterion, "symmetric", Throughput::Elements(1)).bench_function(id(), |b| {
        let other = &codes[codes.len() - code_len..];
        b.iter(|| quantizer.distance(black_box(code), black_box(other)));
    });
}

fn benches(criterion: &mut Criterion) {
    for set in Carried::all() {
        for (name, train) in KINDS {
            bench(criterion, &set, name, train);
        }
        let quantizer = product(&set, 4).expect("sound vectors");
        let codes = quantizer.quantize_batch(&set.base[..CODES * set.dimension]);
        let packed = quantizer.pack(&codes.expect("sound vectors")).expect("whole codes");
        let query = quantizer.query(&set.queries[..set.dimension]).expect("a sound query");
        let mut distances = vec![0.0; CODES];
        group(criterion, "scan", Throughput::Elements(CODES as u64)).bench_function(
            BenchmarkId::new("product-4", set.name),
            |b| {
                b.iter(|| query.scan(black_box(&packed), &mut distances));
            },
        );
    }
}

fn config() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .sample_size(20)
}

criterion_group! {
    name = quantization;
    config = config();
    targets = benches
}
criterion_main!(quantization);
