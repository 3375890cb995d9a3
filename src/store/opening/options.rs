//! How a store is made and opened.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::follower::Follower;
use super::handle::Store;
use crate::clock;
use crate::error_kind::ErrorKind;
use crate::process;
use crate::store::disk::{
    ATTEMPTS, FileStorage, Guarding, MemoryStorage, NewFile, Placed, Readers, Storage, SyncPoint,
    WriterLock, follow_links, is_file_at, open_file,
};
use crate::store::durability::recover;
use crate::store::error::StoreError;
use crate::store::format::{
    FreeList, LOG_OFFSET, LogPosition, Meta, State, checksum, far_page, valid_log_len,
    valid_page_size,
};

/// How a store is made and opened.
///
/// Page size and log length are chosen when the file is made; an existing file keeps its values.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    pub(super) page_size: u64,
    pub(super) log_len: u64,
    is_guarded: bool,
    has_reserve: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { page_size: 16 << 10, log_len: 4 << 20, is_guarded: true, has_reserve: true }
    }
}

impl StoreOptions {
    /// Returns the defaults: pages of 16 KiB, a log of 4 MiB.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the bytes of a page: 4, 8, 16, 32 or 64 KiB. Smaller pages make single changes cheaper, larger ones scans.
    #[must_use]
    pub fn page_size(mut self, bytes: u32) -> Self {
        self.page_size = bytes as u64;
        self
    }

    /// Sets the bytes of the log: a multiple of 64 KiB up to 4 GiB. A full log causes a checkpoint, so a longer log means fewer
    /// checkpoints, and more commits to apply when a store is opened after a crash.
    #[must_use]
    pub fn log_size(mut self, bytes: u64) -> Self {
        self.log_len = bytes;
        self
    }

    /// Opens files without locks, for file systems that have none ([`StoreError::NoLocks`]).
    ///
    /// The caller promises that no other process, and no other handle of this one, has the file open meanwhile, unless none of them
    /// writes. If the caller breaks this promise, commits are lost and readers may see any bytes.
    #[must_use]
    pub fn unguarded(mut self) -> Self {
        self.is_guarded = false;
        self
    }

    /// Keeps no room on the disk for later changes, for a file that is written once.
    pub(crate) fn without_reserve(mut self) -> Self {
        self.has_reserve = false;
        self
    }

    pub(super) fn check(&self) -> Result<(), StoreError> {
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

    /// Opens the store at `path` for writing, or makes it. Symbolic links are followed.
    ///
    /// Takes milliseconds at every size, plus the time to apply the log if the store was not closed. A store is made under another name
    /// and gets its own when it is whole, so a crash leaves it or nothing. An existing file must be a store, or empty. See the
    /// [module](crate::store) for the protection of the lock.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] if it is open for writing elsewhere; [`StoreError::NoLocks`], [`StoreError::NotAStore`],
    /// [`StoreError::Version`], [`StoreError::Corrupt`], [`StoreError::Option`], [`StoreError::Io`].
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Store, StoreError> {
        let path = path.as_ref();
        self.open_or_make(path).map_err(|error| error.at(Some(path)))
    }

    fn open_or_make(&self, path: &Path) -> Result<Store, StoreError> {
        self.check()?;
        for _ in 0..ATTEMPTS {
            let placed = match self.lock(path) {
                Ok(Some(placed)) => placed,
                Ok(None) => continue,
                Err(error) if error.kind() == ErrorKind::NotFound => match self.make_at(path)? {
                    Some(store) => return Ok(store),
                    // Another process was faster.
                    None => continue,
                },
                Err(error) => return Err(error),
            };
            let metadata = placed.file.metadata();
            let metadata = metadata.map_err(StoreError::io("ask for the length of the file"))?;
            if metadata.len() > 0 {
                return self.open_placed(placed, path);
            }
            let target = follow_links(path).map_err(StoreError::io("follow a link"))?;
            let new = self.fill(NewFile::beside(&target, Some(&metadata), self.guarding())?)?;
            return self.open_placed(new.replace(&target)?, path);
        }
        Err(StoreError::io("open the file")(io::ErrorKind::TimedOut.into()))
    }

    /// As [`Self::open`], but refuses a path without a file, and an empty file.
    pub(crate) fn open_existing(&self, path: &Path) -> Result<Store, StoreError> {
        let open = || {
            for _ in 0..ATTEMPTS {
                if let Some(placed) = self.lock(path)? {
                    return self.open_placed(placed, path);
                }
            }
            Err(StoreError::io("open the file")(io::ErrorKind::TimedOut.into()))
        };
        open().map_err(|error| error.at(Some(path)))
    }

    /// Opens and locks the file at `path`. Returns `None` if another process replaced the file before it was locked.
    fn lock(&self, path: &Path) -> Result<Option<Placed>, StoreError> {
        let file = open_file(path, OpenOptions::new().read(true).write(true));
        let file = Arc::new(file.map_err(StoreError::io("open the file"))?);
        let lock = self.is_guarded.then(|| WriterLock::acquire(&file, path)).transpose()?;
        Ok(is_file_at(path, &file).then_some(Placed { file, lock }))
    }

    /// As [`Self::open`], but refuses an existing file, even an empty one.
    ///
    /// # Errors
    ///
    /// As there, and [`StoreError::Io`] of the kind [`AlreadyExists`](io::ErrorKind::AlreadyExists).
    pub fn create(&self, path: impl AsRef<Path>) -> Result<Store, StoreError> {
        self.check()?;
        let path = path.as_ref();
        let exists = || StoreError::io("make the file")(io::ErrorKind::AlreadyExists.into());
        let made = self.make_at(path).and_then(|made| made.ok_or_else(exists));
        made.map_err(|error| error.at(Some(path)))
    }

    /// Makes a store at a path without a file. Returns `None` if another process made a file there.
    fn make_at(&self, path: &Path) -> Result<Option<Store>, StoreError> {
        let target = follow_links(path).map_err(StoreError::io("follow a link"))?;
        if std::fs::symlink_metadata(&target).is_ok() {
            return Ok(None);
        }
        let new = self.fill(NewFile::beside(&target, None, self.guarding())?)?;
        match new.place(&target)? {
            Ok(placed) => self.open_placed(placed, path).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Makes a store in a file whose name other processes do not know yet.
    pub(crate) fn open_new(&self, new: &NewFile) -> Result<Store, StoreError> {
        self.check()?;
        let storage: Arc<dyn Storage> = Arc::new(new.storage());
        self.create_in(&*storage)?;
        self.recovered(storage)
    }

    fn recovered(&self, storage: Arc<dyn Storage>) -> Result<Store, StoreError> {
        let (shared, recovered) = recover(storage, None, None)?;
        if !self.has_reserve {
            shared.writer.with(|writer| {
                writer.reserve = 0;
                Ok::<_, StoreError>(())
            })?;
        }
        Ok(Store::writer(shared, recovered))
    }

    fn fill(&self, new: NewFile) -> Result<NewFile, StoreError> {
        self.create_in(&new.storage())?;
        Ok(new)
    }

    fn open_placed(&self, placed: Placed, path: &Path) -> Result<Store, StoreError> {
        let Placed { file, lock } = placed;
        let readers = self.is_guarded.then(|| Readers::of(Arc::clone(&file)));
        let (shared, recovered) = recover(Arc::new(FileStorage::new(file, path)), readers, lock)?;
        Ok(Store::writer(shared, recovered))
    }

    fn guarding(&self) -> Guarding {
        if self.is_guarded { Guarding::Always } else { Guarding::Never }
    }

    /// Opens the store at `path` for reading, while another process may be writing it. Each
    /// [`Store::begin_read`] sees the newest commit. A reader needs only the right to read the file, and no right to write to it or to
    /// its folder.
    ///
    /// # Errors
    ///
    /// As for [`StoreOptions::open`], but for [`StoreError::Locked`].
    pub fn open_read_only(&self, path: impl AsRef<Path>) -> Result<Store, StoreError> {
        let path = path.as_ref();
        let opened = Follower::open(path, self.is_guarded).map_err(|error| error.at(Some(path)))?;
        Ok(Store::follower(opened))
    }

    /// Makes a store in memory that ends with its last handle.
    ///
    /// # Errors
    ///
    /// [`StoreError::Option`], [`StoreError::TooLarge`].
    pub fn open_in_memory(&self) -> Result<Store, StoreError> {
        self.open_storage(Arc::new(MemoryStorage::new()), true)
    }

    /// As [`Self::open_in_memory`], for a store that becomes about `bytes` bytes long.
    pub(crate) fn open_in_memory_of(&self, bytes: u64) -> Result<Store, StoreError> {
        self.open_storage(Arc::new(MemoryStorage::of(bytes)), true)
    }

    /// Opens a store in memory that begins with the bytes of a file, which are copied. It ends with its last handle.
    ///
    /// # Errors
    ///
    /// As for [`StoreOptions::open`], but for [`StoreError::Locked`].
    pub fn open_copy(&self, file: &[u8]) -> Result<Store, StoreError> {
        let storage = MemoryStorage::holding(file).map_err(StoreError::io("copy the file"))?;
        self.open_storage(Arc::new(storage), file.is_empty())
    }

    pub(super) fn open_storage(
        &self,
        storage: Arc<dyn Storage>,
        is_new: bool,
    ) -> Result<Store, StoreError> {
        self.check()?;
        if is_new {
            self.create_in(&*storage)?;
        }
        self.recovered(storage)
    }

    /// Makes an empty store. The meta slots are written last.
    fn create_in(&self, storage: &dyn Storage) -> Result<(), StoreError> {
        let far = far_page(self.log_len, self.page_size);
        storage.set_len(0).map_err(StoreError::io("empty the file"))?;
        // Zeros are written, not only reserved, because writing to the log must not change the file's metadata, and free pages must
        // have room on the disk.
        let len = (far + 1) * self.page_size;
        let written = if self.has_reserve { len } else { LOG_OFFSET + self.log_len };
        let zeros = vec![0; (1 << 20).min(written as usize)];
        let mut at = 0;
        while at < written {
            let n = (written - at).min(zeros.len() as u64) as usize;
            storage.write_at(at, &zeros[..n]).map_err(StoreError::io("write the empty log"))?;
            at += n as u64;
        }
        storage.set_len(len).map_err(StoreError::io("grow the new file"))?;
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
            end: far + 1,
            far,
        };
        // Both slots are written, so that a slot without a whole copy is a damaged one.
        for slot in 0..2 {
            meta.write(storage, slot)?;
        }
        storage.sync(SyncPoint::Create).map_err(StoreError::io("sync the new file"))
    }
}

/// Returns sixteen bytes that no other store has: from the process's random hash keys, time and address space.
fn new_uuid() -> [u8; 16] {
    use std::hash::{BuildHasher, RandomState};
    let now = clock::since_1970().as_nanos();
    let (a, b) = (RandomState::new(), RandomState::new());
    let mut out = [0; 16];
    out[..8].copy_from_slice(&a.hash_one((now, process::id())).to_le_bytes());
    out[8..].copy_from_slice(&b.hash_one((process::id(), now)).to_le_bytes());
    out
}
