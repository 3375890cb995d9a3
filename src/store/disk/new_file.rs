//! Files that are made under a private name, and replace their destination when they are whole.

use std::fs::{self, File, Metadata, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::FileStorage;
use super::locks::{ReplaceLock, WriterLock};
use crate::clock;
use crate::process::Process;
use crate::store::error::StoreError;

/// First bytes of every store; the line ends show damage by text-mode copying.
pub(crate) const MAGIC: [u8; 8] = *b"nrfld\r\n\x1a";

/// Names of unfinished files begin with this, followed by 32 hexadecimal digits.
const PREFIX: &str = ".nearfield-new-";
const DIGITS: usize = 32;

/// Whether a new file is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guarding {
    Always,
    /// Unless the file system has no locks.
    IfSupported,
    Never,
}

/// A file under a private name, locked for writing. If it is dropped before it [gets its name](Self::replace), it is removed.
#[derive(Debug)]
pub(crate) struct NewFile {
    file: Arc<File>,
    path: PathBuf,
    /// The path that errors name.
    target: PathBuf,
    lock: Option<WriterLock>,
    process: Process,
    is_placed: bool,
}

impl NewFile {
    /// Makes a file in the folder of `target`, with the mode and, if the system allows, the owner of `like`. Removes unfinished files
    /// of earlier processes that ended before they placed them.
    pub(crate) fn beside(
        target: &Path,
        like: Option<&Metadata>,
        guarding: Guarding,
    ) -> Result<Self, StoreError> {
        let folder = folder_of(target);
        remove_leftovers(folder);
        for _ in 0..16 {
            let path = folder.join(unguessable());
            let mut options = OpenOptions::new();
            options.read(true).write(true).create_new(true);
            #[cfg(unix)]
            if like.is_some() {
                // Only the owner has rights, until the rights of `like` are set.
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            }
            let file = match options.open(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                other => Arc::new(other.map_err(StoreError::io("make a file in the folder"))?),
            };
            let mut new = Self {
                file,
                path,
                target: target.to_path_buf(),
                lock: None,
                process: Process::current(),
                is_placed: false,
            };
            let lock = match guarding {
                Guarding::Always => WriterLock::acquire(&new.file, target).map(Some),
                Guarding::IfSupported => if_supported(WriterLock::acquire(&new.file, target)),
                Guarding::Never => Ok(None),
            };
            new.lock = match lock {
                // Another process has the file open, because it takes it for a left-over.
                Err(StoreError::Locked { .. }) => continue,
                other => other?,
            };
            // Before the file was locked, another process could take it for a left-over.
            if !is_file_at(&new.path, &new.file) {
                new.is_placed = true;
                continue;
            }
            if let Some(like) = like {
                copy_rights(&new.file, like).map_err(StoreError::io("set the rights of a file"))?;
            }
            return Ok(new);
        }
        let source = ErrorKind::AlreadyExists.into();
        Err(StoreError::io("make a file in the folder")(source))
    }

    pub(crate) fn storage(&self) -> FileStorage {
        FileStorage::new(Arc::clone(&self.file), &self.target)
    }

    /// Gives the file the name `target`, in one step, and replaces the file that has the name. The bytes of the new file must be on the
    /// disk.
    pub(crate) fn replace(mut self, target: &Path) -> Result<Placed, StoreError> {
        fs::rename(&self.path, target).map_err(StoreError::io("name the new file"))?;
        self.is_placed = true;
        sync_folder(target)?;
        Ok(Placed { file: Arc::clone(&self.file), lock: self.lock.take() })
    }

    /// As [`Self::replace`], but returns the new file if `target` exists.
    pub(crate) fn place(mut self, target: &Path) -> Result<Result<Placed, Self>, StoreError> {
        match fs::hard_link(&self.path, target) {
            Ok(()) => {
                // A second name would be removed with the left-overs.
                let _ = fs::remove_file(&self.path);
                self.is_placed = true;
                sync_folder(target)?;
                Ok(Ok(Placed { file: Arc::clone(&self.file), lock: self.lock.take() }))
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Err(self)),
            // On a file system without links an empty file claims the name, and is replaced.
            Err(_) => match OpenOptions::new().write(true).create_new(true).open(target) {
                Ok(_) => self.replace(target).map(Ok),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Err(self)),
                Err(error) => Err(StoreError::io("name the new file")(error)),
            },
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_placed && self.process.is_current() {
            // If this fails, the next new file removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A new file under its final name.
pub(crate) struct Placed {
    pub(crate) file: Arc<File>,
    pub(crate) lock: Option<WriterLock>,
}

/// The place of a file that is to be replaced. Until it is dropped, no writer opens the file that is at the place now.
pub(crate) struct Replacement {
    /// Links are followed.
    target: PathBuf,
    old: Option<Old>,
}

struct Old {
    file: Arc<File>,
    /// `None` on a file system without locks, on which a writer opens a file only if it knows that it is alone.
    _lock: Option<ReplaceLock>,
}

/// Returns `None` if the file system has no locks.
fn if_supported<L>(lock: Result<L, StoreError>) -> Result<Option<L>, StoreError> {
    match lock {
        Err(StoreError::NoLocks { .. }) => Ok(None),
        lock => lock.map(Some),
    }
}

impl Replacement {
    /// Opens and locks the file at `path`, if it exists.
    pub(crate) fn at(path: &Path) -> Result<Self, StoreError> {
        let target = follow_links(path).map_err(StoreError::io("follow a link"))?;
        let old = Self::look(&target)?;
        Ok(Self { target, old })
    }

    fn look(target: &Path) -> Result<Option<Old>, StoreError> {
        for _ in 0..ATTEMPTS {
            let file = match open_file(target, OpenOptions::new().read(true)) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                other => Arc::new(other.map_err(StoreError::io("open the file to be replaced"))?),
            };
            let lock = if_supported(ReplaceLock::acquire(&file, target))?;
            if is_file_at(target, &file) {
                return Ok(Some(Old { file, _lock: lock }));
            }
        }
        Err(StoreError::io("open the file to be replaced")(ErrorKind::TimedOut.into()))
    }

    /// Makes the new file for the place. Its rights are those of the file that it replaces, else of `like`.
    pub(crate) fn new_file(&self, like: Option<&File>) -> Result<NewFile, StoreError> {
        let like = self.old.as_ref().map(|old| &*old.file).or(like);
        let like = like.map(File::metadata).transpose();
        let like = like.map_err(StoreError::io("ask for the rights of a file"))?;
        NewFile::beside(&self.target, like.as_ref(), Guarding::IfSupported)
    }

    /// Puts `new`, whose bytes must be on the disk, in the place. A writer that opened a file at the place meanwhile keeps it.
    pub(crate) fn finish(mut self, mut new: NewFile) -> Result<(), StoreError> {
        for _ in 0..ATTEMPTS {
            match &self.old {
                Some(old) if is_file_at(&self.target, &old.file) => {
                    return new.replace(&self.target).map(drop);
                }
                // Another process has moved or replaced the old file.
                Some(_) => {}
                None => match new.place(&self.target)? {
                    Ok(_) => return Ok(()),
                    Err(back) => new = back,
                },
            }
            self.old = Self::look(&self.target)?;
        }
        Err(StoreError::io("name the new file")(ErrorKind::TimedOut.into()))
    }
}

/// Maximum number of attempts to open a path whose file other processes keep replacing.
pub(crate) const ATTEMPTS: usize = 100;

/// Opens a regular file, and refuses everything else, because opening a pipe would wait for its other end.
pub(crate) fn open_file(path: &Path, options: &OpenOptions) -> io::Result<File> {
    let is_file = |metadata: &Metadata| {
        let other = || io::Error::new(ErrorKind::InvalidInput, "it is not a regular file");
        if metadata.is_file() { Ok(()) } else { Err(other()) }
    };
    is_file(&fs::metadata(path)?)?;
    let file = options.open(path)?;
    is_file(&file.metadata()?)?;
    Ok(file)
}

/// Returns whether `path` leads to `file`, links followed.
pub(crate) fn is_file_at(path: &Path, file: &File) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let place = |metadata: Metadata| (metadata.dev(), metadata.ino());
        match (fs::metadata(path), file.metadata()) {
            (Ok(there), Ok(here)) => place(there) == place(here),
            _ => false,
        }
    }
    #[cfg(not(unix))]
    {
        // Windows refuses to rename or remove a file that is open, but in ways that this crate does not use.
        let _ = file;
        path.exists()
    }
}

/// Returns the path at the end of all symbolic links, even if no file has it.
pub(crate) fn follow_links(path: &Path) -> io::Result<PathBuf> {
    const MOST: usize = 40;

    let mut path = path.to_path_buf();
    for _ in 0..MOST {
        match fs::read_link(&path) {
            Ok(link) => path = folder_of(&path).join(link),
            // The path is no link, or has no file.
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many links lead from one to the next"))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the names in a file's folder durable.
pub(crate) fn sync_folder(path: &Path) -> Result<(), StoreError> {
    if cfg!(unix) {
        let folder = File::open(folder_of(path)).map_err(StoreError::io("open the folder"))?;
        folder.sync_all().map_err(StoreError::io("sync the folder"))?;
    }
    Ok(())
}

/// Returns a name that no other process makes or guesses.
fn unguessable() -> String {
    let word = || RandomState::new().hash_one(clock::since_1970());
    format!("{PREFIX}{:016x}{:016x}", word(), word())
}

/// Removes new files that no process holds. A file that cannot be opened stays.
fn remove_leftovers(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let is_ours = digits.is_some_and(|digits| {
            digits.len() == DIGITS
                && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
        });
        if is_ours && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let _ = remove_leftover(&entry.path());
        }
    }
}

fn remove_leftover(path: &Path) -> Result<(), StoreError> {
    let attempt = StoreError::io("look at a file");
    let opened = open_file(path, OpenOptions::new().read(true).write(true));
    let file = Arc::new(opened.map_err(attempt)?);
    let _lock = WriterLock::acquire(&file, path)?;
    let mut start = Vec::new();
    let read = (&*file).take(MAGIC.len() as u64).read_to_end(&mut start);
    read.map_err(StoreError::io("look at a file"))?;
    // The file is empty, or begins with zeros or the magic number.
    if start.iter().all(|&byte| byte == 0) || start == MAGIC {
        fs::remove_file(path).map_err(StoreError::io("remove a file"))?;
    }
    Ok(())
}

/// Gives `file` the owner, group and mode of another. If the group cannot be kept, its rights fall back to those of all users.
#[cfg(unix)]
fn copy_rights(file: &File, like: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};

    let mut mode = like.mode() & 0o777;
    let now = file.metadata()?;
    let is_same = (now.uid(), now.gid()) == (like.uid(), like.gid());
    if !is_same
        && fchown(file, Some(like.uid()), Some(like.gid())).is_err()
        && now.gid() != like.gid()
        && fchown(file, None, Some(like.gid())).is_err()
    {
        mode = (mode & !0o070) | ((mode & 0o007) << 3);
    }
    file.set_permissions(fs::Permissions::from_mode(mode))
}

/// Rights come from the folder on other systems.
#[cfg(not(unix))]
fn copy_rights(_: &File, _: &Metadata) -> io::Result<()> {
    Ok(())
}
