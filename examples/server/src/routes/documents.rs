//! Documents: added, listed, read, removed.

use std::sync::Arc;
use std::time::Instant;

use axum::Json as JsonBody;
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::json;
use crate::app::App;
use crate::auth::Right;
use crate::document::{NewDocument, Prepared, check_id, raw};
use crate::extract::{Binary, Client, Json, Path, Query, is_binary};
use crate::library::Library;
use crate::problem::{Problem, Result};
use crate::search::{Filter, parse_filter};
use crate::writer::Change;

/// Documents of a page of a list, if the client says no number, and at most.
const PAGE: usize = 100;
const MOST_PAGE: usize = 1_000;

/// A change that no crash can lose.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Written {
    /// The id of the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Documents that were added, replaced or removed.
    documents: usize,
    /// The number of the commit.
    commit: u64,
}

/// Embeds and checks a document, off the reactor.
pub(super) async fn prepare(
    app: &App,
    library: &Library,
    document: NewDocument,
    deadline: Instant,
) -> Result<Prepared> {
    let dimension = library.shape().dimension;
    if document.vector.is_some() {
        return document
            .prepare(dimension, |_| Err(Problem::invalid("the document has no vector")));
    }
    let embedding = app.embedding().clone();
    let work = move || {
        let embed = |text: &str| Ok(embedding.embed(text, dimension, deadline)?.to_vec());
        document.prepare(dimension, embed)
    };
    app.workers().run(deadline, work).await
}

async fn write(
    app: &App,
    client: &Client,
    library: &Arc<Library>,
    document: NewDocument,
) -> Result<Response> {
    let deadline = client.arrived + app.limits().timeout(None);
    let document = prepare(app, library, document, deadline).await?;
    let id = document.id.clone();
    let done = library.writer.submit(Change::Put(vec![document]), deadline).await?;
    let written = Written { id: Some(id), documents: done.documents, commit: done.commit };
    Ok((StatusCode::CREATED, JsonBody(written)).into_response())
}

/// Adds a document, or replaces the one of the same id. When the response comes, no crash can lose it.
#[utoipa::path(post, path = "/v1/libraries/{library}/documents", tag = "documents", params(("library" = String, Path)),
    request_body = NewDocument,
    responses((status = 201, body = Written), (status = 422, body = Problem), (status = 429, body = Problem)))]
pub(super) async fn add(
    State(app): State<App>,
    client: Client,
    Path(name): Path<String>,
    Json(document): Json<NewDocument>,
) -> Result<Response> {
    let library = app.library(&client.caller, Right::Write, &name)?;
    write(&app, &client, &library, document).await
}

/// Adds the document of an id, or replaces it. The body is a document, or its vector as little-endian `f32`.
#[utoipa::path(put, path = "/v1/libraries/{library}/documents/{id}", tag = "documents",
    params(("library" = String, Path), ("id" = String, Path)),
    request_body(content((NewDocument = "application/json"), (Vec<u8> = "application/octet-stream"))),
    responses((status = 201, body = Written), (status = 422, body = Problem), (status = 429, body = Problem)))]
pub(super) async fn put(
    State(app): State<App>,
    client: Client,
    Path((name, id)): Path<(String, String)>,
    request: Request,
) -> Result<Response> {
    let library = app.library(&client.caller, Right::Write, &name)?;
    let mut document = if is_binary(request.headers()) {
        let Binary(vector) = Binary::from_request(request, &app).await?;
        NewDocument { vector: Some(vector), ..NewDocument::default() }
    } else {
        Json::from_request(request, &app).await?.0
    };
    if document.id.as_ref().is_some_and(|other| *other != id) {
        return Err(Problem::invalid(
            "the id of the document is not that of the path; leave it out",
        ));
    }
    document.id = Some(id);
    write(&app, &client, &library, document).await
}

/// A page of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// Documents of the page, 100 if not said, 1,000 at most.
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Accepts documents by their metadata, as JSON.
    filter: Option<String>,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page {
    /// The documents, in the order in which their ids were first seen.
    #[schema(value_type = Vec<Object>)]
    documents: Vec<Box<RawValue>>,
    /// The cursor of the next page; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Lists documents.
#[utoipa::path(get, path = "/v1/libraries/{library}/documents", tag = "documents",
    params(("library" = String, Path), ListParams),
    responses((status = 200, body = Page), (status = 400, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn list(
    State(app): State<App>,
    client: Client,
    Path(name): Path<String>,
    Query(params): Query<ListParams>,
) -> Result<Response> {
    let library = app.library(&client.caller, Right::Read, &name)?;
    let limit = params.limit.unwrap_or(PAGE);
    if !(1..=MOST_PAGE).contains(&limit) {
        return Err(Problem::invalid(format!(
            "`limit` is {limit}, and 1 to {MOST_PAGE} are allowed"
        )));
    }
    let first = match &params.cursor {
        Some(cursor) => u64::from_str_radix(cursor, 16)
            .map_err(|_| Problem::malformed("`cursor` is not `next` of a page of this list"))?,
        None => 0,
    };
    let filter = params.filter.as_deref().map(parse_filter).transpose()?;
    let filter = filter.as_ref().map(Filter::read).transpose()?;
    let deadline = client.arrived + app.limits().timeout(None);
    let page = move || page(&library, filter.as_ref(), first, limit);
    let page = app.workers().run(deadline, page).await?;
    Ok(json(serde_json::to_vec(&page).map_err(Problem::internal)?.into()))
}

fn page(library: &Library, filter: Option<&Filter>, first: u64, limit: usize) -> Result<Page> {
    let view = library.view();
    let selection = library.matching(&view, filter)?;
    let records = view.records()?;
    let mut keys = selection.iter_from(first);
    let mut documents = Vec::new();
    for key in keys.by_ref() {
        // A document that was removed meanwhile has no payload.
        if let Some(payload) = records.payload(key)? {
            documents.push(raw(payload.to_vec())?);
        }
        if documents.len() == limit {
            break;
        }
    }
    let next = keys.next().map(|key| format!("{key:x}"));
    Ok(Page { documents, next })
}

/// A document with its vector.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Whole {
    #[schema(value_type = Object)]
    document: Box<RawValue>,
    /// The vector, as the library keeps it.
    vector: Vec<f32>,
}

/// Reads a document.
#[utoipa::path(get, path = "/v1/libraries/{library}/documents/{id}", tag = "documents",
    params(("library" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = Whole), (status = 404, body = Problem)))]
pub(super) async fn get(
    State(app): State<App>,
    client: Client,
    Path((name, id)): Path<(String, String)>,
) -> Result<JsonBody<Whole>> {
    let library = app.library(&client.caller, Right::Read, &name)?;
    check_id(&id)?;
    let deadline = client.arrived + app.limits().timeout(None);
    let read = move || {
        let view = library.view();
        let records = view.records()?;
        let key = records.key_of(&id)?;
        let payload = key.map(|key| records.payload(key)).transpose()?.flatten();
        let vector = key.and_then(|key| view.vector(key));
        match (payload, vector) {
            (Some(payload), Some(vector)) => Ok(Whole { document: raw(payload.to_vec())?, vector }),
            _ => Err(unknown(&id)),
        }
    };
    Ok(JsonBody(app.workers().run(deadline, read).await?))
}

/// Removes a document.
#[utoipa::path(delete, path = "/v1/libraries/{library}/documents/{id}", tag = "documents",
    params(("library" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = Written), (status = 404, body = Problem)))]
pub(super) async fn delete(
    State(app): State<App>,
    client: Client,
    Path((name, id)): Path<(String, String)>,
) -> Result<JsonBody<Written>> {
    let library = app.library(&client.caller, Right::Write, &name)?;
    check_id(&id)?;
    let deadline = client.arrived + app.limits().timeout(None);
    let done = library.writer.submit(Change::Remove(vec![id.clone()]), deadline).await?;
    if done.documents == 0 {
        return Err(unknown(&id));
    }
    Ok(JsonBody(Written { id: Some(id), documents: done.documents, commit: done.commit }))
}

/// A removal by metadata.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Removal {
    /// Accepts the documents to remove. The empty object accepts all.
    #[schema(value_type = Object)]
    filter: Value,
}

/// Removes the documents that a filter accepts.
#[utoipa::path(delete, path = "/v1/libraries/{library}/documents", tag = "documents", params(("library" = String, Path)),
    request_body = Removal, responses((status = 200, body = Written), (status = 422, body = Problem)))]
pub(super) async fn delete_where(
    State(app): State<App>,
    client: Client,
    Path(name): Path<String>,
    Json(Removal { filter }): Json<Removal>,
) -> Result<JsonBody<Written>> {
    let library = app.library(&client.caller, Right::Write, &name)?;
    let filter = Filter::read(&filter)?;
    let deadline = client.arrived + app.limits().timeout(None);
    let change = Change::RemoveWhere(filter.predicate().clone());
    let done = library.writer.submit(change, deadline).await?;
    Ok(JsonBody(Written { id: None, documents: done.documents, commit: done.commit }))
}

fn unknown(id: &str) -> Problem {
    let shown: String = id.chars().take(64).collect();
    Problem::missing(format!("the library has no document {shown:?}"))
}
