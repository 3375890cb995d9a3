//! Words in comments that hide the noun of a sentence.

use std::collections::BTreeMap;

use super::part;

/// Hidden nouns in 1,000 words of the comments of a part of `src/`, at most.
const CEILING: usize = 3;

/// Words of a part below which a single hidden noun would break the ceiling.
const ENOUGH: usize = 400;

const ALONE: [&str; 9] =
    ["what", "whatever", "who", "whoever", "nobody", "somebody", "anybody", "stand", "stands"];
const AFTER: [(&str, &[&str]); 3] = [
    ("so", &["many", "much", "few", "far"]),
    ("as", &["many", "much", "few", "far"]),
    ("there", &["is", "are", "was", "were"]),
];

/// Returns the words of the comments of a source file, in lower case; an identifier in backticks is one word.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let comments = text.lines().filter_map(|line| line.split_once("//")).map(|(_, text)| text);
    for comment in comments {
        for (i, prose) in comment.split('`').enumerate() {
            if i % 2 == 1 {
                words.push("code".to_owned());
                continue;
            }
            let parts = prose.split(|c: char| !c.is_ascii_alphabetic() && c != '\'');
            words.extend(parts.filter(|word| !word.is_empty()).map(str::to_ascii_lowercase));
        }
    }
    words
}

fn hidden(words: &[String]) -> usize {
    let alone = words.iter().filter(|word| ALONE.contains(&word.as_str())).count();
    let pairs = words.windows(2).filter(|pair| {
        AFTER
            .iter()
            .any(|(first, seconds)| pair[0] == *first && seconds.contains(&pair[1].as_str()))
    });
    alone + pairs.count()
}

/// Returns the parts of `src/` whose comments hide more nouns than the ceiling allows.
pub(crate) fn vague(sources: &[(String, String)]) -> Vec<String> {
    let mut parts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (file, text) in sources {
        let words = words(text);
        let (count, all) = parts.entry(part(file)).or_default();
        (*count, *all) = (*count + hidden(&words), *all + words.len());
    }
    let vague = parts.iter().filter(|&(_, &(count, all))| count * 1000 > CEILING * all.max(ENOUGH));
    vague.map(|(part, (count, all))| format!("{part}: {count} of {all} words")).collect()
}
