//! A hostile host: writers, readers, backups, compaction, saves, renames, forks and kills in random order over one file.
//!
//! Every snapshot is compared with the model of its commit, and every acknowledged commit with the file when it is
//! opened again. `NEARFIELD_HOSTILE_SECONDS=60` runs for a minute, `NEARFIELD_HOSTILE_ROUNDS=2000` runs 2,000 rounds:
//!
//! ```text
//! NEARFIELD_HOSTILE_ROUNDS=2000 cargo test --release --test hostile_host hostile -- --nocapture
//! ```
//!
//! With `--cfg nearfield_guards`, guards of the design can be turned off one by one, and the test must fail without each:
//!
//! ```text
//! RUSTFLAGS="--cfg nearfield_guards" CARGO_TARGET_DIR=target/guards cargo test --test hostile_host guard -- --nocapture
//! ```
#![cfg(target_os = "linux")]
#![expect(unsafe_code, reason = "fork")]

mod fork_support;
mod host_support;
mod support;

use std::io::BufRead;
use std::path::Path;
use std::time::{Duration, Instant};

use fork_support::in_child;
use host_support::moved::wrong_after_moves;
use host_support::{
    DIMENSION, Host, Process, Site, check_copy, commit, config, last, names, settle, wrong,
};
use nearfield::store::StoreError;
use nearfield::{Collection, CollectionError, Hnsw, Metric, Snapshot};

/// A small generator: the same seed gives the same events, but not the same timing.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// Not a test: the code of the other processes.
#[test]
fn role() {
    let Some((role, kind, path)) = host_support::role() else { return };
    let seed = path.as_os_str().len() as u64 ^ u64::from(std::process::id());
    let mut random = Random(seed ^ Instant::now().elapsed().as_nanos() as u64);
    match role.as_str() {
        "writer" => write(&path, &kind, &mut random),
        "reader" => read(&path, &kind, &mut random),
        role => panic!("unknown role {role}"),
    }
}

/// Checks the snapshots that this reader holds, until its input ends.
fn read(path: &Path, kind: &str, random: &mut Random) {
    let reader = Collection::open_read_only(path).unwrap();
    let mut snapshots: Vec<Snapshot> = vec![reader.snapshot().unwrap()];
    let _held = settle(kind);
    println!("ready");
    let ended = std::thread::spawn(|| while std::io::stdin().lock().lines().next().is_some() {});
    let (mut checked, mut newest) = (0, 0);
    while !ended.is_finished() {
        let snapshot = reader.snapshot().unwrap();
        assert!(snapshot.number() >= newest, "a later snapshot is older");
        newest = snapshot.number();
        snapshots.push(snapshot);
        let at = random.below(snapshots.len());
        report(&snapshots[at]);
        checked += 1;
        if snapshots.len() > 3 || random.below(3) == 0 {
            snapshots.swap_remove(random.below(snapshots.len()));
        }
    }
    println!("checked {checked}");
}

fn report(snapshot: &Snapshot) {
    match wrong(snapshot) {
        Ok(0) => {}
        Ok(wrong) => println!("wrong: {wrong} keys of commit {}", snapshot.number()),
        Err(error) => println!("wrong: commit {}: {error}", snapshot.number()),
    }
}

/// Commits until the process is killed, and prints each commit. Between commits it runs all other operations of a writer.
fn write(path: &Path, kind: &str, random: &mut Random) {
    let mut collection = Some(config().open(path).unwrap());
    let copy = std::env::current_exe().unwrap().with_file_name("data").join("copy.nf");
    let _held = settle(kind);
    let can_copy = kind != "FewDescriptors";
    let mut snapshots: Vec<Snapshot> = Vec::new();
    println!("ready");
    let mut next = last(collection.as_ref().unwrap()) + 1;
    loop {
        let open = collection.as_ref().unwrap();
        let mut acknowledge = || {
            commit(open, next).unwrap();
            println!("ack {next}");
            next += 1;
            next - 1
        };
        let number = acknowledge();
        match random.below(24) {
            0 => open.checkpoint().unwrap(),
            1 => {
                open.compact().unwrap();
            }
            2 if can_copy => {
                open.backup(&copy).unwrap();
                let found = check_copy(&copy);
                if found != Ok(number) {
                    println!("wrong: a copy of commit {number}: {found:?}");
                }
            }
            3..=6 => snapshots.push(open.snapshot().unwrap()),
            7..=12 => {
                if let Some(snapshot) = snapshots.pop() {
                    report(&snapshot);
                }
            }
            13 => fork(&mut collection, &mut snapshots),
            14 | 15 => {
                // Compaction moves the extents of a view that can be reused; the number of the checkpoint does not change.
                open.checkpoint().unwrap();
                let before = open.snapshot().unwrap();
                open.compact().unwrap();
                drop(before);
                acknowledge();
                let after = open.snapshot().unwrap();
                // Further commits take the places that the extents left.
                for _ in 0..8 {
                    acknowledge();
                }
                report(&after);
            }
            _ => {}
        }
        snapshots.truncate(3);
    }
}

/// Forks a child that drops its copies of all handles; then the parent continues.
fn fork(collection: &mut Option<Collection>, snapshots: &mut Vec<Snapshot>) {
    let is_right = in_child(|| {
        let refused = matches!(
            collection.as_ref().map(Collection::begin_write),
            Some(Err(CollectionError::Store(StoreError::Forked { .. })))
        );
        snapshots.clear();
        *collection = None;
        refused
    });
    if !is_right {
        println!("wrong: a forked child was not refused");
    }
}

/// The result of a run.
#[derive(Debug, Default)]
struct Findings {
    rounds: u64,
    commits: u64,
    checked: u64,
    wrong: Vec<String>,
}

struct Game {
    site: Site,
    random: Random,
    writers: Vec<Host>,
    readers: Vec<Host>,
    acknowledged: u64,
    found: Findings,
}

impl Game {
    fn new(name: &str, seed: u64) -> Self {
        let usable = |hosts: &[Host]| -> Vec<Host> {
            let usable = |host: &&Host| match host.missing() {
                None => true,
                Some(reason) => {
                    println!("SKIPPED: processes in {host:?}: {reason}");
                    false
                }
            };
            hosts.iter().filter(usable).copied().collect()
        };
        Self {
            site: Site::new(name),
            random: Random(seed),
            writers: usable(&Host::WRITERS),
            readers: usable(&Host::READERS),
            acknowledged: 0,
            found: Findings::default(),
        }
    }

    fn pick(&mut self, hosts: &[Host]) -> Host {
        hosts[self.random.below(hosts.len())]
    }

    /// Tries a second writer and a save beside the writer: both must be refused.
    fn intrude(&mut self) {
        let hosts = [Host::Plain, Host::Symlink, Host::HardLink];
        let host = self.pick(&hosts);
        let path = self.site.alias(host);
        let is_refused = |error: &CollectionError| {
            matches!(error, CollectionError::Store(StoreError::Locked { .. }))
        };
        match config().open(&path) {
            Err(error) if is_refused(&error) => {}
            Err(error) => self.found.wrong.push(format!("a second writer: {error}")),
            Ok(_) => self.found.wrong.push("a second writer was let in".to_owned()),
        }
        let index = Hnsw::builder(DIMENSION, Metric::L2).build().unwrap();
        match index.save(&path) {
            Err(error) if is_refused(&error) => {}
            Err(error) => self.found.wrong.push(format!("a save: {error}")),
            Ok(()) => self.found.wrong.push("an open file was replaced".to_owned()),
        }
    }

    /// Renames the file and renames it back while processes have it open.
    fn rename(&mut self) {
        let (here, there) = (self.site.file(), self.site.folder().join("moved.nf"));
        std::fs::rename(&here, &there).unwrap();
        std::thread::sleep(Duration::from_millis(self.random.next() % 5));
        std::fs::rename(&there, &here).unwrap();
    }

    /// Compacts another file under a reader's snapshot, and checks the reader's next snapshot.
    fn rearrange(&mut self) {
        let path = self.site.folder().join("moved-extents.nf");
        let wrong = wrong_after_moves(&path);
        if wrong > 0 {
            self.found.wrong.push(format!("{wrong} keys of a snapshot whose extents moved"));
        }
        std::fs::remove_file(path).unwrap();
    }

    /// Records a line of a writer in `host`.
    fn hear(&mut self, host: Host, line: &str) {
        if let Some(number) = line.strip_prefix("ack ") {
            self.acknowledged = number.trim().parse().unwrap_or(self.acknowledged);
        } else if line.contains("wrong:") {
            self.found.wrong.push(format!("writer in {host:?}: {line}"));
        }
    }

    /// Runs one life of a writer, with readers beside it.
    fn round(&mut self) {
        let (writers, readers) = (self.writers.clone(), self.readers.clone());
        let host = self.pick(&writers);
        let mut writer = self.site.start("writer", host);
        if writer.wait_for("ready").is_none() {
            self.found.wrong.push(format!("a writer in {host:?} did not open the file"));
            return;
        }
        let mut watchers: Vec<Process> = Vec::new();
        for _ in 0..=self.random.below(3) {
            let host = self.pick(&readers);
            watchers.push(self.site.start("reader", host));
        }
        for watcher in &mut watchers {
            if watcher.wait_for("ready").is_none() {
                self.found.wrong.push(format!("a reader in {:?} ended", watcher.host));
            }
        }
        for _ in 0..=self.random.below(4) {
            match self.random.below(4) {
                0 => self.rename(),
                1 => self.intrude(),
                2 if watchers.len() > 1 => drop(watchers.pop()),
                _ => {}
            }
            // Rounds are counted in commits, so that slow and fast machines do the same work in a round.
            let commits = if self.random.below(8) == 0 { 80 } else { self.random.below(12) };
            for _ in 0..commits {
                let Some(line) = writer.line() else {
                    self.found.wrong.push(format!("the writer in {host:?} ended"));
                    break;
                };
                self.hear(host, &line);
            }
            std::thread::sleep(Duration::from_millis(self.random.next() % 20));
        }
        if self.random.below(16) == 0 {
            self.rearrange();
        }
        writer.kill();
        for line in writer.rest() {
            self.hear(host, &line);
        }
        for mut watcher in watchers {
            watcher.hang_up();
            let lines = watcher.rest();
            let checked = lines.iter().find_map(|line| line.strip_prefix("checked "));
            match checked.and_then(|checked| checked.parse::<u64>().ok()) {
                Some(checked) => self.found.checked += checked,
                None => self.found.wrong.push(format!("a reader in {:?} failed", watcher.host)),
            }
            let wrong = lines.iter().filter(|line| line.contains("wrong:"));
            let host = watcher.host;
            self.found.wrong.extend(wrong.map(|line| format!("reader in {host:?}: {line}")));
        }
        self.reopen();
        self.found.rounds += 1;
    }

    /// Checks that the file has the commits that the writer acknowledged, or one more.
    fn reopen(&mut self) {
        let collection = match config().open(self.site.file()) {
            Ok(collection) => collection,
            Err(error) => {
                self.found.wrong.push(format!("the file is not opened again: {error}"));
                return;
            }
        };
        let (number, acknowledged) = (last(&collection), self.acknowledged);
        if number != acknowledged && number != acknowledged + 1 {
            let lost = format!("{acknowledged} was acknowledged, {number} is found");
            self.found.wrong.push(lost);
        }
        match collection.check() {
            Ok(report) if report.is_ok() => {}
            Ok(report) => self.found.wrong.push(report.to_string()),
            Err(error) => self.found.wrong.push(error.to_string()),
        }
        match collection.snapshot().and_then(|snapshot| wrong(&snapshot)) {
            Ok(0) => {}
            other => self.found.wrong.push(format!("after opening again: {other:?}")),
        }
        self.acknowledged = number;
        self.found.commits = number;
    }

    /// Makes another copy, because a killed writer may leave an unfinished one until then.
    fn finish(&mut self) {
        let Ok(collection) = config().open(self.site.file()) else { return };
        let copy = self.site.folder().join("copy.nf");
        let copied = collection.backup(&copy).map_err(|error| error.to_string());
        let found = copied.and_then(|()| check_copy(&copy));
        if found != Ok(last(&collection)) {
            self.found.wrong.push(format!("the last backup: {found:?}"));
        }
        drop(collection);
        let names = names(&self.site.folder());
        if names != ["c.nf", "copy.nf", "user.lock"] {
            self.found.wrong.push(format!("files are left: {names:?}"));
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|number| number.parse().ok())
}

/// Plays rounds until `enough` returns `true`, or a check fails.
fn play(name: &str, seed: u64, enough: impl Fn(&Findings) -> bool) -> Findings {
    let mut game = Game::new(name, seed);
    std::fs::write(game.site.folder().join("user.lock"), b"a user's own").unwrap();
    drop(config().open(game.site.file()).unwrap());
    while !enough(&game.found) && game.found.wrong.is_empty() {
        game.round();
    }
    game.finish();
    game.found
}

#[test]
fn nothing_is_wrong_or_lost_on_a_hostile_host() {
    if std::env::var_os("HOST_ROLE").is_some() {
        return;
    }
    let start = Instant::now();
    let seconds = number("NEARFIELD_HOSTILE_SECONDS").unwrap_or(8);
    let rounds = number("NEARFIELD_HOSTILE_ROUNDS");
    let found = play("hostile", start.elapsed().as_nanos() as u64, |found| match rounds {
        Some(rounds) => found.rounds >= rounds,
        None => start.elapsed() > Duration::from_secs(seconds),
    });
    println!(
        "{} rounds, {} commits, {} snapshots checked by other processes",
        found.rounds, found.commits, found.checked
    );
    assert_eq!(found.wrong, [""; 0]);
    assert!(found.rounds > 0 && found.commits > 0 && found.checked > 0);
}

/// Checks that each guard is needed: without it, a check fails soon.
#[cfg(nearfield_guards)]
#[test]
fn every_guard_is_missed_when_it_is_off() {
    for guard in nearfield::GUARDS {
        // SAFETY: no other thread reads the environment now; started processes inherit it.
        unsafe { std::env::set_var(nearfield::GUARD_VARIABLE, guard) };
        let start = Instant::now();
        let found = play("guards", 7, |_| start.elapsed() > Duration::from_secs(300));
        println!("without {guard}: {:?} after {:?}", found.wrong.first(), start.elapsed());
        assert!(!found.wrong.is_empty(), "{guard} is not missed");
    }
}

#[test]
fn nothing_lies_beside_a_file_that_is_open() {
    let site = Site::new("hostile-beside");
    let collection = config().open(site.file()).unwrap();
    commit(&collection, 1).unwrap();
    let reader = Collection::open_read_only(site.file()).unwrap();
    let _snapshot = reader.snapshot().unwrap();
    assert_eq!(names(&site.folder()), ["c.nf"]);
}
