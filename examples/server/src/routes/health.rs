//! Whether the service lives, whether it takes requests, and its measurements.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use crate::app::App;
use crate::auth::Right;
use crate::extract::Client;
use crate::observe::gauges;
use crate::problem::{Problem, Result};
use crate::workers::run_beside;

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200)))]
pub(super) async fn live() -> &'static str {
    "alive\n"
}

/// Whether the libraries are open.
#[utoipa::path(get, path = "/readyz", tag = "operation", responses((status = 200), (status = 503, body = Problem)))]
pub(super) async fn ready(State(app): State<App>) -> Result<&'static str> {
    app.check_open()?;
    Ok("ready\n")
}

/// The measurements, for Prometheus. With keys, one that reads all libraries is needed.
#[utoipa::path(get, path = "/metrics", tag = "operation", responses((status = 200, body = String)))]
pub(super) async fn metrics(State(app): State<App>, client: Client) -> Result<impl IntoResponse> {
    client.caller.check(Right::Read, "*")?;
    let text = run_beside(move || {
        gauges(&app);
        app.metrics().render()
    });
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text.await?))
}
