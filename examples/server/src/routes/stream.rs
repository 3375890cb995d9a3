//! Answers one after the other, as server-sent events.
//!
//! A search continues from its cursor, round by round. A round runs on a worker thread; between two rounds the search has no thread, so a slow
//! client delays no other. If the client goes away, the response is dropped, and with it a guard that cancels the round.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use futures_util::Stream;
use futures_util::stream::{self, StreamExt};
use nearfield::CancelToken;
use nearfield::search::Cursor;
use serde::Serialize;

use crate::app::App;
use crate::auth::Right;
use crate::extract::{Client, Path, Sought};
use crate::library::Library;
use crate::problem::{Problem, Result};
use crate::search::{Found, SearchRequest, Wanted, found, tuned};

/// Answers of the first round. Each further round doubles the number of all answers, as the iterator does.
const FIRST: usize = 32;

/// Cancels a search when the client goes away.
struct Guard {
    cancel: Arc<CancelToken>,
    is_over: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.is_over {
            metrics::counter!("server_streams_cancelled_total").increment(1);
            self.cancel.cancel();
        }
    }
}

/// A search between two rounds.
struct Walk {
    app: App,
    library: Arc<Library>,
    vector: Arc<[f32]>,
    wanted: Wanted,
    deadline: Instant,
    cursor: Cursor,
    guard: Guard,
}

/// The answers of a round.
struct Round {
    hits: Vec<Found>,
    cursor: Cursor,
    /// Whether no round follows, and then whether the search ran to its end.
    end: Option<bool>,
}

#[derive(Serialize)]
struct End {
    given: usize,
    complete: bool,
}

/// Searches a library, and sends each answer as soon as it is found: events `hit`, then `end` or `problem`. With `k`, up to that number.
#[utoipa::path(post, path = "/v1/libraries/{library}/search/stream", tag = "search", params(("library" = String, Path)),
    request_body = SearchRequest,
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 422, body = Problem)))]
pub(super) async fn stream(
    State(app): State<App>,
    client: Client,
    Path(name): Path<String>,
    Sought(request): Sought,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let library = app.library(&client.caller, Right::Read, &name)?;
    let deadline = client.arrived + app.limits().timeout(request.timeout_ms);
    let wanted = Wanted::of(&request, app.limits())?;
    let vector = app.query(&library, request.vector, request.text, deadline).await?;
    let guard = Guard { cancel: Arc::new(CancelToken::new()), is_over: false };
    let walk = Walk { app, library, vector, wanted, deadline, cursor: Cursor::default(), guard };
    let events = stream::unfold(Some(walk), |walk| async { Some(walk?.next().await) });
    Ok(Sse::new(events.flat_map(stream::iter)))
}

impl Walk {
    /// Returns the events of the next round, and the search if it goes on.
    async fn next(mut self) -> (Vec<Result<Event, Infallible>>, Option<Self>) {
        let round = tokio::select! {
            round = self.round() => round,
            () = self.app.ending().cancelled() => Err(Problem::unavailable("the service ends")),
        };
        let round = match round {
            Ok(round) => round,
            Err(problem) => {
                self.guard.is_over = true;
                return (vec![Ok(event("problem", &problem))], None);
            }
        };
        let mut events: Vec<_> = round.hits.iter().map(|hit| Ok(event("hit", hit))).collect();
        self.cursor = round.cursor;
        let Some(complete) = round.end else { return (events, Some(self)) };
        self.guard.is_over = true;
        let end = End { given: self.cursor.given(), complete };
        events.push(Ok(event("end", &end)));
        (events, None)
    }

    async fn round(&self) -> Result<Round> {
        let (library, vector, wanted) =
            (Arc::clone(&self.library), Arc::clone(&self.vector), self.wanted.clone());
        let (cursor, cancel, deadline) =
            (self.cursor.clone(), Arc::clone(&self.guard.cancel), self.deadline);
        let round = move || round(&library, &vector, &wanted, cursor, (&cancel, deadline));
        self.app.workers().run(self.deadline, round).await
    }
}

fn round(
    library: &Library,
    vector: &[f32],
    wanted: &Wanted,
    cursor: Cursor,
    (cancel, deadline): (&CancelToken, Instant),
) -> Result<Round> {
    let view = library.view();
    let selection = library.selection(&view, wanted)?;
    let search = view.search(vector).deadline(deadline).cancel(cancel);
    let count = FIRST.max(cursor.given());
    let mut answers =
        tuned!(search, view, *wanted).filter(selection.as_deref()).iter_from(cursor)?;
    let hits: Vec<_> = answers.by_ref().take(count).collect();
    let cursor = answers.cursor();
    let is_over = hits.len() < count || cursor.given() >= wanted.k;
    let end = is_over.then(|| answers.is_complete());
    Ok(Round { hits: found(&view.records()?, &hits, wanted.include)?, cursor, end })
}

/// Returns an event with JSON.
fn event(name: &str, data: &impl Serialize) -> Event {
    let event = Event::default().event(name).json_data(data);
    event.unwrap_or_else(|_| Event::default().event("problem"))
}
