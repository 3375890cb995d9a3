//! Damaged files of inverted-file indexes: every byte is checked before it is used.
//!
//! `NEARFIELD_DAMAGES=20000 cargo test --release --test ivf damage::` makes a longer run.

use std::path::Path;

use nearfield::store::{ExtentId, StoreOptions, WriteTransaction};
use nearfield::{CollectionError, Hnsw, IndexError, Ivf, Metric, Originals, Quantization};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt, SeedableRng};

use crate::support::collections::vector;
use crate::support::files::Folder;

const DIMENSION: usize = 6;
const ROWS: u64 = 400;
const LISTS: usize = 9;

/// Numbers of columns, as `FORMAT.md` gives them.
const KEYS: u32 = 0;
const VECTORS: u32 = 1;
const CODES: u32 = 2;
const TERMS: u32 = 3;
const LENGTHS: u32 = 4;
const CENTROIDS: u32 = 5;
const FIGURES: u32 = 6;
const BASES: u32 = 7;
const BASE_OF_LISTS: u32 = 8;

fn damages() -> usize {
    std::env::var("NEARFIELD_DAMAGES").ok().and_then(|n| n.parse().ok()).unwrap_or(300)
}

/// Returns a trained index; odd sub-vectors leave places in its packed codes unused.
fn index(metric: Metric, quantization: Quantization, originals: Originals) -> Ivf {
    let index = Ivf::builder(DIMENSION, metric).lists(LISTS);
    let index = index.quantization(quantization).originals(originals).build().unwrap();
    let vectors: Vec<f32> = (0..ROWS).flat_map(|key| vector(key, 0, DIMENSION)).collect();
    index.insert_batch(&(0..ROWS).collect::<Vec<_>>(), &vectors).threads(1).run().unwrap();
    assert!(index.is_trained());
    index
}

fn kinds() -> [(Metric, Quantization, Originals); 5] {
    [
        (Metric::L2, Quantization::None, Originals::Kept),
        (Metric::L2, Quantization::Pq { sub_vectors: 5, bits: 4 }, Originals::Kept),
        (Metric::InnerProduct, Quantization::Pq { sub_vectors: 5, bits: 4 }, Originals::Dropped),
        (Metric::Cosine, Quantization::Rabitq { bits: 4 }, Originals::Kept),
        (Metric::Cosine, Quantization::Rabitq { bits: 1 }, Originals::Dropped),
    ]
}

/// Uses an index in every way; its answers do not matter.
fn exercise(index: &Ivf) {
    let dimension = index.dimension();
    if dimension > 4 * DIMENSION {
        return;
    }
    for key in 0..12 {
        let query = vector(key * 31, 0, dimension);
        let _ = index.search(&query).k(10).run();
        let _ = index.search(&query).k(10).within(0.5).run();
        let _ = index.search(&query).k(3).filter(&|key| key % 2 == 0).run();
        let _ = index.get(key * 31);
    }
    let queries: Vec<f32> = (0..8).flat_map(|key| vector(key, 0, dimension)).collect();
    let _ = index.search_batch(&queries).k(5).nprobe(3).threads(1).run();
    for key in 0..8 {
        let _ = index.insert((1 << 50) + key, &vector(key, 3, dimension));
        let _ = index.upsert(key, &vector(key, 4, dimension));
        let _ = index.remove(key + 20);
    }
    let _ = index.check();
    let _ = index.stats();
    let _ = index.train();
    let _ = index.search(&vector(9, 0, dimension)).k(10).run();
}

#[test]
fn damaged_bytes_are_seen() {
    let folder = Folder::new("ivf-damage");
    let path = folder.file("index.nf");
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let queries: Vec<f32> = (0..5).flat_map(|key| vector(key, 1, DIMENSION)).collect();
    for (metric, quantization, originals) in kinds() {
        let index = index(metric, quantization, originals);
        index.save(&path).unwrap();
        let answers = index.search_batch(&queries).k(10).run().unwrap();
        let image = std::fs::read(&path).unwrap();
        let mut refused = 0;
        for round in 0..damages() {
            let mut bytes = image.clone();
            if round % 4 == 0 {
                bytes.truncate(random.random_range(0..bytes.len()));
            } else {
                for _ in 0..random.random_range(1..6) {
                    let at = random.random_range(0..bytes.len());
                    let end = (at + random.random_range(1..8192)).min(bytes.len());
                    match random.random_range(0..3) {
                        0 => bytes[at] ^= 1 << random.random_range(0..8),
                        1 => bytes[at..end].fill(0),
                        _ => random.fill_bytes(&mut bytes[at..end]),
                    }
                }
            }
            std::fs::write(&path, &bytes).unwrap();
            // The load reports the damage, or the damaged byte is in unused space.
            match Ivf::load(&path) {
                Ok(again) => {
                    assert_eq!(again.search_batch(&queries).k(10).run().unwrap(), answers);
                }
                Err(_) => refused += 1,
            }
        }
        println!("{quantization:?}: {refused} of {} refused", damages());
        assert!(refused > damages() / 4);
    }
}

/// Returns the extent of the first chunk of a column, and its length.
fn extent(tx: &mut WriteTransaction, column: u32) -> Option<(ExtentId, u64)> {
    let table = tx.table::<u64>("columns").unwrap();
    let entry = table.get(u64::from(column) << 32).unwrap()?;
    let word = |at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().unwrap());
    Some((ExtentId(word(0)), word(8)))
}

/// Changes the file behind the checksums.
fn edit(path: &Path, change: impl FnOnce(&mut WriteTransaction)) {
    let store = StoreOptions::new().open(path).unwrap();
    let mut tx = store.begin_write().unwrap();
    change(&mut tx);
    tx.commit().unwrap();
}

fn write_column(tx: &mut WriteTransaction, column: u32, at: u64, bytes: &[u8]) {
    let (extent, _) = extent(tx, column).unwrap();
    tx.write_extent(extent, at, bytes).unwrap();
}

fn write_record(tx: &mut WriteTransaction, name: &str, at: usize, bytes: &[u8]) {
    let mut table = tx.table::<str>("nearfield").unwrap();
    let mut record = table.get(name).unwrap().unwrap().to_vec();
    record[at..at + bytes.len()].copy_from_slice(bytes);
    table.insert(name, &record).unwrap();
}

#[test]
fn contradictions_are_told() {
    type Change = fn(&mut WriteTransaction);
    type About = fn(Quantization, Originals) -> bool;
    const SETTINGS: &str = "settings";
    const DIRECTORY: &str = "directory";
    const WATCHED: &str = "watched";

    // The change, the expected words of the error, and the kinds of index to which it applies.
    let all: About = |_, _| true;
    let coded: About = |q, _| q != Quantization::None;
    let packed: About = |q, _| q == Quantization::Pq { sub_vectors: 5, bits: 4 };
    let plain: About = |q, _| matches!(q, Quantization::Rabitq { bits: 1 | 4 });
    let kept: About = |_, o| o == Originals::Kept;
    let changes: [(Change, &str, About); 46] = [
        (|tx| write_record(tx, SETTINGS, 4, &[7]), "the kind of index is unknown", all),
        (|tx| write_record(tx, SETTINGS, 5, &[9]), "the metric is unknown", all),
        (|tx| write_record(tx, SETTINGS, 6, &[9]), "the element type is unknown", all),
        // The quantization of a graph with codes.
        (|tx| write_record(tx, SETTINGS, 7, &[2]), "the quantization is unknown", all),
        (
            |tx| write_record(tx, SETTINGS, 7, &[0]),
            "there are codes where none are expected",
            coded,
        ),
        (|tx| write_record(tx, SETTINGS, 7, &[7]), "the quantizer is none for this index", coded),
        (|tx| write_record(tx, SETTINGS, 8, &[7]), "the quantizer is none for this index", coded),
        (|tx| write_record(tx, SETTINGS, 24, &[4]), "the quantizer is none for this index", packed),
        (
            |tx| write_record(tx, DIRECTORY, 36, &[0; 8]),
            "the quantizer is none for this index",
            coded,
        ),
        (|tx| write_record(tx, DIRECTORY, 60, &[9]), "the quantizer is none for this index", coded),
        (
            |tx| {
                let mut table = tx.table::<str>("nearfield").unwrap();
                let record = table.get(DIRECTORY).unwrap().unwrap()[..36].to_vec();
                table.insert(DIRECTORY, &record).unwrap();
            },
            "the quantizer is missing",
            coded,
        ),
        (
            |tx| _ = tx.table::<str>("nearfield").unwrap().remove(DIRECTORY).unwrap(),
            "the record of the lists is missing",
            all,
        ),
        (|tx| write_record(tx, DIRECTORY, 0, &[8]), "the number of lists is not that", all),
        (
            |tx| write_record(tx, DIRECTORY, 0, &[255; 4]),
            "the number of lists is out of range",
            all,
        ),
        (|tx| write_record(tx, DIRECTORY, 4, &[1]), "the number of vectors is not that", all),
        (|tx| write_record(tx, DIRECTORY, 4, &[255; 8]), "the number of vectors is not that", all),
        (|tx| write_record(tx, DIRECTORY, 20, &[255; 8]), "a count of the lists is out", all),
        (
            |tx| write_record(tx, DIRECTORY, 28, &f64::NAN.to_le_bytes()),
            "a count of the lists is out",
            all,
        ),
        (|tx| write_column(tx, LENGTHS, 0, &[255; 4]), "the number of vectors is not that", all),
        (
            // The number of vectors is right, but their lists are not: four billion less one, and one.
            |tx| {
                let lengths = [u32::MAX, 0, 0, 0, 0, 0, 0, 0, 0].map(u32::to_le_bytes).concat();
                write_column(tx, LENGTHS, 0, &lengths);
                write_record(tx, DIRECTORY, 4, &u64::from(u32::MAX).to_le_bytes());
            },
            "a chunk has another length than its lists",
            all,
        ),
        (
            |tx| write_column(tx, CENTROIDS, 64, &f32::NAN.to_le_bytes()),
            "a centroid is not finite",
            all,
        ),
        (
            |tx| write_column(tx, CENTROIDS, 68, &f32::INFINITY.to_le_bytes()),
            "a centroid is not finite",
            all,
        ),
        (
            // The first key again, next to itself;
            |tx| {
                let bytes = 3_u64.to_le_bytes();
                write_column(tx, KEYS, 0, &[bytes, bytes].concat());
            },
            "a key is there twice",
            all,
        ),
        (
            // and in another list.
            |tx| {
                write_column(tx, KEYS, 0, &u64::MAX.to_le_bytes());
                write_column(tx, KEYS, 8 * (ROWS - 1), &u64::MAX.to_le_bytes());
            },
            "a key is there twice",
            all,
        ),
        (
            |tx| write_column(tx, VECTORS, 64 * 77, &f32::NAN.to_le_bytes()),
            "a vector is none for this index",
            kept,
        ),
        // A vector beyond the range of the codes.
        (
            |tx| write_column(tx, VECTORS, 64 * 77, &1e20_f32.to_le_bytes()),
            "a vector is none for this index",
            |q, o| q != Quantization::None && o == Originals::Kept,
        ),
        (
            |tx| write_column(tx, VECTORS, 64 * 78 - 1, &[1]),
            "a vector is none for this index",
            kept,
        ),
        (
            |tx| write_column(tx, TERMS, 44, &f32::NEG_INFINITY.to_le_bytes()),
            "the term of a code is out of range",
            coded,
        ),
        // The last four bytes of a code are its product with the centre.
        (
            |tx| {
                let (extent, len) = extent(tx, CODES).unwrap();
                tx.write_extent(extent, len - 4, &f32::NAN.to_le_bytes()).unwrap();
            },
            "a code is none of the quantizer's",
            plain,
        ),
        // The packed codes have two steps of four sub-vectors each for five sub-vectors: places beyond the fifth,
        (|tx| write_column(tx, CODES, 64 + 16, &[1]), "a code is none of the quantizer's", packed),
        // and places beyond the last code of the last block, which is not full.
        (
            |tx| {
                let (extent, len) = extent(tx, CODES).unwrap();
                tx.write_extent(extent, len - 128 + 15, &[0x10]).unwrap();
            },
            "a code is none of the quantizer's",
            packed,
        ),
        (
            |tx| {
                let key = u64::from(KEYS) << 32;
                tx.table::<u64>("columns").unwrap().remove(key).unwrap();
            },
            "a chunk of a column is missing",
            all,
        ),
        (
            |tx| {
                let key = u64::from(CENTROIDS) << 32;
                tx.table::<u64>("columns").unwrap().remove(key).unwrap();
            },
            "a chunk of a column is missing",
            all,
        ),
        (|tx| _ = tx.drop_table("columns").unwrap(), "the table of the columns is missing", all),
        (
            |tx| {
                let (extent, len) = extent(tx, KEYS).unwrap();
                let entry = [extent.0.to_le_bytes(), (len + 8).to_le_bytes()].concat();
                let mut table = tx.table::<u64>("columns").unwrap();
                table.insert(u64::from(KEYS) << 32, &entry).unwrap();
            },
            "a chunk has another length than its extent",
            all,
        ),
        (
            |tx| _ = tx.table::<str>("nearfield").unwrap().remove(WATCHED).unwrap(),
            "the record of what is watched is missing",
            coded,
        ),
        (|tx| write_record(tx, WATCHED, 0, &[255; 8]), "a count of the lists is out", all),
        (|tx| write_record(tx, WATCHED, 16, &[255; 4]), "a count of the lists is out", all),
        // A factor that no training finds.
        (
            |tx| write_record(tx, WATCHED, 24, &1e9_f32.to_le_bytes()),
            "a count of the lists is out",
            all,
        ),
        (
            |tx| write_column(tx, FIGURES, 24 + 8, &f64::INFINITY.to_le_bytes()),
            "the figures of a list are out of range",
            coded,
        ),
        (
            |tx| write_column(tx, FIGURES, 16, &(-1.0_f64).to_le_bytes()),
            "the figures of a list are out of range",
            coded,
        ),
        (
            |tx| write_column(tx, BASES, 4, &f32::NAN.to_le_bytes()),
            "the bases of the lists do not fit them",
            coded,
        ),
        (
            |tx| write_column(tx, BASE_OF_LISTS, 4, &9_u32.to_le_bytes()),
            "the bases of the lists do not fit them",
            coded,
        ),
        (
            // The extent of another column.
            |tx| {
                let (extent, len) = extent(tx, BASES).unwrap();
                let entry = [extent.0.to_le_bytes(), len.to_le_bytes()].concat();
                let mut table = tx.table::<u64>("columns").unwrap();
                table.insert(u64::from(BASE_OF_LISTS) << 32, &entry).unwrap();
            },
            "the bases of the lists do not fit them",
            coded,
        ),
        (
            // The extent of another column.
            |tx| {
                let (extent, len) = extent(tx, LENGTHS).unwrap();
                let entry = [extent.0.to_le_bytes(), len.to_le_bytes()].concat();
                let mut table = tx.table::<u64>("columns").unwrap();
                table.insert(u64::from(KEYS) << 32, &entry).unwrap();
            },
            "a chunk has another length than its lists",
            all,
        ),
        (
            |tx| {
                let mut table = tx.table::<u64>("columns").unwrap();
                table.insert(u64::from(KEYS) << 32, &[1; 15]).unwrap();
            },
            "a record is too short",
            all,
        ),
    ];

    let folder = Folder::new("ivf-contradictions");
    let path = folder.file("index.nf");
    for (metric, quantization, originals) in kinds() {
        let index = index(metric, quantization, originals);
        index.save(&path).unwrap();
        let image = std::fs::read(&path).unwrap();
        for (number, (change, reason, about)) in changes.iter().enumerate() {
            if !about(quantization, originals) {
                continue;
            }
            std::fs::write(&path, &image).unwrap();
            edit(&path, change);
            let error = Ivf::load(&path).unwrap_err();
            assert!(matches!(error, CollectionError::Corrupt { .. }), "{number}: {error}");
            let told = error.to_string();
            let start = format!("{} is damaged: {reason}", path.display());
            assert!(told.starts_with(&start), "{number}: {told}");
        }
        // Changes that have their own error.
        let told = |change: Change| {
            std::fs::write(&path, &image).unwrap();
            edit(&path, change);
            Ivf::load(&path).unwrap_err()
        };
        let error = told(|tx| write_record(tx, SETTINGS, 0, &[3]));
        assert!(
            matches!(error, CollectionError::Version { found: 3, supported: 1, .. }),
            "{error}"
        );
        let error = told(|tx| write_record(tx, SETTINGS, 4, &[1]));
        assert!(matches!(error, CollectionError::Kind { .. }), "{error}");
        // The file does not load as a graph now either.
        let refused = Hnsw::load(&path);
        let has_codes = quantization != Quantization::None;
        assert!(match refused {
            Err(CollectionError::Version { found: 2, supported: 1, .. }) => has_codes,
            Err(CollectionError::Corrupt { .. }) => !has_codes,
            _ => false,
        });
        let parameters: [Change; 4] = [
            |tx| write_record(tx, SETTINGS, 8, &[0; 4]),
            |tx| write_record(tx, SETTINGS, 8, &[255; 4]),
            |tx| write_record(tx, SETTINGS, 12, &[255; 4]),
            |tx| write_record(tx, SETTINGS, 24, &[200]),
        ];
        for change in parameters {
            let error = told(change);
            let is_parameter =
                matches!(error, CollectionError::Index(IndexError::Parameter { .. }));
            assert!(is_parameter, "{error}");
        }
        let error = told(|tx| write_record(tx, SETTINGS, 5, &[4]));
        let is_unsupported =
            matches!(error, CollectionError::Index(IndexError::Unsupported { .. }));
        assert!(is_unsupported, "{error}");
        // Numbers that only time the next training may have any value.
        std::fs::write(&path, &image).unwrap();
        edit(&path, |tx| write_record(tx, DIRECTORY, 12, &[0; 8]));
        let again = Ivf::load(&path).unwrap();
        exercise(&again);
        assert!(again.check().is_ok());
    }
}

#[test]
#[ignore = "long: `just test-all`"]
fn damaged_records_and_columns_do_no_harm() {
    let folder = Folder::new("ivf-records");
    let path = folder.file("index.nf");
    let mut random = Xoshiro256PlusPlus::seed_from_u64(2);
    let (mut loaded, mut refused) = (0, 0);
    for (metric, quantization, originals) in kinds() {
        index(metric, quantization, originals).save(&path).unwrap();
        let image = std::fs::read(&path).unwrap();
        for _ in 0..damages() / 2 {
            std::fs::write(&path, &image).unwrap();
            edit(&path, |tx| damage(tx, &mut random));
            match Ivf::load(&path) {
                Ok(index) => {
                    exercise(&index);
                    loaded += 1;
                }
                Err(_) => refused += 1,
            }
        }
    }
    println!("{loaded} loaded, {refused} refused");
    assert!(loaded > 0 && refused > loaded);
}

/// Changes one record, entry or extent, with sound checksums.
fn damage(tx: &mut WriteTransaction, random: &mut Xoshiro256PlusPlus) {
    let word = |random: &mut Xoshiro256PlusPlus| -> [u8; 4] {
        let words = [u32::MAX, 1 << 31, 0x7f80_0000, 0x7fc0_0000, 0];
        match random.random_range(0..3) {
            0 => words[random.random_range(0..words.len())].to_le_bytes(),
            1 => random.random_range(0_u32..3000).to_le_bytes(),
            _ => random.random::<u32>().to_le_bytes(),
        }
    };
    let spoil = |bytes: &[u8], random: &mut Xoshiro256PlusPlus| {
        let mut bytes = bytes.to_vec();
        match random.random_range(0..4) {
            0 if !bytes.is_empty() => bytes.truncate(random.random_range(0..bytes.len())),
            1 => bytes.push(random.random()),
            2 if bytes.len() >= 4 => {
                let at = random.random_range(0..bytes.len() / 4) * 4;
                bytes[at..at + 4].copy_from_slice(&word(random));
            }
            _ if !bytes.is_empty() => {
                let at = random.random_range(0..bytes.len());
                bytes[at] = bytes[at].wrapping_add(1);
            }
            _ => {}
        }
        bytes
    };
    match random.random_range(0..10) {
        which @ 0..3 => {
            let name = ["settings", "directory", "watched"][which];
            let mut table = tx.table::<str>("nearfield").unwrap();
            let new = spoil(table.get(name).unwrap().unwrap(), random);
            table.insert(name, &new).unwrap();
        }
        3 => {
            let mut table = tx.table::<u64>("columns").unwrap();
            let (key, new) = {
                let entry = if random.random() { table.first() } else { table.last() };
                let (key, value) = entry.unwrap().unwrap();
                (key, spoil(value, random))
            };
            table.insert(key, &new).unwrap();
        }
        _ => {
            let column = random.random_range(0..9);
            let Some((extent, len)) = extent(tx, column) else { return };
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..len / 4) * 4;
                tx.write_extent(extent, at, &word(random)).unwrap();
            }
        }
    }
}
