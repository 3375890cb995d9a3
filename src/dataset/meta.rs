//! The one fact of a data set that its vectors do not contain: `metric` in `meta.json`.

use std::fs;
use std::path::Path;

use super::DatasetError;
use super::input::Input;
use crate::metric::Metric;

/// Maximum length of a description.
const LIMIT: u64 = 1 << 20;

/// Returns the metric that the file names at its top level.
pub(super) fn metric(path: &Path) -> Result<Metric, DatasetError> {
    let input = Input::open(path)?;
    if input.len > LIMIT {
        return Err(input.header("longer than a mebibyte"));
    }
    let mut text = vec![0; input.len as usize];
    input.read_at(0, &mut text)?;
    let name = top_level_string(&text, "metric")
        .ok_or_else(|| input.header("no string \"metric\" at its top level"))?;
    named(&name).ok_or_else(|| DatasetError::Unsupported {
        path: path.into(),
        found: format!("the metric '{name}'"),
        supported: "l2, euclidean, cosine, angular, ip, dot, inner product, hamming",
    })
}

/// Writes a description that [`metric`] reads.
pub(super) fn write(path: &Path, metric: Metric) -> Result<(), DatasetError> {
    let text = format!("{{\"metric\": \"{}\"}}\n", metric.name());
    fs::write(path, text).map_err(DatasetError::io(path))
}

/// Returns the metric of a name as data sets write it.
fn named(name: &str) -> Option<Metric> {
    match name.to_ascii_lowercase().as_str() {
        "l2" | "l2sq" | "sqeuclidean" | "euclidean" => Some(Metric::L2),
        "cosine" | "cos" | "angular" => Some(Metric::Cosine),
        "ip" | "dot" | "mips" | "inner product" | "inner_product" => Some(Metric::InnerProduct),
        "hamming" => Some(Metric::Hamming),
        _ => None,
    }
}

/// Returns the value of a key of the outermost object, if it is a string. All other text is skipped
/// without being checked: this is no validator.
fn top_level_string(text: &[u8], key: &str) -> Option<String> {
    let (mut depth, mut at, mut previous) = (0_usize, 0, None);
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let string = string(text, &mut at)?;
                let colon = text[at..].iter().find(|b| !b.is_ascii_whitespace()) == Some(&b':');
                match (colon, previous.take()) {
                    (true, _) if depth == 1 => previous = Some(string),
                    (false, Some(k)) if depth == 1 && k == key => return Some(string),
                    _ => (),
                }
            }
            b',' => previous = None,
            _ => (),
        }
    }
    None
}

/// Returns the string whose opening quote was just passed. Escapes are kept unchanged.
fn string(text: &[u8], at: &mut usize) -> Option<String> {
    let start = *at;
    while let Some(&byte) = text.get(*at) {
        *at += 1;
        match byte {
            b'\\' => *at += 1,
            b'"' => return Some(String::from_utf8_lossy(&text[start..*at - 1]).into_owned()),
            _ => (),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::top_level_string;

    fn metric(text: &str) -> Option<String> {
        top_level_string(text.as_bytes(), "metric")
    }

    #[test]
    fn finds_the_key_of_the_outermost_object_only() {
        assert_eq!(metric(r#"{"metric": "l2"}"#).as_deref(), Some("l2"));
        let nested = r#"{ "a": {"metric":"no"}, "b": ["metric", "no"], "metric" : "yes" }"#;
        assert_eq!(metric(nested).as_deref(), Some("yes"));
        let quoted = r#"{"note": "\"metric\": \"no\"", "c": "metric", "metric":"cosine"}"#;
        assert_eq!(metric(quoted).as_deref(), Some("cosine"));
    }

    #[test]
    fn whatever_else_is_there_is_no_metric() {
        for text in [
            "",
            "{",
            "[\"metric\"]",
            "{\"metric\"",
            "{\"metric\":",
            "{\"metric\": 3, \"x\": \"l2\"}",
            "{\"metric\": {\"x\": \"l2\"}}",
            "{\"metric\": \"l2",
            "{\"metric\": \"l2\\",
            "}}}}",
        ] {
            assert_eq!(metric(text), None, "{text}");
        }
    }
}
