//! Predicates and attributes as JSON, in the style of document databases.

use std::fmt;

use serde_json::{Map, Number, Value as Json, json};

use super::builder::field;
use super::error::{AttributeError, shortened};
use super::map::Attributes;
use super::predicate::{Comparison, MOST_LEVELS, Node, Predicate};
use super::timestamp::Timestamp;
use super::value::Value;

type Result<T> = std::result::Result<T, AttributeError>;

const OPERATORS: &str = "`$eq`, `$ne`, `$gt`, `$gte`, `$lt`, `$lte`, `$in`, `$nin`, `$between`, `$prefix`, `$has`, `$any`, \
                         `$all`, `$exists` or `$not`";

/// The place of a JSON value in another one.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Key(&'a Self, &'a str),
    Item(&'a Self, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Root => f.write_str("$"),
            Self::Key(outer, key) => {
                let is_simple = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
                if !key.is_empty() && key.chars().all(is_simple) {
                    write!(f, "{outer}.{}", shortened(key))
                } else {
                    write!(f, "{outer}[{:?}]", shortened(key))
                }
            }
            Self::Item(outer, i) => write!(f, "{outer}[{i}]"),
        }
    }
}

impl Place<'_> {
    #[cold]
    fn error(&self, message: impl Into<String>) -> AttributeError {
        AttributeError::Json { path: self.to_string(), message: message.into() }
    }

    #[cold]
    fn expected(&self, expectation: &str, found: &Json) -> AttributeError {
        let found = match found {
            Json::Null => "null".to_owned(),
            Json::Bool(is_true) => is_true.to_string(),
            Json::Number(number) => shortened(&number.to_string()),
            Json::String(text) => format!("{:?}", shortened(text)),
            Json::Array(_) => "an array".to_owned(),
            Json::Object(_) => "an object".to_owned(),
        };
        self.error(format!("expected {expectation}, found {found}"))
    }
}

/// Returns the value and key of an object that has a single key, such as `{"$time": ..}`.
fn single(object: &Map<String, Json>) -> Option<(&str, &Json)> {
    let (key, value) = object.iter().next().filter(|_| object.len() == 1)?;
    Some((key, value))
}

/// Returns whether an object is a value and no operators.
fn is_value(object: &Map<String, Json>) -> bool {
    single(object).is_some_and(|(key, _)| matches!(key, "$time" | "$float"))
}

fn read_text(json: &Json, place: Place<'_>) -> Result<String> {
    json.as_str().map(str::to_owned).ok_or_else(|| place.expected("a text", json))
}

fn read_number(number: &Number, place: Place<'_>) -> Result<Value> {
    if let Some(integer) = number.as_i64() {
        return Ok(Value::Integer(integer));
    }
    if number.is_u64() {
        let message = "the integer is above 2^63 - 1; write a float, such as 1e19";
        return Err(place.error(message));
    }
    let float = number.as_f64().filter(|float| float.is_finite());
    let error =
        || place.error("the number is beyond the range of floats; write {\"$float\": \"inf\"}");
    float.map(Value::from).ok_or_else(error)
}

/// Reads a value that is no list.
fn read_value(json: &Json, place: Place<'_>) -> Result<Value> {
    match json {
        Json::Bool(is_true) => Ok(Value::Boolean(*is_true)),
        Json::String(text) => Ok(Value::Text(text.clone())),
        Json::Number(number) => read_number(number, place),
        Json::Object(object) => match single(object) {
            Some(("$time", time)) => {
                let place = Place::Key(&place, "$time");
                let time = read_text(time, place)?.parse::<Timestamp>();
                time.map(Value::Time).map_err(|error| place.error(error.to_string()))
            }
            Some(("$float", float)) => match float.as_str() {
                Some("inf") => Ok(Value::Float(f64::INFINITY)),
                Some("-inf") => Ok(Value::Float(f64::NEG_INFINITY)),
                _ => Err(Place::Key(&place, "$float").expected("\"inf\" or \"-inf\"", float)),
            },
            _ => Err(place.expected("a value or {\"$time\": \"2024-05-01T12:00:00Z\"}", json)),
        },
        Json::Null => Err(place.error("null is compared with no value; use {\"$exists\": false}")),
        Json::Array(_) => {
            Err(place.error("lists are not compared; use `$in`, `$has`, `$any` or `$all`"))
        }
    }
}

fn read_list<T>(
    json: &Json,
    place: Place<'_>,
    expectation: &str,
    mut item: impl FnMut(&Json, Place<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let items = json.as_array().ok_or_else(|| place.expected(expectation, json))?;
    let items = items.iter().enumerate();
    items.map(|(i, json)| item(json, Place::Item(&place, i))).collect()
}

/// Checks the number of objects around a predicate.
fn check_levels(levels: usize, place: Place<'_>) -> Result<()> {
    if levels < MOST_LEVELS {
        return Ok(());
    }
    Err(place.error(format!("a predicate has at most {MOST_LEVELS} levels")))
}

/// Reads a predicate that has `levels` predicates around it.
fn read_predicate(json: &Json, place: Place<'_>, levels: usize) -> Result<Predicate> {
    check_levels(levels, place)?;
    let object = json
        .as_object()
        .ok_or_else(|| place.expected("an object such as {\"year\": {\"$gte\": 2020}}", json))?;
    let mut parts = Vec::with_capacity(object.len());
    for (key, json) in object {
        let place = Place::Key(&place, key);
        let inner = |json: &Json, place: Place<'_>| read_predicate(json, place, levels + 1);
        parts.push(match (key.as_str(), key.strip_prefix("$$")) {
            ("$and", _) => Predicate::all(read_list(json, place, "an array of objects", inner)?),
            ("$or", _) => Predicate::any(read_list(json, place, "an array of objects", inner)?),
            ("$not", _) => inner(json, place)?.not(),
            (_, Some(rest)) => read_condition(&format!("${rest}"), json, place, levels)?,
            (key, None) if key.starts_with('$') => {
                let message = "expected `$and`, `$or`, `$not` or a field; a field whose name begins with `$` \
                               needs another `$` before it";
                return Err(place.error(message));
            }
            (name, None) => read_condition(name, json, place, levels)?,
        });
    }
    Ok(Predicate::all(parts))
}

/// Reads the condition on a field: a value, or an object of operators.
fn read_condition(name: &str, json: &Json, place: Place<'_>, levels: usize) -> Result<Predicate> {
    check_levels(levels, place)?;
    match json {
        Json::Object(object) if !is_value(object) => {
            if object.is_empty() {
                return Err(place.error(format!("expected {OPERATORS}")));
            }
            let parts = object.iter().map(|(operator, json)| {
                let place = Place::Key(&place, operator);
                if operator == "$not" {
                    if !json.is_object() {
                        return Err(place.expected("an object of operators", json));
                    }
                    return Ok(read_condition(name, json, place, levels + 1)?.not());
                }
                read_operator(name, operator, json, place)
            });
            Ok(Predicate::all(parts.collect::<Result<Vec<_>>>()?))
        }
        json => Ok(field(name).eq(read_value(json, place)?)),
    }
}

fn read_operator(name: &str, operator: &str, json: &Json, place: Place<'_>) -> Result<Predicate> {
    let field = field(name);
    let values = || read_list(json, place, "an array of values", read_value);
    let texts = || read_list(json, place, "an array of texts", read_text);
    Ok(match operator {
        "$eq" => field.eq(read_value(json, place)?),
        "$ne" => field.ne(read_value(json, place)?),
        "$lt" => field.lt(read_value(json, place)?),
        "$lte" => field.le(read_value(json, place)?),
        "$gt" => field.gt(read_value(json, place)?),
        "$gte" => field.ge(read_value(json, place)?),
        "$in" => field.is_in(values()?),
        "$nin" => field.not_in(values()?),
        "$between" => {
            let [low, high] = <[Value; 2]>::try_from(values()?)
                .map_err(|_| place.expected("an array of two values", json))?;
            field.between(low, high)
        }
        "$prefix" => field.prefix(read_text(json, place)?),
        "$has" | "$contains" => field.has(read_text(json, place)?),
        "$any" => field.any_of(texts()?),
        "$all" => field.all_of(texts()?),
        "$exists" => match json.as_bool() {
            Some(true) => field.is_not_null(),
            Some(false) => field.is_null(),
            None => return Err(place.expected("true or false", json)),
        },
        _ => return Err(place.error(format!("expected {OPERATORS}"))),
    })
}

fn write_value(value: &Value) -> Json {
    match value {
        Value::Integer(number) => json!(number),
        Value::Float(f64::INFINITY) => json!({ "$float": "inf" }),
        Value::Float(f64::NEG_INFINITY) => json!({ "$float": "-inf" }),
        Value::Float(number) => json!(number),
        Value::Boolean(is_true) => json!(is_true),
        Value::Text(text) => json!(text),
        Value::Time(time) => json!({ "$time": time.to_string() }),
        Value::Texts(texts) => json!(texts),
    }
}

fn write_values(values: &[Value]) -> Json {
    values.iter().map(write_value).collect()
}

/// Returns an object of one key.
fn object(key: impl Into<String>, value: Json) -> Json {
    Json::Object(Map::from_iter([(key.into(), value)]))
}

/// Returns a condition on a field.
fn on(field: &str, condition: Json) -> Json {
    let escape = if field.starts_with('$') { "$" } else { "" };
    object(format!("{escape}{field}"), condition)
}

fn write(node: &Node) -> Json {
    match node {
        Node::Compare { field, comparison: Comparison::Equal, value } => {
            on(field, write_value(value))
        }
        Node::Compare { field, comparison, value } => {
            let operator = match comparison {
                Comparison::Equal => "$eq",
                Comparison::NotEqual => "$ne",
                Comparison::Less => "$lt",
                Comparison::LessOrEqual => "$lte",
                Comparison::Greater => "$gt",
                Comparison::GreaterOrEqual => "$gte",
            };
            on(field, object(operator, write_value(value)))
        }
        Node::Among { field, values } => on(field, object("$in", write_values(values))),
        Node::Between { field, low, high } => {
            on(field, json!({ "$between": [write_value(low), write_value(high)] }))
        }
        Node::Prefix { field, text } => on(field, json!({ "$prefix": text })),
        Node::Has { field, text } => on(field, json!({ "$has": text })),
        Node::AnyOf { field, texts } => on(field, json!({ "$any": texts })),
        Node::AllOf { field, texts } => on(field, json!({ "$all": texts })),
        Node::IsNull { field } => on(field, json!({ "$exists": false })),
        Node::And(parts) => object("$and", parts.iter().map(write).collect()),
        Node::Or(parts) => object("$or", parts.iter().map(write).collect()),
        Node::Not(part) => match &**part {
            Node::Among { field, values } => on(field, object("$nin", write_values(values))),
            Node::IsNull { field } => on(field, json!({ "$exists": true })),
            part => object("$not", write(part)),
        },
        // Only a faulty predicate has this node, and it is refused before.
        Node::TooDeep => Json::Null,
    }
}

impl Predicate {
    /// Returns the predicate of a JSON object in the style of document databases. Needs the feature `json`.
    ///
    /// | JSON | predicate |
    /// |---|---|
    /// | `{"f": value}`, `{"f": {"$eq": value}}` | `f = value` |
    /// | `$ne $lt $lte $gt $gte`, each with a value | `!= < <= > >=` |
    /// | `$in`, `$nin`, each with a list of values | `in`, `not in` |
    /// | `{"f": {"$between": [low, high]}}` | `f between low and high` |
    /// | `$prefix`, `$has` (or `$contains`), each with a text | `prefix`, `has` |
    /// | `$any`, `$all`, each with a list of texts | `any of`, `all of` |
    /// | `{"f": {"$exists": false}}`, `{"f": {"$exists": true}}` | `f is null`, `f is not null` |
    /// | `$and`, `$or`, each with a list of objects; `{"$not": object}` | `and`, `or`, `not` |
    /// | several fields, or operators of a field, in one object | `and` |
    /// | `{"$$f": value}` | of a field that is named `$f` |
    ///
    /// A value is a number, a text, a boolean, `{"$time": "2024-05-01T12:00:00Z"}`, or `{"$float": "inf"}` and
    /// `"-inf"`. Whether `serde_json` reads the last digit of a float exactly depends on its feature `float_roundtrip`.
    ///
    /// ```
    /// use nearfield::Predicate;
    /// use serde_json::json;
    ///
    /// let filter = json!({ "tenant": "acme", "year": { "$gte": 2020, "$lt": 2030 } });
    /// let read = Predicate::from_json(&filter)?;
    /// assert_eq!(read.to_string(), "tenant = 'acme' and year >= 2020 and year < 2030");
    /// let error = Predicate::from_json(&json!({ "year": { "$gte": null } })).unwrap_err();
    /// assert!(error.to_string().starts_with("at $.year.$gte: "));
    /// # Ok::<(), nearfield::attributes::AttributeError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The JSON is no predicate, with the path of the fault; or it has a name or value that attributes cannot have.
    pub fn from_json(json: &Json) -> Result<Self> {
        let predicate = read_predicate(json, Place::Root, 0)?;
        predicate.node()?;
        Ok(predicate)
    }

    /// Returns the predicate as JSON, which [`from_json`](Self::from_json) turns into an equal predicate. Needs the feature `json`.
    ///
    /// # Errors
    ///
    /// The predicate has a name or value that attributes cannot have, compares with a list, or has more than 64 levels.
    pub fn to_json(&self) -> Result<Json> {
        self.node().map(write)
    }
}

impl Attributes {
    /// Returns the attributes of a JSON object of values and lists of texts; null is no value. Needs the feature `json`.
    ///
    /// ```
    /// use nearfield::{Attributes, attributes};
    /// use serde_json::json;
    ///
    /// let paper = json!({ "year": 2024, "tags": ["graphs"], "venue": null });
    /// let read = Attributes::from_json(&paper)?;
    /// assert_eq!(read, attributes! { "year" => 2024, "tags" => ["graphs"] });
    /// assert_eq!(read.to_json()?, json!({ "year": 2024, "tags": ["graphs"] }));
    /// # Ok::<(), nearfield::attributes::AttributeError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The JSON has something else, with the path of the fault; or the attributes exceed a [limit](Self::check).
    pub fn from_json(json: &Json) -> Result<Self> {
        let object = json.as_object().ok_or_else(|| Place::Root.expected("an object", json))?;
        let mut attributes = Self::new();
        for (name, json) in object {
            let place = Place::Key(&Place::Root, name);
            let value = match json {
                Json::Null => continue,
                Json::Array(_) => {
                    Value::Texts(read_list(json, place, "an array of texts", read_text)?)
                }
                json => read_value(json, place)?,
            };
            attributes.set(name, value);
        }
        attributes.check()?;
        Ok(attributes)
    }

    /// Returns the attributes as a JSON object, of which [`from_json`](Self::from_json) makes equal attributes. Needs the feature `json`.
    ///
    /// # Errors
    ///
    /// The attributes exceed a [limit](Self::check).
    pub fn to_json(&self) -> Result<Json> {
        self.check()?;
        let fields = self.iter().map(|(name, value)| (name.to_owned(), write_value(value)));
        Ok(Json::Object(fields.collect()))
    }
}

#[cfg(test)]
mod tests;
