//! Several searches in one request.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::json;
use crate::app::App;
use crate::auth::Right;
use crate::extract::{Client, Json, Path};
use crate::problem::{Problem, Result};
use crate::search::{Answers, SearchRequest};

/// Searches of a request, at most.
const MOST: usize = 64;

/// Several searches.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Batch {
    /// Up to 64 searches.
    searches: Vec<SearchRequest>,
}

/// The result of each search, in their order: answers, or a problem.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Results {
    results: Vec<Outcome>,
}

/// Answers or a problem.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Outcome {
    /// Answers.
    #[schema(value_type = Answers)]
    Answers(Box<RawValue>),
    /// A problem.
    Problem(Problem),
}

/// Answers several searches.
#[utoipa::path(post, path = "/v1/libraries/{library}/batch", tag = "search", params(("library" = String, Path)),
    request_body = Batch, responses((status = 200, body = Results), (status = 422, body = Problem)))]
pub(super) async fn batch(
    State(app): State<App>,
    client: Client,
    Path(name): Path<String>,
    Json(Batch { searches }): Json<Batch>,
) -> Result<Response> {
    let library = app.library(&client.caller, Right::Read, &name)?;
    if searches.is_empty() || searches.len() > MOST {
        let detail = format!("a batch has 1 to {MOST} searches, and this one {}", searches.len());
        return Err(Problem::invalid(detail));
    }
    let searches = searches.into_iter().map(|search| {
        let (app, library) = (app.clone(), Arc::clone(&library));
        async move {
            let stored = app.search(&library, search, client.arrived).await;
            let answers = stored.and_then(|stored| crate::document::raw(stored.json.to_vec()));
            answers.map_or_else(Outcome::Problem, Outcome::Answers)
        }
    });
    let results = Results { results: join_all(searches).await };
    Ok(json(serde_json::to_vec(&results).map_err(Problem::internal)?.into()))
}
