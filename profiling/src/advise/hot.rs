//! Attributes samples to the library's own functions.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::sampler::{Stacks, bare};

/// A function of the library and its share of the time: its own lines and its calls outside the library.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hot {
    /// Name without type parameters.
    pub(crate) function: String,
    /// Path from the root of the repository.
    pub(crate) file: String,
    pub(crate) share: f64,
}

/// Samples by function of the library, most first.
#[derive(Debug, Clone, Default)]
pub(super) struct Profile {
    pub(super) functions: Vec<Hot>,
    /// Share of the samples that have a function of the file anywhere on their stack.
    within: HashMap<String, f64>,
    pub(super) samples: usize,
}

impl Profile {
    pub(super) fn of(stacks: &Stacks) -> Self {
        let mut counts: HashMap<(String, String), usize> = HashMap::new();
        let mut within: HashMap<String, usize> = HashMap::new();
        let mut samples = 0;
        for (frames, count) in stacks {
            samples += count;
            let files: HashSet<String> = frames.iter().filter_map(|f| own(&f.file)).collect();
            for file in files {
                *within.entry(file).or_default() += count;
            }
            let own = frames.iter().find_map(|f| Some((bare(&f.function), own(&f.file)?)));
            *counts
                .entry(own.unwrap_or_else(|| ("elsewhere".into(), String::new())))
                .or_default() += count;
        }
        let share = |count| count as f64 / samples as f64;
        let mut functions: Vec<Hot> = counts
            .into_iter()
            .map(|((function, file), count)| Hot { function, file, share: share(count) })
            .collect();
        functions
            .sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| a.function.cmp(&b.function)));
        let within = within.into_iter().map(|(file, count)| (file, share(count))).collect();
        Self { functions, within, samples }
    }

    /// Returns the share of the functions in files whose path begins with `path`.
    pub(super) fn share_of(&self, path: &str) -> f64 {
        self.functions.iter().filter(|hot| hot.file.starts_with(path)).map(|hot| hot.share).sum()
    }
}

impl Profile {
    /// Returns the share of the samples in functions of a file and in their callees.
    pub(super) fn share_within(&self, file: &str) -> f64 {
        self.within.get(file).copied().unwrap_or(0.0)
    }

    /// Returns a profile of one function, for tests of the users of profiles.
    #[cfg(test)]
    pub(super) fn of_one(file: &str, share: f64) -> Self {
        Self {
            functions: vec![Hot { function: "f".into(), file: file.into(), share }],
            within: [(file.to_owned(), share)].into(),
            samples: 1000,
        }
    }
}

/// Returns the path of a file of the library from the root of the repository, or `None` for other files.
fn own(file: &str) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let path = Path::new(file).strip_prefix(root).unwrap_or(Path::new(file));
    path.starts_with("src").then(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::Frame;

    #[test]
    fn time_goes_to_the_innermost_function_of_the_library() {
        let frame =
            |name: &str, file: &str| Frame { function: name.to_owned(), file: file.to_owned() };
        let stacks = vec![
            (
                vec![
                    frame("map<u32, 4>", "/rustc/1/library/core/array.rs"),
                    frame("keys<Avx512, L2<f32>>", "src/index/entries/space.rs"),
                ],
                3,
            ),
            (
                vec![
                    frame("memmove", "Unknown"),
                    frame("insert", "src/arena/pool.rs"),
                    frame("beam<S>", "src/graph/search/walk.rs"),
                ],
                1,
            ),
            (vec![frame("main", "profiling/src/main.rs")], 4),
        ];
        let profile = Profile::of(&stacks);
        assert_eq!(profile.samples, 8);
        assert_eq!(profile.functions[0].function, "elsewhere");
        assert_eq!(profile.functions[1].function, "keys");
        assert_eq!(profile.functions[1].share, 0.375);
        assert_eq!(profile.share_of("src/arena"), 0.125);
        assert_eq!(profile.share_of("src/graph"), 0.0);
        assert_eq!(profile.share_within("src/graph/search/walk.rs"), 0.125);
        assert_eq!(profile.share_within("src/index/entries/space.rs"), 0.375);
    }
}
