//! A collection with attributes that an earlier version wrote: it must open for ever.

use std::path::PathBuf;

use nearfield::attributes::{Declared, Kind, Schema, Timestamp, Value};
use nearfield::{Attributes, Collection, Metric, attributes};

use crate::support::files::Folder;

const COUNT: u64 = 500;

fn schema() -> Schema {
    Schema::new()
        .with("number", Declared::new(Kind::Integer).required())
        .with("title", Declared::new(Kind::Text).stored_only())
        .with("body", Declared::new(Kind::Text))
}

/// Attributes of each kind, with a text that is longer than its term.
fn attributes_of(key: u64) -> Attributes {
    let mut attributes = attributes! {
        "number" => key as i64 - 250,
        "title" => format!("title {}", key % 7),
        "body" => format!("{} {}", "long ".repeat(20), key % 5),
        "share" => key as f64 / COUNT as f64,
        "even" => key.is_multiple_of(2),
        "made" => Timestamp::from_micros(key as i64 * 1_000_000_007),
        "tags" => vec![format!("tag {}", key % 3), format!("tag {}", key % 11)],
    };
    if key.is_multiple_of(10) {
        attributes.remove("share");
    }
    attributes
}

fn write(path: &PathBuf) {
    let builder = Collection::builder(4, Metric::L2).m(4).ef_construction(30);
    let collection = builder.log_size(64 << 10).create(path).unwrap();
    let mut tx = collection.begin_write().unwrap();
    let body = Declared::new(Kind::Text).stored_only();
    tx.declare(&schema().with("body", body)).unwrap();
    for key in 0..COUNT {
        tx.upsert(key, &[key as f32, 1.0, (key % 13) as f32, 0.5]).unwrap();
        tx.set(key, attributes_of(key)).unwrap();
    }
    tx.put_payload(3, b"three").unwrap();
    let named = tx.name_or_insert("name").unwrap();
    tx.upsert(named, &[0.0, 0.0, 0.0, -9.0]).unwrap();
    tx.set(named, attributes! { "number" => 1000 }).unwrap();
    tx.commit().unwrap();
    collection.checkpoint().unwrap();
    // The field has no index in the file: its values are in the records.
    let mut tx = collection.begin_write().unwrap();
    tx.declare(&schema()).unwrap();
    tx.commit().unwrap();
    collection.close().unwrap();
}

/// `NEARFIELD_WRITE_GOLDEN=1` writes the file if it is missing.
#[test]
fn a_golden_file_with_attributes_opens() {
    const NAME: &str = "attributes-1.nf";

    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(NAME);
    if std::env::var_os("NEARFIELD_WRITE_GOLDEN").is_some() && !path.exists() {
        write(&path);
    }
    // A copy is opened, because opening leaves a lock file for a moment.
    let folder = Folder::new("golden-attributes");
    let copy = folder.file(NAME);
    std::fs::copy(&path, &copy).unwrap();
    let collection = Collection::open(&copy).unwrap();
    for is_built in [false, true] {
        let report = collection.check().unwrap();
        assert!(report.is_ok(), "{report}");
        assert_eq!((collection.len(), collection.schema().unwrap()), (501, schema()));
        for key in 0..COUNT {
            assert_eq!(collection.attributes(key).unwrap(), Some(attributes_of(key)));
        }
        for (predicate, expected) in [
            ("number between -5 and 4", 10),
            ("number > 249", 1),
            ("title = 'title 3' and even = true", 35),
            ("body prefix 'long long' and share < 0.5", 225),
            ("share is null", 51),
            ("not (tags has 'tag 1' or number >= 0)", 152),
            ("made < time '1970-01-02T00:00:00Z'", 87),
        ] {
            let found = collection.count(&predicate.parse().unwrap()).unwrap();
            assert_eq!(found, expected, "{predicate}");
        }
        let titles = collection.facet("title").unwrap();
        assert_eq!((titles.len(), titles[0].clone()), (7, (Value::from("title 0"), 72)));
        let bodies = collection.facet("body").unwrap();
        assert!(bodies.len() == 5 && bodies.iter().all(|&(_, count)| count == 100));
        assert_eq!(collection.payload(3).unwrap().as_deref(), Some(&b"three"[..]));
        assert!(collection.key_of("name").unwrap().is_some());
        if !is_built {
            collection.build_index("body").unwrap();
        }
    }
}
