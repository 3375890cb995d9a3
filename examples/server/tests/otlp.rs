//! Spans for an OpenTelemetry collector.

#![cfg(feature = "otlp")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use reqwest::Client;
use serde_json::json;
use support::{Folder, expect};

/// A span names its request, and those of the library below it are sent with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_reach_the_collector() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let folder = Folder::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_server"))
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(folder.path().join("data"))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let base = lines.next().unwrap().unwrap();
    let base = base.strip_prefix("listening on ").unwrap();
    assert!(lines.next().unwrap().unwrap().starts_with("ready"));
    let client = Client::new();
    let library = json!({ "name": "a", "dimension": 2 });
    expect(client.post(format!("{base}/v1/libraries")).json(&library), 201).await;
    let search = json!({ "vector": [1, 0] });
    expect(client.post(format!("{base}/v1/libraries/a/search")).json(&search), 200).await;
    // At its end the program sends the spans that are left.
    let signalled = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(signalled.success());
    let (mut stream, _) = collector.accept().unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut head, mut length) = (String::new(), 0);
    while reader.read_line(&mut head).unwrap() > 2 {
        let last = head.lines().last().unwrap().to_ascii_lowercase();
        if let Some(value) = last.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
    }
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    let text = String::from_utf8_lossy(&body);
    for part in ["nearfield-server", "request", "/v1/libraries/{library}/search", "store_sync"] {
        assert!(text.contains(part), "{part}");
    }
    drop((stream, reader, collector));
    assert!(child.wait().unwrap().success());
}
