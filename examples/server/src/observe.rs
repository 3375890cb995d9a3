//! Requests in metrics, in the log, and with an id.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use tracing::Instrument;
use uuid::Uuid;

use crate::app::App;
use crate::residency::resident_memory;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Bounds of the buckets of times, in seconds.
const SECONDS: [f64; 18] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1,
    0.2, 0.5, 1.0, 2.0, 5.0,
];

/// Bounds of the buckets of counts.
const COUNTS: [f64; 12] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 256.0, 1024.0, 4096.0, 16_384.0, 65_536.0];

/// Time after which the gauges of a library that was deleted vanish.
const IDLE: Duration = Duration::from_mins(1);

/// The time at which a request came: deadlines count from here.
#[derive(Debug, Clone, Copy)]
pub struct Arrived(pub Instant);

/// Starts the recorder of metrics, once for a process.
///
/// # Errors
///
/// Another recorder was started before.
pub fn recorder() -> Result<&'static PrometheusHandle, String> {
    static HANDLE: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    let start = || {
        let builder = PrometheusBuilder::new()
            .idle_timeout(MetricKindMask::GAUGE, Some(IDLE))
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .and_then(|builder| builder.set_buckets(&COUNTS));
        builder.and_then(PrometheusBuilder::install_recorder).map_err(|error| error.to_string())
    };
    HANDLE.get_or_init(start).as_ref().map_err(Clone::clone)
}

/// Moves recorded values into their buckets now and then, as long as the service runs.
pub async fn upkeep(handle: &'static PrometheusHandle) {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        handle.run_upkeep();
    }
}

/// Measures a request, and gives it an id.
pub async fn observe(mut request: Request, next: Next) -> Response {
    let arrived = Instant::now();
    request.extensions_mut().insert(Arrived(arrived));
    // The id of a client is taken if it is short and plain, as it comes back in a header and in the log.
    let id = request.headers().get(REQUEST_ID).filter(|id| {
        id.len() <= 64 && id.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
    });
    let id = id.cloned().or_else(|| HeaderValue::from_str(&Uuid::now_v7().to_string()).ok());
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let method = method(request.method().as_str());
    let span =
        tracing::info_span!("request", method, route, id = ?id, status = tracing::field::Empty);
    let in_flight = metrics::gauge!("server_requests_in_flight");
    in_flight.increment(1);
    let mut response = next.run(request).instrument(span.clone()).await;
    in_flight.decrement(1);
    let status = response.status().as_u16();
    span.record("status", status);
    let labels = [("route", route), ("method", method.to_owned()), ("status", status.to_string())];
    metrics::histogram!("server_request_seconds", &labels).record(arrived.elapsed());
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Returns the method as a label, of which a client cannot make new ones.
fn method(method: &str) -> &'static str {
    ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"]
        .into_iter()
        .find(|known| *known == method)
        .unwrap_or("other")
}

/// Sets the gauges that are read and not counted. Reads files of the system.
pub fn gauges(app: &App) {
    let set = |name: &'static str, library: &str, value: f64| {
        metrics::gauge!(name, "library" => library.to_owned()).set(value);
    };
    for library in app.shelf().all() {
        let name = library.name();
        set("server_documents", name, library.view().len() as f64);
        set("server_commit", name, library.commit() as f64);
        set("server_search_queue", name, library.gather.waiting() as f64);
        set("server_write_queue", name, library.writer.waiting() as f64);
        if let Ok(file) = std::fs::metadata(library.file()) {
            set("server_file_bytes", name, file.len() as f64);
        }
        if let Some(maps) = library.residency.of(&library.file()) {
            set("server_file_mapped_bytes", name, maps.mapped as f64);
            set("server_file_resident_bytes", name, maps.resident as f64);
        }
    }
    metrics::gauge!("server_worker_queue").set(app.workers().waiting() as f64);
    metrics::gauge!("server_workers_busy").set(app.workers().running() as f64);
    metrics::gauge!("server_result_cache_bytes").set(app.results().bytes() as f64);
    metrics::gauge!("server_uptime_seconds").set(app.started().elapsed().as_secs_f64());
    if let Some(bytes) = resident_memory() {
        metrics::gauge!("server_resident_bytes").set(bytes as f64);
    }
}
