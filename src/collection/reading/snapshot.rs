//! Snapshots of a collection, and the views under them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use roaring::RoaringTreemap;

use super::ordered::OrderedKeys;
use crate::arena::Keeper;
use crate::clock::Instant;
use crate::collection::attributes::{Keys, Known, KnownFields, KnownSelections};
use crate::collection::columns::{
    Head, Opened, Reading, keep, newest_commit, open_index, operations_behind, read_head, replay,
};
use crate::collection::columns::{Moment, newest_delta};
use crate::collection::error::CollectionError;
use crate::collection::format::{Kind, PAYLOADS};
use crate::guard::{Guard, is_off};
use crate::index::{Calibrate, Hnsw, Kernels, SearchBatch, Settings, Shard, ShardIndex, Stored};
use crate::metric::Metric;
use crate::simd::Isa;
use crate::store::{ReadTransaction, Store};
use crate::vector::{AsVector, Element};

/// The work of opening a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Operations that only the journal had, and that were applied anew.
    pub operations: u64,
    /// Time that this took.
    pub replay: Duration,
    /// Time that opening took in all.
    pub total: Duration,
}

/// A separate index, as one commit left the collection.
struct View {
    tx: Arc<ReadTransaction>,
    index: Hnsw,
    head: Head,
    /// The state of the file that the maps are of: see [`ReadTransaction::layout`].
    layout: u64,
    commit: u64,
    recovery: RecoveryReport,
    fields: KnownFields,
    ordered: OrderedKeys,
    selections: Arc<KnownSelections>,
    /// Keeps the writer lock, because a new writer would not know which extents this view reads.
    _store: Store,
}

impl View {
    /// Returns whether the columns that the view maps are those of a snapshot of the store, at the same places of the file. The number
    /// of the checkpoint is not enough, because compaction moves extents without another checkpoint.
    fn is_of(&self, tx: &ReadTransaction, checkpoint: u64) -> bool {
        (self.layout == tx.layout() || is_off(Guard::Layout))
            && self.head.checkpoint.commit == checkpoint
    }
}

/// The views that were made for snapshots. Views without a holder go on to newer commits.
pub(in crate::collection) struct Views {
    views: Vec<Arc<View>>,
    selections: Arc<KnownSelections>,
}

/// The newest commit of a collection that this process writes, as its index in memory has it.
pub(in crate::collection) struct Live {
    pub(in crate::collection) tx: Arc<ReadTransaction>,
    pub(in crate::collection) head: Head,
    pub(in crate::collection) moment: Moment,
}

/// Number of views that are kept without a holder.
const IDLE: usize = 2;

/// Maximum number of operations that a view goes on by, if a new view can be made from the index in memory: a new view has yet to read
/// its keys.
const FEW: u64 = 64;
/// The same if a delta spares a new view some of the operations.
const MANY: u64 = 1024;

impl Views {
    pub(in crate::collection) fn new(selections: Arc<KnownSelections>) -> Self {
        Self { views: Vec::new(), selections }
    }

    /// Makes views without a holder keep `tx`, which sees the checkpoint of this number. Views of older checkpoints are forgotten.
    pub(in crate::collection) fn pin(&mut self, tx: &Arc<ReadTransaction>, checkpoint: u64) {
        self.views.retain(|view| view.is_of(tx, checkpoint) || Arc::strong_count(view) > 1);
        // The other views are in use, or were until now, and keep their maps.
        let free = self.views.iter_mut().filter_map(Arc::get_mut);
        for view in free.filter(|view| view.is_of(tx, checkpoint)) {
            view.index.frozen(|image| keep(&image, &(Arc::clone(tx) as Keeper)));
            view.tx = Arc::clone(tx);
        }
    }

    /// Forgets the views without a holder.
    pub(in crate::collection) fn drop_idle(&mut self) {
        self.views.retain(|view| Arc::strong_count(view) > 1);
    }

    /// Returns a snapshot of the newest commit of the store. `live` gives that commit as this process has it in memory.
    pub(in crate::collection) fn newest(
        &mut self,
        store: &Store,
        isa: Option<Isa>,
        live: Option<&dyn Fn() -> Result<Option<Live>, CollectionError>>,
    ) -> Result<Snapshot, CollectionError> {
        let start = Instant::now();
        let tx = Arc::new(store.begin_read()?);
        let head =
            read_head(&tx, Kind::Graph)?.ok_or(CollectionError::NotACollection { path: None })?;
        let checkpoint = head.checkpoint.commit;
        // Other views would have to be made anew.
        self.views.retain(|view| view.is_of(&tx, checkpoint) || Arc::strong_count(view) > 1);
        self.views.sort_unstable_by_key(|view| std::cmp::Reverse(view.commit));
        let newest = newest_commit(&tx, &head)?;
        for at in 0..self.views.len() {
            let view = &mut self.views[at];
            let same = view.is_of(&tx, checkpoint);
            if same && view.commit == newest {
                return Ok(Snapshot { view: Arc::clone(view) });
            }
            let Some(free) = Arc::get_mut(view).filter(|_| same) else { continue };
            if !goes_on(&tx, &head, free.commit, live.is_some())? {
                continue;
            }
            // The view has no commit meanwhile: if the journal is damaged, the view is lost.
            let commit = free.commit;
            free.commit = u64::MAX;
            let replayed = replay(&tx, &free.index, &head.settings, commit);
            match replayed {
                Ok(replayed) => {
                    free.commit = replayed.commit;
                    let (operations, total) = (replayed.operations, start.elapsed());
                    free.recovery = RecoveryReport { operations, replay: total, total };
                }
                Err(error) => {
                    self.views.swap_remove(at);
                    return Err(error);
                }
            }
            free.index.frozen(|image| keep(&image, &(Arc::clone(&tx) as Keeper)));
            free.tx = tx;
            return Ok(Snapshot { view: Arc::clone(view) });
        }
        let live = live.map_or(Ok(None), |live| live())?;
        let (tx, head, moment) = match live {
            Some(Live { tx, head, moment }) => (tx, head, Some(moment)),
            None => (tx, head, None),
        };
        let how = (Kernels::on(isa), Reading::Mapped);
        let opened = open_index(&tx, &head, how, moment.as_ref(), |_| Ok(()))?;
        let Opened { index, commit, operations, replay, .. } = opened;
        let recovery = RecoveryReport { operations, replay, total: start.elapsed() };
        let (layout, store) = (tx.layout(), store.clone());
        let view = Arc::new(View {
            tx,
            index,
            head,
            layout,
            commit,
            recovery,
            fields: KnownFields::default(),
            ordered: OrderedKeys::default(),
            selections: Arc::clone(&self.selections),
            _store: store,
        });
        if self.views.len() >= IDLE {
            // Snapshots keep the views that are in use.
            self.views.truncate(IDLE - 1);
        }
        self.views.push(Arc::clone(&view));
        Ok(Snapshot { view })
    }
}

/// Returns whether it is cheaper for a view of `commit` to go on to the newest commit than to be made anew.
fn goes_on(
    tx: &ReadTransaction,
    head: &Head,
    commit: u64,
    is_live: bool,
) -> Result<bool, CollectionError> {
    let most = if is_live { FEW } else { MANY };
    let behind = operations_behind(tx, &head.settings, commit, most)?;
    Ok(behind <= most || !is_live && newest_delta(tx)?.is_none_or(|delta| delta <= commit))
}

/// A collection as one commit left it, for the lifetime of the snapshot: later commits, of this process or another, do not change its
/// answers. Cheap to clone, for any thread. A snapshot of a collection that is open for writing keeps the right to write: the file
/// cannot be opened for writing again.
#[derive(Clone)]
pub struct Snapshot {
    view: Arc<View>,
}

impl Snapshot {
    /// Returns the number of the commit that the snapshot shows. Later commits have greater numbers.
    pub fn number(&self) -> u64 {
        self.view.commit
    }

    /// Returns the work of making the snapshot: operations that were applied anew, and the time that this took. If the snapshot goes on
    /// from a dropped one, these are the operations that were added to that one.
    pub fn recovery(&self) -> RecoveryReport {
        self.view.recovery
    }

    /// As [`Hnsw::calibrate`], for this snapshot and its clones; later snapshots may lack the calibration.
    pub fn calibrate(&self) -> Calibrate<'_> {
        self.view.index.calibrate()
    }

    /// As [`Hnsw::search_batch`].
    pub fn search_batch<'a, V: AsVector + ?Sized>(&'a self, queries: &'a V) -> SearchBatch<'a> {
        self.view.index.search_batch(queries)
    }

    /// Returns the vector of a key, as [`Hnsw::get`]. Returns `None` in a forked child of the process that made the snapshot.
    pub fn get(&self, key: u64) -> Option<Vec<f32>> {
        self.view.index.is_bound_here().then(|| self.view.index.get(key))?
    }

    /// Returns whether the key has a vector. Returns `false` in a forked child of the process that made the snapshot.
    pub fn contains(&self, key: u64) -> bool {
        self.view.index.is_bound_here() && self.view.index.contains(key)
    }

    /// Returns the number of vectors.
    pub fn len(&self) -> usize {
        self.view.index.len()
    }

    /// Returns the number of components of a vector.
    pub fn dimension(&self) -> usize {
        self.view.index.dimension()
    }

    /// Returns the metric by which vectors are compared.
    pub fn metric(&self) -> Metric {
        self.view.index.metric()
    }

    /// Returns the type in which components are stored.
    pub fn element(&self) -> Element {
        self.view.index.element()
    }

    /// Returns whether the snapshot has no vectors.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(in crate::collection) fn hnsw(&self) -> &Hnsw {
        &self.view.index
    }

    pub(in crate::collection) fn settings(&self) -> &Settings {
        &self.view.head.settings
    }

    pub(in crate::collection) fn store(&self) -> &ReadTransaction {
        &self.view.tx
    }

    pub(in crate::collection) fn fields(&self) -> &KnownFields {
        &self.view.fields
    }

    pub(super) fn ordered(&self) -> &OrderedKeys {
        &self.view.ordered
    }

    /// Returns the selections of this commit.
    pub(in crate::collection) fn known(&self) -> Known<'_> {
        self.view.selections.of(self.view.tx.number())
    }

    /// Passes the keys of the commit to `with`.
    pub(in crate::collection) fn with_keys<R>(&self, with: impl FnOnce(Keys<'_>) -> R) -> R {
        let list = || -> RoaringTreemap { self.keys().into_iter().collect() };
        with(Keys { count: self.len(), list: &list, is_of_commit: true })
    }

    /// Returns the payload of a key, without copying it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`](crate::store::StoreError::Corrupt).
    pub fn payload(&self, key: u64) -> Result<Option<&[u8]>, CollectionError> {
        payload(&self.view.tx, key)
    }
}

/// Returns the payload of a key in a snapshot of the store.
pub(in crate::collection) fn payload(
    tx: &ReadTransaction,
    key: u64,
) -> Result<Option<&[u8]>, CollectionError> {
    Ok(tx.look_up::<u64>(PAYLOADS, key)?)
}

impl Shard for Snapshot {
    fn index(&self) -> ShardIndex<'_> {
        self.view.index.index()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("number", &self.number())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
