//! Pages of the file, and buffers in memory, that are kept while a held state needs them.

use std::collections::{BTreeMap, VecDeque};

/// The states from transaction `born` on and before transaction `ended` need a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) born: u64,
    pub(crate) ended: u64,
}

/// Numbers of states that are held, ascending. No state has the number 0: it means a state whose number is unknown, which needs every
/// thing.
#[derive(Debug, Default)]
pub(crate) struct Held(Vec<u64>);

impl Held {
    pub(crate) fn new(mut states: Vec<u64>) -> Self {
        states.sort_unstable();
        states.dedup();
        Self(states)
    }

    /// Adds other states.
    pub(crate) fn and(mut self, states: impl Iterator<Item = u64>) -> Self {
        self.0.extend(states);
        Self::new(self.0)
    }

    /// Gives the memory back.
    pub(crate) fn into_states(self) -> Vec<u64> {
        self.0
    }

    pub(crate) fn oldest(&self) -> Option<u64> {
        self.0.first().copied()
    }

    /// Returns the oldest held state that needs a thing of this life.
    pub(crate) fn needs(&self, life: Life) -> Option<u64> {
        if self.0.first() == Some(&0) && life.born < life.ended {
            return Some(0);
        }
        let at = self.0.partition_point(|&state| state < life.born);
        self.0.get(at).copied().filter(|&state| state < life.ended)
    }

    fn contains(&self, state: u64) -> bool {
        self.0.binary_search(&state).is_ok()
    }
}

/// Things whose life has ended. Each waits under one held state that needs it, and is examined
/// again only when that state is no longer held, so a snapshot that is held for long costs nothing
/// per transaction.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    /// In the order of their ends, not examined yet.
    recent: VecDeque<(Life, T)>,
    filed: BTreeMap<u64, Vec<(Life, T)>>,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { recent: VecDeque::new(), filed: BTreeMap::new() }
    }
}

impl<T> Waiting<T> {
    /// Adds a thing. `life.ended` must not be less than that of the thing before.
    pub(crate) fn push(&mut self, life: Life, thing: T) {
        debug_assert!(self.recent.back().is_none_or(|(last, _)| last.ended <= life.ended));
        self.recent.push_back((life, thing));
    }

    /// Returns the number of things added since the last examination.
    pub(crate) fn recent(&self) -> usize {
        self.recent.len()
    }

    /// Removes the things that were added since [`Self::recent`] was `count`, unless they were examined since.
    pub(crate) fn take_back(&mut self, count: usize) -> impl Iterator<Item = (Life, T)> {
        self.recent.drain(count.min(self.recent.len())..)
    }

    /// Passes to `free` the things that no held state needs. States after `newest` may still become
    /// held, so a thing that ends later stays.
    pub(crate) fn release(&mut self, held: &Held, newest: u64, mut free: impl FnMut(T)) {
        let gone: Vec<u64> =
            self.filed.keys().copied().filter(|&state| !held.contains(state)).collect();
        let mut loose = Vec::new();
        for state in gone {
            loose.extend(self.filed.remove(&state).unwrap_or_default());
        }
        let mut examine = |(life, thing)| match held.needs(life) {
            Some(state) => self.filed.entry(state).or_default().push((life, thing)),
            None => free(thing),
        };
        loose.into_iter().for_each(&mut examine);
        while let Some(ended) = self.recent.pop_front_if(|(life, _)| life.ended <= newest) {
            examine(ended);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Life, &T)> {
        let filed = self.filed.values().flatten();
        self.recent.iter().chain(filed).map(|(life, thing)| (*life, thing))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.recent.is_empty() && self.filed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_waits_for_the_states_within_its_life() {
        let held = Held::new(vec![9, 4, 7, 7]);
        let life = |born, ended| held.needs(Life { born, ended });
        assert_eq!(held.oldest(), Some(4));
        assert_eq!(
            [life(0, 4), life(0, 5), life(4, 5), life(5, 7)],
            [None, Some(4), Some(4), None]
        );
        assert_eq!([life(5, 8), life(8, 100), life(10, 100)], [Some(7), Some(9), None]);
        assert_eq!(life(4, 4), None, "nothing needs a thing without a life");
        let unknown = Held::new(vec![9, 0]);
        assert_eq!(unknown.needs(Life { born: 20, ended: 21 }), Some(0));
        assert_eq!(unknown.needs(Life { born: 20, ended: 20 }), None);
    }

    #[test]
    fn things_are_freed_once_and_not_while_a_state_needs_them() {
        let mut waiting = Waiting::default();
        let mut random = 1_u64;
        let mut next = move |n: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % n
        };
        let (mut held, mut kept, mut freed) = (Vec::new(), Vec::new(), 0);
        for newest in 1..3000 {
            let life = Life { born: newest + 1 - next(newest.min(40) + 1), ended: newest + 1 };
            waiting.push(life, life);
            kept.push(life);
            match next(4) {
                0 => held.push(newest),
                1 if !held.is_empty() => drop(held.swap_remove(next(held.len() as u64) as usize)),
                _ => {}
            }
            let states = Held::new([&held[..], &[newest]].concat());
            waiting.release(&states, newest, |life| {
                let is_needed = held
                    .iter()
                    .chain(&[newest])
                    .any(|&state| life.born <= state && state < life.ended);
                assert!(!is_needed && life.ended <= newest, "{life:?} of {states:?}");
                kept.swap_remove(kept.iter().position(|&other| other == life).unwrap());
                freed += 1;
            });
            assert_eq!(waiting.iter().count(), kept.len());
            let late =
                kept.iter().find(|life| states.needs(**life).is_none() && life.ended <= newest);
            assert_eq!(late, None, "nothing waits in vain");
        }
        assert!(freed > 2000);
        waiting.release(&Held::default(), u64::MAX, drop);
        assert!(waiting.is_empty());
    }
}
