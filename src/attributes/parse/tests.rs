//! Texts of predicates, also hostile ones.

use super::*;
use crate::attributes::random::Random;
use crate::attributes::{Timestamp, Value, field};

fn parse(text: &str) -> Predicate {
    text.parse().unwrap_or_else(|error| panic!("{text}\n{error}"))
}

#[test]
fn texts_of_each_kind() {
    let noon = "2024-05-01T12:00:00Z".parse::<Timestamp>().unwrap();
    for (text, expected) in [
        ("a=1", field("a").eq(1)),
        ("a == 1", field("a").eq(1)),
        ("a<>1", field("a").ne(1)),
        ("a != 1", field("a").ne(1)),
        ("a<-1", field("a").lt(-1)),
        ("a<=+1", field("a").le(1)),
        ("a>1", field("a").gt(1)),
        ("a>=1", field("a").ge(1)),
        ("a IN (1, 'x', TRUE, )", field("a").is_in([1.into(), "x".into(), Value::from(true)])),
        ("a Not In ()", field("a").not_in([0; 0])),
        ("a between 1 and 2 and b = 3", field("a").between(1, 2) & field("b").eq(3)),
        ("a not between 1 and 2", !field("a").between(1, 2)),
        ("a prefix 'it''s'", field("a").prefix("it's")),
        ("a has ''", field("a").has("")),
        ("a any of ('x','y')", field("a").any_of(["x", "y"])),
        ("a all\tof\n('x')", field("a").all_of(["x"])),
        ("a not any of ('x')", !field("a").any_of(["x"])),
        ("a is null", field("a").is_null()),
        ("a is not null", field("a").is_not_null()),
        ("time > TIME '2024-05-01T14:00:00+02:00'", field("time").gt(noon)),
        ("\"a \"\"b\"\"\" = 1", field("a \"b\"").eq(1)),
        ("\"not\" = 1", field("not").eq(1)),
        ("\u{e9}1 = 1", field("\u{e9}1").eq(1)),
        ("a = 9223372036854775807", field("a").eq(i64::MAX)),
        ("a = -9223372036854775808", field("a").eq(i64::MIN)),
        ("a = 1.0", field("a").eq(1.0)),
        ("a = -1.5e-3", field("a").eq(-0.0015)),
        ("a = 1E+3", field("a").eq(1000.0)),
        ("a = inf", field("a").eq(f64::INFINITY)),
        ("a = -INF", field("a").eq(f64::NEG_INFINITY)),
        ("a = 1e-999", field("a").eq(0.0)),
        ("true", Predicate::all([])),
        ("not false", !Predicate::any([])),
        ("(((a = 1)))", field("a").eq(1)),
    ] {
        assert_eq!(parse(text), expected, "{text}");
    }
    assert_ne!(parse("a = 1"), parse("a = 1.0"));
}

#[test]
fn not_binds_before_and_before_or() {
    let [a, b, c] = ["a", "b", "c"].map(|name| field(name).eq(1));
    let (a, b, c) = (|| a.clone(), || b.clone(), || c.clone());
    for (text, expected) in [
        ("a = 1 or b = 1 and c = 1", a() | (b() & c())),
        ("(a = 1 or b = 1) and c = 1", (a() | b()) & c()),
        ("not a = 1 and b = 1", !a() & b()),
        ("not (a = 1 and b = 1)", !(a() & b())),
        ("not not a = 1", a()),
        ("a = 1 and not (b = 1 or c = 1)", a() & !(b() | c())),
        ("a = 1 and (b = 1 and c = 1)", a() & b() & c()),
    ] {
        assert_eq!(parse(text), expected, "{text}");
    }
}

#[test]
fn errors_name_the_place() {
    for (text, position, message) in [
        ("", 0, "expected a field, `not` or `(`, found the end"),
        ("  ", 2, "expected a field, `not` or `(`, found the end"),
        ("year", 4, "behind the field, found the end"),
        ("year >=", 7, "expected a value, found the end"),
        ("year >= and", 8, "expected a value, found `and`"),
        ("a = null", 4, "use `is null`"),
        ("a = nan", 4, "expected a value, found `nan`"),
        ("a = 1 b", 6, "expected `and`, `or` or the end, found `b`"),
        ("a = 1)", 5, "found `)`"),
        ("(a = 1", 6, "expected `and`, `or` or `)`, found the end"),
        ("and = 1", 0, "needs double quotes"),
        ("a is nul", 5, "expected `null`"),
        ("a any 'x'", 6, "expected `of`"),
        ("a in 1", 5, "expected `(`"),
        ("a in (1 2)", 8, "expected `,` or `)`"),
        ("a in (,)", 6, "expected a value"),
        ("a has b", 6, "expected a text in single quotes, found `b`"),
        ("a any of (1)", 10, "expected a text in single quotes, found 1"),
        ("a between 1 or 2", 12, "expected `and`"),
        ("a = 'x", 4, "the quote ' is not closed"),
        ("\"a = 1", 0, "the quote \" is not closed"),
        ("a = 9223372036854775808", 4, "more than 64 bits"),
        ("a = 1e999", 4, "beyond the range of floats"),
        ("a = 1.", 4, "expected a number"),
        ("a = 1e", 4, "expected a number"),
        ("a = 1x", 4, "expected a number"),
        ("a = 1.2.3", 4, "expected a number"),
        ("a = --1", 4, "expected a number"),
        ("a = -x", 4, "expected a number"),
        ("a ~ 1", 2, "expected a name, a value or an operator"),
        ("\u{e9} = \u{20ac}", 5, "expected a name, a value or an operator"),
        ("a = time 'noon'", 9, "\"noon\" is no timestamp"),
        ("a = time noon", 9, "expected a text in single quotes"),
        ("a = $1", 4, "expected a name, a value or an operator"),
    ] {
        let error = match text.parse::<Predicate>() {
            Err(AttributeError::Parse(error)) => error,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(error.position(), position, "{text}: {error}");
        assert!(error.message().contains(message), "{text}: {error}");
        // The caret is below the place; all characters here are one column wide.
        let shown = error.to_string();
        let lines: Vec<_> = shown.lines().collect();
        let columns = text[..position].chars().count();
        assert_eq!(lines[1..], [format!("  {text}"), format!("  {}^", " ".repeat(columns))]);
    }
}

#[test]
fn an_error_shows_one_line_and_no_more_than_a_part_of_it() {
    let text = format!("a = 1\nand {} = \u{7} 5\nor c = 2", "b".repeat(200));
    let error = text.parse::<Predicate>().unwrap_err().to_string();
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(lines.len(), 3, "{error}");
    assert!(lines[1].ends_with("b =   5") && lines[1].len() < 50, "{error}");
    assert_eq!(lines[2].len(), lines[1].len() - 2, "{error}");
}

#[test]
fn faulty_names_and_values_are_refused() {
    let long = "x".repeat(65_537);
    for text in ["\"\" = 1", "\"\n\" = 1", &format!("a = '{long}'"), &format!("{long} = 1")] {
        let refused = text.parse::<Predicate>();
        assert!(
            matches!(
                refused,
                Err(AttributeError::Name { .. } | AttributeError::TextTooLong { .. })
            ),
            "{refused:?}"
        );
    }
}

#[test]
fn lengths_and_levels_have_limits() {
    let refused = |text: &str| matches!(text.parse::<Predicate>(), Err(AttributeError::Parse(_)));
    let wrapped = |count: usize| format!("{}a = 1{}", "(".repeat(count), ")".repeat(count));
    assert_eq!(parse(&wrapped(64)), field("a").eq(1));
    assert!(refused(&wrapped(65)));
    assert_eq!(parse(&format!("{}a = 1", "not ".repeat(64))), field("a").eq(1));
    assert!(refused(&format!("{}a = 1", "not ".repeat(65))));
    for endless in ["(", "not ", "not(", "a=1 and(", "a in (", "'", "''", "-", "time ", "\u{e9}"] {
        let text = endless.repeat((1 << 20) / endless.len());
        let error = text.parse::<Predicate>().unwrap_err().to_string();
        assert!(error.len() < 1000, "{error}");
    }
    // Parentheses add two levels each here, so that the tree is too deep and the text is not.
    let deep = format!("{}a = 1{}", "b = 1 or c = 1 and (".repeat(40), ")".repeat(40));
    assert!(matches!(deep.parse::<Predicate>(), Err(AttributeError::TooDeep { .. })));
    let flat = vec!["a = 1"; (1 << 20) / 11].join(" or a=2 or ");
    assert!(refused(&flat), "{}", flat.len());
    let flat = vec!["a = 1"; (1 << 20) / 17].join(" or a=2 or ");
    assert!(flat.len() <= 1 << 20);
    assert_eq!(parse(&flat).matches(&crate::attributes! { "a" => 2 }), Ok(true));
    assert!(refused(&format!("a = 1{}", " ".repeat(1 << 20))));
}

#[test]
fn changed_texts_are_read_or_refused() {
    let mut random = Random::new(3);
    let snippets = [
        "'", "\"", "(", ")", "not ", " and ", " or", "-", "1e", ".", ",", "\u{e9}", "\u{0}",
        "time '",
    ];
    let (mut read, mut refused) = (0, 0);
    for _ in 0..4000 {
        let mut text: Vec<char> = random.predicate(4).to_string().chars().collect();
        for _ in 0..=random.below(3) {
            let at = random.below(text.len() + 1);
            match random.below(3) {
                0 if at < text.len() => drop(text.remove(at)),
                1 => text.truncate(at.max(text.len() / 2)),
                _ => drop(text.splice(at..at, snippets[random.below(snippets.len())].chars())),
            }
        }
        let text: String = text.into_iter().collect();
        match text.parse::<Predicate>() {
            Ok(predicate) => {
                read += 1;
                assert_eq!(predicate.to_string().parse(), Ok(predicate), "{text}");
            }
            Err(AttributeError::Parse(error)) => {
                refused += 1;
                assert!(text.is_char_boundary(error.position()));
                assert!(error.to_string().lines().count() == 3);
            }
            Err(error) => assert!(matches!(error, AttributeError::Name { .. }), "{error}"),
        }
    }
    assert!(read > 200 && refused > 1000, "{read} {refused}");
}
