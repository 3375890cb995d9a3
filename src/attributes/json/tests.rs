//! JSON of predicates and attributes, also hostile JSON.

use super::*;
use crate::attributes::random::Random;

fn read(json: &Json) -> Predicate {
    Predicate::from_json(json).unwrap_or_else(|error| panic!("{json}\n{error}"))
}

#[test]
fn json_of_each_kind() {
    for (json, text) in [
        (json!({}), "true"),
        (json!({ "a": 1 }), "a = 1"),
        (json!({ "a": "x" }), "a = 'x'"),
        (json!({ "a": true }), "a = true"),
        (json!({ "a": 1.0 }), "a = 1.0"),
        (json!({ "a": i64::MIN }), "a = -9223372036854775808"),
        (json!({ "a": { "$float": "-inf" } }), "a = -inf"),
        (
            json!({ "a": { "$time": "2024-05-01T14:00:00+02:00" } }),
            "a = time '2024-05-01T12:00:00Z'",
        ),
        (
            json!({ "a": { "$gt": { "$time": "2024-05-01T12:00:00Z" } } }),
            "a > time '2024-05-01T12:00:00Z'",
        ),
        (json!({ "a": { "$eq": 1 } }), "a = 1"),
        (json!({ "a": { "$ne": 1 } }), "a != 1"),
        (json!({ "a": { "$lt": 1 } }), "a < 1"),
        (json!({ "a": { "$lte": 1 } }), "a <= 1"),
        (json!({ "a": { "$gt": 1 } }), "a > 1"),
        (json!({ "a": { "$gte": 1 } }), "a >= 1"),
        (json!({ "a": { "$in": [1, "x"] } }), "a in (1, 'x')"),
        (json!({ "a": { "$nin": [] } }), "a not in ()"),
        (json!({ "a": { "$between": [1, 2.5] } }), "a between 1 and 2.5"),
        (json!({ "a": { "$prefix": "x" } }), "a prefix 'x'"),
        (json!({ "a": { "$has": "x" } }), "a has 'x'"),
        (json!({ "a": { "$contains": "x" } }), "a has 'x'"),
        (json!({ "a": { "$any": ["x", "y"] } }), "a any of ('x', 'y')"),
        (json!({ "a": { "$all": [] } }), "a all of ()"),
        (json!({ "a": { "$exists": true } }), "a is not null"),
        (json!({ "a": { "$exists": false } }), "a is null"),
        (json!({ "a": { "$not": { "$lt": 1 } } }), "not a < 1"),
        (json!({ "$not": { "a": 1 } }), "not a = 1"),
        (json!({ "$or": [{ "a": 1 }, { "b": 2, "c": 3 }] }), "a = 1 or b = 2 and c = 3"),
        (json!({ "$and": [{ "a": 1 }, { "b": 2 }] }), "a = 1 and b = 2"),
        (json!({ "a": { "$gte": 1, "$lt": 5 }, "b": 2 }), "a >= 1 and a < 5 and b = 2"),
        (json!({ "$or": [] }), "false"),
        (json!({ "$$not": 1 }), "\"$not\" = 1"),
        (json!({ "$$": 1 }), "\"$\" = 1"),
        (json!({ "a b": 1 }), "\"a b\" = 1"),
    ] {
        assert_eq!(read(&json), text.parse().unwrap(), "{json}");
    }
}

#[test]
fn random_predicates_have_json() {
    let mut random = Random::new(4);
    for _ in 0..2000 {
        let predicate = random.predicate(6);
        let json = predicate.to_json().unwrap();
        assert_eq!(read(&json), predicate, "{json}");
        assert_eq!(read(&json).to_json(), Ok(json));
    }
}

#[test]
fn random_attributes_have_json() {
    let mut random = Random::new(5);
    for _ in 0..2000 {
        let attributes = random.attributes();
        let json = attributes.to_json().unwrap();
        assert_eq!(Attributes::from_json(&json), Ok(attributes));
    }
}

#[test]
fn json_survives_its_text() {
    let predicate: Predicate =
        "a in (9223372036854775807, -1.5, 1.0, 'it''s \u{e9}') and not b = -inf".parse().unwrap();
    let text = predicate.to_json().unwrap().to_string();
    assert_eq!(read(&serde_json::from_str(&text).unwrap()), predicate);
}

#[test]
fn errors_name_the_path() {
    for (json, path, message) in [
        (json!(1), "$", "expected an object such as"),
        (json!([]), "$", "found an array"),
        (json!({ "a": null }), "$.a", "{\"$exists\": false}"),
        (json!({ "a": [1] }), "$.a", "use `$in`"),
        (json!({ "a": {} }), "$.a", "expected `$eq`"),
        (json!({ "a": { "b": 1 } }), "$.a.b", "expected `$eq`"),
        (json!({ "a": { "$gte": null } }), "$.a.$gte", "null"),
        (json!({ "a": { "$gte": [1] } }), "$.a.$gte", "lists"),
        (json!({ "a": { "$in": [1, null] } }), "$.a.$in[1]", "null"),
        (json!({ "a": { "$in": 1 } }), "$.a.$in", "expected an array of values, found 1"),
        (json!({ "a": { "$between": [1] } }), "$.a.$between", "expected an array of two values"),
        (json!({ "a": { "$any": ["x", 1] } }), "$.a.$any[1]", "expected a text, found 1"),
        (json!({ "a": { "$prefix": true } }), "$.a.$prefix", "expected a text, found true"),
        (json!({ "a": { "$exists": 1 } }), "$.a.$exists", "expected true or false"),
        (json!({ "a": { "$not": 1 } }), "$.a.$not", "expected an object of operators"),
        (json!({ "a": { "$time": "x" } }), "$.a.$time", "is no timestamp"),
        (json!({ "a": { "$float": "nan" } }), "$.a.$float", "expected \"inf\""),
        (json!({ "a": { "$eq": { "$gt": 1 } } }), "$.a.$eq", "expected a value"),
        (json!({ "a": u64::MAX }), "$.a", "above 2^63 - 1"),
        (json!({ "$nor": [] }), "$.$nor", "expected `$and`"),
        (json!({ "$and": {} }), "$.$and", "expected an array"),
        (json!({ "$or": [{ "a": 1 }, 2] }), "$.$or[1]", "expected an object"),
        (json!({ "$not": [{ "a b": null }] }), "$.$not", "found an array"),
        (json!({ "$not": { "a b": null } }), "$.$not[\"a b\"]", "null"),
    ] {
        match Predicate::from_json(&json) {
            Err(AttributeError::Json { path: found, message: text }) => {
                assert_eq!(found, path, "{json}: {text}");
                assert!(text.contains(message), "{json}: {text}");
            }
            other => panic!("{json}: {other:?}"),
        }
    }
    for (json, path) in [
        (json!([]), "$"),
        (json!({ "a": {} }), "$.a"),
        (json!({ "a": ["x", 1] }), "$.a[1]"),
        (json!({ "a": { "$time": 1 } }), "$.a.$time"),
    ] {
        let refused = Attributes::from_json(&json);
        assert!(
            matches!(&refused, Err(AttributeError::Json { path: found, .. }) if found == path),
            "{json}: {refused:?}"
        );
    }
    let refused = Predicate::from_json(&json!({ "": 1 }));
    assert!(matches!(refused, Err(AttributeError::Name { .. })), "{refused:?}");
    assert!(Attributes::from_json(&json!({ "": 1 })).is_err());
    assert!(field("a").eq(f64::NAN).to_json().is_err());
    assert!(Attributes::new().with("a", f64::NAN).to_json().is_err());
}

#[test]
fn levels_have_a_limit() {
    let nested = |count: usize, outer: fn(Json) -> Json, inner: Json| {
        (0..count).fold(inner, |json, _| outer(json))
    };
    let not = |json| json!({ "$not": json });
    let and = |json| json!({ "$and": [json, { "b": 1 }] });
    assert_eq!(read(&nested(62, not, json!({ "a": 1 }))), field("a").eq(1));
    assert!(Predicate::from_json(&nested(63, and, json!({ "a": 1 }))).is_ok());
    for outer in [not, and] {
        let refused = Predicate::from_json(&nested(64, outer, json!({ "a": 1 })));
        assert!(matches!(refused, Err(AttributeError::Json { .. })), "{refused:?}");
    }
    let refused = Predicate::from_json(&json!({ "a": nested(64, not, json!({ "$lt": 1 })) }));
    assert!(matches!(refused, Err(AttributeError::Json { .. })), "{refused:?}");
    // A predicate of the most levels has JSON of the most levels.
    let mut deepest = field("a").eq(1);
    for level in 1..MOST_LEVELS {
        deepest = match level % 3 {
            0 => deepest & field("b").has("x"),
            1 => deepest | field("b").is_null(),
            _ => !deepest,
        };
    }
    assert_eq!(read(&deepest.to_json().unwrap()), deepest);
}
