//! Predicates over the index: the set of the keys for which a predicate is true.
//!
//! A predicate is true, false or unknown for a key. The sets of true and of false keys are made of those of its parts, so that no part is
//! evaluated for each key. Of texts longer than a term has, the records decide.

use roaring::RoaringTreemap;

use super::chunk::Union;
use super::order::place;
use super::record::Values;
use super::term::{
    CUT, Form, begin, behind, number, present, push_text, split_entry, text, text_of,
};
use crate::attributes::Value;
use crate::attributes::predicate::{Comparison, Node};
use crate::collection::error::CollectionError;
use crate::collection::format::corrupt;

/// Receives the key and the value of an entry.
pub(super) type Each<'e> = dyn FnMut(&[u8], &[u8]) -> Result<(), CollectionError> + 'e;

/// The tables that a predicate is evaluated on: of a snapshot, or of a transaction.
pub(super) trait Source {
    /// Calls `each` with the entries of the index from the first key up to the second one, which is left out.
    fn scan(&mut self, from: &[u8], to: &[u8], each: &mut Each<'_>) -> Result<(), CollectionError>;

    /// Returns the values of a key.
    fn values(&mut self, key: u64) -> Result<Values, CollectionError>;

    /// Returns the number of a field. Returns `None` for a field that no key ever had.
    fn field(&mut self, name: &str) -> Result<Option<u32>, CollectionError>;

    /// Returns all keys that have a vector.
    fn keys(&mut self) -> Result<RoaringTreemap, CollectionError>;
}

/// Returns the keys for which a predicate has this truth.
pub(super) fn select(
    source: &mut dyn Source,
    node: &Node,
    truth: bool,
) -> Result<RoaringTreemap, CollectionError> {
    match node {
        Node::Not(node) => select(source, node, !truth),
        Node::And(nodes) => combine(source, nodes, truth, truth),
        Node::Or(nodes) => combine(source, nodes, truth, !truth),
        Node::IsNull { field } => {
            let has = match source.field(field)? {
                Some(field) => any_kind(source, field)?,
                None => RoaringTreemap::new(),
            };
            if truth { Ok(source.keys()? - has) } else { Ok(has) }
        }
        node => {
            let name = node.field().ok_or(corrupt("a predicate was not checked"))?;
            match source.field(name)? {
                Some(field) => Leaf { source, field }.select(node, truth),
                None => Ok(RoaringTreemap::new()),
            }
        }
    }
}

/// Returns the keys for which all nodes have this truth, or for which any has.
fn combine(
    source: &mut dyn Source,
    nodes: &[Node],
    truth: bool,
    all: bool,
) -> Result<RoaringTreemap, CollectionError> {
    let mut nodes = nodes.iter();
    let Some(first) = nodes.next() else {
        return if all { source.keys() } else { Ok(RoaringTreemap::new()) };
    };
    let mut keys = select(source, first, truth)?;
    for node in nodes {
        if all && keys.is_empty() {
            break;
        }
        let others = select(source, node, truth)?;
        if all {
            keys &= others;
        } else {
            keys |= others;
        }
    }
    Ok(keys)
}

/// Returns the keys that have a value of the field.
fn any_kind(source: &mut dyn Source, field: u32) -> Result<RoaringTreemap, CollectionError> {
    let from = begin(field, Form::Present);
    Leaf { source, field }.between(&from, &behind(from.clone()))
}

/// A test of one field.
struct Leaf<'s> {
    source: &'s mut dyn Source,
    field: u32,
}

impl Leaf<'_> {
    fn select(&mut self, node: &Node, truth: bool) -> Result<RoaringTreemap, CollectionError> {
        match node {
            Node::Compare { comparison: Comparison::NotEqual, value, .. } => {
                self.compare(Comparison::Equal, value, !truth)
            }
            Node::Compare { comparison, value, .. } => self.compare(*comparison, value, truth),
            Node::Between { low, high, .. } => {
                let first = self.compare(Comparison::GreaterOrEqual, low, truth)?;
                let second = self.compare(Comparison::LessOrEqual, high, truth)?;
                Ok(if truth { first & second } else { first | second })
            }
            Node::Among { values, .. } if values.is_empty() => {
                if truth {
                    Ok(RoaringTreemap::new())
                } else {
                    any_kind(self.source, self.field)
                }
            }
            Node::Among { values, .. } => self
                .fold(values, !truth, |leaf, value| leaf.compare(Comparison::Equal, value, truth)),
            Node::Prefix { text, .. } => {
                let keys = self.with_prefix(text)?;
                self.of_truth(keys, truth, &[Form::Text])
            }
            Node::Has { text, .. } => self.has(text, truth),
            Node::AnyOf { texts, .. } | Node::AllOf { texts, .. } if texts.is_empty() => {
                let is_true = matches!(node, Node::AllOf { .. });
                if is_true == truth {
                    self.present(&[Form::Item])
                } else {
                    Ok(RoaringTreemap::new())
                }
            }
            Node::AnyOf { texts, .. } => {
                self.fold(texts, !truth, |leaf, text: &String| leaf.has(text, truth))
            }
            Node::AllOf { texts, .. } => {
                self.fold(texts, truth, |leaf, text: &String| leaf.has(text, truth))
            }
            Node::And(_) | Node::Or(_) | Node::Not(_) | Node::IsNull { .. } | Node::TooDeep => {
                Err(corrupt("a predicate has no field"))
            }
        }
    }

    /// Returns the keys that all of some tests select, or any of them; of at least one test.
    fn fold<T>(
        &mut self,
        tests: &[T],
        all: bool,
        mut select: impl FnMut(&mut Self, &T) -> Result<RoaringTreemap, CollectionError>,
    ) -> Result<RoaringTreemap, CollectionError> {
        let mut found: Option<RoaringTreemap> = None;
        for test in tests {
            let keys = select(self, test)?;
            found = Some(match found {
                None => keys,
                Some(found) if all => found & keys,
                Some(found) => found | keys,
            });
        }
        Ok(found.unwrap_or_default())
    }

    /// Returns `keys`, or those with a value of one of the forms that are not among them.
    fn of_truth(
        &mut self,
        keys: RoaringTreemap,
        truth: bool,
        forms: &[Form],
    ) -> Result<RoaringTreemap, CollectionError> {
        if truth { Ok(keys) } else { Ok(self.present(forms)? - keys) }
    }

    /// Returns the keys with a value of one of the forms.
    fn present(&mut self, forms: &[Form]) -> Result<RoaringTreemap, CollectionError> {
        let mut keys = RoaringTreemap::new();
        for &form in forms {
            let term = present(self.field, form);
            keys |= self.between(&term, &behind(term.clone()))?;
        }
        Ok(keys)
    }

    fn compare(
        &mut self,
        comparison: Comparison,
        value: &Value,
        truth: bool,
    ) -> Result<RoaringTreemap, CollectionError> {
        let forms = Form::of(value).comparable();
        let mut keys = RoaringTreemap::new();
        for &form in forms {
            keys |= match value {
                Value::Text(text) => self.compare_text(comparison, text)?,
                value => self.compare_number(comparison, value, form)?,
            };
        }
        self.of_truth(keys, truth, forms)
    }

    fn compare_number(
        &mut self,
        comparison: Comparison,
        value: &Value,
        form: Form,
    ) -> Result<RoaringTreemap, CollectionError> {
        let Some(place) = place(value, form) else { return Ok(RoaringTreemap::new()) };
        let (first, end) = (begin(self.field, form), behind(begin(self.field, form)));
        let bound = |at: Option<u64>| match at {
            // A boolean is one byte.
            Some(at) if form == Form::Boolean => [&first[..], &[at as u8]].concat(),
            Some(at) => number(self.field, form, at),
            None => end.clone(),
        };
        let (at, above) = (bound(place.at), bound(place.above));
        match comparison {
            Comparison::Less => self.between(&first, &at),
            Comparison::LessOrEqual => self.between(&first, &above),
            Comparison::Greater => self.between(&above, &end),
            Comparison::GreaterOrEqual => self.between(&at, &end),
            Comparison::Equal | Comparison::NotEqual => self.between(&at, &above),
        }
    }

    fn compare_text(
        &mut self,
        comparison: Comparison,
        value: &str,
    ) -> Result<RoaringTreemap, CollectionError> {
        let form = Form::Text;
        if comparison == Comparison::Equal {
            return self.equal_text(form, value);
        }
        // The terms with as much of the text as a term has; behind them come longer and greater ones.
        let mut alike = begin(self.field, form);
        push_text(&mut alike, value);
        let (from, to) = ([&alike[..], &[0, 0]].concat(), [&alike[..], &[0, 2]].concat());
        let (first, end) = (begin(self.field, form), behind(begin(self.field, form)));
        let is_true = |other: &str| comparison.holds(other.cmp(value));
        let sure = match comparison {
            Comparison::Less | Comparison::LessOrEqual => self.between(&first, &from)?,
            _ => self.between(&to, &end)?,
        };
        Ok(sure
            | self.verified(
                &from,
                &to,
                &|value| matches!(value, Value::Text(text) if is_true(text)),
            )?)
    }

    /// Returns the keys with this text, or with a list that contains it.
    fn equal_text(&mut self, form: Form, value: &str) -> Result<RoaringTreemap, CollectionError> {
        let term = text(self.field, form, value);
        let end = behind(term.clone());
        if value.len() <= CUT {
            return self.between(&term, &end);
        }
        self.verified(&term, &end, &|found| match found {
            Value::Text(text) => text == value,
            Value::Texts(texts) => texts.iter().any(|text| text == value),
            _ => false,
        })
    }

    fn has(&mut self, text: &str, truth: bool) -> Result<RoaringTreemap, CollectionError> {
        let keys = self.equal_text(Form::Item, text)?;
        self.of_truth(keys, truth, &[Form::Item])
    }

    fn with_prefix(&mut self, prefix: &str) -> Result<RoaringTreemap, CollectionError> {
        let mut from = begin(self.field, Form::Text);
        push_text(&mut from, prefix);
        if prefix.len() <= CUT {
            return self.between(&from, &behind(from.clone()));
        }
        let to = [&from[..], &[0, 2]].concat();
        from.extend([0, 1]);
        self.verified(
            &from,
            &to,
            &|value| matches!(value, Value::Text(text) if text.starts_with(prefix)),
        )
    }

    /// Returns the keys of the entries from one key up to another, which is left out.
    fn between(&mut self, from: &[u8], to: &[u8]) -> Result<RoaringTreemap, CollectionError> {
        let mut keys = Union::default();
        if from < to {
            self.source.scan(from, to, &mut |entry, bytes| {
                let (_, chunk) = split_entry(entry).ok_or(corrupt(DAMAGED))?;
                keys.add(chunk, bytes)?;
                Ok(())
            })?;
        }
        Ok(keys.finish())
    }

    /// [`Self::between`] for terms of texts. `is_true` decides by the text of a term, or by the record if the term has its beginning only.
    fn verified(
        &mut self,
        from: &[u8],
        to: &[u8],
        is_true: &dyn Fn(&Value) -> bool,
    ) -> Result<RoaringTreemap, CollectionError> {
        let (mut sure, mut unsure) = (Union::default(), Union::default());
        self.source.scan(from, to, &mut |entry, bytes| {
            let (term, chunk) = split_entry(entry).ok_or(corrupt(DAMAGED))?;
            let (text, is_whole) = text_of(term).ok_or(corrupt(DAMAGED))?;
            if !is_whole {
                unsure.add(chunk, bytes)?;
            } else if String::from_utf8(text).is_ok_and(|text| is_true(&Value::Text(text))) {
                sure.add(chunk, bytes)?;
            }
            Ok(())
        })?;
        for key in unsure.finish() {
            let values = self.source.values(key)?;
            if values.iter().any(|(field, value)| *field == self.field && is_true(value)) {
                sure.insert(key);
            }
        }
        Ok(sure.finish())
    }
}

const DAMAGED: &str = "an entry of the index of attributes is malformed";
