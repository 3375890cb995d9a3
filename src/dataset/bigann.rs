//! The binary layout of the big-ann-benchmarks: two `u32`, then the matrix.
//!
//! Described at <https://big-ann-benchmarks.com/neurips21.html> ("Benchmark Datasets").

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use bytemuck::Pod;

use super::DatasetError;
use super::input::Input;
use super::layout::{Layout, from_little_endian};
use crate::vector::Element;

/// Returns the layout of rows of `element`.
pub(super) fn layout(input: &Input, element: Element) -> Result<Layout, DatasetError> {
    let [rows, dimension] = input.head()?;
    Layout::check(input, element, rows.into(), dimension.into(), 8, false)
}

/// Writes a header and `parts`, one after the other.
pub(super) fn write(
    path: &Path,
    rows: usize,
    dimension: usize,
    parts: &[Numbers<'_>],
) -> Result<(), DatasetError> {
    let too_large = || DatasetError::TooLarge {
        path: path.into(),
        rows: rows as u64,
        dimension: dimension as u64,
    };
    let head = [rows, dimension].map(u32::try_from);
    let [Ok(rows_le), Ok(dimension_le)] = head else { return Err(too_large()) };
    let put = || -> std::io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(&rows_le.to_le_bytes())?;
        file.write_all(&dimension_le.to_le_bytes())?;
        for part in parts {
            part.write(&mut file)?;
        }
        file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
    };
    put().map_err(DatasetError::io(path))
}

/// Numbers of one of the widths in files.
pub(super) enum Numbers<'a> {
    Bytes(&'a [u8]),
    Two(&'a [u16]),
    Four(&'a [u32]),
}

impl Numbers<'_> {
    fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        match self {
            Self::Bytes(bytes) => out.write_all(bytes),
            Self::Two(numbers) => little_endian(numbers, out),
            Self::Four(numbers) => little_endian(numbers, out),
        }
    }
}

fn little_endian<T: Pod>(numbers: &[T], out: &mut impl Write) -> std::io::Result<()> {
    let mut block = Vec::new();
    for some in numbers.chunks(1 << 16) {
        block.clear();
        block.extend_from_slice(bytemuck::cast_slice(some));
        // Swapping is its own inverse.
        from_little_endian::<T>(&mut block);
        out.write_all(&block)?;
    }
    Ok(())
}
