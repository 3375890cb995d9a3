//! The codes of one list.

use std::collections::TryReserveError;

use crate::quantization::PackedCodes;

/// The codes of a list.
#[derive(Debug)]
pub(in crate::index::ivf) enum CodeList {
    None,
    /// Packed in blocks of 32.
    Packed(PackedCodes),
    /// One after the other, each of this number of bytes.
    Plain(usize, Vec<u8>),
}

impl CodeList {
    pub(in crate::index::ivf) fn push(&mut self, code: &[u8]) {
        match self {
            Self::None => (),
            Self::Packed(codes) => {
                let pushed = codes.push(code);
                debug_assert!(pushed.is_ok(), "a code of this quantizer");
            }
            Self::Plain(_, bytes) => bytes.extend_from_slice(code),
        }
    }

    pub(in crate::index::ivf) fn set(&mut self, position: usize, code: &[u8]) {
        match self {
            Self::None => (),
            Self::Packed(codes) => {
                let set = codes.set(position, code);
                debug_assert!(set.is_ok(), "a code of this quantizer");
            }
            Self::Plain(len, bytes) => {
                bytes[position * *len..(position + 1) * *len].copy_from_slice(code);
            }
        }
    }

    pub(in crate::index::ivf) fn swap_remove(&mut self, position: usize) {
        match self {
            Self::None => (),
            Self::Packed(codes) => {
                let removed = codes.swap_remove(position);
                debug_assert!(removed.is_ok(), "a position of the list");
            }
            Self::Plain(len, bytes) => {
                let last = bytes.len() - *len;
                bytes.copy_within(last.., position * *len);
                bytes.truncate(last);
            }
        }
    }

    /// Writes the code at `position` to `code`.
    pub(in crate::index::ivf) fn get(&self, position: usize, code: &mut Vec<u8>) {
        code.clear();
        match self {
            Self::None => (),
            Self::Packed(codes) => code.extend(codes.get(position).unwrap_or_default()),
            Self::Plain(len, bytes) => {
                code.extend_from_slice(&bytes[position * len..(position + 1) * len]);
            }
        }
    }

    /// Returns the codes as they are in memory, which is the same on every machine.
    pub(in crate::index::ivf) fn stored(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Packed(codes) => codes.stored(),
            Self::Plain(_, bytes) => bytes,
        }
    }

    /// Reserves memory for `more` codes.
    pub(in crate::index::ivf) fn reserve(&mut self, more: usize) -> Result<(), TryReserveError> {
        match self {
            Self::None => Ok(()),
            Self::Packed(codes) => codes.reserve(more),
            Self::Plain(len, bytes) => bytes.try_reserve_exact(more * *len),
        }
    }

    /// Releases memory beyond `room` codes.
    pub(in crate::index::ivf) fn shrink(&mut self, room: usize) {
        match self {
            Self::None => (),
            Self::Packed(codes) => codes.shrink(room),
            Self::Plain(len, bytes) => bytes.shrink_to(room * *len),
        }
    }

    /// Returns the bytes of memory in use.
    pub(in crate::index::ivf) fn bytes(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Packed(codes) => codes.bytes(),
            Self::Plain(_, bytes) => bytes.capacity(),
        }
    }
}
