//! Documents: the form that clients send, and the form that a library keeps.

use nearfield::Attributes;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::problem::{Problem, Result};

/// Bytes of an id, at most.
pub const MOST_ID_BYTES: usize = 512;

/// A document as a client sends it: an id, and a vector or a text.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDocument {
    /// Identifies the document in its library, and replaces one of the same id; the service makes one if it is missing.
    pub id: Option<String>,
    /// The title.
    pub title: Option<String>,
    /// The text, which is embedded if `vector` is missing: the title before it, if the document has one.
    pub text: Option<String>,
    /// The vector.
    #[serde(default, deserialize_with = "components")]
    pub vector: Option<Vec<f32>>,
    /// Values to filter by: numbers, texts, booleans, lists of texts, `{"$time": "2024-05-01T12:00:00Z"}`.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Value>,
}

/// The payload of a document: all but the vector, as JSON.
#[derive(Serialize)]
struct Payload<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Value>,
}

/// A document that can be written: everything was checked that does not need the library.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The id.
    pub id: String,
    /// The vector.
    pub vector: Vec<f32>,
    /// The metadata, indexed.
    pub attributes: Attributes,
    /// The payload.
    pub payload: Vec<u8>,
}

impl NewDocument {
    /// Returns the text that is embedded if the document has no vector.
    pub fn words(&self) -> Option<String> {
        match (&self.title, &self.text) {
            (Some(title), Some(text)) => Some(format!("{title} {text}")),
            (Some(words), None) | (None, Some(words)) => Some(words.clone()),
            (None, None) => None,
        }
    }

    /// Returns the document with its vector; `embed` makes one of a text.
    ///
    /// # Errors
    ///
    /// 422 for an id, metadata or a vector that no library takes, or a document without vector and text.
    pub fn prepare(
        mut self,
        dimension: usize,
        embed: impl FnOnce(&str) -> Result<Vec<f32>>,
    ) -> Result<Prepared> {
        let id = self.id.take().unwrap_or_else(|| Uuid::now_v7().to_string());
        check_id(&id)?;
        let attributes = match &self.metadata {
            Some(metadata) => Attributes::from_json(metadata)?,
            None => Attributes::new(),
        };
        let vector = match (self.vector.take(), self.words()) {
            (Some(vector), _) => vector,
            (None, Some(words)) => embed(&words)?,
            (None, None) => {
                return Err(Problem::invalid(
                    "the document has neither `vector` nor `text`; send one of them",
                ));
            }
        };
        check_vector(&vector, dimension)?;
        let payload = Payload {
            id: &id,
            title: self.title.as_deref(),
            text: self.text.as_deref(),
            metadata: self.metadata.as_ref(),
        };
        let payload = serde_json::to_vec(&payload).map_err(Problem::internal)?;
        Ok(Prepared { id, vector, attributes, payload })
    }
}

impl Prepared {
    /// Returns about the bytes of memory that the document takes.
    pub fn bytes(&self) -> usize {
        self.vector.len() * 4 + self.payload.len() * 2
    }
}

/// Reads the components of a vector. Numbers beyond `f32` become infinite, and [`check_vector`] names them.
///
/// # Errors
///
/// Those of the JSON.
pub fn components<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Vec<f32>>, D::Error> {
    let components: Option<Vec<f64>> = Deserialize::deserialize(json)?;
    Ok(components.map(|components| components.into_iter().map(|x| x as f32).collect()))
}

/// Checks the id of a document.
///
/// # Errors
///
/// 422 if it is empty, too long, or has control characters.
pub fn check_id(id: &str) -> Result<()> {
    if id.is_empty() || id.len() > MOST_ID_BYTES || id.chars().any(char::is_control) {
        return Err(Problem::invalid(format!(
            "an id has 1 to {MOST_ID_BYTES} bytes without control characters, and this one has {} bytes",
            id.len()
        )));
    }
    Ok(())
}

/// Checks the length and the components of a vector; the library itself checks its norm.
///
/// # Errors
///
/// 422 with the numbers that differ.
pub fn check_vector(vector: &[f32], dimension: usize) -> Result<()> {
    if vector.len() != dimension {
        return Err(Problem::invalid(format!(
            "the vector has {} components, and the library takes {dimension}",
            vector.len()
        )));
    }
    match vector.iter().position(|component| !component.is_finite()) {
        Some(at) => {
            Err(Problem::invalid(format!("component {at} of the vector is no finite number")))
        }
        None => Ok(()),
    }
}

/// Returns a payload as JSON that is written into responses as it is.
///
/// # Errors
///
/// 500 if the payload is no JSON.
pub fn raw(payload: Vec<u8>) -> Result<Box<RawValue>> {
    let text = String::from_utf8(payload).map_err(Problem::internal)?;
    RawValue::from_string(text).map_err(Problem::internal)
}
