//! A file of the operating system as a storage.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Region, Storage, SyncPoint};
use crate::mmap::MmapMut;
use crate::process::Process;

/// A file of the operating system. Only the process that opened it changes it.
pub(crate) struct FileStorage {
    file: Arc<File>,
    path: PathBuf,
    process: Process,
}

impl FileStorage {
    /// Makes a storage of a file that was opened at `path`.
    pub(crate) fn new(file: Arc<File>, path: &Path) -> Self {
        Self { file, path: path.to_path_buf(), process: Process::current() }
    }
}

impl Storage for FileStorage {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    #[cfg(unix)]
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&*self.file, out, offset)
    }

    #[cfg(unix)]
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.process.admit()?;
        std::os::unix::fs::FileExt::write_all_at(&*self.file, bytes, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, mut offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        while !out.is_empty() {
            let n = std::os::windows::fs::FileExt::seek_read(&*self.file, out, offset)?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            out = &mut out[n..];
            offset += n as u64;
        }
        Ok(())
    }

    #[cfg(windows)]
    fn write_at(&self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let n = std::os::windows::fs::FileExt::seek_write(&*self.file, bytes, offset)?;
            if n == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[n..];
            offset += n as u64;
        }
        Ok(())
    }

    #[cfg(not(any(unix, windows)))]
    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[cfg(not(any(unix, windows)))]
    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        self.process.admit()?;
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.process.admit()?;
        self.file.set_len(len)
    }

    fn sync(&self, _: SyncPoint) -> io::Result<()> {
        self.process.admit()?;
        // fdatasync, if the system has it, covers a changed length, which reading back needs.
        self.file.sync_data()
    }

    fn map(&self, offset: u64, len: usize) -> io::Result<Region> {
        memmap2::MmapOptions::new()
            .offset(offset)
            .len(len)
            .map_raw_read_only(&*self.file)
            .map(Region::file)
    }

    fn map_private(&self, offset: u64, len: usize) -> io::Result<Option<MmapMut>> {
        super::map::map_private(&self.file, offset, len).map(Some)
    }

    fn file(&self) -> Option<&File> {
        Some(&self.file)
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }

    /// Returns a length at which most files have one segment, because address space costs nothing until it is touched.
    fn first_segment(&self) -> u64 {
        if cfg!(target_pointer_width = "64") { 1 << 30 } else { 1 << 24 }
    }
}
