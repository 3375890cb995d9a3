//! A storage in memory.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::map::Chunk;
use super::{Region, Storage, SyncPoint};

/// Least size of the first chunk; the following ones double the whole. Small, because small stores should be cheap to make.
const LEAST: u64 = 64 << 10;

/// Greatest size of the first chunk, that of a mapped file: extents that a boundary cuts in a file must not begin in memory.
const MOST: u64 = 1 << 30;

/// Memory that grows without moving. It ends with the process.
pub(crate) struct MemoryStorage {
    inner: Mutex<Inner>,
}

struct Inner {
    len: u64,
    /// Size of the first chunk.
    unit: u64,
    chunks: Vec<Option<Arc<Chunk>>>,
}

impl Inner {
    /// Returns number, first byte and length of the chunk that holds `offset`.
    fn chunk_of(&self, offset: u64) -> (usize, u64, u64) {
        let units = offset / self.unit;
        if units == 0 {
            return (0, 0, self.unit);
        }
        let k = 64 - units.leading_zeros();
        (k as usize, self.unit << (k - 1), self.unit << (k - 1))
    }

    fn chunk(&mut self, k: usize, len: u64) -> io::Result<&Arc<Chunk>> {
        if self.chunks.len() <= k {
            self.chunks.resize_with(k + 1, || None);
        }
        let slot = &mut self.chunks[k];
        if slot.is_none() {
            let chunk = usize::try_from(len).ok().and_then(Chunk::new);
            *slot = Some(Arc::new(chunk.ok_or(io::ErrorKind::OutOfMemory)?));
        }
        slot.as_ref().ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// Calls `f(chunk, offset in chunk, range of the bytes)` for each chunk that the range touches.
    fn for_each(
        &mut self,
        offset: u64,
        len: usize,
        mut f: impl FnMut(&Chunk, usize, std::ops::Range<usize>),
    ) -> io::Result<()> {
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let (k, start, size) = self.chunk_of(at);
            let n = (len - done).min((start + size - at) as usize);
            f(self.chunk(k, size)?, (at - start) as usize, done..done + n);
            done += n;
        }
        Ok(())
    }
}

impl MemoryStorage {
    pub(crate) fn new() -> Self {
        Self::of(0)
    }

    /// Returns empty memory for about `bytes` bytes: the larger its first chunk, the fewer gaps are before its boundaries.
    pub(crate) fn of(bytes: u64) -> Self {
        let unit = bytes.clamp(LEAST, MOST).next_power_of_two();
        Self { inner: Mutex::new(Inner { len: 0, unit, chunks: Vec::new() }) }
    }

    /// Returns memory that begins with these bytes. It has no boundary where a file has none.
    pub(crate) fn holding(bytes: &[u8]) -> io::Result<Self> {
        let storage = Self::of(bytes.len() as u64);
        storage.write_at(0, bytes)?;
        Ok(storage)
    }
}

impl Storage for MemoryStorage {
    fn len(&self) -> io::Result<u64> {
        Ok(self.inner.lock().len)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut inner = self.inner.lock();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > inner.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        inner.for_each(offset, out.len(), |chunk, at, range| chunk.read(at, &mut out[range]))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64).ok_or(io::ErrorKind::InvalidInput)?;
        let mut inner = self.inner.lock();
        inner.for_each(offset, bytes.len(), |chunk, at, range| chunk.write(at, &bytes[range]))?;
        inner.len = inner.len.max(end);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut inner = self.inner.lock();
        // Bytes that are cut off read as zero when the length grows again, as in a file.
        let mut at = len;
        let zeros = [0; 4096];
        while at < inner.len {
            let n = (inner.len - at).min(zeros.len() as u64) as usize;
            inner.for_each(at, n, |chunk, at, range| chunk.write(at, &zeros[range]))?;
            at += n as u64;
        }
        inner.len = len;
        Ok(())
    }

    fn sync(&self, _: SyncPoint) -> io::Result<()> {
        Ok(())
    }

    fn map(&self, offset: u64, len: usize) -> io::Result<Region> {
        let mut inner = self.inner.lock();
        let (k, start, size) = inner.chunk_of(offset);
        if start != offset || size != len as u64 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Region::memory(Arc::clone(inner.chunk(k, size)?)))
    }

    fn first_segment(&self) -> u64 {
        self.inner.lock().unit
    }
}
