//! Values beside vectors, and predicates over them.
//!
//! ```
//! use nearfield::{Predicate, attributes, field};
//!
//! let paper = attributes! { "tenant" => "acme", "year" => 2024, "tags" => ["graphs", "search"] };
//! let wanted = field("year").ge(2020) & field("tags").any_of(["search", "ann"]);
//! assert!(wanted.matches(&paper)?);
//! # Ok::<(), nearfield::attributes::AttributeError>(())
//! ```
//!
//! # Filtering
//!
//! A [`Collection`](crate::Collection) keeps attributes beside its vectors and indexes all of them; nothing is declared before. A predicate is built
//! in Rust ([`field`]), read from text, or, with the feature `json`, from JSON:
//!
//! ```
//! # let path = std::env::temp_dir().join(format!("nearfield-doc-filtering-{}.nf", std::process::id()));
//! use nearfield::{Collection, Filter, Metric, Predicate, attributes, field};
//!
//! let passages = Collection::builder(2, Metric::Cosine).create(&path)?;
//! let mut tx = passages.begin_write()?;
//! for (key, document, year, vector) in [
//!     (1, "atlas", 1990, [0.9, 0.1]),
//!     (2, "atlas", 2020, [0.8, 0.2]),
//!     (3, "guide", 2021, [0.1, 0.9]),
//!     (4, "guide", 2022, [0.5, 0.5]),
//! ] {
//!     tx.upsert(key, &vector)?;
//!     tx.set(key, attributes! { "document" => document, "year" => year })?;
//!     tx.put_payload(key, format!("passage {key}").as_bytes())?;
//! }
//! tx.commit()?;
//!
//! let built = field("year").ge(2020);
//! let read: Predicate = "year >= 2020".parse()?;
//! assert_eq!(built, read);
//!
//! // A selection is a filter for any number of searches, and combines with other filters.
//! let moment = passages.snapshot()?;
//! let recent = moment.matching(&read)?;
//! let query = [1.0, 0.0];
//! assert_eq!(moment.search(&query).k(1).filter(&recent).run()?[0].key, 2);
//! let filter = (&recent).and(|key: u64| key != 2);
//! assert_eq!(moment.search(&query).k(1).filter(filter).run()?[0].key, 4);
//!
//! // Answers with their payloads, and the best passage of each document.
//! let best = moment.search(&query).filter(&recent).k(2).with_payload().group_by("document").run()?;
//! let texts: Vec<_> = best.iter().filter_map(|group| group.answers[0].payload.as_deref()).collect();
//! assert_eq!(texts, [b"passage 2", b"passage 4"]);
//! assert_eq!(moment.count(&read)?, 3);
//! # drop((moment, passages));
//! # let _ = std::fs::remove_file(&path);
//! # Ok::<(), nearfield::Error>(())
//! ```
//!
//! | question | call | cost |
//! |---|---|---|
//! | keys that match | [`matching`](crate::Collection::matching) | the values and keys that its parts select; `is null` reads all keys |
//! | number of keys that match | [`count`](crate::Collection::count) | the same |
//! | values of a field with their counts | [`facet`](crate::Collection::facet) | all entries of the field |
//! | entries that match, page by page | [`scroll`](crate::Collection::scroll) | `matching`, kept for the next page; one [`Snapshot`](crate::Snapshot) for pages of one moment |
//! | nearest of those that match | [`filter`](crate::Search::filter) with a [`Selection`](crate::collection::Selection) | the plan below |
//! | nearest, by a closure | `filter`, [`try_filter`](crate::Search::try_filter) if it may fail | the closure, once for each key that the search meets |
//! | nearest of each document | [`group_by`](crate::Search::group_by) | one search, if the groups are met; else one for each group that is behind the others |
//! | nearest that differ | [`diverse`](crate::Search::diverse) | one search for more answers, and the distances among them |
//! | estimate, truth, order of clauses, plan and times | [`explain`](crate::Search::explain) | the search |
//! | removal of those that match | [`remove_where`](crate::Transaction::remove_where) | `matching` and each removal |
//!
//! A search under a filter returns `k` answers, or all vectors that match if these are fewer. It chooses a plan by the share of accepted vectors, which a
//! selection knows and which is estimated for a closure, and by the share that it meets; [`Hits::plan`](crate::Hits::plan) names it:
//!
//! | share accepted | plan | cost |
//! |---|---|---|
//! | most | [`FilteredWalk`](crate::search::SearchPlan::FilteredWalk) | a walk that keeps as many more candidates as are rejected |
//! | some, near the query | [`DirectedTwoHop`](crate::search::SearchPlan::DirectedTwoHop) | a walk through the nearest rejected nodes to their neighbours |
//! | some, far from it | [`BlindTwoHop`](crate::search::SearchPlan::BlindTwoHop) | a walk through any rejected nodes |
//! | few | [`FilteredScan`](crate::search::SearchPlan::FilteredScan) | a distance for each accepted vector |
//!
//! A collection takes any field, and indexes all of them. A [`Schema`] declares some: their kinds, the required ones, and those that are stored only, which
//! cost nothing in the index, and about which predicates read the record of each key.
//!
//! `cargo bench --bench filter` and `--bench attributes` measure them.
//!
//! # Truth
//!
//! A predicate is true, false or unknown for some attributes, as in SQL, and matches if it is true. A field
//! without a value is null.
//!
//! | predicate | value | truth |
//! |---|---|---|
//! | `is_null` | null, any | true, false |
//! | any other on one field | null | unknown |
//! | `eq ne lt le gt ge` | of the same kind; integer and float | by their order, no integer rounded |
//! | `eq ne lt le gt ge` | of any other kind; a list | unknown |
//! | booleans, texts, times | | `false` before `true`; by bytes; earlier first |
//! | `-0.0` | | counts as `0.0` |
//! | `ne` | any | `not` of `eq` |
//! | `is_in` | any | `or` of `eq`; of no values: false |
//! | `between` | any | `and` of `ge` and `le` |
//! | `prefix` | a text; of another kind | whether it begins so; unknown |
//! | `has` | a list; of another kind | whether it contains the text; unknown |
//! | `any_of`, `all_of` | a list; of another kind | `or`, `and` of `has`, of no texts false, true; unknown |
//! | `and` | | false if one part is, else unknown if one part is, else true |
//! | `or` | | true if one part is, else unknown if one part is, else false |
//! | `not` | | true for false, false for true, unknown for unknown |

pub(crate) mod builder;
pub(crate) mod display;
pub(crate) mod error;
#[cfg(feature = "json")]
pub(crate) mod json;
pub(crate) mod kind;
pub(crate) mod map;
pub(crate) mod parse;
pub(crate) mod predicate;
#[cfg(test)]
pub(crate) mod random;
pub(crate) mod schema;
#[cfg(test)]
mod tests;
pub(crate) mod timestamp;
pub(crate) mod truth;
pub(crate) mod value;

pub use builder::{Field, field};
pub use error::{AttributeError, ParseError};
pub use kind::Kind;
pub use map::{Attributes, IntoIter, Iter};
pub use predicate::Predicate;
pub use schema::{Declared, Schema};
pub use timestamp::Timestamp;
pub use value::Value;

/// Makes [`Attributes`](crate::Attributes) of names and values.
///
/// ```
/// use nearfield::attributes;
///
/// let paper = attributes! { "tenant" => "acme", "year" => 2024, "tags" => ["a", "b"] };
/// assert_eq!(paper.len(), 3);
/// assert!(attributes! {}.is_empty());
/// ```
#[macro_export]
macro_rules! attributes {
    ($($name:expr => $value:expr),* $(,)?) => {
        $crate::attributes::Attributes::new()$(.with($name, $value))*
    };
}
