//! Searches: the form that clients send, checked, and the form of answers.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use nearfield::{Hit, Predicate};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::document::{components, raw};
use crate::problem::{Problem, Result};
use crate::settings::Limits;
use crate::view::Records;

/// A search by a vector or a text.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchRequest {
    /// The vector; or else `text`.
    #[serde(default, deserialize_with = "components")]
    pub vector: Option<Vec<f32>>,
    /// The text, which is embedded.
    pub text: Option<String>,
    /// Answers, 10 if not said; within a `radius`, all that the service allows.
    pub k: Option<usize>,
    /// Candidates that the search keeps. More: better recall, slower.
    pub ef: Option<usize>,
    /// The recall to reach instead of `ef`; the library must have been calibrated.
    pub recall: Option<f64>,
    /// Accepts documents by their metadata: `{"year": {"$gte": 2020}, "$or": [..]}`.
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Value>,
    /// The largest distance of an answer.
    pub radius: Option<f32>,
    /// Milliseconds that the search may take, its time in queues included. At the end it gives the answers found until then.
    pub timeout_ms: Option<u64>,
    /// Whether answers contain their documents.
    #[serde(default)]
    pub include: bool,
}

/// The same in the query of an address, for `GET` and for vectors in binary form.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SearchParams {
    /// The text, which is embedded.
    pub text: Option<String>,
    /// Answers, 10 if not said.
    pub k: Option<usize>,
    /// Candidates that the search keeps.
    pub ef: Option<usize>,
    /// The recall to reach instead of `ef`.
    pub recall: Option<f64>,
    /// The filter as JSON.
    pub filter: Option<String>,
    /// The largest distance of an answer.
    pub radius: Option<f32>,
    /// Milliseconds that the search may take.
    pub timeout_ms: Option<u64>,
    /// Whether answers contain their documents.
    #[serde(default)]
    pub include: bool,
}

impl SearchParams {
    /// Returns the search with a vector, or with the text of the parameters.
    ///
    /// # Errors
    ///
    /// 400 if the filter is no JSON.
    pub fn with(self, vector: Option<Vec<f32>>) -> Result<SearchRequest> {
        let Self { text, k, ef, recall, filter, radius, timeout_ms, include } = self;
        let filter = filter.map(|text| parse_filter(&text)).transpose()?;
        Ok(SearchRequest { vector, text, k, ef, recall, filter, radius, timeout_ms, include })
    }
}

/// Reads a filter in the query of an address.
///
/// # Errors
///
/// 400 if it is no JSON.
pub fn parse_filter(text: &str) -> Result<Value> {
    serde_json::from_str(text)
        .map_err(|error| Problem::malformed(format!("the filter is no JSON: {error}")))
}

/// Reads a vector in binary form: the components as little-endian `f32`.
///
/// # Errors
///
/// 400 if the bytes are no whole number of components.
pub fn binary(bytes: &[u8]) -> Result<Vec<f32>> {
    let (components, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        let detail = format!("a vector has 4 bytes a component, and the body has {}", bytes.len());
        return Err(Problem::malformed(detail));
    }
    Ok(components.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

/// A predicate, with its text as its identity.
#[derive(Debug, Clone)]
pub struct Filter {
    text: Arc<str>,
    predicate: Arc<Predicate>,
}

impl Filter {
    /// Reads a predicate.
    ///
    /// # Errors
    ///
    /// 422 with the place of the fault.
    pub fn read(json: &Value) -> Result<Self> {
        let predicate = Predicate::from_json(json)?;
        Ok(Self { text: predicate.to_string().into(), predicate: Arc::new(predicate) })
    }

    /// Returns the text, which is the same for the same predicate.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the predicate.
    pub fn predicate(&self) -> &Predicate {
        &self.predicate
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Filter {}

impl Hash for Filter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// The effort of a search; floats by their bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effort {
    /// That of the index.
    Default,
    /// A number of candidates.
    Ef(usize),
    /// A recall.
    Recall(u64),
}

/// The parameters of a search besides its vector. Searches with the same ones are answered together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// Answers.
    pub k: usize,
    /// The effort.
    pub effort: Effort,
    /// The bits of the radius.
    pub radius: Option<u32>,
    /// The filter.
    pub filter: Option<Filter>,
    /// Whether answers contain their documents.
    pub include: bool,
}

impl Wanted {
    /// Checks the parameters of a search.
    ///
    /// # Errors
    ///
    /// 422 with the value that is out of its range.
    pub fn of(request: &SearchRequest, limits: &Limits) -> Result<Self> {
        let default = if request.radius.is_some() { limits.max_k } else { 10.min(limits.max_k) };
        let k = request.k.unwrap_or(default);
        let within = |name: &str, value: usize| {
            let most = limits.max_k.saturating_mul(16);
            let most = if name == "k" { limits.max_k } else { most };
            if (1..=most).contains(&value) {
                return Ok(value);
            }
            Err(Problem::invalid(format!("`{name}` is {value}, and 1 to {most} are allowed")))
        };
        within("k", k)?;
        let effort = match (request.ef, request.recall) {
            (Some(_), Some(_)) => {
                return Err(Problem::invalid("`ef` and `recall` exclude one another; send one"));
            }
            (Some(ef), None) => Effort::Ef(within("ef", ef)?),
            (None, Some(recall)) if recall > 0.0 && recall <= 1.0 => {
                Effort::Recall(recall.to_bits())
            }
            (None, Some(recall)) => {
                return Err(Problem::invalid(format!(
                    "`recall` is {recall}, and a number above 0 and up to 1 is allowed"
                )));
            }
            (None, None) => Effort::Default,
        };
        if request.radius.is_some_and(f32::is_nan) {
            return Err(Problem::invalid("`radius` is no number"));
        }
        let filter = request.filter.as_ref().map(Filter::read).transpose()?;
        let radius = request.radius.map(f32::to_bits);
        Ok(Self { k, effort, radius, filter, include: request.include })
    }
}

/// Sets the parameters of a search of a view, or of a batch of searches: all but the filter.
macro_rules! tuned {
    ($search:expr, $view:expr, $wanted:expr) => {{
        let search = $search.k($wanted.k);
        let search = match ($view.candidates(), $wanted.effort) {
            (Some(all), _) => search.ef(all),
            (None, $crate::search::Effort::Default) => search,
            (None, $crate::search::Effort::Ef(ef)) => search.ef(ef),
            (None, $crate::search::Effort::Recall(bits)) => search.recall(f64::from_bits(bits)),
        };
        match $wanted.radius {
            Some(bits) => search.within(f32::from_bits(bits)),
            None => search,
        }
    }};
}
pub(crate) use tuned;

/// An answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Found {
    /// The id of the document.
    pub id: String,
    /// Its distance from the query, in the unit of the metric.
    pub distance: f32,
    /// The document, if `include` is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub document: Option<Box<RawValue>>,
}

/// The answers of a search.
#[derive(Debug, Serialize, ToSchema)]
pub struct Answers {
    /// The answers, the nearest first.
    pub hits: Vec<Found>,
    /// Whether the search ran to its end, and not to the end of its time.
    pub complete: bool,
    /// The commit that the answers have at least.
    pub commit: u64,
}

/// Returns the answers of hits. Those whose documents were removed meanwhile are left out.
///
/// # Errors
///
/// Those of the file.
pub fn found(records: &Records<'_>, hits: &[Hit], include: bool) -> Result<Vec<Found>> {
    let mut found = Vec::with_capacity(hits.len());
    for &Hit { key, distance } in hits {
        let Some(name) = records.name_of(key)? else { continue };
        let document = if include {
            let Some(payload) = records.payload(key)? else { continue };
            Some(raw(payload.to_vec())?)
        } else {
            None
        };
        let id = std::str::from_utf8(name).map_err(Problem::internal)?.to_owned();
        found.push(Found { id, distance, document });
    }
    Ok(found)
}
