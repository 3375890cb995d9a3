//! Work without the interpreter's lock: short work on the caller's thread, long work on another one, while the caller's thread asks Python
//! for signals.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nearfield::CancelToken;
use pyo3::prelude::*;

use crate::fault::{Fault, Outcome};

/// Time between two questions for signals.
const TICK: Duration = Duration::from_millis(50);

/// Runs `work` on this thread, without the interpreter's lock.
pub(crate) fn quick<R: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Outcome<R> + Send,
) -> PyResult<R> {
    let result = py.detach(|| catch_unwind(AssertUnwindSafe(work)));
    Ok(whole(result)?)
}

/// Runs `work` on another thread. Meanwhile this thread calls `tick` now and then, and handles signals; after an exception it cancels
/// the work, waits for its end, and raises the exception.
pub(crate) fn long<R: Send>(
    py: Python<'_>,
    cancel: &CancelToken,
    work: impl FnOnce() -> Outcome<R> + Send,
    tick: &mut (dyn FnMut(Python<'_>) -> PyResult<()> + Send),
) -> PyResult<R> {
    let result = py.detach(|| {
        thread::scope(|scope| {
            let (sender, done) = channel();
            let builder = thread::Builder::new().name("nearfield-call".to_owned());
            let worker = builder.spawn_scoped(scope, move || {
                let result = catch_unwind(AssertUnwindSafe(work));
                // The receiver lives until the worker has ended.
                let _ = sender.send(());
                result
            });
            let worker = worker.map_err(|error| {
                Fault::Own("StorageError", format!("a thread could not be started: {error}"))
            })?;
            let mut raised = None;
            while done.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                if raised.is_some() {
                    continue;
                }
                let asked = Python::attach(|py| py.check_signals().and_then(|()| tick(py)));
                if let Err(error) = asked {
                    cancel.cancel();
                    raised = Some(error);
                }
            }
            let result = worker.join().unwrap_or_else(Err);
            raised.map_or_else(|| whole(result), |error| Err(Fault::Python(error)))
        })
    });
    let result = result?;
    tick(py)?;
    Ok(result)
}

/// Makes a fault of a panic.
fn whole<R>(result: Result<Outcome<R>, Box<dyn Any + Send>>) -> Outcome<R> {
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
        Err(Fault::Own("InternalError", format!("a fault of nearfield, please report it: {text}")))
    })
}
