//! Predicates over the index: the set of the keys for which a predicate is true.
//!
//! A predicate is true, false or unknown for a key. The sets of true and of false keys are made of those of its parts, so that no part is
//! evaluated for each key. A [`Domain`] makes the sets: exactly (`exact.rs`), or as estimates of their size and cost (`estimate.rs`).

use super::order::place;
use crate::attributes::Value;
use crate::attributes::predicate::{Comparison, Node};
use crate::collection::attributes::field::Field;
use crate::collection::attributes::term::{
    CUT, Form, begin, behind, number, present, push_text, text,
};
use crate::collection::error::CollectionError;
use crate::collection::format::corrupt;

/// Entries of the index from the first key up to the second one, which is left out.
pub(super) type Span<'a> = (&'a [u8], &'a [u8]);

/// The kind of sets that a predicate is evaluated to.
pub(super) trait Domain {
    type Keys: Default;

    /// Returns a field. Returns `None` for one that no key ever had.
    fn field(&mut self, name: &str) -> Result<Option<Field>, CollectionError>;

    /// Returns all keys that have a vector.
    fn all(&mut self) -> Result<Self::Keys, CollectionError>;

    /// Returns the keys of some entries.
    fn between(&mut self, span: Span<'_>) -> Result<Self::Keys, CollectionError>;

    /// Returns the keys of those entries of a field's texts for which `is_true`: by the text of a term, or by the record if the term has its
    /// beginning only.
    fn verified(
        &mut self,
        field: u32,
        span: Span<'_>,
        is_true: &dyn Fn(&Value) -> bool,
    ) -> Result<Self::Keys, CollectionError>;

    /// Returns the keys of some of those entries that each key has one of: the entries of `whole`, whose keys the entry of `present` has
    /// together.
    fn part(
        &mut self,
        span: Span<'_>,
        whole: Span<'_>,
        present: &[u8],
    ) -> Result<Self::Keys, CollectionError>;

    /// Returns the keys for which a node about one field has this truth, by the records of all keys: the field has this number.
    fn by_records(
        &mut self,
        field: u32,
        node: &Node,
        truth: bool,
    ) -> Result<Self::Keys, CollectionError>;

    /// Returns the keys for which all nodes have this truth; of none, all keys.
    fn all_of(&mut self, nodes: &[Node], truth: bool) -> Result<Self::Keys, CollectionError>;

    fn and(&self, keys: Self::Keys, others: Self::Keys) -> Self::Keys;

    fn or(&self, keys: Self::Keys, others: Self::Keys) -> Self::Keys;

    /// Returns the keys that the others are not among.
    fn minus(&self, keys: Self::Keys, others: Self::Keys) -> Self::Keys;
}

/// Returns the keys for which a predicate has this truth.
pub(super) fn select<D: Domain>(
    domain: &mut D,
    node: &Node,
    truth: bool,
) -> Result<D::Keys, CollectionError> {
    match node {
        Node::Not(node) => select(domain, node, !truth),
        Node::And(nodes) | Node::Or(nodes) if matches!(node, Node::And(_)) == truth => {
            domain.all_of(nodes, truth)
        }
        Node::And(nodes) | Node::Or(nodes) => {
            let mut keys = D::Keys::default();
            for node in nodes {
                let others = select(domain, node, truth)?;
                keys = domain.or(keys, others);
            }
            Ok(keys)
        }
        Node::IsNull { field } => {
            let has = match domain.field(field)? {
                Some(field) if field.is_indexed() => any_kind(domain, field.number)?,
                Some(field) => domain.by_records(field.number, node, false)?,
                None => D::Keys::default(),
            };
            if !truth {
                return Ok(has);
            }
            let all = domain.all()?;
            Ok(domain.minus(all, has))
        }
        node => {
            let name = node.field().ok_or(corrupt("a predicate was not checked"))?;
            match domain.field(name)? {
                Some(field) if field.is_indexed() => {
                    Leaf { domain, field: field.number }.select(node, truth)
                }
                Some(field) => domain.by_records(field.number, node, truth),
                None => Ok(D::Keys::default()),
            }
        }
    }
}

/// Returns the keys that have a value of the field.
fn any_kind<D: Domain>(domain: &mut D, field: u32) -> Result<D::Keys, CollectionError> {
    let from = begin(field, Form::Present);
    domain.between((&from, &behind(from.clone())))
}

/// A test of one field.
struct Leaf<'d, D> {
    domain: &'d mut D,
    field: u32,
}

impl<D: Domain> Leaf<'_, D> {
    fn select(&mut self, node: &Node, truth: bool) -> Result<D::Keys, CollectionError> {
        match node {
            Node::Compare { comparison: Comparison::NotEqual, value, .. } => {
                self.compare(Comparison::Equal, value, !truth)
            }
            Node::Compare { comparison, value, .. } => self.compare(*comparison, value, truth),
            Node::Between { low, high, .. } if truth && Form::of(low).is_ordered_with(high) => {
                self.within(low, high)
            }
            Node::Between { low, high, .. } => {
                let first = self.compare(Comparison::GreaterOrEqual, low, truth)?;
                let second = self.compare(Comparison::LessOrEqual, high, truth)?;
                Ok(if truth {
                    self.domain.and(first, second)
                } else {
                    self.domain.or(first, second)
                })
            }
            Node::Among { values, .. } if values.is_empty() => {
                if truth {
                    Ok(D::Keys::default())
                } else {
                    any_kind(self.domain, self.field)
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
                if is_true == truth { self.present(&[Form::Item]) } else { Ok(D::Keys::default()) }
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
        mut select: impl FnMut(&mut Self, &T) -> Result<D::Keys, CollectionError>,
    ) -> Result<D::Keys, CollectionError> {
        let mut found: Option<D::Keys> = None;
        for test in tests {
            let keys = select(self, test)?;
            found = Some(match found {
                None => keys,
                Some(found) if all => self.domain.and(found, keys),
                Some(found) => self.domain.or(found, keys),
            });
        }
        Ok(found.unwrap_or_default())
    }

    /// Returns `keys`, or those with a value of one of the forms that are not among them.
    fn of_truth(
        &mut self,
        keys: D::Keys,
        truth: bool,
        forms: &[Form],
    ) -> Result<D::Keys, CollectionError> {
        if truth {
            return Ok(keys);
        }
        let present = self.present(forms)?;
        Ok(self.domain.minus(present, keys))
    }

    /// Returns the keys with a value of one of the forms.
    fn present(&mut self, forms: &[Form]) -> Result<D::Keys, CollectionError> {
        let mut keys = D::Keys::default();
        for &form in forms {
            let term = present(self.field, form);
            let others = self.between(&term, &behind(term.clone()))?;
            keys = self.domain.or(keys, others);
        }
        Ok(keys)
    }

    fn compare(
        &mut self,
        comparison: Comparison,
        value: &Value,
        truth: bool,
    ) -> Result<D::Keys, CollectionError> {
        let forms = Form::of(value).comparable();
        let mut keys = D::Keys::default();
        for &form in forms {
            let others = match value {
                Value::Text(text) => self.compare_text(comparison, text)?,
                value => self.compare_number(comparison, value, form)?,
            };
            keys = self.domain.or(keys, others);
        }
        self.of_truth(keys, truth, forms)
    }

    fn compare_number(
        &mut self,
        comparison: Comparison,
        value: &Value,
        form: Form,
    ) -> Result<D::Keys, CollectionError> {
        let Some(place) = place(value, form) else { return Ok(D::Keys::default()) };
        let (at, above) = (self.bound(form, place.at), self.bound(form, place.above));
        let (first, end) = (begin(self.field, form), behind(begin(self.field, form)));
        match comparison {
            Comparison::Less => self.part(form, &first, &at),
            Comparison::LessOrEqual => self.part(form, &first, &above),
            Comparison::Greater => self.part(form, &above, &end),
            Comparison::GreaterOrEqual => self.part(form, &at, &end),
            Comparison::Equal | Comparison::NotEqual => self.between(&at, &above),
        }
    }

    /// Returns the keys with a number from `low` to `high`, both included, which have an order.
    fn within(&mut self, low: &Value, high: &Value) -> Result<D::Keys, CollectionError> {
        let mut keys = D::Keys::default();
        for &form in Form::of(low).comparable() {
            if let (Some(low), Some(high)) = (place(low, form), place(high, form)) {
                let (from, to) = (self.bound(form, low.at), self.bound(form, high.above));
                let others = self.part(form, &from, &to)?;
                keys = self.domain.or(keys, others);
            }
        }
        Ok(keys)
    }

    /// Returns the first key of the entries at a place in the order of a form, and behind; `None` is behind all of them.
    fn bound(&self, form: Form, at: Option<u64>) -> Vec<u8> {
        match at {
            // A boolean is one byte.
            Some(at) if form == Form::Boolean => {
                let mut term = begin(self.field, form);
                term.push(at as u8);
                term
            }
            Some(at) => number(self.field, form, at),
            None => behind(begin(self.field, form)),
        }
    }

    /// Returns the keys of the entries from one key up to another, among those of numbers of a form.
    fn part(&mut self, form: Form, from: &[u8], to: &[u8]) -> Result<D::Keys, CollectionError> {
        if from >= to {
            return Ok(D::Keys::default());
        }
        let (first, end) = (begin(self.field, form), behind(begin(self.field, form)));
        self.domain.part((from, to), (&first, &end), &present(self.field, form))
    }

    fn compare_text(
        &mut self,
        comparison: Comparison,
        value: &str,
    ) -> Result<D::Keys, CollectionError> {
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
        let is_true = |value: &Value| matches!(value, Value::Text(text) if is_true(text));
        let verified = self.domain.verified(self.field, (&from, &to), &is_true)?;
        Ok(self.domain.or(sure, verified))
    }

    /// Returns the keys with this text, or with a list that contains it.
    fn equal_text(&mut self, form: Form, value: &str) -> Result<D::Keys, CollectionError> {
        let term = text(self.field, form, value);
        let end = behind(term.clone());
        if value.len() <= CUT {
            return self.between(&term, &end);
        }
        self.domain.verified(self.field, (&term, &end), &|found| match found {
            Value::Text(text) => text == value,
            Value::Texts(texts) => texts.iter().any(|text| text == value),
            _ => false,
        })
    }

    fn has(&mut self, text: &str, truth: bool) -> Result<D::Keys, CollectionError> {
        let keys = self.equal_text(Form::Item, text)?;
        self.of_truth(keys, truth, &[Form::Item])
    }

    fn with_prefix(&mut self, prefix: &str) -> Result<D::Keys, CollectionError> {
        let mut from = begin(self.field, Form::Text);
        push_text(&mut from, prefix);
        if prefix.len() <= CUT {
            return self.between(&from, &behind(from.clone()));
        }
        let to = [&from[..], &[0, 2]].concat();
        from.extend([0, 1]);
        let is_true =
            |value: &Value| matches!(value, Value::Text(text) if text.starts_with(prefix));
        self.domain.verified(self.field, (&from, &to), &is_true)
    }

    /// Returns the keys of the entries from one key up to another, which is left out.
    fn between(&mut self, from: &[u8], to: &[u8]) -> Result<D::Keys, CollectionError> {
        if from < to { self.domain.between((from, to)) } else { Ok(D::Keys::default()) }
    }
}
