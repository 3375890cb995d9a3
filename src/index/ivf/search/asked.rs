//! A query, prepared for the lists of a directory.

use crate::index::ivf::codes::codec::Prepared;
use crate::index::ivf::lists::directory::Directory;
use crate::index::ivf::space::Space;

/// A query, prepared for the codes of the lists that it meets.
pub(in crate::index::ivf) struct Asked<'a> {
    directory: &'a Directory,
    space: &'a Space,
    floats: Vec<f32>,
    /// The square of the query's length.
    square: f32,
    shifted: Vec<f32>,
    /// Preparations for some bases, that of the last base at the end.
    prepared: Vec<(u32, Prepared<'a>)>,
    /// Maximum number of bases that are remembered.
    most: usize,
}

impl<'a> Asked<'a> {
    /// Creates the query from its components. It stays prepared for `most` bases.
    pub(in crate::index::ivf) fn new(
        space: &'a Space,
        directory: &'a Directory,
        floats: Vec<f32>,
        most: usize,
    ) -> Self {
        let square: f64 = floats.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let (square, shifted, prepared) = (square as f32, Vec::new(), Vec::new());
        Self { directory, space, floats, square, shifted, prepared, most }
    }

    /// Returns the query for the codes of a list. Returns `None` without codes.
    pub(in crate::index::ivf) fn prepared(&mut self, list: u32) -> Option<&Prepared<'a>> {
        self.directory.codec.as_ref()?;
        let base = self.directory.bases.of_list(list);
        if let Some(found) = self.prepared.iter().rposition(|&(of, _)| of == base) {
            let last = self.prepared.len() - 1;
            self.prepared.swap(found, last);
        } else {
            let prepared = self.directory.prepare(&self.floats, list, &mut self.shifted);
            debug_assert!(prepared.is_ok(), "queries are brought into the range of quantizers");
            if self.prepared.len() == self.most {
                self.prepared.remove(0);
            }
            self.prepared.push((base, prepared.ok().flatten()?));
        }
        self.prepared.last().map(|(_, prepared)| prepared)
    }

    /// Returns the floats, for reuse of their memory.
    pub(in crate::index::ivf) fn take_floats(&mut self) -> Vec<f32> {
        std::mem::take(&mut self.floats)
    }

    /// Returns the deviation of estimates in a list, which `ranked` gives with its distance.
    pub(in crate::index::ivf) fn deviation(&self, ranked: u64) -> f32 {
        self.directory.deviation(self.space, ranked, self.square)
    }
}
