//! The mean of word vectors.
//!
//! The repository carries the vectors of the ten thousand words that are used most. Any other word has a direction
//! by the hash of its letters: texts that share it are near, and it has no meaning beyond that. Words that English has in every
//! sentence are left out.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Instant;

use nearfield::dataset::Vectors;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Embedder;
use crate::problem::{Problem, Result};

/// Words without a subject.
const COMMON: [&str; 60] = [
    "a", "all", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by", "can", "could",
    "did", "do", "does", "each", "for", "from", "had", "has", "have", "he", "her", "his", "how",
    "i", "if", "in", "into", "is", "it", "its", "no", "not", "of", "on", "or", "our", "she", "so",
    "that", "the", "their", "then", "they", "this", "to", "was", "we", "were", "what", "when",
    "which", "who", "will", "with", "would", "you",
];

/// Vectors of words; a text is the mean of those of its words, of length 1.
pub struct Words {
    rows: HashMap<String, usize>,
    vectors: Vec<f32>,
    dimension: usize,
}

impl Words {
    /// Reads a folder with vectors, `base.f16bin` and `query.f16bin`, and their words, `base.words.txt` and `query.words.txt`.
    ///
    /// # Errors
    ///
    /// The file that cannot be read, or that disagrees with another one.
    pub fn open(folder: &Path) -> std::result::Result<Self, String> {
        let mut words = Self { rows: HashMap::new(), vectors: Vec::new(), dimension: 0 };
        for part in ["base", "query"] {
            let (vectors, names) =
                (folder.join(format!("{part}.f16bin")), folder.join(format!("{part}.words.txt")));
            let matrix = Vectors::open(&vectors).map_err(|error| error.to_string())?;
            let names = fs::read_to_string(&names)
                .map_err(|error| format!("{}: {error}", names.display()))?;
            if names.lines().count() != matrix.len()
                || words.dimension != 0 && words.dimension != matrix.dimension()
            {
                return Err(format!("{} does not fit its words", vectors.display()));
            }
            words.dimension = matrix.dimension();
            let first = words.vectors.len() / words.dimension;
            words.rows.extend(names.lines().map(str::to_owned).zip(first..));
            words.vectors.extend(matrix.to_f32().map_err(|error| error.to_string())?);
        }
        words.centre();
        Ok(words)
    }

    /// Subtracts the mean of all vectors, which tells nothing about a word, and makes each of length 1 again (Mu and Viswanath,
    /// "All-but-the-Top", 2018, without its principal components).
    fn centre(&mut self) {
        let mut mean = vec![0.0_f32; self.dimension];
        for vector in self.vectors.chunks_exact(self.dimension) {
            mean.iter_mut().zip(vector).for_each(|(mean, component)| *mean += component);
        }
        let count = (self.vectors.len() / self.dimension).max(1) as f32;
        for vector in self.vectors.chunks_exact_mut(self.dimension) {
            vector.iter_mut().zip(&mean).for_each(|(component, mean)| *component -= mean / count);
            let length = length(vector).max(f32::EPSILON);
            for component in vector {
                *component /= length;
            }
        }
    }

    /// Adds the vector of a word, of length 1, to a sum.
    fn add(&self, word: &str, sum: &mut [f32]) {
        if let Some(row) = self.rows.get(word) {
            let vector = &self.vectors[row * self.dimension..][..self.dimension];
            sum.iter_mut().zip(vector).for_each(|(sum, component)| *sum += component);
            return;
        }
        let component = 1.0 / (self.dimension as f32).sqrt();
        for (seed, sums) in (0..).zip(sum.chunks_mut(64)) {
            let signs = xxh3_64_with_seed(word.as_bytes(), seed);
            for (bit, sum) in sums.iter_mut().enumerate() {
                *sum += if signs >> bit & 1 == 1 { component } else { -component };
            }
        }
    }
}

impl Embedder for Words {
    fn dimension(&self) -> usize {
        self.dimension
    }

    fn embed(&self, text: &str, _: Instant) -> Result<Vec<f32>> {
        let text = text.to_lowercase();
        let mut sum = vec![0.0_f32; self.dimension];
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            if COMMON.binary_search(&word).is_err() {
                self.add(word, &mut sum);
            }
        }
        let length = length(&sum);
        if length < f32::EPSILON {
            return Err(Problem::invalid(
                "the text has no word besides the commonest ones; write others, or send a vector",
            ));
        }
        for component in &mut sum {
            *component /= length;
        }
        Ok(sum)
    }
}

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|component| component * component).sum::<f32>().sqrt()
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Words").field("words", &self.rows.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        Words::open(&crate::settings::Settings::in_folder("").words).unwrap()
    }

    fn product(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn a_text_is_near_to_texts_of_its_subject() {
        let words = words();
        let of = |text| words.embed(text, Instant::now()).unwrap();
        let ship = of("The ship left on a voyage");
        assert!((product(&ship, &ship) - 1.0).abs() < 1e-5);
        // No word in common: the vectors of known words tell.
        let (vessel, syntax) = (of("vessel, harbor"), of("syntax, logic"));
        assert!(product(&ship, &vessel) > 0.3 && product(&ship, &syntax) < 0.1);
        // A word that has no vector is near to itself alone.
        let (one, other) = (of("xqzvw"), of("wvzqx"));
        assert!(product(&one, &other).abs() < 0.5 && product(&one, &of("xqzvw mountain")) > 0.5);
        // Case, punctuation and common words do not count.
        assert_eq!(of("The EVENING; of which"), of("evening"));
        assert!(COMMON.is_sorted());
    }

    #[test]
    fn a_text_without_a_subject_is_refused() {
        let words = words();
        for text in ["", "  ", "... -- !", "and the of"] {
            assert_eq!(words.embed(text, Instant::now()).unwrap_err().status(), 422, "{text:?}");
        }
    }
}
