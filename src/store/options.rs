use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Arc;

use super::error::StoreError;
use super::follower::Follower;
use super::handle::Store;
use super::log::LogPosition;
use super::meta::{
    FreeList, LOG_OFFSET, MAGIC, Meta, SLOT_BYTES, reserved_pages, valid_log_len, valid_page_size,
};
use super::page::checksum;
use super::process::{Readers, WriterLock};
use super::recovery::recover;
use super::snapshot::State;
use super::storage::{FileStorage, MemoryStorage, SimulatedDisk, Storage, SyncPoint};

/// How a store is made and opened.
///
/// Page size and log length are chosen when the file is made; a file that exists keeps its own.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    page_size: u64,
    log_len: u64,
    has_reserve: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { page_size: 16 << 10, log_len: 4 << 20, has_reserve: true }
    }
}

impl StoreOptions {
    /// The defaults: pages of 16 KiB, a log of 4 MiB.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of a page: 4, 8, 16, 32 or 64 KiB. Smaller pages make single changes cheaper, larger ones scans.
    #[must_use]
    pub fn page_size(mut self, bytes: u32) -> Self {
        self.page_size = bytes as u64;
        self
    }

    /// Bytes of the log: a multiple of 64 KiB up to 4 GiB. A checkpoint is made when it is full, so a
    /// longer log means fewer checkpoints, and more to apply when a store is opened after a crash.
    #[must_use]
    pub fn log_size(mut self, bytes: u64) -> Self {
        self.log_len = bytes;
        self
    }

    /// For a file that is written once: nothing is kept free on the disk for later changes.
    pub(crate) fn without_reserve(mut self) -> Self {
        self.has_reserve = false;
        self
    }

    fn check(&self) -> Result<(), StoreError> {
        if !valid_page_size(self.page_size) {
            let allowed = "4096, 8192, 16384, 32768 and 65536";
            return Err(StoreError::Option { name: "page_size", value: self.page_size, allowed });
        }
        if !valid_log_len(self.log_len) {
            let allowed = "multiples of 65536 up to 4 GiB";
            return Err(StoreError::Option { name: "log_size", value: self.log_len, allowed });
        }
        Ok(())
    }

    /// Opens the store at `path` for writing; makes it if there is none.
    ///
    /// Takes milliseconds whatever the size, plus the time to apply what the log holds if the store was not
    /// closed. See the [module](super) for what the lock protects.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] if it is open for writing elsewhere; [`StoreError::NotAStore`],
    /// [`StoreError::Version`], [`StoreError::Corrupt`], [`StoreError::Option`], [`StoreError::Io`].
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Store, StoreError> {
        self.check()?;
        let path = path.as_ref();
        self.open_file(path).map_err(|error| error.at(Some(path)))
    }

    fn open_file(&self, path: &Path) -> Result<Store, StoreError> {
        let lock = WriterLock::acquire(path)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(StoreError::io("open the file"))?;
        let storage: Arc<dyn Storage> = Arc::new(FileStorage::new(file, path));
        if self.create(&*storage)? {
            sync_folder(path)?;
        }
        let (shared, recovered) = recover(storage, Some(Readers::of(path)), Some(lock))?;
        if !self.has_reserve {
            shared.writer.with(|writer| {
                writer.reserve = 0;
                Ok::<_, StoreError>(())
            })?;
        }
        Ok(Store::writer(shared, recovered))
    }

    /// Opens the store at `path` for reading, while another process may be writing it. Each
    /// [`Store::begin_read`] sees the newest commit. The writer is told by a file beside the store's, so the folder must be
    /// writable; on a file system that is mounted for reading only there can be no writer, and none is told.
    ///
    /// # Errors
    ///
    /// As for [`StoreOptions::open`], but for [`StoreError::Locked`].
    pub fn open_read_only(&self, path: impl AsRef<Path>) -> Result<Store, StoreError> {
        let path = path.as_ref();
        let opened = Follower::open(path).map_err(|error| error.at(Some(path)))?;
        Ok(Store::follower(opened))
    }

    /// A store in memory that ends with its last handle.
    ///
    /// # Errors
    ///
    /// [`StoreError::Option`], [`StoreError::TooLarge`].
    pub fn open_in_memory(&self) -> Result<Store, StoreError> {
        self.open_storage(Arc::new(MemoryStorage::new()))
    }

    /// A store in memory that begins with the bytes of a file, which are copied. It ends with its last handle.
    ///
    /// # Errors
    ///
    /// As for [`StoreOptions::open`], but for [`StoreError::Locked`].
    pub fn open_copy(&self, file: &[u8]) -> Result<Store, StoreError> {
        let storage = MemoryStorage::holding(file).map_err(StoreError::io("copy the file"))?;
        self.open_storage(Arc::new(storage))
    }

    /// Opens the store on a simulated disk; makes it if there is none.
    ///
    /// # Errors
    ///
    /// As for [`StoreOptions::open`], but for [`StoreError::Locked`].
    pub fn open_simulated(&self, disk: &SimulatedDisk) -> Result<Store, StoreError> {
        self.open_storage(Arc::new(disk.clone()))
    }

    fn open_storage(&self, storage: Arc<dyn Storage>) -> Result<Store, StoreError> {
        self.check()?;
        self.create(&*storage)?;
        let (shared, recovered) = recover(storage, None, None)?;
        Ok(Store::writer(shared, recovered))
    }

    /// Makes an empty store where there is nothing yet. Returns whether it did.
    ///
    /// The meta slot is written last; a file that a crash left without one is made again.
    fn create(&self, storage: &dyn Storage) -> Result<bool, StoreError> {
        let len = storage.len().map_err(StoreError::io("ask for the length of the file"))?;
        if len > 0 && !is_unfinished(storage, len)? {
            return Ok(false);
        }
        let end = reserved_pages(self.log_len, self.page_size);
        storage.set_len(0).map_err(StoreError::io("empty the file"))?;
        // Zeros are written, not only reserved: writing to the log must not change the file's metadata.
        let zeros = vec![0; (1 << 20).min(self.log_len as usize)];
        let mut at = 0;
        while at < LOG_OFFSET + self.log_len {
            let n = (LOG_OFFSET + self.log_len - at).min(zeros.len() as u64) as usize;
            storage.write_at(at, &zeros[..n]).map_err(StoreError::io("write the empty log"))?;
            at += n as u64;
        }
        storage.sync(SyncPoint::Create).map_err(StoreError::io("sync the new file"))?;
        let uuid = new_uuid();
        let salt = checksum(&uuid);
        let meta = Meta {
            page_size: self.page_size as u32,
            uuid,
            log_len: self.log_len,
            log: LogPosition { lsn: 0, salt, chain: salt },
            state: State { transaction: 1, ..State::default() },
            free_list: FreeList::default(),
            end,
        };
        meta.write(storage, 0)?;
        storage.sync(SyncPoint::Create).map_err(StoreError::io("sync the new file"))?;
        Ok(true)
    }
}

/// Whether a file is what a crash leaves of the making of a store: zeros, but for a piece of the first meta slot. Nothing
/// can be in it yet.
fn is_unfinished(storage: &dyn Storage, len: u64) -> Result<bool, StoreError> {
    match Meta::newest(storage) {
        Err(StoreError::NotAStore { .. }) => {}
        // A slot that is whole, even one of an unknown version.
        _ => return Ok(false),
    }
    let mut buffer = vec![0; (64 << 10).min(len as usize)];
    let mut at = 0;
    while at < len {
        let n = (len - at).min(buffer.len() as u64) as usize;
        storage.read_at(at, &mut buffer[..n]).map_err(StoreError::io("read the file"))?;
        if at == 0 {
            for copy in buffer[..n].chunks_mut(32 << 10) {
                // Other people's files are not to be taken for one of ours.
                if copy.starts_with(&MAGIC) {
                    let slot = copy.len().min(SLOT_BYTES);
                    copy[..slot].fill(0);
                }
            }
        }
        if buffer[..n].iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        at += n as u64;
    }
    Ok(true)
}

/// Sixteen bytes that no other store has: from the process's random hash keys, time and address space.
fn new_uuid() -> [u8; 16] {
    use std::hash::{BuildHasher, RandomState};
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.unwrap_or_default().as_nanos();
    let (a, b) = (RandomState::new(), RandomState::new());
    let mut out = [0; 16];
    out[..8].copy_from_slice(&a.hash_one((now, std::process::id())).to_le_bytes());
    out[8..].copy_from_slice(&b.hash_one((std::process::id(), now)).to_le_bytes());
    out
}

/// Makes a new file's name durable.
pub(crate) fn sync_folder(path: &Path) -> Result<(), StoreError> {
    if cfg!(unix) {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let folder = std::fs::File::open(folder).map_err(StoreError::io("open the folder"))?;
        folder.sync_all().map_err(StoreError::io("sync the folder"))?;
    }
    Ok(())
}
