//! Processes that see one file in different ways, and a collection whose content follows from the number of its commit.
#![allow(dead_code, reason = "each test program uses a part")]

pub(crate) mod moved;

use std::io::{BufRead, BufReader, Read, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nearfield::{Collection, CollectionBuilder, CollectionError, Hit, Metric, Snapshot};

pub(crate) const DIMENSION: usize = 16;
pub(crate) const KEYS: u64 = 400;
/// A commit sets each key of one group.
const GROUPS: u64 = 8;
/// Keys with large payloads, which exist during half of every [`PERIOD`] commits: files that never shrink are never rearranged.
const BALLAST: std::ops::Range<u64> = KEYS..KEYS + 30;
const BALLAST_BYTES: usize = 50_000;
pub(crate) const PERIOD: u64 = 32;

/// Returns a configuration with a small file, so that pages are reused soon: a checkpoint after some commits, each of about 13 KB.
pub(crate) fn config() -> CollectionBuilder {
    Collection::builder(DIMENSION, Metric::L2)
        .m(6)
        .ef_construction(30)
        .page_size(4096)
        .log_size(256 << 10)
        .checkpoint_after(60 << 10)
}

/// Returns the commit that has set a key last, in the state of commit `number`. The first commit sets all keys.
fn version(key: u64, number: u64) -> u64 {
    let since = (number + GROUPS - key % GROUPS) % GROUPS;
    number.saturating_sub(since).max(1)
}

/// Returns whether the ballast exists after commit `number`.
fn is_loaded(number: u64) -> bool {
    number % PERIOD >= PERIOD / 2
}

fn vector(key: u64, version: u64) -> Vec<f32> {
    crate::support::collections::vector(key, version, DIMENSION)
}

fn payload(key: u64, version: u64) -> Vec<u8> {
    let len = 100 + (key * 31 + version * 7) % 200;
    [key, version].iter().flat_map(|word| word.to_le_bytes()).cycle().take(len as usize).collect()
}

/// Makes commit `number`.
pub(crate) fn commit(collection: &Collection, number: u64) -> Result<(), CollectionError> {
    let mut tx = collection.begin_write()?;
    for key in (0..KEYS).filter(|&key| version(key, number) == number) {
        tx.upsert(key, &vector(key, number))?;
        tx.put_payload(key, &payload(key, number))?;
    }
    match (is_loaded(number - 1), is_loaded(number)) {
        (false, true) => {
            for key in BALLAST {
                tx.upsert(key, &vector(key, 0))?;
                tx.put_payload(key, &vec![key as u8; BALLAST_BYTES])?;
            }
        }
        (true, false) => {
            for key in BALLAST {
                tx.remove(key)?;
            }
        }
        _ => {}
    }
    assert_eq!(tx.commit()?, number);
    Ok(())
}

/// Returns the number of the last commit; 0 without commits.
pub(crate) fn last(collection: &Collection) -> u64 {
    collection.stats().unwrap().commit
}

/// Commits `numbers`, with a checkpoint for each.
pub(crate) fn write(collection: &Collection, numbers: RangeInclusive<u64>) {
    for number in numbers {
        commit(collection, number).unwrap();
        collection.checkpoint().unwrap();
    }
}

/// Returns the number of payloads of the key `first` and of later keys, which must have none.
fn payloads_from(snapshot: &Snapshot, first: u64) -> Result<u64, CollectionError> {
    let mut found = 0;
    for key in first..BALLAST.end + 10 {
        found += u64::from(snapshot.payload(key)?.is_some());
    }
    Ok(found)
}

/// Counts the errors of a snapshot: keys whose vector or payload is not that of its commit, payloads of keys that have none, hits whose
/// distance is not that of their vector, and searches if many of them do not find their own vector.
pub(crate) fn wrong(snapshot: &Snapshot) -> Result<u64, CollectionError> {
    let number = snapshot.number();
    if number == 0 {
        return Ok(snapshot.len() as u64 + payloads_from(snapshot, 0)?);
    }
    let ballast = if is_loaded(number) { BALLAST } else { KEYS..KEYS };
    let mut wrong = (snapshot.len() as u64).abs_diff(KEYS + ballast.end - ballast.start);
    wrong += payloads_from(snapshot, ballast.end)?;
    for key in ballast {
        let is_right = snapshot.get(key) == Some(vector(key, 0))
            && snapshot.payload(key)? == Some(&vec![key as u8; BALLAST_BYTES][..]);
        wrong += u64::from(!is_right);
    }
    let (mut asked, mut missed) = (0, 0);
    for key in 0..KEYS {
        let version = version(key, number);
        let vector = vector(key, version);
        let payload = payload(key, version);
        let is_right = snapshot.get(key).as_ref() == Some(&vector)
            && snapshot.payload(key)? == Some(&payload[..]);
        wrong += u64::from(!is_right);
        if key % 16 == number % 16 {
            let hits = snapshot.search(&vector).k(3).ef(60).run()?;
            asked += 1;
            missed += u64::from(hits.first().is_none_or(|hit| hit.key != key));
            let is_wrong = |hit: &&Hit| {
                let version = if hit.key < KEYS { self::version(hit.key, number) } else { 0 };
                let found = self::vector(hit.key, version);
                let squares = found.iter().zip(&vector).map(|(a, b)| (a - b) * (a - b));
                (squares.sum::<f32>() - hit.distance).abs() > 1e-3
            };
            wrong += hits.iter().filter(is_wrong).count() as u64 + u64::from(hits.len() != 3);
        }
    }
    if missed * 4 > asked {
        wrong += missed;
    }
    Ok(wrong)
}

/// Checks a copy as a whole: its structure, each vector and payload of its last commit, and that it has no others. Returns the number of
/// the commit.
pub(crate) fn check_copy(copy: &Path) -> Result<u64, String> {
    let told = |error: CollectionError| error.to_string();
    let collection = Collection::open(copy).map_err(told)?;
    let report = collection.check().map_err(told)?;
    let snapshot = collection.snapshot().map_err(told)?;
    let number = snapshot.number();
    match wrong(&snapshot).map_err(told)? {
        0 if report.is_ok() => Ok(number),
        wrong => Err(format!("commit {number}: {wrong} wrong; {report}")),
    }
}

/// A reader, which verifies its first snapshot and the newest one on request.
pub(crate) fn verify_on_request(kind: &str, path: &Path) {
    let reader = Collection::open_read_only(path).unwrap();
    let first = reader.snapshot().unwrap();
    let _held = settle(kind);
    println!("ready {}", first.number());
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let newest = reader.snapshot().unwrap();
        println!("{line} {} {}", wrong(&first).unwrap(), wrong(&newest).unwrap());
    }
}

/// The way in which another process sees the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    Plain,
    /// Through a symbolic link in another folder.
    Symlink,
    /// Through a second name in another folder.
    HardLink,
    /// By a relative path; the folder is changed when it is open.
    Relative,
    /// In a folder that is mounted for reading only.
    ReadOnlyMount,
    /// As a user with the right to read only.
    OtherUser,
    /// As a third user, beside the user of the test and [`Host::OtherUser`].
    ThirdUser,
    /// As process 1 of a namespace.
    Namespace,
    /// With one descriptor to spare when the file is open.
    FewDescriptors,
}

impl Host {
    pub(crate) const READERS: [Self; 8] = [
        Self::Plain,
        Self::Symlink,
        Self::HardLink,
        Self::Relative,
        Self::ReadOnlyMount,
        Self::OtherUser,
        Self::Namespace,
        Self::FewDescriptors,
    ];
    pub(crate) const WRITERS: [Self; 6] = [
        Self::Plain,
        Self::Symlink,
        Self::HardLink,
        Self::Relative,
        Self::Namespace,
        Self::FewDescriptors,
    ];

    /// Returns the reason why processes cannot be started in this way, if any.
    pub(crate) fn missing(self) -> Option<String> {
        let trial = match self {
            Self::Plain
            | Self::Symlink
            | Self::HardLink
            | Self::Relative
            | Self::FewDescriptors => return None,
            Self::ReadOnlyMount => "unshare -m mount -t tmpfs tmpfs /mnt",
            Self::OtherUser | Self::ThirdUser => {
                "setpriv --reuid=65534 --regid=65534 --clear-groups true"
            }
            Self::Namespace => "unshare -p -f true",
        };
        let mut words = trial.split(' ');
        let output = Command::new(words.next()?).args(words).output();
        match output {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Some(error.to_string()),
        }
    }
}

/// A folder that is removed with the test, which other users can read, and a copy of this program in it.
pub(crate) struct Site {
    folder: PathBuf,
}

impl Site {
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("nearfield-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&folder);
        for part in ["data", "links", "mount"] {
            std::fs::create_dir_all(folder.join(part)).unwrap();
        }
        // A child process writes the copy. If this process wrote it, a child that another test starts meanwhile would
        // inherit the open file, and Linux starts no program that is open for writing.
        let program = std::env::current_exe().unwrap();
        let copied = Command::new("cp").arg(program).arg(folder.join("program")).status().unwrap();
        assert!(copied.success(), "the test program cannot be copied to {}", folder.display());
        Self { folder }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder().join("c.nf")
    }

    /// Returns the file by the name that a host uses for it. Makes the name if it is missing.
    pub(crate) fn alias(&self, host: Host) -> PathBuf {
        let links = self.folder.join("links");
        match host {
            Host::Symlink => name(&links.join("symbolic.nf"), |link| {
                std::os::unix::fs::symlink("../data/c.nf", link)
            }),
            Host::HardLink => {
                name(&links.join("hard.nf"), |link| std::fs::hard_link(self.file(), link))
            }
            Host::Relative => PathBuf::from("c.nf"),
            Host::ReadOnlyMount => self.folder.join("mount").join("c.nf"),
            _ => self.file(),
        }
    }

    /// Starts this test program again, in the role `role`.
    pub(crate) fn start(&self, role: &str, host: Host) -> Process {
        let program = self.folder.join("program");
        let program = program.to_str().unwrap();
        let wrapped = match host {
            Host::ReadOnlyMount => {
                let (data, mount) = (self.folder(), self.folder.join("mount"));
                let (data, mount) = (data.to_str().unwrap(), mount.to_str().unwrap());
                let script = format!(
                    "mount --bind {data} {mount} && mount -o remount,ro,bind {mount} && exec \"$@\""
                );
                ["unshare", "-m", "sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
            }
            Host::OtherUser => ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
                .map(str::to_owned)
                .to_vec(),
            Host::ThirdUser => ["setpriv", "--reuid=65533", "--regid=65533", "--clear-groups"]
                .map(str::to_owned)
                .to_vec(),
            Host::Namespace => ["unshare", "-p", "-f"].map(str::to_owned).to_vec(),
            Host::FewDescriptors => {
                ["sh", "-c", "ulimit -n 40 && exec \"$@\"", "sh"].map(str::to_owned).to_vec()
            }
            _ => Vec::new(),
        };
        let words: Vec<&str> = wrapped.iter().map(String::as_str).chain([program]).collect();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .args(["role", "--exact", "--nocapture", "--test-threads", "1"])
            .current_dir(self.folder())
            .env("HOST_ROLE", role)
            .env("HOST_KIND", format!("{host:?}"))
            .env("HOST_FILE", self.alias(host))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let input = child.stdin.take();
        Process { child, out, input, host }
    }
}

/// Gives `path` a new meaning by `make`. At no moment is the name missing: another process may be about to open it.
fn name(path: &Path, make: impl Fn(&Path) -> std::io::Result<()>) -> PathBuf {
    let fresh = path.with_extension("fresh");
    let _ = std::fs::remove_file(&fresh);
    make(&fresh).unwrap();
    std::fs::rename(&fresh, path).unwrap();
    // Nothing is renamed if both are names of one file.
    let _ = std::fs::remove_file(&fresh);
    path.to_owned()
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A started process.
pub(crate) struct Process {
    pub(crate) child: Child,
    out: BufReader<ChildStdout>,
    input: Option<ChildStdin>,
    pub(crate) host: Host,
}

impl Process {
    /// Waits for a line with `prefix`. Returns the text after `prefix`, or `None` if the output ends before.
    pub(crate) fn wait_for(&mut self, prefix: &str) -> Option<String> {
        let mut line = String::new();
        while self.out.read_line(&mut line).ok()? > 0 {
            // The test program may have begun the line.
            if let Some((_, rest)) = line.split_once(prefix) {
                return Some(rest.trim().to_owned());
            }
            line.clear();
        }
        None
    }

    /// Returns the next line, or `None` at the end of the output.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.out.read_line(&mut line).ok()? > 0).then_some(line)
    }

    /// Returns all lines up to the end.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        self.out.by_ref().lines().map_while(Result::ok).collect()
    }

    pub(crate) fn say(&mut self, word: &str) {
        if let Some(input) = &mut self.input {
            // The process may have ended.
            let _ = writeln!(input, "{word}");
        }
    }

    /// Closes the input of the process, which takes this as the word to end.
    pub(crate) fn hang_up(&mut self) {
        self.input = None;
    }

    /// Waits until the process has ended.
    pub(crate) fn wait(&mut self) {
        self.hang_up();
        self.child.wait().unwrap();
    }

    /// Kills the process and its children, in any namespace.
    pub(crate) fn kill(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            // Another process may have its number now.
            return;
        }
        let id = self.child.id().to_string();
        // A writer that sees its forked child killed would report it.
        let _ = Command::new("kill").args(["-STOP", &id]).stderr(Stdio::null()).status();
        let _ = Command::new("pkill").args(["-KILL", "-P", &id]).status();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns the role of a started process, its host, and the path that it is to open.
pub(crate) fn role() -> Option<(String, String, PathBuf)> {
    let role = std::env::var("HOST_ROLE").ok()?;
    let path = PathBuf::from(std::env::var("HOST_FILE").ok()?);
    Some((role, std::env::var("HOST_KIND").ok()?, path))
}

/// Changes the folder or takes the descriptors, as the host requires, once the file is open. Returns descriptors that must stay open.
pub(crate) fn settle(kind: &str) -> Vec<std::fs::File> {
    let mut held = Vec::new();
    if kind == "Relative" {
        std::env::set_current_dir("/").unwrap();
    }
    if kind == "FewDescriptors" {
        while let Ok(file) = std::fs::File::open("/dev/null") {
            held.push(file);
        }
        held.pop();
    }
    held
}

/// Returns the names in a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
