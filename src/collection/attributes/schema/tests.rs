//! Schemas: refused attributes, fields that are stored only, and indexes that are built later, also over power cuts.

use crate::attributes::random::Random;
use crate::attributes::{AttributeError, Declared, Kind, Schema};
use crate::collection::attributes::tests::{Temporary, keys};
use crate::collection::{Collection, CollectionError, StepSource};
use crate::store::{Cut, SimulatedDisk};
use crate::{Metric, Predicate, attributes};

fn schema(year: Declared) -> Schema {
    Schema::new().with("tenant", Declared::new(Kind::Text).required()).with("year", year)
}

fn year() -> Declared {
    Declared::new(Kind::Integer)
}

fn declare(collection: &Collection, schema: &Schema) {
    let mut tx = collection.begin_write().unwrap();
    tx.declare(schema).unwrap();
    tx.commit().unwrap();
}

#[test]
fn transactions_refuse_attributes_that_the_schema_does_not_allow() {
    let file = Temporary::new("schema");
    let collection = file.create();
    assert!(collection.schema().unwrap().is_empty());
    let schema = schema(year());
    assert_eq!(schema.to_string(), "tenant: text, required; year: integer");
    declare(&collection, &schema);
    let fault = |error: CollectionError| match error {
        CollectionError::Schema { key, fault } => (key, fault),
        error => panic!("{error}"),
    };
    let required = || AttributeError::Required { field: "tenant".to_owned() };
    let mut tx = collection.begin_write().unwrap();
    assert_eq!(tx.schema().unwrap(), schema);
    tx.upsert(1, &[0.0]).unwrap();
    let refused = tx.set(1, attributes! { "tenant" => "a", "year" => 1.5 }).unwrap_err();
    let (declared, found) = (Kind::Integer, Kind::Float);
    let kind = AttributeError::Kind { field: "year".to_owned(), declared, found };
    assert_eq!(fault(refused), (1, kind));
    assert_eq!(fault(tx.set(1, attributes! { "year" => 1 }).unwrap_err()), (1, required()));
    tx.set(1, attributes! { "tenant" => "a", "other" => true }).unwrap();
    assert_eq!(fault(tx.remove_attributes(1).unwrap_err()), (1, required()));
    tx.upsert(2, &[0.0]).unwrap();
    assert_eq!(fault(tx.commit().unwrap_err()), (2, required()));
    assert!(collection.is_empty());

    let mut tx = collection.begin_write().unwrap();
    for key in 1..4 {
        tx.upsert(key, &[0.0]).unwrap();
        tx.set(key, attributes! { "tenant" => "a", "year" => key as i64, "n" => 1 }).unwrap();
    }
    tx.commit().unwrap();
    // A key that was removed and is put anew has no attributes.
    let mut tx = collection.begin_write().unwrap();
    assert!(tx.remove(2).unwrap());
    tx.upsert(2, &[1.0]).unwrap();
    assert_eq!(fault(tx.commit().unwrap_err()), (2, required()));
    // A new vector keeps the attributes.
    let mut tx = collection.begin_write().unwrap();
    tx.upsert(2, &[1.0]).unwrap();
    tx.commit().unwrap();

    // Attributes that exist are checked.
    for (name, declared) in [("n", Declared::new(Kind::Text)), ("x", year().required())] {
        let mut tx = collection.begin_write().unwrap();
        let declared = tx.declare(&schema.clone().with(name, declared));
        let refused = declared.and_then(|()| tx.commit().map(drop)).unwrap_err();
        assert!(matches!(refused, CollectionError::Schema { .. }), "{refused}");
    }
    let mut tx = collection.begin_write().unwrap();
    assert!(tx.declare(&Schema::new().with("", year())).is_err());
    assert!(tx.commit().is_err());
    drop(collection);
    let collection = Collection::open(&file.path).unwrap();
    assert_eq!(collection.schema().unwrap(), schema);
    assert_eq!(collection.snapshot().unwrap().schema().unwrap(), schema);
    declare(&collection, &Schema::new());
    let mut tx = collection.begin_write().unwrap();
    tx.set(1, attributes! { "year" => "any" }).unwrap();
    tx.commit().unwrap();
    assert!(collection.check().unwrap().is_ok());
}

/// Compares the keys that predicates select with those of the attributes of each key.
fn compare(collection: &Collection) -> usize {
    let report = collection.check().unwrap();
    assert!(report.is_ok(), "{report}");
    let mut all = collection.keys();
    all.sort_unstable();
    let mut selected = 0;
    for predicate in [
        "year >= 20 and tenant = 't1'",
        "year < 30",
        "not (year = 7 or tenant prefix 't2')",
        "year is null",
        "year is not null and (tenant = 't0' or year between 3 and 9)",
    ] {
        let predicate: Predicate = predicate.parse().unwrap();
        let is_true = |key: &u64| {
            let attributes = collection.attributes(*key).unwrap().unwrap_or_default();
            predicate.matches(&attributes).unwrap()
        };
        let expected: Vec<u64> = all.iter().copied().filter(is_true).collect();
        assert_eq!(keys(&collection.matching(&predicate).unwrap()), expected, "{predicate}");
        let snapshot = collection.snapshot().unwrap();
        assert_eq!(keys(&snapshot.matching(&predicate).unwrap()), expected, "{predicate}");
        selected += expected.len();
    }
    selected
}

fn change(collection: &Collection, random: &mut Random) -> Result<(), CollectionError> {
    let mut tx = collection.begin_write()?;
    for _ in 0..random.below(12) {
        let key = random.below(200) as u64;
        if random.below(5) == 0 {
            tx.remove(key)?;
            continue;
        }
        tx.upsert(key, &[key as f32])?;
        let mut attributes = attributes! { "tenant" => format!("t{}", random.below(4)) };
        if random.below(4) > 0 {
            attributes.set("year", random.below(60) as i64);
        }
        tx.set(key, attributes)?;
    }
    tx.commit().map(drop)
}

/// Declares a field as stored only, or as indexed, or adds some of its values to the index.
fn toggle(collection: &Collection, random: &mut Random) -> Result<(), CollectionError> {
    let declared = match random.below(3) {
        0 => year().stored_only(),
        1 => year(),
        _ => {
            let mut tx = collection.begin_write()?;
            return match tx.index_some("year", 1 + random.below(60)) {
                Ok(_) => tx.commit().map(drop),
                Err(CollectionError::Attribute(AttributeError::StoredOnly { .. })) => Ok(()),
                Err(error) => Err(error),
            };
        }
    };
    let mut tx = collection.begin_write()?;
    tx.declare(&schema(declared))?;
    tx.commit().map(drop)
}

#[test]
fn fields_may_be_stored_only_and_indexed_later() {
    let file = Temporary::new("stored");
    let collection = file.create();
    let mut random = Random::new(5);
    declare(&collection, &schema(year().stored_only()));
    for _ in 0..40 {
        change(&collection, &mut random).unwrap();
    }
    let plain = collection.facet("year").unwrap();
    assert!(compare(&collection) > 100);
    let rare: Predicate = "year < 30".parse().unwrap();
    let step = |predicate: &Predicate| {
        let explained = collection.search(&[0.0]).explain(predicate).unwrap();
        explained.steps.last().map(|step| step.source)
    };
    let mut tx = collection.begin_write().unwrap();
    tx.upsert(1, &[1.0]).unwrap();
    tx.commit().unwrap();
    assert_eq!(step(&rare), Some(StepSource::AllRecords));
    let refused = collection.build_index("year").unwrap_err();
    assert!(matches!(refused, CollectionError::Attribute(AttributeError::StoredOnly { .. })));

    declare(&collection, &schema(year()));
    assert_eq!(step(&rare), Some(StepSource::AllRecords));
    let mut tx = collection.begin_write().unwrap();
    assert_eq!(tx.index_some("year", 20).unwrap(), Some(20));
    tx.commit().unwrap();
    assert_eq!(step(&rare), Some(StepSource::AllRecords));
    compare(&collection);
    let seen = std::sync::Mutex::new(Vec::new());
    let watch = |done, total| seen.lock().unwrap().push((done, total));
    collection.task().progress(&watch).build_index("year").unwrap();
    let seen = seen.into_inner().unwrap();
    assert!(seen.last().is_some_and(|(done, total)| done == total), "{seen:?}");
    assert_eq!(step(&rare), Some(StepSource::Index));
    assert_eq!(collection.facet("year").unwrap(), plain);
    compare(&collection);
    collection.build_index("year").unwrap();
    collection.build_index("none").unwrap();
    for case in 0..120 {
        toggle(&collection, &mut random).unwrap();
        change(&collection, &mut random).unwrap();
        if case % 10 == 0 {
            compare(&collection);
        }
    }
    compare(&collection);
}

#[test]
fn merges_and_backups_have_the_schema() {
    let (first, second, third) =
        (Temporary::new("merge-1"), Temporary::new("merge-2"), Temporary::new("merge-3"));
    let (one, two) = (first.create(), second.create());
    let mut random = Random::new(6);
    for collection in [&one, &two] {
        declare(collection, &schema(year().stored_only()));
        change(collection, &mut random).unwrap();
    }
    let _ = std::fs::remove_file(&third.path);
    let inputs = [one.snapshot().unwrap(), two.snapshot().unwrap()];
    let rule = crate::collection::ConflictRule::GreatestPayload;
    Collection::merge(&inputs, &third.path).rule(rule).run().unwrap();
    let merged = Collection::open(&third.path).unwrap();
    assert_eq!(merged.schema().unwrap(), schema(year().stored_only()));
    compare(&merged);
    drop(merged);
    std::fs::remove_file(&third.path).unwrap();
    one.backup(&third.path).unwrap();
    let copy = Collection::open(&third.path).unwrap();
    assert_eq!(copy.schema().unwrap(), one.schema().unwrap());
    compare(&copy);
    declare(&two, &schema(year()));
    let inputs = [one.snapshot().unwrap(), two.snapshot().unwrap()];
    drop(copy);
    std::fs::remove_file(&third.path).unwrap();
    let refused = Collection::merge(&inputs, &third.path).run().unwrap_err();
    assert!(matches!(refused, CollectionError::Mismatch { name: "schema", .. }), "{refused}");
}

#[test]
fn power_cuts_leave_the_index_of_one_moment() {
    let cuts = std::env::var("NEARFIELD_POWER_CUTS").ok().and_then(|n| n.parse().ok());
    let mut random = Random::new(7);
    let mut disk = SimulatedDisk::new();
    let builder = || Collection::builder(1, Metric::L2).log_size(64 << 10).checkpoint_after(3000);
    let mut selected = 0;
    for cut in 0..cuts.unwrap_or(120) {
        disk.power_off_after(1 + random.below(60) as u64);
        if let Ok(collection) = builder().open_simulated(&disk) {
            while !disk.is_off() {
                let done = match random.below(3) {
                    0 => change(&collection, &mut random),
                    _ => toggle(&collection, &mut random),
                };
                assert!(done.is_ok() || disk.is_off(), "{done:?}");
            }
        }
        let kind = [Cut::Nothing, Cut::Everything, Cut::Prefix, Cut::Subset(50)][random.below(4)];
        disk = disk.after_power_cut(kind, cut as u64);
        // The comparison reads a copy, because checking may write.
        let copy = SimulatedDisk::from_image(disk.image().unwrap()).unwrap();
        selected += compare(&builder().open_simulated(&copy).unwrap());
    }
    assert!(selected > 1000, "{selected}");
}
