//! Changes of a library: those of several requests are committed together.
//!
//! A commit waits for the disk, so one commit for all requests that came meanwhile serves more of them than one each. If a group is
//! refused, each of its requests is committed alone, so that a faulty one harms no other.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use nearfield::{Predicate, Transaction};
use tokio::sync::{mpsc, oneshot};

use crate::document::Prepared;
use crate::library::Library;
use crate::problem::{Problem, Result};
use crate::workers::{run_beside, stage};

/// Requests and bytes of a group, at most; a single request may have more bytes.
const MOST_REQUESTS: usize = 256;
const MOST_BYTES: usize = 8 << 20;

/// A change of one request: made as a whole or not at all.
#[derive(Debug)]
pub enum Change {
    /// Adds documents, or replaces those of the same ids.
    Put(Vec<Prepared>),
    /// Removes documents.
    Remove(Vec<String>),
    /// Removes the documents that a predicate accepts.
    RemoveWhere(Predicate),
}

/// A change that survives a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// The number of the commit.
    pub commit: u64,
    /// Documents that were added, replaced or removed.
    pub documents: usize,
}

#[derive(Debug)]
struct Request {
    change: Change,
    deadline: Instant,
    since: Instant,
    reply: oneshot::Sender<Result<Done>>,
}

/// The queue of changes of a library.
#[derive(Debug)]
pub struct Writer {
    /// `None` once the library takes no more changes.
    sender: Mutex<Option<mpsc::Sender<Request>>>,
    receiver: Mutex<Option<mpsc::Receiver<Request>>>,
    most: usize,
}

impl Writer {
    /// Returns a queue of `most` changes. [`run`] takes them.
    pub fn new(most: usize) -> Self {
        let (sender, receiver) = mpsc::channel(most.max(1));
        Self {
            sender: Mutex::new(Some(sender)),
            receiver: Mutex::new(Some(receiver)),
            most: most.max(1),
        }
    }

    /// Makes a change, and returns when no crash can lose it.
    ///
    /// # Errors
    ///
    /// 429 if the queue is full, 504 if the deadline passes in the queue; the change is not made then. Others are those of the change.
    pub async fn submit(&self, change: Change, deadline: Instant) -> Result<Done> {
        let (reply, answer) = oneshot::channel();
        let request = Request { change, deadline, since: Instant::now(), reply };
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sender =
            sender.ok_or_else(|| Problem::unavailable("the library takes no more changes"))?;
        sender.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Problem::busy(),
            mpsc::error::TrySendError::Closed(_) => {
                Problem::unavailable("the library takes no more changes")
            }
        })?;
        answer.await.unwrap_or_else(|_| Err(Problem::internal("the writer of a library failed")))
    }

    /// Ends the queue: changes in it are made, and further ones refused.
    pub fn end(&self) {
        *self.sender.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Returns the number of changes in the queue.
    pub fn waiting(&self) -> usize {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        sender.as_ref().map_or(0, |sender| self.most - sender.capacity())
    }
}

/// Commits the changes of a library, group by group, until its queue ends.
pub async fn run(library: Arc<Library>) {
    let receiver = library.writer.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut receiver) = receiver else { return };
    while let Some(first) = receiver.recv().await {
        let mut bytes = first.change.bytes();
        let mut group = vec![first];
        while group.len() < MOST_REQUESTS
            && bytes < MOST_BYTES
            && let Ok(next) = receiver.try_recv()
        {
            bytes += next.change.bytes();
            group.push(next);
        }
        let library = Arc::clone(&library);
        // A panic drops the replies of the group, which its requests see as a fault of the service. The queue goes on.
        if let Err(problem) = run_beside(move || commit(&library, group)).await {
            tracing::error!(detail = problem.detail(), "a group of changes failed");
        }
    }
}

/// Commits a group, and answers its requests.
fn commit(library: &Library, group: Vec<Request>) {
    let now = Instant::now();
    let mut waiting = Vec::with_capacity(group.len());
    for request in group {
        stage("write_queue", now.duration_since(request.since));
        if request.deadline <= now {
            let late = Problem::late(
                "the change waited in the queue until its time was over; it was not made",
            );
            let _ = request.reply.send(Err(late));
        } else if !request.reply.is_closed() {
            waiting.push(request);
        }
    }
    metrics::histogram!("server_group_requests").record(waiting.len() as f64);
    if waiting.len() > 1
        && let Ok(done) = together(library, &waiting)
    {
        for (request, done) in waiting.into_iter().zip(done) {
            let _ = request.reply.send(Ok(done));
        }
        return;
    }
    for request in waiting {
        let done = together(library, std::slice::from_ref(&request));
        let done = done.and_then(|done| {
            done.first().copied().ok_or_else(|| Problem::internal("a commit without changes"))
        });
        let _ = request.reply.send(done);
    }
}

/// Commits some requests in one transaction.
fn together(library: &Library, requests: &[Request]) -> Result<Vec<Done>> {
    let since = Instant::now();
    let mut tx = library.collection()?.begin_write()?;
    let documents: Vec<usize> =
        requests.iter().map(|request| request.change.make(&mut tx)).collect::<Result<_>>()?;
    let commit = tx.commit()?;
    library.note_commit(commit);
    stage("commit", since.elapsed());
    Ok(documents.into_iter().map(|documents| Done { commit, documents }).collect())
}

impl Change {
    fn bytes(&self) -> usize {
        match self {
            Self::Put(documents) => documents.iter().map(Prepared::bytes).sum(),
            Self::Remove(ids) => ids.iter().map(String::len).sum(),
            Self::RemoveWhere(_) => 0,
        }
    }

    /// Makes the change in a transaction, and returns the number of documents that it changes.
    fn make(&self, tx: &mut Transaction) -> Result<usize> {
        match self {
            Self::Put(documents) => {
                for document in documents {
                    let key = tx.name_or_insert(&document.id)?;
                    tx.upsert(key, &document.vector)?;
                    tx.put_payload(key, &document.payload)?;
                    if document.attributes.is_empty() {
                        tx.remove_attributes(key)?;
                    } else {
                        tx.set(key, document.attributes.clone())?;
                    }
                }
                Ok(documents.len())
            }
            Self::Remove(ids) => {
                let mut removed = 0;
                for id in ids {
                    if let Some(key) = tx.key_of(id)? {
                        removed += usize::from(tx.remove(key)?);
                    }
                }
                Ok(removed)
            }
            Self::RemoveWhere(predicate) => Ok(tx.remove_where(predicate)?),
        }
    }
}
