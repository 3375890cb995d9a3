//! Exports and imports as lines of JSON.

use std::io::{self, Read, Write};
use std::sync::Mutex;

use nearfield::attributes::Timestamp;
use nearfield::collection::{LineFault, ScrollCursor};
use nearfield::{
    Attributes, CancelToken, Collection, CollectionError, Element, ErrorKind, Metric, attributes,
    field,
};

use crate::support::collections::vector;
use crate::support::files::Folder;

/// Returns the lines of an export.
fn lines(collection: &Collection) -> Vec<u8> {
    let mut lines = Vec::new();
    let report = collection.export().run(&mut lines).unwrap();
    assert_eq!(report.entries as usize, collection.len());
    assert_eq!(report.bytes as usize, lines.len());
    assert_eq!(report.last.map(ScrollCursor::last_key), collection.keys().into_iter().max());
    lines
}

/// Attributes with the limits of each kind.
fn extreme() -> Attributes {
    attributes! {
        "least" => i64::MIN, "greatest" => i64::MAX, "tenth" => 0.1, "third" => 1.0 / 3.0,
        "tiny" => 5e-324, "huge" => f64::MAX, "inf" => f64::INFINITY, "-inf" => f64::NEG_INFINITY,
        "past" => Timestamp::from_micros(i64::MIN), "future" => Timestamp::from_micros(i64::MAX),
        "yes" => true, "text" => "\u{0}\"\\\n\u{1f980}", "none" => Vec::<String>::new(),
        "tags" => ["a", ""], "$time" => "1970", "key" => 1,
    }
}

fn fill(collection: &Collection, metric: Metric, element: Element) {
    let mut tx = collection.begin_write().unwrap();
    for number in 0..60_u64 {
        let key = match number % 4 {
            0 => tx.name_or_insert(format!("n\u{e4}me \"{number}\"")).unwrap(),
            1 => tx.name_or_insert([0xff, number as u8, 0]).unwrap(),
            2 => number * number,
            _ => u64::MAX - number,
        };
        // Components from 0 to 255 suit all types; others do not survive under the cosine without care.
        let mut values = vector(number, 0, 13);
        match element {
            Element::I8 | Element::U8 => {
                values = values.iter().map(|x| (x * 120.0).round() + 1.0).collect();
            }
            _ if metric == Metric::L2 => values = values.iter().map(|x| (x - 0.5) / 3.0).collect(),
            _ => {}
        }
        if element == Element::Bit {
            let bits: Vec<u8> = values.iter().take(2).map(|x| (x * 255.0) as u8).collect();
            tx.upsert(key, &bits).unwrap();
        } else {
            tx.upsert(key, &values).unwrap();
        }
        match number % 5 {
            0 => tx.put_payload(key, "text \u{1f41f} \"\\\u{1}".as_bytes()).unwrap(),
            1 => tx.put_payload(key, &[0, 255, 128, number as u8]).unwrap(),
            2 => tx.put_payload(key, b"").unwrap(),
            _ => {}
        }
        if number % 3 == 0 {
            tx.set(key, extreme()).unwrap();
        }
    }
    // Gaps between the keys of names.
    tx.remove_named(b"n\xc3\xa4me \"8\"").unwrap().unwrap();
    tx.remove_name([0xff, 5, 0]).unwrap().unwrap();
    tx.commit().unwrap();
}

#[test]
fn every_element_and_metric_is_exact() {
    let folder = Folder::new("exchange");
    let mut met = 0;
    for element in
        [Element::F32, Element::F16, Element::Bf16, Element::I8, Element::U8, Element::Bit]
    {
        for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine, Metric::Hamming] {
            let config = || Collection::builder(13, metric).element(element);
            let path = folder.file(&format!("{element}-{metric}.nf"));
            let Ok(collection) = config().create(&path) else { continue };
            met += 1;
            fill(&collection, metric, element);
            let exported = lines(&collection);
            let path = folder.file(&format!("{element}-{metric}-copy.nf"));
            let copy = config().create(path).unwrap();
            let report = copy.import().commit_after(7).run(&exported[..]).unwrap();
            assert_eq!((report.lines, report.entries, report.commits), (59, 59, 9));
            assert_eq!(report.bytes as usize, exported.len());
            // Keys, names, each bit of each vector, attributes and payloads.
            let all = |collection: &Collection| -> Vec<_> {
                collection.entries().unwrap().map(Result::unwrap).collect()
            };
            let bits = |vector: &[f32]| vector.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            for (copied, original) in all(&copy).iter().zip(all(&collection)) {
                assert_eq!(*copied, original, "{element} {metric}");
                assert_eq!(bits(&copied.vector), bits(&original.vector), "{element} {metric}");
            }
            assert!(lines(&copy) == exported, "{element} {metric}");
            assert!(copy.check().unwrap().is_ok());
            // Once more into the same collection: nothing changes.
            copy.import().run(&exported[..]).unwrap();
            assert!(lines(&copy) == exported, "{element} {metric}");
        }
    }
    assert_eq!(met, 16);
}

fn small(folder: &Folder, name: &str) -> Collection {
    Collection::builder(2, Metric::L2).create(folder.file(name)).unwrap()
}

#[test]
fn hostile_lines_name_their_number_and_change_nothing() {
    let folder = Folder::new("hostile-lines");
    let collection = small(&folder, "c.nf");
    let good = r#"{"key": 1, "vector": [1, 2]}"#;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let long_name = format!(r#"{{"name": "{}", "vector": [1, 2]}}"#, "n".repeat(10_000));
    let long_text = format!(
        r#"{{"key": 1, "vector": [1, 2], "attributes": {{"a": "{}"}}}}"#,
        "x".repeat(70_000)
    );
    let json: &[&str] = &[
        "{",
        "]",
        "1",
        "null",
        "[]",
        "\u{0}",
        "{\"key\": 1",
        "{\"key\": 01}",
        &deep,
        "\"\\ud800\"",
    ];
    let members: &[(&str, &str)] = &[
        ("{}", "key"),
        (r#"{"key": 1}"#, "vector"),
        (r#"{"vector": [1, 2]}"#, "key"),
        (r#"{"key": null, "vector": [1, 2]}"#, "key"),
        (r#"{"key": -1, "vector": [1, 2]}"#, "key"),
        (r#"{"key": 1.5, "vector": [1, 2]}"#, "key"),
        (r#"{"key": 18446744073709551616, "vector": [1, 2]}"#, "key"),
        (r#"{"key": "1", "vector": [1, 2]}"#, "key"),
        (r#"{"key": 1, "name": "a", "vector": [1, 2]}"#, "key"),
        (r#"{"name": 7, "vector": [1, 2]}"#, "name"),
        (r#"{"name": "a", "name_base64": "YQ==", "vector": [1, 2]}"#, "name_base64"),
        (r#"{"name_base64": "Y", "vector": [1, 2]}"#, "name_base64"),
        (r#"{"key": 1, "vector": 1}"#, "vector"),
        (r#"{"key": 1, "vector": [1, "2"]}"#, "vector"),
        (r#"{"key": 1, "vector": [1, null]}"#, "vector"),
        (r#"{"key": 1, "vector": [1, 2], "payload": {}}"#, "payload"),
        (r#"{"key": 1, "vector": [1, 2], "payload_base64": "====" }"#, "payload_base64"),
        (r#"{"key": 1, "vector": [1, 2], "vektor": []}"#, "vektor"),
    ];
    let refused: &[&str] = &[
        r#"{"key": 1, "vector": [1, 2, 3]}"#,
        r#"{"key": 1, "vector": []}"#,
        r#"{"key": 1, "vector": [1e39, 2]}"#,
        r#"{"key": 1, "vector": [1, 2], "attributes": 7}"#,
        r#"{"key": 1, "vector": [1, 2], "attributes": {"a": {"b": 1}}}"#,
        r#"{"key": 1, "vector": [1, 2], "attributes": {"": 1}}"#,
        r#"{"key": 1, "vector": [1, 2], "attributes": {"a": [1]}}"#,
        &long_name,
        &long_text,
    ];
    let import = |line: &str| {
        let text = format!("{good}\n\n{good}\r\n{line}\n{good}\n");
        let error = collection.import().commit_after(2).run(text.as_bytes()).unwrap_err();
        let CollectionError::Line { line: 4, committed: 3, fault } = &error else {
            panic!("{line:.60}: {error}");
        };
        assert!(error.to_string().starts_with("line 4: "), "{error}");
        assert!(error.to_string().len() < 400, "{error}");
        assert_eq!(collection.len(), 1);
        (fault.clone(), error.kind())
    };
    for line in json {
        let (fault, kind) = import(line);
        assert!(matches!(fault, LineFault::Json { .. }), "{line:.60}: {fault}");
        assert_eq!(kind, ErrorKind::InvalidInput);
    }
    for (line, member) in members {
        let (fault, kind) = import(line);
        assert!(
            matches!(&fault, LineFault::Member { name, .. } if name == member),
            "{line}: {fault}"
        );
        assert_eq!(kind, ErrorKind::InvalidInput);
    }
    for line in refused {
        let (fault, kind) = import(line);
        assert!(matches!(fault, LineFault::Refused(_)), "{line:.60}: {fault}");
        assert_eq!(kind, ErrorKind::InvalidInput, "{line:.60}");
    }
    // Bytes that are no UTF-8.
    let bytes =
        [good.as_bytes(), b"\n{\"key\": 2, \"vector\": [1, 2], \"payload\": \"\xff\"}"].concat();
    let error = collection.import().run(&bytes[..]).unwrap_err();
    assert!(matches!(error, CollectionError::Line { line: 2, committed: 0, .. }), "{error}");
    // Lines without an end, within the limit of memory.
    let endless = io::repeat(b' ').take(1 << 40);
    let error = collection.import().line_limit(1000).run(io::BufReader::new(endless)).unwrap_err();
    let CollectionError::Line { line: 1, fault: LineFault::TooLong { max: 1000 }, .. } = error
    else {
        panic!("{error}");
    };
    let exact = format!("{good}{}", " ".repeat(1000 - good.len()));
    for (text, is_taken) in
        [(exact.clone(), true), (format!("{exact}\n"), true), (format!("{exact} "), false)]
    {
        let taken = collection.import().line_limit(1000).run(text.as_bytes());
        assert_eq!(taken.is_ok(), is_taken, "{} bytes", text.len());
    }
    for zero in [collection.import().commit_after(0), collection.import().line_limit(0)] {
        assert_eq!(zero.run(good.as_bytes()).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(collection.import().run(&b"\n \n\r\n"[..]).unwrap().entries, 0);
}

#[test]
fn names_and_keys_of_lines_meet_those_of_the_collection() {
    let folder = Folder::new("import-names");
    let collection = small(&folder, "c.nf");
    let first = 1_u64 << 63;
    let mut tx = collection.begin_write().unwrap();
    assert_eq!(tx.name_or_insert("own").unwrap(), first);
    tx.upsert(first, &[9.0, 9.0]).unwrap();
    tx.upsert(first + 3, &[8.0, 8.0]).unwrap();
    tx.upsert(5, &[7.0, 7.0]).unwrap();
    tx.put_payload(5, b"old").unwrap();
    tx.set(5, attributes! { "old" => true }).unwrap();
    tx.commit().unwrap();
    let text = format!(
        "{}\n",
        [
            // Free, taken by a name, taken by a vector, beyond those that lines may choose, and none.
            format!(r#"{{"key": {}, "name": "free", "vector": [1, 0]}}"#, first + 10),
            format!(r#"{{"key": {first}, "name": "another", "vector": [2, 0]}}"#),
            format!(r#"{{"key": {}, "name": "third", "vector": [3, 0]}}"#, first + 3),
            format!(r#"{{"key": {}, "name": "last", "vector": [4, 0]}}"#, u64::MAX),
            r#"{"name": "keyless", "vector": [5, 0]}"#.to_owned(),
            // A known name under another key, and an entry that loses its records.
            format!(r#"{{"key": {}, "name": "own", "vector": [6, 0]}}"#, first + 77),
            r#"{"key": 5, "vector": [7, 0], "payload": null, "attributes": null}"#.to_owned(),
        ]
        .join("\n")
    );
    let report = collection.import().run(text.as_bytes()).unwrap();
    assert_eq!((report.entries, report.commits), (7, 1));
    let key_of = |name: &str| collection.key_of(name).unwrap().unwrap();
    assert_eq!((key_of("own"), key_of("free")), (first, first + 10));
    let others = ["another", "third", "last", "keyless"].map(key_of);
    assert_eq!(others, [11, 12, 13, 14].map(|behind| first + behind));
    assert_eq!(collection.get(first), Some(vec![6.0, 0.0]));
    assert_eq!(collection.get(first + 3), Some(vec![8.0, 8.0]));
    assert_eq!(collection.payload(5).unwrap(), None);
    assert_eq!(collection.attributes(5).unwrap(), None);
    // A line without a name does not take the key of a name.
    let line = format!(r#"{{"key": {first}, "vector": [1, 1]}}"#);
    let refused = collection.import().run(line.as_bytes()).unwrap_err();
    let CollectionError::Line { fault: LineFault::Refused(error), .. } = &refused else {
        panic!("{refused}");
    };
    assert!(matches!(**error, CollectionError::NameTaken { .. }), "{refused}");
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
}

/// A writer that fails after some bytes, and a reader that does.
struct Failing<T>(T, usize);

impl<T: Write> Write for Failing<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.1 == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let count = bytes.len().min(self.1);
        self.1 -= count;
        self.0.write(&bytes[..count])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<T: Read> Read for Failing<T> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.1 == 0 {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let most = bytes.len().min(self.1);
        let count = self.0.read(&mut bytes[..most])?;
        self.1 -= count;
        Ok(count)
    }
}

#[test]
fn both_ways_go_on_after_a_failure() {
    let folder = Folder::new("resumed");
    let collection = small(&folder, "c.nf");
    let mut tx = collection.begin_write().unwrap();
    for key in 0..1000 {
        tx.upsert(key * 3, &[key as f32, 0.5]).unwrap();
        tx.set(key * 3, attributes! { "even" => key % 2 == 0 }).unwrap();
    }
    tx.commit().unwrap();
    let whole = lines(&collection);
    // An export that fails after some bytes goes on behind the last whole line.
    let snapshot = collection.snapshot().unwrap();
    let mut text = Vec::new();
    let error = snapshot.export().run(Failing(&mut text, 20_000)).unwrap_err();
    assert!(matches!(error, CollectionError::Lines { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::DiskFull);
    text.truncate(text.iter().rposition(|&byte| byte == b'\n').unwrap() + 1);
    let count = text.split(|&byte| byte == b'\n').count() as u64 - 1;
    let last = ScrollCursor::after((count - 1) * 3);
    let told = Mutex::new(Vec::new());
    let tell = |done, total| told.lock().unwrap().push((done, total));
    let report = snapshot.export().after(last).progress(&tell).run(&mut text).unwrap();
    assert_eq!(report.entries, 1000 - count);
    assert_eq!(told.lock().unwrap().last(), Some(&(1000 - count, 1000 - count)));
    assert!(text == whole);
    let even = field("even").eq(true);
    let mut some = Vec::new();
    assert_eq!(collection.export().matching(&even).run(&mut some).unwrap().entries, 500);
    assert!(collection.export().matching(&field("a").eq(f64::NAN)).run(&mut some).is_err());

    // An import that fails goes on behind the committed lines.
    let copy = small(&folder, "copy.nf");
    let progress = Mutex::new(Vec::new());
    // The callback may use the collection.
    let tell = |lines, bytes| {
        assert_eq!(
            copy.begin_write().unwrap().count(&field("even").is_not_null()).unwrap(),
            copy.len()
        );
        progress.lock().unwrap().push((lines, bytes));
    };
    let reader = io::BufReader::new(Failing(&whole[..], 20_000));
    let error = copy.import().commit_after(64).progress(&tell).run(reader).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(matches!(error, CollectionError::Lines { .. }), "{error}");
    let committed = progress.lock().unwrap().last().unwrap().0;
    assert_eq!((committed % 64, committed as usize), (0, copy.len()));
    let cancel = CancelToken::new();
    let stop = |_, _| cancel.cancel();
    let import = copy.import().skip(committed).commit_after(64);
    let cancelled = import.progress(&stop).cancel(&cancel).run(&whole[..]).unwrap_err();
    assert_eq!(cancelled.kind(), ErrorKind::Cancelled);
    assert_eq!(copy.len() as u64, committed + 64);
    let report = import.skip(committed + 64).run(&whole[..]).unwrap();
    assert_eq!((report.lines, report.entries), (1000, 1000 - committed - 64));
    assert!(lines(&copy) == whole);
    let stopped = collection.export().cancel(&cancel).run(io::sink()).unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::Cancelled);
}

#[test]
fn an_import_divides_itself_by_the_limit_of_memory() {
    let folder = Folder::new("bounded-import");
    let payload = "p".repeat(4000);
    let mut text = Vec::new();
    for key in 0..2000 {
        writeln!(text, "{{\"key\": {key}, \"vector\": [{key}, 1], \"payload\": \"{payload}\"}}")
            .unwrap();
    }
    let path = folder.file("c.nf");
    // The collection alone takes some megabytes.
    let limited =
        |limit| Collection::builder(2, Metric::L2).memory_limit(limit).open(&path).unwrap();
    let mut limit = 1 << 20;
    let report = loop {
        match limited(limit).import().run(&text[..]) {
            Ok(report) => break report,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::LimitReached, "{error}");
                limit += limit / 4;
            }
        }
    };
    assert!(report.commits > 1, "{report:?} of {limit}");
    assert_eq!(report.entries, 2000);
    let collection = Collection::open(&path).unwrap();
    assert_eq!(collection.len(), 2000);
    assert_eq!(collection.payload(1999).unwrap(), Some(payload.into_bytes()));
}
