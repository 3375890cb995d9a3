//! Backups: copies that are libraries of their own.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use support::{Folder, expect, start, start_in, start_with};

/// Returns the names in a folder.
fn names(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_has_what_was_acknowledged_before_it() {
    let copies = Folder::new();
    let place = copies.path().join("data");
    let server = Arc::new(start_with(|settings| settings.backups = Some(place.clone())).await);
    server.library("a").await;
    server.fill("a", 500).await;
    // A writer goes on meanwhile.
    let written = Arc::new(AtomicUsize::new(0));
    let writing = tokio::spawn({
        let (server, written) = (Arc::clone(&server), Arc::clone(&written));
        async move {
            for i in 0.. {
                let body = json!({ "id": format!("w{i}"), "vector": [0, 1, i, 0] });
                expect(server.post("/v1/libraries/a/documents", &body), 201).await;
                written.store(i + 1, Ordering::Relaxed);
            }
        }
    });
    let mut made = Vec::new();
    for _ in 0..3 {
        let before = written.load(Ordering::Relaxed);
        let copy = expect(server.post("/v1/libraries/a/backup", &json!(null)), 201).await;
        let name = copy["backup"].as_str().unwrap().to_owned();
        assert!(name.starts_with("a-") && copy["bytes"].as_u64().unwrap() > 500, "{copy}");
        made.push((name, before));
    }
    writing.abort();
    let mut found = names(&place);
    found.sort_unstable();
    assert_eq!(found, made.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());

    // The folder of copies is a folder of libraries.
    let restored = start_in(copies, |_| {}).await;
    for (name, before) in &made {
        let path = format!("/v1/libraries/{name}");
        let documents = expect(restored.get(&path), 200).await["documents"].as_u64().unwrap();
        assert!(documents >= 500 + *before as u64, "{documents} of {before}");
        if let Some(last) = before.checked_sub(1) {
            expect(restored.get(&format!("{path}/documents/w{last}")), 200).await;
        }
        let search = json!({ "vector": [17, 0, 0, 0], "k": 1, "filter": { "parity": "odd" } });
        assert_eq!(restored.ids(name, &search).await, ["d17"]);
        let body = json!({ "id": "own", "vector": [0, 0, 0, 9] });
        expect(restored.post(&format!("{path}/documents"), &body), 201).await;
    }
}

#[tokio::test]
async fn backups_need_a_folder_and_a_library() {
    let server = start().await;
    server.library("a").await;
    let refused = expect(server.post("/v1/libraries/a/backup", &json!(null)), 501).await;
    assert_eq!(refused["type"], "urn:nearfield:not-supported");

    let copies = Folder::new();
    let place = copies.path().to_owned();
    let server = start_with(|settings| settings.backups = Some(place)).await;
    for path in ["/v1/libraries/a/backup", "/v1/libraries/..%2f..%2fetc/backup"] {
        expect(server.post(path, &json!(null)), 404).await;
    }
    expect(server.get("/v1/libraries/a/backup"), 405).await;
    assert!(names(copies.path()).is_empty());
}

#[tokio::test]
async fn a_failed_backup_leaves_nothing() {
    // A file is in the place of the folder.
    let copies = Folder::new();
    let place = copies.path().join("file");
    std::fs::write(&place, "no folder").unwrap();
    let server = start_with(|settings| settings.backups = Some(place.clone())).await;
    server.library("a").await;
    expect(server.post("/v1/libraries/a/backup", &json!(null)), 500).await;
    assert_eq!(names(copies.path()), ["file"]);
    assert_eq!(std::fs::read(&place).unwrap(), b"no folder");
    // The turn is free again, and the library goes on.
    expect(server.post("/v1/libraries/a/backup", &json!(null)), 500).await;
    server.fill("a", 5).await;
}
