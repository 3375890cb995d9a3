//! One type for the two sources of pages.

use std::path::Path;

use super::frames::Pin;
use super::workspace::Workspace;
use crate::store::error::StoreError;
use crate::store::format::{PageNo, Source};

/// Either kind of source, so that extents and tables of users have one type.
#[derive(Clone, Copy)]
pub(crate) enum View<'p> {
    Pin(&'p Pin),
    Workspace(&'p Workspace),
}

impl View<'_> {
    /// Returns the path of the file, for errors. Returns `None` in memory.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Pin(pin) => pin.path(),
            Self::Workspace(workspace) => workspace.shared.path(),
        }
    }
}

impl<'p> Source<'p> for View<'p> {
    #[inline]
    fn page_size(self) -> usize {
        match self {
            Self::Pin(pin) => pin.page_size(),
            Self::Workspace(workspace) => workspace.page_size(),
        }
    }

    #[inline]
    fn run(self, page: PageNo, len: usize, checksum: u64) -> Result<&'p [u8], StoreError> {
        match self {
            Self::Pin(pin) => Source::run(pin, page, len, checksum),
            Self::Workspace(workspace) => Source::run(workspace, page, len, checksum),
        }
    }

    fn in_memory(self, page: PageNo) -> Option<&'p [u8]> {
        match self {
            Self::Pin(pin) => Source::in_memory(pin, page),
            Self::Workspace(workspace) => Source::in_memory(workspace, page),
        }
    }

    fn mapped(self, page: PageNo, len: usize) -> Result<&'p [u8], StoreError> {
        match self {
            Self::Pin(pin) => Source::mapped(pin, page, len),
            Self::Workspace(workspace) => Source::mapped(workspace, page, len),
        }
    }
}
