//! One collection from several that were built apart.
//!
//! A merge sorts the inputs by size and a hash of their columns, so that the caller's order has no influence, and selects vectors by
//! the rule for keys that occur twice. `index/hnsw/merge.rs` and `graph/merge/` do the rest; the bytes of the result do not depend on the
//! number of threads.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::{ThreadPool, ThreadPoolBuilder};
use xxhash_rust::xxh3::Xxh3;

use crate::arena::Slot;
use crate::attributes::Schema;
use crate::collection::attributes::{Pending, encode_named, for_each};
use crate::collection::builder::{alpha_text, codes_text, same};
use crate::collection::columns::{write_columns, write_settings};
use crate::collection::error::CollectionError;
use crate::collection::format::{
    FIRST_NAMED, KEYS_OF_NAMES, NAMES_OF_KEYS, PAYLOADS, check_byte_order,
};
use crate::collection::progress::{Callback, Progress};
use crate::collection::reading::Snapshot;
use crate::collection::saving::replace_file;
use crate::collection::writing::Collection;
use crate::error::IndexError;
use crate::index::{CancelToken, GraphSettings, Hnsw, Image, Part, Settings, Stored};
use crate::store::ReadTransaction;

/// The rule for a key, or a name, that several inputs have with another vector or payload. The order of the inputs does not matter
/// under either rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ConflictRule {
    /// The merge is refused, and the key is named.
    #[default]
    Refuse,
    /// The entry with the greatest payload, compared byte by byte, replaces the others; a missing payload is less than any. If payloads
    /// are equal, the stored bytes of the vectors are compared, then those of the attributes. A payload that begins with
    /// a time in big-endian bytes makes this the newest.
    GreatestPayload,
}

/// The result of [`MergeBuilder::run`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MergeReport {
    /// Vectors of the merged collection.
    pub vectors: u64,
    /// Entries that others with the same key replaced, or that occurred more than once.
    pub superseded: u64,
}

/// Collections that are to become one. Made by [`Collection::merge`]; nothing happens until [`run`](Self::run).
#[must_use = "nothing is merged until `run` is called"]
pub struct MergeBuilder<'a> {
    inputs: &'a [Snapshot],
    path: PathBuf,
    rule: ConflictRule,
    threads: Option<usize>,
    pool: Option<&'a ThreadPool>,
    progress: Option<&'a Callback<'a>>,
    cancel: Option<&'a CancelToken>,
}

impl Collection {
    /// Makes one collection at `path` of several that were built apart: on other machines, by other processes, for other parts of the data.
    ///
    /// It costs a fraction of building it anew: the graphs are laid side by side, each vector searches the other graphs from the
    /// results of its neighbours, and chooses its links again.
    ///
    /// - The inputs have one dimension, metric, element type, `m`, `alpha` and quantization. The merged collection has
    ///   the greatest `ef_construction` and the least seed of them.
    /// - A key that only one input has keeps its vector, payload and attributes. If several have it, see [`ConflictRule`]; entries that are
    ///   equal in every byte are one entry. Removed vectors are not copied.
    /// - Names are compared as names, not by their keys, which each collection gave on its own: the merged collection gives them anew,
    ///   from 2^63 on in the order of the names, skipping numbers that are taken. Names without a vector are not copied.
    /// - Tables of your own records ([`Transaction::table`](crate::Transaction::table)) are not copied.
    /// - If all inputs have the same quantizer, codes are copied. Else a new quantizer is trained on all vectors, or, if originals were
    ///   dropped, the quantizer of most vectors is kept.
    /// - The same inputs make the same bytes, in any order and with any number of threads. An input whose journal is not empty
    ///   applied it when the snapshot was opened, on several threads, which is not the same graph each time: close or checkpoint it before.
    ///
    /// The merged vectors and graph are held in memory until they are written; the inputs stay where they are.
    ///
    /// ```
    /// # let folder = std::env::temp_dir().join(format!("nearfield-doc-merge-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// use nearfield::{Collection, Metric};
    ///
    /// let mut parts = Vec::new();
    /// for (part, key) in [(1, 10), (2, 20)] {
    ///     let path = folder.join(format!("part-{part}.nf"));
    ///     let collection = Collection::builder(2, Metric::L2).open(path)?;
    ///     let mut tx = collection.begin_write()?;
    ///     tx.upsert(key, &[key as f32, 1.0])?;
    ///     tx.commit()?;
    ///     collection.checkpoint()?;
    ///     parts.push(collection.snapshot()?);
    /// }
    /// let path = folder.join("whole.nf");
    /// let merged = Collection::merge(&parts, &path).run()?;
    /// assert_eq!(merged.vectors, 2);
    ///
    /// let whole = Collection::open(&path)?;
    /// assert_eq!(whole.search(&[19.0, 1.0]).k(1).run()?[0].key, 20);
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn merge(inputs: &[Snapshot], path: impl AsRef<Path>) -> MergeBuilder<'_> {
        MergeBuilder {
            inputs,
            path: path.as_ref().to_owned(),
            rule: ConflictRule::default(),
            threads: None,
            pool: None,
            progress: None,
            cancel: None,
        }
    }
}

impl<'a> MergeBuilder<'a> {
    /// Sets the rule for a key that several inputs have; [`ConflictRule::Refuse`] if not set.
    pub fn rule(mut self, rule: ConflictRule) -> Self {
        self.rule = rule;
        self
    }

    /// Sets the number of threads. If not set, the merge uses the rayon pool that the caller is in, or the global one.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Sets the rayon pool to use.
    pub fn pool(mut self, pool: &'a ThreadPool) -> Self {
        self.pool = Some(pool);
        self
    }

    /// Sets a callback, called from any of the threads with the number of finished searches and their total: one of each vector in each
    /// input before its own, on each level.
    pub fn progress(mut self, progress: &'a (dyn Fn(u64, u64) + Sync + 'a)) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Ends the merge when [`CancelToken::cancel`] is called, with [`CollectionError::Cancelled`]; the file at the path stays unchanged.
    pub fn cancel(mut self, cancel: &'a CancelToken) -> Self {
        self.cancel = Some(cancel);
        self
    }

    /// Merges. The new file replaces the file at the path only when it is whole and on the disk.
    ///
    /// # Errors
    ///
    /// [`CollectionError::Mismatch`] if the inputs' parameters differ, [`CollectionError::MergeConflict`],
    /// [`CollectionError::Cancelled`]; [`StoreError::Locked`](crate::store::StoreError::Locked) if a collection at the path is open for writing; [`StoreError::Io`](crate::store::StoreError::Io),
    /// [`StoreError::Corrupt`](crate::store::StoreError::Corrupt) and [`IndexError::OutOfMemory`]; [`IndexError::Parameter`] for zero
    /// inputs or threads.
    pub fn run(self) -> Result<MergeReport, CollectionError> {
        check_byte_order()?;
        let own = match self.threads {
            None => None,
            Some(0) => return Err(parameter("threads")),
            Some(threads) => {
                let pool = ThreadPoolBuilder::new().num_threads(threads).build();
                Some(pool.map_err(|e| IndexError::Threads { reason: e.to_string() })?)
            }
        };
        match own.as_ref().or(self.pool) {
            Some(pool) => pool.install(|| self.merge()),
            None => self.merge(),
        }
    }

    fn merge(&self) -> Result<MergeReport, CollectionError> {
        let inputs = in_order(self.inputs);
        let settings = common_settings(&inputs)?;
        let schema = common_schema(&inputs)?;
        let plan = Plan::of(&inputs, self.rule)?;
        let parts = plan.parts(&inputs);
        let sizes = parts.iter().map(|part| part.entries.len() as u64);
        let searches: u64 =
            (0..).zip(sizes).map(|(earlier, size): (u64, u64)| earlier * size).sum();
        let done = AtomicU64::new(0);
        let is_cancelled = || self.cancel.is_some_and(CancelToken::is_cancelled);
        let tick = |count: usize| {
            let done = done.fetch_add(count as u64, Ordering::Relaxed) + count as u64;
            if let Some(progress) = self.progress {
                // The searches of upper levels are not known before.
                progress(done.min(searches), searches);
            }
            !is_cancelled()
        };
        let index = Hnsw::merged(&settings, &parts, &tick)?.ok_or(CollectionError::Cancelled)?;
        let vectors = index.len() as u64;
        drop(parts);
        replace_file(&self.path, None, |store| {
            let mut tx = store.begin_write()?;
            write_settings(&mut tx, &settings, None)?;
            index.frozen(|image| write_columns(&mut tx, &image, 0, &Progress::default()))?;
            tx.table::<u64>(PAYLOADS)?.bulk_load_unsorted(plan.payloads(&inputs)?)?;
            if !plan.names.is_empty() {
                let named = || plan.names.iter().copied();
                let encoded: Vec<_> =
                    named().map(|(name, key)| (name, key.to_le_bytes())).collect();
                tx.table::<[u8]>(KEYS_OF_NAMES)?
                    .bulk_load(encoded.iter().map(|(name, key)| (*name, &key[..])))?;
                tx.table::<u64>(NAMES_OF_KEYS)?
                    .bulk_load(named().map(|(name, key)| (key, name)))?;
            }
            let mut attributes = plan.attributes(&inputs)?;
            if !schema.is_empty() {
                attributes.declare(&mut tx, &schema)?;
            }
            attributes.write(&mut tx)?;
            if is_cancelled() {
                return Err(CollectionError::Cancelled);
            }
            Ok(tx.commit()?)
        })?;
        Ok(MergeReport { vectors, superseded: plan.superseded })
    }
}

impl fmt::Debug for MergeBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MergeBuilder")
            .field("inputs", &self.inputs)
            .field("path", &self.path)
            .field("rule", &self.rule)
            .finish_non_exhaustive()
    }
}

fn parameter(name: &'static str) -> CollectionError {
    IndexError::Parameter { name, value: 0.to_string(), allowed: "1 or more" }.into()
}

/// Returns the inputs in an order that depends only on their content: the largest first.
fn in_order(inputs: &[Snapshot]) -> Vec<&Snapshot> {
    let mut sorted: Vec<&Snapshot> = inputs.iter().collect();
    sorted.sort_by_cached_key(|snapshot| (Reverse(snapshot.len()), content(snapshot.hnsw())));
    sorted
}

/// Returns a hash of all columns.
fn content(index: &Hnsw) -> u128 {
    index.frozen(|image: Image<'_>| {
        let mut hasher = Xxh3::new();
        let mut buffer = Vec::new();
        for &(number, column) in &image.columns {
            hasher.update(&number.to_le_bytes());
            for chunk in 0..column.chunks() {
                buffer.clear();
                column.copy(chunk, &mut buffer);
                hasher.update(&buffer);
            }
        }
        hasher.digest128()
    })
}

/// Returns the common settings of the inputs.
fn common_settings(inputs: &[&Snapshot]) -> Result<Settings, CollectionError> {
    let mut each = inputs.iter().map(|snapshot| *snapshot.settings());
    let mut common = each.next().ok_or_else(|| parameter("inputs"))?;
    for other in each {
        same("dimension", common.dimension, other.dimension, |v| v.to_string())?;
        same("metric", common.metric, other.metric, |v| v.to_string())?;
        same("element", common.element, other.element, |v| v.to_string())?;
        same("quantization", common.codes, other.codes, codes_text)?;
        if let (Some(common), Some(other)) = (&mut common.graph, other.graph) {
            let GraphSettings { m, ef_construction, seed, alpha } = other;
            same("m", common.m, m, |v| v.to_string())?;
            same("alpha", common.alpha, alpha, alpha_text)?;
            common.ef_construction = common.ef_construction.max(ef_construction);
            common.seed = common.seed.min(seed);
        }
    }
    Ok(common)
}

/// Returns the common schema of the inputs.
fn common_schema(inputs: &[&Snapshot]) -> Result<Schema, CollectionError> {
    let mut common = Schema::new();
    for (at, snapshot) in inputs.iter().enumerate() {
        let schema = snapshot.schema()?;
        if at > 0 && schema != common {
            let (stored, given) = (common.to_string(), schema.to_string());
            return Err(CollectionError::Mismatch { path: None, name: "schema", stored, given });
        }
        common = schema;
    }
    Ok(common)
}

/// An entry of an input.
#[derive(Debug, Clone, Copy)]
struct Entry {
    input: usize,
    slot: Slot,
    key: u64,
}

/// The entries of the inputs that are copied, and their new keys.
struct Plan<'a> {
    /// For each input, in the order of its slots: slot, key, and the vector's key in the merged collection.
    survivors: Vec<Vec<(Slot, u64, u64)>>,
    /// Names in ascending order with their new keys.
    names: Vec<(&'a [u8], u64)>,
    superseded: u64,
}

impl<'a> Plan<'a> {
    fn of(inputs: &[&'a Snapshot], rule: ConflictRule) -> Result<Self, CollectionError> {
        let mut plain: Vec<Entry> = Vec::new();
        let mut named: Vec<(&[u8], Entry)> = Vec::new();
        for (input, snapshot) in inputs.iter().enumerate() {
            let names = names(snapshot.store())?;
            for (slot, key) in snapshot.hnsw().occupied() {
                let entry = Entry { input, slot, key };
                match names.get(&key) {
                    Some(&name) => named.push((name, entry)),
                    None => plain.push(entry),
                }
            }
        }
        let count = plain.len() + named.len();
        plain.sort_unstable_by_key(|entry| (entry.key, entry.input));
        named.sort_unstable_by_key(|&(name, entry)| (name, entry.input));
        let mut survivors = vec![Vec::new(); inputs.len()];
        // In ascending order.
        let mut taken = Vec::new();
        for group in plain.chunk_by(|a, b| a.key == b.key) {
            let Entry { input, slot, key } = choose(inputs, group, None, rule)?;
            survivors[input].push((slot, key, key));
            if key >= FIRST_NAMED {
                taken.push(key);
            }
        }
        let mut free = (FIRST_NAMED..).filter(|key| taken.binary_search(key).is_err());
        let mut names = Vec::new();
        for group in named.chunk_by(|(a, _), (b, _)| a == b) {
            let name = group[0].0;
            let entries: Vec<Entry> = group.iter().map(|&(_, entry)| entry).collect();
            let Entry { input, slot, key } = choose(inputs, &entries, Some(name), rule)?;
            let full = CollectionError::Index(IndexError::Full { len: count });
            let new = free.next().ok_or(full)?;
            survivors[input].push((slot, key, new));
            names.push((name, new));
        }
        for list in &mut survivors {
            list.sort_unstable();
        }
        let superseded = (count - survivors.iter().map(Vec::len).sum::<usize>()) as u64;
        Ok(Self { survivors, names, superseded })
    }

    fn parts(&self, inputs: &[&'a Snapshot]) -> Vec<Part<'a>> {
        let parts = inputs.iter().zip(&self.survivors);
        parts
            .map(|(snapshot, list)| Part {
                index: snapshot.hnsw(),
                entries: list.iter().map(|&(slot, _, new)| (slot, new)).collect(),
            })
            .collect()
    }

    /// Returns the payloads of the copied entries, under their new keys.
    fn payloads(&self, inputs: &[&'a Snapshot]) -> Result<Vec<(u64, &'a [u8])>, CollectionError> {
        let mut payloads = Vec::new();
        for (snapshot, list) in inputs.iter().zip(&self.survivors) {
            let table = snapshot.store().find_table::<u64>(PAYLOADS)?;
            let Some(table) = table.filter(|table| !table.is_empty()) else { continue };
            let new: HashMap<u64, u64> = list.iter().map(|&(_, key, new)| (key, new)).collect();
            for entry in table.entries()? {
                let (key, payload) = entry?;
                payloads.extend(new.get(&key).map(|&new| (new, payload)));
            }
        }
        Ok(payloads)
    }

    /// Returns the attributes of the copied entries, under their new keys.
    fn attributes(&self, inputs: &[&'a Snapshot]) -> Result<Pending, CollectionError> {
        let mut pending = Pending::default();
        for (snapshot, list) in inputs.iter().zip(&self.survivors) {
            let new: HashMap<u64, u64> = list.iter().map(|&(_, key, new)| (key, new)).collect();
            for_each(snapshot.store(), |key, attributes| {
                if let Some(&new) = new.get(&key) {
                    pending.set(new, Some(attributes));
                }
            })?;
        }
        Ok(pending)
    }
}

/// Returns the names of a collection by their keys.
fn names(tx: &ReadTransaction) -> Result<HashMap<u64, &[u8]>, CollectionError> {
    match tx.find_table::<u64>(NAMES_OF_KEYS)? {
        Some(table) => Ok(table.entries()?.collect::<Result<_, _>>()?),
        None => Ok(HashMap::new()),
    }
}

/// The value by which entries with the same key are compared: the payload, then the vector, then the attributes.
type Worth<'a> = (Option<&'a [u8]>, Vec<u8>, Option<Vec<u8>>);

/// Returns the entry to copy of several with the same key or name.
fn choose(
    inputs: &[&Snapshot],
    group: &[Entry],
    name: Option<&[u8]>,
    rule: ConflictRule,
) -> Result<Entry, CollectionError> {
    if let [entry] = group {
        return Ok(*entry);
    }
    let mut best: Option<(Worth<'_>, Entry)> = None;
    for entry in group {
        let payload = inputs[entry.input].payload(entry.key)?;
        let mut vector = Vec::new();
        inputs[entry.input].hnsw().stored_into(entry.slot, &mut vector);
        let attributes = inputs[entry.input].attributes(entry.key)?.as_ref().map(encode_named);
        let worth = (payload, vector, attributes);
        // The first one of equal entries stays.
        let is_better = match &best {
            None => true,
            Some((best, _)) => {
                let order = worth.cmp(best);
                if rule == ConflictRule::Refuse && order.is_ne() {
                    let (key, name) = (entry.key, name.map(<[u8]>::to_vec));
                    return Err(CollectionError::MergeConflict { key, name });
                }
                order.is_gt()
            }
        };
        if is_better {
            best = Some((worth, *entry));
        }
    }
    let missing = CollectionError::corrupt("a key has no entry");
    best.map(|(_, entry)| entry).ok_or(missing)
}
