//! One file, when a process that has it open is that of another user, changes its folder, lacks descriptors, forks, or is killed.
//!
//! Each test is a deployment in which readers once got wrong answers, or acknowledged commits were lost.
#![cfg(target_os = "linux")]
#![expect(unsafe_code, reason = "fork, and a signal to a process in a namespace")]

mod fork_support;
mod host_support;
mod support;

use std::fs::File;
use std::io::{BufRead, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use fork_support::Forked;
use host_support::{
    Host, Site, check_copy, commit, config, last, names, settle, verify_on_request, write, wrong,
};
use nearfield::{Collection, CollectionBuilder, Snapshot};

/// Not a test: the code of the other processes.
#[test]
fn role() {
    let Some((role, kind, path)) = host_support::role() else { return };
    match role.split(' ').collect::<Vec<_>>()[..] {
        ["reader"] => verify_on_request(&kind, &path),
        ["later-reader"] => take_and_verify_on_request(&kind, &path),
        ["writer"] => write_on_request(&kind, &path),
        ["short-of-descriptors"] => write_beside_readers(&kind, &path),
        ["parent", drops, checkpoints] => {
            write_beside_child(&path, drops.parse().unwrap(), checkpoints.parse().unwrap());
        }
        ["backup"] => back_up_on_request(&path),
        ref other => panic!("unknown role {other:?}"),
    }
}

/// Waits for a line of the input, or its end.
fn wait_for_line() {
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// A writer: each line of its input is the number of commits to make.
fn write_on_request(kind: &str, path: &Path) {
    let collection = config().open(path).unwrap();
    let _held = settle(kind);
    println!("ready");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let number = last(&collection);
        write(&collection, number + 1..=number + line.trim().parse::<u64>().unwrap());
        println!("written {}", last(&collection));
    }
}

/// A reader that takes its only snapshot on the first request, and verifies it on each.
fn take_and_verify_on_request(kind: &str, path: &Path) {
    let reader = Collection::open_read_only(path).unwrap();
    let _held = settle(kind);
    println!("ready");
    let mut taken: Option<Snapshot> = None;
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let snapshot = taken.get_or_insert_with(|| reader.snapshot().unwrap());
        println!("{line} {} {}", snapshot.number(), wrong(snapshot).unwrap());
    }
}

#[test]
fn readers_and_writer_may_be_different_users() {
    if let Some(reason) = Host::OtherUser.missing() {
        println!("SKIPPED: processes of other users: {reason}");
        return;
    }
    let site = Site::new("one-file-users");
    // All users may write in the folder; the file has the rights that its writer gave it.
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(site.folder(), open).unwrap();
    let mut writer = site.start("writer", Host::OtherUser);
    assert!(writer.wait_for("ready").is_some());
    writer.say("3");
    assert_eq!(writer.wait_for("written ").as_deref(), Some("3"));
    for (host, before, after) in [(Host::Plain, "3", "15"), (Host::ThirdUser, "15", "27")] {
        let mut reader = site.start("reader", host);
        assert_eq!(reader.wait_for("ready ").as_deref(), Some(before), "{host:?}");
        writer.say("12");
        assert_eq!(writer.wait_for("written ").as_deref(), Some(after), "{host:?}");
        reader.say("looked");
        assert_eq!(reader.wait_for("looked ").as_deref(), Some("0 0"), "{host:?}");
    }
    assert_eq!(names(&site.folder()), ["c.nf"]);
}

#[test]
fn a_writer_that_changed_its_folder_finds_readers() {
    let site = Site::new("one-file-moved-writer");
    let mut writer = site.start("writer", Host::Relative);
    assert!(writer.wait_for("ready").is_some());
    writer.say("2");
    assert_eq!(writer.wait_for("written ").as_deref(), Some("2"));
    let mut reader = site.start("reader", Host::Plain);
    assert_eq!(reader.wait_for("ready ").as_deref(), Some("2"));
    writer.say("18");
    assert_eq!(writer.wait_for("written ").as_deref(), Some("20"));
    reader.say("looked");
    assert_eq!(reader.wait_for("looked ").as_deref(), Some("0 0"));
    assert_eq!(names(&site.folder()), ["c.nf"]);
}

#[test]
fn a_reader_that_changed_its_folder_takes_a_snapshot() {
    let site = Site::new("one-file-moved-reader");
    let collection = config().open(site.file()).unwrap();
    write(&collection, 1..=3);
    for host in [Host::Plain, Host::Relative] {
        let mut reader = site.start("later-reader", host);
        assert!(reader.wait_for("ready").is_some(), "{host:?}");
        // The reader finds a newer checkpoint than the one with which it was opened.
        let number = last(&collection) + 2;
        write(&collection, number - 1..=number);
        reader.say("taken");
        assert_eq!(reader.wait_for("taken "), Some(format!("{number} 0")), "{host:?}");
        write(&collection, number + 1..=number + 13);
        reader.say("looked");
        assert_eq!(reader.wait_for("looked "), Some(format!("{number} 0")), "{host:?}");
    }
    assert_eq!(names(&site.folder()), ["c.nf"]);
}

/// A writer that keeps its own snapshot while the process can open one file.
fn write_beside_readers(kind: &str, path: &Path) {
    let collection = config().open(path).unwrap();
    write(&collection, 1..=2);
    let reader = Collection::open_read_only(path).unwrap();
    let snapshot = reader.snapshot().unwrap();
    println!("ready");
    wait_for_line();
    let held = settle(kind);
    let spare = File::open("/dev/null").unwrap();
    assert!(File::open("/dev/null").is_err(), "a second descriptor is left");
    drop(spare);
    write(&collection, 3..=20);
    let own = wrong(&snapshot).unwrap();
    drop(held);
    println!("looked {own} {}", wrong(&reader.snapshot().unwrap()).unwrap());
    wait_for_line();
}

#[test]
fn a_writer_finds_readers_with_one_descriptor_left() {
    let site = Site::new("one-file-one-descriptor");
    let mut writer = site.start("short-of-descriptors", Host::FewDescriptors);
    assert!(writer.wait_for("ready").is_some());
    let mut reader = site.start("reader", Host::Plain);
    assert_eq!(reader.wait_for("ready ").as_deref(), Some("2"));
    writer.say("go");
    assert_eq!(writer.wait_for("looked ").as_deref(), Some("0 0"), "its own reader");
    reader.say("looked");
    let looked = reader.wait_for("looked ");
    assert_eq!(looked.as_deref(), Some("0 0"), "a reader of another process");
}

const COMMITS: u64 = 40;

/// Returns a configuration with which all commits stay in the log: no checkpoint is made unless a program asks for it.
fn without_checkpoints() -> CollectionBuilder {
    config().checkpoint_after(1 << 30).log_size(32 << 20)
}

/// A writer that forks a child after six commits. The child does nothing but drop its copy of the collection, after the parent's commit
/// `drops`; the parent makes `checkpoints` checkpoints before that.
fn write_beside_child(path: &Path, drops: u64, checkpoints: u64) {
    let mut collection = Some(without_checkpoints().open(path).unwrap());
    let (mut input, mut output) = std::io::pipe().unwrap();
    let mut child = None;
    for number in 1..=COMMITS {
        let open = collection.as_ref().unwrap();
        commit(open, number).unwrap();
        if number < drops && number + checkpoints >= drops {
            open.checkpoint().unwrap();
        }
        if number == 6 {
            child = Some(Forked::start(|| {
                let is_told = input.read_exact(&mut [0]).is_ok();
                drop(collection.take());
                is_told
            }));
        }
        if number == drops {
            output.write_all(&[1]).unwrap();
            assert!(child.take().unwrap().ends_well(), "the child fails");
        }
    }
    println!("done");
    wait_for_line();
}

#[test]
fn a_forked_child_that_only_drops_loses_no_commit_of_its_parent() {
    // It drops at once, or after the parent went on.
    for (drops, checkpoints) in [(6, 0), (24, 0), (24, 1), (24, 2)] {
        let what = format!("dropped after commit {drops} and {checkpoints} checkpoints");
        let site = Site::new("one-file-drops");
        let mut parent = site.start(&format!("parent {drops} {checkpoints}"), Host::Plain);
        assert!(parent.wait_for("done").is_some(), "{what}: the parent fails");
        parent.kill();
        let collection = without_checkpoints().open(site.file()).unwrap();
        assert_eq!(last(&collection), COMMITS, "{what}");
        assert_eq!(wrong(&collection.snapshot().unwrap()).unwrap(), 0, "{what}");
        let report = collection.check().unwrap();
        assert!(report.is_ok(), "{what}: {report}");
    }
}

/// Process 1 of a namespace: it commits eight times, then makes a backup for each line of its input.
fn back_up_on_request(path: &Path) {
    assert_eq!(std::process::id(), 1);
    let collection = config().open(path).unwrap();
    let number = last(&collection) + 8;
    write(&collection, number - 7..=number);
    // `/proc` is that of the outer namespace, and has the process number there.
    println!("ready {}", std::fs::read_link("/proc/self").unwrap().display());
    for _ in std::io::stdin().lock().lines().map_while(Result::ok) {
        collection.backup(path.with_file_name("copy.nf")).unwrap();
        println!("copied {number}");
    }
}

/// Starts a process that makes backups until it is killed, and kills it some time after a backup was begun.
fn kill_backup(site: &Site, later: Duration) {
    let mut process = site.start("backup", Host::Namespace);
    let id: libc::pid_t = process.wait_for("ready ").unwrap().parse().unwrap();
    (0..100).for_each(|_| process.say("copy"));
    let start = Instant::now();
    while !is_unfinished(site) && start.elapsed() < Duration::from_secs(5) {}
    std::thread::sleep(later);
    // SAFETY: signals a process that this one has started, and that waits for it: its number is not given to another one.
    assert_eq!(unsafe { libc::kill(id, libc::SIGKILL) }, 0);
    process.wait();
}

/// Returns whether a file exists that a backup has not given its name.
fn is_unfinished(site: &Site) -> bool {
    names(&site.folder()).iter().any(|name| name.starts_with(".nearfield-new-"))
}

#[test]
fn backups_after_killed_ones_are_whole() {
    if let Some(reason) = Host::Namespace.missing() {
        println!("SKIPPED: processes in a namespace: {reason}");
        return;
    }
    let site = Site::new("one-file-killed-backups");
    let copy = site.folder().join("copy.nf");
    // Rounds whose killed backup has left an unfinished file.
    let mut unfinished = 0;
    for round in 1..=20 {
        kill_backup(&site, Duration::from_micros(500 * (round % 4)));
        unfinished += u64::from(is_unfinished(&site));
        if copy.exists() {
            let found = check_copy(&copy);
            assert!(found.is_ok(), "round {round}, killed: {found:?}");
        }
        // The next process has the same number in its namespace.
        let mut process = site.start("backup", Host::Namespace);
        assert!(process.wait_for("ready ").is_some(), "round {round}: the source is not opened");
        process.say("copy");
        let copied = process.wait_for("copied ");
        process.wait();
        let found = check_copy(&copy).map(|number| number.to_string());
        assert_eq!(found.ok(), copied, "round {round}");
        assert!(copied.is_some(), "round {round}: the backup fails");
        assert_eq!(names(&site.folder()), ["c.nf", "copy.nf"], "round {round}");
        if unfinished == 3 {
            return;
        }
    }
    panic!("{unfinished} of 20 killed backups left an unfinished file");
}
