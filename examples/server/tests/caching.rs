//! Results and embeddings that are kept, and tags.

mod support;

use serde_json::json;
use support::{expect, ids, start, start_with};
use tokio::sync::Mutex;

/// The counters are those of the process, so the tests run one after the other.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Returns the hits and the misses of the cache of results.
async fn counts(server: &support::Server) -> (f64, f64) {
    let count = async |outcome: &str| {
        let label = format!("cache=\"result\",outcome=\"{outcome}\"");
        server.counter("server_cache_total", &label).await
    };
    (count("hit").await, count("miss").await)
}

#[tokio::test]
async fn a_result_is_kept_until_the_library_changes() {
    let _alone = ALONE.lock().await;
    let server = start().await;
    server.library("a").await;
    server.fill("a", 50).await;
    let search = json!({ "vector": [1, 0, 0, 0], "k": 3 });
    let before = counts(&server).await;
    for _ in 0..5 {
        assert_eq!(server.ids("a", &search).await, ["d1", "d0", "d2"]);
    }
    assert_eq!(counts(&server).await, (before.0 + 4.0, before.1 + 1.0));
    // Each parameter is a part of the key.
    let others = [
        json!({ "vector": [1, 0, 0, 0], "k": 4 }),
        json!({ "vector": [1, 0, 0, 0.5], "k": 3 }),
        json!({ "vector": [1, 0, 0, 0], "k": 3, "ef": 65 }),
        json!({ "vector": [1, 0, 0, 0], "k": 3, "radius": 100.0 }),
        json!({ "vector": [1, 0, 0, 0], "k": 3, "filter": { "parity": "even" } }),
        json!({ "vector": [1, 0, 0, 0], "k": 3, "include": true }),
    ];
    for other in &others {
        server.ids("a", other).await;
    }
    assert_eq!(counts(&server).await, (before.0 + 4.0, before.1 + 7.0));
    // An acknowledged change is in the next answer.
    for i in 0..20 {
        let document =
            json!({ "id": format!("new{i}"), "vector": [1.0 + 1e-3 * (20 - i) as f32, 0, 0, 0] });
        expect(server.post("/v1/libraries/a/documents", &document), 201).await;
        assert_eq!(server.ids("a", &search).await[1], format!("new{i}"));
    }
    expect(server.delete("/v1/libraries/a/documents/new19"), 200).await;
    assert_eq!(server.ids("a", &search).await[1], "new18");
    // A library of the same name, made anew, has none of the answers of the old one.
    expect(server.delete("/v1/libraries/a"), 204).await;
    server.library("a").await;
    assert!(server.ids("a", &search).await.is_empty());
}

#[tokio::test]
async fn a_tag_stays_until_the_library_changes() {
    let _alone = ALONE.lock().await;
    let server = start().await;
    expect(server.post("/v1/libraries", &json!({ "name": "t" })), 201).await;
    expect(server.post("/v1/libraries/t/documents", &json!({ "id": "x", "text": "a ship" })), 201)
        .await;
    let path = "/v1/libraries/t/search?text=vessel&k=1";
    let first = server.get(path).send().await.unwrap();
    let etag = first.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(first.headers()["cache-control"], "private, no-cache");
    assert_eq!(ids(&first.json().await.unwrap()), ["x"]);
    for tags in [etag.clone(), format!("\"other\", {etag}")] {
        let same = server.get(path).header("if-none-match", tags).send().await.unwrap();
        assert_eq!(
            (same.status().as_u16(), same.headers()["etag"].to_str().unwrap()),
            (304, &*etag)
        );
        assert!(same.bytes().await.unwrap().is_empty());
    }
    let other = server.get("/v1/libraries/t/search?text=vessel&k=2").header("if-none-match", &etag);
    assert_eq!(other.send().await.unwrap().status(), 200);
    expect(server.post("/v1/libraries/t/documents", &json!({ "id": "y", "text": "vessel" })), 201)
        .await;
    let changed = server.get(path).header("if-none-match", &etag).send().await.unwrap();
    assert_eq!(changed.status(), 200);
    assert_eq!(ids(&changed.json().await.unwrap()), ["y"]);
}

#[tokio::test]
async fn without_caches_answers_are_the_same() {
    let _alone = ALONE.lock().await;
    let server = start_with(|settings| {
        settings.limits.result_cache = 0;
        settings.limits.embedding_cache = 0;
    })
    .await;
    expect(server.post("/v1/libraries", &json!({ "name": "t" })), 201).await;
    for (id, text) in [("x", "a ship"), ("y", "roast potatoes")] {
        expect(server.post("/v1/libraries/t/documents", &json!({ "id": id, "text": text })), 201)
            .await;
    }
    for _ in 0..3 {
        assert_eq!(server.ids("t", &json!({ "text": "vessel" })).await, ["x", "y"]);
    }
}
