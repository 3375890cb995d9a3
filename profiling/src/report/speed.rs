//! Curves, latencies and their trend.

use std::fmt::Write;

use super::chart::{self, Series};
use super::html::{escape, section, table, thousands};
use super::peers::Peers;
use crate::curve::{Curve, Curves};
use crate::results::Run;

pub(super) fn curves(run: Option<&Run<Curves>>, peers: Option<&Peers>) -> String {
    let Some(run) = run else { return String::new() };
    let mut out = String::from("<div class=grid>");
    let like = |a: &Curve, b: &Curve| a.dataset == b.dataset && is_listed(a) == is_listed(b);
    for curves in run.result.curves.chunk_by(like) {
        let mut series: Vec<Series> = curves
            .iter()
            .map(|curve| {
                let color = color(&curve.recipe);
                let points = curve.points.iter().map(|p| (p.recall, p.qps[0].most)).collect();
                Series { name: curve.recipe.clone(), points, color, marks: false }
            })
            .collect();
        let set = &curves[0].dataset;
        let peers = peers.filter(|_| !is_listed(&curves[0]));
        let others = peers.iter().flat_map(|p| &p.rows).filter(|p| p.dataset == *set);
        for (at, peer) in others.enumerate() {
            let points = [(0.95, peer.qps_95), (0.99, peer.qps_99)];
            let points = points.into_iter().filter_map(|(r, q)| Some((r, q?))).collect();
            let name = peer.system.clone();
            series.push(Series { name, points, color: curves.len() + at, marks: true });
        }
        let _ = write!(
            out,
            "<figure><h3>{}{}</h3>{}<figcaption>{} x {}, {}; queries a second on one thread</figcaption></figure>",
            escape(set),
            if is_listed(&curves[0]) { " <span class=soft>inverted file</span>" } else { "" },
            chart::qps_over_recall(&series),
            thousands(curves[0].n as f64),
            curves[0].dimension,
            escape(&curves[0].metric)
        );
    }
    out.push_str("</div>");
    let lead = "Up and to the right is better. Both scales are logarithmic: recall by what is missed. \
                The best of the rounds, as the others hold other programs' work too; point at a dot for its figures.";
    section("curves", "Speed over recall", lead, &out)
}

/// Recall at which figures are quoted.
const QUOTED: f64 = 0.95;

/// Returns the quoted operating point of a curve: the least work that reaches the quoted recall, or else the last point.
fn quoted(curve: &Curve) -> Option<&crate::curve::Point> {
    curve.points.iter().find(|p| p.recall >= QUOTED).or(curve.points.last())
}

pub(super) fn trade(run: Option<&Run<Curves>>) -> String {
    let Some(run) = run else { return String::new() };
    let mut out = String::from("<div class=grid>");
    for curves in run.result.curves.chunk_by(|a, b| a.dataset == b.dataset) {
        let series: Vec<Series> = curves
            .iter()
            .filter_map(|curve| {
                // A curve below the quoted recall has no place in the picture.
                let p = curve.points.iter().find(|p| p.recall >= QUOTED)?;
                let m = &curve.memory;
                let bytes = m.vectors + m.codes + m.rows + m.upper + m.centroids + m.keys;
                Some(Series {
                    name: curve.recipe.clone(),
                    points: vec![(bytes as f64 / curve.n as f64, p.qps[0].most)],
                    color: color(&curve.recipe),
                    marks: true,
                })
            })
            .collect();
        if series.is_empty() {
            continue;
        }
        let _ = write!(
            out,
            "<figure><h3>{}</h3>{}</figure>",
            escape(&curves[0].dataset),
            chart::qps_over_memory(&series)
        );
    }
    out.push_str("</div>");
    let lead = "Up and to the left is better: queries a second on one thread at a recall of 0.95 or the next above it, and \
                what the index holds for each vector. Vectors beside codes are counted, and could be dropped.";
    section("trade", "Speed over memory", lead, &out)
}

pub(super) fn latencies(run: Option<&Run<Curves>>) -> String {
    let Some(run) = run else { return String::new() };
    let mut rows = Vec::new();
    for curve in &run.result.curves {
        let Some(p) = quoted(curve) else { continue };
        let l = &p.latency;
        let mut row = vec![escape(&curve.dataset), escape(&curve.recipe)];
        row.push(p.ef.to_string());
        row.push(format!("{:.4}", p.recall));
        row.extend([l.p50, l.p90, l.p99, l.p999, l.max].map(|us| format!("{us:.1}")));
        row.push(format!("{:.0}", p.distances));
        row.push(p.qps.iter().map(|q| thousands(q.median)).collect::<Vec<_>>().join(" / "));
        rows.push(row);
    }
    let threads = run.result.curves.first().and_then(quoted);
    let threads: Vec<String> =
        threads.iter().flat_map(|p| &p.qps).map(|q| q.threads.to_string()).collect();
    let qps = format!("QPS, {} threads", threads.join(" / "));
    let head = [
        "data",
        "walk reads",
        "ef or lists",
        "recall",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "distances",
        &qps,
    ];
    let lead = "Single queries one after the other, in microseconds, at the least ef, or number of lists, that reaches a recall of 0.95. \
                On a shared machine the last quantiles are the neighbours'.";
    section("latency", "Latency and threads", lead, &table(&head, 2, &rows))
}

pub(super) fn trend(runs: &[Run<Curves>]) -> String {
    if runs.len() < 2 {
        return String::new();
    }
    // QPS at a recall of 0.95 by data set and recipe, over the runs that have it.
    let mut series: Vec<(String, Vec<Series>)> = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        for curve in &run.result.curves {
            let Some(p) = quoted(curve) else { continue };
            let charts = series.iter().position(|(name, _)| *name == curve.dataset);
            let charts = charts.unwrap_or_else(|| {
                series.push((curve.dataset.clone(), Vec::new()));
                series.len() - 1
            });
            let lines = &mut series[charts].1;
            let line = lines.iter().position(|s| s.name == curve.recipe).unwrap_or_else(|| {
                let (name, color) = (curve.recipe.clone(), color(&curve.recipe));
                lines.push(Series { name, points: Vec::new(), color, marks: false });
                lines.len() - 1
            });
            lines[line].points.push((at as f64, p.qps[0].most));
        }
    }
    let runs: Vec<String> = runs.iter().map(|run| run.commit.chars().take(7).collect()).collect();
    let mut out = String::from("<div class=grid>");
    for (name, lines) in &series {
        let _ = write!(
            out,
            "<figure><h3>{}</h3>{}</figure>",
            escape(name),
            chart::over_runs(lines, &runs)
        );
    }
    out.push_str("</div>");
    let lead = "Queries a second at the least ef that reaches a recall of 0.95, over the stored runs, oldest first. \
                The machine's moods are in it: a verdict comes from a comparison.";
    section("trend", "Trend", lead, &out)
}

/// Returns whether a curve is of an inverted file.
fn is_listed(curve: &Curve) -> bool {
    curve.recipe.starts_with("ivf")
}

/// Returns the colour of a recipe: the same in every chart. Sets of bytes are in no collection here.
fn color(recipe: &str) -> usize {
    match recipe {
        "f32" => 0,
        "f16" => 1,
        "u8" | "bit" | "collection-f32" => 2,
        "sq8" => 3,
        "sq4" => 4,
        "ivf-f32" => 5,
        "ivf-pq4" => 6,
        "ivf-rabitq1" => 7,
        "ivf-rabitq2" => 8,
        "ivf-rabitq4" => 9,
        other => other.len(),
    }
}
