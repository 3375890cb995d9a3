//! A replica: a process that answers searches of the libraries that another process on the machine writes.
//!
//! It opens their files for reading, takes a snapshot of each several times a second, and looks for libraries that the writer made or
//! deleted. Requests read the last snapshot and wait for nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::app::App;
use crate::workers::run_beside;

/// Time between two looks for libraries that were made or deleted.
const SCAN: Duration = Duration::from_secs(1);

/// Follows the writer, with a snapshot of each library every `period`.
pub async fn run(app: App, period: Duration) {
    let mut scanned = Instant::now();
    loop {
        tokio::time::sleep(period).await;
        let shelf = Arc::clone(app.shelf());
        let is_due = scanned.elapsed() >= SCAN;
        let followed = run_beside(move || {
            shelf.refresh();
            if is_due { shelf.scan() } else { Ok(()) }
        });
        if is_due {
            scanned = Instant::now();
        }
        if let Err(problem) = followed.await.and_then(|followed| followed) {
            tracing::error!(detail = problem.detail(), "the replica could not follow the writer");
        }
    }
}
