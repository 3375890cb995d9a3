//! The order of clauses, estimates, and selections that are kept.

use crate::collection::attributes::tests::{Temporary, keys};
use crate::collection::{Collection, Explanation, Step, StepSource};
use crate::{Predicate, attributes};

const COUNT: u64 = 20_000;

/// Keys with a score that each has alone, a half of them odd, and three rare.
fn filled(file: &Temporary) -> Collection {
    let collection = file.create();
    let mut tx = collection.begin_write().unwrap();
    let flat: Vec<f32> = (0..COUNT).map(|key| key as f32).collect();
    tx.upsert_batch(&(0..COUNT).collect::<Vec<_>>(), &flat).unwrap();
    for key in 0..COUNT {
        // A permutation, so that a range of scores is spread over the keys.
        let score = (key * 7919 % COUNT) as f64 / COUNT as f64;
        let kind = if key % 7000 == 0 { "rare" } else { "usual" };
        let attributes = attributes! { "score" => score, "odd" => key % 2 == 1, "kind" => kind };
        tx.set(key, attributes).unwrap();
    }
    tx.commit().unwrap();
    collection
}

fn explain(collection: &Collection, predicate: &str) -> Explanation {
    let predicate: Predicate = predicate.parse().unwrap();
    let explained = collection.search(&[500.0]).k(5).explain(&predicate).unwrap();
    let matching = collection.matching(&predicate).unwrap().len();
    assert_eq!((explained.matching, explained.vectors), (matching, COUNT as usize));
    assert_eq!(explained.answers, matching.min(5), "{explained}");
    explained
}

fn sources(explained: &Explanation) -> Vec<(&str, StepSource, u64)> {
    let of = |step: &'_ Step| (step.source, step.left);
    explained.steps.iter().map(|s| (s.predicate.as_str(), of(s).0, of(s).1)).collect()
}

#[test]
fn clauses_are_evaluated_in_the_order_of_their_cost_and_selectivity() {
    use StepSource::{Index, Kept, Records, Skipped};

    let file = Temporary::new("order");
    let collection = filled(&file);
    let explained = explain(&collection, "score < 0.5 and odd = true and kind = 'rare'");
    let rest = "odd = true and score < 0.5";
    assert_eq!(sources(&explained)[0], ("kind = 'rare'", Index, 3), "{explained}");
    assert_eq!(sources(&explained)[1].1, Records, "{explained}");
    assert_eq!(sources(&explained)[1].0, rest, "{explained}");
    assert_eq!(explained.steps.len(), 2, "{explained}");
    let again = explain(&collection, "score < 0.5 and odd = true and kind = 'rare'");
    assert_eq!(again.steps[0].source, Kept, "{again}");
    assert_eq!((again.steps.len(), again.matching), (1, explained.matching));

    // Reading ten thousand records costs more than half of the scores.
    let explained = explain(&collection, "score < 0.4 and odd = true");
    let half = COUNT / 2;
    assert_eq!(sources(&explained)[0], ("odd = true", Index, half), "{explained}");
    assert_eq!(sources(&explained)[1].0, "score < 0.4", "{explained}");
    assert_eq!(sources(&explained)[1].1, Index, "{explained}");
    // The costly clause was kept by itself.
    let explained = explain(&collection, "odd = false and score < 0.4");
    assert_eq!(sources(&explained)[1].1, Kept, "{explained}");

    let explained = explain(&collection, "score >= 0.3 and kind = 'none' and odd = false");
    assert_eq!(sources(&explained)[0], ("kind = 'none'", Index, 0), "{explained}");
    assert_eq!(sources(&explained)[1].1, Skipped, "{explained}");
    assert_eq!((explained.steps.len(), explained.matching), (2, 0), "{explained}");

    // The negation of an `or` is an `and` of negations.
    let explained = explain(&collection, "not (score < 0.5 or kind = 'usual')");
    assert_eq!(sources(&explained)[0], ("not (kind = 'usual')", Index, 3), "{explained}");
    assert_eq!(sources(&explained)[1].1, Records, "{explained}");
}

#[test]
fn an_explanation_is_read_line_by_line() {
    let file = Temporary::new("lines");
    let collection = filled(&file);
    let text = explain(&collection, "odd = false and kind = 'rare'").to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 6, "{text}");
    assert_eq!(lines[0], "odd = false and kind = 'rare'");
    assert!(lines[1].starts_with("  expected: "), "{text}");
    assert!(lines[2].starts_with("  matching: 3 (0.0"), "{text}");
    let first = "    1. kind = 'rare': about 3 expected, 3 left, by the index, ";
    assert!(lines[3].starts_with(first), "{text}");
    let second =
        "    2. odd = false: about 10000 expected, 3 left, by the records of the keys left, ";
    assert!(lines[4].starts_with(second), "{text}");
    assert!(
        lines[5].starts_with("  search: a scan of the matching vectors, 3 answers, "),
        "{text}"
    );
}

#[test]
fn estimates_are_near_the_truth() {
    let file = Temporary::new("estimates");
    let collection = filled(&file);
    for predicate in ["kind = 'rare'", "odd = false", "odd is not null", "kind in ('rare', 'x')"] {
        let explained = explain(&collection, predicate);
        assert_eq!(explained.estimated, explained.matching as u64, "{explained}");
    }
    for share in [0.0005, 0.01, 0.2, 0.5, 0.77, 0.999] {
        for predicate in [
            format!("score < {share}"),
            format!("not score < {share}"),
            format!("score >= {share} or score is null"),
            format!("score between 0.0001 and {share} and odd = true"),
        ] {
            let explained = explain(&collection, &predicate);
            let (estimate, truth) = (explained.estimated as f64, explained.matching as f64);
            let most = truth * 0.35 + 20.0;
            assert!((estimate - truth).abs() < most, "{explained}");
        }
    }
}

#[test]
fn selections_are_kept_for_their_commit() {
    let file = Temporary::new("kept");
    let collection = filled(&file);
    let used = || {
        let stats = collection.stats().unwrap();
        assert!(stats.selection_bytes <= 8 << 20);
        (stats.selection_hits, stats.selection_misses)
    };
    let predicate: Predicate = "score < 0.25".parse().unwrap();
    let found = keys(&collection.matching(&predicate).unwrap());
    assert_eq!((found.len(), used()), (5000, (0, 1)));
    assert_eq!(keys(&collection.matching(&predicate).unwrap()), found);
    let snapshot = collection.snapshot().unwrap();
    assert_eq!(keys(&snapshot.matching(&predicate).unwrap()), found);
    assert_eq!(used(), (2, 1));
    // A transaction leaves the kept selections as they are.
    let mut tx = collection.begin_write().unwrap();
    assert_eq!(tx.remove_where(&"score < 0.125".parse().unwrap()).unwrap(), 2500);
    assert_eq!(tx.count(&predicate).unwrap(), 2500);
    tx.commit().unwrap();
    assert_eq!((collection.count(&predicate).unwrap(), used()), (2500, (2, 2)));
    assert_eq!((snapshot.count(&predicate).unwrap(), used()), (5000, (3, 2)));

    // All keys are those of the index, which may be of another commit than the tables.
    let null: Predicate = "score is null".parse().unwrap();
    for misses in [3, 4] {
        assert_eq!((collection.count(&null).unwrap(), used()), (0, (3, misses)));
    }
    let snapshot = collection.snapshot().unwrap();
    for (hits, misses) in [(3, 5), (4, 5)] {
        assert_eq!((snapshot.count(&null).unwrap(), used()), (0, (hits, misses)));
    }
}
