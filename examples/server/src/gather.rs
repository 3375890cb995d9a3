//! Searches that wait at the same time are answered in one batch.
//!
//! A search begins at once if a thread is free. Those that come while all threads search wait in a queue, of which a thread takes up to
//! 64 with the same parameters, and answers them by one `search_batch`. While other threads search, it may also wait for more of them, for up to
//! half a millisecond and never beyond the deadline of the oldest.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nearfield::{BatchHits, Hit};
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::library::Library;
use crate::problem::{Problem, Result};
use crate::search::{Answers, Wanted, found, tuned};
use crate::settings::Limits;
use crate::view::{Records, View};
use crate::workers::{Workers, run_with, stage};

/// Time after its deadline in which a search still brings the answers that it found.
const GRACE: Duration = Duration::from_millis(100);

/// A search in the queue.
#[derive(Debug)]
struct Ask {
    vector: Arc<[f32]>,
    wanted: Wanted,
    deadline: Instant,
    since: Instant,
    reply: oneshot::Sender<Result<Answers>>,
}

#[derive(Debug, Default)]
struct Queue {
    asks: VecDeque<Ask>,
    /// Tasks that take from the queue.
    takers: usize,
}

/// The queue of searches of a library.
#[derive(Debug)]
pub struct Gather {
    queue: Mutex<Queue>,
    came: Condvar,
    most_waiting: usize,
    batch: usize,
    patience: Duration,
}

impl Gather {
    /// Returns an empty queue.
    pub fn new(limits: &Limits) -> Self {
        Self {
            queue: Mutex::default(),
            came: Condvar::new(),
            most_waiting: limits.queue.max(1),
            batch: limits.batch.clamp(1, 64),
            patience: limits.gather(),
        }
    }

    /// Returns the number of searches in the queue.
    pub fn waiting(&self) -> usize {
        self.lock().asks.len()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a search to the queue, and returns whether it needs another task that takes from it.
    fn add(&self, ask: Ask, threads: usize) -> Result<bool> {
        let mut queue = self.lock();
        if queue.asks.len() >= self.most_waiting {
            return Err(Problem::busy());
        }
        queue.asks.push_back(ask);
        let needs_taker = queue.takers < threads;
        queue.takers += usize::from(needs_taker);
        drop(queue);
        self.came.notify_one();
        Ok(needs_taker)
    }

    /// Takes the oldest search, and others with the same parameters; searches whose clients are gone or whose time is over are left out.
    fn take(&self, is_busy: bool) -> Vec<Ask> {
        let mut queue = self.lock();
        let mut batch: Vec<Ask> = Vec::new();
        let start = Instant::now();
        loop {
            let now = Instant::now();
            let mut left = VecDeque::with_capacity(queue.asks.len());
            for ask in std::mem::take(&mut queue.asks) {
                if ask.reply.is_closed() {
                    continue;
                }
                if ask.deadline <= now {
                    let late =
                        Problem::late("the search waited in the queue until its time was over");
                    let _ = ask.reply.send(Err(late));
                } else if batch.len() < self.batch
                    && batch.first().is_none_or(|first| first.wanted == ask.wanted)
                {
                    batch.push(ask);
                } else {
                    left.push_back(ask);
                }
            }
            queue.asks = left;
            let oldest = batch.iter().map(|ask| ask.deadline).min();
            let end = oldest.map(|oldest| oldest.min(start + self.patience));
            let wait = end.map_or(Duration::ZERO, |end| end.saturating_duration_since(now));
            if !is_busy || batch.len() >= self.batch || wait.is_zero() {
                return batch;
            }
            let woken = self.came.wait_timeout(queue, wait);
            queue = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Searches a library.
///
/// # Errors
///
/// 429 if the queue is full, 504 if the deadline passes in the queue, 422 for a query that the library refuses.
pub async fn search(
    library: &Arc<Library>,
    workers: &Arc<Workers>,
    vector: Arc<[f32]>,
    wanted: Wanted,
    deadline: Instant,
) -> Result<Answers> {
    let (reply, answer) = oneshot::channel();
    let ask = Ask { vector, wanted, deadline, since: Instant::now(), reply };
    if library.gather.add(ask, workers.threads())? {
        tokio::spawn(serve(Arc::clone(library), Arc::clone(workers)));
    }
    match timeout_at((deadline + GRACE).into(), answer).await {
        Ok(answer) => {
            answer.unwrap_or_else(|_| Err(Problem::internal("a batch of searches failed")))
        }
        Err(_) => Err(Problem::late("the search found no answer within its time")),
    }
}

/// Takes from the queue, batch by batch, until it is empty.
async fn serve(library: Arc<Library>, workers: Arc<Workers>) {
    loop {
        if let Ok(permit) = workers.permit().await {
            let is_busy = workers.running() > 1;
            let library = Arc::clone(&library);
            let work = move || answer(&library, library.gather.take(is_busy));
            // A panic drops the replies of its batch, which their requests see as a fault of the service.
            let _ = run_with(permit, work).await;
        }
        let mut queue = library.gather.lock();
        if queue.asks.is_empty() {
            queue.takers -= 1;
            return;
        }
    }
}

/// Answers searches with the same parameters.
fn answer(library: &Library, batch: Vec<Ask>) {
    let Some(first) = batch.first() else { return };
    let now = Instant::now();
    for ask in &batch {
        stage("queue", now.duration_since(ask.since));
    }
    metrics::histogram!("server_batch_searches").record(batch.len() as f64);
    let view = library.view();
    let together = if batch.len() > 1 {
        search_batch(library, &view, &batch, &first.wanted).ok()
    } else {
        None
    };
    let Some(together) = together else {
        for ask in batch {
            let answers = alone(library, &view, &ask);
            let _ = ask.reply.send(answers);
        }
        return;
    };
    // The names and documents of all answers are of one commit.
    let records = view.records();
    for (position, ask) in batch.into_iter().enumerate() {
        // The batch ended at the earliest deadline, and this search may have more time.
        let is_complete = together.completed(position) == Some(true);
        let answers = match &records {
            Ok(records) if is_complete || ask.deadline <= Instant::now() => {
                answers(records, &view, &ask, &together[position], is_complete)
            }
            Ok(_) => alone(library, &view, &ask),
            Err(problem) => Err(problem.clone()),
        };
        let _ = ask.reply.send(answers);
    }
}

fn answers(
    records: &Records<'_>,
    view: &View,
    ask: &Ask,
    hits: &[Hit],
    complete: bool,
) -> Result<Answers> {
    let since = Instant::now();
    let hits = found(records, hits, ask.wanted.include)?;
    stage("load", since.elapsed());
    Ok(Answers { hits, complete, commit: view.commit() })
}

/// Answers one search by itself.
fn alone(library: &Library, view: &View, ask: &Ask) -> Result<Answers> {
    let since = Instant::now();
    let selection = library.selection(view, &ask.wanted)?;
    let search = view.search(&ask.vector).deadline(ask.deadline);
    let hits = tuned!(search, view, ask.wanted).filter(selection.as_deref()).run()?;
    stage("search", since.elapsed());
    answers(&view.records()?, view, ask, &hits, hits.is_complete())
}

/// Answers several searches, until the earliest of their deadlines.
fn search_batch(
    library: &Library,
    view: &View,
    batch: &[Ask],
    wanted: &Wanted,
) -> Result<BatchHits> {
    let since = Instant::now();
    let selection = library.selection(view, wanted)?;
    let queries: Vec<f32> = batch.iter().flat_map(|ask| ask.vector.iter().copied()).collect();
    let mut search = view.search_batch(&queries).threads(1);
    if let Some(earliest) = batch.iter().map(|ask| ask.deadline).min() {
        search = search.deadline(earliest);
    }
    let hits = tuned!(search, view, *wanted).filter(selection.as_deref()).run()?;
    stage("search", since.elapsed());
    Ok(hits)
}
