//! Removal of a key.

use super::get;
use super::insert::{Path, descend};
use crate::store::error::StoreError;
use crate::store::format::{BRANCH_HEAD, HEADER, Node, NodeRef, Run, SLOT, Source, Stored};
use crate::store::pages::Workspace;

/// Removes `key`. Returns whether the tree had it. `O(log n)`.
pub(crate) fn remove(
    pages: &mut Workspace,
    root: &mut NodeRef,
    key: &[u8],
) -> Result<bool, StoreError> {
    // The search avoids copying the path for a key that the tree lacks.
    if get(&*pages, *root, key)?.is_none() {
        return Ok(false);
    }
    let (path, leaf) = descend(pages, root, key)?;
    let node = pages.owned(leaf)?;
    let Ok(i) = node.search(key)? else {
        return Err(StoreError::corrupt(leaf, "a key is not where it was found"));
    };
    if let Stored::Overflow(value) = node.entry(i)?.1 {
        pages.free_value(value)?;
    }
    pages.edit(leaf)?.remove(i)?;
    rebalance(pages, root, path, leaf)?;
    Ok(true)
}

/// Joins pages that have become too empty with a neighbour, from the leaf up.
fn rebalance(
    pages: &mut Workspace,
    root: &mut NodeRef,
    mut path: Path,
    mut page: u64,
) -> Result<(), StoreError> {
    let room = pages.page_size() - HEADER;
    while let Some((parent, i)) = path.pop() {
        let node = pages.owned(page)?;
        let (count, used) = (node.count(), node.used());
        if used >= room / 4 {
            return Ok(());
        }
        if count == 0 {
            // The page is a leaf, because a branch is removed with its last child, below.
            drop_child(pages, parent, i)?;
            pages.free(Run::one(page))?;
        } else {
            let siblings = pages.owned(parent)?.count();
            let mut joined = false;
            for left in [i.checked_sub(1), (i + 1 < siblings).then_some(i)].into_iter().flatten() {
                if join(pages, parent, left, room)? {
                    joined = true;
                    break;
                }
            }
            if !joined {
                return Ok(());
            }
        }
        // A branch without children is removed like an empty leaf.
        if pages.bytes_mut(parent)?[2..4] == [0, 0] {
            let mut empty = parent;
            while let Some((above, i)) = path.pop() {
                pages.free(Run::one(empty))?;
                drop_child(pages, above, i)?;
                if pages.bytes_mut(above)?[2..4] != [0, 0] {
                    return shrink_root(pages, root);
                }
                empty = above;
            }
            pages.free(Run::one(empty))?;
            *root = NodeRef::EMPTY;
            return Ok(());
        }
        page = parent;
    }
    if root.page == page && pages.owned(page)?.count() == 0 {
        pages.free(Run::one(page))?;
        *root = NodeRef::EMPTY;
        return Ok(());
    }
    shrink_root(pages, root)
}

/// Replaces a root that has one child by the child.
fn shrink_root(pages: &mut Workspace, root: &mut NodeRef) -> Result<(), StoreError> {
    loop {
        let node = (&*pages).node(*root)?;
        if node.is_leaf() || node.count() > 1 {
            return Ok(());
        }
        let child = node.child(0)?;
        pages.free(Run::one(root.page))?;
        *root = child;
    }
}

/// Removes child `i` from a branch.
fn drop_child(pages: &mut Workspace, parent: u64, i: usize) -> Result<(), StoreError> {
    let mut edit = pages.edit(parent)?;
    edit.remove(i)?;
    if pages.bytes_mut(parent)?[2..4] != [0, 0] {
        pages.edit(parent)?.clear_first_key()?;
    }
    Ok(())
}

/// Joins children `left` and `left + 1` of `parent` if they fit into one page.
fn join(pages: &mut Workspace, parent: u64, left: usize, room: usize) -> Result<bool, StoreError> {
    let node = pages.owned(parent)?;
    let (left_ref, right_ref) = (node.child(left)?, node.child(left + 1)?);
    let separator = node.key(left + 1)?.to_vec();
    let (a, b) = ((&*pages).child(node, left)?, (&*pages).child(node, left + 1)?);
    let bridge = if a.is_leaf() { 0 } else { separator.len() };
    // The joined page keeps some room, because the next insertion would split a full page again.
    if a.used() + b.used() + bridge > room - room / 8 {
        return Ok(false);
    }
    let is_leaf = a.is_leaf();
    b.validate()?;
    let own = pages.own(left_ref)?;
    let copy = (&*pages).run(right_ref.page, room + HEADER, right_ref.checksum)?.to_vec();
    let b = Node::new(right_ref.page, &copy)?;
    let mut edit = pages.edit(own)?;
    if is_leaf {
        edit.append_from(b, 0..b.count())?;
    } else {
        debug_assert!(edit.fits(BRANCH_HEAD + separator.len() + SLOT));
        let at = edit.view()?.count();
        edit.insert_child(at, &separator, b.child(0)?)?;
        edit.append_from(b, 1..b.count())?;
    }
    let mut edit = pages.edit(parent)?;
    edit.set_child(left, NodeRef { page: own, checksum: 0 })?;
    edit.remove(left + 1)?;
    pages.free(Run::one(right_ref.page))?;
    Ok(true)
}
