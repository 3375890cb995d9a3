//! One search.

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::json;
use crate::app::App;
use crate::auth::Right;
use crate::cache::Stored;
use crate::extract::{Client, Path, Sought};
use crate::problem::{Problem, Result};
use crate::search::{Answers, SearchParams, SearchRequest};

/// Searches a library. The body is JSON, or the vector as little-endian `f32` with the rest in the query of the address.
#[utoipa::path(post, path = "/v1/libraries/{library}/search", tag = "search",
    params(("library" = String, Path), SearchParams),
    request_body(content((SearchRequest = "application/json"), (Vec<u8> = "application/octet-stream"))),
    responses((status = 200, body = Answers), (status = 422, body = Problem), (status = 429, body = Problem),
        (status = 504, body = Problem)))]
pub(super) async fn post(
    State(app): State<App>,
    client: Client,
    Path(name): Path<String>,
    Sought(request): Sought,
) -> Result<Response> {
    let library = app.library(&client.caller, Right::Read, &name)?;
    let stored = app.search(&library, request, client.arrived).await?;
    Ok(response(&stored))
}

/// Searches a library by a text. With the `ETag` of an earlier answer in `If-None-Match` the response is 304 until the library changes.
#[utoipa::path(get, path = "/v1/libraries/{library}/search", tag = "search",
    params(("library" = String, Path), SearchParams),
    responses((status = 200, body = Answers), (status = 304), (status = 422, body = Problem), (status = 429, body = Problem)))]
pub(super) async fn get(
    State(app): State<App>,
    client: Client,
    Path(name): Path<String>,
    headers: HeaderMap,
    Sought(request): Sought,
) -> Result<Response> {
    let library = app.library(&client.caller, Right::Read, &name)?;
    let stored = app.search(&library, request, client.arrived).await?;
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_known = known.flat_map(|value| value.split(',')).any(|tag| tag.trim() == &*stored.etag);
    if is_known && stored.complete {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        tag(&mut response, &stored);
        return Ok(response);
    }
    Ok(response(&stored))
}

fn response(stored: &Stored) -> Response {
    let mut response = json(stored.json.clone());
    if stored.complete {
        tag(&mut response, stored);
    }
    response
}

/// Adds the tag: a client keeps the answer, and asks each time whether it is still the answer.
fn tag(response: &mut Response, stored: &Stored) {
    if let Ok(etag) = HeaderValue::from_str(&stored.etag) {
        response.headers_mut().insert(ETAG, etag);
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
}
