//! A server on a port of its own, and a client of it.

#![allow(dead_code, reason = "each test program uses a part")]

pub mod process;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use server::{Running, Settings, serve};

/// A folder that is removed with its owner.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("nearfield-server-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server in this process.
pub struct Server {
    pub running: Running,
    pub client: Client,
    pub base: String,
    pub folder: Folder,
}

/// Starts a server with changed settings.
pub async fn start_with(change: impl FnOnce(&mut Settings)) -> Server {
    let folder = Folder::new();
    start_in(folder, change).await
}

/// Starts a server in a folder that may have libraries.
pub async fn start_in(folder: Folder, change: impl FnOnce(&mut Settings)) -> Server {
    let mut settings = Settings::in_folder(folder.path().join("data"));
    settings.listen = "127.0.0.1:0".parse().unwrap();
    change(&mut settings);
    let running = serve(&settings).await.unwrap();
    running.open().await.unwrap();
    let base = format!("http://{}", running.address());
    Server { running, client: Client::new(), base, folder }
}

pub async fn start() -> Server {
    start_with(|_| {}).await
}

impl Server {
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.base))
    }

    pub fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.base)).json(body)
    }

    pub fn delete(&self, path: &str) -> RequestBuilder {
        self.client.delete(format!("{}{path}", self.base))
    }

    /// Makes a library of vectors with four components under L2.
    pub async fn library(&self, name: &str) {
        let body = json!({ "name": name, "dimension": 4, "metric": "l2", "quantization": "none" });
        expect(self.post("/v1/libraries", &body), 201).await;
    }

    /// Adds documents `0..count`: the vector `[i, 0, 0, 0]`, and metadata of it.
    pub async fn fill(&self, name: &str, count: usize) {
        let lines = (0..count).map(|i| {
            let vector = [i as f32, 0.0, 0.0, 0.0];
            let metadata = json!({ "number": i, "parity": if i % 2 == 0 { "even" } else { "odd" } });
            json!({ "id": format!("d{i}"), "title": format!("Document {i}"), "vector": vector, "metadata": metadata })
        });
        let lines: String = lines.map(|line| format!("{line}\n")).collect();
        let loaded = expect(self.bulk(name, lines), 200).await;
        assert_eq!((&loaded["documents"], &loaded["refused"]), (&json!(count), &json!(0)));
    }

    pub fn bulk(&self, name: &str, lines: impl Into<reqwest::Body>) -> RequestBuilder {
        let url = format!("{}/v1/libraries/{name}/documents/bulk", self.base);
        self.client.post(url).header("content-type", "application/x-ndjson").body(lines)
    }

    /// Searches and returns the ids of the answers.
    pub async fn ids(&self, name: &str, body: &Value) -> Vec<String> {
        let found = expect(self.post(&format!("/v1/libraries/{name}/search"), body), 200).await;
        ids(&found)
    }

    /// Returns the sum of a counter over the labels that contain `part`.
    pub async fn counter(&self, name: &str, part: &str) -> f64 {
        let text = self.get("/metrics").send().await.unwrap().text().await.unwrap();
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(part));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

/// Returns the ids of answers.
pub fn ids(found: &Value) -> Vec<String> {
    let hits = found["hits"].as_array().unwrap();
    hits.iter().map(|hit| hit["id"].as_str().unwrap().to_owned()).collect()
}

/// Sends a request, checks the status, and returns the JSON; a problem document has its own type and repeats the status.
pub async fn expect(request: RequestBuilder, status: u16) -> Value {
    let response = request.send().await.unwrap();
    json_of(response, status).await
}

pub async fn json_of(response: Response, status: u16) -> Value {
    let found = response.status().as_u16();
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    let text = response.text().await.unwrap();
    assert_eq!(found, status, "{text}");
    if text.is_empty() {
        return Value::Null;
    }
    let body: Value = serde_json::from_str(&text).unwrap_or(Value::String(text.clone()));
    if status >= 400 {
        assert_eq!(kind.as_deref(), Some("application/problem+json"), "{text}");
        assert_eq!(body["status"], status, "{text}");
        for field in ["type", "title", "detail"] {
            assert!(body[field].as_str().is_some_and(|text| !text.is_empty()), "{text}");
        }
        // No path of the machine and no source file.
        let internals = ["/tmp", ".rs", "nearfield-server-", "panicked"];
        assert!(internals.iter().all(|part| !text.contains(part)), "{text}");
    }
    body
}
