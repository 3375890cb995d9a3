//! The parts of a request that handlers take; a request without them is refused with a problem document.

use std::net::SocketAddr;
use std::time::Instant;

use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};

use crate::app::App;
use crate::auth::Caller;
use crate::observe::Arrived;
use crate::problem::{Problem, Result};
use crate::search::{SearchParams, SearchRequest, binary};

/// A body of JSON.
#[derive(Debug, Clone, Copy, FromRequest)]
#[from_request(via(axum::Json), rejection(Problem))]
pub struct Json<T>(pub T);

/// The query of an address.
#[derive(Debug, Clone, Copy, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub struct Query<T>(pub T);

/// The names in a path.
#[derive(Debug, Clone, Copy, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub struct Path<T>(pub T);

/// The client, and the time at which its request came. A handler without this extractor is open to everyone.
#[derive(Debug, Clone)]
pub struct Client {
    /// The client.
    pub caller: Caller,
    /// The time.
    pub arrived: Instant,
}

impl FromRequestParts<App> for Client {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let caller = app.keys().caller(&parts.headers)?;
        let address = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let address = address.map(|ConnectInfo(address)| address.ip());
        app.rate().check(&caller, address.unwrap_or_else(|| [127, 0, 0, 1].into()))?;
        let arrived =
            parts.extensions.get::<Arrived>().map_or_else(Instant::now, |arrived| arrived.0);
        Ok(Self { caller, arrived })
    }
}

/// A search: JSON, or a vector in binary form with the rest in the query of the address, or a `GET` with everything there.
#[derive(Debug)]
pub struct Sought(pub SearchRequest);

impl FromRequest<App> for Sought {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self> {
        let is_binary = is_binary(request.headers());
        if request.method() == Method::POST && !is_binary {
            return Ok(Self(Json::from_request(request, app).await?.0));
        }
        let (mut parts, body) = request.into_parts();
        let params = Query::<SearchParams>::from_request_parts(&mut parts, app).await?.0;
        if parts.method == Method::GET {
            return Ok(Self(params.with(None)?));
        }
        let request = Request::from_parts(parts, body);
        let Binary(vector) = Binary::from_request(request, app).await?;
        Ok(Self(params.with(Some(vector))?))
    }
}

/// A vector in binary form.
#[derive(Debug)]
pub struct Binary(pub Vec<f32>);

impl FromRequest<App> for Binary {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self> {
        let bytes = axum::body::Bytes::from_request(request, app).await;
        let bytes = bytes.map_err(|rejection| match rejection.status().as_u16() {
            413 => Problem::too_large(rejection.body_text()),
            _ => Problem::malformed(rejection.body_text()),
        })?;
        Ok(Self(binary(&bytes)?))
    }
}

/// Returns whether the body is a vector in binary form.
pub fn is_binary(headers: &HeaderMap) -> bool {
    content_type(headers) == Some("application/octet-stream")
}

/// Returns the type of the body, without its parameters.
pub fn content_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').next().map(str::trim)
}
