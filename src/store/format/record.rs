//! Operations of a transaction as its log record holds them.
//!
//! One byte of kind, then fields: numbers as LEB128, strings with their length before them. `Table` names the table that the operations
//! behind it change, and makes it if it does not exist.

use crate::store::error::StoreError;

const TABLE: u8 = 1;
const INSERT: u8 = 2;
const REMOVE: u8 = 3;
const DROP_TABLE: u8 = 4;
const CREATE_EXTENT: u8 = 5;
const WRITE_EXTENT: u8 = 6;
const REMOVE_EXTENT: u8 = 7;

/// A change of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation<'a> {
    Table { name: &'a str, key_type: u8 },
    Insert { key: &'a [u8], value: &'a [u8] },
    Remove { key: &'a [u8] },
    DropTable { name: &'a str },
    CreateExtent { extent: u64, len: u64 },
    WriteExtent { extent: u64, offset: u64, bytes: &'a [u8] },
    RemoveExtent { extent: u64 },
}

pub(crate) fn put_number(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

impl Operation<'_> {
    /// Returns an upper bound of the bytes that [`Operation::encode`] appends.
    pub(crate) fn max_len(&self) -> usize {
        match self {
            Self::Table { name, .. } | Self::DropTable { name } => name.len() + 12,
            Self::Insert { key, value } => key.len() + value.len() + 21,
            Self::Remove { key } => key.len() + 11,
            Self::CreateExtent { .. } | Self::RemoveExtent { .. } => 21,
            Self::WriteExtent { bytes, .. } => bytes.len() + 31,
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Table { name, key_type } => {
                out.extend([TABLE, key_type]);
                put_string(out, name.as_bytes());
            }
            Self::Insert { key, value } => {
                out.push(INSERT);
                put_string(out, key);
                put_string(out, value);
            }
            Self::Remove { key } => {
                out.push(REMOVE);
                put_string(out, key);
            }
            Self::DropTable { name } => {
                out.push(DROP_TABLE);
                put_string(out, name.as_bytes());
            }
            Self::CreateExtent { extent, len } => {
                out.push(CREATE_EXTENT);
                put_number(out, extent);
                put_number(out, len);
            }
            Self::WriteExtent { extent, offset, bytes } => {
                out.push(WRITE_EXTENT);
                put_number(out, extent);
                put_number(out, offset);
                put_string(out, bytes);
            }
            Self::RemoveExtent { extent } => {
                out.push(REMOVE_EXTENT);
                put_number(out, extent);
            }
        }
    }
}

/// Reads numbers and strings; every length is checked against the bytes that are left.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    page: u64,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, which come from `page`.
    pub(crate) fn new(bytes: &'a [u8], page: u64) -> Self {
        Self { rest: bytes, page }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn corrupt(&self) -> StoreError {
        StoreError::corrupt(self.page, "a record is malformed")
    }

    fn byte(&mut self) -> Result<u8, StoreError> {
        let (&first, rest) = self.rest.split_first().ok_or_else(|| self.corrupt())?;
        self.rest = rest;
        Ok(first)
    }

    pub(crate) fn number(&mut self) -> Result<u64, StoreError> {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = (byte & 0x7f) as u64;
            if shift == 63 && bits > 1 {
                break;
            }
            n |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err(self.corrupt())
    }

    fn string(&mut self) -> Result<&'a [u8], StoreError> {
        let len = usize::try_from(self.number()?).map_err(|_| self.corrupt())?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or_else(|| self.corrupt())?;
        self.rest = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<&'a str, StoreError> {
        std::str::from_utf8(self.string()?).map_err(|_| self.corrupt())
    }

    /// Reads the next operation.
    pub(crate) fn operation(&mut self) -> Result<Operation<'a>, StoreError> {
        Ok(match self.byte()? {
            TABLE => Operation::Table { key_type: self.byte()?, name: self.text()? },
            INSERT => Operation::Insert { key: self.string()?, value: self.string()? },
            REMOVE => Operation::Remove { key: self.string()? },
            DROP_TABLE => Operation::DropTable { name: self.text()? },
            CREATE_EXTENT => {
                Operation::CreateExtent { extent: self.number()?, len: self.number()? }
            }
            WRITE_EXTENT => Operation::WriteExtent {
                extent: self.number()?,
                offset: self.number()?,
                bytes: self.string()?,
            },
            REMOVE_EXTENT => Operation::RemoveExtent { extent: self.number()? },
            _ => return Err(self.corrupt()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_come_back_and_torn_ones_are_errors() {
        let operations = [
            Operation::Table { name: "numbers", key_type: 3 },
            Operation::Insert { key: b"k", value: &[7; 300] },
            Operation::Remove { key: b"" },
            Operation::DropTable { name: "" },
            Operation::CreateExtent { extent: u64::MAX, len: 1 << 40 },
            Operation::WriteExtent { extent: 1, offset: 127, bytes: &[1; 128] },
            Operation::RemoveExtent { extent: 128 },
        ];
        let mut bytes = Vec::new();
        for operation in &operations {
            let before = bytes.len();
            operation.encode(&mut bytes);
            assert!(bytes.len() - before <= operation.max_len());
        }
        let mut reader = Reader::new(&bytes, 0);
        for operation in operations {
            assert_eq!(reader.operation().unwrap(), operation);
        }
        assert!(reader.is_empty());
        for cut in 0..bytes.len() {
            let mut reader = Reader::new(&bytes[..cut], 0);
            while !reader.is_empty() {
                if reader.operation().is_err() {
                    break;
                }
            }
        }
        assert!(Reader::new(&[0xff; 10], 0).number().is_err());
    }
}
