//! Passages for a question: the sentences of this crate's own documents and comments, asked by meaning, by filters and by words.
//!
//! `cargo run --release --example rag -- "how does a reader see a commit of another process"`
//!
//! The embedding is random indexing (Kanerva, Kristoferson and Holst, 2000), which needs no model: each word has a random vector, and the sum of
//! those of the words beside it. A program would take vectors from an embedding model instead; all else stays the same.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use nearfield::attributes::Value;
use nearfield::collection::Answer;
use nearfield::{Collection, Metric, Predicate, attributes, field};

const DIMENSION: usize = 256;

/// A sentence with the file that it is from, and its number in the file.
struct Sentence {
    text: String,
    source: String,
    position: i64,
}

/// Returns the prose of a file: all of a document without its code, the comments of a source.
fn prose(path: &Path, text: &str) -> String {
    let is_source = path.extension().is_some_and(|end| end == "rs");
    let (mut prose, mut in_code) = (String::new(), false);
    for line in text.lines() {
        let line = line.trim_start();
        let line = match line.strip_prefix("//") {
            Some(comment) => comment.trim_start_matches(['/', '!']).trim(),
            // A paragraph ends.
            None if is_source => "",
            None => line,
        };
        in_code ^= line.starts_with("```");
        let is_prose = !in_code && !line.starts_with(['|', '#', '`']);
        prose.push_str(if line.is_empty() || !is_prose { "\n\n" } else { line });
        prose.push(' ');
    }
    prose
}

/// Appends the sentences of all documents and sources in a folder.
fn read_folder(
    root: &Path,
    folder: &Path,
    sentences: &mut Vec<Sentence>,
) -> Result<(), Box<dyn Error>> {
    let mut paths: Vec<_> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if folder != root || ["src", "tests", "examples", "benches"].contains(&&*name) {
                read_folder(root, &path, sentences)?;
            }
        } else if name.ends_with(".rs") || name.ends_with(".md") {
            let source = path.strip_prefix(root)?.to_string_lossy().replace('\\', "/");
            let prose = prose(&path, &fs::read_to_string(&path)?);
            let texts = prose.split("\n\n").flat_map(|paragraph| paragraph.split_inclusive(". "));
            let texts = texts.map(str::trim).filter(|text| text.split(' ').count() > 5);
            for (position, text) in (0..).zip(texts) {
                sentences.push(Sentence {
                    text: text.to_owned(),
                    source: source.clone(),
                    position,
                });
            }
        }
    }
    Ok(())
}

/// Returns the words of a text, in lower case.
fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphabetic()).filter(|word| word.len() > 2);
    // Singular and plural are about the same.
    words.map(|word| word.to_lowercase().trim_end_matches('s').to_owned()).collect()
}

/// Vectors of words, and their weights.
struct Embedding {
    words: HashMap<String, (f32, Vec<f32>)>,
}

impl Embedding {
    fn of(sentences: &[Sentence]) -> Self {
        let all: Vec<Vec<String>> =
            sentences.iter().map(|sentence| words(&sentence.text)).collect();
        let mut counts: HashMap<&str, u32> = HashMap::new();
        for word in all.iter().flatten() {
            *counts.entry(word).or_default() += 1;
        }
        let total: u32 = counts.values().sum();
        // Frequent words tell little.
        let weight = |word: &str| 1.0 / (1.0 + 2000.0 * counts[word] as f32 / total as f32);
        let mut vectors: HashMap<String, (f32, Vec<f32>)> = HashMap::new();
        for words in &all {
            let mut sum = vec![0.0; DIMENSION];
            for word in words {
                add(&mut sum, &random_vector(word), weight(word));
            }
            for word in words {
                let own = || (weight(word), random_vector(word).iter().map(|x| 4.0 * x).collect());
                let (_, vector) = vectors.entry(word.clone()).or_insert_with(own);
                add(vector, &sum, 0.2);
            }
        }
        for (_, vector) in vectors.values_mut() {
            let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
            for x in vector {
                *x /= length;
            }
        }
        Self { words: vectors }
    }

    /// Returns the vector of a text. Returns `None` if no word of it is known.
    fn embed(&self, text: &str) -> Option<Vec<f32>> {
        let mut sum = vec![0.0; DIMENSION];
        for word in words(text) {
            if let Some((weight, vector)) = self.words.get(&word) {
                add(&mut sum, vector, *weight);
            }
        }
        sum.iter().any(|x| *x != 0.0).then_some(sum)
    }
}

fn add(sum: &mut [f32], vector: &[f32], factor: f32) {
    for (sum, x) in sum.iter_mut().zip(vector) {
        *sum += factor * x;
    }
}

/// Returns a vector of a few components, which follow from the word.
fn random_vector(word: &str) -> Vec<f32> {
    let mut state = word.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut vector = vec![0.0; DIMENSION];
    for _ in 0..8 {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        vector[(state >> 33) as usize % DIMENSION] += if state >> 63 == 0 { 1.0 } else { -1.0 };
    }
    vector
}

fn show(answer: &Answer<'_>) {
    let attribute = |name: &str| answer.attributes.as_ref().and_then(|all| all.get(name).cloned());
    let text = String::from_utf8_lossy(answer.payload.as_deref().unwrap_or_default());
    let (source, position) = (attribute("source"), attribute("position"));
    if let (Some(source), Some(position)) = (source, position) {
        println!("  {:.2} {source}, sentence {position}: {text}", answer.distance);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let question = std::env::args().nth(1);
    let question = question.as_deref().unwrap_or("which commits a power cut of the disk loses");
    let mut sentences = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    read_folder(root, root, &mut sentences)?;
    let embedding = Embedding::of(&sentences);

    // Vectors, attributes and texts are committed together.
    let path = std::env::temp_dir().join(format!("nearfield-rag-{}.nf", std::process::id()));
    let passages = Collection::builder(DIMENSION, Metric::Cosine).create(&path)?;
    let mut tx = passages.begin_write()?;
    for (key, sentence) in (0..).zip(&sentences) {
        let Some(vector) = embedding.embed(&sentence.text) else { continue };
        tx.upsert(key, &vector)?;
        let mut words = words(&sentence.text);
        words.sort_unstable();
        words.dedup();
        let attributes = attributes! {
            "source" => sentence.source.as_str(), "position" => sentence.position,
            "length" => sentence.text.len() as i64, "words" => words,
        };
        tx.set(key, attributes)?;
        tx.put_payload(key, sentence.text.as_bytes())?;
    }
    tx.commit()?;
    let moment = passages.snapshot()?;
    println!("{} sentences of {} files", moment.len(), moment.facet("source")?.len());

    let query = embedding.embed(question).ok_or("no word of the question is known")?;
    let search = moment.search(&query).with_attributes().with_payload();
    println!("\n{question}:");
    for answer in &search.k(3).run()? {
        show(answer);
    }

    println!("\nOf documents and the library, in long sentences:");
    let wanted: Predicate = "length > 80 and not source prefix 'tests/'".parse()?;
    let selection = moment.matching(&wanted)?;
    for answer in &search.filter(&selection).k(3).run()? {
        show(answer);
    }

    println!("\nOf those with the word \"crash\":");
    let selection = moment.matching(&field("words").has("crash"))?;
    for answer in &search.filter(&selection).k(3).run()? {
        show(answer);
    }

    println!("\nThe best of each of four files:");
    for group in &search.k(4).group_by("source").run()? {
        group.answers.iter().for_each(show);
    }

    println!("\nThree that differ:");
    let diverse = search.k(3).diverse(0.6, 30).run()?;
    diverse.iter().for_each(show);

    // An answer's neighbours in its file are its context.
    let Some(Value::Integer(position)) =
        diverse[0].attributes.as_ref().and_then(|all| all.get("position").cloned())
    else {
        return Err("a passage has no position".into());
    };
    let source = diverse[0].attributes.as_ref().and_then(|all| all.get("source").cloned());
    let context = field("source").eq(source.unwrap_or(Value::Boolean(false)))
        & field("position").between(position - 1, position + 1);
    println!("\nThe first one in its context:");
    for entry in moment.scroll(Some(&context), None, 3)?.entries {
        println!("  {}", String::from_utf8_lossy(&entry.payload.unwrap_or_default()));
    }

    drop((moment, passages));
    fs::remove_file(&path)?;
    Ok(())
}
