//! Every kernel on every instruction set of this CPU against the formulas in double precision.
//!
//! # Bounds
//!
//! Integer sums must be exact, so their distance is the true one, rounded once to `f32`; so is
//! the cosine of integers, except for a last bit that a rounding before the last may turn.
//!
//! With `u = 2^-24`, a term of a floating-point sum is rounded at most three times before it is
//! added (difference, product with two equal factors), and passes at most `n / 16 + 8` additions:
//! one lane of a register of sixteen, the chains, and the lanes. Hence (Higham, Accuracy and
//! Stability of Numerical Algorithms, 2002, section 4.2) the error of a sum is at most
//! `g * sum(|terms|)` with `g = (n / 16 + 12) u`, one percent allowed for products of errors, plus
//! `2^-149` for each operation that may have underflowed. Norms divide the error of a cosine's
//! product to `g` (Cauchy-Schwarz), to which the norms' own errors add at most `g`, and the last
//! two roundings `2 u`.
#![expect(clippy::float_cmp, reason = "what must be exact is compared exactly")]

use super::ask::{Ask, Found};
use super::dispatch;
use super::reference::{self, Reference};
use crate::metric::Metric;
use crate::order_key::OrderKey;
use crate::simd::Isa;
use crate::vector::{AsVector, Bf16, Element, F16, VectorRef};

const METRICS: [Metric; 4] = [Metric::L2, Metric::InnerProduct, Metric::Cosine, Metric::Hamming];
const ELEMENTS: [Element; 6] =
    [Element::F32, Element::F16, Element::Bf16, Element::I8, Element::U8, Element::Bit];

/// The greatest length of the tests.
const LONGEST: usize = 1100;

/// Returns the lengths that `cargo test` tests all kernels at: all up to 272, which take every branch of a kernel several times, and some
/// beyond; or every n-th if the environment variable `NEARFIELD_TEST_STEP` is n, for CPUs that are emulated. Miri interprets, so
/// it sees one, which takes every branch over floats: whole groups, registers left over, a tail.
fn lengths() -> Vec<usize> {
    if cfg!(miri) {
        return vec![127];
    }
    let step = std::env::var("NEARFIELD_TEST_STEP").ok().and_then(|step| step.parse().ok());
    match step {
        Some(step) => (1..=LONGEST).step_by(1.max(step)).collect(),
        None => (1..=LONGEST).filter(|&len| is_usual(len)).collect(),
    }
}

fn is_usual(len: usize) -> bool {
    len <= 272 || len.is_multiple_of(41)
}

/// Sebastiano Vigna's `SplitMix64`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `-1..1`.
    fn signed(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[(self.next() % from.len() as u64) as usize]
    }
}

/// The kind of numbers in a vector.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Pattern {
    /// Uniform over a plain range.
    Plain,
    /// The least magnitudes: subnormal, or one for integers.
    Tiny,
    /// Products and squares overflow `f32`, if the type can.
    Huge,
    /// Any finite bit pattern: all magnitudes and signs mixed.
    Mixed,
    /// The ends of the type's range and zeros of both signs.
    Extreme,
    /// The lower end of the range throughout.
    Least,
    /// The upper end of the range throughout.
    Greatest,
    /// Zeros.
    Zero,
    /// About unit length; like [`Pattern::Plain`] for integers.
    Unit,
}

/// Patterns of the query and of the rows.
const PATTERNS: &[(Pattern, Pattern)] = &[
    (Pattern::Plain, Pattern::Plain),
    (Pattern::Tiny, Pattern::Tiny),
    (Pattern::Tiny, Pattern::Plain),
    (Pattern::Huge, Pattern::Huge),
    (Pattern::Mixed, Pattern::Mixed),
    (Pattern::Extreme, Pattern::Extreme),
    (Pattern::Extreme, Pattern::Plain),
    (Pattern::Least, Pattern::Greatest),
    (Pattern::Least, Pattern::Least),
    (Pattern::Plain, Pattern::Zero),
];

/// The patterns that a kernel for vectors of unit length is tested with.
const UNIT_PATTERNS: &[(Pattern, Pattern)] = &[
    (Pattern::Unit, Pattern::Unit),
    (Pattern::Unit, Pattern::Tiny),
    (Pattern::Unit, Pattern::Zero),
    (Pattern::Plain, Pattern::Plain),
];

/// An owned vector of any type.
enum Data {
    F32(Vec<f32>),
    F16(Vec<F16>),
    Bf16(Vec<Bf16>),
    I8(Vec<i8>),
    U8(Vec<u8>),
}

impl Data {
    fn new(element: Element, len: usize, pattern: Pattern, random: &mut Random) -> Self {
        let float = |random: &mut Random, tiny: f32, huge: f32, max: f32| match pattern {
            Pattern::Plain => random.signed(),
            Pattern::Tiny => random.signed() * tiny,
            Pattern::Huge => random.signed() * huge,
            Pattern::Mixed => {
                let exponent = (random.next() % 60) as f32 - 30.0;
                random.signed() * exponent.exp2()
            }
            Pattern::Extreme => random.pick(&[max, -max, 0.0, -0.0, tiny]),
            Pattern::Least => -max,
            Pattern::Greatest => max,
            Pattern::Zero => 0.0,
            Pattern::Unit => random.signed() * (3.0 / len as f32).sqrt(),
        };
        let mut vector =
            |f: &dyn Fn(&mut Random) -> f32| -> Vec<f32> { (0..len).map(|_| f(random)).collect() };
        match element {
            Element::F32 => Self::F32(vector(&|random| float(random, 1e-40, 1e38, f32::MAX))),
            Element::F16 => Self::F16(
                vector(&|random| float(random, 6e-8, 6e4, 65504.0).clamp(-65504.0, 65504.0))
                    .into_iter()
                    .map(F16::from_f32)
                    .collect(),
            ),
            Element::Bf16 => Self::Bf16(
                vector(&|random| float(random, 1e-39, 1e38, 3.38e38))
                    .into_iter()
                    .map(Bf16::from_f32)
                    .collect(),
            ),
            Element::I8 => Self::I8((0..len).map(|_| byte(pattern, random, i8::MIN)).collect()),
            Element::U8 | Element::Bit => {
                Self::U8((0..len).map(|_| byte(pattern, random, 0) as u8).collect())
            }
        }
    }

    /// Returns the part of `len` elements from `start`.
    fn slice(&self, start: usize, len: usize) -> VectorRef<'_> {
        match self {
            Self::F32(v) => VectorRef::F32(&v[start..start + len]),
            Self::F16(v) => VectorRef::F16(&v[start..start + len]),
            Self::Bf16(v) => VectorRef::Bf16(&v[start..start + len]),
            Self::I8(v) => VectorRef::I8(&v[start..start + len]),
            Self::U8(v) => VectorRef::U8(&v[start..start + len]),
        }
    }
}

/// Returns a byte of `pattern`, for a type whose least value is `least` and whose greatest is 255 above.
fn byte(pattern: Pattern, random: &mut Random, least: i8) -> i8 {
    let greatest = least.wrapping_sub(1);
    match pattern {
        Pattern::Plain | Pattern::Huge | Pattern::Mixed | Pattern::Unit => random.next() as i8,
        Pattern::Tiny => random.pick(&[0, 1]),
        Pattern::Extreme => random.pick(&[least, greatest]),
        Pattern::Least => least,
        Pattern::Greatest => greatest,
        Pattern::Zero => 0,
    }
}

/// Returns one query and four rows.
fn ask<'a>(query: VectorRef<'a>, rows: [VectorRef<'a>; 4]) -> Ask<'a> {
    Ask::of(query.as_bytes(), rows.map(|row| row.as_bytes()))
}

/// Returns whether `found` is a legal result if `truth` is true, by the bounds above.
fn is_legal(
    (metric, element, unit): (Metric, Element, bool),
    len: usize,
    truth: Reference,
    found: f32,
) -> bool {
    let u = 2f64.powi(-24);
    let distance = f64::from(found);
    let off = (distance - truth.distance).abs();
    if !matches!(element, Element::F32 | Element::F16 | Element::Bf16) {
        return match metric {
            Metric::Cosine => off <= 1.01 * u * (truth.distance + 1.0),
            _ => found == truth.distance as f32,
        };
    }
    let g = 1.01 * (len as f64 / 16.0 + 12.0) * u;
    let underflow = 2.0 * len as f64 * 2f64.powi(-149);
    let max = f64::from(f32::MAX);
    match (metric, unit) {
        (Metric::Cosine, false) => off <= 2.0 * g + 2.0 * u,
        (Metric::L2, _) if truth.distance > max * (1.0 - g) => {
            found == f32::INFINITY || truth.distance <= max && off <= g * truth.magnitude
        }
        // Sums of either sign may overflow in between, but must not end at a wrong number.
        (Metric::InnerProduct, _) if truth.magnitude > max * (1.0 - g) => {
            !found.is_finite() || off <= g * truth.magnitude
        }
        _ => {
            let last = if unit { u * (1.0 + truth.distance.abs()) } else { 0.0 };
            off <= g * truth.magnitude + underflow + last
        }
    }
}

/// Checks one kernel on all instruction sets at one length.
fn check(kernel: (Metric, Element, bool), len: usize, patterns: (Pattern, Pattern)) {
    let (metric, element, unit) = kernel;
    let mut random = Random((len as u64) << 8 | patterns.0 as u64);
    // The slices begin anywhere and end before their buffers do: the elements behind them must not count.
    let query = Data::new(element, len + 40, patterns.0, &mut random);
    let rows: [Data; 4] =
        std::array::from_fn(|_| Data::new(element, len + 40, patterns.1, &mut random));
    let start = |i: usize| (7 * len + 3 * i) % 20;
    let query = query.slice(start(0), len);
    let rows: [VectorRef<'_>; 4] = std::array::from_fn(|i| rows[i].slice(start(i + 1), len));
    let numbers = reference::components(query, metric);
    let truths = rows.map(|row| {
        reference::distance(metric, unit, &numbers, &reference::components(row, metric))
    });
    for &isa in Isa::available() {
        let case = || format!("{metric} over {element} (unit: {unit}), {isa}, {len} {patterns:?}");
        let bound =
            dispatch(metric, element, isa, unit).unwrap_or_else(|| panic!("{}: no kernel", case()));
        let found = ask(query, rows).under(&*bound);
        assert_eq!(found.keys, found.keys4, "{}: key4 differs from key", case());
        for (truth, distance) in truths.iter().zip(found.distances) {
            assert!(is_legal(kernel, len, *truth, distance), "{}: {distance} {truth:?}", case());
        }
        check_order(&found, &case);
    }
}

/// The order of keys is the order of distances. Integer keys have more digits than distances, so
/// equal distances may differ in key.
fn check_order(found: &Found, case: &dyn Fn() -> String) {
    let pairs = || found.keys.into_iter().zip(found.distances);
    for (key, distance) in pairs() {
        assert!(!distance.is_nan() || key == OrderKey::MAX, "{}: {key:?}", case());
        for (other_key, other) in pairs() {
            assert!(other.is_nan() || key >= other_key || distance <= other);
            assert!(distance >= other || distance.is_nan() || key < other_key, "{}", case());
            assert!(key != other_key || distance == other || distance.is_nan(), "{}", case());
        }
    }
}

/// Returns all kernels, as (metric, element type, whether vectors are taken as of unit length).
fn kernels() -> Vec<(Metric, Element, bool)> {
    let mut kernels = vec![(Metric::Hamming, Element::Bit, false)];
    for element in ELEMENTS.into_iter().filter(|&element| element != Element::Bit) {
        for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
            kernels.push((metric, element, false));
        }
        if matches!(element, Element::F32 | Element::F16 | Element::Bf16) {
            kernels.push((Metric::Cosine, element, true));
        }
    }
    kernels
}

fn check_all(element: Element, lengths: &[usize]) {
    eprintln!("instruction sets: {:?}", Isa::available());
    for kernel in kernels().into_iter().filter(|kernel| kernel.1 == element) {
        for &len in lengths {
            let patterns = if kernel.2 { UNIT_PATTERNS } else { PATTERNS };
            for &patterns in patterns.iter().step_by(if cfg!(miri) { 4 } else { 1 }) {
                check(kernel, len, patterns);
            }
        }
    }
}

#[test]
fn f32_kernels_are_within_bounds() {
    check_all(Element::F32, &lengths());
}

#[test]
fn f16_kernels_are_within_bounds() {
    check_all(Element::F16, &lengths());
}

#[test]
fn bf16_kernels_are_within_bounds() {
    check_all(Element::Bf16, &lengths());
}

#[test]
fn i8_kernels_are_exact() {
    check_all(Element::I8, &lengths());
}

#[test]
fn u8_kernels_are_exact() {
    check_all(Element::U8, &lengths());
}

#[test]
fn hamming_is_exact() {
    check_all(Element::Bit, &lengths());
}

/// With the tests above, each length up to the greatest.
#[test]
#[ignore = "long: `just test-all`"]
fn kernels_are_right_at_every_other_length() {
    let others: Vec<usize> = (1..=LONGEST).filter(|&len| !is_usual(len)).collect();
    for element in ELEMENTS {
        check_all(element, &others);
    }
}

/// The greatest possible sums: 65,536 squares of 255 are 2^32 less 33,488,896.
#[test]
#[cfg_attr(miri, ignore = "too long for an interpreter")]
fn the_longest_byte_vectors_are_exact() {
    for kernel in kernels() {
        if matches!(kernel.1, Element::I8 | Element::U8 | Element::Bit) {
            for &patterns in PATTERNS {
                check(kernel, super::MAX_LEN, patterns);
                check(kernel, super::MAX_LEN - 1, patterns);
            }
            check(kernel, super::MAX_LEN, (Pattern::Greatest, Pattern::Greatest));
        }
    }
}

/// Returns the keys of one query and four rows of floats.
fn keys(metric: Metric, isa: Isa, query: &[f32], rows: [&[f32]; 4]) -> Found {
    let kernel = dispatch(metric, Element::F32, isa, false).expect("a kernel");
    ask(query.as_vector(), rows.map(VectorRef::F32)).under(&*kernel)
}

#[test]
fn what_is_not_a_number_is_farthest() {
    // The first sixteen products overflow upwards, the last sixteen downwards.
    let query = [f32::MAX; 64];
    let mut both = [f32::MAX; 64];
    both[32..].fill(-f32::MAX);
    let up = [f32::MAX; 64];
    let down = [-f32::MAX; 64];
    for &isa in Isa::available() {
        let found = keys(Metric::InnerProduct, isa, &query, [&both, &down, &up, &[0.0; 64]]);
        assert!(found.distances[0].is_nan(), "{isa}: {:?}", found.distances);
        assert_eq!(found.distances[1..], [f32::INFINITY, f32::NEG_INFINITY, 0.0]);
        assert_eq!(found.keys[0], OrderKey::MAX);
        assert!(found.keys[1] < OrderKey::MAX && found.keys[3] < found.keys[1]);
        assert!(found.keys[2] < found.keys[3]);
        let found = keys(Metric::L2, isa, &query, [&[f32::NAN; 64], &down, &up, &both]);
        assert_eq!(found.keys[0], OrderKey::MAX);
        assert_eq!(found.distances[1..], [f32::INFINITY, 0.0, f32::INFINITY]);
    }
}

#[test]
fn zero_products_have_one_key() {
    for &isa in Isa::available() {
        let rows: [&[f32]; 4] = [&[0.0; 20], &[-0.0; 20], &[1e-40; 20], &[-1e-40; 20]];
        let found = keys(Metric::InnerProduct, isa, &[1e-30; 20], rows);
        assert_eq!(found.keys, [OrderKey::of_f32(0.0); 4], "{isa}");
    }
}

#[test]
fn cosine_survives_squares_beyond_the_range_of_f32() {
    for &isa in Isa::available() {
        for scale in [1e-40, 1e-25, 1e-10, 1.0, 1e10, 1e25, 1e38] {
            let query = [3.0 * scale, 0.0, scale / 8.0];
            let rows: [&[f32]; 4] =
                [&query, &query.map(|x| -x), &[0.0, scale, 0.0], &[0.0, 0.0, 0.0]];
            let found = keys(Metric::Cosine, isa, &query, rows);
            for (distance, expected) in found.distances.into_iter().zip([0.0, 2.0, 1.0, 1.0]) {
                assert!((distance - expected).abs() < 1e-6, "{isa} {scale} {distance}");
            }
        }
    }
}

#[test]
fn the_shorter_length_counts() {
    let mut random = Random(1);
    for element in ELEMENTS {
        let metric = if element == Element::Bit { Metric::Hamming } else { Metric::L2 };
        let long = Data::new(element, 300, Pattern::Plain, &mut random);
        let query = Data::new(element, 300, Pattern::Plain, &mut random);
        for &isa in Isa::available() {
            for len in [0, 1, 15, 16, 63, 64, 100, 128, 299] {
                let kernel = dispatch(metric, element, isa, false).expect("a kernel");
                let keys = |query, row| {
                    let rows = [long.slice(0, 300), row, row, long.slice(0, 5)];
                    ask(query, rows).under(&*kernel)
                };
                let short = query.slice(0, len);
                let expected = keys(short, long.slice(0, len));
                let longer_row = keys(short, long.slice(0, 300));
                let longer_query = keys(query.slice(0, 300), long.slice(0, len));
                assert_eq!(expected.keys[1], longer_row.keys[1]);
                assert_eq!(expected.keys[1], longer_query.keys[1]);
                for found in [expected, longer_row, longer_query] {
                    assert_eq!(found.keys, found.keys4, "{element} {isa} {len}");
                }
            }
        }
    }
}

#[test]
fn dispatch_knows_every_pair_and_no_other() {
    let mut names = std::collections::HashSet::new();
    for &isa in Isa::available() {
        for element in ELEMENTS {
            for metric in METRICS {
                for unit in [false, true] {
                    let name = dispatch(metric, element, isa, unit).map(|k| format!("{k:?}"));
                    let defined = (metric == Metric::Hamming) == (element == Element::Bit);
                    assert_eq!(name.is_some(), defined, "{metric} {element} {isa}");
                    if let Some(name) = name {
                        assert!(name.to_lowercase().contains(isa.name()), "{isa}: {name}");
                        assert_eq!(
                            name.contains("UnitCosine"),
                            kernels().contains(&(metric, element, true)) && unit,
                            "{name}"
                        );
                        names.insert(name);
                    }
                }
            }
        }
    }
    // Four float kernels over three types, three over two bytes, one over bits.
    assert_eq!(names.len(), Isa::available().len() * (4 * 3 + 3 * 2 + 1), "{names:?}");
    for isa in [Isa::Simd128, Isa::Neon, Isa::Avx2, Isa::Avx512] {
        let found = dispatch(Metric::L2, Element::F32, isa, false);
        assert_eq!(found.is_some(), Isa::available().contains(&isa), "{isa}");
    }
}
