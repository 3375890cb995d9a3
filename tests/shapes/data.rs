//! Data of many shapes, and the exact distances with which answers are compared.

use std::sync::LazyLock;

use nearfield::Metric;

use crate::support::random::Normal;

pub(crate) const METRICS: [Metric; 3] = [Metric::L2, Metric::InnerProduct, Metric::Cosine];

/// Queries of a shape.
pub(crate) const QUERIES: usize = 100;

/// The numbers of vectors that make codes, and some more.
const WHOLE: Counts = Counts { first: 4300, later: 900, queries: QUERIES };
const MOVED: Counts = Counts { first: 4300, later: 1500, queries: QUERIES };

/// All shapes, in sizes that make codes.
pub(crate) static SHAPES: LazyLock<Vec<Shape>> = LazyLock::new(|| {
    let mut all = shapes(WHOLE, MOVED);
    all.extend(more_shapes(WHOLE, MOVED));
    all
});

/// Vectors, the first ones and the later ones, and queries.
#[derive(Clone)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) dimension: usize,
    /// The components of all vectors.
    pub(crate) all: Vec<f32>,
    /// The number of first vectors.
    pub(crate) count: usize,
    pub(crate) queries: Vec<f32>,
}

/// The numbers of vectors and queries of a shape.
#[derive(Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) first: usize,
    pub(crate) later: usize,
    pub(crate) queries: usize,
}

impl Shape {
    /// Returns the number of vectors, without the queries.
    pub(crate) fn len(&self) -> usize {
        self.all.len() / self.dimension
    }

    pub(crate) fn first(&self) -> &[f32] {
        &self.all[..self.count * self.dimension]
    }

    pub(crate) fn later(&self) -> &[f32] {
        &self.all[self.count * self.dimension..]
    }

    pub(crate) fn of(
        name: &'static str,
        dimension: usize,
        seed: u64,
        counts: Counts,
        vector: impl Fn(&mut Normal) -> Vec<f32>,
    ) -> Self {
        let mut normal = Normal::new(seed);
        let mut some = |count: usize| (0..count).flat_map(|_| vector(&mut normal)).collect();
        let (all, queries) = (some(counts.first + counts.later), some(counts.queries));
        Self { name, dimension, all, count: counts.first, queries }
    }

    /// Returns a shape whose later vectors and queries are of another kind.
    pub(crate) fn moved(
        name: &'static str,
        dimension: usize,
        counts: Counts,
        first: impl Fn(&mut Normal) -> Vec<f32>,
        later: impl Fn(&mut Normal) -> Vec<f32>,
    ) -> Self {
        let mut normal = Normal::new(77);
        let mut all: Vec<f32> = (0..counts.first).flat_map(|_| first(&mut normal)).collect();
        all.extend((0..counts.later).flat_map(|_| later(&mut normal)));
        let queries = (0..counts.queries).flat_map(|_| later(&mut normal)).collect();
        Self { name, dimension, all, count: counts.first, queries }
    }
}

/// Returns a vector about one of the topics from `from` to `to`.
pub(crate) fn topic(
    normal: &mut Normal,
    dimension: usize,
    from: usize,
    to: usize,
    deviation: f32,
) -> Vec<f32> {
    let topic = from + normal.below(to - from);
    let mut centre = Normal::new(1000 + topic as u64);
    (0..dimension).map(|_| centre.next() + deviation * normal.next()).collect()
}

/// Returns shapes that any index must serve. Shapes whose later vectors are of another kind have `moved` vectors.
pub(crate) fn shapes(whole: Counts, moved: Counts) -> Vec<Shape> {
    let mut shapes = vec![
        Shape::of("normal", 32, 1, whole, |normal| normal.vector(32)),
        Shape::of("clustered", 32, 2, whole, |normal| topic(normal, 32, 0, 60, 0.1)),
        Shape::of("heavy-tailed lengths", 32, 3, whole, |normal| {
            let length = (2.0 * normal.next()).exp();
            normal.vector(32).iter().map(|x| x * length).collect()
        }),
        Shape::of("heavy-tailed components", 32, 4, whole, |normal| {
            (0..32).map(|_| normal.next() / normal.next().abs().max(1e-3)).collect()
        }),
        Shape::of("one-hot", 64, 5, whole, |normal| {
            let at = normal.below(64);
            (0..64).map(|i| if i == at { 1.0 } else { 0.0 }).collect()
        }),
        Shape::of("sparse", 100, 6, whole, |normal| {
            let mut vector = vec![0.0; 100];
            (0..4).for_each(|_| vector[normal.below(100)] = normal.next().abs() + 0.1);
            vector
        }),
        Shape::of("one component", 1, 7, whole, |normal| normal.vector(1)),
        Shape::of("two components", 2, 8, whole, |normal| normal.vector(2)),
        Shape::of("steep spectrum", 48, 9, whole, |normal| {
            (1..=48).map(|i| normal.next() * 10.0 / (i * i) as f32).collect()
        }),
        Shape::of("near copies", 32, 10, whole, |normal| {
            let mut centre = Normal::new(5000 + normal.below(250) as u64);
            (0..32).map(|_| centre.next() + 1e-4 * normal.next()).collect()
        }),
        Shape::of("mostly copies", 16, 11, whole, |normal| {
            if normal.below(10) < 9 { vec![0.5; 16] } else { normal.vector(16) }
        }),
        Shape::moved(
            "other topics later",
            32,
            moved,
            |n| topic(n, 32, 0, 3, 0.3),
            |n| topic(n, 32, 3, 60, 0.3),
        ),
        Shape::moved(
            "longer later",
            32,
            moved,
            |n| n.vector(32),
            |n| n.vector(32).iter().map(|x| x * 30.0).collect(),
        ),
        Shape::moved(
            "shorter later",
            32,
            moved,
            |n| n.vector(32),
            |n| n.vector(32).iter().map(|x| x * 0.03).collect(),
        ),
        Shape::moved(
            "another space later",
            32,
            moved,
            |n| (0..32).map(|i| if i < 16 { n.next() } else { 0.0 }).collect(),
            |n| (0..32).map(|i| if i < 16 { 0.0 } else { n.next() }).collect(),
        ),
    ];
    for (name, offset) in [("offset 30", 30.0), ("offset 300", 300.0), ("offset 10,000", 10_000.0)]
    {
        shapes.push(Shape::of(name, 32, 12, whole, move |normal| {
            let side = if normal.below(2) == 0 { offset } else { -offset };
            (0..32).map(|_| side + normal.next()).collect()
        }));
    }
    let mut short =
        Shape::of("short queries", 32, 13, whole, |normal| topic(normal, 32, 0, 50, 0.3));
    short.queries.iter_mut().for_each(|x| *x *= 0.01);
    shapes.push(short);
    let mut far = Shape::of("far queries", 32, 14, whole, |normal| topic(normal, 32, 0, 50, 0.3));
    far.queries.iter_mut().for_each(|x| *x *= 20.0);
    shapes.push(far);
    shapes
}

/// Returns the distance in double precision.
pub(crate) fn exact(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    match metric {
        Metric::InnerProduct => -inner(a, b),
        Metric::Cosine => 1.0 - inner(a, b) / (inner(a, a) * inner(b, b)).sqrt(),
        _ => sum(a, b, |a, b| (a - b) * (a - b)),
    }
}

/// Returns the inner product in double precision.
pub(crate) fn inner(a: &[f32], b: &[f32]) -> f64 {
    sum(a, b, |a, b| a * b)
}

/// Returns the sum of a term over all components, in parts that do not wait for one another.
fn sum(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut parts = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for (part, (&a, &b)) in parts.iter_mut().zip(a.iter().zip(b)) {
            *part += term(a.into(), b.into());
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(&a, &b)| term(a.into(), b.into()));
    parts.iter().sum::<f64>() + rest.sum::<f64>()
}

/// Returns the vector scaled to unit length.
pub(crate) fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    for x in &mut vector {
        *x /= length;
    }
    vector
}

/// Returns shapes that concern walks and the codes of single vectors: orders, lengths, and queries of another kind than the vectors.
fn more_shapes(whole: Counts, moved: Counts) -> Vec<Shape> {
    let mut shapes = vec![
        kinds(200, 24, whole.queries),
        sorted(40, whole),
        Shape::of("rank 3", 64, 31, whole, |n| {
            let (a, b, c) = (n.next(), n.next(), n.next());
            let mut basis = Normal::new(9000);
            (0..64).map(|_| a * basis.next() + b * basis.next() + c * basis.next()).collect()
        }),
        Shape::of("turned steep spectrum", 48, 32, whole, |n| {
            let parts: Vec<f32> = (1..=24).map(|i| n.next() / (i * i) as f32).collect();
            let mut basis = Normal::new(9001);
            (0..48).map(|_| parts.iter().map(|part| part * basis.next()).sum()).collect()
        }),
        Shape::of("few long", 48, 33, whole, |n| {
            let length = if n.below(500) == 0 { 100.0 } else { 1.0 };
            topic(n, 48, 0, 50, 0.5).iter().map(|x| x * length).collect()
        }),
        Shape::of("one great component", 32, 34, whole, |n| {
            let mut vector = n.vector(32);
            vector[7] += 1000.0;
            vector
        }),
        Shape::of("tiny", 32, 35, whole, |n| {
            topic(n, 32, 0, 60, 0.3).iter().map(|x| x * 1e-9).collect()
        }),
        Shape::of("huge", 32, 36, whole, |n| {
            topic(n, 32, 0, 60, 0.3).iter().map(|x| x * 1e9).collect()
        }),
        Shape::moved(
            "near copies first",
            32,
            moved,
            |n| {
                let mut centre = Normal::new(5000);
                (0..32).map(|_| centre.next() + 1e-4 * n.next()).collect()
            },
            |n| n.vector(32),
        ),
        Shape::moved(
            "narrow topics later",
            48,
            moved,
            |n| n.vector(48),
            |n| topic(n, 48, 0, 40, 0.03),
        ),
    ];
    for (name, deviation) in
        [("one topic first, .5", 0.5), ("one topic first, .3", 0.3), ("one topic first, .1", 0.1)]
    {
        shapes.push(Shape::moved(
            name,
            64,
            moved,
            move |n| topic(n, 64, 0, 1, deviation),
            move |n| topic(n, 64, 1, 40, deviation),
        ));
    }
    shapes.extend(with_other_queries(whole));
    shapes
}

/// Returns a shape of topics one after the other.
fn sorted(topics: usize, counts: Counts) -> Shape {
    let mut normal = Normal::new(30);
    let total = counts.first + counts.later;
    let all = (0..total)
        .flat_map(|i| topic(&mut normal, 48, i * topics / total, i * topics / total + 1, 0.3))
        .collect();
    let queries =
        (0..counts.queries).flat_map(|_| topic(&mut normal, 48, 0, topics, 0.3)).collect();
    Shape { name: "sorted", dimension: 48, all, count: counts.first, queries }
}

/// Returns one-hot vectors: `each` of every kind.
fn kinds(kinds: usize, each: usize, queries: usize) -> Shape {
    let one = |kind: usize| (0..kinds).map(move |i| if i == kind { 1.0 } else { 0.0 });
    let all: Vec<f32> = (0..kinds * each).flat_map(|i| one(i % kinds)).collect();
    let count = all.len() / 10 * 9 / kinds;
    let queries = (0..queries).flat_map(|i| one(i * 7 % kinds)).collect();
    Shape { name: "one-hot kinds", dimension: kinds, all, count, queries }
}

/// Returns shapes with queries of another length, or of another kind, than the vectors.
fn with_other_queries(counts: Counts) -> Vec<Shape> {
    type Make = fn(&mut Normal) -> Vec<f32>;
    let about: Make = |n| unit(topic(n, 64, 0, 50, 0.5));
    let shifted: Make = |n| n.vector(64).iter().enumerate().map(|(i, x)| x + aside(i)).collect();
    let times = |name, factor: f32| {
        let mut shape = Shape::of(name, 64, 40, counts, about);
        shape.queries.iter_mut().for_each(|x| *x *= factor);
        shape
    };
    let asked = |name, vectors: Make, queries: Make| {
        let mut shape = Shape::of(name, 64, 41, counts, vectors);
        let mut normal = Normal::new(42);
        shape.queries = (0..counts.queries).flat_map(|_| queries(&mut normal)).collect();
        shape
    };
    vec![
        times("queries times .003", 0.003),
        times("queries times .02", 0.02),
        times("queries times 10", 10.0),
        times("queries times 100", 100.0),
        asked("queries of other topics", about, |n| unit(topic(n, 64, 60, 99, 0.5))),
        asked("queries without topics", about, |n| n.vector(64)),
        asked("queries on the other side", shifted, |n| {
            n.vector(64).iter().enumerate().map(|(i, x)| x - aside(i)).collect()
        }),
        asked("queries far beyond", shifted, |n| n.vector(64).iter().map(|x| 30.0 * x).collect()),
        asked("queries of one component", about, |n| {
            let at = n.below(64);
            (0..64).map(|i| if i == at { 1.0 } else { 0.0 }).collect()
        }),
        asked(
            "spiky queries",
            |n| n.vector(64),
            |n| n.vector(64).iter().map(|x| x * x * x).collect(),
        ),
    ]
}

/// Returns the offset of a component from the origin.
fn aside(component: usize) -> f32 {
    if component < 16 { 3.0 } else { 0.0 }
}
