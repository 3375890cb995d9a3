//! Imports lines that are valid in part: entries that are taken must survive an export and an import, and a fault must leave whole commits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearfield::store::SimulatedDisk;
use nearfield::{Collection, CollectionError, Metric};

/// Pieces of lines: bytes alone rarely become an entry.
const PIECES: [&str; 40] = [
    "{", "}", "[", "]", ",", ":", "\"", "\n", "\r\n", " ", "\"key\":1", "\"key\":2", "\"key\":18446744073709551615",
    "\"key\":-1", "\"key\":1.5", "\"name\":\"a\"", "\"name\":\"b\"", "\"name\":\"\"", "\"name_base64\":\"/wA=\"",
    "\"name_base64\":\"?\"", "\"vector\":[1,2]", "\"vector\":[0.1,1e-45]", "\"vector\":[1e39,0]", "\"vector\":[1]",
    "\"attributes\":{\"a\":1,\"b\":2.5}", "\"attributes\":{\"t\":[\"x\",\"y\"],\"n\":null}", "\"attributes\":{\"\":1}",
    "\"attributes\":{\"w\":{\"$time\":\"2024-05-01T12:00:00Z\"}}", "\"attributes\":{\"a\":{}}", "\"attributes\":{}",
    "\"payload\":\"p\"", "\"payload_base64\":\"AAEC\"", "\"payload\":1", "\"other\":1", "\\u0000", "\u{e9}", "null",
    "{\"key\":3,\"vector\":[3,4]}\n", "{\"name\":\"c\",\"vector\":[5,6],\"attributes\":{\"a\":true}}\n",
    "{\"key\":4,\"vector\":[7,8],\"payload\":\"q\"}\n",
];

fn collection() -> Collection {
    let builder = Collection::builder(2, Metric::L2).m(4).ef_construction(8).log_size(64 << 10);
    builder.open_simulated(&SimulatedDisk::new()).unwrap()
}

fn export(collection: &Collection) -> Vec<u8> {
    let mut lines = Vec::new();
    collection.export().run(&mut lines).unwrap();
    lines
}

/// Returns the number of lines whose entries are committed.
fn import(collection: &Collection, lines: &[u8]) -> Result<u64, (u64, u64)> {
    let import = collection.import().commit_after(2).line_limit(512);
    match import.run(lines) {
        Ok(report) => {
            assert!(report.entries <= report.lines && report.bytes == lines.len() as u64);
            Ok(report.lines)
        }
        Err(CollectionError::Line { line, committed, .. }) => {
            assert!(committed < line);
            Err((line, committed))
        }
        Err(error) => panic!("{error}"),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&way, bytes)) = bytes.split_first() else { return };
    let lines = if way % 4 == 0 {
        bytes.to_vec()
    } else {
        let pieces = bytes.iter().map(|&byte| PIECES[usize::from(byte) % PIECES.len()]);
        pieces.collect::<String>().into_bytes()
    };
    let first = collection();
    let read = import(&first, &lines);
    let report = first.check().unwrap();
    assert!(report.is_ok(), "{report}");
    let exported = export(&first);
    let second = collection();
    assert_eq!(import(&second, &exported), Ok(first.len() as u64));
    assert_eq!(export(&second), exported);
    // The lines before the fault give the same entries by themselves.
    if let Err((_, committed)) = read {
        let before = lines.split_inclusive(|&byte| byte == b'\n').take(committed as usize);
        let third = collection();
        assert_eq!(import(&third, &before.collect::<Vec<_>>().concat()), Ok(committed));
        assert_eq!(export(&third), exported);
    }
});
