//! The nearest words of a word: `cargo run --release --example quickstart -- evening`.
//!
//! Reads the 10,000 words and vectors that the repository carries, builds an index, and answers for the words given (or for a few
//! chosen ones).

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Instant;

use nearfield::Hnsw;
use nearfield::Metric;
use nearfield::dataset::Vectors;

fn main() -> Result<(), Box<dyn Error>> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/data/words-100-10k");
    let vectors = Vectors::open(data.join("base.f16bin"))?;
    let text = fs::read_to_string(data.join("base.words.txt"))?;
    let words: Vec<&str> = text.lines().collect();

    // A key is any number; here it is the word's line.
    let index = Hnsw::builder(vectors.dimension(), Metric::Cosine).build()?;
    let keys: Vec<u64> = (0..vectors.len() as u64).collect();
    let started = Instant::now();
    index.insert_batch(&keys, &vectors).run()?;
    println!("{} words in {:.2?}\n", index.len(), started.elapsed());

    let mut wanted: Vec<String> = std::env::args().skip(1).collect();
    if wanted.is_empty() {
        wanted = ["evening", "mountain", "java", "twilight"].map(String::from).into();
    }
    for word in wanted {
        let found = words.iter().position(|w| *w == word);
        let Some(vector) = found.and_then(|line| vectors.row(line)) else {
            println!("{word}: not among the {} words", words.len());
            continue;
        };
        // The word itself comes first, at a distance of zero.
        let hits = index.search(&vector).k(7).ef(64).run()?;
        print!("{word}:");
        for hit in hits.iter().skip(1) {
            print!("  {} {:.2}", words[hit.key as usize], 1.0 - hit.distance);
        }
        println!();
    }
    Ok(())
}
