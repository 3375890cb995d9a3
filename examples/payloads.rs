//! Payloads beside vectors: vectors to search, and descriptions of the results, in one file.
//!
//! `cargo run --release --example payloads`

use nearfield::{Collection, Metric};

/// Colours by their red, green and blue.
const COLOURS: [(&str, [f32; 3]); 8] = [
    ("red", [1.0, 0.0, 0.0]),
    ("orange", [1.0, 0.6, 0.0]),
    ("yellow", [1.0, 1.0, 0.0]),
    ("green", [0.0, 0.5, 0.0]),
    ("teal", [0.0, 0.5, 0.5]),
    ("blue", [0.0, 0.0, 1.0]),
    ("violet", [0.5, 0.0, 0.5]),
    ("pink", [1.0, 0.75, 0.8]),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join(format!("nearfield-payloads-{}.nf", std::process::id()));
    let colours = Collection::builder(3, Metric::L2).create(&path)?;

    // Vectors and payloads are committed together or not at all.
    let mut tx = colours.begin_write()?;
    for (key, (name, rgb)) in (0..).zip(COLOURS) {
        tx.upsert(key, &rgb)?;
        tx.put_payload(key, name.as_bytes())?;
    }
    tx.commit()?;

    let sunset = [1.0, 0.5, 0.1];
    for hit in &colours.search(&sunset).k(3).run()? {
        let name = colours.payload(hit.key)?.unwrap_or_default();
        println!("{:<8} at {:.3}", String::from_utf8_lossy(&name), hit.distance);
    }

    // A snapshot does not change, and reads payloads from the file without a copy.
    let before = colours.snapshot()?;
    let mut tx = colours.begin_write()?;
    tx.put_payload(1, b"amber")?;
    tx.commit()?;
    let now = colours.snapshot()?;
    let name =
        |payload: Option<&[u8]>| String::from_utf8_lossy(payload.unwrap_or(b"")).into_owned();
    println!("key 1 was {} and is {}", name(before.payload(1)?), name(now.payload(1)?));

    drop((before, now, colours));
    std::fs::remove_file(&path)?;
    Ok(())
}
