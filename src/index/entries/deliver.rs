//! Turns slots into hits.

use super::Entries;
use crate::arena::Slot;
use crate::index::codes::representation::Representation;
use crate::index::query::hits::{Hit, Hits};
use crate::index::query::request::Request;
use crate::order_key::OrderKey;
use crate::sync::step;

impl Entries {
    /// Returns the greatest order key of a distance within `radius`; [`OrderKey::MIN`] if no distance is.
    pub(in crate::index) fn order_within(
        &self,
        form: Representation<'_>,
        radius: Option<f32>,
    ) -> OrderKey {
        let Some(radius) = radius else { return OrderKey::MAX };
        // Distances ascend with their order keys. Order keys that encode no distance, at either end, give NaN.
        let is_within = |bits: u32| {
            let distance = form.distance(OrderKey::from_bits(bits));
            self.encoder.answered(distance).total_cmp(&(radius + 0.0)).is_le()
        };
        let (mut below, mut beyond) = (0, u32::MAX);
        while below < beyond {
            let middle = below + (beyond - below).div_ceil(2);
            if is_within(middle) {
                below = middle;
            } else {
                beyond = middle - 1;
            }
        }
        OrderKey::from_bits(below)
    }
}

/// Hits whose keys are prefetched together, because each is elsewhere in memory.
const PART: usize = 32;

impl Entries {
    /// Makes hits of order keys and slots, which arrive in ascending order: at most `k` of the request, and none
    /// beyond the radius.
    ///
    /// This is the only function in which slots become hits. It reads the keys after the slots were found, so that each
    /// slot has a key. A key that was found twice, because it is being replaced, counts once. Returns `false` if fewer
    /// hits than wanted were found, and the radius is not the reason.
    pub(in crate::index) fn deliver(
        &self,
        form: Representation<'_>,
        request: &Request<'_>,
        found: &mut dyn Iterator<Item = (OrderKey, Slot)>,
        hits: &mut Hits,
    ) -> bool {
        let Request { k, radius, .. } = *request;
        let keys = self.keys.view();
        let is_near = |distance: f32| radius.is_none_or(|radius| distance <= radius);
        let mut part = [(OrderKey::MIN, Slot::new(0)); PART];
        let (mut more, mut is_all) = (true, false);
        hits.clear();
        while more && hits.len() < k {
            let wanted = PART.min(k - hits.len());
            let mut count = 0;
            for (place, near) in part[..wanted].iter_mut().zip(&mut *found) {
                keys.prefetch(near.1);
                *place = near;
                count += 1;
            }
            more = count == wanted;
            for &(order, slot) in &part[..count] {
                let distance = self.encoder.answered(form.distance(order));
                if !is_near(distance) {
                    (more, is_all) = (false, true);
                    break;
                }
                step();
                hits.push(Hit { key: keys.row(slot)[0], distance });
            }
            if !more || hits.len() == k {
                let _ = self.replacing.is_ambiguous() && hits.drop_repeated_keys();
            }
        }
        is_all || hits.len() >= k.min(self.len())
    }
}
