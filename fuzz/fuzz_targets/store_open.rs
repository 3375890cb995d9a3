//! Opens arbitrary bytes as a store. To pass the checksums, the input may be made into a meta slot with a sum that
//! fits, and into log records behind it.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use nearfield::store::StoreOptions;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

const LOG: usize = 128 << 10;
const LOG_LEN: usize = 64 << 10;

fuzz_target!(|data: &[u8]| {
    let Some((&mode, data)) = data.split_first() else { return };
    // All executions share a buffer, because getting memory would take longer than filling it.
    IMAGE.with_borrow_mut(|image| {
        image.clear();
        match mode % 3 {
            1 if data.len() > 240 => meta_slot(image, data),
            2 => log_record(image, data),
            _ => image.extend_from_slice(data),
        }
        let options = StoreOptions::new().page_size(4096).log_size(LOG_LEN as u64);
        if let Ok(store) = options.open_copy(image) {
            let _ = store.check();
            let _ = store.stats();
        }
    });
});

thread_local!(static IMAGE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });

/// Makes the image begin with the sum and the constant fields of a meta slot.
fn seal(image: &mut [u8]) {
    image[..8].copy_from_slice(b"nrfld\r\n\x1a");
    image[8..12].copy_from_slice(&1_u32.to_le_bytes());
    image[12..16].copy_from_slice(&4096_u32.to_le_bytes());
    image[40..48].copy_from_slice(&(LOG_LEN as u64).to_le_bytes());
    let sum = xxh3_64(&image[..248]).max(1);
    image[248..256].copy_from_slice(&sum.to_le_bytes());
}

/// Makes the first bytes a meta slot, and puts the rest behind the log.
fn meta_slot(image: &mut Vec<u8>, data: &[u8]) {
    let (slot, rest) = data.split_at(232);
    let rest = &rest[..rest.len().min(16 << 10)];
    image.resize(LOG + LOG_LEN + rest.len().next_multiple_of(4096), 0);
    image[16..248].copy_from_slice(slot);
    image[LOG + LOG_LEN..][..rest.len()].copy_from_slice(rest);
    seal(image);
}

/// Makes an empty store whose log holds the bytes as the operations of one record.
fn log_record(image: &mut Vec<u8>, data: &[u8]) {
    let body = &data[..data.len().min(4096)];
    image.resize(LOG + LOG_LEN, 0);
    image[32] = 1; // The checkpoint's transaction.
    let end = ((LOG + LOG_LEN) / 4096) as u64;
    image[136..144].copy_from_slice(&end.to_le_bytes());
    let record = &mut image[LOG..];
    record[..4].copy_from_slice(&0x676f_6c6e_u32.to_le_bytes());
    record[8..16].copy_from_slice(&(body.len() as u64).to_le_bytes());
    record[16] = 2; // The record's transaction.
    // Position, salt and chain are 0, and so is the seed.
    let mut hash = Xxh3::with_seed(0);
    hash.update(&record[..56]);
    hash.update(body);
    let sum = hash.digest().max(1);
    record[56..64].copy_from_slice(&sum.to_le_bytes());
    record[64..][..body.len()].copy_from_slice(body);
    seal(image);
}
