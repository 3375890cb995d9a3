//! Changes bytes of a valid file, makes the checksums up to the root agree, and reads and writes the result.
#![no_main]

use std::cell::RefCell;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use nearfield::store::{SimulatedDisk, Store, StoreError, StoreOptions};
use xxhash_rust::xxh3::xxh3_64;

const PAGE: usize = 4096;
/// Meta slots end and the log begins.
const META: usize = 128 << 10;
/// The first page that can hold data.
const FIRST: usize = (META + (64 << 10)) / PAGE;

fn options() -> StoreOptions {
    StoreOptions::new().page_size(PAGE as u32).log_size(64 << 10)
}

/// A valid file, and the position of each page's checksum.
struct Valid {
    image: Vec<u8>,
    holders: Vec<Option<usize>>,
}

impl Valid {
    /// Makes a file with an extent of `extent` bytes: above 64 KiB, extents have lists of checksums.
    fn new(extent: u64) -> Self {
        let disk = SimulatedDisk::new();
        let store = options().open_simulated(&disk).unwrap();
        let mut tx = store.begin_write().unwrap();
        let mut table = tx.table::<u64>("numbers").unwrap();
        for n in 0..80_u64 {
            table.insert(n * 77 % 1000, &vec![n as u8; n as usize % 120]).unwrap();
        }
        table.insert(5000, &[9; 5000]).unwrap();
        tx.table::<str>("words").unwrap().insert("word", b"meaning").unwrap();
        let number = tx.create_extent(extent).unwrap();
        tx.write_extent(number, 0, &vec![3; extent as usize]).unwrap();
        tx.commit().unwrap();
        store.close().unwrap();
        let image = disk.image().unwrap();
        let holder = |page: &[u8]| {
            let sum = xxh3_64(page).to_le_bytes();
            image.windows(8).position(|window| window == sum)
        };
        let holders = image.chunks_exact(PAGE).map(holder).collect();
        Self { image, holders }
    }

    fn get(large: bool) -> &'static Self {
        static IMAGES: [OnceLock<Valid>; 2] = [OnceLock::new(), OnceLock::new()];
        let extent = if large { 70_000 } else { 5000 };
        IMAGES[usize::from(large)].get_or_init(|| Self::new(extent))
    }

    /// Writes the page's checksum to its position, and so on for the page there, up to the meta slot.
    fn agree(&self, image: &mut [u8], mut page: usize) {
        for _ in 0..6 {
            let Some(at) = self.holders[page] else { return };
            let sum = xxh3_64(&image[page * PAGE..][..PAGE]);
            image[at..at + 8].copy_from_slice(&sum.to_le_bytes());
            if at < META {
                let slot = at >> 15 << 15;
                let sum = xxh3_64(&image[slot..][..248]);
                image[slot + 248..slot + 256].copy_from_slice(&sum.to_le_bytes());
                image.copy_within(slot..slot + 256, slot ^ (32 << 10));
                return;
            }
            page = at / PAGE;
        }
    }
}

fn use_it(store: &Store) -> Result<(), StoreError> {
    let _ = store.check();
    let tx = store.begin_read()?;
    for entry in tx.table::<u64>("numbers")?.entries()?.take(500) {
        entry?;
    }
    for extent in tx.extents()? {
        tx.extent(extent)?.bytes()?;
    }
    let mut tx = store.begin_write()?;
    let mut table = tx.table::<u64>("numbers")?;
    for n in 0..8 {
        table.insert(n * 120, &[1; 200])?;
        table.remove(n * 77 + 77)?;
    }
    table.remove(5000)?;
    tx.commit()?;
    store.compact().map(|_| ())
}

fuzz_target!(|data: &[u8]| {
    let Some((&large, data)) = data.split_first() else { return };
    let valid = Valid::get(large == 0);
    // All executions share a buffer, because getting memory would take longer than filling it.
    IMAGE.with_borrow_mut(|image| {
        image.clone_from(&valid.image);
        damage(valid, image, data);
        if let Ok(store) = options().open_copy(image) {
            let _ = use_it(&store);
        }
    });
});

thread_local!(static IMAGE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });

fn damage(valid: &Valid, image: &mut [u8], data: &[u8]) {
    let pages = image.len() / PAGE - FIRST;
    // A change has four bytes: page, two of offset, value. The highest bit of the offset: fix the sums.
    for change in data.chunks_exact(4).take(16) {
        let page = FIRST + change[0] as usize % pages;
        let offset = u16::from_le_bytes([change[1], change[2]]);
        image[page * PAGE + offset as usize % PAGE] = change[3];
        if offset & 0x8000 != 0 {
            valid.agree(image, page);
        }
    }
}
