//! A graph index as a file stores it.

use super::Hnsw;
use super::builder::{check_graph, parameters};
use super::maintain::Remains;
use crate::arena::{ArenaError, Piece, Slot, Unsound};
use crate::error::{IndexError, VectorError};
use crate::graph::{Graph, Parameters};
use crate::index::codes::fitting::Quantized;
use crate::index::entries::Entries;
use crate::index::image::{
    CodeSettings, GraphSettings, Image, Kernels, LEVELS, Settings, State, Stored, encode,
    stored_entries, upsert,
};
use crate::sync::Mutex;
use crate::vector::VectorRef;

impl Stored for Hnsw {
    const GRAPH: bool = true;

    fn frozen<R>(&self, with: impl FnOnce(Image<'_>) -> R) -> R {
        let _alone = self.inserting.write();
        let Parameters { m, ef_construction, seed, .. } = *self.graph.parameters();
        let graph = GraphSettings { m, ef_construction, seed, alpha: self.alpha };
        let levels = (LEVELS..).zip(self.graph.columns());
        with(Image {
            settings: Settings::of(&self.entries, Some(graph)),
            custom: self.custom_metric(),
            state: self.entries.state(self.graph.state()),
            columns: self.entries.columns().into_iter().chain(levels).collect(),
        })
    }

    fn restore<'p, E: From<ArenaError> + From<Unsound> + From<IndexError>>(
        settings: &Settings,
        kernels: Kernels<'_>,
        state: &State,
        mut source: impl FnMut(u32, u32, usize) -> Result<Piece<'p, E>, E>,
    ) -> Result<Self, E> {
        let graph = settings.graph.ok_or(Unsound("the file holds an exact index"))?;
        let (encoder, isa, engine) = settings.basis(kernels).check()?;
        let GraphSettings { m, ef_construction, seed, alpha } = graph;
        check_graph(m, ef_construction)?;
        if alpha.is_some_and(|alpha| !(1.0..=4.0).contains(&alpha)) {
            return Err(Unsound("alpha is out of range").into());
        }
        let slots = state.graph.rows.first().copied().unwrap_or(0);
        let Settings { dimension, metric, .. } = *settings;
        let parameters = parameters((m, ef_construction), seed, metric, engine.custom_use());
        let quantized = settings.codes.map(|CodeSettings { coding, originals }| {
            Quantized::new(coding, originals, dimension, metric, seed, isa)
        });
        let entries = Entries::new(encoder, engine, quantized);
        let entries = entries.restored(slots, state, &mut source)?;
        let mut index = Self::new(entries, isa, parameters, alpha);
        index.graph = Graph::restore(parameters, &state.graph, |level, chunk, len| {
            source(LEVELS + level as u32, chunk, len)
        })?;
        if state.graph.entry.is_none() && index.entries.slots.hidden() < slots as usize {
            return Err(Unsound("searches start nowhere").into());
        }
        let hidden = (0..slots).map(Slot::new).filter(|&slot| index.entries.slots.is_hidden(slot));
        index.remains = Mutex::new(Remains::of(hidden.collect()));
        Ok(index)
    }

    stored_entries!();

    fn upsert_encoded(&self, entries: &[(u64, &[u8])]) -> Result<(), IndexError> {
        self.sweep_small();
        upsert(self, entries)
    }
}
