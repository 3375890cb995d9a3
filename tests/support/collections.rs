//! Small collections, and vectors that follow from a key and a version.

use std::path::Path;

use nearfield::{Collection, CollectionBuilder, Metric};

/// Returns a configuration with a small file, so that tests are quick.
pub(crate) fn config(dimension: usize) -> CollectionBuilder {
    Collection::builder(dimension, Metric::L2).log_size(256 << 10).page_size(4096)
}

pub(crate) fn open(path: &Path, config: CollectionBuilder) -> Collection {
    config.open(path).unwrap()
}

/// Returns the vector of a key in one of its versions: all vectors are distinct, and far from each other.
pub(crate) fn vector(key: u64, version: u64, dimension: usize) -> Vec<f32> {
    let mut state =
        key.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ version.wrapping_mul(0xd1b5_4a32_d192_ed03);
    let mut step = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 52) as f32 / 4096.0
    };
    (0..dimension).map(|_| step()).collect()
}
