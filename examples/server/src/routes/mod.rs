//! The paths of the service.

mod batch;
mod bulk;
mod documents;
mod health;
mod libraries;
mod pages;
mod search;
mod statistics;
mod stream;

use std::any::Any;

use axum::extract::DefaultBodyLimit;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, Predicate, SizeAbove};
use utoipa::OpenApi;
use utoipa_swagger_ui::SwaggerUi;

use crate::app::App;
use crate::observe::observe;
use crate::problem::Problem;

/// Bytes of a response below which compression costs more than it saves.
const SMALL: u64 = 4096;

/// The description of the interface, at `/openapi.json` and, for people, at `/docs`.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "nearfield server",
        description = "Libraries of documents, found by the nearness of their vectors."
    ),
    paths(
        libraries::list,
        libraries::create,
        libraries::get,
        libraries::delete,
        libraries::calibrate,
        libraries::backup,
        documents::put,
        documents::add,
        documents::list,
        documents::get,
        documents::delete,
        documents::delete_where,
        bulk::load,
        search::post,
        search::get,
        stream::stream,
        batch::batch,
        statistics::statistics,
        health::live,
        health::ready,
        health::metrics,
    )
)]
struct Description;

/// Returns the service.
pub fn router(app: App) -> Router {
    let limits = app.limits();
    let library = Router::new()
        .route("/", get(libraries::get).delete(libraries::delete))
        .route("/calibrate", post(libraries::calibrate))
        .route("/backup", post(libraries::backup))
        .route(
            "/documents",
            get(documents::list).post(documents::add).delete(documents::delete_where),
        )
        .route("/documents/bulk", post(bulk::load).layer(DefaultBodyLimit::disable()))
        .route("/documents/{id}", get(documents::get).put(documents::put).delete(documents::delete))
        .route("/search", post(search::post).get(search::get))
        .route("/search/stream", post(stream::stream))
        .route("/batch", post(batch::batch))
        .route("/statistics", get(statistics::statistics));
    let small = DefaultPredicate::new().and(SizeAbove::new(SMALL));
    Router::new()
        .route("/", get(pages::index))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/v1/libraries", get(libraries::list).post(libraries::create))
        .nest("/v1/libraries/{library}", library)
        .merge(SwaggerUi::new("/docs").url("/openapi.json", Description::openapi()))
        .fallback(|| async { Problem::missing("the service has no such path; `/docs` lists them") })
        .method_not_allowed_fallback(|| async {
            Problem::method("`/docs` lists the methods of each path")
        })
        .layer(DefaultBodyLimit::max(limits.body_bytes))
        .layer(CompressionLayer::new().compress_when(small))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(observe))
        .with_state(app)
}

/// Returns the response of a handler that panicked. The panic's text goes to the log alone.
#[expect(clippy::needless_pass_by_value, reason = "the form of a handler of panics")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    Problem::internal(text.unwrap_or("a handler panicked")).into_response()
}

/// Returns a response of JSON that is ready.
fn json(bytes: axum::body::Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], bytes).into_response()
}
