//! The one place where requests leave the threads of the reactor.
//!
//! Searching, reading a file and waiting for the disk block a thread. They run on tokio's blocking threads; permits bound
//! the number that runs, a counter the number that waits. A request that finds the queue full is refused at once, and one that is still in it
//! at the end of its time never starts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;

use crate::problem::{Problem, Result};

/// Threads for blocking work, and the queue before them.
#[derive(Debug)]
pub struct Workers {
    permits: Arc<Semaphore>,
    threads: usize,
    waiting: AtomicUsize,
    most_waiting: usize,
}

/// A place in the queue, until it is dropped.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// Returns workers that run `threads` pieces of work at one time while `most_waiting` wait.
    pub fn new(threads: usize, most_waiting: usize) -> Self {
        let permits = Arc::new(Semaphore::new(threads));
        Self { permits, threads, waiting: AtomicUsize::new(0), most_waiting }
    }

    /// Runs work that blocks, and returns its result. Work that began runs to its end, even if the caller goes away.
    ///
    /// # Errors
    ///
    /// 429 if the queue is full, 504 if the deadline passes in the queue, 500 if the work panics.
    pub async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let since = Instant::now();
        let permit = self.enter(deadline).await?;
        stage("queue", since.elapsed());
        run_with(permit, work).await?
    }

    /// Waits for the right to run, without a place in the queue: for work that answers many requests, of which each has its own bound.
    pub async fn permit(&self) -> Result<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        permit.map_err(|_| Problem::unavailable("the service ends"))
    }

    async fn enter(&self, deadline: Instant) -> Result<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        let place = Place(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.most_waiting {
            return Err(Problem::busy());
        }
        let permit = timeout_at(deadline.into(), self.permit()).await;
        drop(place);
        permit
            .map_err(|_| Problem::late("the request waited in the queue until its time was over"))?
    }

    /// Returns the pieces of work that may run at one time.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Returns the number of pieces of work that run.
    pub fn running(&self) -> usize {
        self.threads - self.permits.available_permits().min(self.threads)
    }

    /// Returns the number of requests in the queue.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// Runs work on a blocking thread, and gives the permit back at its end.
pub async fn run_with<T: Send + 'static>(
    permit: OwnedSemaphorePermit,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let span = tracing::Span::current();
    let work = move || {
        let _permit = permit;
        span.in_scope(work)
    };
    spawn_blocking(work).await.map_err(Problem::internal)
}

/// Runs work that waits for the disk, beside those that hold permits: each library commits one group at a time.
pub async fn run_beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    spawn_blocking(work).await.map_err(Problem::internal)
}

/// Records the time that a request spent in a stage.
pub fn stage(name: &'static str, time: Duration) {
    metrics::histogram!("server_stage_seconds", "stage" => name).record(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    #[tokio::test]
    async fn a_full_queue_and_a_passed_deadline_are_told_apart() {
        let workers = Workers::new(1, 1);
        let permit = workers.permit().await.unwrap();
        assert_eq!((workers.running(), workers.waiting()), (1, 0));
        let (first, second) =
            tokio::join!(workers.run(soon(), || Ok(1)), workers.run(soon(), || Ok(2)),);
        assert_eq!(first.unwrap_err().status(), 504);
        assert_eq!(second.unwrap_err().status(), 429);
        drop(permit);
        assert_eq!(workers.run(soon(), || Ok(3)).await.unwrap(), 3);
        assert_eq!((workers.running(), workers.waiting()), (0, 0));
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_and_loses_no_permit() {
        let workers = Workers::new(1, 1);
        for _ in 0..3 {
            let failed = workers.run(soon(), || -> Result<()> { panic!("a fault") }).await;
            assert_eq!(failed.unwrap_err().status(), 500);
        }
        assert_eq!(workers.run(soon(), || Ok(3)).await.unwrap(), 3);
    }
}
