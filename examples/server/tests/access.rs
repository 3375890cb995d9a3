//! Keys, rights and rates.

mod support;

use serde_json::json;
use server::{Settings, new_key, serve};
use support::{Folder, expect, start_in, start_with};

#[tokio::test]
async fn keys_open_their_libraries_alone() {
    let folder = Folder::new();
    let (admin, all) = new_key("admin".to_owned(), vec!["*".to_owned()]);
    let (reader, mut entry) = new_key("reader".to_owned(), vec!["a".to_owned()]);
    entry.rights.truncate(1);
    let path = folder.path().join("keys.json");
    std::fs::write(&path, serde_json::to_string(&[&all, &entry]).unwrap()).unwrap();
    assert!(!std::fs::read_to_string(&path).unwrap().contains(&admin));
    let server = start_in(folder, |settings| settings.keys = Some(path)).await;

    let library = |name: &str| json!({ "name": name, "dimension": 2 });
    expect(server.post("/v1/libraries", &library("a")), 401).await;
    expect(server.get("/v1/libraries/a").bearer_auth("nf_wrong"), 401).await;
    expect(server.get("/v1/libraries/a").basic_auth("admin", Some(&admin)), 401).await;
    for name in ["a", "b"] {
        expect(server.post("/v1/libraries", &library(name)).bearer_auth(&admin), 201).await;
    }
    let document = json!({ "id": "x", "vector": [1, 2] });
    let search = json!({ "vector": [1, 2] });
    expect(server.post("/v1/libraries/a/documents", &document).bearer_auth(&admin), 201).await;
    expect(server.post("/v1/libraries/a/search", &search).bearer_auth(&reader), 200).await;
    let seen = expect(server.get("/v1/libraries").bearer_auth(&reader), 200).await;
    assert_eq!(seen["libraries"].as_array().unwrap().len(), 1);
    // A library that exists and one that does not are refused alike.
    for name in ["b", "none"] {
        let path = format!("/v1/libraries/{name}/search");
        expect(server.post(&path, &search).bearer_auth(&reader), 403).await;
    }
    let refused = [
        server.post("/v1/libraries/a/documents", &document),
        server.post("/v1/libraries/a/calibrate", &json!({})),
        server.bulk("a", document.to_string()),
        server.delete("/v1/libraries/a/documents/x"),
        server.delete("/v1/libraries/a"),
        server.post("/v1/libraries", &library("c")),
        server.get("/metrics"),
    ];
    for request in refused {
        expect(request.bearer_auth(&reader), 403).await;
    }
    // Probes need no key; everything else does.
    assert_eq!(server.get("/readyz").send().await.unwrap().status(), 200);
    for path in
        ["/metrics", "/v1/libraries", "/v1/libraries/a/statistics", "/v1/libraries/a/documents/x"]
    {
        expect(server.get(path), 401).await;
    }
    expect(server.post("/v1/libraries/a/search/stream", &search), 401).await;
    expect(server.post("/v1/libraries/a/batch", &json!({ "searches": [search] })), 401).await;
}

#[tokio::test]
async fn without_keys_only_the_loopback_is_served() {
    let folder = Folder::new();
    let mut settings = Settings::in_folder(folder.path().join("data"));
    settings.listen = "0.0.0.0:0".parse().unwrap();
    let refused = serve(&settings).await.unwrap_err();
    assert!(refused.contains("--keys"), "{refused}");
    settings.keys = Some(folder.path().join("none.json"));
    assert!(serve(&settings).await.unwrap_err().contains("none.json"));
    std::fs::write(
        folder.path().join("none.json"),
        r#"[{"name":"a","sha256":"12","libraries":[],"rights":[]}]"#,
    )
    .unwrap();
    assert!(serve(&settings).await.unwrap_err().contains("64 hexadecimal"));
}

#[tokio::test]
async fn a_client_that_sends_too_often_waits() {
    let server = start_with(|settings| settings.limits.rate = std::num::NonZeroU32::new(5)).await;
    let mut refused = 0;
    for _ in 0..20 {
        let answer = server.get("/v1/libraries").send().await.unwrap();
        if answer.status() == 429 {
            refused += 1;
            let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
            assert_eq!(wait, 1);
        }
    }
    assert!((10..=15).contains(&refused), "{refused}");
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    expect(server.get("/v1/libraries"), 200).await;
    // Probes are not counted.
    for _ in 0..20 {
        assert_eq!(server.get("/healthz").send().await.unwrap().status(), 200);
    }
}
