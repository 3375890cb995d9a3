//! Properties of mixtures that their figures promise.

use super::spectrum::LEADING;
use super::*;
use crate::vector::{AsVector, VectorRef};

const KINDS: [Spectrum; 3] = [Spectrum::Text, Spectrum::Sentences, Spectrum::Terms];

fn floats(vectors: &Vectors) -> &[f32] {
    let VectorRef::F32(data) = vectors.as_vector() else { panic!("floats") };
    data
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Returns the mean of the rows.
fn mean(rows: &[f32], dimension: usize) -> Vec<f32> {
    let mut mean = vec![0.0; dimension];
    for row in rows.chunks_exact(dimension) {
        for (sum, x) in mean.iter_mut().zip(row) {
            *sum += x;
        }
    }
    let count = (rows.len() / dimension) as f32;
    mean.into_iter().map(|sum| sum / count).collect()
}

#[test]
fn names_are_read_back() {
    for kind in KINDS.into_iter().chain([Spectrum::Flat]) {
        assert_eq!(kind.to_string().parse::<Spectrum>().unwrap(), kind);
    }
    let error = "Text".parse::<Spectrum>().unwrap_err();
    assert!(error.to_string().contains("'Text'; allowed: flat, text"), "{error}");
}

#[test]
fn leading_components_and_the_mean_have_their_shares() {
    for (kind, dimension) in
        [(Spectrum::Text, 768), (Spectrum::Sentences, 384), (Spectrum::Terms, 512)]
    {
        let shape = kind.shape().unwrap();
        let deviations = shape.deviations(dimension).unwrap();
        let all: f32 = deviations.iter().map(|x| x * x).sum();
        let leading: f32 = deviations[..LEADING].iter().map(|x| x * x).sum();
        assert!((all - 1.0).abs() < 1e-4 && (leading - shape.leading).abs() < 1e-4, "{kind}");

        // The vectors themselves, along the axes that the rotation hides.
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(4);
        let model = Mixture::new(dimension, shape, &mut rng).unwrap();
        let drawn = model.draw(2000, 9, 0.0).unwrap();
        let rows = floats(&drawn);
        let mean = mean(rows, dimension);
        let axes: Vec<Vec<f32>> = (0..LEADING).map(|axis| model.axis(axis)).collect();
        let (mut all, mut leading) = (0.0, 0.0);
        for row in rows.chunks_exact(dimension) {
            let centred: Vec<f32> = row.iter().zip(&mean).map(|(x, m)| x - m).collect();
            all += dot(&centred, &centred);
            leading += axes.iter().map(|axis| dot(&centred, axis).powi(2)).sum::<f32>();
        }
        let share = leading / all;
        assert!((share - shape.leading).abs() < 0.05, "{kind}: {share}");
        // Centres of clusters have a mean of their own.
        let share = dot(&mean, &mean);
        assert!((share - shape.mean).abs() < 0.05, "{kind}: {share}");
    }
}

#[test]
fn vectors_are_the_same_on_any_number_of_threads() {
    for kind in KINDS {
        let build = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let builder = Generated::builder(700, 200).queries(300).spectrum(kind).seed(3);
            pool.install(|| builder.query_shift(0.2).build()).unwrap()
        };
        let (one, three) = (build(1), build(3));
        assert_eq!(floats(one.base()), floats(three.base()));
        assert_eq!(floats(one.queries()), floats(three.queries()));
        for row in floats(one.base()).chunks_exact(200) {
            assert!((dot(row, row) - 1.0).abs() < 1e-5);
        }
        assert_ne!(floats(one.base())[..200], floats(one.queries())[..200]);
    }
}

#[test]
fn vectors_are_the_same_on_every_machine() {
    let set = Generated::builder(50, 150).spectrum(Spectrum::Terms).queries(1).build().unwrap();
    // FNV-1a.
    let bytes = floats(set.base()).iter().flat_map(|x| x.to_bits().to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    assert_eq!(hash, 0xb6e3_a409_73b7_6aad, "{hash:#018x}");
}

#[test]
fn every_dimension_has_vectors() {
    for dimension in [1, 2, 3, 100, 128, 129, 1000] {
        for kind in KINDS {
            let builder = Generated::builder(20, dimension).spectrum(kind).queries(3).clusters(7);
            let set = builder.build().unwrap();
            assert_eq!((set.base().len(), set.base().dimension()), (20, dimension));
            assert!(floats(set.base()).iter().all(|x| x.is_finite()), "{kind} {dimension}");
        }
    }
}

/// Returns the skewness of the number of vectors that have each vector among their ten nearest.
fn occurrence_skew(rows: &[f32], dimension: usize) -> f64 {
    let count = rows.len() / dimension;
    let mut occurrences = vec![0_u32; count];
    for (i, a) in rows.chunks_exact(dimension).enumerate() {
        let products = rows.chunks_exact(dimension).map(|b| dot(a, b)).enumerate();
        let mut near: Vec<(usize, f32)> = products.filter(|&(j, _)| i != j).collect();
        near.select_nth_unstable_by(9, |a, b| b.1.total_cmp(&a.1));
        for &(neighbour, _) in &near[..10] {
            occurrences[neighbour] += 1;
        }
    }
    let deviations = occurrences.iter().map(|&count| f64::from(count) - 10.0);
    let moment = |power| deviations.clone().map(|x| x.powi(power)).sum::<f64>() / count as f64;
    moment(3) / moment(2).powf(1.5)
}

#[test]
fn hubs_are_neighbours_of_many() {
    for (kind, least) in [(Spectrum::Text, 1.0), (Spectrum::Terms, 2.0)] {
        let set = Generated::builder(2000, 128).spectrum(kind).queries(1).build().unwrap();
        let skew = occurrence_skew(floats(set.base()), 128);
        assert!(skew > least, "{kind}: {skew}");
    }
}

#[test]
fn shifted_queries_have_another_mean_and_are_refused_where_unknown() {
    let builder = || Generated::builder(2000, 128).spectrum(Spectrum::Sentences).queries(2000);
    let apart = |shift| {
        let set = builder().query_shift(shift).build().unwrap();
        let (a, b) = (mean(floats(set.base()), 128), mean(floats(set.queries()), 128));
        a.iter().zip(&b).map(|(x, y)| (x - y).powi(2)).sum::<f32>().sqrt()
    };
    let (same, other) = (apart(0.0), apart(0.3));
    assert!(same < 0.1 && other > 0.25, "{same} {other}");
    for builder in [
        builder().query_shift(1.5),
        builder().query_shift(-0.1),
        builder().query_shift(f32::NAN),
        Generated::builder(9, 4).query_shift(0.5),
    ] {
        let error = builder.build().unwrap_err();
        assert!(matches!(error, DatasetError::Argument { name: "query_shift", .. }), "{error:?}");
    }
}
