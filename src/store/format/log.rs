//! The log: a ring of bytes that was written full of zeros when the file was made.
//!
//! A record is one transaction: a header of 64 bytes and the operations (`record`), padded to sectors of 512 bytes,
//! so that writing one never touches a sector of another. Overwriting allocated space lets the disk
//! be waited for without a change of the file's metadata, which measures 60 times faster than appending.
//!
//! A record's checksum is seeded with the ring's salt, the record's position and its predecessor's
//! checksum. A record is thus valid at one place of one history only: a record that an earlier lap or a lost future left in the ring is
//! never taken for a successor.

use xxhash_rust::xxh3::Xxh3;

use super::meta::LOG_OFFSET;
use super::page::read;
use crate::store::disk::Storage;
use crate::store::error::StoreError;

pub(crate) const SECTOR: u64 = 512;
const HEADER: usize = 64;
const MAGIC: u32 = 0x676f_6c6e;

/// The end of a log: the position in bytes since the beginning, and the checksum that the next record is chained to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LogPosition {
    pub(crate) lsn: u64,
    pub(crate) salt: u64,
    pub(crate) chain: u64,
}

/// Returns the number of bytes of a record with `body` bytes of operations.
pub(crate) fn record_len(body: usize) -> u64 {
    (HEADER as u64 + body as u64).next_multiple_of(SECTOR)
}

fn record_checksum(at: LogPosition, header: &[u8], body: &[u8]) -> u64 {
    let mut hash = Xxh3::with_seed(at.salt ^ at.chain.rotate_left(32) ^ at.lsn);
    hash.update(&header[..HEADER - 8]);
    hash.update(body);
    hash.digest().max(1)
}

/// The writer's end of the log.
#[derive(Debug)]
pub(crate) struct Log {
    len: u64,
    /// The oldest record that recovery still needs.
    start: u64,
    end: LogPosition,
    /// Position up to which the log is on the disk.
    synced: u64,
    /// Records that are not handed to the operating system yet; they end at `end`.
    unwritten: Vec<u8>,
}

impl Log {
    pub(crate) fn new(len: u64, at: LogPosition) -> Self {
        Self { len, start: at.lsn, end: at, synced: at.lsn, unwritten: Vec::new() }
    }

    /// Returns whether no record was appended since the last checkpoint.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end.lsn
    }

    pub(crate) fn end(&self) -> LogPosition {
        self.end
    }

    /// Returns the number of bytes between the last checkpoint and the end.
    pub(crate) fn used(&self) -> u64 {
        self.end.lsn - self.start
    }

    /// Returns the maximum bytes of operations of a record: half of the ring, so that a checkpoint always makes room.
    pub(crate) fn max_body(&self) -> usize {
        (self.len / 2) as usize - HEADER
    }

    /// Returns whether a record with `body` bytes of operations fits.
    pub(crate) fn fits(&self, body: usize) -> bool {
        self.used() + record_len(body) <= self.len
    }

    /// Notes that the log before `lsn` is on the disk.
    pub(crate) fn set_synced(&mut self, lsn: u64) {
        self.synced = self.synced.max(lsn);
    }

    /// Moves behind recovered records, whose state is now in memory.
    pub(crate) fn skip_to(&mut self, at: LogPosition) {
        self.end = at;
    }

    /// Returns the position behind all records with a new salt: the records in the ring are invalid from then on.
    pub(crate) fn restarted(&self, salt: u64) -> LogPosition {
        LogPosition { lsn: self.end.lsn, salt, chain: salt }
    }

    /// Continues the log at [`Self::restarted`].
    pub(crate) fn restart(&mut self, at: LogPosition) {
        self.unwritten.clear();
        (self.start, self.synced, self.end) = (at.lsn, at.lsn, at);
    }

    /// Adds a record, in memory; it must fit.
    pub(crate) fn append(&mut self, transaction: u64, body: &[u8]) {
        debug_assert!(self.fits(body.len()));
        let start = self.unwritten.len();
        let total = record_len(body.len());
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&MAGIC.to_le_bytes());
        header[8..16].copy_from_slice(&(body.len() as u64).to_le_bytes());
        header[16..24].copy_from_slice(&transaction.to_le_bytes());
        header[24..32].copy_from_slice(&self.end.lsn.to_le_bytes());
        header[32..40].copy_from_slice(&self.synced.to_le_bytes());
        header[40..48].copy_from_slice(&self.end.salt.to_le_bytes());
        let sum = record_checksum(self.end, &header, body);
        header[56..].copy_from_slice(&sum.to_le_bytes());
        self.unwritten.extend_from_slice(&header);
        self.unwritten.extend_from_slice(body);
        self.unwritten.resize(start + total as usize, 0);
        self.end = LogPosition { lsn: self.end.lsn + total, salt: self.end.salt, chain: sum };
    }

    /// Hands the records to the operating system. Returns the bytes written.
    pub(crate) fn write(&mut self, storage: &dyn Storage) -> Result<u64, StoreError> {
        let bytes = self.unwritten.len() as u64;
        let mut at = self.end.lsn - bytes;
        let mut rest = &self.unwritten[..];
        while !rest.is_empty() {
            let place = at % self.len;
            let n = rest.len().min((self.len - place) as usize);
            storage
                .write_at(LOG_OFFSET + place, &rest[..n])
                .map_err(StoreError::io("write the log"))?;
            rest = &rest[n..];
            at += n as u64;
        }
        self.unwritten.clear();
        Ok(bytes)
    }
}

/// A record as found in the ring.
pub(crate) struct Record {
    pub(crate) transaction: u64,
    pub(crate) body: Vec<u8>,
    pub(crate) next: LogPosition,
}

/// Reads bytes of the ring, around its end if need be.
fn read_ring(storage: &dyn Storage, len: u64, lsn: u64, out: &mut [u8]) -> Result<(), StoreError> {
    let (mut at, mut rest) = (lsn, out);
    while !rest.is_empty() {
        let place = at % len;
        let n = rest.len().min((len - place) as usize);
        let (head, tail) = rest.split_at_mut(n);
        storage.read_at(LOG_OFFSET + place, head).map_err(StoreError::io("read the log"))?;
        at += n as u64;
        rest = tail;
    }
    Ok(())
}

/// Returns the record at `at`. Returns `None` at the end of the chain.
pub(crate) fn read_record(
    storage: &dyn Storage,
    len: u64,
    at: LogPosition,
) -> Result<Option<Record>, StoreError> {
    let mut header = [0; HEADER];
    read_ring(storage, len, at.lsn, &mut header)?;
    let word = |i| read::u64(&header, i).unwrap_or(0);
    let body_len = word(8);
    if read::u32(&header, 0) != Some(MAGIC)
        || word(24) != at.lsn
        || word(40) != at.salt
        || body_len > len / 2
    {
        return Ok(None);
    }
    let mut body = vec![0; body_len as usize];
    read_ring(storage, len, at.lsn + HEADER as u64, &mut body)?;
    let sum = record_checksum(at, &header, &body);
    if word(56) != sum {
        return Ok(None);
    }
    let lsn = at.lsn + record_len(body.len());
    let next = LogPosition { lsn, salt: at.salt, chain: sum };
    Ok(Some(Record { transaction: word(16), body, next }))
}

/// Returns whether a record behind the end of the chain states that the end was on the disk when the record was written: then not a
/// crash but damage cut the chain, and commits would be lost silently.
///
/// Only the header of such a record is read, because its chain is broken; with the salt and the position, a false alarm has a
/// probability of 2^-64.
pub(crate) fn damaged_behind(
    storage: &dyn Storage,
    len: u64,
    start: u64,
    end: LogPosition,
) -> Result<bool, StoreError> {
    const STEP: usize = 256 << 10;
    let limit = start + len;
    let mut buffer = vec![0; STEP.min(len as usize)];
    let mut at = end.lsn + SECTOR;
    while at < limit {
        let n = (limit - at).min(buffer.len() as u64) as usize;
        read_ring(storage, len, at, &mut buffer[..n])?;
        for (i, header) in buffer[..n].chunks_exact(SECTOR as usize).enumerate() {
            let word = |i| read::u64(header, i).unwrap_or(0);
            if read::u32(header, 0) == Some(MAGIC)
                && word(24) == at + i as u64 * SECTOR
                && word(40) == end.salt
                && word(32) > end.lsn
            {
                return Ok(true);
            }
        }
        at += n as u64;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::MemoryStorage;

    const LEN: u64 = 64 << 10;

    fn ring() -> MemoryStorage {
        let storage = MemoryStorage::new();
        storage.set_len(LOG_OFFSET + LEN).unwrap();
        storage
    }

    #[test]
    fn records_come_back_in_order_around_the_end_of_the_ring() {
        let storage = ring();
        let origin = LogPosition { lsn: 512 * 100, salt: 9, chain: 9 };
        let mut log = Log::new(LEN, origin);
        for i in 0..40_u64 {
            assert!(log.fits(1000));
            log.append(i, &vec![i as u8; 1000]);
            if i % 3 == 0 {
                log.write(&storage).unwrap();
            }
        }
        log.write(&storage).unwrap();
        let mut at = origin;
        for i in 0..40 {
            let record = read_record(&storage, LEN, at).unwrap().unwrap();
            assert_eq!((record.transaction, &record.body[..]), (i, &[i as u8; 1000][..]));
            at = record.next;
        }
        assert!(read_record(&storage, LEN, at).unwrap().is_none());
        assert_eq!(at, log.end());
    }

    #[test]
    fn a_hole_before_a_synced_record_is_damage_and_a_lost_tail_is_not() {
        let storage = ring();
        let origin = LogPosition { lsn: 0, salt: 3, chain: 3 };
        let mut log = Log::new(LEN, origin);
        for i in 0..3 {
            log.append(i, b"first");
            log.write(&storage).unwrap();
            log.set_synced(log.end().lsn);
        }
        storage.write_at(LOG_OFFSET + 1024, &[0; 512]).unwrap();
        let second = read_record(&storage, LEN, origin).unwrap().unwrap().next;
        let third = read_record(&storage, LEN, second).unwrap().unwrap().next;
        assert!(!damaged_behind(&storage, LEN, 0, third).unwrap());
        storage.write_at(LOG_OFFSET + 512, &[0; 512]).unwrap();
        assert!(!damaged_behind(&storage, LEN, 0, second).unwrap());
        log.append(3, b"fourth");
        log.write(&storage).unwrap();
        assert!(damaged_behind(&storage, LEN, 0, second).unwrap());
    }
}
