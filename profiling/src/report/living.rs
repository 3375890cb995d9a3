//! An index in use: turnover, filters, searches beside insertions. Drawn from the output of the library's benches:
//! `cargo bench --bench churn -- --json profiling/benchmarks/churn.jsonl`, and the same for `filter` and `mixed`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use serde_json::Value;

use super::chart::{self, Series};
use super::html::{self, bytes, escape, thousands};
use crate::results::folder;

pub(super) fn section() -> String {
    let figures = [
        figure("churn", "Turnover", churn),
        figure("filter", "Filters", filter),
        figure("mixed", "Beside insertions", mixed),
    ];
    let figures = figures.concat();
    if figures.is_empty() {
        return String::new();
    }
    let lead = "What the library's own benches wrote: an index all of whose vectors were replaced again and again beside one built of the \
                same vectors at once, filters, and searches while another thread inserts.";
    html::section("living", "An index in use", lead, &format!("<div class=grid>{figures}</div>"))
}

/// Returns a picture of a bench's file; an empty string if the file is missing or empty.
fn figure(bench: &str, title: &str, draw: fn(&[Value]) -> (String, String)) -> String {
    let path = folder("benchmarks").join(format!("{bench}.jsonl"));
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<Value> = text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    let Some(first) = lines.first() else { return String::new() };
    let (picture, caption) = draw(&lines);
    format!(
        "<figure><h3>{title}</h3>{picture}<figcaption>{} x {}. {caption}</figcaption></figure>",
        thousands(number(first, "n")),
        number(first, "dim")
    )
}

fn number(line: &Value, name: &str) -> f64 {
    line[name].as_f64().unwrap_or(0.0)
}

fn text<'a>(line: &'a Value, name: &str) -> &'a str {
    line[name].as_str().unwrap_or_default()
}

/// Returns one line of a chart for each name, in the order of the names.
fn series(points: impl IntoIterator<Item = (String, (f64, f64))>) -> Vec<Series> {
    let mut lines: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    // Zero bytes are not drawn, because the scale is logarithmic.
    for (name, point) in points.into_iter().filter(|(_, point)| point.1 > 0.0) {
        lines.entry(name).or_default().push(point);
    }
    let line = |(color, (name, points))| Series { name, points, color, marks: false };
    lines.into_iter().enumerate().map(line).collect()
}

fn churn(lines: &[Value]) -> (String, String) {
    let turned: Vec<&Value> = lines.iter().filter(|line| line["turnover"].is_u64()).collect();
    let of = |name: &str, field: &str| -> Vec<_> {
        let point = |line: &&Value| (number(line, "turnover"), number(line, field));
        turned.iter().map(|line| (name.to_owned(), point(line))).collect()
    };
    let lines_of = series([of("turned over", "qps"), of("built at once", "fresh_qps")].concat());
    let marks: Vec<(f64, String)> = turned
        .iter()
        .map(|line| number(line, "turnover"))
        .map(|turnover| (turnover, turnover.to_string()))
        .collect();
    let picture = chart::over_marks(&lines_of, &marks, "turnovers", "QPS");
    let mut caption = String::from("Queries a second");
    if let Some(last) = turned.last() {
        // Writing to a string does not fail.
        let _ = write!(
            caption,
            "; after {} turnovers recall is {:.4} and a vector takes {}, of one built at once {:.4} and {}",
            number(last, "turnover"),
            number(last, "recall"),
            bytes(number(last, "bytes_per_vector")),
            number(last, "fresh_recall"),
            bytes(number(last, "fresh_bytes_per_vector"))
        );
    }
    for line in lines.iter().filter(|line| line["left_mb"].is_number()) {
        let (all, left) = (number(line, "peak_mb"), number(line, "left_mb"));
        let _ = write!(
            caption,
            ". When nine tenths have vanished, maintenance leaves {left:.0} of {all:.0} MB"
        );
    }
    (picture, caption + ".")
}

fn filter(lines: &[Value]) -> (String, String) {
    let bitmaps = lines.iter().filter(|line| text(line, "filter") == "bitmap");
    let points = bitmaps.map(|line| {
        let name = match text(line, "relation") {
            "Near" => "accepts near ones",
            "Far" => "accepts far ones",
            _ => "at random",
        };
        (name.to_owned(), (number(line, "percent").log10(), number(line, "qps")))
    });
    let mut marks: Vec<f64> = lines.iter().map(|line| number(line, "percent")).collect();
    marks.sort_by(f64::total_cmp);
    marks.dedup();
    let marks: Vec<(f64, String)> =
        marks.into_iter().map(|percent| (percent.log10(), format!("{percent} %"))).collect();
    let least = lines.iter().map(|line| number(line, "recall")).fold(1.0, f64::min);
    let picture = chart::over_marks(&series(points), &marks, "vectors that are accepted", "QPS");
    (picture, format!("Queries a second under a bitmap; the least recall is {least:.4}."))
}

fn mixed(lines: &[Value]) -> (String, String) {
    let quantiles = [("p50_us", "p50"), ("p99_us", "p99"), ("p999_us", "p99.9")];
    let points = lines.iter().enumerate().flat_map(|(at, line)| {
        quantiles.map(|(field, name)| (name.to_owned(), (at as f64, number(line, field))))
    });
    let marks: Vec<(f64, String)> = lines
        .iter()
        .enumerate()
        .map(|(at, line)| (at as f64, escape(&thousands(number(line, "pace")))))
        .collect();
    let picture = chart::over_marks(&series(points), &marks, "insertions a second", "us");
    (picture, "Microseconds of a search.".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn each_bench_becomes_lines_and_words() {
        let (picture, words) = churn(&lines(
            "{\"turnover\":0,\"qps\":9,\"fresh_qps\":9,\"recall\":1}\n\
             {\"turnover\":1,\"qps\":8,\"fresh_qps\":9,\"recall\":0.97,\"bytes_per_vector\":500}\n\
             {\"peak_mb\":100.0,\"left_mb\":12.0}",
        ));
        assert_eq!(picture.matches("<circle").count(), 4);
        assert!(words.contains("recall is 0.9700 and a vector takes 500 B"), "{words}");
        assert!(words.contains("12 of 100 MB"), "{words}");
        let (picture, words) = filter(&lines(
            "{\"filter\":\"bitmap\",\"relation\":\"Near\",\"percent\":50.0,\"qps\":9,\"recall\":0.99}\n\
             {\"filter\":\"closure\",\"relation\":\"Near\",\"percent\":0.1,\"qps\":9,\"recall\":0.9}",
        ));
        assert_eq!(picture.matches("<circle").count(), 1);
        assert!(words.contains("0.9000"), "{words}");
        let (picture, _) = mixed(&lines("{\"pace\":1000,\"p50_us\":9,\"p99_us\":90}"));
        assert_eq!(picture.matches("<polyline").count(), 2);
        assert!(!picture.contains("inf"));
    }
}
