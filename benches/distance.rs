//! Cost of one distance: every kernel on every instruction set of this CPU, and plain loops.
//!
//! Names are `metric-element/variant/dimension`, where the variant is an instruction set (one call
//! for one pair of vectors), an instruction set with `-many` (one call for 32 rows; divide by 32),
//! or `plain`. All data fits the first- or second-level cache and begins at
//! a cache line, as the rows of an index do.
#![cfg_attr(
    all(target_os = "linux", target_pointer_width = "64"),
    expect(unsafe_code, reason = "the clock of the thread's CPU time")
)]

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nearfield::{AsVector, Bf16, Distance, Element, F16, Isa, Metric};
use std::hint::black_box;
use std::time::Duration;

const DIMENSIONS: [usize; 6] = [25, 96, 128, 384, 768, 1536];
const ROWS: usize = 32;
const LINE: usize = 64;

/// CPU time of the thread: on a shared machine the wall clock measures the neighbours.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        cpu_time()
    }

    fn end(&self, start: Duration) -> Duration {
        cpu_time().saturating_sub(start)
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn cpu_time() -> Duration {
    #[repr(C)]
    struct Timespec {
        seconds: i64,
        nanoseconds: i64,
    }
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut Timespec) -> i32;
    }
    const CLOCK_THREAD_CPUTIME_ID: i32 = 3;
    let mut time = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: the C library's function with its own signature on 64-bit Linux, and a pointer to
    // memory of the type that it writes.
    let error = unsafe { clock_gettime(CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(error, 0, "the thread has a clock");
    Duration::new(time.seconds as u64, time.nanoseconds as u32)
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn cpu_time() -> Duration {
    use std::sync::LazyLock;
    use std::time::Instant;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

/// Returns numbers in `-1..1`, the same in every run.
fn numbers(len: usize) -> Vec<f32> {
    let mut state = 1u64;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Returns the part of `all` that begins at a cache line.
fn aligned<E>(all: &[E]) -> &[E] {
    &all[all.as_ptr().align_offset(LINE)..]
}

/// Measures one metric over one element type: `make` turns a number in `-1..1` into a component.
fn bench<E>(
    criterion: &mut Criterion<CpuTime>,
    (metric, element): (Metric, Element),
    make: impl Fn(f32) -> E,
    plain: impl Fn(&[E], &[E]) -> f32,
) where
    [E]: AsVector,
{
    let mut group = criterion.benchmark_group(format!("{metric}-{element}"));
    for dimension in DIMENSIONS {
        let len = if element == Element::Bit { dimension.div_ceil(8) } else { dimension };
        let all: Vec<E> = numbers(len * (ROWS + 1) + 2 * LINE).into_iter().map(&make).collect();
        let (query, rest) = aligned(&all).split_at(len);
        let rows = &aligned(rest)[..len * ROWS];
        let mut distances = [0.0; ROWS];
        group.throughput(Throughput::Bytes(element.bytes(dimension) as u64));
        let first = &rows[..len];
        group.bench_function(BenchmarkId::new("plain", dimension), |b| {
            b.iter(|| plain(black_box(query), black_box(first)));
        });
        for &isa in Isa::available() {
            let distance = Distance::with_isa(metric, element, isa)
                .expect("an available level and a defined metric");
            group.throughput(Throughput::Bytes(element.bytes(dimension) as u64));
            group.bench_function(BenchmarkId::new(isa.name(), dimension), |b| {
                b.iter(|| distance.between(&black_box(query), &black_box(first)));
            });
            group.throughput(Throughput::Bytes((ROWS * element.bytes(dimension)) as u64));
            group.bench_function(BenchmarkId::new(format!("{isa}-many"), dimension), |b| {
                b.iter(|| {
                    distance
                        .many(&black_box(query), &black_box(rows), &mut distances)
                        .expect("lengths agree");
                    black_box(&mut distances);
                });
            });
        }
    }
    group.finish();
}

/// Returns `sum((a - b)^2)` as a loop.
fn l2<E: Copy>(number: impl Fn(E) -> f32) -> impl Fn(&[E], &[E]) -> f32 {
    move |a, b| {
        a.iter().zip(b).map(|(&a, &b)| (number(a) - number(b)) * (number(a) - number(b))).sum()
    }
}

/// Returns `-sum(a * b)` as a loop.
fn product<E: Copy>(number: impl Fn(E) -> f32) -> impl Fn(&[E], &[E]) -> f32 {
    move |a, b| -a.iter().zip(b).map(|(&a, &b)| number(a) * number(b)).sum::<f32>()
}

/// Returns the cosine distance as a loop.
fn cosine<E: Copy>(number: impl Fn(E) -> f32) -> impl Fn(&[E], &[E]) -> f32 {
    move |a, b| {
        let (mut dot, mut aa, mut bb) = (0.0, 0.0, 0.0);
        for (&a, &b) in a.iter().zip(b) {
            let (a, b) = (number(a), number(b));
            dot += a * b;
            aa += a * a;
            bb += b * b;
        }
        1.0 - dot / (aa * bb).sqrt()
    }
}

/// Returns the number of differing bits, by a loop over bytes.
fn hamming(a: &[u8], b: &[u8]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>() as f32
}

/// Measures the three metrics of numbers over one element type.
fn bench_numbers<E: Copy>(
    criterion: &mut Criterion<CpuTime>,
    element: Element,
    make: impl Fn(f32) -> E + Copy,
    number: impl Fn(E) -> f32 + Copy,
) where
    [E]: AsVector,
{
    bench(criterion, (Metric::L2, element), make, l2(number));
    bench(criterion, (Metric::InnerProduct, element), make, product(number));
    bench(criterion, (Metric::Cosine, element), make, cosine(number));
}

fn benches(criterion: &mut Criterion<CpuTime>) {
    bench_numbers(criterion, Element::F32, |x| x, |x| x);
    bench_numbers(criterion, Element::F16, F16::from_f32, F16::to_f32);
    bench_numbers(criterion, Element::Bf16, Bf16::from_f32, Bf16::to_f32);
    bench_numbers(criterion, Element::I8, |x| (x * 127.0) as i8, f32::from);
    bench_numbers(criterion, Element::U8, |x| (x * 127.0 + 128.0) as u8, f32::from);
    bench(criterion, (Metric::Hamming, Element::Bit), |x| (x * 127.0) as i8 as u8, hamming);
}

fn config() -> Criterion<CpuTime> {
    Criterion::default()
        .with_measurement(CpuTime)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(300))
        .sample_size(20)
}

criterion_group! {
    name = distance;
    config = config();
    targets = benches
}
criterion_main!(distance);
