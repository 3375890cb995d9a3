//! One vector in place of another under the same key, in one step for every search.
//!
//! Both vectors are in the index for a while. A search that begins before the key is mapped to the new vector
//! may meet either, or both, and takes one; a search that begins afterwards must not take the old one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::Entries;
use super::space::{Rows, found};
use crate::arena::{Column, Slot, View, pin};
use crate::graph::{Node, Scratch, Space};
use crate::sync::{Fault, RwLock, is_planted, step};
use crate::vector::Block;

/// Replacements in progress, and those that running searches may have seen the beginning of.
#[derive(Debug, Default)]
pub(in crate::index) struct Replacing {
    /// Replacements whose new vector may be stored while the key is mapped to the old one.
    going_on: AtomicUsize,
    /// Number of replacements that were completed.
    moment: AtomicU64,
    recent: Arc<Recent>,
}

/// Old slots, each with the moment in which it was replaced, for as long as a search may have begun before. The map may hold
/// many slots during a long search, and the search looks up each hidden slot that it meets.
#[derive(Debug, Default)]
struct Recent {
    len: AtomicUsize,
    slots: RwLock<BTreeMap<Slot, u64>>,
}

impl Recent {
    fn is_any(&self) -> bool {
        step();
        self.len.load(Ordering::SeqCst) != 0
    }
}

/// Ends a replacement when it is dropped.
pub(in crate::index) struct Replacement<'a>(&'a Replacing);

impl Replacing {
    pub(in crate::index) fn begin(&self) -> Replacement<'_> {
        step();
        self.going_on.fetch_add(1, Ordering::SeqCst);
        Replacement(self)
    }

    /// Returns whether two slots may have one key, for some search.
    pub(in crate::index) fn is_ambiguous(&self) -> bool {
        step();
        self.going_on.load(Ordering::SeqCst) != 0 || self.recent.is_any()
    }

    /// Returns the moment that a search notes when it begins, pinned.
    pub(in crate::index) fn now(&self) -> u64 {
        step();
        self.moment.load(Ordering::SeqCst)
    }

    /// Runs `switch`, which maps a key to another slot and hides `old`.
    pub(in crate::index) fn switch(&self, old: Slot, switch: impl FnOnce()) {
        let recent = &self.recent;
        let mut slots = recent.slots.write();
        // One replacement at a time, and the moment is stored last: a search that begins before it may still take the old slot.
        let moment = self.moment.load(Ordering::SeqCst) + 1;
        if !is_planted(Fault::ReplacedUnnoted) {
            slots.insert(old, moment);
        }
        step();
        recent.len.store(slots.len(), Ordering::SeqCst);
        switch();
        step();
        self.moment.store(moment, Ordering::SeqCst);
        drop(slots);
        let recent = Arc::clone(recent);
        pin().defer(move || {
            let mut slots = recent.slots.write();
            // The slot may be in use again, and be replaced again.
            if slots.get(&old) == Some(&moment) {
                slots.remove(&old);
            }
            recent.len.store(slots.len(), Ordering::SeqCst);
        });
    }

    /// Returns the slots that were replaced since `began`, when the caller was pinned.
    fn old_since(&self, began: u64) -> Vec<Slot> {
        if !self.recent.is_any() {
            return Vec::new();
        }
        let slots = self.recent.slots.read();
        slots.iter().filter(|&(_, &when)| when > began).map(|(&old, _)| old).collect()
    }

    /// Returns whether a hidden slot was replaced since `began`.
    pub(in crate::index) fn since(&self, began: u64, slot: Slot) -> bool {
        self.recent.is_any()
            && self.recent.slots.read().get(&slot).is_some_and(|&when| when > began)
    }
}

impl Drop for Replacement<'_> {
    fn drop(&mut self) {
        step();
        self.0.going_on.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Entries {
    /// Returns a consistent view for an exhaustive scan: `rows`, and in `hidden`, a bitmap which may end early, the slots to skip.
    /// A key occurs once, or twice while its vector is being replaced. The second value is the number of nearest rows among which
    /// are the `k` nearest keys. The caller must be [pinned](pin).
    pub(in crate::index) fn moment<'a>(
        &self,
        rows: &'a Column<Block>,
        k: usize,
        hidden: &mut Vec<u64>,
    ) -> (View<'a, Block>, usize) {
        hidden.clear();
        let view = rows.view();
        // A replacement whose new vector is in the view has begun; if it is over, its old slot is hidden. A replacement that
        // begins between the first two checks takes a slot that was hidden.
        if self.all_answer() && !self.replacing.is_ambiguous() && self.all_answer() {
            return (view, k);
        }
        // No key is mapped to another slot or removed until the end.
        let _still = self.replacing.recent.slots.read();
        let view = rows.view();
        self.slots.words_into(hidden);
        // Last: replacements whose new vectors are in the view do not end before this load.
        step();
        let doubled = self.replacing.going_on.load(Ordering::SeqCst);
        (view, if k == 0 { 0 } else { k.saturating_add(doubled) })
    }

    /// Hides the slot of a removed key: no [moment](Self::moment) has both this slot and one that the key gets later.
    pub(in crate::index) fn hide(&self, slot: Slot) {
        let _slots = self.replacing.recent.slots.write();
        self.slots.hide(slot);
    }

    /// Adds the current vector of every key whose old vector the walk visited, or that was replaced since `began`: the walk may have
    /// passed before the new vector was linked, while rows changed, or after the old one was cut out. Returns `false` if
    /// `space` lacks one of them.
    pub(in crate::index) fn follow(
        &self,
        space: Rows<'_>,
        query: &[Block],
        began: u64,
        scratch: &mut Scratch,
    ) -> bool {
        if self.slots.hidden() == 0 {
            return true;
        }
        let early = is_planted(Fault::ViewedEarly).then(|| self.keys.view());
        let met = found(scratch).map(|(_, slot)| slot);
        let mut slots = self.replacing.old_since(began);
        slots.extend(met.filter(|&slot| self.slots.is_hidden(slot)));
        // Taken after the slots: the new keys of replaced slots may be younger than the walk.
        let keys = early.unwrap_or_else(|| self.keys.view());
        slots.retain_mut(|slot| {
            let new = self.map.get(keys.row(*slot)[0], &self.keys);
            *slot = new.unwrap_or(*slot);
            new.is_some()
        });
        let space = space.refresh();
        for slot in slots {
            let node = Node::from(slot);
            if node >= space.end() {
                return false;
            }
            if scratch.found().all(|(_, met)| met != node) {
                scratch.counters.distances += 1;
                scratch.add(space.key(query, node), node);
            }
        }
        true
    }

    /// Returns whether a walk may have missed both vectors of a key: rows may link to the new one alone, and that is younger than
    /// the walk.
    pub(in crate::index) fn may_have_missed(&self, scratch: &Scratch) -> bool {
        scratch.passed_younger() && self.replacing.is_ambiguous()
    }

    /// Does [`Self::follow`] for each of several queries.
    pub(in crate::index) fn follow_all(
        &self,
        space: Rows<'_>,
        queries: &[&[Block]],
        began: u64,
        scratches: &mut [Scratch],
    ) -> bool {
        let mut pairs = queries.iter().zip(scratches);
        pairs.all(|(query, scratch)| self.follow(space, query, began, scratch))
    }
}
