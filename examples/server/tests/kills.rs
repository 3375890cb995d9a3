//! The program itself, as a child process: started, killed under load, started again.

mod support;

use std::collections::{HashMap, HashSet};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use support::Folder;
use support::process::Process;

/// Adds documents, one after the other and in bulk, and notes those that were acknowledged, until the server is gone.
async fn write(
    client: Client,
    base: String,
    writer: String,
    kept: Arc<Mutex<HashMap<String, f32>>>,
) {
    for i in 0_u32.. {
        let id = format!("{writer}-{i}");
        let value = (i % 1000) as f32;
        let url = format!("{base}/v1/libraries/a/documents");
        let sent = if i % 10 == 9 {
            let documents = (0..20)
                .map(|part| json!({ "id": format!("{id}-{part}"), "vector": [value, part, 1, 0] }));
            let lines: String = documents.map(|line| format!("{line}\n")).collect();
            let request =
                client.post(format!("{url}/bulk")).header("content-type", "application/x-ndjson");
            request.body(lines).send().await
        } else {
            client.post(url).json(&json!({ "id": id, "vector": [value, 0, 1, 0] })).send().await
        };
        let Ok(answer) = sent else { return };
        let status = answer.status().as_u16();
        let Ok(body) = answer.json::<Value>().await else { return };
        let mut kept = kept.lock().unwrap();
        match status {
            201 => drop(kept.insert(id, value)),
            200 => {
                assert_eq!(body["documents"], 20);
                kept.extend((0..20).map(|part| (format!("{id}-{part}"), value)));
            }
            other => panic!("{other}: {body}"),
        }
    }
}

/// Searches until the server is gone.
async fn search(client: Client, base: String) {
    for i in 0.. {
        let body = json!({ "vector": [i % 1000, 0, 1, 0], "include": true });
        let url = format!("{base}/v1/libraries/a/search");
        let Ok(answer) = client.post(url).json(&body).send().await else { return };
        assert_eq!(answer.status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_document_is_lost_by_a_kill() {
    let rounds = std::env::var("NEARFIELD_SERVER_KILLS").map_or(5, |count| count.parse().unwrap());
    let folder = Folder::new();
    let data = folder.path().join("data");
    let kept: Arc<Mutex<HashMap<String, f32>>> = Arc::default();
    let (client, mut slowest) = (Client::new(), Duration::ZERO);
    for round in 0..rounds {
        let process = Process::start(&data);
        let base = process.base.clone();
        if round == 0 {
            let body = json!({ "name": "a", "dimension": 4, "metric": "l2" });
            let made =
                client.post(format!("{base}/v1/libraries")).json(&body).send().await.unwrap();
            assert_eq!(made.status(), 201);
        } else {
            slowest = slowest.max(process.ready);
        }
        check(&client, &base, &kept).await;
        let writers = (0..4).map(|i| {
            tokio::spawn(write(
                client.clone(),
                base.clone(),
                format!("r{round}w{i}"),
                Arc::clone(&kept),
            ))
        });
        let mut tasks: Vec<_> = writers.collect();
        tasks.push(tokio::spawn(search(client.clone(), base)));
        tokio::time::sleep(Duration::from_millis(300 + 137 * round % 400)).await;
        process.kill();
        for task in tasks {
            task.await.unwrap();
        }
    }
    let process = Process::start(&data);
    check(&client, &process.base, &kept).await;
    let count = kept.lock().unwrap().len();
    println!("{rounds} kills, {count} documents, slowest restart {slowest:?}");
    assert!(count > 20 * rounds as usize, "{count}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
}

/// Checks that each acknowledged document is there, with its vector.
async fn check(client: &Client, base: &str, kept: &Mutex<HashMap<String, f32>>) {
    let kept = kept.lock().unwrap().clone();
    let mut there = HashSet::new();
    let mut cursor = String::new();
    loop {
        let url = format!("{base}/v1/libraries/a/documents?limit=1000{cursor}");
        let page: Value = client.get(url).send().await.unwrap().json().await.unwrap();
        let documents = page["documents"].as_array().cloned().unwrap_or_default();
        for document in &documents {
            there.insert(document["id"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let lost: Vec<_> = kept.keys().filter(|id| !there.contains(*id)).collect();
    assert!(lost.is_empty(), "lost {lost:?}");
    for (id, value) in kept.iter().take(50) {
        let url = format!("{base}/v1/libraries/a/documents/{id}");
        let whole: Value = client.get(url).send().await.unwrap().json().await.unwrap();
        assert_eq!(whole["vector"][0], json!(value), "{whole}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_ends_the_program_in_order() {
    use std::io::BufRead;

    let folder = Folder::new();
    let mut process = Process::start(&folder.path().join("data"));
    let client = Client::new();
    let body = json!({ "name": "a", "dimension": 4, "metric": "l2" });
    let made =
        client.post(format!("{}/v1/libraries", process.base)).json(&body).send().await.unwrap();
    assert_eq!(made.status(), 201);
    let signalled = Command::new("kill").arg(process.child.id().to_string()).status().unwrap();
    assert!(signalled.success());
    let mut rest = String::new();
    while process.lines.read_line(&mut rest).unwrap() > 0 {}
    assert!(process.child.wait().unwrap().success());
}

#[test]
fn help_and_faults_are_told() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_server")).args(arguments).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), text)
    };
    let (code, text) = run(&["--help"]);
    assert!(
        code == Some(0) && text.contains("--listen") && text.contains("127.0.0.1:8080"),
        "{text}"
    );
    let (code, text) = run(&["--listen", "0.0.0.0:0"]);
    assert!(code == Some(1) && text.contains("--keys"), "{text}");
    let (code, text) = run(&["--gather-us", "501"]);
    assert!(code == Some(2) && text.contains("501"), "{text}");
    let (code, text) = run(&["new-key", "ci", "--libraries", "papers"]);
    assert!(code == Some(0) && text.contains("nf_") && text.contains("\"papers\""), "{text}");
}
