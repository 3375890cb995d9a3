//! Changes records and columns of saved inverted-file indexes behind the store's checksums, and uses the indexes that still load.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use nearfield::store::{ExtentId, StoreOptions, WriteTransaction};
use nearfield::{Ivf, Metric, Originals, Quantization};

const DIMENSION: usize = 3;

fn path() -> PathBuf {
    std::env::temp_dir().join(format!("nearfield-fuzz-lists-{}.nf", std::process::id()))
}

/// Returns one index of each kind of code.
fn valid() -> &'static [Vec<u8>] {
    static IMAGES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let kinds = [
            (Metric::L2, Quantization::None, Originals::Kept),
            (Metric::InnerProduct, Quantization::Pq4, Originals::Kept),
            (Metric::L2, Quantization::Pq4, Originals::Dropped),
            (Metric::Cosine, Quantization::Rabitq { bits: 2 }, Originals::Dropped),
        ];
        let image = |(metric, quantization, originals)| {
            let index = Ivf::builder(DIMENSION, metric).lists(4).quantization(quantization);
            let index = index.originals(originals).build().unwrap();
            let keys: Vec<u64> = (0..140).collect();
            let vectors: Vec<f32> =
                (0..140 * DIMENSION).map(|i| (i as f32 * 0.37).sin() * 10.0).collect();
            index.insert_batch(&keys, &vectors).threads(1).run().unwrap();
            assert!(index.is_trained());
            index.save(path()).unwrap();
            std::fs::read(path()).unwrap()
        };
        kinds.into_iter().map(image).collect()
    })
}

/// Overwrites bytes with equal bytes, or with a number that code often does not expect.
fn spoil(bytes: &mut Vec<u8>, word: u64) {
    const NUMBERS: [u32; 8] =
        [0, 1, u32::MAX, 1 << 31, 0x7f80_0000, 0x7fc0_0000, 0xff80_0000, 0x7149_f2ca];

    let value = (word >> 8) as u8;
    if bytes.is_empty() {
        return bytes.push(value);
    }
    let at = (word >> 24) as usize % bytes.len();
    let how = (word >> 16) as u8;
    match how % 8 {
        0 => bytes.truncate(at),
        1 => bytes.push(value),
        2 => bytes[at] = value,
        3 => bytes[at] = bytes[at].wrapping_add(1),
        _ => {
            let at = at / 4 * 4;
            let end = (at + 4).min(bytes.len());
            let number = NUMBERS[usize::from(value) % NUMBERS.len()].to_le_bytes();
            bytes[at..end].copy_from_slice(&number[..end - at]);
        }
    }
}

fn change(tx: &mut WriteTransaction, word: u64) {
    let which = word as u8 % 16;
    if which < 4 {
        let name = ["settings", "directory"][usize::from(which % 2)];
        let mut table = tx.table::<str>("nearfield").unwrap();
        let mut record = table.get(name).unwrap().unwrap().to_vec();
        spoil(&mut record, word);
        table.insert(name, &record).unwrap();
        return;
    }
    let mut table = tx.table::<u64>("columns").unwrap();
    let key = u64::from(which % 6) << 32;
    let Some(mut entry) = table.get(key).unwrap().map(<[u8]>::to_vec) else { return };
    if which == 4 {
        spoil(&mut entry, word);
        table.insert(key, &entry).unwrap();
        return;
    }
    // The extent is made anew, because its length may change, and its entry is updated.
    let Some(&id) = entry.first_chunk() else { return };
    let id = ExtentId(u64::from_le_bytes(id));
    let Ok(mut bytes) = tx.extent(id).and_then(|extent| extent.bytes().map(<[u8]>::to_vec)) else {
        return;
    };
    spoil(&mut bytes, word);
    let new = tx.create_extent(bytes.len() as u64).unwrap();
    tx.write_extent(new, 0, &bytes).unwrap();
    let entry = [new.0.to_le_bytes(), (bytes.len() as u64).to_le_bytes()].concat();
    tx.table::<u64>("columns").unwrap().insert(key, &entry).unwrap();
}

fuzz_target!(|changes: &[u8]| {
    let Some((&which, changes)) = changes.split_first() else { return };
    let images = valid();
    std::fs::write(path(), &images[usize::from(which) % images.len()]).unwrap();
    {
        let store = StoreOptions::new().open(path()).unwrap();
        let mut tx = store.begin_write().unwrap();
        for word in changes.chunks_exact(8).take(16) {
            change(&mut tx, u64::from_le_bytes(word.try_into().unwrap()));
        }
        tx.commit().unwrap();
    }
    let Ok(index) = Ivf::load(path()) else { return };
    if index.dimension() != DIMENSION {
        return;
    }
    for i in 0..4 {
        let query = [i as f32, 1.0, -2.0];
        let _ = index.search(&query).k(5).run();
        let _ = index.search(&query).k(5).filter(&|key| key % 2 == 0).within(3.0).run();
        let _ = index.get(i * 31);
        let _ = index.insert((1 << 40) + i, &query);
        let _ = index.upsert(i * 7, &query);
        let _ = index.remove(i * 5);
    }
    let _ = index.search_batch(&[1.0; 4 * DIMENSION]).threads(1).run();
    let _ = index.check();
    let _ = index.train();
    index.save(path()).unwrap();
    assert_eq!(Ivf::load(path()).unwrap().len(), index.len());
});
