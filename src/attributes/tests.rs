//! The table of truths, limits, depth, and texts and JSON of random predicates.

use super::predicate::MOST_LEVELS;
use super::random::{NAMES, Random};
use super::truth::Truth::{self, False, True, Unknown};
use super::*;
use crate::attributes;

fn truth(predicate: &Predicate, attributes: &Attributes) -> Truth {
    let truth = predicate.node().unwrap().evaluate(attributes);
    assert_eq!(predicate.matches(attributes), Ok(truth == True));
    truth
}

/// Attributes with a field of each kind; `n` is null.
fn sample() -> Attributes {
    attributes! {
        "i" => 5,
        "large" => (1_i64 << 53) + 1,
        "f" => 1.5,
        "zero" => -0.0,
        "t" => "graph",
        "b" => true,
        "time" => Timestamp::from_micros(1),
        "list" => ["a", "b"],
        "empty" => Vec::<String>::new(),
    }
}

/// A predicate of each line of the table in the documentation of the module, and its truth for [`sample`].
const TABLE: [(&str, Truth); 92] = [
    // Null.
    ("n is null", True),
    ("i is null", False),
    ("list is null", False),
    ("n is not null", False),
    ("empty is not null", True),
    ("n = 5", Unknown),
    ("n != 5", Unknown),
    ("n < 5", Unknown),
    ("n in (5)", Unknown),
    ("n in ()", Unknown),
    ("n not in ()", Unknown),
    ("n between 1 and 2", Unknown),
    ("n prefix ''", Unknown),
    ("n has 'a'", Unknown),
    ("n any of ()", Unknown),
    ("n all of ()", Unknown),
    // Comparisons of one kind.
    ("i = 5", True),
    ("i = 4", False),
    ("i != 5", False),
    ("i != 4", True),
    ("i < 5", False),
    ("i < 6", True),
    ("i <= 5", True),
    ("i <= 4", False),
    ("i > 5", False),
    ("i > 4", True),
    ("i >= 5", True),
    ("i >= 6", False),
    // Integers and floats.
    ("i = 5.0", True),
    ("i < 5.5", True),
    ("i < inf", True),
    ("f > 1", True),
    ("f = 1", False),
    ("large = 9007199254740992.0", False),
    ("large > 9007199254740992.0", True),
    ("zero = 0", True),
    ("zero = -0.0", True),
    ("zero < 0.0", False),
    // Booleans, texts, times.
    ("b > false", True),
    ("b = true", True),
    ("t > 'gra'", True),
    ("t < 'h'", True),
    ("t < 'Z'", False),
    ("t < '\u{e9}'", True),
    ("time > time '1970-01-01T00:00:00Z'", True),
    ("time = time '1970-01-01T00:00:00.000001Z'", True),
    // Other kinds.
    ("i = '5'", Unknown),
    ("i != '5'", Unknown),
    ("t < 5", Unknown),
    ("b = 1", Unknown),
    ("time = 1", Unknown),
    ("list = 'a'", Unknown),
    ("list != 'a'", Unknown),
    // Among.
    ("i in (1, 5)", True),
    ("i in (1, 2)", False),
    ("i in ()", False),
    ("i not in ()", True),
    ("list in ()", False),
    ("i in (1, 'x')", Unknown),
    ("i in (5, 'x')", True),
    ("i not in (1, 'x')", Unknown),
    ("i not in (1, 2)", True),
    ("i in (5.0)", True),
    // Between.
    ("i between 5 and 5", True),
    ("i between 6 and 9", False),
    ("i between 9 and 6", False),
    ("i between 'a' and 9", Unknown),
    ("i between 'a' and 3", False),
    // Prefixes.
    ("t prefix 'gr'", True),
    ("t prefix 'graphs'", False),
    ("t prefix ''", True),
    ("i prefix '5'", Unknown),
    ("list prefix 'a'", Unknown),
    // Lists.
    ("list has 'a'", True),
    ("list has 'c'", False),
    ("empty has 'a'", False),
    ("t has 'graph'", Unknown),
    ("list any of ('c', 'b')", True),
    ("list any of ('c')", False),
    ("list any of ()", False),
    ("t any of ()", Unknown),
    ("list all of ('b', 'a')", True),
    ("list all of ('a', 'c')", False),
    ("list all of ()", True),
    ("t all of ()", Unknown),
    // Connectives, below for each pair.
    ("true", True),
    ("false", False),
    ("not n = 1", Unknown),
    ("not i = 1", True),
    ("not not i = 5", True),
    ("n = 1 and i = 1 or i = 5", True),
    ("i = 5 or i = 5 and i = 1", True),
];

#[test]
fn the_table_of_truths() {
    let attributes = sample();
    for (text, expected) in TABLE {
        let predicate: Predicate = text.parse().unwrap();
        assert_eq!(truth(&predicate, &attributes), expected, "{text}");
        let opposite = predicate.not();
        assert_eq!(truth(&opposite, &attributes), !expected, "{opposite}");
    }
}

#[test]
fn connectives_of_three_values() {
    let attributes = sample();
    let of = |truth| match truth {
        True => field("i").eq(5),
        False => field("i").eq(4),
        Unknown => field("n").eq(5),
    };
    for (a, b, and, or) in [
        (True, True, True, True),
        (True, False, False, True),
        (True, Unknown, Unknown, True),
        (False, False, False, False),
        (False, Unknown, False, Unknown),
        (Unknown, Unknown, Unknown, Unknown),
    ] {
        for (a, b) in [(a, b), (b, a)] {
            assert_eq!(truth(&(of(a) & of(b)), &attributes), and, "{a:?} {b:?}");
            assert_eq!(truth(&(of(a) | of(b)), &attributes), or, "{a:?} {b:?}");
        }
    }
    assert_eq!(truth(&Predicate::all([]), &attributes), True);
    assert_eq!(truth(&Predicate::any([]), &attributes), False);
}

#[test]
fn laws_hold_for_random_values() {
    let mut random = Random::new(1);
    let mut seen = [0; 3];
    for _ in 0..2000 {
        let attributes = random.attributes();
        let name = random.name();
        let (low, high) = (random.operand(name), random.operand(name));
        let value = |predicate: Predicate| truth(&predicate, &attributes);
        let field = || field(name);
        let between = value(field().between(low.clone(), high.clone()));
        assert_eq!(between, value(field().ge(low.clone()) & field().le(high.clone())));
        let among = value(field().is_in([low.clone(), high.clone()]));
        assert_eq!(among, value(field().eq(low.clone()) | field().eq(high.clone())));
        assert_eq!(value(field().ne(low.clone())), value(!field().eq(low.clone())));
        assert_eq!(value(field().lt(low.clone())), value(!field().ge(low.clone())));
        assert_eq!(value(field().gt(low.clone())), value(!field().le(low.clone())));
        let (a, b) = (random.text(), random.text());
        let any = value(field().any_of([a, b]));
        assert_eq!(any, value(field().has(a) | field().has(b)));
        assert_eq!(value(field().all_of([a, b])), value(field().has(a) & field().has(b)));
        let (p, q) = (random.predicate(3), random.predicate(3));
        let negated = value(!(p.clone() & q.clone()));
        assert_eq!(negated, value(!p.clone() | !q.clone()), "{p} {q}");
        seen[value(p) as usize] += 1;
    }
    assert!(seen.iter().all(|count| *count > 200), "{seen:?}");
}

/// Returns a predicate of exactly `levels` levels, in which all three connectives alternate.
fn nested(levels: usize) -> Predicate {
    let mut predicate = field("a").eq(1);
    for level in 1..levels {
        predicate = match level % 3 {
            0 => predicate.and(field("a").lt(2)),
            1 => predicate.or(field("b").has("x")),
            _ => predicate.not(),
        };
    }
    predicate
}

#[test]
fn depth_has_a_limit() {
    let deepest = nested(MOST_LEVELS);
    assert!(deepest.node().is_ok());
    assert_eq!(deepest.to_string().parse(), Ok(deepest));
    let refused = Err(AttributeError::TooDeep { max: MOST_LEVELS });
    assert_eq!(nested(MOST_LEVELS + 1).matches(&sample()), refused);
    // Neither drop nor evaluation nor text overflows the stack, and no later call hides the fault.
    let endless = nested(300_000);
    assert_eq!(endless.matches(&sample()), refused);
    assert_eq!((endless.clone() | field("a").eq(1)).matches(&sample()), refused);
    assert_eq!((!endless.clone()).matches(&sample()), refused);
    assert!(endless.to_string().len() < 10_000);
    // Double negations, and parts of equal connectives, take no level.
    let mut flat = field("a").eq(1);
    for i in 0..2000 {
        flat = flat.not().not().and(field("a").ne(i).and(field("b").is_null()));
    }
    assert_eq!(flat.matches(&attributes! { "a" => 1 }), Ok(false));
    assert_eq!(flat.clone().not().not(), flat);
    let wide = Predicate::any([flat.clone(), flat.clone()].map(Predicate::not));
    assert!(wide.node().is_ok());
}

#[test]
fn depth_is_that_of_the_tree() {
    // A join with one part, and constants, take no level: the deepest predicate stays valid.
    let deepest = nested(MOST_LEVELS);
    let same = Predicate::all([Predicate::all([]), Predicate::any([deepest.clone()])]);
    assert_eq!(same, deepest);
    assert!(same.node().is_ok());
}

#[test]
fn limits_of_attributes() {
    let long = |len| "x".repeat(len);
    let list = |count, len| vec![long(len); count];
    let valid = [
        attributes! { long(255) => 1 },
        attributes! { "\u{e9} $.\"'" => f64::INFINITY, "b" => f64::NEG_INFINITY },
        attributes! { "a" => long(64 << 10) },
        attributes! { "a" => list(1024, 10), "b" => list(2, 4096) },
        (0..256).map(|i| (i.to_string(), i)).collect(),
    ];
    for attributes in valid {
        assert_eq!(attributes.check(), Ok(()));
    }
    let field = || "a".to_owned();
    let refused = [
        (attributes! { "" => 1 }, AttributeError::Name { name: String::new(), fault: "is empty" }),
        (
            attributes! { long(256) => 1 },
            AttributeError::Name { name: long(64) + "...", fault: "has more than 255 bytes" },
        ),
        (
            attributes! { "a\u{85}" => 1 },
            AttributeError::Name { name: "a\u{85}".into(), fault: "has control characters" },
        ),
        (attributes! { "a" => f64::NAN }, AttributeError::NotANumber { field: field() }),
        (
            attributes! { "a" => long((64 << 10) + 1) },
            AttributeError::TextTooLong { field: field(), len: 65_537, max: 65_536 },
        ),
        (
            attributes! { "a" => list(1025, 0) },
            AttributeError::ListTooLong { field: field(), len: 1025, max: 1024 },
        ),
        (
            attributes! { "a" => list(1, 4097) },
            AttributeError::TextTooLong { field: field(), len: 4097, max: 4096 },
        ),
        (
            (0..257).map(|i| (i.to_string(), i)).collect(),
            AttributeError::TooManyFields { count: 257, max: 256 },
        ),
    ];
    for (attributes, error) in refused {
        assert_eq!(attributes.check(), Err(error.clone()));
        assert_eq!(error.kind(), crate::ErrorKind::InvalidInput);
    }
}

#[test]
fn limits_of_predicates() {
    let long = "x".repeat(65_537);
    let listed = "x".repeat(4097);
    let nan = || Value::Float(f64::NAN);
    let refused = [
        field("").eq(1),
        field("a\n").is_null(),
        field("a").lt(nan()),
        field("a").is_in([1.into(), nan()]),
        field("a").between(1, nan()),
        field("a").between(nan(), 1),
        field("a").eq(long.as_str()),
        field("a").prefix(long),
        field("a").has(listed.clone()),
        field("a").any_of([listed.clone()]),
        field("a").all_of([listed]),
        field("a").eq(["a"]),
        field("a").is_in([["a"]]),
    ];
    for predicate in refused {
        let error = predicate.matches(&sample()).unwrap_err();
        for outer in [!predicate.clone(), field("a").eq(1) | predicate.clone()] {
            assert_eq!(outer.matches(&sample()), Err(error.clone()));
        }
        assert!(predicate.to_string().parse::<Predicate>().is_err());
    }
}

#[test]
fn a_map_of_fields() {
    let mut fields = attributes! { "b" => 1, "a" => "x", "b" => 2, };
    assert_eq!(format!("{fields:?}"), r#"{"a": Text("x"), "b": Integer(2)}"#);
    assert_eq!(fields.iter().len(), 2);
    assert_eq!(fields.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b"]);
    fields.extend([("c", 0.5)]);
    assert_eq!(fields.remove("b"), Some(Value::Integer(2)));
    assert_eq!(fields.remove("b"), None);
    assert_eq!((fields.len(), fields.is_empty()), (2, false));
    let again: Attributes =
        (&fields).into_iter().map(|(name, value)| (name, value.clone())).collect();
    assert_eq!(again, fields);
    assert_eq!(fields.into_iter().collect::<Attributes>(), again);
    let zero = attributes! { "z" => Value::Float(-0.0) };
    assert!(matches!(zero.get("z"), Some(Value::Float(zero)) if zero.is_sign_positive()));
}

#[test]
fn random_predicates_have_a_text() {
    let mut random = Random::new(2);
    let mut matched = 0;
    for _ in 0..2000 {
        let predicate = random.predicate(6);
        let text = predicate.to_string();
        let read: Predicate = text.parse().unwrap();
        assert_eq!(read, predicate, "{text}");
        assert_eq!(read.to_string(), text);
        let attributes = random.attributes();
        assert_eq!(truth(&read, &attributes), truth(&predicate, &attributes));
        matched += usize::from(predicate.matches(&attributes).unwrap());
    }
    assert!((200..1800).contains(&matched), "{matched}");
}

#[test]
fn every_name_has_a_text() {
    for name in NAMES.into_iter().chain(["or", "FALSE", "null", "is", "between", "_", "-", "a--"]) {
        let predicate = field(name).between(1, 2) & field(name).is_not_null() & !field(name).eq(3);
        assert_eq!(predicate.to_string().parse(), Ok(predicate));
    }
}
