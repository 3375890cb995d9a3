//! Recall on data of many shapes: with the vectors kept or rounded, a search by codes finds the answers of a search without codes,
//! for any shape, metric, element, codes, and order of insertion.
//!
//! Each 7507th case of the whole product is run, and each 211th in the gate. `NEARFIELD_SHAPES=all` runs every case, `NEARFIELD_SHAPES=10`
//! each tenth, and `NEARFIELD_SHAPES_LIKE` only cases whose names have all of its words.

use std::sync::Mutex;
use std::time::Instant;

use nearfield::{
    BatchHits, Collection, Element, Hnsw, IndexError, Metric, Originals, Quantization,
};
use rayon::prelude::*;

use crate::data::{METRICS, SHAPES, Shape};
use crate::support::files::Folder;
use crate::truth::{Truth, rounding, truth_of};

const EF: usize = 64;

/// The default step from one case to the next: prime to the sides of the product.
const STRIDE: usize = 7507;

/// The allowed loss of recall against a search without codes.
const LESS: f64 = 0.02;

const ELEMENTS: [Element; 3] = [Element::F32, Element::F16, Element::Bf16];

/// The order in which vectors are inserted into an index.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// All in one batch.
    AtOnce,
    /// The first in a batch, the later ones one by one.
    LaterOneByOne,
    /// One by one.
    OneByOne,
    /// The first in a batch, then through a file, the later ones one by one, and through a file again.
    ThroughFiles,
    /// In transactions of a collection, which is opened again.
    Collection,
}

const WAYS: [Way; 5] =
    [Way::AtOnce, Way::LaterOneByOne, Way::OneByOne, Way::ThroughFiles, Way::Collection];

#[derive(Debug, Clone, Copy)]
enum Codes {
    Auto,
    Sq8,
    Sq4,
    Rabitq(u32),
    /// Product quantization by bits, with a sub-vector for each two components of 4 bits and each four of 8.
    Pq(u32),
}

const CODES: [Codes; 8] = [
    Codes::Auto,
    Codes::Sq8,
    Codes::Sq4,
    Codes::Rabitq(1),
    Codes::Rabitq(2),
    Codes::Rabitq(4),
    Codes::Pq(4),
    Codes::Pq(8),
];

const ORIGINALS: [Originals; 3] = [Originals::Kept, Originals::Sq12, Originals::Sq8];

impl Codes {
    fn quantization(self, dimension: usize) -> Quantization {
        match self {
            Self::Auto => Quantization::Auto,
            Self::Sq8 => Quantization::Sq8,
            Self::Sq4 => Quantization::Sq4,
            Self::Rabitq(bits) => Quantization::Rabitq { bits },
            Self::Pq(bits) => {
                Quantization::Pq { sub_vectors: dimension.div_ceil(bits as usize / 2), bits }
            }
        }
    }
}

/// A case of the product.
#[derive(Clone, Copy)]
struct Case {
    /// The place of the shape among all.
    place: usize,
    shape: &'static Shape,
    metric: Metric,
    element: Element,
    codes: Option<Codes>,
    originals: Originals,
    way: Way,
}

impl Case {
    fn name(&self) -> String {
        let codes = self.codes.map_or("no codes".to_owned(), |codes| format!("{codes:?}"));
        let Self { shape, metric, element, originals, way, .. } = self;
        format!("{} | {metric} {element} {codes} {originals:?} {way:?}", shape.name)
    }

    fn quantization(&self) -> Quantization {
        let codes = self.codes.map(|codes| codes.quantization(self.shape.dimension));
        codes.unwrap_or(Quantization::None)
    }

    /// Returns whether such an index can be built.
    fn is_real(&self) -> bool {
        let Self { shape, element, .. } = *self;
        let codes = self.codes.map(|codes| (codes, shape.dimension < 32));
        if matches!(codes, Some((Codes::Auto, true))) && self.originals != Originals::Kept {
            return false;
        }
        // Half precision cannot represent the components, or keeps almost no digits of them.
        element != Element::F16
            || shape
                .all
                .iter()
                .chain(&shape.queries)
                .all(|x| x.abs() < 6e4 && (*x == 0.0 || x.abs() > 1e-7))
                && shape.first().iter().any(|x| x.abs() > 1e-2)
    }

    /// Returns the share of the queries' neighbours that a search finds, one by one or in a batch, whichever is less.
    fn recall(&self, truth: &Truth<'_>, folder: &Folder, number: usize) -> f64 {
        let Self { shape, .. } = *self;
        let (one_by_one, at_once) = if self.way == Way::Collection {
            let path = folder.file(&format!("{number}.nf"));
            let collection = self.collection(&path);
            let hits = answers(shape, |query| Ok(collection.search(query).ef(EF).run()?.to_vec()));
            let batch = collection.search_batch(&shape.queries).ef(EF).run().unwrap();
            drop(collection);
            std::fs::remove_file(path).unwrap();
            (hits, batch)
        } else {
            let index = self.index(folder, number);
            let report = index.check();
            assert!(report.is_ok(), "{}: {report}", self.name());
            let hits = answers(shape, |query| Ok(index.search(query).ef(EF).run()?.to_vec()));
            (hits, index.search_batch(&shape.queries).ef(EF).run().unwrap())
        };
        let share = rounding(self.originals);
        let recall = |found: &[Vec<u64>]| truth.recall_of_rounded(found, share);
        recall(&one_by_one).min(recall(&keys_of(&at_once)))
    }

    fn index(&self, folder: &Folder, number: usize) -> Hnsw {
        let Self { shape, .. } = *self;
        let builder = Hnsw::builder(shape.dimension, self.metric).element(self.element);
        let builder = builder.quantization(self.quantization()).originals(self.originals);
        let mut index = builder.build().unwrap();
        let keys: Vec<u64> = (0..shape.len() as u64).collect();
        let count = shape.count;
        let batch = |index: &Hnsw, keys: &[u64], vectors: &[f32]| {
            index.insert_batch(keys, vectors).threads(1).run().unwrap();
        };
        let one_by_one = |index: &Hnsw, keys: &[u64], vectors: &[f32]| {
            for (&key, vector) in keys.iter().zip(vectors.chunks(shape.dimension)) {
                index.insert(key, vector).unwrap();
            }
        };
        let through_file = |index: Hnsw| {
            let path = folder.file(&format!("{number}.nf"));
            index.save(&path).unwrap();
            let index = Hnsw::load(&path).unwrap();
            std::fs::remove_file(path).unwrap();
            index
        };
        match self.way {
            Way::AtOnce => batch(&index, &keys, &shape.all),
            Way::OneByOne => one_by_one(&index, &keys, &shape.all),
            _ => {
                batch(&index, &keys[..count], shape.first());
                if self.way == Way::ThroughFiles {
                    index = through_file(index);
                }
                one_by_one(&index, &keys[count..], shape.later());
                if self.way == Way::ThroughFiles {
                    index = through_file(index);
                }
            }
        }
        index
    }

    fn collection(&self, path: &std::path::Path) -> Collection {
        let Self { shape, .. } = *self;
        let config = Collection::builder(shape.dimension, self.metric).element(self.element);
        let config = config.quantization(self.quantization()).originals(self.originals);
        let config = config.log_size(4 << 20).page_size(4096);
        let collection = config.clone().create(path).unwrap();
        let mut key = 0;
        for part in [shape.first(), shape.later()] {
            let mut tx = collection.begin_write().unwrap();
            for vector in part.chunks(shape.dimension) {
                tx.upsert(key, vector).unwrap();
                key += 1;
            }
            tx.commit().unwrap();
        }
        collection.close().unwrap();
        config.open(path).unwrap()
    }
}

fn answers(
    shape: &Shape,
    search: impl Fn(&[f32]) -> Result<Vec<nearfield::Hit>, IndexError>,
) -> Vec<Vec<u64>> {
    let keys = |query| search(query).unwrap().iter().map(|hit| hit.key).collect();
    shape.queries.chunks(shape.dimension).map(keys).collect()
}

fn keys_of(hits: &BatchHits) -> Vec<Vec<u64>> {
    hits.iter().map(|hits| hits.iter().map(|hit| hit.key).collect()).collect()
}

fn product() -> Vec<Case> {
    let mut cases = Vec::new();
    for (place, shape) in SHAPES.iter().enumerate() {
        for originals in ORIGINALS {
            for codes in CODES {
                for way in WAYS {
                    for element in ELEMENTS {
                        for metric in METRICS {
                            let codes = Some(codes);
                            let case =
                                Case { place, shape, metric, element, codes, originals, way };
                            cases.push(case);
                        }
                    }
                }
            }
        }
    }
    cases
}

#[test]
fn codes_find_on_any_shape_what_is_found_without() {
    let stride = match std::env::var("NEARFIELD_SHAPES") {
        Ok(all) if all == "all" => 1,
        Ok(number) => number.parse().expect("`all`, or a number"),
        Err(_) => STRIDE,
    };
    let like = std::env::var("NEARFIELD_SHAPES_LIKE").unwrap_or_default();
    let folder = Folder::new("shapes");
    let cases: Vec<_> = product()
        .into_iter()
        .enumerate()
        .filter(|(number, case)| {
            number % stride == 0
                && case.is_real()
                && like.split_whitespace().all(|word| case.name().contains(word))
        })
        .collect();
    let missed = Mutex::new(Vec::new());
    let began = Instant::now();
    cases.par_iter().for_each(|&(number, case)| {
        let of_element;
        let truth = if case.element == Element::F32 {
            truth_of(case.place, case.metric)
        } else {
            of_element = Truth::new(case.shape, case.metric, case.element);
            &of_element
        };
        let found = case.recall(truth, &folder, number);
        if found >= 1.0 - LESS {
            return;
        }
        let plain = Case { codes: None, originals: Originals::Kept, ..case };
        let of_plain = plain.recall(truth, &folder, number);
        if found < of_plain - LESS {
            missed.lock().unwrap().push(format!("{}: {found:.3} of {of_plain:.3}", case.name()));
        }
    });
    let mut missed = missed.into_inner().unwrap();
    missed.sort();
    println!("{} cases, {:.1} s", cases.len(), began.elapsed().as_secs_f64());
    assert!(missed.is_empty(), "{} of {}:\n{}", missed.len(), cases.len(), missed.join("\n"));
}
