//! Errors of the service, as problem documents (RFC 9457).
//!
//! A client sees the kind of a fault and the remedy. Paths, addresses and the text of an error of the system go to the log alone.

use std::borrow::Cow;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nearfield::attributes::AttributeError;
use nearfield::{CollectionError, ErrorKind, IndexError};
use serde::Serialize;
use utoipa::ToSchema;

/// A problem document.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// Identifies the kind of the problem, for programs.
    #[serde(rename = "type")]
    kind: Cow<'static, str>,
    /// The kind of the problem, for people.
    title: &'static str,
    /// The status code of the response.
    status: u16,
    /// The values that were refused, and the remedy.
    detail: String,
    /// Seconds after which the request may succeed.
    #[serde(skip)]
    retry_after: Option<u64>,
}

/// The result of a handler.
pub type Result<T, E = Problem> = std::result::Result<T, E>;

/// Defines the kinds of problems: constructor, status, and last part of the `type`.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident: $status:ident, $slug:literal, $title:literal;)*) => {
        $($(#[$doc])* pub fn $name(detail: impl Into<String>) -> Self {
            Self {
                kind: Cow::Borrowed(concat!("urn:nearfield:", $slug)),
                title: $title,
                status: StatusCode::$status.as_u16(),
                detail: detail.into(),
                retry_after: None,
            }
        })*
    };
}

impl Problem {
    kinds! {
        /// Returns the problem of a body, a query or a path that cannot be read.
        malformed: BAD_REQUEST, "malformed", "The request cannot be read";
        /// Returns the problem of a request without a valid key.
        unauthorized: UNAUTHORIZED, "unauthorized", "A valid API key is missing";
        /// Returns the problem of a key that lacks the right.
        forbidden: FORBIDDEN, "forbidden", "The API key lacks the right";
        /// Returns the problem of a change that a replica is asked for.
        refused: FORBIDDEN, "read-only", "The service is a replica";
        /// Returns the problem of a library, a document or a path that does not exist.
        missing: NOT_FOUND, "not-found", "Not found";
        /// Returns the problem of a method that the path does not have.
        method: METHOD_NOT_ALLOWED, "method-not-allowed", "The path has no such method";
        /// Returns the problem of a name that is taken.
        exists: CONFLICT, "already-exists", "The name is taken";
        /// Returns the problem of a library that lacks a measurement.
        not_ready: CONFLICT, "not-calibrated", "Recall was not measured";
        /// Returns the problem of a body that is too large.
        too_large: PAYLOAD_TOO_LARGE, "too-large", "The body is too large";
        /// Returns the problem of a body of an unknown type.
        media_type: UNSUPPORTED_MEDIA_TYPE, "media-type", "The body has an unknown type";
        /// Returns the problem of values out of their range.
        invalid: UNPROCESSABLE_ENTITY, "invalid", "A value is out of its range";
        /// Returns the problem of a kind of index that no file holds.
        unsupported: NOT_IMPLEMENTED, "not-supported", "Not supported";
        /// Returns the problem of a service that begins or ends, or of a library that failed.
        unavailable: SERVICE_UNAVAILABLE, "unavailable", "Not available";
        /// Returns the problem of a request that ran out of time before its work began.
        late: GATEWAY_TIMEOUT, "deadline", "The time of the request is over";
        /// Returns the problem of a full disk.
        disk_full: INSUFFICIENT_STORAGE, "disk-full", "The disk is full";
    }

    /// Returns the problem of a change that a replica is asked for.
    pub fn read_only() -> Self {
        Self::refused("the service is a replica, which only reads; send changes to the writer")
    }

    /// Returns the problem of a full queue.
    pub fn busy() -> Self {
        let detail = "the queue of requests is full; send the request again";
        Self { retry_after: Some(1), ..Self::too_many(detail) }
    }

    /// Returns the problem of a backup while another one is made.
    pub fn backing_up() -> Self {
        let detail = "another backup is made; send the request again when it is there";
        Self { retry_after: Some(10), ..Self::too_many(detail) }
    }

    /// Returns the problem of a client that sends too many requests.
    pub fn rate(seconds: u64) -> Self {
        let detail = "the client sends more requests than its rate allows; wait";
        Self { retry_after: Some(seconds.max(1)), ..Self::too_many(detail) }
    }

    fn too_many(detail: &str) -> Self {
        Self {
            kind: Cow::Borrowed("urn:nearfield:too-many-requests"),
            title: "Too many requests",
            status: StatusCode::TOO_MANY_REQUESTS.as_u16(),
            detail: detail.to_owned(),
            retry_after: None,
        }
    }

    /// Returns the problem of a fault of the service; `cause` goes to the log alone.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        Self {
            kind: Cow::Borrowed("urn:nearfield:internal"),
            title: "The service failed",
            status: StatusCode::INTERNAL_SERVER_ERROR.as_u16(),
            detail: "the service could not answer; its log has the cause".to_owned(),
            retry_after: None,
        }
    }

    /// Returns the status code.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Returns the detail.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    fn of(kind: ErrorKind, text: String) -> Self {
        match kind {
            ErrorKind::InvalidInput | ErrorKind::LimitReached => Self::invalid(text),
            ErrorKind::NotReady => Self::not_ready(text),
            ErrorKind::DiskFull => {
                tracing::error!(cause = text, "the disk is full");
                Self::disk_full("the disk has no room; remove documents, or make room")
            }
            ErrorKind::Poisoned | ErrorKind::OutOfMemory => {
                tracing::error!(cause = text, "a library failed");
                Self::unavailable("the library takes no requests until the service is started anew")
            }
            _ => Self::internal(text),
        }
    }
}

impl From<CollectionError> for Problem {
    fn from(error: CollectionError) -> Self {
        Self::of(error.kind(), error.to_string())
    }
}

impl From<IndexError> for Problem {
    fn from(error: IndexError) -> Self {
        Self::of(error.kind(), error.to_string())
    }
}

impl From<AttributeError> for Problem {
    fn from(error: AttributeError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        match rejection.status() {
            StatusCode::UNPROCESSABLE_ENTITY => Self::invalid(rejection.body_text()),
            StatusCode::PAYLOAD_TOO_LARGE => Self::too_large(rejection.body_text()),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::media_type(rejection.body_text()),
            _ => Self::malformed(rejection.body_text()),
        }
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::malformed(rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::malformed(rejection.body_text())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, retry_after) = (self.status(), self.retry_after);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
