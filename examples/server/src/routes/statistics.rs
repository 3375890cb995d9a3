//! The sizes of a library.

use axum::Json as JsonBody;
use axum::extract::State;
use nearfield::Collection;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::Right;
use crate::extract::{Client, Path};
use crate::library::Library;
use crate::problem::{Problem, Result};

/// The sizes of a library.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Statistics {
    /// Whether another process writes the library, and this one only reads it.
    replica: bool,
    /// Documents.
    documents: usize,
    /// Components of a vector.
    dimension: usize,
    /// The number of the last commit.
    commit: u64,
    /// Bytes of the file.
    file_bytes: u64,
    /// Bytes of the file that are mapped, and those of them that are in memory, where the system tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    mapped_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resident_bytes: Option<u64>,
    /// The figures that the writer alone has.
    #[serde(flatten)]
    writer: Option<Writer>,
}

/// Figures that the writer of a library has.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Writer {
    /// Bits of the codes that walks read; missing without codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    code_bits: Option<u32>,
    /// Bytes of the index, mapped ones included.
    index_bytes: usize,
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

impl Statistics {
    /// Returns the sizes of a library. Blocks.
    fn of(library: &Library) -> Result<Self> {
        let maps = library.residency.of(&library.file());
        let writer = library.collection().ok().map(Writer::of).transpose()?;
        let view = library.view();
        Ok(Self {
            replica: writer.is_none(),
            documents: view.len(),
            dimension: library.shape().dimension,
            commit: view.commit(),
            file_bytes: std::fs::metadata(library.file()).map_err(Problem::internal)?.len(),
            mapped_bytes: maps.map(|maps| maps.mapped),
            resident_bytes: maps.map(|maps| maps.resident),
            writer,
        })
    }
}

impl Writer {
    fn of(collection: &Collection) -> Result<Self> {
        let stats = collection.stats()?;
        Ok(Self {
            code_bits: stats.index.code_bits,
            index_bytes: stats.index.bytes.total(),
            journal_bytes: stats.journal_bytes,
            commits: stats.store.commits,
            syncs: stats.store.syncs,
            write_amplification: stats.write_amplification(),
            isa: format!("{:?}", stats.index.isa),
        })
    }
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
    let read = move || Statistics::of(&library);
    Ok(JsonBody(app.workers().run(deadline, read).await?))
}
