//! One file, however it is opened: no name, link, folder, mount, user, namespace, fork, copy or crash ends in a wrong answer.
//!
//! Each test is a deployment in which readers once got wrong answers, or acknowledged commits were lost.
#![cfg(target_os = "linux")]
#![expect(unsafe_code, reason = "fork")]

mod fork_support;
mod host_support;
mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fork_support::in_child;
use host_support::{
    DIMENSION, Host, PERIOD, Site, check_copy, commit, config, last, names, verify_on_request,
    write, wrong,
};
use nearfield::store::StoreError;
use nearfield::{
    Collection, CollectionError, CollectionReader, Flat, Hnsw, Index, IndexError, Metric,
    Transaction,
};

/// Not a test: the code of the other processes.
#[test]
fn role() {
    match host_support::role() {
        Some((role, kind, path)) if role == "reader" => verify_on_request(&kind, &path),
        Some((_, _, path)) => write_without_descriptors(&path),
        None => {}
    }
}

/// A writer that keeps its own snapshot while the process can open no file.
fn write_without_descriptors(path: &Path) {
    let collection = config().open(path).unwrap();
    write(&collection, 1..=2);
    let reader = Collection::open_read_only(path).unwrap();
    let snapshot = reader.snapshot().unwrap();
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read or write one `rlimit`.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        let low = libc::rlimit { rlim_cur: 0, ..limit };
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const low), 0);
    }
    assert!(std::fs::File::open("/dev/null").is_err());
    write(&collection, 3..=20);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    println!(
        "looked {} {}",
        wrong(&snapshot).unwrap(),
        wrong(&reader.snapshot().unwrap()).unwrap()
    );
}

fn is_locked(result: &Result<Collection, CollectionError>) -> bool {
    matches!(result, Err(CollectionError::Store(StoreError::Locked { .. })))
}

#[test]
fn a_reader_keeps_its_snapshot_wherever_it_runs() {
    let site = Site::new("one-file-readers");
    let collection = config().open(site.file()).unwrap();
    write(&collection, 1..=3);
    for host in Host::READERS {
        if let Some(reason) = host.missing() {
            println!("SKIPPED: readers in {host:?}: {reason}");
            continue;
        }
        // Two readers, which may have the same number in their own namespaces.
        let mut readers = [(); 2].map(|()| site.start("reader", host));
        for reader in &mut readers {
            let number = last(&collection).to_string();
            assert_eq!(reader.wait_for("ready "), Some(number), "{host:?}");
        }
        for round in 0..3 {
            // The second reader continues when the first is killed.
            if round == 1 {
                readers[0].kill();
            }
            let number = last(&collection);
            write(&collection, number + 1..=number + 12);
            for reader in readers.iter_mut().skip(usize::from(round > 0)) {
                reader.say("looked");
                assert_eq!(reader.wait_for("looked ").as_deref(), Some("0 0"), "{host:?} {round}");
            }
        }
    }
    assert_eq!(names(&site.folder()), ["c.nf"]);
}

#[test]
fn a_writer_finds_readers_whatever_it_called_the_file() {
    for host in [Host::Symlink, Host::HardLink] {
        let site = Site::new("one-file-writer");
        drop(config().open(site.file()).unwrap());
        let collection = config().open(site.alias(host)).unwrap();
        write(&collection, 1..=2);
        let mut reader = site.start("reader", Host::Plain);
        assert_eq!(reader.wait_for("ready ").as_deref(), Some("2"));
        write(&collection, 3..=20);
        reader.say("looked");
        assert_eq!(reader.wait_for("looked ").as_deref(), Some("0 0"), "{host:?}");
    }
}

#[test]
fn a_writer_finds_readers_with_no_descriptor_left() {
    let site = Site::new("one-file-descriptors");
    // A separate process, because the limit would hold for the other tests too.
    let mut writer = site.start("writer", Host::Plain);
    assert_eq!(writer.wait_for("looked ").as_deref(), Some("0 0"));
}

#[test]
fn snapshots_are_right_after_compaction() {
    let site = Site::new("one-file-layout");
    let collection = config().open(site.file()).unwrap();
    let reader = Collection::open_read_only(site.file()).unwrap();
    write(&collection, 1..=9);
    for own in [true, false] {
        let snapshot = || {
            let newest = if own { collection.snapshot() } else { reader.snapshot() };
            newest.unwrap()
        };
        for round in 0..3 {
            // Large payloads have just been removed, so that compaction moves extents.
            let number = last(&collection).next_multiple_of(PERIOD) + 1;
            write(&collection, last(&collection) + 1..=number);
            let first = snapshot();
            collection.compact().unwrap();
            drop(first);
            commit(&collection, number + 1).unwrap();
            let second = snapshot();
            assert_eq!(second.number(), number + 1);
            write(&collection, number + 2..=number + 12);
            assert_eq!(wrong(&second).unwrap(), 0, "own {own}, round {round}");
        }
    }
}

#[test]
fn a_second_writer_is_refused_by_every_name() {
    let site = Site::new("one-file-second");
    let collection = config().open(site.file()).unwrap();
    write(&collection, 1..=2);
    for host in [Host::Plain, Host::Symlink, Host::HardLink] {
        let path = site.alias(host);
        assert!(is_locked(&config().open(&path)), "{host:?}");
        assert!(is_locked(&config().open(path.canonicalize().unwrap())), "{host:?}");
    }
    let moved = site.folder().join("moved.nf");
    std::fs::rename(site.file(), &moved).unwrap();
    assert!(is_locked(&config().open(&moved)));
    // The old name is free now.
    let other = config().open(site.file()).unwrap();
    assert_eq!(other.len(), 0);
    commit(&collection, 3).unwrap();
    drop(collection);
    let again = config().open(&moved).unwrap();
    assert_eq!(last(&again), 3);
    assert_eq!(wrong(&again.snapshot().unwrap()).unwrap(), 0);
}

fn is_forked<T>(result: &Result<T, CollectionError>) -> bool {
    matches!(
        result,
        Err(CollectionError::Store(StoreError::Forked { .. })
            | CollectionError::Index(IndexError::Forked))
    )
}

/// A forked child uses its copies of all handles, and drops them at the end.
fn misuse(
    site: &Site,
    collection: Collection,
    reader: CollectionReader,
    open: Option<Transaction>,
) -> bool {
    let query = [0.5; DIMENSION];
    let refused = [
        is_forked(&collection.begin_write()),
        is_forked(&collection.try_begin_write()),
        is_forked(&collection.checkpoint()),
        is_forked(&collection.compact()),
        is_forked(&collection.stats()),
        is_forked(&collection.check()),
        is_forked(&collection.preload()),
        is_forked(&collection.snapshot()),
        is_forked(&collection.payload(0)),
        is_forked(&collection.backup(site.folder().join("copy.nf"))),
        is_forked(&collection.search(&query).run().map_err(Into::into)),
        is_forked(&collection.search(&query).iter().map_err(Into::into)),
        is_forked(&collection.search_batch(&query).run().map_err(Into::into)),
        is_forked(&reader.snapshot()),
        open.is_none_or(|open| open.commit().is_err()),
        collection.get(0).is_none() && !collection.contains(0),
        // A child has only the rights that it gets by opening the collection itself.
        is_locked(&config().open(site.file())),
    ];
    let own = Collection::open_read_only(site.file()).unwrap().snapshot().unwrap();
    let is_right = wrong(&own).unwrap() == 0;
    drop((collection, reader));
    if refused != [true; 17] {
        eprintln!("not refused: {refused:?}");
    }
    refused == [true; 17] && is_right
}

#[test]
fn a_forked_child_is_refused_and_harms_nothing() {
    let site = Site::new("one-file-fork");
    let mut collection = config().open(site.file()).unwrap();
    write(&collection, 1..=3);
    for round in 0..6 {
        let reader = Collection::open_read_only(site.file()).unwrap();
        let (own, seen) = (collection.snapshot().unwrap(), reader.snapshot().unwrap());
        let number = last(&collection);
        // Not in a checkpoint yet.
        commit(&collection, number + 1).unwrap();
        let open = (round % 2 == 1).then(|| collection.begin_write().unwrap());
        let mut copies = Some((collection, reader, open));
        let snapshots = [own, seen];
        assert!(in_child(|| {
            let (collection, reader, open) = copies.take().unwrap();
            let refused = snapshots.iter().all(|snapshot| {
                is_forked(&snapshot.search(&[0.5; DIMENSION]).run().map_err(Into::into))
                    && is_forked(&snapshot.payload(0))
                    && snapshot.get(0).is_none()
            });
            refused && misuse(&site, collection, reader, open)
        }));
        let (back, reader, open) = copies.unwrap();
        drop(open);
        write(&back, number + 2..=number + 12);
        for snapshot in &snapshots {
            assert_eq!((snapshot.number(), wrong(snapshot).unwrap()), (number, 0));
        }
        assert!(is_locked(&config().open(site.file())));
        drop((back, reader));
        drop(snapshots);
        collection = config().open(site.file()).unwrap();
        assert_eq!(last(&collection), number + 12, "round {round}");
        assert!(collection.check().unwrap().is_ok());
        assert_eq!(wrong(&collection.snapshot().unwrap()).unwrap(), 0);
    }
    assert_eq!(names(&site.folder()), ["c.nf"]);
}

#[test]
fn copies_are_made_afresh() {
    let site = Site::new("one-file-copies");
    let collection = config().open(site.file()).unwrap();
    // The left-overs have the large payloads, which the copies have no more.
    write(&collection, 1..=PERIOD - 1);
    // The folder has left-overs of killed processes, and files of users with similar names.
    let copy = site.folder().join("copy.nf");
    let own = |digits: &str| format!(".nearfield-new-{digits}");
    let digits = "0123456789abcdef0123456789abcdef";
    std::fs::copy(site.file(), site.folder().join(own(digits))).unwrap();
    std::fs::write(site.folder().join(own(&digits.replace('0', "f"))), []).unwrap();
    let others = [
        own("mine"),
        own(&digits.to_uppercase()),
        own(&digits.replace('0', "e")),
        "c.nf.lock".to_owned(),
        "c.nf.new-1-0".to_owned(),
        "c.nf.pending-1-0".to_owned(),
        "c.nf.reader-manual.txt".to_owned(),
    ];
    for other in &others {
        std::fs::write(site.folder().join(other), b"a user's own file").unwrap();
    }
    for _ in 0..3 {
        write(&collection, last(&collection) + 1..=last(&collection) + 3);
        collection.backup(&copy).unwrap();
        assert_eq!(check_copy(&copy), Ok(last(&collection)));
    }
    let mut expected: Vec<_> = others.to_vec();
    expected.extend(["c.nf".to_owned(), "copy.nf".to_owned()]);
    expected.sort();
    assert_eq!(names(&site.folder()), expected);
    for other in &others {
        let bytes = std::fs::read(site.folder().join(other)).unwrap();
        assert_eq!(bytes, b"a user's own file");
    }
}

#[test]
fn an_open_collection_is_not_replaced() {
    let site = Site::new("one-file-replace");
    let index = Hnsw::builder(DIMENSION, Metric::L2).build().unwrap();
    index.insert(7, &[0.5; DIMENSION]).unwrap();
    let collection = config().open(site.file()).unwrap();
    write(&collection, 1..=2);
    for host in [Host::Plain, Host::Symlink, Host::HardLink] {
        let saved = index.save(site.alias(host));
        assert!(
            matches!(saved, Err(CollectionError::Store(StoreError::Locked { .. }))),
            "{host:?}"
        );
        let copied = collection.backup(site.alias(host));
        assert!(matches!(copied, Err(CollectionError::Store(StoreError::Locked { .. }))));
    }
    drop(collection);

    // One thread saves and another opens at one path. A collection opened for writing keeps its commits.
    let path = site.folder().join("contended.nf");
    let is_done = AtomicBool::new(false);
    let (saved, kept) = std::thread::scope(|scope| {
        let saving = scope.spawn(|| {
            let mut saved = 0;
            while !is_done.load(Ordering::Relaxed) {
                saved += usize::from(index.save(&path).is_ok());
            }
            saved
        });
        let mut kept = 0;
        for _ in 0..200 {
            std::thread::sleep(Duration::from_millis(2));
            let settings = Collection::builder(DIMENSION, Metric::L2);
            let Ok(opened) = settings.open(&path) else { continue };
            let mut tx = opened.begin_write().unwrap();
            tx.upsert(8, &[0.25; DIMENSION]).unwrap();
            tx.commit().unwrap();
            assert_eq!(Hnsw::load(&path).unwrap().get(8), Some(vec![0.25; DIMENSION]));
            kept += 1;
        }
        is_done.store(true, Ordering::Relaxed);
        (saving.join().unwrap(), kept)
    });
    assert!(saved > 0 && kept > 0, "{saved} saved, {kept} opened");
    assert_eq!(names(&site.folder()), ["c.nf", "contended.nf"]);
}

#[test]
fn a_replaced_file_keeps_its_rights_and_its_links() {
    let site = Site::new("one-file-rights");
    let index = Flat::builder(DIMENSION, Metric::L2).build().unwrap();
    index.insert(7, &[0.5; DIMENSION]).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let (saved, link) = (site.folder().join("saved.nf"), site.folder().join("link.nf"));
    index.save(&saved).unwrap();
    std::os::unix::fs::symlink("saved.nf", &link).unwrap();
    for wanted in [0o600, 0o640, 0o444, 0o666] {
        set(&saved, wanted);
        let is_root = std::os::unix::fs::chown(&saved, Some(65534), Some(65534)).is_ok();
        index.save(&link).unwrap();
        assert_eq!(mode(&saved), wanted);
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        let found = std::fs::metadata(&saved).unwrap();
        assert!(!is_root || (found.uid(), found.gid()) == (65534, 65534));
        assert_eq!(Flat::load(&link).unwrap().len(), 1);
    }
    // A link whose target does not exist yet.
    std::os::unix::fs::symlink("late.nf", site.folder().join("dangling.nf")).unwrap();
    index.save(site.folder().join("dangling.nf")).unwrap();
    assert_eq!(Flat::load(site.folder().join("late.nf")).unwrap().len(), 1);
    std::os::unix::fs::symlink("born.nf", site.folder().join("unborn.nf")).unwrap();
    drop(config().open(site.folder().join("unborn.nf")).unwrap());
    assert!(site.folder().join("born.nf").is_file());

    // A backup of a private file is private.
    let collection = config().open(site.file()).unwrap();
    write(&collection, 1..=1);
    set(&site.file(), 0o600);
    let copy = site.folder().join("copy.nf");
    collection.backup(&copy).unwrap();
    assert_eq!(mode(&copy), 0o600);
}

#[test]
fn a_damaged_file_is_never_taken_for_a_new_one() {
    let site = Site::new("one-file-damage");
    let collection = config().open(site.file()).unwrap();
    write(&collection, 1..=4);
    collection.close().unwrap();
    let whole = std::fs::read(site.file()).unwrap();
    for len in [1, 8, 100, 200, 255, 256, 512, 4096, 32 << 10, 100_000, 1 << 20] {
        std::fs::write(site.file(), &whole[..len]).unwrap();
        assert!(config().open(site.file()).is_err(), "{len} bytes");
        assert!(Collection::open(site.file()).is_err(), "{len} bytes");
        assert!(Collection::open_read_only(site.file()).is_err());
        assert_eq!(std::fs::read(site.file()).unwrap(), &whole[..len], "it stays as it is");
    }
    for len in [1, 512, 100_000, whole.len()] {
        std::fs::write(site.file(), vec![0; len]).unwrap();
        assert!(config().open(site.file()).is_err(), "{len} zeros");
        assert!(Collection::open(site.file()).is_err(), "{len} zeros");
    }
    // A new collection takes the place of an empty file, with its rights.
    std::fs::write(site.file(), []).unwrap();
    std::fs::set_permissions(site.file(), std::fs::Permissions::from_mode(0o600)).unwrap();
    let collection = config().open(site.file()).unwrap();
    assert_eq!(collection.len(), 0);
    assert_eq!(std::fs::metadata(site.file()).unwrap().mode() & 0o777, 0o600);
    assert!(matches!(config().create(site.file()), Err(CollectionError::Exists { .. })));
    // Folders, pipes and devices are refused at once.
    let pipe = site.folder().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [pipe.as_path(), &site.folder(), Path::new("/dev/null"), Path::new("/")] {
        assert!(config().open(path).is_err(), "{}", path.display());
        assert!(Hnsw::load(path).is_err());
        assert!(collection.backup(path).is_err());
    }
}

#[test]
fn no_damage_to_one_place_brings_an_older_state_back() {
    let site = Site::new("one-file-slots");
    let collection = config().open(site.file()).unwrap();
    let mut number = 0;
    for moment in 0..24 {
        number += 1;
        commit(&collection, number).unwrap();
        if moment % 3 > 0 {
            collection.checkpoint().unwrap();
        }
        let whole = std::fs::read(site.file()).unwrap();
        let path = site.folder().join("damaged.nf");
        for (begin, len) in
            [(0, 64 << 10), (64 << 10, 64 << 10), (32 << 10, 64 << 10), (0, 128 << 10)]
        {
            let mut bytes = whole.clone();
            bytes[begin..begin + len].fill(0);
            std::fs::write(&path, &bytes).unwrap();
            let found = config().open(&path).unwrap();
            assert_eq!(last(&found), number, "{len} bytes at {begin}, moment {moment}");
            assert_eq!(wrong(&found.snapshot().unwrap()).unwrap(), 0);
        }
        // A mebibyte includes the log and pages: opening, or reading, notices lost commits.
        let mut bytes = whole.clone();
        bytes[..1 << 20].fill(0);
        std::fs::write(&path, &bytes).unwrap();
        let stats = config().open(&path).and_then(|found| found.stats());
        assert!(stats.is_err() || stats.unwrap().commit == number);
    }
    assert_eq!(wrong(&collection.snapshot().unwrap()).unwrap(), 0);
}

#[test]
fn a_forked_child_changes_no_index_that_maps_a_file() {
    let site = Site::new("one-file-mapped");
    let index = Hnsw::builder(DIMENSION, Metric::L2).build().unwrap();
    let exact = Flat::builder(DIMENSION, Metric::L2).build().unwrap();
    let vectors: Vec<f32> = (0..500 * DIMENSION).map(|i| (i as f32 * 0.37).sin()).collect();
    let keys: Vec<u64> = (0..500).collect();
    index.insert_batch(&keys, &vectors).run().unwrap();
    exact.insert_batch(&keys, &vectors).run().unwrap();
    let (graph_file, flat_file) = (site.folder().join("graph.nf"), site.folder().join("flat.nf"));
    index.save(&graph_file).unwrap();
    exact.save(&flat_file).unwrap();
    let (index, exact) = (Hnsw::open(&graph_file).unwrap(), Flat::open(&flat_file).unwrap());
    let query = &vectors[..DIMENSION];
    let both: [&dyn Index; 2] = [&index, &exact];
    assert!(in_child(|| {
        both.iter().all(|index| {
            index.insert(900, &query) == Err(IndexError::Forked)
                && index.upsert(7, &query) == Err(IndexError::Forked)
                && index.remove(7) == Err(IndexError::Forked)
                && index.insert_batch(&[901], &query).run() == Err(IndexError::Forked)
        }) && index.keys().chain(exact.keys()).next().is_none()
    }));
    for index in both {
        index.insert(900, &query).unwrap();
        assert!(index.remove(7).unwrap() && index.len() == 500);
    }
}
