//! An exact index as a file stores it.

use super::Flat;
use crate::arena::{ArenaError, Piece, Slot, Unsound};
use crate::error::{IndexError, VectorError};
use crate::graph::GraphState;
use crate::index::entries::Entries;
use crate::index::image::{
    Image, Kernels, Settings, State, Stored, encode, stored_entries, upsert,
};
use crate::vector::VectorRef;

impl Stored for Flat {
    const GRAPH: bool = false;

    fn frozen<R>(&self, with: impl FnOnce(Image<'_>) -> R) -> R {
        let _nobody_leaves = self.leaving.lock();
        let _alone = self.entries.append.lock();
        let graph =
            GraphState { rows: vec![self.entries.keys.len() as u32], entry: None, spread: (0, 0) };
        with(Image {
            settings: Settings::of(&self.entries, None),
            custom: self.custom_metric(),
            state: self.entries.state(graph),
            columns: self.entries.columns(),
        })
    }

    fn restore<'p, E: From<ArenaError> + From<Unsound> + From<IndexError>>(
        settings: &Settings,
        kernels: Kernels<'_>,
        state: &State,
        mut source: impl FnMut(u32, u32, usize) -> Result<Piece<'p, E>, E>,
    ) -> Result<Self, E> {
        if settings.graph.is_some() || settings.codes.is_some() {
            return Err(Unsound("the file holds a graph index").into());
        }
        let (encoder, isa, engine) = settings.basis(kernels).check()?;
        let &[slots] = &state.graph.rows[..] else {
            return Err(Unsound("an exact index has no levels").into());
        };
        let entries = Entries::new(encoder, engine, None);
        let entries = entries.restored(slots, state, &mut source)?;
        let index = Self::new(entries, isa);
        let hidden = (0..slots).map(Slot::new).filter(|&slot| index.entries.slots.is_hidden(slot));
        index.retire(hidden.collect());
        Ok(index)
    }

    stored_entries!();

    fn upsert_encoded(&self, entries: &[(u64, &[u8])]) -> Result<(), IndexError> {
        upsert(self, entries)
    }
}
