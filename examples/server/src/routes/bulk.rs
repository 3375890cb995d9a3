//! Many documents at once: a stream of lines, each the JSON of a document.
//!
//! Lines are read as they come and committed in parts, so that memory does not grow with the body. A faulty line is reported with its number,
//! and the others are kept.

use axum::Json as JsonBody;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use futures_util::StreamExt;
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::Right;
use crate::document::{NewDocument, Prepared};
use crate::extract::{Client, Path, content_type};
use crate::library::Library;
use crate::problem::{Problem, Result};
use crate::writer::Change;

/// Documents and bytes of a part, about.
const PART: usize = 500;
const PART_BYTES: usize = 4 << 20;

/// Faults that a response names.
const SHOWN: usize = 100;

/// The result of a bulk load.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Loaded {
    /// Documents that were added or replaced, and that no crash can lose.
    documents: usize,
    /// Lines that were refused.
    refused: usize,
    /// The number of the last commit; missing if no document was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<u64>,
    /// The first hundred lines that were refused.
    errors: Vec<Fault>,
}

/// A line that was refused.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Fault {
    /// The number of the line, from 1.
    line: usize,
    detail: String,
}

/// Lines of a part: their numbers and texts.
type Lines = Vec<(usize, Vec<u8>)>;

struct Load {
    app: App,
    library: Arc<Library>,
    loaded: Loaded,
}

/// Adds many documents, each a line of JSON. Each part of some hundred lines is committed on its own.
#[utoipa::path(post, path = "/v1/libraries/{library}/documents/bulk", tag = "documents",
    params(("library" = String, Path)), request_body(content = String, content_type = "application/x-ndjson"),
    responses((status = 200, body = Loaded), (status = 413, body = Problem), (status = 415, body = Problem)))]
pub(super) async fn load(
    State(app): State<App>,
    client: Client,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<JsonBody<Loaded>> {
    let library = app.library(&client.caller, Right::Write, &name)?;
    if !matches!(content_type(&headers), Some("application/x-ndjson" | "application/jsonl")) {
        let detail = "send lines of JSON as `application/x-ndjson`";
        return Err(Problem::media_type(detail));
    }
    let mut load = Load { app, library, loaded: Loaded::default() };
    let most = load.app.limits().line_bytes;
    let (mut stream, mut rest, mut number) = (body.into_data_stream(), Vec::new(), 0);
    let (mut part, mut bytes) = (Lines::new(), 0);
    while let Some(chunk) = stream.next().await {
        let chunk: Bytes =
            chunk.map_err(|error| Problem::malformed(format!("the body broke off: {error}")))?;
        let mut left = &chunk[..];
        while let Some(end) = left.iter().position(|byte| *byte == b'\n') {
            rest.extend_from_slice(&left[..end]);
            left = &left[end + 1..];
            number += 1;
            bytes += rest.len();
            part.push((number, std::mem::take(&mut rest)));
            if part.len() >= PART || bytes >= PART_BYTES {
                load.write(std::mem::take(&mut part)).await?;
                bytes = 0;
            }
        }
        rest.extend_from_slice(left);
        if rest.len() > most {
            return Err(Problem::too_large(format!(
                "line {} has more than {most} bytes; {} documents before it are kept",
                number + 1,
                load.loaded.documents
            )));
        }
    }
    if !rest.is_empty() {
        part.push((number + 1, rest));
    }
    load.write(part).await?;
    Ok(JsonBody(load.loaded))
}

impl Load {
    /// Commits a part. A part waits for its turn as any other request does, from the time at which it is complete.
    async fn write(&mut self, lines: Lines) -> Result<()> {
        let (dimension, embedding) = (self.library.shape().dimension, self.app.embedding().clone());
        let deadline = Instant::now() + self.app.limits().timeout(Some(u64::MAX));
        let prepare = move || {
            let embed = |text: &str| Ok(embedding.embed(text, dimension, deadline)?.to_vec());
            let is_text = |line: &&(usize, Vec<u8>)| !line.1.trim_ascii().is_empty();
            let prepared = lines.iter().filter(is_text).map(|(number, line)| {
                let read = serde_json::from_slice::<NewDocument>(line);
                let document = read.map_err(|error| Problem::malformed(error.to_string()));
                (*number, document.and_then(|document| document.prepare(dimension, embed)))
            });
            Ok(prepared.collect::<Vec<_>>())
        };
        let prepared = self.app.workers().run(deadline, prepare).await?;
        let mut documents = Vec::with_capacity(prepared.len());
        for (line, document) in prepared {
            match document {
                Ok(document) => documents.push((line, document)),
                Err(problem) => self.refuse(line, &problem),
            }
        }
        self.commit(documents, deadline).await
    }

    async fn commit(&mut self, documents: Vec<(usize, Prepared)>, deadline: Instant) -> Result<()> {
        if documents.is_empty() {
            return Ok(());
        }
        let all = documents.iter().map(|(_, document)| document.clone()).collect();
        match self.library.writer.submit(Change::Put(all), deadline).await {
            Ok(done) => self.done(done.documents, done.commit),
            // The library refuses a vector: each document is tried, to find it.
            Err(problem) if problem.status().as_u16() == 422 => {
                for (line, document) in documents {
                    let one = Change::Put(vec![document]);
                    match self.library.writer.submit(one, deadline).await {
                        Ok(done) => self.done(done.documents, done.commit),
                        Err(problem) if problem.status().as_u16() == 422 => {
                            self.refuse(line, &problem);
                        }
                        Err(problem) => return Err(problem),
                    }
                }
            }
            Err(problem) => return Err(problem),
        }
        Ok(())
    }

    fn done(&mut self, documents: usize, commit: u64) {
        self.loaded.documents += documents;
        self.loaded.commit = Some(commit);
    }

    fn refuse(&mut self, line: usize, problem: &Problem) {
        self.loaded.refused += 1;
        if self.loaded.errors.len() < SHOWN {
            self.loaded.errors.push(Fault { line, detail: problem.detail().to_owned() });
        }
    }
}
