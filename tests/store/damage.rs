//! Damaged files: each read gives the right answer or a typed error, never a wrong answer.

use nearfield::store::{ExtentId, SimulatedDisk, StoreError, StoreOptions};
use rand::RngExt;

use crate::history::{Model, Sizes, content, random, read_all, transaction, write_some};

#[derive(Debug, Default)]
struct Outcomes {
    right: usize,
    error: usize,
}

fn options() -> StoreOptions {
    StoreOptions::new().page_size(4096).log_size(64 << 10)
}

/// Returns a file of about 1 MB that was closed, and its contents.
fn valid() -> (Vec<u8>, Model) {
    let mut random = random(3);
    let disk = SimulatedDisk::new();
    let store = options().open_simulated(&disk).unwrap();
    let sizes = Sizes { operations: 300, keys: 3000, value: 400, extent: 200_000 };
    let mut model = Model::default();
    for _ in 0..6 {
        let (tx, next) = transaction(&mut random, sizes, &store, &model).unwrap();
        tx.commit().unwrap();
        model = next;
    }
    // The extents are noise, so that all damage has an effect.
    let mut tx = store.begin_write().unwrap();
    for (&extent, content) in &mut model.extents {
        content.fill_with(|| random.random());
        tx.write_extent(ExtentId(extent), 0, content).unwrap();
    }
    tx.commit().unwrap();
    // After compaction, all pages are in use.
    store.compact().unwrap();
    store.check().unwrap();
    store.close().unwrap();
    (disk.image().unwrap(), model)
}

/// Opens and reads an image; panics on a wrong answer.
fn read(image: Vec<u8>, model: &Model, outcomes: &mut Outcomes, what: &str) {
    let disk = SimulatedDisk::from_image(image).unwrap();
    let read = options().open_simulated(&disk).and_then(|store| {
        let found = content(&store)?;
        // If the answer is right, the damage is in unused bytes.
        Ok((found, store.check()))
    });
    match read {
        Ok((found, _)) => {
            assert!(found.trimmed() == model.trimmed(), "{what}: a wrong answer");
            outcomes.right += 1;
        }
        Err(
            StoreError::Corrupt { .. } | StoreError::NotAStore { .. } | StoreError::Version { .. },
        ) => outcomes.error += 1,
        Err(other) => panic!("{what}: {other:?} says nothing of the damage"),
    }
}

#[test]
fn no_damage_gives_a_wrong_answer() {
    let (image, model) = valid();
    let mut random = random(4);
    println!("a file of {} bytes", image.len());

    let mut pages = Outcomes::default();
    for i in 0..200 {
        let mut image = image.clone();
        // Every second page is in the data, where no page is free, and the others are in front of it.
        let range = if i % 2 == 0 { 0..48 } else { 48..image.len() / 4096 };
        let page = random.random_range(range);
        image[page * 4096..][..4096].fill(0);
        read(image, &model, &mut pages, &format!("page {page} zeroed"));
    }
    println!("zeroed page: {pages:?}");

    let mut bits = Outcomes::default();
    for _ in 0..400 {
        let mut image = image.clone();
        let bit = random.random_range(0..image.len() * 8);
        image[bit / 8] ^= 1 << (bit % 8);
        read(image, &model, &mut bits, &format!("bit {bit} flipped"));
    }
    println!("flipped bit: {bits:?}");

    let mut header = Outcomes::default();
    for copies in [vec![0], vec![0, 1], vec![0, 1, 2, 3]] {
        for _ in 0..40 {
            let mut image = image.clone();
            for copy in &copies {
                let bit = random.random_range(0..256 * 8);
                image[copy * (32 << 10) + bit / 8] ^= 1 << (bit % 8);
            }
            let what = format!("a bit of header copies {copies:?}");
            // With both copies of the newest slot damaged, the file looks as it does after a crash in the middle of a
            // checkpoint, and the slot before it, which was acknowledged as well, is used.
            if copies.len() == 2 {
                let disk = SimulatedDisk::from_image(image).unwrap();
                if let Ok(store) = options().open_simulated(&disk) {
                    let _ = content(&store);
                }
            } else {
                read(image, &model, &mut header, &what);
            }
        }
    }
    println!("flipped bit in the header: {header:?}");

    let mut short = Outcomes::default();
    for i in 1..=40 {
        let len = image.len() * i / 41;
        read(image[..len].to_vec(), &model, &mut short, &format!("cut to {len}"));
    }
    println!("truncated: {short:?}");
    // The file is longer than it needs to be by less than 256 KiB.
    assert!(short.right <= 1 + 40 * (256 << 10) / image.len());
    assert!(pages.error > 50 && pages.right > 10);
}

/// Reading forged pages with checksums that fit ends, and without a panic.
#[test]
fn forged_pages_end_in_an_error_or_an_answer() {
    let (image, _) = valid();
    let mut random = random(6);
    let mut errors = 0;
    for _ in 0..300 {
        let mut image = image.clone();
        // A small file with one damaged page, whose parents are made to agree with the page.
        let page = random.random_range(48..image.len() / 4096);
        let old = xxhash_rust::xxh3::xxh3_64(&image[page * 4096..][..4096]);
        for _ in 0..random.random_range(1..4) {
            let limit = if random.random() { 64 } else { 4096 };
            let at = random.random_range(0..limit);
            image[page * 4096 + at] = random.random();
        }
        let mut child = (old, xxhash_rust::xxh3::xxh3_64(&image[page * 4096..][..4096]));
        // The old checksum is replaced in the parent page, and so on up to the meta slots.
        for _ in 0..6 {
            let (old, new) = (child.0.to_le_bytes(), child.1.to_le_bytes());
            let Some(at) = image.windows(8).position(|window| window == old) else { break };
            let (start, len) = if at < 128 << 10 {
                (at / (32 << 10) * (32 << 10), 248)
            } else {
                (at / 4096 * 4096, 4096)
            };
            let before = xxhash_rust::xxh3::xxh3_64(&image[start..][..len]);
            image[at..at + 8].copy_from_slice(&new);
            let after = xxhash_rust::xxh3::xxh3_64(&image[start..][..len]);
            if at < 128 << 10 {
                image[start + 248..start + 256].copy_from_slice(&after.to_le_bytes());
                // The second copy of the slot would be used otherwise.
                let twin = start ^ (32 << 10);
                image.copy_within(start..start + 256, twin);
                break;
            }
            child = (before, after);
        }
        let disk = SimulatedDisk::from_image(image).unwrap();
        let result = options().open_simulated(&disk).and_then(|store| {
            let check = store.check().map(|_| ());
            let read = read_all(&store);
            let write = write_some(&store);
            check.and(read).and(write)
        });
        errors += usize::from(result.is_err());
    }
    println!("{errors} of 300 forged files were refused");
    assert!(errors > 30);
}

/// A few bytes of the log make an extent of megabytes: a checkpoint in time bounds the memory of
/// recovery.
#[test]
fn a_small_log_does_not_ask_for_much_memory() {
    const EXTENT: u64 = 4 << 20;
    let disk = SimulatedDisk::new();
    let store = StoreOptions::new().open_simulated(&disk).unwrap();
    let mut extents = Vec::new();
    for _ in 0..6 {
        let mut tx = store.begin_write().unwrap();
        extents.extend((0..4).map(|_| tx.create_extent(EXTENT).unwrap()));
        tx.commit().unwrap();
    }
    let found = disk.after_power_cut(nearfield::store::Cut::Nothing, 0);
    let recovered = StoreOptions::new().open_simulated(&found).unwrap();
    assert_eq!(recovered.recovered(), 1, "the fifth of six commits goes beyond 64 MiB");
    let tx = recovered.begin_read().unwrap();
    assert_eq!(tx.extents().unwrap(), extents);
}
