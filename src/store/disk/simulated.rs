//! A disk that cuts power and fails on demand, for tests.

use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::{MemoryStorage, Region, Storage, SyncPoint};

/// Bytes that a disk writes whole or not at all.
const SECTOR: u64 = 512;

/// The part of the writes since the last sync that a power cut leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cut {
    /// No write.
    Nothing,
    /// All of them.
    Everything,
    /// The first operations, the last one torn at a sector.
    Prefix,
    /// Any set of sectors and length changes, each kept with a chance of this number of hundredths.
    Subset(u8),
}

/// The kind of operation that is to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskOperation {
    /// Reading, which includes mapping.
    Read,
    /// Writing.
    Write,
    /// Syncing.
    Sync,
    /// Changing the length.
    Resize,
}

/// The way in which an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InjectedFault {
    /// An input/output error before anything was done. A failed sync forgets the writes that it should
    /// have made durable, as Linux file systems do.
    Error,
    /// Half of the bytes are transferred, then an error.
    Short,
    /// The disk is full: nothing is written.
    Full,
}

enum Pending {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
}

struct State {
    /// Bytes that every power cut leaves.
    durable: Vec<u8>,
    /// Operations after the last sync, in order.
    pending: Vec<Pending>,
    /// Number of operations that changed the disk (writes, syncs, resizes).
    operations: u64,
    power_off_at: Option<u64>,
    off: bool,
    ignored: Option<SyncPoint>,
    fault: Option<(DiskOperation, u64, InjectedFault)>,
    seen: [u64; 4],
    bytes_written: u64,
    syncs: u64,
    /// Bytes that the disk can hold.
    capacity: u64,
}

/// A disk in memory that can lose power, fail and forget, for tests of data that must survive that.
///
/// It distinguishes synced bytes from bytes that were only written. [`SimulatedDisk::power_off_after`] cuts the power at a chosen
/// operation; [`SimulatedDisk::after_power_cut`] then builds a disk in a state that the cut could leave. Clones are handles to the same
/// disk.
///
/// ```
/// use nearfield::store::{Cut, SimulatedDisk, StoreOptions};
///
/// let disk = SimulatedDisk::new();
/// let store = StoreOptions::new().open_simulated(&disk)?;
/// let mut tx = store.begin_write()?;
/// tx.table::<u64>("numbers")?.insert(7, b"seven")?;
/// tx.commit()?;
///
/// let found = disk.after_power_cut(Cut::Nothing, 0);
/// let store = StoreOptions::new().open_simulated(&found)?;
/// let tx = store.begin_read()?;
/// assert_eq!(tx.table::<u64>("numbers")?.get(7)?, Some(&b"seven"[..]));
/// # Ok::<(), nearfield::store::StoreError>(())
/// ```
#[derive(Clone)]
pub struct SimulatedDisk {
    shared: Arc<Shared>,
}

struct Shared {
    view: MemoryStorage,
    state: Mutex<State>,
}

impl Default for SimulatedDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimulatedDisk {
    /// Returns an empty disk.
    pub fn new() -> Self {
        Self::with_durable(Vec::new(), MemoryStorage::new())
    }

    /// Returns a disk that holds `image`, synced.
    ///
    /// # Errors
    ///
    /// If memory for the image cannot be had.
    pub fn from_image(image: Vec<u8>) -> io::Result<Self> {
        let view = MemoryStorage::holding(&image)?;
        Ok(Self::with_durable(image, view))
    }

    fn with_durable(durable: Vec<u8>, view: MemoryStorage) -> Self {
        let state = State {
            durable,
            pending: Vec::new(),
            operations: 0,
            power_off_at: None,
            off: false,
            ignored: None,
            fault: None,
            seen: [0; 4],
            bytes_written: 0,
            syncs: 0,
            capacity: u64::MAX,
        };
        Self { shared: Arc::new(Shared { view, state: Mutex::new(state) }) }
    }

    /// Returns the bytes as a running program sees them.
    ///
    /// # Errors
    ///
    /// If memory for the copy cannot be had.
    pub fn image(&self) -> io::Result<Vec<u8>> {
        let mut out = vec![0; self.shared.view.len()? as usize];
        self.shared.view.read_at(0, &mut out)?;
        Ok(out)
    }

    /// Returns the number of writes, syncs and length changes.
    pub fn operations(&self) -> u64 {
        self.shared.state.lock().operations
    }

    /// Returns the numbers of bytes written and of syncs.
    pub fn traffic(&self) -> (u64, u64) {
        let state = self.shared.state.lock();
        (state.bytes_written, state.syncs)
    }

    /// Cuts the power at the `n`-th operation from now: this operation and all later ones fail; if it is a write, a part of it may
    /// still reach the disk.
    pub fn power_off_after(&self, n: u64) {
        let mut state = self.shared.state.lock();
        state.power_off_at = Some(state.operations + n);
    }

    /// Returns whether the power is cut.
    pub fn is_off(&self) -> bool {
        self.shared.state.lock().off
    }

    /// Makes every sync at `point` return at once without effect: the mistake that the tests must see.
    pub fn ignore_sync(&self, point: SyncPoint) {
        self.shared.state.lock().ignored = Some(point);
    }

    /// Makes the `n`-th operation of this kind from now (the first is 0) fail, once.
    pub fn fail_at(&self, kind: DiskOperation, n: u64, fault: InjectedFault) {
        let mut state = self.shared.state.lock();
        let at = state.seen[kind as usize] + n;
        state.fault = Some((kind, at, fault));
    }

    /// Limits the disk to `bytes` bytes: it refuses to become longer with [`StorageFull`](io::ErrorKind::StorageFull), and accepts
    /// writes within its length.
    pub fn set_capacity(&self, bytes: u64) {
        self.shared.state.lock().capacity = bytes;
    }

    /// Returns whether the requested fault has happened or none was requested.
    pub fn fault_happened(&self) -> bool {
        self.shared.state.lock().fault.is_none()
    }

    /// Returns a new disk in a state that a power cut at this moment could leave; the seed chooses among the possibilities.
    ///
    /// # Panics
    ///
    /// If memory for the image cannot be had.
    #[must_use]
    pub fn after_power_cut(&self, cut: Cut, seed: u64) -> Self {
        let state = self.shared.state.lock();
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut image = state.durable.clone();
        let total = state.pending.len();
        let whole = match cut {
            Cut::Nothing => 0,
            Cut::Everything | Cut::Subset(_) => total,
            Cut::Prefix => random.random_range(0..=total),
        };
        for (i, operation) in state.pending[..whole].iter().enumerate() {
            match operation {
                Pending::SetLen(len) => {
                    if keeps(cut, &mut random) {
                        image.resize(*len as usize, 0);
                    }
                }
                Pending::Write { offset, bytes } => {
                    let torn = if cut == Cut::Prefix && i + 1 == whole {
                        random.random_range(0..=bytes.len() as u64 / SECTOR + 1)
                    } else {
                        u64::MAX
                    };
                    for (sector, (at, part)) in sectors(*offset, bytes).enumerate() {
                        if (sector as u64) < torn && keeps(cut, &mut random) {
                            let end = at as usize + part.len();
                            if image.len() < end {
                                image.resize(end, 0);
                            }
                            image[at as usize..end].copy_from_slice(part);
                        }
                    }
                }
            }
        }
        Self::from_image(image).expect("memory for the image")
    }
}

/// Returns whether a part of an unsynced operation survives.
fn keeps(cut: Cut, random: &mut Xoshiro256PlusPlus) -> bool {
    match cut {
        Cut::Subset(percent) => random.random_range(0..100u8) < percent,
        _ => true,
    }
}

/// Returns the pieces of a write, cut at sector boundaries.
fn sectors(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at == bytes.len() {
            return None;
        }
        let here = offset + at as u64;
        let n = ((SECTOR - here % SECTOR) as usize).min(bytes.len() - at);
        let part = &bytes[at..at + n];
        at += n;
        Some((here, part))
    })
}

impl State {
    fn apply_pending(&mut self) {
        for operation in self.pending.drain(..) {
            match operation {
                Pending::SetLen(len) => self.durable.resize(len as usize, 0),
                Pending::Write { offset, bytes } => {
                    let end = offset as usize + bytes.len();
                    if self.durable.len() < end {
                        self.durable.resize(end, 0);
                    }
                    self.durable[offset as usize..end].copy_from_slice(&bytes);
                }
            }
        }
    }

    /// Counts an operation. Returns its fault if it is to fail.
    fn admit(&mut self, kind: DiskOperation) -> io::Result<Option<InjectedFault>> {
        if self.off {
            return Err(io::Error::other("the power is off"));
        }
        let seen = self.seen[kind as usize];
        self.seen[kind as usize] += 1;
        if kind != DiskOperation::Read {
            self.operations += 1;
        }
        match self.fault {
            Some((k, at, fault)) if k == kind && at == seen => {
                self.fault = None;
                Ok(Some(fault))
            }
            _ => Ok(None),
        }
    }

    /// Refuses to become longer than the disk.
    fn admit_length(&self, now: u64, len: u64) -> io::Result<()> {
        if len > now && len > self.capacity { Err(failure(InjectedFault::Full)) } else { Ok(()) }
    }

    /// Returns whether the power is cut at this operation.
    fn power_fails(&mut self) -> bool {
        self.off = self.power_off_at.is_some_and(|at| self.operations >= at);
        self.off
    }
}

fn failure(fault: InjectedFault) -> io::Error {
    match fault {
        InjectedFault::Full => io::ErrorKind::StorageFull.into(),
        InjectedFault::Error | InjectedFault::Short => io::Error::other("simulated fault"),
    }
}

impl Storage for SimulatedDisk {
    fn len(&self) -> io::Result<u64> {
        self.shared.view.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if let Some(fault) = self.shared.state.lock().admit(DiskOperation::Read)? {
            if fault == InjectedFault::Short {
                let half = out.len() / 2;
                self.shared.view.read_at(offset, &mut out[..half])?;
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            return Err(failure(fault));
        }
        self.shared.view.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        let fault = state.admit(DiskOperation::Write)?;
        let bytes = match fault {
            Some(InjectedFault::Short) => &bytes[..bytes.len() / 2],
            Some(fault) => return Err(failure(fault)),
            None => bytes,
        };
        state.admit_length(self.shared.view.len()?, offset + bytes.len() as u64)?;
        let off = state.power_fails();
        state.pending.push(Pending::Write { offset, bytes: bytes.to_vec() });
        state.bytes_written += bytes.len() as u64;
        if off {
            return Err(io::Error::other("the power is off"));
        }
        self.shared.view.write_at(offset, bytes)?;
        fault.map_or(Ok(()), |fault| Err(failure(fault)))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        if let Some(fault) = state.admit(DiskOperation::Resize)? {
            return Err(failure(fault));
        }
        state.admit_length(self.shared.view.len()?, len)?;
        let off = state.power_fails();
        state.pending.push(Pending::SetLen(len));
        if off {
            return Err(io::Error::other("the power is off"));
        }
        self.shared.view.set_len(len)
    }

    fn sync(&self, point: SyncPoint) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        if let Some(fault) = state.admit(DiskOperation::Sync)? {
            state.pending.clear();
            return Err(failure(fault));
        }
        if state.power_fails() {
            return Err(io::Error::other("the power is off"));
        }
        if state.ignored != Some(point) {
            state.apply_pending();
            state.syncs += 1;
        }
        Ok(())
    }

    fn map(&self, offset: u64, len: usize) -> io::Result<Region> {
        if let Some(fault) = self.shared.state.lock().admit(DiskOperation::Read)? {
            return Err(failure(fault));
        }
        self.shared.view.map(offset, len)
    }

    fn first_segment(&self) -> u64 {
        self.shared.view.first_segment()
    }
}

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state.lock();
        f.debug_struct("SimulatedDisk")
            .field("durable_bytes", &state.durable.len())
            .field("pending", &state.pending.len())
            .field("off", &state.off)
            .finish_non_exhaustive()
    }
}
