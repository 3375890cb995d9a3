//! Walks over whole trees.

use super::Source;
use crate::store::error::StoreError;
use crate::store::format::{Node, NodeRef, OVERFLOW, Run, Stored};
use crate::store::maintenance::Plan;
use crate::store::pages::Workspace;

/// What a walk meets.
pub(crate) enum Visit<'p> {
    /// A node, before what is in it.
    Node(Node<'p>),
    /// An entry of the leaf that was met last.
    Entry(&'p [u8], Stored<'p>),
}

/// Calls `f` for each node and each entry, in the order of keys. It ends on any bytes, since every step goes down
/// a level; how often a page may be met is the caller's to judge.
pub(crate) fn visit<'p, S: Source<'p>>(
    source: S,
    root: NodeRef,
    f: &mut dyn FnMut(Visit<'p>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    fn go<'p, S: Source<'p>>(
        source: S,
        node: Node<'p>,
        f: &mut dyn FnMut(Visit<'p>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        f(Visit::Node(node))?;
        for i in 0..node.count() {
            if node.is_leaf() {
                let (key, value) = node.entry(i)?;
                f(Visit::Entry(key, value))?;
            } else {
                go(source, source.child(node, i)?, f)?;
            }
        }
        Ok(())
    }
    if root.is_empty() {
        return Ok(());
    }
    go(source, source.node(root)?, f)
}

/// Moves pages and long values of a tree as the plan says. Children come before their parents.
pub(crate) fn relocate(
    pages: &mut Workspace,
    root: &mut NodeRef,
    plan: &Plan<'_>,
) -> Result<(), StoreError> {
    if root.is_empty() {
        return Ok(());
    }
    *root = relocate_node(pages, *root, plan)?;
    Ok(())
}

fn relocate_node(
    pages: &mut Workspace,
    at: NodeRef,
    plan: &Plan<'_>,
) -> Result<NodeRef, StoreError> {
    plan.steps.step(pages.shared.page_size as u64)?;
    let mut here = at;
    let node = (&*pages).node(here)?;
    let (count, is_leaf, level) = (node.count(), node.is_leaf(), node.level());
    for i in 0..count {
        if is_leaf {
            let (key, stored) = (&*pages).node(here)?.entry(i)?;
            let Stored::Overflow(value) = stored else { continue };
            let run =
                Run { start: value.page, pages: value.len.div_ceil(pages.page_size() as u64) };
            if !plan.wants(pages, run) {
                continue;
            }
            let (key, bytes) = (key.to_vec(), (&*pages).value(stored)?.to_vec());
            plan.steps.step(bytes.len() as u64)?;
            let Some(place) = plan.place(pages, run, &[1])? else { continue };
            let moved = pages.move_value(value, &bytes, place)?;
            here = NodeRef { page: pages.own(here)?, checksum: 0 };
            let mut edit = pages.edit(here.page)?;
            edit.remove(i)?;
            edit.insert_leaf(i, &key, OVERFLOW, &moved.encode())?;
        } else {
            let child = (&*pages).node(here)?.child(i)?;
            if (&*pages).node(child)?.level() + 1 != level {
                return Err(StoreError::corrupt(
                    child.page,
                    "it is not one level below its parent",
                ));
            }
            let moved = relocate_node(pages, child, plan)?;
            if moved != child {
                here = NodeRef { page: pages.own(here)?, checksum: 0 };
                pages.edit(here.page)?.set_child(i, moved)?;
            }
        }
    }
    if plan.wants(pages, Run::one(here.page)) && plan.has_page(pages, here.page) {
        here = NodeRef { page: pages.own(here)?, checksum: 0 };
    }
    Ok(here)
}
