//! Recall and memory by quantization: `cargo run --release --example codes`.
//!
//! The program builds an index of the 10,000 words that the repository carries with each
//! quantization, and prints recall@10 at an `ef` of 64 beside the bytes of a vector.

use std::error::Error;
use std::path::Path;

use nearfield::dataset::{Dataset, recall};
use nearfield::{Hnsw, Originals, Quantization};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/data/words-100-10k");
    let words = Dataset::open(folder)?;
    let keys: Vec<u64> = (0..words.base().len() as u64).collect();
    let trials = [
        ("the vectors themselves", Quantization::None, Originals::Kept),
        ("Auto", Quantization::Auto, Originals::Kept),
        ("Sq8", Quantization::Sq8, Originals::Kept),
        ("Sq4", Quantization::Sq4, Originals::Kept),
        ("Rabitq, 2 bits", Quantization::Rabitq { bits: 2 }, Originals::Kept),
        ("Pq, 50 x 4 bits", Quantization::Pq { sub_vectors: 50, bits: 4 }, Originals::Kept),
        ("Sq4, vectors of 12 bits", Quantization::Sq4, Originals::Sq12),
        ("Sq4, vectors of 8 bits", Quantization::Sq4, Originals::Sq8),
        ("Sq4, vectors dropped", Quantization::Sq4, Originals::Dropped),
    ];
    println!("{:<26} {:>9} {:>15}", "what is stored", "recall@10", "bytes a vector");
    for (name, quantization, originals) in trials {
        let index = Hnsw::builder(words.dimension(), words.metric())
            .element(words.element())
            .quantization(quantization)
            .originals(originals)
            .build()?;
        index.insert_batch(&keys, words.base()).run()?;
        let hits = index.search_batch(words.queries()).k(10).ef(64).run()?;
        let found = hits.iter().map(|hits| hits.iter().map(|hit| hit.key));
        let recall = recall(found, words.truth(), 10)?;
        let bytes = index.stats().bytes.total() / index.len();
        println!("{name:<26} {recall:>9.3} {bytes:>15}");
    }
    Ok(())
}
