//! A replica: the program reads what another process of it writes.

mod support;

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use support::process::Process;
use support::{Folder, expect, ids};

/// A writer and a replica of the same folder, and a client of both.
struct Pair {
    writer: Process,
    replica: Process,
    client: Client,
    folder: Folder,
}

const REPLICA: [&str; 3] = ["--replica", "--refresh-ms", "20"];

impl Pair {
    fn start() -> Self {
        let folder = Folder::new();
        let writer = Process::start(&folder.path().join("data"));
        let replica = Process::start_with(&folder.path().join("data"), &REPLICA);
        Self { writer, replica, client: Client::new(), folder }
    }

    fn write(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client.post(format!("{}/v1/libraries{path}", self.writer.base)).json(body)
    }

    fn read(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}/v1/libraries{path}", self.replica.base))
    }

    fn ask(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client.post(format!("{}/v1/libraries{path}", self.replica.base)).json(body)
    }

    async fn library(&self, name: &str, dimension: usize) {
        let body = json!({ "name": name, "dimension": dimension, "metric": "l2" });
        expect(self.write("", &body), 201).await;
    }

    async fn bulk(&self, name: &str, documents: impl Iterator<Item = Value>) -> u64 {
        let lines: String = documents.map(|line| format!("{line}\n")).collect();
        let url = format!("{}/v1/libraries/{name}/documents/bulk", self.writer.base);
        let request = self.client.post(url).header("content-type", "application/x-ndjson");
        let loaded = expect(request.body(lines), 200).await;
        assert_eq!(loaded["refused"], 0);
        loaded["commit"].as_u64().unwrap()
    }

    /// Waits until the replica has a number of documents in a library; `None` for no library.
    async fn settled(&self, name: &str, documents: Option<usize>) {
        let path = format!("/{name}");
        until(&format!("{documents:?} documents"), async || {
            let answer = self.read(&path).send().await.unwrap();
            let found = answer.status().is_success();
            let body: Value = answer.json().await.unwrap();
            found == documents.is_some() && documents.is_none_or(|count| body["documents"] == count)
        })
        .await;
    }
}

/// Waits for a condition, for a few seconds at most.
async fn until(what: &str, is_met: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !is_met().await {
        assert!(start.elapsed() < Duration::from_secs(20), "the replica never has {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn documents(numbers: std::ops::Range<usize>) -> impl Iterator<Item = Value> {
    numbers.map(|i| {
        json!({ "id": format!("d{i}"), "title": format!("Document {i}"), "vector": [i, 0, 0, 0],
            "metadata": { "number": i } })
    })
}

#[tokio::test]
async fn a_replica_answers_from_the_newest_commits() {
    let pair = Pair::start();
    pair.library("a", 4).await;
    let commit = pair.bulk("a", documents(0..300)).await;
    pair.settled("a", Some(300)).await;

    let search = json!({ "vector": [7, 0, 0, 0], "k": 3, "include": true });
    let found = expect(pair.ask("/a/search", &search), 200).await;
    assert_eq!(ids(&found)[0], "d7");
    assert_eq!(found["hits"][0]["document"]["title"], "Document 7");
    assert!(found["commit"].as_u64().unwrap() >= commit, "{found}");
    let filter = json!({ "vector": [7, 0, 0, 0], "k": 2, "filter": { "number": { "$gte": 200 } } });
    assert_eq!(ids(&expect(pair.ask("/a/search", &filter), 200).await), ["d200", "d201"]);
    let batch = json!({ "searches": [search, filter] });
    let results = expect(pair.ask("/a/batch", &batch), 200).await;
    assert_eq!(ids(&results["results"][1]), ["d200", "d201"]);
    let whole = expect(pair.read("/a/documents/d9"), 200).await;
    assert_eq!(whole["vector"], json!([9.0, 0.0, 0.0, 0.0]));
    let page = expect(pair.read("/a/documents?limit=2"), 200).await;
    assert_eq!(page["documents"][1]["id"], "d1");
    let stats = expect(pair.read("/a/statistics"), 200).await;
    assert_eq!((&stats["replica"], &stats["documents"]), (&json!(true), &json!(300)));
    let stream = pair.ask("/a/search/stream", &json!({ "vector": [7, 0, 0, 0], "k": 40 }));
    let mut events = stream.send().await.unwrap().bytes_stream();
    let mut text = String::new();
    while let Some(part) = events.next().await {
        text += std::str::from_utf8(&part.unwrap()).unwrap();
    }
    assert_eq!(text.matches("event: hit").count(), 40, "{text}");

    // A change, and a removal. The cached answer of the commit before is not given any more.
    let closer = json!({ "id": "new", "vector": [7.25, 0, 0, 0] });
    expect(pair.write("/a/documents", &closer), 201).await;
    pair.settled("a", Some(301)).await;
    let found = expect(pair.ask("/a/search", &search), 200).await;
    assert_eq!(ids(&found)[..2], ["d7", "new"]);
    let gone = format!("{}/v1/libraries/a/documents/d7", pair.writer.base);
    expect(pair.client.delete(gone), 200).await;
    pair.settled("a", Some(300)).await;
    assert_eq!(ids(&expect(pair.ask("/a/search", &search), 200).await)[0], "new");
    expect(pair.read("/a/documents/d7"), 404).await;
}

#[tokio::test]
async fn a_replica_meets_libraries_that_come_and_go() {
    let pair = Pair::start();
    expect(pair.read("/a"), 404).await;
    pair.library("a", 4).await;
    pair.settled("a", Some(0)).await;
    let delete = || pair.client.delete(format!("{}/v1/libraries/a", pair.writer.base));
    expect(delete(), 204).await;
    pair.settled("a", None).await;
    // Another library of the same name, between two looks of the replica.
    pair.library("a", 4).await;
    pair.bulk("a", documents(0..5)).await;
    pair.settled("a", Some(5)).await;
    expect(delete(), 204).await;
    pair.library("a", 2).await;
    pair.settled("a", Some(0)).await;
    assert_eq!(expect(pair.read("/a"), 200).await["dimension"], 2);
    let ended = std::process::Command::new("kill")
        .arg(pair.replica.child.id().to_string())
        .status()
        .unwrap();
    assert!(ended.success());
    // The replica removes nothing of the writer's, at its end as at its start.
    let again = Process::start_with(&pair.folder.path().join("data"), &REPLICA);
    let url = format!("{}/v1/libraries/a", again.base);
    assert_eq!(expect(pair.client.get(url), 200).await["dimension"], 2);
}

#[tokio::test]
async fn a_replica_refuses_changes() {
    let pair = Pair::start();
    pair.library("a", 4).await;
    pair.bulk("a", documents(0..5)).await;
    pair.settled("a", Some(5)).await;
    let url = |path: &str| format!("{}/v1/libraries{path}", pair.replica.base);
    let client = &pair.client;
    let document = json!({ "id": "x", "vector": [1, 0, 0, 0] });
    let changes = [
        client.post(url("")).json(&json!({ "name": "b", "dimension": 4 })),
        client.delete(url("/a")),
        client.post(url("/a/documents")).json(&document),
        client.put(url("/a/documents/x")).json(&document),
        client.delete(url("/a/documents/d1")),
        client.delete(url("/a/documents")).json(&json!({ "filter": {} })),
        client
            .post(url("/a/documents/bulk"))
            .header("content-type", "application/x-ndjson")
            .body(document.to_string()),
        client.post(url("/a/calibrate")),
        client.post(url("/a/backup")),
    ];
    for change in changes {
        let refused = expect(change, 403).await;
        assert_eq!(refused["type"], "urn:nearfield:read-only");
    }
    assert_eq!(expect(pair.read("/a"), 200).await["documents"], 5);
    assert_eq!(expect(pair.read(""), 200).await["libraries"].as_array().unwrap().len(), 1);
}

/// Two documents of one commit are both in a page of the replica, or neither is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_shows_whole_commits() {
    let pair = Pair::start();
    pair.library("a", 4).await;
    pair.settled("a", Some(0)).await;
    let url = format!("{}/v1/libraries/a/documents?limit=1000", pair.replica.base);
    let client = pair.client.clone();
    let reading = tokio::spawn(async move {
        let mut seen = 0;
        while seen < 160 {
            let page = expect(client.get(&url), 200).await;
            let count = page["documents"].as_array().unwrap().len();
            assert!(count >= seen && count.is_multiple_of(2), "{count} after {seen}");
            seen = count;
        }
    });
    for i in 0..80 {
        pair.bulk("a", documents(2 * i..2 * i + 2)).await;
    }
    tokio::time::timeout(Duration::from_secs(20), reading).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_replica_outlives_its_writer() {
    let mut pair = Pair::start();
    pair.library("a", 4).await;
    pair.bulk("a", documents(0..50)).await;
    pair.settled("a", Some(50)).await;
    for round in 0..3 {
        let data = pair.folder.path().join("data");
        let count = 50 + round;
        std::mem::replace(&mut pair.writer, Process::start_with(&data, &REPLICA)).kill();
        let search = json!({ "vector": [7, 0, 0, 0], "k": 1 });
        assert_eq!(ids(&expect(pair.ask("/a/search", &search), 200).await), ["d7"]);
        pair.writer = Process::start(&data);
        let document = json!({ "id": format!("after{round}"), "vector": [0, 1, 0, 0] });
        expect(pair.write("/a/documents", &document), 201).await;
        pair.settled("a", Some(count + 1)).await;
    }
}
