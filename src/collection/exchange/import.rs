//! The import of lines into a collection.

use std::fmt;
use std::io::{BufRead, Read};

use super::export::failed;
use super::line::{read, refused};
use crate::collection::error::{CollectionError, LineFault};
use crate::collection::progress::Callback;
use crate::collection::writing::{Collection, NewEntry};
use crate::error::IndexError;
use crate::index::CancelToken;

/// Entries of a transaction, and bytes of a line, if the caller does not say.
const COMMIT_AFTER: usize = 10_000;
const LINE_LIMIT: usize = 32 << 20;

/// Bytes of lines at which a transaction ends before it has its number of entries.
const MOST_BYTES: usize = 64 << 20;

/// The result of [`Import::run`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ImportReport {
    /// Lines that were read, skipped and empty ones included.
    pub lines: u64,
    /// Entries that were committed.
    pub entries: u64,
    /// Transactions.
    pub commits: u64,
    /// Bytes that were read.
    pub bytes: u64,
}

/// Lines of JSON that are to become entries of a collection. Made by [`Collection::import`]; nothing happens until [`run`](Self::run). Needs the
/// feature `json`.
#[derive(Clone, Copy)]
#[must_use = "nothing is read until `run` is called"]
pub struct Import<'a> {
    collection: &'a Collection,
    skip: u64,
    commit_after: usize,
    line_limit: usize,
    progress: Option<&'a Callback<'a>>,
    cancel: Option<&'a CancelToken>,
}

impl Collection {
    /// Returns an import of lines of JSON, as [`export`](Self::export) writes them, an entry a line.
    ///
    /// - An entry replaces the one of its key, with its attributes and payload.
    /// - An entry with a name goes to the key of this name. A new name gets the entry's key if it has one and no vector or name
    ///   of this collection has this key; else the next that is free, as by
    ///   [`Transaction::name_or_insert`](crate::Transaction::name_or_insert).
    /// - The vector has a number for each component, for each bit if vectors are bits.
    /// - Lines are read before the transaction that takes them begins, and commits are of at most [`commit_after`](Import::commit_after)
    ///   entries, or 64 MiB of lines. An import that ends early leaves whole commits. Repeating it from the first line gives the same
    ///   entries; [`skip`](Import::skip) spares the lines that are committed.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("nearfield-doc-import-{}.nf", std::process::id()));
    /// use nearfield::{Collection, CollectionError, Metric};
    ///
    /// let words = Collection::builder(2, Metric::L2).create(&path)?;
    /// let lines = concat!(
    ///     r#"{"name": "harbour", "vector": [0.1, 0.9], "attributes": {"letters": 7}}"#, "\n",
    ///     r#"{"name": "quay", "vector": [0.2, 0.8], "payload": "a place to land"}"#, "\n",
    ///     r#"{"name": "pier", "vector": [0.3]}"#, "\n",
    /// );
    /// let refused = words.import().commit_after(1).run(lines.as_bytes()).unwrap_err();
    /// assert!(matches!(refused, CollectionError::Line { line: 3, committed: 2, .. }));
    ///
    /// let mended = lines.replace("[0.3]", "[0.3, 0.7]");
    /// let report = words.import().skip(2).run(mended.as_bytes())?;
    /// assert_eq!((report.lines, report.entries), (3, 1));
    /// assert!(words.key_of("pier")?.is_some() && words.len() == 3);
    /// # drop(words);
    /// # let _ = std::fs::remove_file(&path);
    /// # Ok::<(), CollectionError>(())
    /// ```
    pub fn import(&self) -> Import<'_> {
        Import {
            collection: self,
            skip: 0,
            commit_after: COMMIT_AFTER,
            line_limit: LINE_LIMIT,
            progress: None,
            cancel: None,
        }
    }
}

/// Lines that were read for the next transaction.
#[derive(Default)]
struct Batch {
    /// Numbers of lines, and their entries.
    entries: Vec<(u64, NewEntry)>,
    bytes: usize,
}

impl<'a> Import<'a> {
    /// Passes over the first lines: those that [`CollectionError::Line`] or the progress of an earlier import names as committed.
    pub fn skip(mut self, lines: u64) -> Self {
        self.skip = lines;
        self
    }

    /// Sets the number of entries of a transaction; 10,000 if not set.
    pub fn commit_after(mut self, entries: usize) -> Self {
        self.commit_after = entries;
        self
    }

    /// Sets the bytes that a line may have; 32 MiB if not set. A line that is read may take some thirty times its bytes of memory.
    pub fn line_limit(mut self, bytes: usize) -> Self {
        self.line_limit = bytes;
        self
    }

    /// Sets a callback, called after each commit with the number of lines from the first on whose entries are committed, and of bytes that were
    /// read. It may use the collection.
    pub fn progress(mut self, progress: &'a (dyn Fn(u64, u64) + Sync + 'a)) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Ends the import when [`CancelToken::cancel`] is called, with [`CollectionError::Cancelled`], before the next line or commit.
    pub fn cancel(mut self, cancel: &'a CancelToken) -> Self {
        self.cancel = Some(cancel);
        self
    }

    /// Reads the lines and commits their entries.
    ///
    /// # Errors
    ///
    /// [`CollectionError::Line`] for the first line that is no entry of this collection, with the number of lines that are committed;
    /// [`CollectionError::Lines`] if the reader fails, [`CollectionError::Cancelled`]; [`IndexError::Parameter`] if `commit_after` or `line_limit` is
    /// 0; as [`Collection::begin_write`] and [`Transaction::commit`](crate::Transaction::commit).
    pub fn run(self, mut reader: impl BufRead) -> Result<ImportReport, CollectionError> {
        for (name, value) in [("commit_after", self.commit_after), ("line_limit", self.line_limit)]
        {
            if value == 0 {
                let value = value.to_string();
                return Err(IndexError::Parameter { name, value, allowed: "1 or more" }.into());
            }
        }
        let mut report = ImportReport::default();
        let mut batch = Batch::default();
        let (mut line, mut committed) = (Vec::new(), 0);
        loop {
            if self.is_cancelled() {
                return Err(CollectionError::Cancelled);
            }
            let number = report.lines + 1;
            let refuse =
                |fault: LineFault| CollectionError::Line { line: number, committed, fault };
            let bytes = self.read_line(&mut reader, &mut line).map_err(failed(number))?;
            if bytes == 0 {
                break;
            }
            if line.len() > self.line_limit {
                return Err(refuse(LineFault::TooLong { max: self.line_limit }));
            }
            report.lines = number;
            report.bytes += bytes as u64;
            if number > self.skip && !line.trim_ascii().is_empty() {
                batch.entries.push((number, read(&line).map_err(refuse)?));
                batch.bytes += bytes;
            }
            if batch.entries.len() >= self.commit_after || batch.bytes >= MOST_BYTES {
                self.commit(&mut batch, committed, &mut report)?;
                committed = report.lines;
            }
        }
        if !batch.entries.is_empty() {
            self.commit(&mut batch, committed, &mut report)?;
        }
        Ok(report)
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_some_and(CancelToken::is_cancelled)
    }

    /// Reads a line without its end, or its beginning if it is too long. Returns the number of bytes.
    fn read_line(&self, reader: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<usize> {
        line.clear();
        let most = (self.line_limit as u64).saturating_add(2);
        let bytes = reader.by_ref().take(most).read_until(b'\n', line)?;
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        Ok(bytes)
    }

    /// Commits the entries that were read, of lines behind the first `committed`.
    fn commit(
        &self,
        batch: &mut Batch,
        mut committed: u64,
        report: &mut ImportReport,
    ) -> Result<(), CollectionError> {
        let Batch { entries, .. } = std::mem::take(batch);
        let mut left = entries.into_iter().peekable();
        while left.peek().is_some() {
            if self.is_cancelled() {
                return Err(CollectionError::Cancelled);
            }
            let mut tx = self.collection.begin_write()?;
            let mut count = 0;
            while let Some((line, entry)) = left.peek() {
                match tx.put(entry) {
                    Ok(_) => {}
                    // The limit of memory ends this transaction, and the next one has room.
                    Err(CollectionError::Memory { .. }) if count > 0 => break,
                    Err(error) => {
                        let fault = refused(error);
                        return Err(CollectionError::Line { line: *line, committed, fault });
                    }
                }
                count += 1;
                left.next();
            }
            tx.commit()?;
            report.commits += 1;
            report.entries += count;
            committed = left.peek().map_or(report.lines, |(line, _)| line - 1);
            if let Some(progress) = self.progress {
                progress(committed, report.bytes);
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Import<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import")
            .field("collection", self.collection)
            .field("skip", &self.skip)
            .field("commit_after", &self.commit_after)
            .field("line_limit", &self.line_limit)
            .finish_non_exhaustive()
    }
}
