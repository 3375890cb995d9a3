//! Where dense keys are: a guess that is checked, for the look-ups of many keys.
//!
//! A look-up in the map of keys takes a lock, a hash and two reads somewhere in memory, 30 ns in all. Where keys count up, an array has the
//! slot of each, 3 ns. It is never told of changes: a slot counts only if it has the key now, and the map answers for the others.

use std::sync::Arc;

use crate::arena::{Slot, View};
use crate::index::distances::field::is_set;
use crate::sync::RwLock;

/// Keys of a filter from which on an array pays.
pub(super) const LEAST: usize = 64;

/// Places of the array for each slot, at most: a wider range of keys has none.
const WIDEST: u64 = 2;

/// The array is made anew once this part of the slots is younger.
const YOUNGER: u32 = 4;

/// A place without a slot.
const NONE: u32 = u32::MAX;

/// The array, which lags behind the keys.
#[derive(Debug, Default)]
pub(in crate::index) struct KeyHints {
    made: RwLock<Arc<Hints>>,
}

#[derive(Debug, Default)]
struct Hints {
    /// The key of the first place.
    first: u64,
    slots: Box<[u32]>,
    /// Slots that were there.
    seen: u32,
}

/// Look-ups of keys at one moment.
#[derive(Debug)]
pub(in crate::index) struct Guesses<'a> {
    keys: View<'a, u64>,
    hidden: &'a [u64],
    /// Slots below it had keys at that moment.
    end: u32,
    hints: Arc<Hints>,
}

impl KeyHints {
    /// Returns guesses for `count` keys among the slots below `end`, each of which has a key or is `hidden`. Makes the array if it is old, in
    /// `O(end)`.
    pub(in crate::index) fn guesses<'a>(
        &self,
        keys: View<'a, u64>,
        (end, hidden): (u32, &'a [u64]),
        count: usize,
    ) -> Option<Guesses<'a>> {
        if count < LEAST {
            return None;
        }
        let mut hints = Arc::clone(&self.made.read());
        if end > hints.seen.saturating_add(hints.seen / YOUNGER) {
            hints = Arc::new(Hints::of(keys, end, hidden));
            *self.made.write() = Arc::clone(&hints);
        }
        (!hints.slots.is_empty()).then_some(Guesses { keys, hidden, end, hints })
    }

    /// Returns the bytes of memory in use.
    pub(in crate::index) fn bytes(&self) -> usize {
        self.made.read().slots.len() * 4
    }
}

impl Hints {
    fn of(keys: View<'_, u64>, end: u32, hidden: &[u64]) -> Self {
        let held = || (0..end).map(Slot::new).filter(|&slot| !is_set(hidden, slot));
        let key = |slot: Slot| keys.row(slot)[0];
        let range = held().map(key).fold(None, |range: Option<(u64, u64)>, key| {
            let (first, last) = range.unwrap_or((key, key));
            Some((first.min(key), last.max(key)))
        });
        let mut hints = Self { seen: end, ..Self::default() };
        let Some((first, last)) = range else { return hints };
        if last - first >= WIDEST * u64::from(end) {
            return hints;
        }
        hints.first = first;
        hints.slots = vec![NONE; (last - first) as usize + 1].into_boxed_slice();
        for slot in held() {
            // Keys of slots that were refilled meanwhile may be outside.
            let place = key(slot).wrapping_sub(first);
            if let Some(place) = usize::try_from(place).ok().and_then(|at| hints.slots.get_mut(at))
            {
                *place = slot.number();
            }
        }
        hints
    }
}

impl Guesses<'_> {
    /// Returns the slot of a key, if the array is right about it.
    #[inline(always)]
    pub(in crate::index) fn slot(&self, key: u64) -> Option<Slot> {
        let place = usize::try_from(key.wrapping_sub(self.hints.first)).ok()?;
        let number = *self.hints.slots.get(place)?;
        if number >= self.end {
            return None;
        }
        let slot = Slot::new(number);
        (!is_set(self.hidden, slot) && self.keys.row(slot)[0] == key).then_some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Column;

    fn column(keys: &[u64]) -> Column<u64> {
        let column = Column::new(1);
        for &key in keys {
            column.push(|row| row[0] = key).unwrap();
        }
        column
    }

    #[test]
    fn a_slot_is_guessed_only_if_it_has_the_key_now() {
        // Downwards, from 1,099 to 1,000.
        let keys: Vec<u64> = (0..100).map(|slot| 1099 - slot).collect();
        let column = column(&keys);
        let hints = KeyHints::default();
        let hidden = [1 << 7];
        let guesses = hints.guesses(column.view(), (100, &hidden), LEAST).unwrap();
        for (slot, &key) in keys.iter().enumerate() {
            let expected = (slot != 7).then(|| Slot::new(slot as u32));
            assert_eq!(guesses.slot(key), expected);
        }
        for key in [0, 999, 1100, u64::MAX] {
            assert_eq!(guesses.slot(key), None);
        }
        assert_eq!(hints.bytes(), 400);
        // Fewer slots at another moment.
        let guesses = hints.guesses(column.view(), (50, &[]), LEAST).unwrap();
        assert_eq!(guesses.slot(1099 - 49), Some(Slot::new(49)));
        assert_eq!(guesses.slot(1099 - 50), None);
        // Another key in a slot.
        let mut keys = keys;
        keys[3] = 5;
        let column = self::column(&keys);
        let guesses = hints.guesses(column.view(), (100, &[]), LEAST).unwrap();
        assert_eq!((guesses.slot(1096), guesses.slot(5)), (None, None));
        assert_eq!(guesses.slot(1095), Some(Slot::new(4)));
    }

    #[test]
    fn few_keys_and_wide_ranges_have_no_guesses() {
        let column = column(&(0..100).map(|slot| slot * 1000).collect::<Vec<u64>>());
        let hints = KeyHints::default();
        assert!(hints.guesses(column.view(), (100, &[]), LEAST).is_none());
        assert_eq!(hints.bytes(), 0);
        assert!(hints.guesses(column.view(), (0, &[]), LEAST).is_none());
        let near = KeyHints::default();
        assert!(near.guesses(column.view(), (2, &[]), LEAST - 1).is_none());
    }
}
