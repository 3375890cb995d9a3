//! Libraries: made, listed, deleted, measured.

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::Right;
use crate::extract::{Client, Json, Path};
use crate::library::{Codes, Distance, IndexKind, Library, Shape};
use crate::problem::{Problem, Result};
use crate::shelf::check_name;
use crate::workers::run_beside;

/// A library to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLibrary {
    /// The name: `a-z`, `0-9`, `-` and `_`.
    name: String,
    /// Components of a vector; those of the embedder's vectors if not said.
    dimension: Option<usize>,
    /// The distance; the cosine if not said.
    metric: Option<Distance>,
    /// The kind of the index: `hnsw`, or `flat` for exact answers. `ivf` is refused.
    #[serde(default)]
    index: IndexKind,
    /// The codes of vectors.
    #[serde(default)]
    quantization: Codes,
}

/// A library.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Summary {
    name: String,
    dimension: usize,
    metric: Distance,
    index: IndexKind,
    quantization: Codes,
    /// Documents.
    documents: usize,
    /// The number of the last commit.
    commit: u64,
}

/// All libraries that the client may read.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Summaries {
    libraries: Vec<Summary>,
}

impl Summary {
    fn of(library: &Library) -> Self {
        let Shape { dimension, metric, index, quantization } = library.shape();
        Self {
            name: library.name().to_owned(),
            dimension,
            metric,
            index,
            quantization,
            documents: library.view().len(),
            commit: library.commit(),
        }
    }
}

/// Lists the libraries.
#[utoipa::path(get, path = "/v1/libraries", tag = "libraries", responses((status = 200, body = Summaries)))]
pub(super) async fn list(State(app): State<App>, client: Client) -> Result<JsonBody<Summaries>> {
    app.check_open()?;
    let all = app.shelf().all();
    let seen = all.iter().filter(|library| client.caller.may(Right::Read, library.name()));
    Ok(JsonBody(Summaries { libraries: seen.map(|library| Summary::of(library)).collect() }))
}

/// Makes a library.
#[utoipa::path(post, path = "/v1/libraries", tag = "libraries", request_body = NewLibrary,
    responses((status = 201, body = Summary), (status = 409, body = Problem), (status = 422, body = Problem),
        (status = 501, body = Problem, description = "an index that no file holds")))]
pub(super) async fn create(
    State(app): State<App>,
    client: Client,
    Json(new): Json<NewLibrary>,
) -> Result<impl IntoResponse> {
    app.check_open()?;
    check_name(&new.name)?;
    app.admit(&client.caller, Right::Admin, &new.name)?;
    let most = app.limits().max_dimension;
    let dimension = new.dimension.or_else(|| app.embedding().dimension());
    let dimension =
        dimension.filter(|dimension| (1..=most).contains(dimension)).ok_or_else(|| {
            Problem::invalid(format!("`dimension` is missing, or not from 1 to {most}"))
        })?;
    let metric = new.metric.unwrap_or(Distance::Cosine);
    let shape = Shape { dimension, metric, index: new.index, quantization: new.quantization };
    let shelf = Arc::clone(app.shelf());
    let library = run_beside(move || shelf.create(&new.name, shape)).await??;
    app.begin(Arc::clone(&library));
    let place = format!("/v1/libraries/{}", library.name());
    Ok((StatusCode::CREATED, [(LOCATION, place)], JsonBody(Summary::of(&library))))
}

/// Describes a library.
#[utoipa::path(get, path = "/v1/libraries/{library}", tag = "libraries", params(("library" = String, Path)),
    responses((status = 200, body = Summary), (status = 404, body = Problem)))]
pub(super) async fn get(
    State(app): State<App>,
    client: Client,
    Path(name): Path<String>,
) -> Result<JsonBody<Summary>> {
    let library = app.library(&client.caller, Right::Read, &name)?;
    Ok(JsonBody(Summary::of(&library)))
}

/// Deletes a library with all its documents.
#[utoipa::path(delete, path = "/v1/libraries/{library}", tag = "libraries", params(("library" = String, Path)),
    responses((status = 204), (status = 404, body = Problem)))]
pub(super) async fn delete(
    State(app): State<App>,
    client: Client,
    Path(name): Path<String>,
) -> Result<StatusCode> {
    let library = app.library(&client.caller, Right::Admin, &name)?;
    let shelf = Arc::clone(app.shelf());
    run_beside(move || shelf.delete(&name)).await??;
    library.writer.end();
    Ok(StatusCode::NO_CONTENT)
}

/// The recall that a search keeps.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Recalls {
    /// Answers that recall was measured for.
    k: usize,
    points: Vec<Recall>,
}

/// The recall of a number of candidates.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Recall {
    ef: usize,
    recall: f64,
}

/// Measures the recall of searches, so that they may ask for one. The measurement is lost with a restart.
#[utoipa::path(post, path = "/v1/libraries/{library}/calibrate", tag = "libraries", params(("library" = String, Path)),
    responses((status = 200, body = Recalls), (status = 409, body = Problem, description = "too few documents")))]
pub(super) async fn calibrate(
    State(app): State<App>,
    client: Client,
    Path(name): Path<String>,
) -> Result<JsonBody<Recalls>> {
    let library = app.library(&client.caller, Right::Write, &name)?;
    let deadline = client.arrived + app.limits().timeout(Some(u64::MAX));
    let measure = move || Ok(library.collection()?.calibrate().run()?);
    let measured = app.workers().run(deadline, measure).await?;
    let points = measured.points.iter().map(|point| Recall { ef: point.ef, recall: point.recall });
    Ok(JsonBody(Recalls { k: measured.k, points: points.collect() }))
}

/// A copy of a library.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Copied {
    /// The name of the copy, a folder in the folder of backups. The folder of data takes it as a library when the service is stopped.
    backup: String,
    /// Bytes of the copy.
    bytes: u64,
}

/// Copies the newest commit of a library into the folder that the operator chose. Requests go on meanwhile.
#[utoipa::path(post, path = "/v1/libraries/{library}/backup", tag = "libraries", params(("library" = String, Path)),
    responses((status = 201, body = Copied), (status = 404, body = Problem), (status = 429, body = Problem),
        (status = 501, body = Problem, description = "the operator chose no folder")))]
pub(super) async fn backup(
    State(app): State<App>,
    client: Client,
    Path(name): Path<String>,
) -> Result<impl IntoResponse> {
    let library = app.library(&client.caller, Right::Admin, &name)?;
    let made = run_beside(move || app.backups().make(&library)).await??;
    Ok((StatusCode::CREATED, JsonBody(Copied { backup: made.name, bytes: made.bytes })))
}
