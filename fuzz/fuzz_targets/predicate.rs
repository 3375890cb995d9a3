//! Reads predicates, attributes and timestamps from texts and JSON; those that are read must survive both forms, with the same truth.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearfield::attributes::Timestamp;
use nearfield::{Attributes, Predicate, attributes};

/// Pieces of predicates: a text of bytes alone rarely becomes a keyword.
const PIECES: &str = "\
    |(|)|,|'|\"|.|-|\n|\u{e9}|((|))|=|!=|<|<=|>|>=| and | or |not | in | between | prefix | has | any of | all of \
    | is null| is not null| true | false | inf |-inf|1|-1|1.5|1e9|-1e-9|9223372036854775807|9223372036854775808\
    |'x'|''|'it''s'| time '2024-05-01T12:00:00Z'| time '-290308-12-21T19:59:05.224192Z'|a|b|list|\"a b\"|a=1|b<2.5\
    |list has 'x'|a in (1,'x')|a between 1 and 2|list any of ('x','y')|a=1 and(b<2.5 or ";

fn check(predicate: &Predicate, attributes: &Attributes) {
    let text = predicate.to_string();
    let read: Predicate = text.parse().unwrap();
    assert_eq!(&read, predicate);
    assert_eq!(&Predicate::from_json(&predicate.to_json().unwrap()).unwrap(), predicate);
    let is_true = predicate.matches(attributes).unwrap();
    assert_eq!(read.matches(attributes).unwrap(), is_true);
    let opposite = predicate.clone().not();
    // Another level may be one too many; else both are not true at once.
    if let Ok(is_false) = opposite.matches(attributes) {
        assert!(!(is_true && is_false));
        assert_eq!(&opposite.not(), predicate);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&way, bytes)) = bytes.split_first() else { return };
    let sample = attributes! { "a" => 1, "b" => 2.5, "list" => ["x", "it's"], "a b" => true };
    match way % 3 {
        0 => {
            let all: Vec<_> = PIECES.split('|').collect();
            let pieces = bytes.iter().map(|&byte| all[usize::from(byte) % all.len()]);
            if let Ok(predicate) = pieces.collect::<String>().parse() {
                check(&predicate, &sample);
            }
        }
        1 => {
            let text = String::from_utf8_lossy(bytes);
            if let Ok(predicate) = text.parse() {
                check(&predicate, &sample);
            }
            if let Ok(time) = text.parse::<Timestamp>() {
                assert_eq!(time.to_string().parse(), Ok(time));
            }
        }
        _ => {
            let Ok(json) = serde_json::from_slice(bytes) else { return };
            let read = Attributes::from_json(&json);
            if let Ok(attributes) = &read {
                attributes.check().unwrap();
                assert_eq!(
                    &Attributes::from_json(&attributes.to_json().unwrap()).unwrap(),
                    attributes
                );
            }
            if let Ok(predicate) = Predicate::from_json(&json) {
                check(&predicate, &read.unwrap_or(sample));
            }
        }
    }
});
