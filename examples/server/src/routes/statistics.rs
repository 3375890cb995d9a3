//! The sizes of a library.

use axum::Json as JsonBody;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::Right;
use crate::extract::{Client, Path};
use crate::problem::{Problem, Result};
use crate::residency::residency;

/// The sizes of a library.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Statistics {
    /// Documents.
    documents: usize,
    /// Components of a vector.
    dimension: usize,
    /// The number of the last commit.
    commit: u64,
    /// Bits of the codes that walks read; missing without codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    code_bits: Option<u32>,
    /// Bytes of the index, mapped ones included.
    index_bytes: usize,
    /// Bytes of the file.
    file_bytes: u64,
    /// Bytes of the file that are mapped, and those of them that are in memory, where the system tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    mapped_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resident_bytes: Option<u64>,
    /// Bytes of the journal behind the last checkpoint.
    journal_bytes: u64,
    /// Commits of the store and waits for the disk since the library was opened.
    commits: u64,
    syncs: u64,
    /// Bytes written for each byte of vectors.
    write_amplification: f64,
    /// The kernel that computes distances.
    isa: String,
}

/// Tells the sizes of a library.
#[utoipa::path(get, path = "/v1/libraries/{library}/statistics", tag = "libraries", params(("library" = String, Path)),
    responses((status = 200, body = Statistics), (status = 404, body = Problem)))]
pub(super) async fn statistics(
    State(app): State<App>,
    client: Client,
    Path(name): Path<String>,
) -> Result<JsonBody<Statistics>> {
    let library = app.library(&client.caller, Right::Read, &name)?;
    let deadline = client.arrived + app.limits().timeout(None);
    let read = move || {
        let stats = library.collection().stats()?;
        let maps = residency(&library.file());
        Ok(Statistics {
            documents: stats.index.len,
            dimension: stats.index.dimension,
            commit: stats.commit,
            code_bits: stats.index.code_bits,
            index_bytes: stats.index.bytes.total(),
            file_bytes: stats.store.file_bytes,
            mapped_bytes: maps.map(|maps| maps.mapped),
            resident_bytes: maps.map(|maps| maps.resident),
            journal_bytes: stats.journal_bytes,
            commits: stats.store.commits,
            syncs: stats.store.syncs,
            write_amplification: stats.write_amplification(),
            isa: format!("{:?}", stats.index.isa),
        })
    };
    Ok(JsonBody(app.workers().run(deadline, read).await?))
}
