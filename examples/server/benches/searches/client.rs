//! Clients: connections that send prepared requests, one after the other.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Result;

/// Documents of one request of the load.
const PART: usize = 1_000;

/// The metadata are those of `profiling/load`, so that its users may go on with the library.
const TOPICS: [&str; 8] =
    ["graphs", "oceans", "engines", "music", "law", "plants", "stars", "bread"];

/// How clients send.
#[derive(Clone, Copy)]
pub struct Course {
    /// Connections, each with one request at a time.
    pub connections: usize,
    /// The time of the measurement.
    pub time: Duration,
    /// The time between the beginnings of two requests of a connection; none sends at once.
    pub pause: Option<Duration>,
}

/// Prepared bodies.
pub struct Requests {
    kind: &'static str,
    bodies: Arc<[Bytes]>,
}

impl Requests {
    /// Returns vectors as little-endian `f32`.
    pub fn binary(queries: &[f32], dimension: usize) -> Self {
        let bytes = |query: &[f32]| query.iter().flat_map(|x| x.to_le_bytes()).collect::<Bytes>();
        let bodies = queries.chunks_exact(dimension).map(bytes).collect();
        Self { kind: "application/octet-stream", bodies }
    }

    /// Returns vectors as JSON.
    pub fn json(queries: &[f32], dimension: usize) -> Self {
        let text = |query: &[f32]| format!("{{\"vector\":{}}}", list(query)).into();
        let bodies = queries.chunks_exact(dimension).map(text).collect();
        Self { kind: "application/json", bodies }
    }
}

/// The numbers as JSON.
fn list(vector: &[f32]) -> String {
    let mut text = String::from("[");
    for (at, component) in vector.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(text, "{comma}{component}");
    }
    text + "]"
}

/// Latencies and failures of the requests of a run.
pub struct Measured {
    /// Microseconds of each request, ascending.
    latencies: Vec<u32>,
    time: Duration,
    /// Responses other than 200.
    pub failed: usize,
}

impl Measured {
    /// Returns the answered requests a second.
    pub fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.time.as_secs_f64()
    }

    /// Returns the microseconds in which a share of the requests was answered.
    pub fn quantile(&self, share: f64) -> u32 {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get((last as f64 * share) as usize).copied().unwrap_or(0)
    }
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    path: &str,
    kind: &str,
    body: Bytes,
) -> Result<(StatusCode, Bytes)> {
    let request = Request::post(path).header("host", "server").header("content-type", kind);
    let response = sender.send_request(request.body(Full::new(body))?).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}

/// Makes the library `load` and fills it with vectors.
pub async fn load(address: SocketAddr, base: &[f32], dimension: usize) -> Result<()> {
    let mut sender = connect(address).await?;
    let library = format!("{{\"name\":\"load\",\"dimension\":{dimension}}}");
    let (status, body) =
        send(&mut sender, "/v1/libraries", "application/json", library.into()).await?;
    if status != StatusCode::CREATED {
        return Err(format!("{status}: {body:?}").into());
    }
    for (part, vectors) in base.chunks(PART * dimension).enumerate() {
        let mut lines = String::new();
        for (at, vector) in vectors.chunks_exact(dimension).enumerate() {
            let number = part * PART + at;
            let (topic, year) = (TOPICS[number % TOPICS.len()], 1950 + number % 75);
            let metadata = format!("{{\"topic\":\"{topic}\",\"year\":{year}}}");
            let vector = list(vector);
            writeln!(
                lines,
                "{{\"id\":\"d{number}\",\"vector\":{vector},\"metadata\":{metadata}}}"
            )?;
        }
        let path = "/v1/libraries/load/documents/bulk";
        let (status, body) = send(&mut sender, path, "application/x-ndjson", lines.into()).await?;
        if status != StatusCode::OK {
            return Err(format!("{status}: {body:?}").into());
        }
    }
    Ok(())
}

/// Searches the library `load` for a time.
pub async fn run(address: SocketAddr, requests: &Requests, course: Course) -> Result<Measured> {
    let (next, start) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let mut clients = JoinSet::new();
    for number in 0..course.connections {
        let sender = connect(address).await?;
        let (kind, bodies, next) = (requests.kind, Arc::clone(&requests.bodies), Arc::clone(&next));
        clients.spawn(async move {
            if let Some(pause) = course.pause {
                // Clients do not send at the same time.
                tokio::time::sleep(pause * number as u32 / course.connections as u32).await;
            }
            client(sender, kind, &bodies, &next, (start, course)).await.map_err(|e| e.to_string())
        });
    }
    let (mut latencies, mut failed) = (Vec::new(), 0);
    while let Some(client) = clients.join_next().await {
        let (mine, refused) = client??;
        latencies.extend(mine);
        failed += refused;
    }
    let time = start.elapsed();
    latencies.sort_unstable();
    Ok(Measured { latencies, time, failed })
}

async fn client(
    mut sender: SendRequest<Full<Bytes>>,
    kind: &str,
    bodies: &[Bytes],
    next: &AtomicUsize,
    (start, course): (Instant, Course),
) -> Result<(Vec<u32>, usize)> {
    let (mut latencies, mut failed) = (Vec::new(), 0);
    while start.elapsed() < course.time {
        let body = bodies[next.fetch_add(1, Ordering::Relaxed) % bodies.len()].clone();
        let sent = Instant::now();
        let (status, _) = send(&mut sender, "/v1/libraries/load/search", kind, body).await?;
        if status == StatusCode::OK {
            latencies.push(sent.elapsed().as_micros() as u32);
        } else {
            failed += 1;
        }
        if let Some(pause) = course.pause {
            tokio::time::sleep_until((sent + pause).into()).await;
        }
    }
    Ok((latencies, failed))
}
