//! Predicates evaluated to sets of keys.
//!
//! Clauses of a conjunction are evaluated in the order of their cost for each key that they reject. Once the keys that are left are so few
//! that reading their records costs less than the clauses that are left, the records decide; once none is left, no clause is evaluated.

use std::sync::Arc;
use std::time::Duration;

use roaring::RoaringTreemap;

use super::estimate::{Estimate, MANY, RECORD};
use super::known::Known;
use super::select::{Domain, Span, select};
use super::source::Source;
use super::steps::{Step, StepSource};
use crate::attributes::Value;
use crate::attributes::predicate::Node;
use crate::attributes::truth::Truth;
use crate::clock::Instant;
use crate::collection::attributes::chunk::Union;
use crate::collection::attributes::field::Field;
use crate::collection::attributes::term::{behind, split_entry, text_of};
use crate::collection::error::CollectionError;
use crate::collection::format::corrupt;

const DAMAGED: &str = "an entry of the index of attributes is malformed";

/// Sets of keys.
pub(in crate::collection::attributes) struct Exact<'s> {
    source: &'s mut dyn Source,
    /// The sets that predicates were evaluated to before, on the same commit.
    known: Option<Known<'s>>,
    /// Whether keys were listed that may be those of another commit.
    is_passing: bool,
    /// Whether the records of all keys were read.
    read_records: bool,
}

/// A clause of a conjunction.
struct Clause<'n> {
    node: &'n Node,
    truth: bool,
    estimate: Estimate,
}

impl Clause<'_> {
    /// Returns the nanoseconds of evaluating the clause for each key that it rejects.
    fn rank(&self, all: f64) -> f64 {
        self.estimate.nanos / (all - self.estimate.keys).max(1e-3)
    }

    fn text(&self) -> String {
        if self.truth { self.node.to_string() } else { format!("not ({})", self.node) }
    }
}

/// The steps of an evaluation, if they are asked for.
pub(in crate::collection::attributes) type Steps<'s> = Option<&'s mut Vec<Step>>;

/// Adds a step to those that are asked for.
fn note(
    steps: &mut Steps<'_>,
    clauses: &[Clause<'_>],
    (source, left, time): (StepSource, u64, Duration),
) {
    let Some(steps) = steps else { return };
    let texts: Vec<String> = clauses.iter().map(Clause::text).collect();
    let estimated = clauses.iter().map(|clause| clause.estimate.keys).fold(f64::MAX, f64::min);
    let predicate = texts.join(" and ");
    steps.push(Step { predicate, estimated: estimated.round() as u64, left, source, time });
}

impl<'s> Exact<'s> {
    pub(in crate::collection::attributes) fn new(
        source: &'s mut dyn Source,
        known: Option<Known<'s>>,
    ) -> Self {
        Self { source, known, is_passing: false, read_records: false }
    }

    /// Returns the keys for which a predicate is true.
    pub(in crate::collection::attributes) fn evaluate(
        &mut self,
        node: &Node,
        mut steps: Steps<'_>,
    ) -> Result<Arc<RoaringTreemap>, CollectionError> {
        let known = self.known.and_then(|known| known.get(node));
        if let Some(keys) = known {
            if steps.is_some() {
                let estimate = Estimate::of(self.source, node, true)?;
                let clause = Clause { node, truth: true, estimate };
                note(&mut steps, &[clause], (StepSource::Kept, keys.len(), Duration::ZERO));
            }
            return Ok(keys);
        }
        let keys = match conjunction(node) {
            Some((nodes, truth)) => self.conjoin(nodes, truth, steps)?,
            None => self.conjoin(std::slice::from_ref(node), true, steps)?,
        };
        let keys = Arc::new(keys);
        if let Some(known) = self.known.filter(|_| !self.is_passing) {
            known.put(node, &keys);
        }
        Ok(keys)
    }

    fn conjoin(
        &mut self,
        nodes: &[Node],
        truth: bool,
        mut steps: Steps<'_>,
    ) -> Result<RoaringTreemap, CollectionError> {
        let all = self.source.keys().count as f64;
        let is_alone = nodes.len() == 1;
        let mut clauses = Vec::with_capacity(nodes.len());
        for node in nodes {
            let estimate = if is_alone && steps.is_none() {
                Estimate::default()
            } else {
                Estimate::of(self.source, node, truth)?
            };
            clauses.push(Clause { node, truth, estimate });
        }
        clauses.sort_by(|a, b| a.rank(all).total_cmp(&b.rank(all)));
        let mut found: Option<RoaringTreemap> = None;
        for (at, clause) in clauses.iter().enumerate() {
            let (start, left) = (Instant::now(), &clauses[at..]);
            let keys = match found.take() {
                None => {
                    let (keys, source) = self.clause(clause, is_alone)?;
                    note(&mut steps, &left[..1], (source, keys.len(), start.elapsed()));
                    Arc::unwrap_or_clone(keys)
                }
                Some(keys) if keys.is_empty() => {
                    note(&mut steps, left, (StepSource::Skipped, 0, Duration::ZERO));
                    return Ok(keys);
                }
                Some(keys) if keys.len() as f64 * RECORD < nanos(left) => {
                    let keys = self.checked(&keys, left)?;
                    note(&mut steps, left, (StepSource::Records, keys.len(), start.elapsed()));
                    return Ok(keys);
                }
                Some(mut keys) => {
                    let (others, source) = self.clause(clause, false)?;
                    keys &= &*others;
                    note(&mut steps, &left[..1], (source, keys.len(), start.elapsed()));
                    keys
                }
            };
            found = Some(keys);
        }
        found.map_or_else(|| self.all(), Ok)
    }

    /// Returns the keys for which a clause has its truth.
    fn clause(
        &mut self,
        clause: &Clause<'_>,
        is_alone: bool,
    ) -> Result<(Arc<RoaringTreemap>, StepSource), CollectionError> {
        /// Nanoseconds from which on the set of a clause is worth keeping.
        const DEAR: f64 = 20_000.0;

        // A predicate of one clause is kept as a whole.
        let is_dear = !is_alone && clause.estimate.nanos > DEAR;
        let known = self.known.filter(|_| is_dear).map(|known| (known, clause.text()));
        if let Some(keys) = known.as_ref().and_then(|(known, text)| known.get(text)) {
            return Ok((keys, StepSource::Kept));
        }
        let was_passing = std::mem::take(&mut self.is_passing);
        self.read_records = false;
        let keys = Arc::new(select(self, clause.node, clause.truth)?);
        if let Some((known, text)) = known.filter(|_| !self.is_passing) {
            known.put(&text, &keys);
        }
        self.is_passing |= was_passing;
        let source = if self.read_records { StepSource::AllRecords } else { StepSource::Index };
        Ok((keys, source))
    }

    /// Returns those of some keys for which all clauses have their truth, by the attributes of each.
    fn checked(
        &mut self,
        keys: &RoaringTreemap,
        clauses: &[Clause<'_>],
    ) -> Result<RoaringTreemap, CollectionError> {
        let mut names: Vec<&str> = Vec::new();
        for clause in clauses {
            clause.node.each_field(&mut |name| names.push(name));
        }
        names.sort_unstable();
        names.dedup();
        let mut fields = Vec::with_capacity(names.len());
        for name in names {
            fields.push((name, self.source.field(name)?.map(|field| field.number)));
        }
        let mut kept = Vec::new();
        for key in keys {
            let values = self.source.values(key)?;
            let value_of = |name: &str| {
                let (_, number) = fields.iter().find(|&&(other, _)| other == name)?;
                let found = values.iter().find(|&&(field, _)| Some(field) == *number);
                found.map(|(_, value)| value)
            };
            let has_truth = |clause: &Clause<'_>| {
                clause.node.evaluate_by(&value_of) == Truth::from(clause.truth)
            };
            if clauses.iter().all(has_truth) {
                kept.push(key);
            }
        }
        // The keys ascend.
        Ok(RoaringTreemap::from_sorted_iter(kept).unwrap_or_default())
    }
}

/// Returns the clauses of which a predicate is the conjunction, and the truth that it asks of them.
fn conjunction(node: &Node) -> Option<(&[Node], bool)> {
    match node {
        Node::And(nodes) => Some((nodes, true)),
        Node::Not(node) => match &**node {
            Node::Or(nodes) => Some((nodes, false)),
            _ => None,
        },
        _ => None,
    }
}

fn nanos(clauses: &[Clause<'_>]) -> f64 {
    clauses.iter().map(|clause| clause.estimate.nanos).sum()
}

impl Domain for Exact<'_> {
    type Keys = RoaringTreemap;

    fn field(&mut self, name: &str) -> Result<Option<Field>, CollectionError> {
        self.source.field(name)
    }

    fn all(&mut self) -> Result<RoaringTreemap, CollectionError> {
        let keys = self.source.keys();
        self.is_passing |= !keys.is_of_commit;
        Ok((keys.list)())
    }

    fn between(&mut self, (from, to): Span<'_>) -> Result<RoaringTreemap, CollectionError> {
        let mut keys = Union::default();
        self.source.scan(from, to, &mut |entry, bytes| {
            let (_, chunk) = split_entry(entry).ok_or(corrupt(DAMAGED))?;
            keys.add(chunk, bytes)
        })?;
        Ok(keys.finish())
    }

    fn verified(
        &mut self,
        field: u32,
        (from, to): Span<'_>,
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
            if values.iter().any(|(of, value)| *of == field && is_true(value)) {
                sure.insert(key);
            }
        }
        Ok(sure.finish())
    }

    fn part(
        &mut self,
        span: Span<'_>,
        whole: Span<'_>,
        present: &[u8],
    ) -> Result<RoaringTreemap, CollectionError> {
        let (before, after) = ((whole.0, span.0), (span.1, whole.1));
        let entries = self.source.guess(span.0, span.1)?.entries;
        if entries > MANY {
            let others = self.source.guess(before.0, before.1)?.entries
                + self.source.guess(after.0, after.1)?.entries;
            if others + MANY < entries {
                // All keys with a number but those of the other numbers.
                let others = self.between(before)? | self.between(after)?;
                return Ok(self.between((present, &behind(present.to_vec())))? - others);
            }
        }
        self.between(span)
    }

    fn by_records(
        &mut self,
        field: u32,
        node: &Node,
        truth: bool,
    ) -> Result<RoaringTreemap, CollectionError> {
        self.read_records = true;
        let truth = Truth::from(truth);
        let mut found = Vec::new();
        self.source.each_record(&mut |key, values| {
            let value = values.iter().find(|&&(of, _)| of == field).map(|(_, value)| value);
            if node.evaluate_by(&|_| value) == truth {
                found.push(key);
            }
        })?;
        // The keys ascend.
        Ok(RoaringTreemap::from_sorted_iter(found).unwrap_or_default())
    }

    fn all_of(&mut self, nodes: &[Node], truth: bool) -> Result<RoaringTreemap, CollectionError> {
        self.conjoin(nodes, truth, None)
    }

    fn and(&self, keys: RoaringTreemap, others: RoaringTreemap) -> RoaringTreemap {
        keys & others
    }

    fn or(&self, keys: RoaringTreemap, others: RoaringTreemap) -> RoaringTreemap {
        keys | others
    }

    fn minus(&self, keys: RoaringTreemap, others: RoaringTreemap) -> RoaringTreemap {
        keys - others
    }
}
