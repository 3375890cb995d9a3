//! Answers with the records of their keys.

use std::borrow::Cow;
use std::ops::Deref;
use std::vec;

use super::diverse::Diversity;
use super::source::{Moment, Source};
use crate::attributes::Attributes;
use crate::collection::error::CollectionError;
use crate::collection::records::Records;
use crate::index::{Fallible, Filter, Hit, Search, SearchPlan, TryFilterError};

/// The parts that the answers of a search have beside key and distance, and their selection.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "a part is asked for, or not")]
pub struct Fetch<'a> {
    pub(super) source: Source<'a>,
    name: bool,
    attributes: bool,
    payload: bool,
    vector: bool,
    pub(super) diversity: Option<Diversity>,
}

impl<'a> From<Source<'a>> for Fetch<'a> {
    fn from(source: Source<'a>) -> Self {
        Self {
            source,
            name: false,
            attributes: false,
            payload: false,
            vector: false,
            diversity: None,
        }
    }
}

/// An answer with the parts that the search asked for. Names and payloads of a snapshot are borrowed from it; those of a collection are copies.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Answer<'a> {
    /// The key.
    pub key: u64,
    /// The distance from the query.
    pub distance: f32,
    /// The name, if the search asked for it and the key has one.
    pub name: Option<Cow<'a, [u8]>>,
    /// The attributes, if the search asked for them and the key has some.
    pub attributes: Option<Attributes>,
    /// The payload, if the search asked for it and the key has one.
    pub payload: Option<Cow<'a, [u8]>>,
    /// The vector, if the search asked for it, as [`Collection::get`](crate::Collection::get) returns it.
    pub vector: Option<Vec<f32>>,
}

/// The answers of a search with records, the nearest first, or in the order of [`Search::diverse`]. A slice of [`Answer`]s.
#[derive(Debug, Clone, PartialEq)]
pub struct Answers<'a> {
    list: Vec<Answer<'a>>,
    plan: SearchPlan,
    is_complete: bool,
    distances: u64,
}

impl Answers<'_> {
    /// Returns how the search was executed, as [`Hits::plan`](crate::Hits::plan).
    pub fn plan(&self) -> SearchPlan {
        self.plan
    }

    /// Returns whether the search ran to its end, as [`Hits::is_complete`](crate::Hits::is_complete).
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Returns the number of distances that the search computed, as [`Hits::distances_computed`](crate::Hits::distances_computed).
    pub fn distances_computed(&self) -> u64 {
        self.distances
    }
}

impl<'a> Deref for Answers<'a> {
    type Target = [Answer<'a>];

    fn deref(&self) -> &[Answer<'a>] {
        &self.list
    }
}

impl<'a> IntoIterator for Answers<'a> {
    type Item = Answer<'a>;
    type IntoIter = vec::IntoIter<Answer<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl<'s, 'a> IntoIterator for &'s Answers<'a> {
    type Item = &'s Answer<'a>;
    type IntoIter = std::slice::Iter<'s, Answer<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

/// Parts of the answers beside key and distance, for searches of a [`Collection`](crate::Collection) or a [`Snapshot`](crate::Snapshot). Records
/// are read once the nearest are known, from one commit. Those of a `Collection` are of the newest commit then, and an answer that was removed
/// meanwhile has none.
impl<'a, F, S: Into<Fetch<'a>>> Search<'a, F, S> {
    pub(super) fn fetching(self, set: impl FnOnce(&mut Fetch<'a>)) -> Search<'a, F, Fetch<'a>> {
        self.with_source(|source| {
            let mut fetch = source.into();
            set(&mut fetch);
            fetch
        })
    }

    /// Returns payloads with the answers.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("nearfield-doc-answers-{}.nf", std::process::id()));
    /// use nearfield::{Collection, Metric, attributes};
    ///
    /// let films = Collection::builder(2, Metric::L2).create(&path)?;
    /// let mut tx = films.begin_write()?;
    /// for (name, year, vector) in [("Metropolis", 1927, [0.1, 0.2]), ("Playtime", 1967, [0.3, 0.1])] {
    ///     let key = tx.name_or_insert(name)?;
    ///     tx.upsert(key, &vector)?;
    ///     tx.set(key, attributes! { "year" => year })?;
    ///     tx.put_payload(key, format!("a film of {year}").as_bytes())?;
    /// }
    /// tx.commit()?;
    /// let moment = films.snapshot()?;
    /// let query = [0.3, 0.2];
    /// for film in moment.search(&query).k(2).with_name().with_attributes().with_payload().run()? {
    ///     println!("{:?} {:?} {:?}", film.name, film.attributes, film.payload);
    /// }
    /// let nearest = films.search(&query).k(1).with_payload().run()?;
    /// assert_eq!(nearest[0].payload.as_deref(), Some(&b"a film of 1967"[..]));
    /// # drop((moment, films));
    /// # let _ = std::fs::remove_file(&path);
    /// # Ok::<(), nearfield::CollectionError>(())
    /// ```
    pub fn with_payload(self) -> Search<'a, F, Fetch<'a>> {
        self.fetching(|fetch| fetch.payload = true)
    }

    /// Returns attributes with the answers.
    pub fn with_attributes(self) -> Search<'a, F, Fetch<'a>> {
        self.fetching(|fetch| fetch.attributes = true)
    }

    /// Returns names with the answers.
    pub fn with_name(self) -> Search<'a, F, Fetch<'a>> {
        self.fetching(|fetch| fetch.name = true)
    }

    /// Returns vectors with the answers.
    pub fn with_vector(self) -> Search<'a, F, Fetch<'a>> {
        self.fetching(|fetch| fetch.vector = true)
    }
}

impl<'a, F: Filter> Search<'_, F, Fetch<'a>> {
    /// Runs the search, and reads the records of the answers.
    ///
    /// # Errors
    ///
    /// [`CollectionError::Index`] with the errors of a search for keys alone, [`StoreError::Corrupt`](crate::store::StoreError::Corrupt);
    /// [`IndexError::Parameter`](crate::IndexError::Parameter) for a [`diverse`](Search::diverse) with a `lambda` that is not from 0 to 1.
    pub fn run(self) -> Result<Answers<'a>, CollectionError> {
        let (search, filter, fetch) = self.begin();
        let k = search.answers();
        let search = match fetch.diversity {
            Some(diversity) => search.k(diversity.check()?.fetched(k)),
            None => search,
        };
        let hits = search.filter(filter).run()?;
        let selected = match fetch.diversity {
            Some(diversity) => diversity.select(&hits, k, fetch.source)?,
            None => hits.to_vec(),
        };
        let moment = fetch.source.moment();
        let answers = moment.and_then(|moment| fetch.all(&moment, &selected));
        Ok(Answers {
            list: answers.map_err(fetch.source.place())?,
            plan: hits.plan(),
            is_complete: hits.is_complete(),
            distances: hits.distances_computed(),
        })
    }
}

impl<'a, G, E> Search<'_, Fallible<G>, Fetch<'a>>
where
    G: Fn(u64) -> Result<bool, E> + Sync,
    E: Send,
{
    /// Runs the search, whose filter may fail, and reads the records of the answers.
    ///
    /// # Errors
    ///
    /// [`TryFilterError::Filter`] with the first error of the filter; [`TryFilterError::Search`] with the errors of a search without it.
    pub fn run(self) -> Result<Answers<'a>, TryFilterError<E, CollectionError>> {
        #[expect(clippy::redundant_closure_for_method_calls, reason = "several methods are `run`")]
        self.watched(|search| search.run())
    }
}

impl<'a> Fetch<'a> {
    /// Returns hits with their records.
    pub(super) fn all(
        &self,
        moment: &Moment<'a>,
        hits: &[Hit],
    ) -> Result<Vec<Answer<'a>>, CollectionError> {
        if !(self.name || self.attributes || self.payload) {
            return Ok(hits.iter().map(|hit| self.bare(hit)).collect());
        }
        let lasting = moment.lasting_records()?;
        if let Some(records) = lasting {
            return hits.iter().map(|hit| self.of_hit(hit, &records, Cow::Borrowed)).collect();
        }
        let records = moment.records()?;
        hits.iter()
            .map(|hit| self.of_hit(hit, &records, |bytes| Cow::Owned(bytes.to_vec())))
            .collect()
    }

    fn bare(&self, hit: &Hit) -> Answer<'a> {
        let vector = if self.vector { self.source.vector(hit.key) } else { None };
        let Hit { key, distance } = *hit;
        Answer { key, distance, name: None, attributes: None, payload: None, vector }
    }

    fn of_hit<'r>(
        &self,
        hit: &Hit,
        records: &Records<'r>,
        keep: impl Fn(&'r [u8]) -> Cow<'a, [u8]>,
    ) -> Result<Answer<'a>, CollectionError> {
        let mut answer = self.bare(hit);
        if self.name {
            answer.name = records.name(hit.key)?.map(&keep);
        }
        if self.attributes {
            answer.attributes = records.attributes(hit.key)?;
        }
        if self.payload {
            answer.payload = records.payload(hit.key)?.map(&keep);
        }
        Ok(answer)
    }
}
