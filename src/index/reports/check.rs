//! The report on an index's soundness.

use std::fmt;

use crate::graph::RowFault;

/// The result of [`Hnsw::check`](crate::Hnsw::check).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CheckReport {
    /// Number of vectors in the index.
    pub len: usize,
    /// Each level of the graph, the base first.
    pub levels: Vec<LevelCheck>,
    /// All faults; empty if the index is sound.
    pub faults: Vec<IndexFault>,
}

impl CheckReport {
    /// Returns whether the index has no fault: every vector is reachable, every link refers to a node.
    pub fn is_ok(&self) -> bool {
        self.faults.is_empty()
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} vectors, {} faults", self.len, self.faults.len())?;
        for (level, check) in self.levels.iter().enumerate() {
            writeln!(
                f,
                "level {level}: {} nodes, {} reachable, {} to {} links, {:.1} on average",
                check.nodes,
                check.reachable,
                check.fewest_links,
                check.most_links,
                check.mean_links()
            )?;
        }
        for fault in self.faults.iter().take(20) {
            writeln!(f, "{fault}")?;
        }
        Ok(())
    }
}

/// One level of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LevelCheck {
    /// Nodes on the level.
    pub nodes: usize,
    /// Nodes that a walk can reach from the node where searches enter the level.
    pub reachable: usize,
    /// Links of all nodes.
    pub links: u64,
    /// Links of the node that has the fewest.
    pub fewest_links: usize,
    /// Links of the node that has the most.
    pub most_links: usize,
}

impl LevelCheck {
    /// Returns the links of a node on average.
    pub fn mean_links(&self) -> f64 {
        if self.nodes == 0 { 0.0 } else { self.links as f64 / self.nodes as f64 }
    }
}

/// A fault of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexFault {
    /// The level of the graph, 0 for the base.
    pub level: usize,
    /// The key of the vector concerned.
    pub key: u64,
    /// The kind of the fault.
    pub kind: IndexFaultKind,
}

/// A fault of a vector's place in the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexFaultKind {
    /// A link refers to no node.
    DanglingLink,
    /// A link refers to the vector itself.
    SelfLink,
    /// Two links refer to the same neighbour.
    DoubleLink,
    /// A link of the spanning tree has no link back.
    OneWayTreeLink,
    /// The vector is missing on a level below.
    MissingBelow,
    /// No chain of links reaches the vector.
    Unreachable,
    /// The key does not map to its vector.
    LostKey,
    /// The vector is not in the list of its nearest centroid.
    WrongList,
}

impl From<RowFault> for IndexFaultKind {
    fn from(fault: RowFault) -> Self {
        match fault {
            RowFault::Dangling => Self::DanglingLink,
            RowFault::Loop => Self::SelfLink,
            RowFault::Twice => Self::DoubleLink,
            RowFault::OneWayTree => Self::OneWayTreeLink,
            RowFault::Floating => Self::MissingBelow,
            RowFault::Unreachable => Self::Unreachable,
        }
    }
}

impl fmt::Display for IndexFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            IndexFaultKind::DanglingLink => "a link leads nowhere",
            IndexFaultKind::SelfLink => "a link leads to the vector itself",
            IndexFaultKind::DoubleLink => "two links lead to the same neighbour",
            IndexFaultKind::OneWayTreeLink => "a tree link is not answered by one back",
            IndexFaultKind::MissingBelow => "missing on the level below",
            IndexFaultKind::Unreachable => "no chain of links leads to it",
            IndexFaultKind::LostKey => "the key does not lead to its vector",
            IndexFaultKind::WrongList => "not in the list of its nearest centroid",
        };
        write!(f, "key {} on level {}: {what}", self.key, self.level)
    }
}
