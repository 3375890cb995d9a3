//! A file whose length is known before any of its bytes is used.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::DatasetError;

/// An open regular file.
pub(super) struct Input {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) len: u64,
}

impl Input {
    /// Opens a regular file. The kind is checked first, because opening a pipe would wait for a writer.
    pub(super) fn open(path: &Path) -> Result<Self, DatasetError> {
        if !fs::metadata(path).map_err(DatasetError::io(path))?.is_file() {
            return Err(DatasetError::NotAFile { path: path.into() });
        }
        let file = File::open(path).map_err(DatasetError::io(path))?;
        let len = file.metadata().map_err(DatasetError::io(path))?.len();
        if len == 0 {
            return Err(DatasetError::Empty { path: path.into() });
        }
        Ok(Self { path: path.into(), file, len })
    }

    /// Moves to `offset`, for a separate reader.
    pub(super) fn seek(&self, offset: u64) -> Result<(), DatasetError> {
        (&self.file).seek(SeekFrom::Start(offset)).map(drop).map_err(DatasetError::io(&self.path))
    }

    /// Fills `buffer` from `offset` on.
    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DatasetError> {
        self.seek(offset)?;
        (&self.file).read_exact(buffer).map_err(DatasetError::io(&self.path))
    }

    /// Returns two little-endian numbers at the head of the file.
    pub(super) fn head(&self) -> Result<[u32; 2], DatasetError> {
        if self.len < 8 {
            return Err(self.length(8));
        }
        let mut bytes = [0; 8];
        self.read_at(0, &mut bytes)?;
        let [a, b, c, d, e, f, g, h] = bytes;
        Ok([u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])])
    }

    pub(super) fn length(&self, expected: u64) -> DatasetError {
        DatasetError::Length { path: self.path.clone(), expected, found: self.len }
    }

    pub(super) fn header(&self, reason: &'static str) -> DatasetError {
        DatasetError::Header { path: self.path.clone(), reason }
    }

    pub(super) fn empty(&self) -> DatasetError {
        DatasetError::Empty { path: self.path.clone() }
    }
}
