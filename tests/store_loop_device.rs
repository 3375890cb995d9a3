//! Power cuts of a real file system: a writer on ext4 on a loop device is stopped, the device is copied as it is at that
//! moment, and the copy is mounted. Data that the file system had not been made to write is lost.
//!
//! `NEARFIELD_LOOP_CUTS=20 cargo test --release --test store_loop_device -- --nocapture`, as root; prints a message if it cannot
//! be done.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nearfield::store::StoreOptions;

const FILE: &str = "NEARFIELD_TEST_FILE";

fn options() -> StoreOptions {
    StoreOptions::new().page_size(4096).log_size(128 << 10)
}

/// Runs a program. Returns its failure, if any.
fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// A mounted image of a file system.
struct Mounted {
    folder: PathBuf,
}

impl Mounted {
    fn new(image: &Path, folder: PathBuf) -> Result<Self, String> {
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        run("mount", &["-o", "loop", image.to_str().unwrap(), folder.to_str().unwrap()])?;
        Ok(Self { folder })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = run("umount", &["-l", self.folder.to_str().unwrap()]);
    }
}

/// The body of the other process, not a test. Returns at once if `FILE` is not set.
#[test]
fn role() {
    let Ok(path) = std::env::var(FILE) else { return };
    let store = options().open(&path).unwrap();
    println!("ready");
    for n in 1_u64.. {
        // The writer does not sync this file: it shows that a cut loses unsynced data.
        std::fs::write(format!("{path}.unsynced"), n.to_le_bytes()).unwrap();
        let mut tx = store.begin_write().unwrap();
        let mut table = tx.table::<u64>("t").unwrap();
        table.insert(n, &vec![n as u8; (n % 9 * 700) as usize]).unwrap();
        if n > 300 {
            table.remove(n - 300).unwrap();
        }
        tx.commit().unwrap();
        println!("ack {n}");
    }
}

/// Returns the number of the last commit, after checking that the store holds all of it and nothing else.
fn last(path: &Path) -> u64 {
    let store = options().open(path).unwrap();
    store.check().unwrap();
    let tx = store.begin_read().unwrap();
    if tx.tables().unwrap().is_empty() {
        return 0;
    }
    let table = tx.table::<u64>("t").unwrap();
    let n = table.last().unwrap().unwrap().0;
    let first = n.saturating_sub(299).max(1);
    assert_eq!(table.len(), n - first + 1);
    for entry in table.entries().unwrap() {
        let (key, value) = entry.unwrap();
        assert!(key >= first && value.len() as u64 == key % 9 * 700);
        assert!(value.iter().all(|&byte| byte == key as u8));
    }
    n
}

struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Cuts once after `commits` commits. Returns the acknowledged commits, the commits found, and whether unsynced data was lost.
fn cut(folder: &Path, image: &Path, commits: u64) -> Result<(u64, u64, bool), String> {
    let disk = Mounted::new(image, folder.join("disk"))?;
    let path = disk.folder.join("store");
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["role", "--exact", "--nocapture", "--test-threads", "1"])
        .env(FILE, &path)
        .stdout(Stdio::piped())
        .spawn();
    let mut child = Writer(child.map_err(|error| error.to_string())?);
    let mut acknowledged = 0;
    let mut out = BufReader::new(child.0.stdout.take().unwrap());
    let mut line = String::new();
    while acknowledged < commits && out.read_line(&mut line).unwrap_or(0) > 0 {
        let number = line.trim().strip_prefix("ack ").and_then(|n| n.parse().ok());
        acknowledged = number.unwrap_or(acknowledged);
        line.clear();
    }
    run("kill", &["-STOP", &child.0.id().to_string()])?;
    // Writes on their way to the device arrive.
    std::thread::sleep(Duration::from_millis(20));
    let copy = folder.join("copy.img");
    run("cp", &[image.to_str().unwrap(), copy.to_str().unwrap()])?;
    drop(child);
    drop(disk);
    let after = Mounted::new(&copy, folder.join("after"))?;
    let found = last(&after.folder.join("store"));
    let unsynced = std::fs::read(after.folder.join("store.unsynced")).unwrap_or_default();
    let lost = unsynced.try_into().map_or(0, u64::from_le_bytes) < acknowledged;
    Ok((acknowledged, found, lost))
}

#[test]
fn a_real_file_system_loses_no_acknowledged_commit() {
    let cuts = std::env::var("NEARFIELD_LOOP_CUTS").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    if cuts == 0_u64 {
        return;
    }
    let folder = std::env::temp_dir().join(format!("nearfield-loop-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let image = folder.join("disk.img");
    let (mut total, mut lost) = (0, 0);
    for number in 0..cuts {
        let made = std::fs::File::create(&image)
            .and_then(|file| file.set_len(64 << 20))
            .map_err(|error| error.to_string())
            .and_then(|()| run("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()]))
            .and_then(|()| cut(&folder, &image, 1 + number * 97 % 1200));
        match made {
            Ok((acknowledged, found, unsynced)) => {
                assert!(found >= acknowledged, "{acknowledged} acknowledged, {found} found");
                total += found;
                lost += u64::from(unsynced);
            }
            Err(error) => {
                println!("NOT CHECKED: no file system on a loop device: {error}");
                let _ = std::fs::remove_dir_all(&folder);
                return;
            }
        }
    }
    let _ = std::fs::remove_dir_all(&folder);
    println!("{cuts} cuts, {total} commits kept, {lost} files lost that were not synced");
    assert!(lost > 0, "the cuts lose nothing, and so prove nothing");
}
