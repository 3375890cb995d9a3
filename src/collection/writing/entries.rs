//! Entries and names of the newest commit.

use super::handle::Collection;
use crate::attributes::Predicate;
use crate::collection::error::CollectionError;
use crate::collection::reading::Entries;
use crate::collection::records::{Names, Page, ScrollCursor};

impl Collection {
    /// Returns all entries of the newest commit, ascending by key: vector, name, attributes and payload of each, of one moment. Takes a
    /// [`snapshot`](Self::snapshot), which the iterator keeps; entries are copies. [`Snapshot::entries`](crate::Snapshot::entries) copies
    /// neither names nor payloads.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("nearfield-doc-entries-{}.nf", std::process::id()));
    /// use nearfield::{Collection, Metric, attributes};
    ///
    /// let films = Collection::builder(2, Metric::L2).create(&path)?;
    /// let mut tx = films.begin_write()?;
    /// tx.upsert_batch(&[2, 1], &[[0.1, 0.0], [0.2, 0.0]])?;
    /// tx.set(1, attributes! { "year" => 1968 })?;
    /// tx.put_payload(2, b"Metropolis")?;
    /// tx.commit()?;
    /// for entry in films.entries()? {
    ///     let entry = entry?;
    ///     println!("{}: {:?} {:?} {:?}", entry.key, entry.vector, entry.attributes, entry.payload);
    /// }
    /// let keys: Vec<u64> = films.entries()?.map(|entry| entry.map(|entry| entry.key)).collect::<Result<_, _>>()?;
    /// assert_eq!(keys, [1, 2]);
    /// # drop(films);
    /// # let _ = std::fs::remove_file(&path);
    /// # Ok::<(), nearfield::CollectionError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`snapshot`](Self::snapshot).
    pub fn entries(&self) -> Result<Entries<'static>, CollectionError> {
        self.snapshot()?.into_entries().map_err(self.inner.place())
    }

    /// Returns the names of the newest commit with their keys, ascending by the bytes of the names. A name may have no vector yet.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`](crate::store::StoreError::Corrupt).
    pub fn names(&self) -> Result<Names<'static>, CollectionError> {
        Names::owned(self.inner.store.begin_read()?).map_err(self.inner.place())
    }

    /// Returns the number of keys for which a predicate is true, in the newest commit. Costs as much as [`matching`](Self::matching).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn count(&self, predicate: &Predicate) -> Result<usize, CollectionError> {
        Ok(self.matching(predicate)?.len())
    }

    /// Returns a page of the entries of the newest commit, ascending by key: of those for which a predicate is true, or of all. Begins behind
    /// `after`, or at the first entry, and has at most `limit` entries. [`ScrollCursor`] tells what a listing of several pages gives if the
    /// collection changes meanwhile.
    ///
    /// Besides its entries, a page costs a [`matching`](Self::matching), which is kept; without a predicate, the first page of a commit costs a
    /// pass over the keys, the second their sorting, and further ones nothing: the snapshot keeps the order, 8 bytes a vector.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("nearfield-doc-scroll-{}.nf", std::process::id()));
    /// use nearfield::{Collection, Metric, attributes};
    ///
    /// let films = Collection::builder(1, Metric::L2).create(&path)?;
    /// let mut tx = films.begin_write()?;
    /// for key in 0..10 {
    ///     tx.upsert(key, &[key as f32])?;
    ///     tx.set(key, attributes! { "year" => 2000 + key as i64 })?;
    /// }
    /// tx.commit()?;
    /// let recent = "year >= 2003".parse()?;
    /// let (mut after, mut pages) = (None, Vec::new());
    /// loop {
    ///     let page = films.scroll(Some(&recent), after, 3)?;
    ///     pages.push(page.entries.iter().map(|entry| entry.key).collect::<Vec<_>>());
    ///     let Some(next) = page.next else { break };
    ///     // A link to the next page has the position as text.
    ///     after = Some(next.to_string().parse()?);
    /// }
    /// assert_eq!(pages, [vec![3, 4, 5], vec![6, 7, 8], vec![9]]);
    /// # drop(films);
    /// # let _ = std::fs::remove_file(&path);
    /// # Ok::<(), nearfield::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`IndexError::Parameter`](crate::IndexError::Parameter) for a limit of 0, [`CollectionError::Attribute`] if the predicate is invalid, and as
    /// [`snapshot`](Self::snapshot).
    pub fn scroll(
        &self,
        predicate: Option<&Predicate>,
        after: Option<ScrollCursor>,
        limit: usize,
    ) -> Result<Page<'static>, CollectionError> {
        let snapshot = self.snapshot()?;
        let page = snapshot.scroll(predicate, after, limit).map_err(self.inner.place())?;
        Ok(page.into_owned())
    }
}
