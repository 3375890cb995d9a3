//! Changes bytes of a valid file, makes the checksums up to the root agree, and reads and writes the result.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use nearfield::store::{SimulatedDisk, Store, StoreError, StoreOptions};
use xxhash_rust::xxh3::xxh3_64;

const PAGE: usize = 4096;
const HEADER: usize = 128 << 10;

fn options() -> StoreOptions {
    StoreOptions::new().page_size(PAGE as u32).log_size(64 << 10)
}

fn valid() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let disk = SimulatedDisk::new();
        let store = options().open_simulated(&disk).unwrap();
        let mut tx = store.begin_write().unwrap();
        let mut table = tx.table::<u64>("numbers").unwrap();
        for n in 0..600_u64 {
            table.insert(n * 77 % 1000, &vec![n as u8; n as usize % 120]).unwrap();
        }
        table.insert(5000, &[9; 9000]).unwrap();
        tx.table::<str>("words").unwrap().insert("word", b"meaning").unwrap();
        let extent = tx.create_extent(70_000).unwrap();
        tx.write_extent(extent, 0, &[3; 70_000]).unwrap();
        tx.commit().unwrap();
        store.close().unwrap();
        disk.image().unwrap()
    })
}

/// Makes whoever holds the page's old checksum hold the new one, up to the meta slot.
fn agree(image: &mut [u8], page: usize, old: u64) {
    let mut child = (old, xxh3_64(&image[page * PAGE..][..PAGE]));
    for _ in 0..6 {
        let old = child.0.to_le_bytes();
        let Some(at) = image.windows(8).position(|window| window == old) else { return };
        let (start, len) = if at < HEADER { (at >> 15 << 15, 248) } else { (at / PAGE * PAGE, PAGE) };
        let before = xxh3_64(&image[start..][..len]);
        image[at..at + 8].copy_from_slice(&child.1.to_le_bytes());
        let after = xxh3_64(&image[start..][..len]);
        if at < HEADER {
            image[start + 248..start + 256].copy_from_slice(&after.to_le_bytes());
            image.copy_within(start..start + 256, start ^ (32 << 10));
            return;
        }
        child = (before, after);
    }
}

fn use_it(store: &Store) -> Result<(), StoreError> {
    let _ = store.check();
    let tx = store.begin_read()?;
    for entry in tx.table::<u64>("numbers")?.entries()?.take(5000) {
        entry?;
    }
    for extent in tx.extents()? {
        tx.extent(extent)?.bytes()?;
    }
    let mut tx = store.begin_write()?;
    let mut table = tx.table::<u64>("numbers")?;
    for n in 0..50 {
        table.insert(n * 20, &[1; 200])?;
        table.remove(n * 20 + 7)?;
    }
    table.remove(5000)?;
    tx.commit()?;
    store.checkpoint()?;
    store.compact().map(|_| ())
}

fuzz_target!(|data: &[u8]| {
    let mut image = valid().to_vec();
    let pages = image.len() / PAGE;
    // Four bytes a change: page, two of offset, value. The highest bit of the offset: fix the sums.
    for change in data.chunks_exact(4).take(16) {
        let page = 48 + change[0] as usize % (pages - 48);
        let offset = u16::from_le_bytes([change[1], change[2]]);
        let old = xxh3_64(&image[page * PAGE..][..PAGE]);
        image[page * PAGE + offset as usize % PAGE] = change[3];
        if offset & 0x8000 != 0 {
            agree(&mut image, page, old);
        }
    }
    let Ok(disk) = SimulatedDisk::from_image(image) else { return };
    if let Ok(store) = options().open_simulated(&disk) {
        let _ = use_it(&store);
    }
});
