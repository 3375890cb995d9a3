//! A separate picture for a README: queries per second over recall, for each system in a file of points.

use std::fmt::Write;

use serde::Deserialize;

use super::chart::{COLORS, HEIGHT, Series, WIDTH, plot_qps_over_recall};
use super::html::{PALETTE, escape};
use crate::args::{Args, usage};
use crate::{Done, Failure};

pub(crate) const HELP: &str = "\
picture --points FILE.jsonl --out FILE.svg [--title TEXT] [--least RECALL]
    Draws QPS over recall, a line for each system, from the JSON lines that `cargo bench --bench ann -- --json` writes.
    Points of other systems need `system`, `recall` and `qps` only. Points below --least (0.9) are left out.";

/// An operating point; other fields are ignored.
#[derive(Debug, Clone, Deserialize)]
struct Point {
    system: String,
    recall: f64,
    qps: f64,
    quantization: Option<String>,
    element: Option<String>,
}

impl Point {
    /// Returns the name of its line.
    fn name(&self) -> String {
        let codes = self.quantization.as_deref().filter(|&codes| codes != "none");
        let element = self.element.as_deref();
        match (codes, element) {
            (Some(codes), Some(element)) => format!("{} {codes}, {element}", self.system),
            (Some(one), None) | (None, Some(one)) => format!("{} {one}", self.system),
            (None, None) => self.system.clone(),
        }
    }
}

pub(crate) fn run(mut args: Args) -> Result<Done, Failure> {
    let points = args.path("--points")?.ok_or_else(|| usage("--points names the file to draw"))?;
    let out = args.path("--out")?.ok_or_else(|| usage("--out names the picture to write"))?;
    let title = args.text("--title")?.unwrap_or_default();
    let least = args.number("--least", 0.9, 0.0..=1.0)?;
    args.finish()?;
    let text = std::fs::read_to_string(&points)?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let points: Vec<Point> =
        lines.map(serde_json::from_str).collect::<Result<_, serde_json::Error>>()?;
    let series = lines_of(&points, least);
    if series.is_empty() {
        return Err("no point reaches the least recall".into());
    }
    std::fs::write(&out, draw(&title, &series))?;
    println!("wrote {}", out.display());
    Ok(Done::Well)
}

/// Returns the points of each name from `least` on, by recall, without those that another point beats in both.
fn lines_of(points: &[Point], least: f64) -> Vec<Series> {
    let mut names: Vec<String> = Vec::new();
    for name in points.iter().map(Point::name) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut series = Vec::new();
    for (color, name) in names.into_iter().enumerate() {
        let mut own: Vec<(f64, f64)> = points
            .iter()
            .filter(|point| point.recall >= least && point.name() == name)
            .map(|point| (point.recall, point.qps))
            .collect();
        own.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)));
        let mut best = 0.0;
        own.retain(|&(_, qps)| {
            let is_better = qps > best;
            best = qps.max(best);
            is_better
        });
        own.reverse();
        if !own.is_empty() {
            series.push(Series { name, points: own, color: color % COLORS, marks: false });
        }
    }
    series
}

/// Returns an SVG document with a title, a legend and the plot, which follows the reader's colour scheme.
fn draw(title: &str, series: &[Series]) -> String {
    const TITLE: f64 = 26.0;
    const LEGEND_LINE: f64 = 17.0;
    const IN_A_LINE: usize = 3;

    let top = TITLE + LEGEND_LINE * series.len().div_ceil(IN_A_LINE) as f64 + 6.0;
    let height = top + HEIGHT;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{0}\" height=\"{1}\" \
         font-family=\"system-ui, Helvetica, Arial, sans-serif\">\n<style>{PALETTE}</style>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" rx=\"8\" fill=\"var(--card)\"/>\n\
         <text x=\"14\" y=\"20\" style=\"font-size:13px;font-weight:600;fill:var(--ink)\">{2}</text>\n",
        WIDTH * 1.7,
        height * 1.7,
        escape(title)
    );
    for (i, Series { name, color, .. }) in series.iter().enumerate() {
        let x = 14.0 + (WIDTH - 28.0) / IN_A_LINE as f64 * (i % IN_A_LINE) as f64;
        let y = TITLE + LEGEND_LINE * (i / IN_A_LINE) as f64 + 10.0;
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "<path class=\"s{color}\" stroke-width=\"3\" d=\"M{x:.1} {:.1}h14\"/>\
             <text x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
            y - 4.0,
            x + 19.0,
            escape(name)
        );
    }
    let plot = plot_qps_over_recall(series);
    let _ = write!(out, "<g transform=\"translate(0 {top})\">{plot}</g>\n</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_a_line_for_each_system_and_only_its_best_points() {
        let lines = r#"{"system": "peer", "recall": 0.95, "qps": 1000}
            {"system": "peer", "recall": 0.93, "qps": 900}
            {"system": "nearfield", "recall": 0.96, "qps": 2000, "quantization": "sq4", "element": "f16", "k": 10}
            {"system": "nearfield", "recall": 0.5, "qps": 9000, "quantization": "none", "element": "f32"}"#;
        let points: Vec<Point> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let series = lines_of(&points, 0.9);
        let found: Vec<_> = series.iter().map(|s| (s.name.as_str(), s.points.len())).collect();
        assert_eq!(found, [("peer", 1), ("nearfield sq4, f16", 1)]);
        let svg = draw("a < b", &series);
        assert!(svg.contains("a &lt; b") && svg.contains("nearfield sq4, f16"));
        assert_eq!(svg.matches("<circle").count(), 2);
        // XML wants quotes around every attribute.
        assert!(!svg.split("</style>").nth(1).unwrap().contains("class=s"));
    }
}
