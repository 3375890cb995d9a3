//! Libraries of the kind `flat`: their answers are those of a comparison with every vector.

mod support;

use std::collections::{HashMap, HashSet};

use futures_util::StreamExt;
use serde_json::{Value, json};
use support::{Server, expect, ids, start_in, start_with};

const DIMENSION: usize = 24;
const COUNT: usize = 3_000;

/// Vectors without any structure: those of which a graph finds the fewest.
fn vectors(count: usize, mut state: u64) -> Vec<Vec<f32>> {
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1 << 23) as f32) - 1.0
    };
    (0..count).map(|_| (0..DIMENSION).map(|_| next()).collect()).collect()
}

/// Checks that answers are the nearest `count`. Rounding may exchange vectors that are equally far.
#[track_caller]
fn agree(found: &[String], expected: &[(f32, String)], count: usize) {
    let count = count.min(expected.len());
    let distances: HashMap<&str, f32> = expected.iter().map(|(d, id)| (&**id, *d)).collect();
    assert_eq!(found.iter().collect::<HashSet<_>>().len(), count);
    let farthest = expected[count - 1].0 * 1.000_01;
    assert!(found.iter().all(|id| distances[&**id] <= farthest), "{found:?}");
}

/// Returns the numbers of the vectors that `accepts`, the nearest first.
fn nearest(all: &[Vec<f32>], query: &[f32], accepts: impl Fn(usize) -> bool) -> Vec<(f32, String)> {
    let distance =
        |vector: &[f32]| vector.iter().zip(query).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
    let accepted = all.iter().enumerate().filter(|(at, _)| accepts(*at));
    let mut found: Vec<_> =
        accepted.map(|(at, vector)| (distance(vector), format!("d{at}"))).collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found
}

async fn check(server: &Server, name: &str, all: &[Vec<f32>]) {
    let path = |rest: &str| format!("/v1/libraries/{name}/{rest}");
    for query in vectors(12, 99) {
        let every = nearest(all, &query, |_| true);
        // What other libraries would search less for changes nothing.
        for effort in [json!({}), json!({ "ef": 1 }), json!({ "recall": 0.5 })] {
            let mut body = json!({ "vector": query, "k": 10 });
            body.as_object_mut().unwrap().extend(effort.as_object().unwrap().clone());
            agree(&server.ids(name, &body).await, &every, 10);
        }
        for modulus in [2, 10, 100, 1_000] {
            let accepted = nearest(all, &query, |at| at.is_multiple_of(modulus));
            let filter = json!({ format!("by{modulus}"): true });
            let body = json!({ "vector": query, "k": 10, "filter": filter });
            agree(&server.ids(name, &body).await, &accepted, 10);
        }
        let radius = f32::midpoint(every[149].0, every[150].0);
        let body = json!({ "vector": query, "radius": radius });
        agree(&server.ids(name, &body).await, &every, 150);
        let body = json!({ "vector": query, "k": 200 });
        let answer = server.post(&path("search/stream"), &body).send().await.unwrap();
        let mut events = answer.bytes_stream();
        let mut text = String::new();
        while let Some(part) = events.next().await {
            text += std::str::from_utf8(&part.unwrap()).unwrap();
        }
        let hits = text.split("\n\n").filter_map(|event| event.strip_prefix("event: hit\ndata: "));
        let hits = hits.map(|hit| serde_json::from_str::<Value>(hit).unwrap());
        let streamed: Vec<_> = hits.map(|hit| hit["id"].as_str().unwrap().to_owned()).collect();
        agree(&streamed[..200], &every, 200);
    }
    let queries = vectors(40, 7);
    let searches: Vec<_> = queries.iter().map(|query| json!({ "vector": query, "k": 5 })).collect();
    let results = expect(server.post(&path("batch"), &json!({ "searches": searches })), 200).await;
    for (result, query) in results["results"].as_array().unwrap().iter().zip(&queries) {
        agree(&ids(result), &nearest(all, query, |_| true), 5);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flat_library_is_exact() {
    let all = vectors(COUNT, 5);
    let no_cache = |settings: &mut server::Settings| settings.limits.result_cache = 0;
    let mut server = start_with(no_cache).await;
    let lines = all.iter().enumerate().map(|(at, vector)| {
        let by = [2, 10, 100, 1_000].map(|m| (format!("by{m}"), json!(at.is_multiple_of(m))));
        let metadata: serde_json::Map<String, Value> = by.into_iter().collect();
        format!("{}\n", json!({ "id": format!("d{at}"), "vector": vector, "metadata": metadata }))
    });
    let lines: String = lines.collect();
    let body = json!({ "name": "a", "dimension": DIMENSION, "metric": "l2", "index": "flat" });
    for codes in ["sq8", "sq4", "pq4"] {
        let mut coded = body.clone();
        coded["quantization"] = json!(codes);
        expect(server.post("/v1/libraries", &coded), 422).await;
    }
    let made = expect(server.post("/v1/libraries", &body), 201).await;
    assert_eq!((&made["index"], &made["quantization"]), (&json!("flat"), &json!("none")));
    expect(server.bulk("a", lines), 200).await;
    check(&server, "a", &all).await;
    server.running.end().await;
    server = start_in(server.folder, no_cache).await;
    assert_eq!(expect(server.get("/v1/libraries/a"), 200).await["index"], "flat");
    check(&server, "a", &all).await;
}
