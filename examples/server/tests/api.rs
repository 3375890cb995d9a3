//! Each path, by a real client over real sockets: good cases and bad ones.

mod support;

use futures_util::StreamExt;
use serde_json::{Value, json};
use support::{expect, ids, json_of, start, start_with};

#[tokio::test]
async fn libraries_are_made_listed_and_deleted() {
    let server = start().await;
    assert_eq!(expect(server.get("/v1/libraries"), 200).await, json!({ "libraries": [] }));
    let body =
        json!({ "name": "papers", "dimension": 3, "metric": "cosine", "quantization": "sq8" });
    let made = server.post("/v1/libraries", &body).send().await.unwrap();
    assert_eq!(made.headers()["location"], "/v1/libraries/papers");
    let made = json_of(made, 201).await;
    let expected = json!({ "name": "papers", "dimension": 3, "metric": "cosine", "index": "hnsw",
        "quantization": "sq8", "documents": 0, "commit": 0 });
    assert_eq!(made, expected);
    assert_eq!(expect(server.get("/v1/libraries/papers"), 200).await, expected);
    assert_eq!(expect(server.get("/v1/libraries"), 200).await["libraries"], json!([expected]));
    expect(server.post("/v1/libraries", &body), 409).await;

    // Without a dimension, a library takes the vectors of the embedder.
    let texts = expect(server.post("/v1/libraries", &json!({ "name": "texts" })), 201).await;
    assert_eq!((&texts["dimension"], &texts["metric"]), (&json!(100), &json!("cosine")));

    expect(server.delete("/v1/libraries/papers"), 204).await;
    expect(server.get("/v1/libraries/papers"), 404).await;
    expect(server.delete("/v1/libraries/papers"), 404).await;
    let folders = std::fs::read_dir(server.folder.path().join("data")).unwrap();
    let folders: Vec<_> = folders.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(folders, ["texts"]);
    // The name is free again, and nothing of the old library comes back.
    expect(server.post("/v1/libraries", &body), 201).await;
    assert_eq!(expect(server.get("/v1/libraries/papers"), 200).await["documents"], 0);
}

#[tokio::test]
async fn wrong_libraries_are_refused() {
    let server = start().await;
    let create = |body: Value| server.post("/v1/libraries", &body);
    for name in ["", "..", "../x", "a/b", "/etc/passwd", "A", ".new-x", "a\u{0}b", "c:x"] {
        expect(create(json!({ "name": name, "dimension": 4 })), 422).await;
    }
    for dimension in [0, 4097] {
        expect(create(json!({ "name": "a", "dimension": dimension })), 422).await;
    }
    let refused = expect(create(json!({ "name": "a", "dimension": 4, "index": "ivf" })), 501).await;
    assert_eq!(refused["type"], "urn:nearfield:not-supported");
    assert!(refused["detail"].as_str().unwrap().contains("flat"), "{refused}");
    expect(create(json!({ "name": "a", "dimension": 4, "metric": "taxicab" })), 422).await;
    expect(create(json!({ "name": "a", "dimension": 4, "color": "red" })), 422).await;
    expect(server.client.post(format!("{}/v1/libraries", server.base)).body("{"), 415).await;
    let broken = server.client.post(format!("{}/v1/libraries", server.base));
    expect(broken.header("content-type", "application/json").body("{"), 400).await;
    for path in [
        "/v1/libraries/a",
        "/v1/libraries/..%2f..%2fetc",
        "/v1/libraries/%2e%2e",
        "/v2",
        "/v1/libraries/a/nothing",
    ] {
        expect(server.get(path), 404).await;
    }
    expect(server.delete("/v1/libraries"), 405).await;
    assert_eq!(expect(server.get("/v1/libraries"), 200).await, json!({ "libraries": [] }));
    let rest = std::fs::read_dir(server.folder.path().join("data")).unwrap().count();
    assert_eq!(rest, 0);
}

#[tokio::test]
async fn documents_are_added_read_listed_and_removed() {
    let server = start().await;
    server.library("a").await;
    let body = json!({ "id": "x", "title": "T", "text": "some text", "vector": [1.0, 2.0, 3.0, 4.0],
        "metadata": { "year": 2024, "tags": ["p", "q"], "good": true } });
    let first = expect(server.post("/v1/libraries/a/documents", &body), 201).await;
    assert_eq!((&first["id"], &first["documents"]), (&json!("x"), &json!(1)));
    let read = expect(server.get("/v1/libraries/a/documents/x"), 200).await;
    let mut document = body.clone();
    let vector = document.as_object_mut().unwrap().remove("vector").unwrap();
    assert_eq!(read, json!({ "document": document, "vector": vector }));

    // The service makes an id; a document of the same id is replaced, with its metadata.
    let made = expect(
        server.post("/v1/libraries/a/documents", &json!({ "vector": [0.0, 0.0, 0.0, 1.0] })),
        201,
    )
    .await;
    assert_eq!(made["id"].as_str().unwrap().len(), 36);
    expect(
        server.post(
            "/v1/libraries/a/documents",
            &json!({ "id": "x", "vector": [9.0, 0.0, 0.0, 0.0] }),
        ),
        201,
    )
    .await;
    let read = expect(server.get("/v1/libraries/a/documents/x"), 200).await;
    assert_eq!(read, json!({ "document": { "id": "x" }, "vector": [9.0, 0.0, 0.0, 0.0] }));
    let filtered = json!({ "vector": [9.0, 0.0, 0.0, 0.0], "filter": { "year": 2024 } });
    assert!(server.ids("a", &filtered).await.is_empty());
    assert_eq!(expect(server.get("/v1/libraries/a"), 200).await["documents"], 2);

    // A vector in binary form.
    let bytes: Vec<u8> = [0.5_f32, -1.0, 2.0, 0.0].iter().flat_map(|c| c.to_le_bytes()).collect();
    let put = server.client.put(format!("{}/v1/libraries/a/documents/b%2F1", server.base));
    expect(put.header("content-type", "application/octet-stream").body(bytes), 201).await;
    let read = expect(server.get("/v1/libraries/a/documents/b%2F1"), 200).await;
    assert_eq!(read, json!({ "document": { "id": "b/1" }, "vector": [0.5, -1.0, 2.0, 0.0] }));

    let removed = expect(server.delete("/v1/libraries/a/documents/x"), 200).await;
    assert_eq!(removed["documents"], 1);
    expect(server.delete("/v1/libraries/a/documents/x"), 404).await;
    expect(server.get("/v1/libraries/a/documents/x"), 404).await;
    expect(server.get("/v1/libraries/none/documents/x"), 404).await;
}

#[tokio::test]
async fn wrong_documents_are_refused_and_harm_no_other() {
    let server = start().await;
    server.library("a").await;
    let wrong = [
        json!({}),
        json!({ "id": "", "vector": [1, 2, 3, 4] }),
        json!({ "id": "i".repeat(513), "vector": [1, 2, 3, 4] }),
        json!({ "id": "a\nb", "vector": [1, 2, 3, 4] }),
        json!({ "vector": [1, 2, 3] }),
        json!({ "vector": [1, 2, 3, 1e39] }),
        json!({ "vector": [3e38, 3e38, 3e38, 3e38] }),
        json!({ "vector": [1, 2, 3, 4], "metadata": { "a": { "b": 1 } } }),
        json!({ "vector": [1, 2, 3, 4], "metadata": [1] }),
        json!({ "vector": [1, 2, 3, 4], "unknown": 1 }),
        // The library takes four components, and the embedder makes a hundred.
        json!({ "text": "evening" }),
    ];
    let good = async |i: usize| {
        let body = json!({ "id": format!("good{i}"), "vector": [i, 0, 0, 0] });
        expect(server.post("/v1/libraries/a/documents", &body), 201).await;
    };
    // Faulty and good requests at the same time share commits.
    let bad = wrong.iter().map(|body| expect(server.post("/v1/libraries/a/documents", body), 422));
    futures_util::future::join(
        futures_util::future::join_all(bad),
        futures_util::future::join_all((0..40).map(good)),
    )
    .await;
    assert_eq!(expect(server.get("/v1/libraries/a"), 200).await["documents"], 40);
    let put = server.client.put(format!("{}/v1/libraries/a/documents/one", server.base));
    expect(put.json(&json!({ "id": "two", "vector": [1, 2, 3, 4] })), 422).await;
    let put = server.client.put(format!("{}/v1/libraries/a/documents/one", server.base));
    expect(put.header("content-type", "application/octet-stream").body(vec![0; 15]), 400).await;
    let large = json!({ "text": "x".repeat(3 << 20), "vector": [1, 2, 3, 4] });
    expect(server.post("/v1/libraries/a/documents", &large), 413).await;
}

#[tokio::test]
async fn lists_go_page_by_page() {
    let server = start().await;
    server.library("a").await;
    server.fill("a", 250).await;
    let list = async |query: &str| {
        expect(server.get(&format!("/v1/libraries/a/documents{query}")), 200).await
    };
    let names = |page: &Value| -> Vec<String> {
        let documents = page["documents"].as_array().unwrap();
        documents.iter().map(|document| document["id"].as_str().unwrap().to_owned()).collect()
    };
    let (mut all, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = list(&format!("?limit=60{cursor}")).await;
        all.extend(names(&page));
        pages += 1;
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
        // Documents that vanish between two pages move no other.
        if pages == 1 {
            expect(server.delete("/v1/libraries/a/documents/d5"), 200).await;
        }
    }
    assert_eq!((pages, all.len()), (5, 250));
    assert_eq!(all, (0..250).map(|i| format!("d{i}")).collect::<Vec<_>>());
    assert_eq!(names(&list("").await).len(), 100);
    let even = list("?limit=1000&filter=%7B%22parity%22%3A%22even%22%7D").await;
    assert_eq!(names(&even).len(), 125);
    assert_eq!(even["documents"][3]["metadata"]["number"], 6);
    for query in ["?limit=0", "?limit=1001", "?filter=%7B%22a%22%3A%7B%22%24no%22%3A1%7D%7D"] {
        expect(server.get(&format!("/v1/libraries/a/documents{query}")), 422).await;
    }
    for query in ["?cursor=xyz", "?filter=%7B", "?limit=many", "?size=3"] {
        expect(server.get(&format!("/v1/libraries/a/documents{query}")), 400).await;
    }

    let url = format!("{}/v1/libraries/a/documents", server.base);
    let removal = json!({ "filter": { "number": { "$lt": 100 } } });
    let removed = expect(server.client.delete(&url).json(&removal), 200).await;
    assert_eq!(removed["documents"], 99);
    assert_eq!(names(&list("?limit=1000").await).len(), 150);
    expect(server.client.delete(&url).json(&json!({ "filter": 1 })), 422).await;
    expect(server.client.delete(&url).json(&json!({})), 422).await;
}

#[tokio::test]
async fn bulk_loads_report_faulty_lines() {
    let server = start_with(|settings| settings.limits.line_bytes = 4096).await;
    server.library("a").await;
    let good = json!({ "id": "g", "vector": [1, 0, 0, 0] }).to_string();
    let lines = format!(
        "{good}\n\n{{\n{}\n{}\n  {}  \n{}",
        json!({ "id": "short", "vector": [1] }),
        json!({ "id": "long", "vector": [3e38, 3e38, 0, 0] }),
        json!({ "id": "h", "vector": [2, 0, 0, 0] }),
        json!({ "id": "last", "vector": [3, 0, 0, 0] }),
    );
    let loaded = expect(server.bulk("a", lines), 200).await;
    assert_eq!((&loaded["documents"], &loaded["refused"]), (&json!(3), &json!(3)));
    let numbers: Vec<_> =
        loaded["errors"].as_array().unwrap().iter().map(|e| e["line"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [3, 4, 5]);
    assert_eq!(server.ids("a", &json!({ "vector": [0, 0, 0, 0] })).await, ["g", "h", "last"]);

    expect(server.bulk("a", ""), 200).await;
    let wrong =
        server.client.post(format!("{}/v1/libraries/a/documents/bulk", server.base)).body("{}");
    expect(wrong, 415).await;
    expect(server.bulk("none", good.clone()), 404).await;
    // A line without an end does not fill the memory; documents before it are kept.
    let many: String = (0..600)
        .map(|i| format!("{}\n", json!({ "id": format!("m{i}"), "vector": [i, 1, 0, 0] })))
        .collect();
    expect(server.bulk("a", format!("{many}{}", "x".repeat(100_000))), 413).await;
    assert!(expect(server.get("/v1/libraries/a"), 200).await["documents"].as_u64().unwrap() >= 503);
}

#[tokio::test]
async fn searches_by_vector() {
    let server = start().await;
    server.library("a").await;
    server.fill("a", 300).await;
    let at = |x: f32| json!({ "vector": [x, 0.0, 0.0, 0.0] });
    let with = |mut body: Value, more: Value| {
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let ten: Vec<String> = (0..10).map(|i| format!("d{i}")).collect();
    assert_eq!(server.ids("a", &at(-1.0)).await, ten);
    assert_eq!(server.ids("a", &with(at(-1.0), json!({ "k": 3, "ef": 100 }))).await, ten[..3]);
    let odd =
        with(at(-1.0), json!({ "k": 3, "filter": { "parity": "odd", "number": { "$gt": 10 } } }));
    assert_eq!(server.ids("a", &odd).await, ["d11", "d13", "d15"]);
    // A radius without `k` gives all within it; the distance of this metric is the square.
    let near = with(at(0.0), json!({ "radius": 400.0 }));
    assert_eq!(server.ids("a", &near).await.len(), 21);
    assert_eq!(server.ids("a", &with(near, json!({ "k": 2 }))).await, ["d0", "d1"]);

    let whole = expect(
        server.post("/v1/libraries/a/search", &with(at(7.2), json!({ "k": 1, "include": true }))),
        200,
    )
    .await;
    let hit = &whole["hits"][0];
    assert_eq!(
        hit["document"],
        json!({ "id": "d7", "title": "Document 7", "metadata": { "number": 7, "parity": "odd" } })
    );
    assert!((hit["distance"].as_f64().unwrap() - 0.04).abs() < 1e-4);
    assert_eq!(whole["complete"], true);

    let bytes: Vec<u8> = [7.2_f32, 0.0, 0.0, 0.0].iter().flat_map(|c| c.to_le_bytes()).collect();
    let url =
        format!("{}/v1/libraries/a/search?k=2&filter=%7B%22parity%22%3A%22even%22%7D", server.base);
    let binary =
        server.client.post(&url).header("content-type", "application/octet-stream").body(bytes);
    assert_eq!(ids(&expect(binary, 200).await), ["d8", "d6"]);
    let binary = server
        .client
        .post(&url)
        .header("content-type", "application/octet-stream")
        .body(vec![0; 7]);
    expect(binary, 400).await;

    // Recall needs a measurement.
    let recall = with(at(3.0), json!({ "recall": 0.9 }));
    let refused = expect(server.post("/v1/libraries/a/search", &recall), 409).await;
    assert_eq!(refused["type"], "urn:nearfield:not-calibrated");
    let measured = expect(server.post("/v1/libraries/a/calibrate", &json!({})), 200).await;
    assert!(!measured["points"].as_array().unwrap().is_empty());
    assert_eq!(server.ids("a", &recall).await.len(), 10);
}

#[tokio::test]
async fn wrong_searches_are_refused() {
    let server = start().await;
    server.library("a").await;
    server.fill("a", 20).await;
    let cosine = json!({ "name": "c", "dimension": 2 });
    expect(server.post("/v1/libraries", &cosine), 201).await;
    let wrong = [
        json!({}),
        json!({ "vector": [1, 2, 3, 4], "text": "both" }),
        json!({ "vector": [1, 2, 3] }),
        json!({ "vector": [1, 2, 3, 1e39] }),
        json!({ "vector": [1, 2, 3, "4"] }),
        json!({ "vector": [1, 2, 3, 4], "k": 0 }),
        json!({ "vector": [1, 2, 3, 4], "k": 1001 }),
        json!({ "vector": [1, 2, 3, 4], "k": -1 }),
        json!({ "vector": [1, 2, 3, 4], "ef": 0 }),
        json!({ "vector": [1, 2, 3, 4], "ef": 1_000_000 }),
        json!({ "vector": [1, 2, 3, 4], "ef": 10, "recall": 0.9 }),
        json!({ "vector": [1, 2, 3, 4], "recall": 0 }),
        json!({ "vector": [1, 2, 3, 4], "recall": 1.5 }),
        json!({ "vector": [1, 2, 3, 4], "filter": { "number": { "$near": 1 } } }),
        json!({ "vector": [1, 2, 3, 4], "filter": [] }),
        json!({ "vector": [1, 2, 3, 4], "limit": 5 }),
        json!({ "text": "evening" }),
    ];
    for body in &wrong {
        for path in ["search", "search/stream"] {
            let refused = expect(server.post(&format!("/v1/libraries/a/{path}"), body), 422).await;
            assert_eq!(refused["type"], "urn:nearfield:invalid", "{body}");
        }
    }
    let zero =
        expect(server.post("/v1/libraries/c/search", &json!({ "vector": [0, 0] })), 422).await;
    assert!(zero["detail"].as_str().unwrap().contains("zero vector"), "{zero}");
    let filter = expect(server.post("/v1/libraries/a/search", &wrong[13]), 422).await;
    assert!(filter["detail"].as_str().unwrap().contains("$.number.$near"), "{filter}");
    expect(server.post("/v1/libraries/none/search", &json!({ "vector": [1] })), 404).await;
    expect(server.get("/v1/libraries/a/search"), 422).await;
    expect(server.get("/v1/libraries/a/search?text=a&filter=%7B"), 400).await;
    let late = json!({ "vector": [1, 2, 3, 4], "timeout_ms": 0 });
    expect(server.post("/v1/libraries/a/search", &late), 504).await;
}

#[tokio::test]
async fn searches_by_text() {
    let server = start().await;
    expect(server.post("/v1/libraries", &json!({ "name": "t" })), 201).await;
    let texts = ["the vessel left for a voyage", "the logic of a syntax", "roast potato with beef"];
    for (i, text) in texts.iter().enumerate() {
        let body = json!({ "id": format!("t{i}"), "text": text });
        expect(server.post("/v1/libraries/t/documents", &body), 201).await;
    }
    for (query, best) in [("ship ocean", "t0"), ("language theory", "t1"), ("eating supper", "t2")]
    {
        let found = server.ids("t", &json!({ "text": query, "k": 1 })).await;
        assert_eq!(found, [best], "{query}");
        let path = format!("/v1/libraries/t/search?k=1&text={}", query.replace(' ', "+"));
        assert_eq!(ids(&expect(server.get(&path), 200).await), [best], "{query}");
    }
    let unknown = json!({ "text": "and the of" });
    let refused = expect(server.post("/v1/libraries/t/search", &unknown), 422).await;
    assert!(refused["detail"].as_str().unwrap().contains("no word"), "{refused}");
    expect(server.post("/v1/libraries/t/documents", &unknown), 422).await;
}

#[tokio::test]
async fn batches_answer_each_search() {
    let server = start().await;
    server.library("a").await;
    server.fill("a", 100).await;
    let mut searches: Vec<Value> =
        (0..60).map(|i| json!({ "vector": [i, 0, 0, 0], "k": 1 })).collect();
    searches[7] = json!({ "vector": [1] });
    let answered =
        expect(server.post("/v1/libraries/a/batch", &json!({ "searches": searches })), 200).await;
    let results = answered["results"].as_array().unwrap();
    for (i, result) in results.iter().enumerate() {
        if i == 7 {
            assert_eq!(result["status"], 422);
        } else {
            assert_eq!(ids(result), [format!("d{i}")]);
        }
    }
    assert_eq!(results.len(), 60);
    for count in [0, 65] {
        let searches = vec![json!({ "vector": [1, 2, 3, 4] }); count];
        expect(server.post("/v1/libraries/a/batch", &json!({ "searches": searches })), 422).await;
    }
    expect(server.post("/v1/libraries/none/batch", &json!({ "searches": searches })), 404).await;
}

#[tokio::test]
async fn statistics_and_health() {
    let server = start().await;
    server.library("a").await;
    server.fill("a", 50).await;
    let stats = expect(server.get("/v1/libraries/a/statistics"), 200).await;
    assert_eq!((&stats["documents"], &stats["dimension"]), (&json!(50), &json!(4)));
    assert!(stats["commit"].as_u64().unwrap() >= 1 && stats["file_bytes"].as_u64().unwrap() > 4096);
    expect(server.get("/v1/libraries/none/statistics"), 404).await;
    assert_eq!(server.get("/healthz").send().await.unwrap().status(), 200);
    assert_eq!(server.get("/readyz").send().await.unwrap().status(), 200);
    expect(server.post("/healthz", &json!({})), 405).await;
    server.ids("a", &json!({ "vector": [1, 2, 3, 4] })).await;
    let metrics = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    for name in [
        "server_request_seconds_bucket{route=\"/v1/libraries/{library}/search\"",
        "server_stage_seconds_bucket{stage=\"search\"",
        "server_stage_seconds_bucket{stage=\"commit\"",
        "server_documents{library=\"a\"} 50",
        "server_file_bytes{library=\"a\"}",
        "nearfield_operation_seconds_bucket{operation=\"store_sync\"",
        "server_cache_total{cache=\"result\",outcome=\"miss\"}",
    ] {
        assert!(metrics.contains(name), "{name}\n{metrics}");
    }
    let page = server.get("/").send().await.unwrap();
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    let description = expect(server.get("/openapi.json"), 200).await;
    let paths = description["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 14, "{:?}", paths.keys());
    let docs = server.get("/docs/").send().await.unwrap();
    assert!(docs.status() == 200 && docs.text().await.unwrap().contains("swagger"));
}

#[tokio::test]
async fn each_response_has_the_id_of_its_request() {
    let server = start().await;
    let answer = server.get("/healthz").header("x-request-id", "abc-1").send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "abc-1");
    for odd in ["a b", &"x".repeat(65)] {
        let answer = server.get("/healthz").header("x-request-id", odd).send().await.unwrap();
        assert_eq!(answer.headers()["x-request-id"].len(), 36);
    }
}

#[tokio::test]
async fn http_2_and_compression() {
    let server = start().await;
    server.library("a").await;
    server.fill("a", 200).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().gzip(true).build().unwrap();
    let url = format!("{}/v1/libraries/a/documents?limit=200", server.base);
    let answer = client.get(&url).send().await.unwrap();
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    assert_eq!(answer.json::<Value>().await.unwrap()["documents"].as_array().unwrap().len(), 200);
    let plain = server.client.get(&url).header("accept-encoding", "gzip").send().await.unwrap();
    assert!(plain.status() == 200);
    let raw = reqwest::Client::builder().gzip(false).build().unwrap();
    let packed = raw.get(&url).header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let unpacked = raw.get(&url).send().await.unwrap().bytes().await.unwrap();
    assert!(packed.bytes().await.unwrap().len() * 3 < unpacked.len());
}

#[tokio::test]
async fn a_stream_gives_each_answer_once_and_ends() {
    let server = start().await;
    server.library("a").await;
    server.fill("a", 500).await;
    let body = json!({ "vector": [0, 0, 0, 0], "k": 300, "include": true });
    let answer = server.post("/v1/libraries/a/search/stream", &body).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let events = events(&answer.text().await.unwrap());
    let hits: Vec<_> = events.iter().filter(|(name, _)| name == "hit").collect();
    assert_eq!(hits.len(), 300);
    let mut seen: Vec<_> = hits
        .iter()
        .map(|(_, hit)| hit["document"]["metadata"]["number"].as_u64().unwrap())
        .collect();
    assert_eq!(seen[..32], (0..32).collect::<Vec<_>>());
    seen.sort_unstable();
    assert_eq!(seen, (0..300).collect::<Vec<_>>());
    assert_eq!(
        *events.last().unwrap(),
        ("end".to_owned(), json!({ "given": 300, "complete": true }))
    );
    // Fewer documents than wanted: all of them.
    let body = json!({ "vector": [0, 0, 0, 0], "k": 1000, "filter": { "parity": "odd" } });
    let answer = server.post("/v1/libraries/a/search/stream", &body).send().await.unwrap();
    let events = self::events(&answer.text().await.unwrap());
    assert_eq!(events.len(), 251);
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_stream() {
    let server = start_with(|settings| settings.limits.max_k = 100_000).await;
    server.library("a").await;
    server.fill("a", 30_000).await;
    let before = server.counter("server_streams_cancelled_total", "").await;
    let body = json!({ "vector": [0, 0, 0, 0], "k": 30_000, "timeout_ms": 60_000 });
    let answer = server.post("/v1/libraries/a/search/stream", &body).send().await.unwrap();
    let first = answer.bytes_stream().next().await.unwrap().unwrap();
    // The first answers come while most are not found yet.
    assert!(first.starts_with(b"event: hit\n") && first.len() < 100_000, "{}", first.len());
    for _ in 0..500 {
        if server.counter("server_streams_cancelled_total", "").await > before {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the stream was not cancelled");
}

/// Returns the events of a stream: name and data.
fn events(text: &str) -> Vec<(String, Value)> {
    let parts = text.split("\n\n").filter(|part| !part.trim().is_empty());
    let field = |part: &str, name: &str| {
        let line = part.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_default().to_owned()
    };
    parts
        .map(|part| (field(part, "event"), serde_json::from_str(&field(part, "data")).unwrap()))
        .collect()
}
