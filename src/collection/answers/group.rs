//! Answers in groups of one value each.
//!
//! An iteration of the search meets the nearest groups. If it meets few, as where one group has most of the near vectors, the search goes on
//! among the keys of all other groups, and so meets a new one each time: all groups are found in the end. A group that is not full is
//! searched for by itself.

use std::collections::HashMap;
use std::ops::Deref;
use std::vec;

use super::fetch::{Answer, Fetch};
use super::source::Moment;
use crate::attributes::{Value, field};
use crate::collection::attributes::Selection;
use crate::collection::error::CollectionError;
use crate::error::IndexError;
use crate::index::{Fallible, Filter, Hit, Search, TryFilterError};

/// Hits that the first iteration takes, for each hit that is wanted.
const PATIENCE: usize = 4;
const LEAST_PATIENCE: usize = 64;

/// The field by which the answers of a search are grouped, and the parts that they have.
#[derive(Debug, Clone)]
pub struct Grouping<'a> {
    fetch: Fetch<'a>,
    field: String,
    limit: usize,
}

/// Answers with one value of a field.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Group<'a> {
    /// The value.
    pub value: Value,
    /// The answers with this value, the nearest first; at least one.
    pub answers: Vec<Answer<'a>>,
}

/// The groups of a search, in the order of their nearest answers. A slice of [`Group`]s.
#[derive(Debug, Clone, PartialEq)]
pub struct Groups<'a> {
    groups: Vec<Group<'a>>,
    is_complete: bool,
}

impl Groups<'_> {
    /// Returns whether all searches ran to their ends: `false` if a timeout or a token stopped one.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }
}

impl<'a> Deref for Groups<'a> {
    type Target = [Group<'a>];

    fn deref(&self) -> &[Group<'a>] {
        &self.groups
    }
}

impl<'a> IntoIterator for Groups<'a> {
    type Item = Group<'a>;
    type IntoIter = vec::IntoIter<Group<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.groups.into_iter()
    }
}

impl<'s, 'a> IntoIterator for &'s Groups<'a> {
    type Item = &'s Group<'a>;
    type IntoIter = std::slice::Iter<'s, Group<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.groups.iter()
    }
}

impl<'a, F, S: Into<Fetch<'a>>> Search<'a, F, S> {
    /// Groups the answers by the value of a field: the best passages of each document, say. [`k`](Self::k) is then the number of groups, and
    /// [`limit`](Search::limit) that of the answers of each, 1 if not set. Set [`with_payload`](Self::with_payload) and its like before.
    ///
    /// The result has `k` groups, or all of them if these are fewer, however many vectors of one group are near: the search goes on among the
    /// keys of other groups. A group has `limit` answers, or all of its own. Keys without a value of the field, or with a list, are in no
    /// group. Numbers of equal worth are one value, as for [`Field::eq`](crate::attributes::Field::eq).
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("nearfield-doc-group-{}.nf", std::process::id()));
    /// use nearfield::{Collection, Metric, attributes};
    ///
    /// let passages = Collection::builder(1, Metric::L2).create(&path)?;
    /// let mut tx = passages.begin_write()?;
    /// for key in 0..100 {
    ///     tx.upsert(key, &[key as f32])?;
    ///     let document = if key < 98 { "long" } else { "short" };
    ///     tx.set(key, attributes! { "document" => document })?;
    /// }
    /// tx.commit()?;
    /// let groups = passages.search(&[0.0]).k(2).group_by("document").limit(3).run()?;
    /// let keys = |at: usize| groups[at].answers.iter().map(|answer| answer.key).collect::<Vec<_>>();
    /// assert_eq!((&groups[0].value, keys(0)), (&"long".into(), vec![0, 1, 2]));
    /// assert_eq!((&groups[1].value, keys(1)), (&"short".into(), vec![98, 99]));
    /// # drop(passages);
    /// # let _ = std::fs::remove_file(&path);
    /// # Ok::<(), nearfield::CollectionError>(())
    /// ```
    pub fn group_by(self, field: impl Into<String>) -> Search<'a, F, Grouping<'a>> {
        self.with_source(|source| Grouping { fetch: source.into(), field: field.into(), limit: 1 })
    }
}

impl<'a, F> Search<'a, F, Grouping<'a>> {
    /// Sets the number of answers of a group.
    pub fn limit(self, answers: usize) -> Self {
        self.with_source(|grouping| Grouping { limit: answers, ..grouping })
    }
}

impl<'a, F: Filter> Search<'_, F, Grouping<'a>> {
    /// Runs the searches, and reads the records of the answers. A timeout counts for all of them together.
    ///
    /// # Errors
    ///
    /// As [`Search::run`] with records; [`IndexError::Parameter`] if `limit` is 0, or beside [`diverse`](Search::diverse).
    pub fn run(self) -> Result<Groups<'a>, CollectionError> {
        let (search, filter, Grouping { fetch, field, limit }) = self.begin();
        let refused = |name, value: &str, allowed| -> CollectionError {
            IndexError::Parameter { name, value: value.to_owned(), allowed }.into()
        };
        if limit == 0 {
            return Err(refused("limit", "0", "1 or more"));
        }
        if fetch.diversity.is_some() {
            return Err(refused("diverse", "set beside `group_by`", "one of the two"));
        }
        let k = search.answers();
        let filter = filter.as_ref().map(|filter| filter as &dyn Filter);
        let place = fetch.source.place();
        let moment = fetch.source.moment().map_err(&place)?;
        let mut found = Found {
            moment: &moment,
            field,
            limit,
            k,
            groups: Vec::new(),
            at: HashMap::new(),
            rest: None,
            subtracted: 0,
        };
        let search = Asked { search: search.endless(), filter };
        let is_complete = found.find(&search).map_err(&place)?;
        let mut groups = Vec::with_capacity(found.groups.len());
        for (value, hits) in found.groups {
            let answers = fetch.all(&moment, &hits).map_err(&place)?;
            groups.push(Group { value, answers });
        }
        Ok(Groups { groups, is_complete })
    }
}

impl<'a, G, E> Search<'_, Fallible<G>, Grouping<'a>>
where
    G: Fn(u64) -> Result<bool, E> + Sync,
    E: Send,
{
    /// Runs the searches, whose filter may fail, and reads the records of the answers.
    ///
    /// # Errors
    ///
    /// [`TryFilterError::Filter`] with the first error of the filter; [`TryFilterError::Search`] with the errors of a search without it.
    pub fn run(self) -> Result<Groups<'a>, TryFilterError<E, CollectionError>> {
        #[expect(clippy::redundant_closure_for_method_calls, reason = "several methods are `run`")]
        self.watched(|search| search.run())
    }
}

/// A search without a number of answers, and its filter.
struct Asked<'s> {
    search: Search<'s>,
    filter: Option<&'s dyn Filter>,
}

/// Groups that were met.
struct Found<'m, 'a> {
    moment: &'m Moment<'a>,
    field: String,
    /// Hits of a group, and groups.
    limit: usize,
    k: usize,
    /// Each value with its hits, the nearest first.
    groups: Vec<(Value, Vec<Hit>)>,
    /// The group of each value, by its bytes.
    at: HashMap<Vec<u8>, usize>,
    /// The keys that have a value, without those of the first `subtracted` groups; once they are asked for.
    rest: Option<Selection>,
    subtracted: usize,
}

impl Found<'_, '_> {
    /// Finds the groups and their hits. Returns whether all searches ran to their ends.
    fn find(&mut self, asked: &Asked<'_>) -> Result<bool, CollectionError> {
        if self.k == 0 {
            return Ok(true);
        }
        let patience = self.k.saturating_mul(self.limit).saturating_mul(PATIENCE);
        let mut patience = patience.max(LEAST_PATIENCE);
        let (mut ended, mut is_complete) = self.meet(asked, None, patience)?;
        let is_whole = ended;
        while !ended && self.groups.len() < self.k && is_complete {
            let others = self.others()?;
            patience = patience.saturating_mul(2);
            let met;
            (ended, met) = self.meet(asked, Some(&others), patience)?;
            is_complete &= met;
            self.rest = Some(others);
        }
        // An iteration that has ended has given all that match.
        if !is_whole {
            is_complete &= self.fill(asked)?;
        }
        self.groups.sort_by(|(_, a), (_, b)| nearest(a).total_cmp(&nearest(b)));
        Ok(is_complete)
    }

    /// Takes hits of one iteration into their groups, until all groups are there and full, or `patience` hits were taken. Returns whether the
    /// iteration has ended by itself, and whether its searches ran to their ends.
    fn meet(
        &mut self,
        asked: &Asked<'_>,
        among: Option<&Selection>,
        patience: usize,
    ) -> Result<(bool, bool), CollectionError> {
        let records = self.moment.records()?;
        let mut hits = asked.search.filter(Filter::and(asked.filter, among)).iter()?;
        let (mut full, mut taken) = (0, 0);
        while let Some(hit) = hits.next() {
            taken += 1;
            let attributes = records.attributes(hit.key)?;
            let value = attributes.as_ref().and_then(|attributes| attributes.get(&self.field));
            if let Some((value, bytes)) = value.and_then(|value| Some((value, bytes_of(value)?))) {
                let count = self.groups.len();
                let at = match self.at.get(&bytes) {
                    Some(&at) => Some(at),
                    None if count < self.k => {
                        self.at.insert(bytes, count);
                        self.groups.push((value.clone(), Vec::new()));
                        Some(count)
                    }
                    None => None,
                };
                let hits = at.map(|at| &mut self.groups[at].1);
                if let Some(hits) = hits.filter(|hits| hits.len() < self.limit) {
                    hits.push(hit);
                    full += usize::from(hits.len() == self.limit);
                }
            }
            if full >= self.k || taken >= patience {
                return Ok((false, hits.is_complete()));
            }
        }
        Ok((true, hits.is_complete()))
    }

    /// Takes the keys of the groups that were not met.
    fn others(&mut self) -> Result<Selection, CollectionError> {
        let field = || field(&self.field);
        let mut others = if let Some(rest) = self.rest.take() {
            rest
        } else {
            let mut all = self.moment.matching(&field().is_not_null())?;
            // A list contains all of no texts.
            let no_texts: [&str; 0] = [];
            all.subtract(&self.moment.matching(&field().all_of(no_texts))?);
            all
        };
        for (value, _) in &self.groups[self.subtracted..] {
            others.subtract(&self.moment.matching(&field().eq(value.clone()))?);
        }
        self.subtracted = self.groups.len();
        Ok(others)
    }

    /// Searches for the hits of groups that are not full. Returns whether all searches ran to their ends.
    fn fill(&mut self, asked: &Asked<'_>) -> Result<bool, CollectionError> {
        let mut is_complete = true;
        for (value, hits) in &mut self.groups {
            if hits.len() >= self.limit {
                continue;
            }
            let own = self.moment.matching(&field(&self.field).eq(value.clone()))?;
            if own.len() <= hits.len() {
                continue;
            }
            let search = asked.search.k(self.limit).filter(Filter::and(asked.filter, &own));
            let more = search.run()?;
            is_complete &= more.is_complete();
            for hit in &more {
                if hits.iter().all(|own| own.key != hit.key) {
                    hits.push(*hit);
                }
            }
            hits.sort_by(|a, b| a.distance.total_cmp(&b.distance));
            hits.truncate(self.limit);
        }
        Ok(is_complete)
    }
}

/// Returns the distance of the nearest hit.
fn nearest(hits: &[Hit]) -> f32 {
    hits.first().map_or(f32::INFINITY, |hit| hit.distance)
}

/// Returns a value as bytes, the same for equal values of either kind of numbers. Returns `None` for a list.
fn bytes_of(value: &Value) -> Option<Vec<u8>> {
    /// 2^63.
    const END: f64 = 9_223_372_036_854_775_808.0;

    let (kind, bytes) = match value {
        Value::Integer(number) => (0, number.to_le_bytes().to_vec()),
        // Whole numbers in the range of integers are exact.
        Value::Float(number) if number.fract() == 0.0 && (-END..END).contains(number) => {
            (0, (*number as i64).to_le_bytes().to_vec())
        }
        Value::Float(number) => (1, number.to_le_bytes().to_vec()),
        Value::Boolean(flag) => (2, vec![u8::from(*flag)]),
        Value::Time(time) => (3, time.as_micros().to_le_bytes().to_vec()),
        Value::Text(text) => (4, text.as_bytes().to_vec()),
        Value::Texts(_) => return None,
    };
    Some([&[kind], &bytes[..]].concat())
}
