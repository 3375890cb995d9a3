//! Real processes on a real collection: one is killed while it writes, one writes while another reads.
//!
//! `NEARFIELD_KILLS=200 cargo test --release --test collection_process` makes a longer run.
//! `NEARFIELD_FOLLOW_SECONDS=600 cargo test --release --test collection_process follows -- --nocapture` follows a writer that commits a
//! thousand times a second for ten minutes, and expects each commit to be seen within 10 ms.

mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use nearfield::{Collection, CollectionBuilder, CollectionError, attributes, field};
use support::collections::{config, open, vector};
use support::files::Folder;

const ROLE: &str = "NEARFIELD_TEST_ROLE";
const FILE: &str = "NEARFIELD_TEST_FILE";
const DIMENSION: usize = 8;
/// Keys of a commit.
const KEYS: u64 = 3;

/// Checkpoints are frequent.
fn settings() -> CollectionBuilder {
    config(DIMENSION).m(6).ef_construction(40).checkpoint_after(4000)
}

/// Starts this test program again in another role.
fn start(role: &str, path: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["role", "--exact", "--nocapture", "--test-threads", "1"])
        .env(ROLE, role)
        .env(FILE, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

/// Applies commit `n`; the commit is the same in each process.
fn apply(collection: &Collection, n: u64) -> Result<(), CollectionError> {
    let mut tx = collection.begin_write()?;
    for key in n * KEYS..(n + 1) * KEYS {
        tx.upsert(key, &vector(key, 0, DIMENSION))?;
        tx.put_payload(key, &key.to_le_bytes())?;
        tx.set(key, attributes! { "commit" => n as i64, "place" => (key % KEYS) as i64 })?;
    }
    assert_eq!(tx.commit()?, n);
    Ok(())
}

/// The body of the other process, not a test. Returns at once if `ROLE` is not set.
#[test]
fn role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = PathBuf::from(std::env::var(FILE).unwrap());
    let journal = match role.as_str() {
        "paced" => 256 << 10,
        "hurried" => 100_000,
        _ => 4000,
    };
    // A hurried writer has frequent deltas.
    let limit = if role == "hurried" { Duration::from_millis(1) } else { Duration::from_secs(9) };
    let collection = open(&path, settings().checkpoint_after(journal).replay_limit(limit));
    let first = collection.stats().unwrap().commit + 1;
    let (count, pause) = match role.as_str() {
        "paced" => return paced(&collection, first),
        "writer" | "hurried" => (u64::MAX, Duration::ZERO),
        "steady" => (300, Duration::from_micros(500)),
        role => panic!("unknown role {role}"),
    };
    println!("ready");
    for n in first..first.saturating_add(count) {
        apply(&collection, n).unwrap();
        // The reader measures from here.
        println!("ack {n}");
        std::thread::sleep(pause);
    }
    println!("done");
}

const SECONDS: &str = "NEARFIELD_FOLLOW_SECONDS";

/// Returns the seconds for which to follow a writer, or `None` if they are not set.
fn seconds() -> Option<u64> {
    std::env::var(SECONDS).ok().and_then(|n| n.parse().ok())
}

/// Makes a commit each millisecond, of one key in turn. Prints the time of each acknowledgement, and the number of late commits.
fn paced(collection: &Collection, first: u64) {
    const TURN: u64 = 20_000;
    let start = Instant::now();
    let count = seconds().unwrap_or(1) * 1000;
    let mut late = 0;
    println!("ready");
    for n in 0..count {
        let key = n % TURN;
        let mut tx = collection.begin_write().unwrap();
        tx.upsert(key, &vector(key, n / TURN, DIMENSION)).unwrap();
        tx.put_payload(key, &n.to_le_bytes()).unwrap();
        assert_eq!(tx.commit().unwrap(), first + n);
        println!("ack {} {}", first + n, since_epoch().as_micros());
        match Duration::from_millis(n + 1).checked_sub(start.elapsed()) {
            Some(rest) => std::thread::sleep(rest),
            None => late += 1,
        }
    }
    println!("done {late}");
}

/// Returns the time of the clock that processes share.
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

/// The first sighting of the commits up to `number`.
struct Sighting {
    number: u64,
    /// The begin of the last snapshot that did not see the commit.
    missed: Duration,
    /// The begin and the end of the snapshot that saw the commit.
    begun: Duration,
    ended: Duration,
}

/// Sets a flag when dropped, also by a panic.
struct AtLast<'a>(&'a AtomicBool);

impl Drop for AtLast<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// The wake-up delay of a thread that only slept shows the machine's own delays.
#[test]
fn a_reader_follows_a_thousand_commits_a_second() {
    const PAUSE: Duration = Duration::from_micros(200);
    let folder = Folder::new("collection-pace");
    let path = folder.file("c.nf");
    drop(open(&path, settings()));
    let reader = Collection::open_read_only(&path).unwrap();
    let (mut child, mut out) = start("paced", &path);
    // The other thread notes when commits are first seen.
    let done = AtomicBool::new(false);
    let ((sightings, mut late), acknowledged) = std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut sightings: Vec<Sighting> = Vec::new();
            let (mut missed, mut late) = (Duration::ZERO, Vec::new());
            while !done.load(Ordering::Acquire) {
                let begun = since_epoch();
                let snapshot = reader.snapshot().unwrap();
                let ended = since_epoch();
                let seen = snapshot.number();
                let newest = sightings.last().map_or(0, |last| last.number);
                assert!(seen >= newest, "commit {newest} was seen before {seen}");
                if seen > newest {
                    sightings.push(Sighting { number: seen, missed, begun, ended });
                    let key = (seen - 1) % 20_000;
                    let payload = snapshot.payload(key).unwrap().unwrap();
                    assert_eq!(payload, (seen - 1).to_le_bytes());
                }
                drop(snapshot);
                missed = begun;
                let asleep = Instant::now();
                std::thread::sleep(PAUSE);
                late.push(asleep.elapsed().saturating_sub(PAUSE));
            }
            (sightings, late)
        });
        let done = AtLast(&done);
        let mut acknowledged: Vec<(u64, Duration)> = Vec::new();
        let mut line = String::new();
        let mut late = 0;
        while out.read_line(&mut line).unwrap() > 0 {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["ack", number, time] => acknowledged
                    .push((number.parse().unwrap(), Duration::from_micros(time.parse().unwrap()))),
                ["done", count] => late = count.parse().unwrap(),
                _ => {}
            }
            line.clear();
        }
        assert!(child.wait().unwrap().success());
        println!("{late} of {} commits came late", acknowledged.len());
        // This snapshot sees the last commit at the latest.
        let seen = reader.snapshot().unwrap().number();
        assert_eq!(seen, acknowledged.len() as u64);
        drop(done);
        (looking.join().unwrap(), acknowledged)
    });
    let (mut waits, mut looks) = (Vec::new(), Vec::new());
    let mut sightings = sightings.iter().peekable();
    for &(number, time) in &acknowledged {
        while sightings.next_if(|sighting| sighting.number < number).is_some() {}
        if let Some(sighting) = sightings.peek() {
            // Times are whole microseconds.
            let missed = sighting.missed.saturating_sub(Duration::from_micros(1));
            assert!(missed <= time, "a look that began after commit {number} did not see it");
            waits.push(sighting.ended.saturating_sub(time));
            looks.push(sighting.ended.saturating_sub(sighting.begun));
        }
    }
    for (what, times) in
        [("seen after", &mut waits), ("a look took", &mut looks), ("woken late by", &mut late)]
    {
        times.sort();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let (median, most, last) = (at(0.5), at(0.999), at(1.0));
        println!(
            "{what} {median:?} at the median, {most:?} at the 99.9th percentile, {last:?} at most"
        );
    }
    // The time limit holds only on a machine without other work.
    if seconds().is_some() {
        let last = waits.last().unwrap();
        assert!(*last < Duration::from_millis(10), "a commit was seen after {last:?}");
    }
}

/// Returns the number in a line such as `ack 7`.
fn acknowledged(line: &str) -> Option<u64> {
    line.trim().strip_prefix("ack ")?.parse().ok()
}

#[test]
fn a_killed_writer_loses_nothing() {
    kill("writer");
}

#[test]
fn a_writer_killed_between_deltas_loses_nothing_and_is_opened_soon() {
    let pending = kill("hurried");
    // A millisecond at 25 us or more for each operation, a commit, and the commit that was not acknowledged.
    assert!(pending <= 40 + 2 * KEYS, "{pending} operations were left to replay");
}

/// Kills writers again and again. Returns the most operations that an opening had to apply.
fn kill(role: &str) -> u64 {
    let kills = std::env::var("NEARFIELD_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let folder = Folder::new(&format!("collection-kill-{role}"));
    let path = folder.file("c.nf");
    let mut acked = 0;
    let (mut replayed, mut most, mut with_deltas) = (0, 0, 0);
    for kill in 0..kills {
        let (mut child, mut out) = start(role, &path);
        let deadline = Instant::now() + Duration::from_millis(15 + kill * 37 % 120);
        let mut line = String::new();
        let mut ready = false;
        while out.read_line(&mut line).unwrap() > 0 {
            // The test program may have begun the line.
            ready |= line.trim().ends_with("ready");
            acked = acknowledged(&line).unwrap_or(acked);
            if ready && Instant::now() > deadline {
                break;
            }
            line.clear();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Lines that the process wrote before it died count as well.
        line.clear();
        while out.read_line(&mut line).unwrap_or(0) > 0 {
            acked = acknowledged(&line).unwrap_or(acked);
            line.clear();
        }

        let collection = open(&path, settings());
        replayed += collection.recovery().operations;
        most = most.max(collection.recovery().operations);
        let stats = collection.stats().unwrap();
        with_deltas += u64::from(stats.delta_bytes > 0);
        let last = stats.commit;
        assert!(last == acked || last == acked + 1, "{last} is found, {acked} was acknowledged");
        assert_eq!(collection.len() as u64, last * KEYS);
        let report = collection.check().unwrap();
        assert!(report.is_ok(), "{report}");
        let first = collection.matching(&field("place").eq(0).and(field("commit").le(last as i64)));
        let keys: Vec<u64> = (1..=last).map(|commit| commit * KEYS).collect();
        assert_eq!(first.unwrap().iter().filter(|&key| key >= KEYS).collect::<Vec<_>>(), keys);
        for key in (KEYS..(last + 1) * KEYS).rev().step_by(7) {
            assert_eq!(collection.get(key), Some(vector(key, 0, DIMENSION)));
            let payload = collection.payload(key).unwrap();
            assert_eq!(payload.as_deref(), Some(&key.to_le_bytes()[..]));
        }
        acked = last;
    }
    println!(
        "{role}: {acked} commits, {replayed} operations replayed over {kills} kills, {most} at most; \
         {with_deltas} with deltas"
    );
    assert!(acked > kills && replayed > 0);
    assert_eq!(with_deltas > 0, role == "hurried");
    most
}

#[test]
fn a_reader_follows_a_writer() {
    let folder = Folder::new("collection-follow");
    let path = folder.file("c.nf");
    drop(open(&path, settings()));
    let reader = Collection::open_read_only(&path).unwrap();
    let (mut child, mut out) = start("steady", &path);
    let mut line = String::new();
    let mut waits = Vec::new();
    let mut seen = 0;
    while out.read_line(&mut line).unwrap() > 0 {
        if let Some(n) = acknowledged(&line) {
            let start = Instant::now();
            let snapshot = reader.snapshot().unwrap();
            waits.push(start.elapsed());
            assert!(snapshot.number() >= n, "{} is seen, {n} was acknowledged", snapshot.number());
            assert!(snapshot.number() >= seen);
            seen = snapshot.number();
            assert_eq!(snapshot.len() as u64, seen * KEYS);
            let key = seen * KEYS + n % KEYS;
            let hits = snapshot.search(&vector(key, 0, DIMENSION)).k(1).ef(40).run().unwrap();
            assert_eq!(hits[0].key, key);
            assert_eq!(snapshot.payload(key).unwrap(), Some(&key.to_le_bytes()[..]));
            let newest = snapshot.matching(&field("commit").eq(seen as i64)).unwrap();
            assert_eq!(
                newest.iter().collect::<Vec<_>>(),
                (seen * KEYS..(seen + 1) * KEYS).collect::<Vec<_>>()
            );
        }
        line.clear();
    }
    assert!(child.wait().unwrap().success());
    waits.sort();
    println!(
        "snapshots took {:?} at the median, {:?} at most",
        waits[waits.len() / 2],
        waits[waits.len() - 1]
    );
    assert_eq!(seen, 300);
}
