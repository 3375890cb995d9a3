//! Words by their meaning, for a page: the index is in the memory of the module, and its bytes are the state that the page keeps.

use std::collections::HashMap;
use std::fmt::Write;

use nearfield::{Element, F16, Hnsw, Metric};
use wasm_bindgen::prelude::*;

/// Components of a vector.
const DIMENSION: usize = 100;

/// Words and an index of their vectors. The key of a word is its place in the list.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Words {
    index: Hnsw,
    words: Vec<String>,
    keys: HashMap<String, u64>,
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

#[wasm_bindgen]
impl Words {
    /// Makes an empty list.
    ///
    /// # Errors
    ///
    /// The text of the index's error.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Result<Words, String> {
        let index = Hnsw::builder(DIMENSION, Metric::Cosine).element(Element::F16);
        let index = index.build().map_err(text)?;
        Ok(Self { index, words: Vec::new(), keys: HashMap::new() })
    }

    /// Reads a list from [`Self::index_bytes`] and [`Self::lines`].
    ///
    /// # Errors
    ///
    /// The text of the index's error, or that the words are not those of the index.
    pub fn open(index: &[u8], lines: &str) -> Result<Words, String> {
        let index = Hnsw::from_bytes(index).map_err(text)?;
        let words: Vec<String> = lines.lines().map(str::to_owned).collect();
        let keys: HashMap<_, _> = words.iter().cloned().zip(0..).collect();
        if index.len() != words.len() || keys.len() != words.len() {
            return Err("the words are not those of the index".to_owned());
        }
        Ok(Self { index, words, keys })
    }

    /// Returns the index as bytes.
    ///
    /// # Errors
    ///
    /// The text of the index's error.
    pub fn index_bytes(&self) -> Result<Vec<u8>, String> {
        self.index.to_bytes().map_err(text)
    }

    /// Returns the words, one a line.
    pub fn lines(&self) -> String {
        self.words.join("\n")
    }

    /// Returns the number of words.
    #[wasm_bindgen(getter)]
    pub fn count(&self) -> usize {
        self.words.len()
    }

    /// Adds words, one a line, with their vectors: numbers of 16 bits, one vector after the other.
    ///
    /// # Errors
    ///
    /// The text of the index's error, for the first vector that it refuses.
    pub fn load(&mut self, lines: &str, halves: &[u16]) -> Result<(), String> {
        let halves: Vec<F16> = halves.iter().copied().map(F16::from_bits).collect();
        let words: Vec<&str> = lines.lines().collect();
        if words.len() * DIMENSION != halves.len() {
            return Err(format!("{} numbers for {} words", halves.len(), words.len()));
        }
        for (word, vector) in words.into_iter().zip(halves.chunks_exact(DIMENSION)) {
            self.insert(word, |index, key| index.insert(key, &vector))?;
        }
        Ok(())
    }

    /// Adds a word that means what the words of `meaning` mean together.
    ///
    /// # Errors
    ///
    /// A text for the user.
    pub fn add(&mut self, word: &str, meaning: &str) -> Result<(), String> {
        let word = word.split_whitespace().collect::<Vec<_>>().join(" ");
        if word.is_empty() {
            return Err("A word has at least one letter.".to_owned());
        }
        let vector = self.vector(meaning)?;
        self.insert(&word, |index, key| index.insert(key, &vector))
    }

    fn insert(
        &mut self,
        word: &str,
        insert: impl FnOnce(&Hnsw, u64) -> Result<(), nearfield::IndexError>,
    ) -> Result<(), String> {
        if self.keys.contains_key(word) {
            return Err(format!("\u{201c}{word}\u{201d} is in the list already."));
        }
        let key = self.words.len() as u64;
        insert(&self.index, key).map_err(text)?;
        self.words.push(word.to_owned());
        self.keys.insert(word.to_owned(), key);
        Ok(())
    }

    /// Returns the sum of the vectors of the words in a text.
    fn vector(&self, meaning: &str) -> Result<Vec<f32>, String> {
        let lower = meaning.trim().to_lowercase();
        let whole = [lower.as_str()];
        let is_word = self.keys.contains_key(&lower);
        let parts = lower.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
        let parts: Vec<&str> = if is_word { whole.to_vec() } else { parts.collect() };
        let mut sum = vec![0.0; DIMENSION];
        for part in &parts {
            let unknown = || format!("\u{201c}{part}\u{201d} is not in the list.");
            let key = self.keys.get(*part).ok_or_else(unknown)?;
            let vector = self.index.get(*key).ok_or_else(unknown)?;
            sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += x);
        }
        if parts.is_empty() { Err("Say a word.".to_owned()) } else { Ok(sum) }
    }

    /// Returns the `k` words that are nearest in meaning to a text of words, each on a line with its cosine similarity.
    ///
    /// # Errors
    ///
    /// A text for the user.
    pub fn search(&self, meaning: &str, k: usize) -> Result<String, String> {
        let vector = self.vector(meaning)?;
        let mut found = String::new();
        for hit in &self.index.search(&vector).k(k).run().map_err(text)? {
            let word = &self.words[hit.key as usize];
            writeln!(found, "{word}\t{:.3}", 1.0 - hit.distance).map_err(text)?;
        }
        Ok(found)
    }
}
