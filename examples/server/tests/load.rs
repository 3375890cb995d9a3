//! Many clients at one time.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use support::{expect, ids, start_with};

/// Concurrent searches are answered together, each with its own answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_of_many_clients_are_gathered() {
    let server = start_with(|settings| {
        settings.limits.threads = Some(1);
        settings.limits.result_cache = 0;
        settings.limits.gather_us = 500;
    })
    .await;
    server.library("a").await;
    server.fill("a", 5_000).await;
    let before = server.counter("server_batch_searches_count", "").await;
    let search = async |i: usize| {
        let odd = i.is_multiple_of(3);
        let body = if odd {
            json!({ "vector": [i, 0, 0, 0], "k": 1, "filter": { "parity": "odd" } })
        } else {
            json!({ "vector": [i, 0, 0, 0], "k": 1 })
        };
        let found = server.ids("a", &body).await;
        let expected = if odd && i.is_multiple_of(2) {
            vec![format!("d{}", i - 1), format!("d{}", i + 1)]
        } else {
            vec![format!("d{i}")]
        };
        assert!(expected.contains(&found[0]), "{i}: {found:?}");
    };
    for round in 0..10 {
        join_all((0..100).map(|i| search(100 + round * 100 + i))).await;
    }
    let batches = server.counter("server_batch_searches_count", "").await - before;
    assert!(batches < 900.0, "{batches} batches for 1,000 searches");
}

/// A search without time harms no other search of its batch.
#[tokio::test]
async fn each_search_keeps_its_own_deadline() {
    let server = start_with(|settings| {
        settings.limits.threads = Some(1);
        settings.limits.result_cache = 0;
    })
    .await;
    server.library("a").await;
    server.fill("a", 2_000).await;
    let all = (0..60).map(|i| {
        let timeout = if i % 2 == 0 { 1 } else { 20_000 };
        let body = json!({ "vector": [i, 1, 0, 0], "k": 5, "timeout_ms": timeout });
        let server = &server;
        async move {
            let answer = server.post("/v1/libraries/a/search", &body).send().await.unwrap();
            let status = answer.status().as_u16();
            let body: Value = answer.json().await.unwrap();
            if i % 2 == 1 {
                assert_eq!((status, &body["complete"]), (200, &json!(true)));
                assert_eq!(ids(&body)[0], format!("d{i}"));
            } else {
                assert!(status == 200 || status == 504, "{body}");
            }
        }
    });
    join_all(all).await;
}

/// More clients than the queue takes are refused at once, and the service is itself again when they are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spike_is_refused_and_forgotten() {
    let server = start_with(|settings| {
        settings.limits.threads = Some(1);
        settings.limits.queue = 8;
        settings.limits.result_cache = 0;
        settings.limits.max_k = 20_000;
    })
    .await;
    server.library("a").await;
    server.fill("a", 20_000).await;
    let server = Arc::new(server);
    let clients = (0..200).map(|i| {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            // A search that takes milliseconds.
            let body = json!({ "vector": [i, 0, 0, 0], "k": 2_000, "timeout_ms": 60_000 });
            let answer = server.post("/v1/libraries/a/search", &body).send().await.unwrap();
            let (status, retry) =
                (answer.status().as_u16(), answer.headers().get("retry-after").cloned());
            assert_eq!(status == 429, retry.is_some_and(|seconds| seconds == "1"));
            assert_eq!(answer.json::<Value>().await.unwrap()["hits"].is_array(), status == 200);
            status
        })
    });
    let statuses: Vec<u16> = join_all(clients).await.into_iter().map(Result::unwrap).collect();
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!(count(200) + count(429), 200, "{statuses:?}");
    assert!(count(429) > 20 && count(200) >= 8, "{} and {}", count(200), count(429));
    let start = Instant::now();
    assert_eq!(server.ids("a", &json!({ "vector": [5, 0, 0, 0], "k": 1 })).await, ["d5"]);
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// Writers of one library share commits, and each sees its own document at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_many_clients_share_commits() {
    let server = Arc::new(start_with(|_| {}).await);
    server.library("a").await;
    let clients = (0..16).map(|client| {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let mut last = 0;
            for i in 0..20 {
                let id = format!("c{client}-{i}");
                let body = json!({ "id": id, "vector": [client, i, 0, 0] });
                let written = expect(server.post("/v1/libraries/a/documents", &body), 201).await;
                let commit = written["commit"].as_u64().unwrap();
                assert!(commit > last);
                last = commit;
                let found = server.ids("a", &json!({ "vector": [client, i, 0, 0], "k": 1 })).await;
                assert_eq!(found, [id]);
            }
        })
    });
    for client in join_all(clients).await {
        client.unwrap();
    }
    let stats = expect(server.get("/v1/libraries/a/statistics"), 200).await;
    assert_eq!(stats["documents"], 320);
    assert!(stats["commit"].as_u64().unwrap() < 300, "{stats}");
}

/// A change that comes while the service ends is made or refused, never half of both.
#[tokio::test]
async fn the_end_finishes_requests_and_closes_the_libraries() {
    let mut server = start_with(|_| {}).await;
    server.library("a").await;
    let client = server.client.clone();
    let url = format!("{}/v1/libraries/a/documents", server.base);
    let writes = tokio::spawn(async move {
        let mut kept = Vec::new();
        for i in 0..10_000 {
            let body = json!({ "id": format!("d{i}"), "vector": [i, 0, 0, 0] });
            match client.post(&url).json(&body).send().await {
                Ok(answer) if answer.status() == 201 => kept.push(i),
                _ => break,
            }
        }
        kept
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.running.end().await;
    let kept = writes.await.unwrap();
    assert!(!kept.is_empty());
    server = support::start_in(server.folder, |_| {}).await;
    let documents = expect(server.get("/v1/libraries/a"), 200).await["documents"].as_u64().unwrap();
    assert!(
        documents >= kept.len() as u64 && documents <= kept.len() as u64 + 1,
        "{documents}, {}",
        kept.len()
    );
    let stats = expect(server.get("/v1/libraries/a/statistics"), 200).await;
    // The end wrote everything into the columns.
    assert_eq!(stats["journal_bytes"], 0);
}
