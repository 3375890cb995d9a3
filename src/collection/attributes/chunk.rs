//! The keys of an entry, of one chunk: a list of numbers, or a bitmap if that is shorter.

use roaring::{RoaringBitmap, RoaringTreemap};

use super::term::{CHUNK_BITS, split_key};
use crate::collection::error::CollectionError;
use crate::collection::format::corrupt;

const WORDS: usize = (1 << CHUNK_BITS) / 64;

/// The first byte of a list of numbers (2 bytes each, ascending), and of a bitmap.
const LIST: u8 = 0;
const BITMAP: u8 = 1;

/// Numbers of a list that take the bytes of a bitmap.
const LONGEST: usize = WORDS * 4;

/// A set of the keys of a chunk.
pub(super) struct Chunk {
    words: Box<[u64; WORDS]>,
}

impl Chunk {
    /// Returns the set of no keys.
    pub(super) fn new() -> Self {
        Self { words: Box::new([0; WORDS]) }
    }

    /// Takes all keys out.
    pub(super) fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Reads an entry's value.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), CollectionError> {
        self.clear();
        each(bytes, |low| self.set(low, true))
    }

    /// Puts a key in, or takes it out.
    pub(super) fn set(&mut self, low: u16, is_in: bool) {
        let (word, bit) = (&mut self.words[usize::from(low) / 64], 1 << (low % 64));
        if is_in {
            *word |= bit;
        } else {
            *word &= !bit;
        }
    }

    /// Writes the value of an entry. Returns whether it has a key.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) -> bool {
        bytes.clear();
        let count: usize = self.words.iter().map(|word| word.count_ones() as usize).sum();
        if count > LONGEST {
            bytes.push(BITMAP);
            bytes.extend(self.words.iter().flat_map(|word| word.to_le_bytes()));
        } else {
            bytes.push(LIST);
            each_bit(&self.words[..], |low| bytes.extend(low.to_le_bytes()));
        }
        count > 0
    }
}

fn each_bit(words: &[u64], mut each: impl FnMut(u16)) {
    for (at, &word) in words.iter().enumerate() {
        let mut rest = word;
        while rest != 0 {
            each((at * 64) as u16 + rest.trailing_zeros() as u16);
            rest &= rest - 1;
        }
    }
}

/// Calls `each` with the keys of an entry's value, less the chunk's first, ascending.
pub(super) fn each(bytes: &[u8], mut each: impl FnMut(u16)) -> Result<(), CollectionError> {
    const DAMAGED: &str = "the keys of an attribute's value are malformed";

    let (&form, rest) = bytes.split_first().ok_or(corrupt(DAMAGED))?;
    match form {
        LIST => {
            let (numbers, odd) = rest.as_chunks::<2>();
            let mut least = 0;
            for &number in numbers {
                let low = u16::from_le_bytes(number);
                if low < least || low >> CHUNK_BITS != 0 {
                    return Err(corrupt(DAMAGED));
                }
                least = low + 1;
                each(low);
            }
            if odd.is_empty() { Ok(()) } else { Err(corrupt(DAMAGED)) }
        }
        BITMAP => {
            let words = words_of(bytes).ok_or(corrupt(DAMAGED))?;
            each_bit(&words, each);
            Ok(())
        }
        _ => Err(corrupt(DAMAGED)),
    }
}

/// Returns the number of keys of an entry's value.
pub(super) fn count(bytes: &[u8]) -> u64 {
    match bytes.split_first() {
        Some((&BITMAP, words)) => words.iter().map(|byte| u64::from(byte.count_ones())).sum(),
        Some((_, numbers)) => numbers.len() as u64 / 2,
        None => 0,
    }
}

/// Returns the words of an entry's value that is a bitmap.
fn words_of(bytes: &[u8]) -> Option<[u64; WORDS]> {
    let (words, []) = bytes.strip_prefix(&[BITMAP])?.as_chunks::<8>() else { return None };
    let words: &[[u8; 8]; WORDS] = words.try_into().ok()?;
    Some(words.map(u64::from_le_bytes))
}

/// Keys of many entries, which become one set.
#[derive(Default)]
pub(super) struct Union {
    /// Chunks, each with the end of its numbers in `lows`.
    lists: Vec<(u64, usize)>,
    lows: Vec<u16>,
    bitmaps: Vec<(u64, [u64; WORDS])>,
}

impl Union {
    /// Adds the keys of an entry.
    pub(super) fn add(&mut self, chunk: u64, bytes: &[u8]) -> Result<(), CollectionError> {
        if let Some(words) = words_of(bytes) {
            self.bitmaps.push((chunk, words));
            return Ok(());
        }
        each(bytes, |low| self.lows.push(low))?;
        self.lists.push((chunk, self.lows.len()));
        Ok(())
    }

    /// Adds a key.
    pub(super) fn insert(&mut self, key: u64) {
        let (chunk, low) = split_key(key);
        self.lows.push(low);
        self.lists.push((chunk, self.lows.len()));
    }

    /// Returns the set of all keys.
    pub(super) fn finish(self) -> RoaringTreemap {
        /// Words of a bitmap over all chunks, at most, for each word of the lists of its keys.
        const SPARSE: u64 = 16;

        let chunks = || self.lists.iter().map(|&(chunk, _)| chunk);
        let all = || chunks().chain(self.bitmaps.iter().map(|&(chunk, _)| chunk));
        let (Some(least), Some(greatest)) = (all().min(), all().max()) else {
            return RoaringTreemap::new();
        };
        let span = greatest - least;
        let keys = self.lows.len() as u64 / 4 + (self.bitmaps.len() * WORDS) as u64;
        // A set of bitmaps has one for each value of the upper 32 bits.
        let is_one = least >> (32 - CHUNK_BITS) == greatest >> (32 - CHUNK_BITS);
        if is_one && span.saturating_mul(WORDS as u64) <= SPARSE * keys {
            return self.dense(least, span as usize + 1);
        }
        let mut sorted = Vec::with_capacity(self.lows.len());
        let mut begin = 0;
        for &(chunk, end) in &self.lists {
            let first = chunk << CHUNK_BITS;
            sorted.extend(self.lows[begin..end].iter().map(|&low| first | u64::from(low)));
            begin = end;
        }
        for (chunk, words) in &self.bitmaps {
            each_bit(words, |low| sorted.push(chunk << CHUNK_BITS | u64::from(low)));
        }
        sorted.sort_unstable();
        sorted.dedup();
        // The keys ascend.
        RoaringTreemap::from_sorted_iter(sorted).unwrap_or_default()
    }

    /// Returns the set by a bitmap over `count` chunks from `least` on.
    fn dense(&self, least: u64, count: usize) -> RoaringTreemap {
        let mut words = vec![0_u64; count * WORDS];
        let mut begin = 0;
        for &(chunk, end) in &self.lists {
            let words = &mut words[(chunk - least) as usize * WORDS..][..WORDS];
            for &low in &self.lows[begin..end] {
                words[usize::from(low) / 64] |= 1 << (low % 64);
            }
            begin = end;
        }
        for (chunk, bitmap) in &self.bitmaps {
            let words = &mut words[(chunk - least) as usize * WORDS..][..WORDS];
            for (word, other) in words.iter_mut().zip(bitmap) {
                *word |= other;
            }
        }
        let first = least << CHUNK_BITS;
        // Files of collections are little-endian, and so are the machines that read them.
        let bitmap = RoaringBitmap::from_lsb0_bytes(first as u32, bytemuck::cast_slice(&words));
        RoaringTreemap::from_bitmaps([((first >> 32) as u32, bitmap)])
    }
}
