//! Tables of the user's own in a collection.

use nearfield::store::{Key, StoreError};
use nearfield::{Collection, CollectionError, Snapshot};

use crate::support::collections::{config, open, vector};
use crate::support::files::Folder;

const DIMENSION: usize = 4;

/// Returns the entries of a table of a snapshot.
fn entries<K: Key + ?Sized>(snapshot: &Snapshot, name: &str) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let table = snapshot.table::<K>(name).unwrap()?;
    let bytes = |key: K::Item<'_>| K::encode(key).as_ref().to_vec();
    let entry = |entry: Result<_, StoreError>| {
        entry.map(|(key, value): (_, &[u8])| (bytes(key), value.to_vec()))
    };
    Some(table.entries().unwrap().map(entry).collect::<Result<_, _>>().unwrap())
}

#[test]
fn own_records_are_committed_with_vectors() {
    let folder = Folder::new("own-tables");
    let path = folder.file("c.nf");
    let collection = open(&path, config(DIMENSION));
    let mut tx = collection.begin_write().unwrap();
    tx.upsert(1, &vector(1, 0, DIMENSION)).unwrap();
    tx.put_payload(1, b"payload").unwrap();
    // The names of the collection's own tables are free.
    tx.table::<str>("payloads").unwrap().insert("own", b"record").unwrap();
    tx.table::<u64>("").unwrap().insert(7, b"seven").unwrap();
    tx.table::<i64>("signed").unwrap().insert(-7, b"minus seven").unwrap();
    tx.table::<[u8; 16]>("ids").unwrap().insert([3; 16], b"").unwrap();
    tx.table::<[u8]>("empty").unwrap();
    assert_eq!(tx.commit().unwrap(), 1);
    assert_eq!(collection.payload(1).unwrap().as_deref(), Some(&b"payload"[..]));
    let before = collection.snapshot().unwrap();

    let mut tx = collection.begin_write().unwrap();
    tx.table::<u64>("").unwrap().insert(8, b"dropped").unwrap();
    drop(tx);
    let mut tx = collection.begin_write().unwrap();
    assert_eq!(tx.table::<u64>("").unwrap().get(8).unwrap(), None);
    // A transaction of own records alone makes a commit.
    tx.table::<u64>("").unwrap().insert(9, b"nine").unwrap();
    assert!(tx.drop_table("signed").unwrap() && !tx.drop_table("signed").unwrap());
    assert_eq!(tx.commit().unwrap(), 2);
    assert_eq!(before.tables().unwrap(), ["", "empty", "ids", "payloads", "signed"]);
    assert_eq!(entries::<u64>(&before, "").unwrap().len(), 1);
    assert_eq!(entries::<i64>(&before, "signed").unwrap()[0].1, b"minus seven");
    drop((before, collection));

    let collection = open(&path, config(DIMENSION));
    let copy = folder.file("copy.nf");
    collection.backup(&copy).unwrap();
    drop(collection);
    for path in [path, copy] {
        let collection = open(&path, config(DIMENSION));
        let report = collection.check().unwrap();
        assert!(report.is_ok(), "{report}");
        let snapshot = collection.snapshot().unwrap();
        assert_eq!(snapshot.tables().unwrap(), ["", "empty", "ids", "payloads"]);
        let numbers = snapshot.table::<u64>("").unwrap().unwrap();
        let numbers: Vec<_> = numbers.entries().unwrap().map(Result::unwrap).collect();
        assert_eq!(numbers, [(7, &b"seven"[..]), (9, &b"nine"[..])]);
        assert_eq!(entries::<[u8; 16]>(&snapshot, "ids").unwrap(), [(vec![3; 16], Vec::new())]);
        assert_eq!(entries::<str>(&snapshot, "payloads").unwrap()[0].1, b"record");
        assert_eq!(entries::<[u8]>(&snapshot, "empty").unwrap(), []);
        assert_eq!(entries::<i64>(&snapshot, "signed"), None);
        let refused = snapshot.table::<u32>("ids").unwrap_err();
        assert!(matches!(refused, CollectionError::Store(StoreError::KeyType { .. })), "{refused}");
        assert_eq!(collection.get(1), Some(vector(1, 0, DIMENSION)));
        let mut tx = collection.begin_write().unwrap();
        let refused = tx.table::<str>("").unwrap_err();
        assert!(matches!(refused, CollectionError::Store(StoreError::KeyType { .. })), "{refused}");
        let refused = tx.table::<str>(&"n".repeat(5000)).unwrap_err();
        assert!(
            matches!(refused, CollectionError::Store(StoreError::NameTooLong { .. })),
            "{refused}"
        );
    }
    let merged = folder.file("merged.nf");
    let input = Collection::open(folder.file("c.nf")).unwrap().snapshot().unwrap();
    Collection::merge(&[input], &merged).run().unwrap();
    let merged = Collection::open(&merged).unwrap();
    assert!(merged.snapshot().unwrap().tables().unwrap().is_empty() && merged.len() == 1);
}
