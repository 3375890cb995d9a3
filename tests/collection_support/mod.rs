//! Helpers that the tests of collections share.
#![allow(dead_code, reason = "each test program uses a part")]

use std::path::{Path, PathBuf};

use nearfield::{Collection, CollectionBuilder, Metric};

/// A folder that is removed with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nearfield-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

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
