//! The export of a collection as lines.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use super::line;
use crate::attributes::Predicate;
use crate::collection::error::CollectionError;
use crate::collection::progress::{Callback, Progress};
use crate::collection::reading::Snapshot;
use crate::collection::records::ScrollCursor;
use crate::collection::writing::Collection;
use crate::index::CancelToken;

/// The result of [`Export::run`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportReport {
    /// Entries that were written, one a line.
    pub entries: u64,
    /// Bytes that were written.
    pub bytes: u64,
    /// The commit that the lines show.
    pub commit: u64,
    /// The position behind the last entry. `None` if no entry was written.
    pub last: Option<ScrollCursor>,
}

/// Entries that are to be written as lines of JSON. Made by [`Collection::export`]; nothing happens until [`run`](Self::run). Needs the feature
/// `json`.
#[derive(Clone, Copy)]
#[must_use = "nothing is written until `run` is called"]
pub struct Export<'a> {
    source: Source<'a>,
    predicate: Option<&'a Predicate>,
    after: Option<ScrollCursor>,
    progress: Option<&'a Callback<'a>>,
    cancel: Option<&'a CancelToken>,
}

#[derive(Clone, Copy)]
enum Source<'a> {
    Collection(&'a Collection),
    Snapshot(&'a Snapshot),
}

impl Collection {
    /// Returns an export of the newest commit as lines of JSON, an entry a line, ascending by key:
    ///
    /// ```json
    /// {"key":9223372036854775808,"name":"harbour","vector":[0.6,0.8],"attributes":{"year":2024},"payload":"a photograph"}
    /// ```
    ///
    /// Names and payloads that are no UTF-8 are members `name_base64` and `payload_base64`. Bits are numbers, too: 0 and 1. Floats are
    /// exact: [`import`](Self::import) reads the same bits, unless vectors were dropped or rounded beside codes, of which
    /// the export has the rounded ones. Names without a vector, and the settings of the collection, are not exported.
    ///
    /// ```
    /// # let folder = std::env::temp_dir().join(format!("nearfield-doc-export-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// use nearfield::{Collection, Metric, attributes};
    ///
    /// let films = Collection::builder(2, Metric::L2).create(folder.join("films.nf"))?;
    /// let mut tx = films.begin_write()?;
    /// tx.upsert(7, &[0.1, 0.25])?;
    /// tx.set(7, attributes! { "year" => 1927 })?;
    /// tx.put_payload(7, "Metropolis".as_bytes())?;
    /// tx.commit()?;
    /// let mut lines = Vec::new();
    /// films.export().run(&mut lines)?;
    /// assert_eq!(
    ///     String::from_utf8(lines.clone())?,
    ///     "{\"key\":7,\"vector\":[0.1,0.25],\"attributes\":{\"year\":1927},\"payload\":\"Metropolis\"}\n"
    /// );
    ///
    /// let copy = Collection::builder(2, Metric::L2).create(folder.join("copy.nf"))?;
    /// assert_eq!(copy.import().run(&lines[..])?.entries, 1);
    /// assert_eq!(copy.get(7), films.get(7));
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn export(&self) -> Export<'_> {
        Export::of(Source::Collection(self))
    }
}

impl Snapshot {
    /// As [`Collection::export`], of this commit.
    pub fn export(&self) -> Export<'_> {
        Export::of(Source::Snapshot(self))
    }
}

impl<'a> Export<'a> {
    fn of(source: Source<'a>) -> Self {
        Self { source, predicate: None, after: None, progress: None, cancel: None }
    }

    /// Writes only entries for which a predicate is true.
    pub fn matching(mut self, predicate: &'a Predicate) -> Self {
        self.predicate = Some(predicate);
        self
    }

    /// Begins behind a position: [`ExportReport::last`], or [`ScrollCursor::after`] the key of the last whole line that an export wrote
    /// before it failed.
    pub fn after(mut self, position: ScrollCursor) -> Self {
        self.after = Some(position);
        self
    }

    /// Sets a callback, called about a thousand times with the number of entries that are written and of all that are to be; both are equal
    /// at the end.
    pub fn progress(mut self, progress: &'a (dyn Fn(u64, u64) + Sync + 'a)) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Ends the export when [`CancelToken::cancel`] is called, with [`CollectionError::Cancelled`], behind a whole line.
    pub fn cancel(mut self, cancel: &'a CancelToken) -> Self {
        self.cancel = Some(cancel);
        self
    }

    /// Writes the lines, in pieces of some kilobytes.
    ///
    /// # Errors
    ///
    /// [`CollectionError::Lines`] if the writer fails, [`CollectionError::Attribute`] if the predicate is invalid, [`CollectionError::Cancelled`],
    /// and as [`Collection::snapshot`].
    pub fn run(self, writer: impl Write) -> Result<ExportReport, CollectionError> {
        match self.source {
            Source::Snapshot(snapshot) => self.write(snapshot, writer),
            Source::Collection(collection) => {
                let snapshot = collection.snapshot()?;
                self.write(&snapshot, writer).map_err(collection.inner.place())
            }
        }
    }

    fn write(
        &self,
        snapshot: &Snapshot,
        writer: impl Write,
    ) -> Result<ExportReport, CollectionError> {
        let entries = snapshot.entries_behind(self.predicate, self.after)?;
        let progress = Progress::new(self.progress, self.cancel);
        progress.expect(entries.size_hint().1.unwrap_or(0) as u64);
        let mut writer = BufWriter::new(writer);
        let mut report =
            ExportReport { entries: 0, bytes: 0, commit: snapshot.number(), last: None };
        let mut line = Vec::new();
        for entry in entries {
            if !progress.go_on(0) {
                flush(writer, report.entries)?;
                return Err(CollectionError::Cancelled);
            }
            let entry = entry?;
            line.clear();
            line::write(&entry, &mut line)?;
            writer.write_all(&line).map_err(failed(report.entries + 1))?;
            report.entries += 1;
            report.bytes += line.len() as u64;
            report.last = Some(ScrollCursor::after(entry.key));
            progress.go_on(1);
        }
        flush(writer, report.entries)?;
        progress.finish();
        Ok(report)
    }
}

fn flush<W: Write>(mut writer: BufWriter<W>, line: u64) -> Result<(), CollectionError> {
    writer.flush().map_err(failed(line))
}

/// Returns the error of a line that could not be read or written.
pub(super) fn failed(line: u64) -> impl Fn(io::Error) -> CollectionError {
    move |error| CollectionError::Lines { line, source: Arc::new(error) }
}

impl fmt::Debug for Export<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export")
            .field("predicate", &self.predicate)
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}
