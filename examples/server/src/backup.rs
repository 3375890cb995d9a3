//! Copies of libraries, in the folder that the operator chose. A client chooses neither the folder nor the name of a copy.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::library::{Library, sync_folder};
use crate::problem::{Problem, Result};

/// The folder of copies.
#[derive(Debug)]
pub struct Backups {
    folder: Option<PathBuf>,
    /// One copy is made at a time, because each reads and writes a whole file.
    turn: Semaphore,
}

/// A copy on the disk.
#[derive(Debug)]
pub struct Made {
    /// The name of its folder.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
}

impl Backups {
    /// Returns the copies in a folder.
    pub fn new(folder: Option<&Path>) -> Self {
        Self { folder: folder.map(Path::to_path_buf), turn: Semaphore::new(1) }
    }

    /// Copies the newest commit of a library. The copy has its name when it is whole and on the disk. Blocks.
    ///
    /// # Errors
    ///
    /// 501 without a folder, 429 while another copy is made, those of the disk; 403 in a replica.
    pub fn make(&self, library: &Library) -> Result<Made> {
        let folder = self.folder.as_deref().ok_or_else(|| {
            Problem::unsupported("the service has no folder for backups; start it with `--backups`")
        })?;
        let _turn = self.turn.try_acquire().map_err(|_| Problem::backing_up())?;
        let name = format!("{}-{}", library.name(), Uuid::now_v7().simple());
        let (made, place) = (folder.join(format!(".new-{name}")), folder.join(&name));
        let fault = |error| Problem::internal(format!("{}: {error}", folder.display()));
        fs::create_dir_all(&made).map_err(fault)?;
        let copied = library.backup(&made).and_then(|()| {
            fs::rename(&made, &place).and_then(|()| sync_folder(folder)).map_err(fault)
        });
        if let Err(problem) = copied {
            let _ = fs::remove_dir_all(&made);
            return Err(problem);
        }
        let sizes = fs::read_dir(&place).map_err(fault)?.map(|file| file?.metadata());
        let bytes = sizes.map(|file| file.map(|file| file.len())).sum::<Result<_, _>>();
        Ok(Made { name, bytes: bytes.map_err(fault)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::{Codes, Distance, IndexKind, Shape};
    use crate::settings::Settings;

    #[test]
    fn one_backup_is_made_at_a_time() {
        let folder = std::env::temp_dir().join(format!("nearfield-backups-{}", Uuid::now_v7()));
        let place = folder.join("a");
        fs::create_dir_all(&place).unwrap();
        let (metric, index, quantization) = (Distance::L2, IndexKind::Hnsw, Codes::None);
        Library::create(&place, Shape { dimension: 4, metric, index, quantization }).unwrap();
        let limits = Settings::in_folder(&folder).limits;
        let library = Library::open("a", &place, &limits).unwrap();
        let copies = folder.join("copies");
        let backups = Backups::new(Some(&copies));
        let turn = backups.turn.try_acquire().unwrap();
        assert_eq!(backups.make(&library).unwrap_err().status(), 429);
        assert!(!copies.exists());
        drop(turn);
        let (first, second) = (backups.make(&library).unwrap(), backups.make(&library).unwrap());
        assert!(first.name < second.name && first.bytes > 0);
        assert_eq!(fs::read_dir(&copies).unwrap().count(), 2);
        // A copy is another library, whose cached answers are not those of the first.
        let copy = Library::open("b", &copies.join(&first.name), &limits).unwrap();
        assert_ne!(copy.instance(), library.instance());
        drop((library, copy));
        fs::remove_dir_all(&folder).unwrap();
    }
}
