//! Opens arbitrary bytes as a store. To get past the checksums, the input may be made into meta slots with sums that
//! fit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearfield::store::{SimulatedDisk, StoreOptions};

fuzz_target!(|data: &[u8]| {
    let Some((&mode, data)) = data.split_first() else { return };
    let mut image = data.to_vec();
    if mode & 1 == 1 && data.len() > 240 {
        // A file of 256 KiB: the first bytes become a meta slot, the rest lies behind the log.
        image = vec![0; 256 << 10];
        image[..8].copy_from_slice(b"nrfld\r\n\x1a");
        image[8..12].copy_from_slice(&1_u32.to_le_bytes());
        image[12..16].copy_from_slice(&4096_u32.to_le_bytes());
        image[16..248].copy_from_slice(&data[..232]);
        image[40..48].copy_from_slice(&(64_u64 << 10).to_le_bytes());
        let sum = xxhash_rust::xxh3::xxh3_64(&image[..248]).max(1);
        image[248..256].copy_from_slice(&sum.to_le_bytes());
        let rest = &data[232..data.len().min(232 + (64 << 10))];
        image[192 << 10..][..rest.len()].copy_from_slice(rest);
    }
    let Ok(disk) = SimulatedDisk::from_image(image) else { return };
    if let Ok(store) = StoreOptions::new().page_size(4096).log_size(64 << 10).open_simulated(&disk) {
        let _ = store.check();
        let _ = store.stats();
    }
});
