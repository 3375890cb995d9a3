//! Insertion of a key, and splits.

use super::max_cell;
use crate::store::error::StoreError;
use crate::store::format::{
    BRANCH_HEAD, HEADER, LEAF_HEAD, MAX_LEVEL, Node, NodeMut, NodeRef, OVERFLOW, PageNo, SLOT,
    Stored, common_prefix,
};
use crate::store::pages::Workspace;

/// The branches from the root down, each with the child that leads to the key.
pub(super) type Path = Vec<(PageNo, usize)>;

/// Makes the pages on the path to `key` this transaction's own. Returns the path and the leaf.
pub(super) fn descend(
    pages: &mut Workspace,
    root: &mut NodeRef,
    key: &[u8],
) -> Result<(Path, PageNo), StoreError> {
    let mut page = pages.own(*root)?;
    *root = NodeRef { page, checksum: 0 };
    let mut path = Path::with_capacity(4);
    let mut expected = None;
    loop {
        let node = pages.owned(page)?;
        if expected.is_some_and(|level| node.level() != level) {
            return Err(StoreError::corrupt(page, "it is not one level below its parent"));
        }
        if node.is_leaf() {
            return Ok((path, page));
        }
        let i = node.route(key)?;
        let child = node.child(i)?;
        expected = Some(node.level() - 1);
        let own = pages.own(child)?;
        if own != child.page {
            pages.edit(page)?.set_child(i, NodeRef { page: own, checksum: 0 })?;
        }
        path.push((page, i));
        page = own;
    }
}

/// Sets the value of `key`. Returns whether the key had one. `O(log n)`.
pub(crate) fn insert(
    pages: &mut Workspace,
    root: &mut NodeRef,
    key: &[u8],
    value: &[u8],
) -> Result<bool, StoreError> {
    if LEAF_HEAD + key.len() + value.len() <= max_cell(pages.page_size()) {
        return put(pages, root, key, value.len() as u16, value);
    }
    let record = pages.store_value(value)?.encode();
    put(pages, root, key, OVERFLOW, &record)
}

/// [`insert`] of a value that is known to be short.
pub(crate) fn put_inline(
    pages: &mut Workspace,
    root: &mut NodeRef,
    key: &[u8],
    value: &[u8],
) -> Result<bool, StoreError> {
    debug_assert!(LEAF_HEAD + key.len() + value.len() <= max_cell(pages.page_size()));
    put(pages, root, key, value.len() as u16, value)
}

fn put(
    pages: &mut Workspace,
    root: &mut NodeRef,
    key: &[u8],
    tag: u16,
    value: &[u8],
) -> Result<bool, StoreError> {
    if root.is_empty() {
        let page = pages.new_node(0)?;
        pages.edit(page)?.insert_leaf(0, key, tag, value)?;
        *root = NodeRef { page, checksum: 0 };
        return Ok(false);
    }
    let (path, leaf) = descend(pages, root, key)?;
    let node = pages.owned(leaf)?;
    let (i, found) = match node.search(key)? {
        Ok(i) => (i, true),
        Err(i) => (i, false),
    };
    if found {
        let old = match node.entry(i)?.1 {
            Stored::Inline(old) if tag == old.len() as u16 => {
                pages.edit(leaf)?.value_mut(i)?.copy_from_slice(value);
                return Ok(true);
            }
            Stored::Inline(_) => None,
            Stored::Overflow(old) => Some(old),
        };
        if let Some(old) = old {
            pages.free_value(old)?;
        }
        pages.edit(leaf)?.remove(i)?;
    }
    if pages.edit(leaf)?.fits(LEAF_HEAD + key.len() + value.len()) {
        pages.edit(leaf)?.insert_leaf(i, key, tag, value)?;
        return Ok(found);
    }
    let mut place = (path, leaf, i);
    if share(pages, &mut place.0, &mut place.1, i, key)? {
        let node = pages.owned(place.1)?;
        place.2 = match node.search(key)? {
            Ok(i) | Err(i) => i,
        };
        if pages.edit(place.1)?.fits(LEAF_HEAD + key.len() + value.len()) {
            pages.edit(place.1)?.insert_leaf(place.2, key, tag, value)?;
            return Ok(found);
        }
    }
    let (path, leaf, i) = place;
    split_leaf(pages, root, path, leaf, NewEntry { at: i, key, tag, value })?;
    Ok(found)
}

/// Evens out a full leaf with a neighbour that has room, if the neighbour is this transaction's own already, because copying a page to
/// put off a split would write more than it saves. Then `leaf` becomes the one of the two leaves that `key` belongs to.
///
/// Loads in random order fill pages by a tenth more this way.
fn share(
    pages: &mut Workspace,
    path: &mut Path,
    leaf: &mut PageNo,
    at: usize,
    key: &[u8],
) -> Result<bool, StoreError> {
    let Some(&(parent, i)) = path.last() else { return Ok(false) };
    let node = pages.owned(parent)?;
    let full = pages.owned(*leaf)?;
    if at == full.count() && i + 1 == node.count() {
        // With ascending keys the neighbour is full, and stays full.
        return Ok(false);
    }
    let room = pages.page_size() - HEADER;
    let candidates = [i.checked_sub(1), (i + 1 < node.count()).then_some(i + 1)];
    let mut roomy = None;
    for sibling in candidates.into_iter().flatten() {
        let page = node.child(sibling)?.page;
        if pages.is_own(page) && pages.owned(page)?.used() * 3 < room * 2 {
            roomy = Some((sibling, page));
            break;
        }
    }
    let Some((sibling, other)) = roomy else { return Ok(false) };
    let (left, right) = if sibling < i { (other, *leaf) } else { (*leaf, other) };
    let (old_left, old_right) = (pages.owned_copy(left)?, pages.owned_copy(right)?);
    let (a, b) = (Node::new(left, &old_left)?, Node::new(right, &old_right)?);
    let half = usize::midpoint(a.used(), b.used());
    let (mut count, mut bytes) = (0, 0);
    while count < a.count() + b.count() - 1 {
        let cell = if count < a.count() { a.cell(count)? } else { b.cell(count - a.count())? };
        let with = bytes + cell.1 + SLOT;
        // The entry in the middle joins the half that makes both more alike: then both fit.
        if count > 0 && with > half && with - half > half.saturating_sub(bytes) {
            break;
        }
        bytes = with;
        count += 1;
        if bytes >= half {
            break;
        }
    }
    let entry = |i: usize| if i < a.count() { a.key(i) } else { b.key(i - a.count()) };
    let separator = separator(entry(count - 1)?, entry(count)?).to_vec();
    let index = i.max(sibling);
    // The old separator makes room for the new one.
    let node = pages.owned(parent)?;
    let longer = separator.len().saturating_sub(node.key(index)?.len());
    if longer > 0 && !pages.edit(parent)?.fits(longer) {
        return Ok(false);
    }
    let (from_a, from_b) = (count.min(a.count()), count.saturating_sub(a.count()));
    let mut edit = NodeMut::format(left, pages.bytes_mut(left)?, 0);
    edit.append_from(a, 0..from_a)?;
    edit.append_from(b, 0..from_b)?;
    let mut edit = NodeMut::format(right, pages.bytes_mut(right)?, 0);
    edit.append_from(a, from_a..a.count())?;
    edit.append_from(b, from_b..b.count())?;
    let mut edit = pages.edit(parent)?;
    edit.remove(index)?;
    edit.insert_child(index, &separator, NodeRef { page: right, checksum: 0 })?;
    let to_right = key >= &separator[..];
    *leaf = if to_right { right } else { left };
    if let Some(last) = path.last_mut() {
        last.1 = if to_right { index } else { index - 1 };
    }
    Ok(true)
}

/// Returns the number of entries, of `count + 1` with the new one, that stay on the left.
///
/// Appending leaves the left page full: ascending keys then fill pages wholly.
fn split_point(node: Node<'_>, at: usize, new: usize) -> Result<usize, StoreError> {
    let count = node.count();
    if at == count {
        return Ok(count);
    }
    let total = node.used() + new;
    let mut left = 0;
    for i in 0..count {
        let size = if i == at { new } else { node.cell(i - usize::from(i > at))?.1 + SLOT };
        if (left + size) * 2 > total && i > 0 {
            // The entry in the middle joins the half that makes both more alike.
            let with = (left + size).abs_diff(total - left - size);
            return Ok(if with < left.abs_diff(total - left) { i + 1 } else { i });
        }
        left += size;
    }
    Ok(count)
}

/// An entry that is inserted into a leaf.
#[derive(Clone, Copy)]
struct NewEntry<'a> {
    /// Its place among the entries of the leaf.
    at: usize,
    key: &'a [u8],
    tag: u16,
    value: &'a [u8],
}

fn split_leaf(
    pages: &mut Workspace,
    root: &mut NodeRef,
    path: Path,
    leaf: PageNo,
    NewEntry { at, key, tag, value }: NewEntry<'_>,
) -> Result<(), StoreError> {
    let right = pages.new_node(0)?;
    let old = pages.owned_copy(leaf)?;
    let node = Node::new(leaf, &old)?;
    let count = node.count();
    let split = split_point(node, at, LEAF_HEAD + key.len() + value.len() + SLOT)?;
    // Number of old entries on the left.
    let kept = split - usize::from(at < split);
    NodeMut::format(leaf, pages.bytes_mut(leaf)?, 0).append_from(node, 0..kept)?;
    pages.edit(right)?.append_from(node, kept..count)?;
    if at < split {
        pages.edit(leaf)?.insert_leaf(at, key, tag, value)?;
    } else {
        pages.edit(right)?.insert_leaf(at - kept, key, tag, value)?;
    }
    let left_node = pages.owned(leaf)?;
    let right_node = pages.owned(right)?;
    let last = left_node.key(left_node.count() - 1)?;
    let separator = separator(last, right_node.key(0)?).to_vec();
    add_child(pages, root, path, leaf, &separator, right)
}

/// Returns the shortest key that is greater than `left` and not greater than `right`.
pub(super) fn separator<'a>(left: &[u8], right: &'a [u8]) -> &'a [u8] {
    &right[..(common_prefix(left, right) + 1).min(right.len())]
}

/// Inserts `right` into the tree behind `left`, its sibling at the end of `path`.
fn add_child(
    pages: &mut Workspace,
    root: &mut NodeRef,
    mut path: Path,
    mut left: PageNo,
    key: &[u8],
    mut right: PageNo,
) -> Result<(), StoreError> {
    let mut key = key.to_vec();
    while let Some((page, i)) = path.pop() {
        let child = NodeRef { page: right, checksum: 0 };
        if pages.edit(page)?.fits(BRANCH_HEAD + key.len()) {
            return pages.edit(page)?.insert_child(i + 1, &key, child);
        }
        let level = pages.owned(page)?.level();
        let new = pages.new_node(level)?;
        let old = pages.owned_copy(page)?;
        let node = Node::new(page, &old)?;
        let count = node.count();
        let at = i + 1;
        // The left side keeps at least two entries, so that each side has a child after the first key is cleared.
        let split = split_point(node, at, BRANCH_HEAD + key.len() + SLOT)?.max(1);
        let kept = split - usize::from(at < split);
        NodeMut::format(page, pages.bytes_mut(page)?, level).append_from(node, 0..kept)?;
        let up;
        if at < split {
            pages.edit(page)?.insert_child(at, &key, child)?;
            up = node.key(kept)?.to_vec();
            pages.edit(new)?.append_from(node, kept..count)?;
        } else if at == kept {
            up = std::mem::take(&mut key);
            let mut edit = pages.edit(new)?;
            edit.insert_child(0, &[], child)?;
            edit.append_from(node, kept..count)?;
        } else {
            up = node.key(kept)?.to_vec();
            let mut edit = pages.edit(new)?;
            edit.append_from(node, kept..count)?;
            edit.insert_child(at - kept, &key, child)?;
        }
        pages.edit(new)?.clear_first_key()?;
        key = up;
        (left, right) = (page, new);
    }
    let level = pages.owned(left)?.level() + 1;
    if level > MAX_LEVEL {
        return Err(StoreError::corrupt(left, "the tree is too high"));
    }
    let page = pages.new_node(level)?;
    let mut edit = pages.edit(page)?;
    edit.insert_child(0, &[], NodeRef { page: left, checksum: 0 })?;
    edit.insert_child(1, &key, NodeRef { page: right, checksum: 0 })?;
    *root = NodeRef { page, checksum: 0 };
    Ok(())
}
