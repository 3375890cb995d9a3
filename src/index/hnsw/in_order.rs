//! Inserting many vectors so that the index is the same, byte by byte, for any number of threads.
//!
//! Vectors are inserted in batches of a thirty-second of the graph (prefix doubling). Slots are taken in order. Each node of a batch searches for
//! its neighbours in the graph before the batch, on any thread; all enter the spanning trees in order, which is a few percent of the work; then each
//! row gets its links in order, each on any thread. Nodes of a batch do not see each other, so batches take vectors evenly from the input. A node
//! above all others is linked alone. The threads belong to the batch: a pool's thread that waits within the lock would take up other work, which may
//! wait for the lock.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::Hnsw;
use crate::arena::pin;
use crate::error::IndexError;
use crate::graph::{Counters, Draft, LinkBack, Outlook, Scratch};
use crate::index::build::order::Even;
use crate::index::build::ordered::{Ordered, go_on};
use crate::index::entries::space::Rows;
use crate::index::scratch::Work;
use crate::sync::Mutex;
use crate::vector::Block;

/// Maximum batch: `MOST` nodes, or 1/`PART` of the linked nodes if fewer. Nodes of one batch cannot link to each other.
const MOST: usize = 1024;
const PART: usize = 32;

/// Minimum tasks of a thread, below which its start costs more than it saves.
const LEAST: usize = 4;

/// Does `task` for each number below `count`, on threads of the batch: a thread of a pool that waits here, within a lock,
/// would take up other work, which may wait for the lock.
fn share(threads: usize, count: usize, task: &(impl Fn(usize) + Sync)) {
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                return;
            }
            task(at);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(count / LEAST) {
            // If a thread cannot be started, the others do its work.
            drop(std::thread::Builder::new().spawn_scoped(scope, work));
        }
        work();
    });
}

impl Hnsw {
    /// Inserts the vectors in batches. The result of a batch does not depend on its threads.
    pub(in crate::index) fn insert_in_order(
        &self,
        ordered: &Ordered<'_>,
    ) -> Result<(), IndexError> {
        // Nodes of a batch do not see each other: a batch takes vectors from the whole input, so that few are alike.
        let order = Even::new(ordered.count);
        let ordered = &Ordered {
            key: &|turn| (ordered.key)(order.position(turn)),
            encode: &|turn, work| (ordered.encode)(order.position(turn), work),
            ..*ordered
        };
        let mut done = 0;
        while done < ordered.count {
            go_on(ordered.cancel)?;
            let size = (self.len() / PART).clamp(1, MOST).min(ordered.count - done);
            let (taken, failure) = self.insert_part(ordered, done, size);
            for _ in 0..taken {
                self.work.with(|work| {
                    // Training beside insertions would end at a time that varies.
                    self.advance(true, work);
                    self.sweep_on(work);
                });
                (ordered.inserted)();
            }
            done += taken;
            failure?;
        }
        Ok(())
    }

    /// Inserts up to `size` vectors behind the `first` ones. Returns their number, and the error that ended it early.
    fn insert_part(
        &self,
        ordered: &Ordered<'_>,
        first: usize,
        size: usize,
    ) -> (usize, Result<(), IndexError>) {
        let _shared = self.inserting.read();
        let _pin = pin();
        let mut drafts = Vec::with_capacity(size);
        let mut failure = Ok(());
        let mut outstanding = None;
        for turn in first..first + size {
            match self.work.with(|work| self.draft(ordered, turn, work)) {
                Ok(draft) if self.graph.stands_out(&draft) => {
                    outstanding = Some(draft);
                    break;
                }
                Ok(draft) => drafts.push(Mutex::new(draft)),
                Err(error) => {
                    failure = Err(error);
                    break;
                }
            }
        }
        let count = drafts.len();
        if let Some(outlook) = self.graph.outlook() {
            self.link_part(ordered, first, drafts, outlook);
        }
        if let Some(draft) = &outstanding {
            self.for_query(ordered, first + count, |space, query, scratch| {
                self.graph.link_alone(space, query, draft, scratch);
            });
        }
        (count + usize::from(outstanding.is_some()), failure)
    }

    /// Links nodes, which hold the vectors behind the `first` ones.
    fn link_part(
        &self,
        ordered: &Ordered<'_>,
        first: usize,
        mut drafts: Vec<Mutex<Draft>>,
        outlook: Outlook,
    ) {
        share(ordered.threads, drafts.len(), &|at| {
            self.for_query(ordered, first + at, |space, query, scratch| {
                self.graph.sketch(space, query, &mut drafts[at].lock(), outlook, scratch);
            });
        });
        let drafts: Vec<Draft> = drafts.drain(..).map(Mutex::into_inner).collect();
        let links = self.work.with(|work| {
            work.scratch.counters = Counters::default();
            let links = self.graph.enter_all(self.linking_space(), &drafts, &mut work.scratch);
            self.count_insertion(work);
            links
        });
        let rows = LinkBack::by_row(&links);
        share(ordered.threads, rows.len(), &|at| {
            self.work.with(|work| {
                work.scratch.counters = Counters::default();
                self.graph.link_back(self.linking_space(), rows[at], &mut work.scratch);
                self.count_insertion(work);
            });
        });
    }

    /// Passes the vector of this turn, and the rows to compare it with, to `run`.
    fn for_query(
        &self,
        ordered: &Ordered<'_>,
        turn: usize,
        run: impl FnOnce(Rows<'_>, &[Block], &mut Scratch),
    ) {
        self.work.with(|work| {
            // `draft` encoded the same vector before, without an error.
            drop((ordered.encode)(turn, work));
            self.entries.encoder.unit_into(&work.row, &mut work.coding.floats);
            self.compare(None, work, run);
        });
    }

    /// Appends the vector of a turn to the index, and drafts its node.
    fn draft(
        &self,
        ordered: &Ordered<'_>,
        turn: usize,
        work: &mut Work,
    ) -> Result<Draft, IndexError> {
        (ordered.encode)(turn, work)?;
        let Work { row, coding, .. } = work;
        let place = self.entries.append((ordered.key)(turn), row, coding, Some(&self.graph))?;
        Ok(self.graph.draft(place.slot.into(), place.is_reused))
    }
}
