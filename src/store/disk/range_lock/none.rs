//! A system without locks of ranges that belong to an opening of a file.

use std::fs::File;
use std::io;
use std::ops::Range;

use super::Mode;

pub(super) fn try_lock(_: &File, _: &Range<u64>, _: Mode) -> io::Result<bool> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn unlock(_: &File, _: &Range<u64>) -> io::Result<()> {
    Ok(())
}

pub(super) fn find_locked(_: &File, _: &Range<u64>) -> io::Result<Option<Range<u64>>> {
    Err(io::ErrorKind::Unsupported.into())
}
