//! A service around nearfield: libraries of documents behind HTTP.
//!
//! It is an example that is good enough to deploy. `README.md` beside it is the chapter about nearfield in a service; each file here has
//! one idea of it:
//!
//! | file | idea |
//! |---|---|
//! | `workers.rs` | blocking work off the reactor: permits, a bounded queue, deadlines |
//! | `gather.rs` | searches that wait at the same time are answered by one `search_batch` |
//! | `writer.rs` | changes of several requests are one commit |
//! | `cache.rs` | results by vector, parameters and commit |
//! | `library.rs`, `shelf.rs` | a collection in a folder; folders that no name can leave |
//! | `view.rs`, `replica.rs` | a library as a request reads it, of this process or of another one |
//! | `backup.rs` | copies in a folder that no client chooses |
//! | `document.rs`, `search.rs` | documents and searches, checked |
//! | `embed/` | texts as vectors |
//! | `auth.rs`, `rate.rs` | keys, rights, rates |
//! | `problem.rs`, `extract.rs` | errors as problem documents |
//! | `observe.rs`, `residency.rs` | metrics, spans, the share of a file that is in memory |
//! | `routes/` | the paths |
//! | `serve.rs`, `trace.rs` | start and end, the log, spans for a collector |

#![warn(clippy::unwrap_used)]

mod app;
mod auth;
mod backup;
mod cache;
mod document;
mod embed;
mod extract;
mod gather;
mod library;
mod observe;
mod problem;
mod rate;
mod replica;
mod residency;
mod routes;
mod search;
mod serve;
mod settings;
mod shelf;
mod trace;
mod view;
mod workers;
mod writer;

pub use auth::new_key;
pub use serve::{Running, serve};
pub use settings::{Command, Limits, Settings, Task};
pub use trace::{Tracing, start as start_tracing};
