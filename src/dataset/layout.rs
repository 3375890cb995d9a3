//! Position of the rows in a file: the common layout of all formats.

use std::io::{BufReader, Read};

use bytemuck::Pod;

use super::DatasetError;
use super::input::Input;
use crate::vector::Element;

/// A matrix in a file, checked against the file's length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Layout {
    pub(super) element: Element,
    pub(super) rows: usize,
    pub(super) dimension: usize,
    /// Offset of the first row, its mark included.
    pub(super) offset: u64,
    /// Whether each row begins with its dimension as a `u32`.
    pub(super) marked: bool,
}

impl Layout {
    /// Returns the layout if the file has exactly the length that it gives.
    pub(super) fn check(
        input: &Input,
        element: Element,
        rows: u64,
        dimension: u64,
        offset: u64,
        marked: bool,
    ) -> Result<Self, DatasetError> {
        if rows == 0 || dimension == 0 {
            return Err(input.empty());
        }
        let too_large = || DatasetError::TooLarge { path: input.path.clone(), rows, dimension };
        let mark = if marked { 4 } else { 0 };
        let expected = dimension
            .checked_mul(element.bytes(1) as u64)
            .and_then(|row| row.checked_add(mark))
            .and_then(|row| row.checked_mul(rows))
            .and_then(|all| all.checked_add(offset))
            .filter(|&all| isize::try_from(all).is_ok())
            .ok_or_else(too_large)?;
        if expected != input.len {
            return Err(input.length(expected));
        }
        // At most the file's size, which fits an isize.
        Ok(Self { element, rows: rows as usize, dimension: dimension as usize, offset, marked })
    }

    /// Returns the number of components of all rows together.
    pub(super) fn components(&self) -> usize {
        self.rows * self.dimension
    }

    /// Reads all rows without their marks.
    pub(super) fn read<T: Pod>(&self, input: &Input) -> Result<Vec<T>, DatasetError> {
        let mut data = zeroed(self.components())?;
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut data);
        if self.marked {
            input.seek(self.offset)?;
            let mut reader = BufReader::with_capacity(1 << 20, &input.file);
            for (row, into) in bytes.chunks_exact_mut(self.dimension * size_of::<T>()).enumerate() {
                let mut mark = [0; 4];
                reader.read_exact(&mut mark).map_err(DatasetError::io(&input.path))?;
                let found = u32::from_le_bytes(mark) as usize;
                if found != self.dimension {
                    return Err(DatasetError::RowDimension {
                        path: input.path.clone(),
                        row,
                        expected: self.dimension,
                        found,
                    });
                }
                reader.read_exact(into).map_err(DatasetError::io(&input.path))?;
            }
        } else {
            input.read_at(self.offset, bytes)?;
        }
        from_little_endian::<T>(bytes);
        Ok(data)
    }
}

/// Returns a vector of zeros, or an error if `vec!` would abort.
pub(super) fn zeroed<T: Pod>(len: usize) -> Result<Vec<T>, DatasetError> {
    let mut data = Vec::new();
    data.try_reserve_exact(len)
        .map_err(|_| DatasetError::OutOfMemory { bytes: (len as u64) * size_of::<T>() as u64 })?;
    data.resize(len, T::zeroed());
    Ok(data)
}

/// Turns numbers of a file into numbers of this machine.
pub(super) fn from_little_endian<T>(bytes: &mut [u8]) {
    if cfg!(target_endian = "big") && size_of::<T>() > 1 {
        for number in bytes.chunks_exact_mut(size_of::<T>()) {
            number.reverse();
        }
    }
}
