//! Files as memory. The one module of this folder with unsafe code.
#![expect(unsafe_code, reason = "a map is memory that other processes can change")]

use std::path::Path;

use super::input::Input;
use super::{Dataset, DatasetError, Vectors};

/// A read-only map of a whole file.
#[derive(Debug)]
pub(super) struct Map(memmap2::Mmap);

impl Map {
    /// Maps the file.
    ///
    /// # Safety
    ///
    /// As long as the map lives, no process changes or truncates the file.
    unsafe fn new(input: &Input) -> Result<Self, DatasetError> {
        // SAFETY: the caller promises that the file does not change (this function's contract).
        let map = unsafe { memmap2::Mmap::map(&input.file) };
        let map = map.map_err(DatasetError::io(&input.path))?;
        // Headers are checked against the length seen when the file was opened.
        if map.len() as u64 == input.len {
            Ok(Self(map))
        } else {
            Err(DatasetError::Length {
                path: input.path.clone(),
                expected: input.len,
                found: map.len() as u64,
            })
        }
    }

    /// Returns the bytes of the file.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Vectors {
    /// Maps a file of vectors: opened at once, read from the disk as rows are touched, shared with
    /// other processes. Rows of `fvecs` and `bvecs` files have their dimension between them, and
    /// are read as by [`open`](Self::open); so are rows that are not aligned.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    ///
    /// # Safety
    ///
    /// As long as the result lives, no code changes or truncates the file, in this process or any
    /// other: changed bytes break Rust's rules for references, and touching a row beyond a new end
    /// kills the process (`SIGBUS`).
    pub unsafe fn map(path: impl AsRef<Path>) -> Result<Self, DatasetError> {
        let input = Input::open(path.as_ref())?;
        // SAFETY: the file does not change as long as the map lives: this function's contract.
        let map = unsafe { Map::new(&input) }?;
        Self::from_map(&input, map)
    }
}

impl Dataset {
    /// Maps a folder: the vectors are read from the disk as they are touched.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    ///
    /// # Safety
    ///
    /// The contract of [`Vectors::map`], for `base.*` and `query.*`: no code changes or truncates
    /// them as long as the result lives.
    pub unsafe fn map(folder: impl AsRef<Path>) -> Result<Self, DatasetError> {
        Self::assemble(folder.as_ref(), |path| {
            // SAFETY: the files do not change: this function's contract.
            unsafe { Vectors::map(path) }
        })
    }
}
