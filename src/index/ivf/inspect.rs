//! Sizes of an index, and checks of its soundness.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::Ordering;

use super::Ivf;
use crate::index::encode::Encoder;
use crate::index::ivf::codes::drift::{Figures, Margins};
use crate::index::reports::check::{CheckReport, IndexFault, IndexFaultKind};
use crate::index::reports::stats::{ListStats, MemoryUsage, Stats};

impl Ivf {
    /// Returns sizes, settings and counters.
    pub fn stats(&self) -> Stats {
        let Encoder { dimension, metric, element } = self.space.encoder;
        let directory = self.directory();
        let mut bytes = MemoryUsage {
            centroids: directory.centroid_bytes(),
            keys: directory.places.bytes(),
            scratch: self.work.bytes() + self.probes.bytes(),
            ..MemoryUsage::default()
        };
        let (mut empty, mut longest) = (0, 0);
        let mut figures = Figures::default();
        for list in &directory.lists {
            let list = list.read();
            empty += usize::from(list.len() == 0);
            longest = longest.max(list.len());
            figures.count += list.figures.count;
            figures.lengths += list.figures.lengths;
            figures.errors += list.figures.errors;
            let [vectors, codes, keys] = list.bytes();
            bytes.vectors += vectors;
            bytes.codes += codes;
            bytes.keys += keys;
        }
        let Margins { length, error } = figures.margins();
        let known = directory.codec.is_some() && figures.count > 0;
        let lists = ListStats {
            count: directory.lists.len(),
            empty,
            longest,
            imbalance: directory.imbalance(),
            nprobe: self.probes(&directory),
            is_trained: directory.is_trained(),
            trainings: self.trainings.load(Ordering::Relaxed),
            strays: directory.drift.strays(),
            code_error: known.then(|| if length > 0.0 { error / length } else { 0.0 }),
            residual: known.then_some(length),
        };
        Stats {
            len: directory.len(),
            dimension,
            metric,
            element,
            code_bits: directory.codec.as_ref().and(self.settings.coding.bits()),
            code_error: None,
            isa: self.space.isa,
            levels: Vec::new(),
            lists: Some(lists),
            calibration: None,
            bytes,
            search_distances: self.search_distances.load(Ordering::Relaxed),
            insert_distances: self.insert_distances.load(Ordering::Relaxed),
        }
    }

    /// Reads all lists and reports whether they are sound: every vector in the list of its nearest
    /// centroid, every key mapped to its vector. Codes alone do not determine the nearest
    /// centroid, so without originals only keys are checked.
    ///
    /// Takes as long as inserting the vectors; changes wait meanwhile, searches continue.
    pub fn check(&self) -> CheckReport {
        let _alone = self.changing.write();
        let directory = self.directory();
        let mut faults = Vec::new();
        let mut fault = |key, kind| faults.push(IndexFault { level: 0, key, kind });
        let mut in_lists = 0;
        self.with_probe(|work, probe| {
            let row = &mut work.row;
            let scratch = &mut probe.scratch;
            for (number, list) in directory.lists.iter().enumerate() {
                let number = number as u32;
                let list = list.read();
                in_lists += list.len();
                let mut seen = HashSet::with_capacity(list.len());
                for (position, &key) in list.keys.iter().enumerate() {
                    let place = directory.places.with(key, |place| place);
                    if place != Some(number) || !seen.insert(key) {
                        fault(key, IndexFaultKind::LostKey);
                    }
                    if directory.has_rows {
                        directory.read(&self.space, (number, &list, position), row, scratch);
                        self.space.pad(&scratch.floats, &mut scratch.row);
                        let (row, order_keys) = (&scratch.row, &mut scratch.order_keys);
                        if directory.nearest(&self.space, row, order_keys).0 != number {
                            fault(key, IndexFaultKind::WrongList);
                        }
                    }
                }
            }
        });
        if in_lists != directory.places.len() || in_lists != directory.len() {
            directory.places.for_each(|key, list| {
                if directory.lists[list as usize].read().position(key).is_none() {
                    fault(key, IndexFaultKind::LostKey);
                }
            });
        }
        CheckReport { len: directory.len(), levels: Vec::new(), faults }
    }
}

impl fmt::Debug for Ivf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = self.directory();
        f.debug_struct("Ivf")
            .field("len", &directory.len())
            .field("dimension", &self.dimension())
            .field("metric", &self.metric())
            .field("element", &self.element())
            .field("lists", &directory.lists.len())
            .field("trained", &directory.is_trained())
            .field("coding", &self.settings.coding)
            .field("originals", &self.settings.originals)
            .finish_non_exhaustive()
    }
}
