//! The keys of a snapshot in their order, for pages of a listing.

use std::sync::Arc;

use parking_lot::Mutex;

/// The keys of a view, once pages of one commit were asked for twice: 8 bytes each.
#[derive(Debug, Default)]
pub(super) struct OrderedKeys(Mutex<Option<Asked>>);

/// A commit of which a page was asked for, and its keys from the second one on.
#[derive(Debug)]
struct Asked {
    commit: u64,
    keys: Option<Arc<[u64]>>,
}

impl OrderedKeys {
    /// Returns the keys of a commit, ascending. Returns `None` when it is asked for the first time: a page costs less without their order.
    pub(super) fn of(&self, commit: u64, keys: impl FnOnce() -> Vec<u64>) -> Option<Arc<[u64]>> {
        let mut asked = self.0.lock();
        let Some(asked) = asked.as_mut().filter(|asked| asked.commit == commit) else {
            *asked = Some(Asked { commit, keys: None });
            return None;
        };
        let keys = asked.keys.get_or_insert_with(|| {
            let mut keys = keys();
            keys.sort_unstable();
            keys.into()
        });
        Some(Arc::clone(keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ordered_for_the_second_page_of_a_commit() {
        let ordered = OrderedKeys::default();
        let keys = || vec![3, 1, 2];
        assert_eq!(ordered.of(7, keys), None);
        assert_eq!(ordered.of(7, keys).as_deref(), Some(&[1, 2, 3][..]));
        assert_eq!(ordered.of(7, || panic!("read twice")).as_deref(), Some(&[1, 2, 3][..]));
        assert_eq!(ordered.of(8, keys), None);
        assert_eq!(ordered.of(8, || vec![9]).as_deref(), Some(&[9][..]));
    }
}
