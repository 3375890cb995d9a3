//! Line charts as SVG that takes its colours from the page.

use std::fmt::Write;

use super::html::{escape, thousands};

pub(super) const WIDTH: f64 = 460.0;
pub(super) const HEIGHT: f64 = 300.0;
const LEFT: f64 = 54.0;
const RIGHT: f64 = WIDTH - 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = HEIGHT - 40.0;

/// Colours of the page.
pub(super) const COLORS: usize = 10;

/// Points in order, joined unless they are marks.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    pub(super) color: usize,
    /// Single marks instead of a line.
    pub(super) marks: bool,
}

/// Recalls that get their own line.
const RECALLS: [f64; 11] = [0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0];

/// Scales by the logarithm of the missed share; the small summand keeps 1.0 in the picture.
fn recall_scale(recall: f64) -> f64 {
    -(1.0 - recall + 0.0005).log10()
}

/// Returns a chart of queries per second over recall, with a legend for a page.
pub(super) fn qps_over_recall(series: &[Series]) -> String {
    draw(series, by_recall, &recall_ticks(series), "recall@10", &recall_title)
}

/// Returns the elements of a plot of queries per second over recall.
pub(super) fn plot_qps_over_recall(series: &[Series]) -> String {
    plot(series, by_recall, &recall_ticks(series), "recall@10", &recall_title)
}

fn by_recall(series: &Series) -> Vec<(f64, f64)> {
    series.points.iter().map(|&(recall, qps)| (recall_scale(recall), qps)).collect()
}

/// Returns the recalls from the last one below all points on.
fn recall_ticks(series: &[Series]) -> Vec<(f64, String)> {
    let least = series.iter().flat_map(|s| &s.points).map(|p| p.0).fold(1.0, f64::min);
    let left = RECALLS[..10].iter().rev().find(|&&r| r <= least).copied().unwrap_or(0.0);
    RECALLS.iter().filter(|&&r| r >= left).map(|&r| (recall_scale(r), format!("{r}"))).collect()
}

fn recall_title(x: f64, qps: f64) -> String {
    // The inverse of the scale.
    format!("recall {:.4}, {} QPS", 1.0005 - 10_f64.powf(-x), thousands(qps))
}

/// Returns a chart of queries per second over bytes for each vector, one mark for each series.
pub(super) fn qps_over_memory(series: &[Series]) -> String {
    let most = series.iter().flat_map(|s| &s.points).map(|p| p.0).fold(0.0, f64::max);
    let title =
        |bytes: f64, q: f64| format!("{} bytes a vector, {} QPS", thousands(bytes), thousands(q));
    draw(series, |s| s.points.clone(), &ticks_to(most), "bytes for each vector", &title)
}

/// Plots a quantity over an axis with its own marks.
pub(super) fn over_marks(
    series: &[Series],
    marks: &[(f64, String)],
    x_name: &str,
    unit: &str,
) -> String {
    let title = |_, y: f64| format!("{} {unit}", thousands(y));
    draw(series, |s| s.points.clone(), marks, x_name, &title)
}

/// Returns round numbers from 0 up to one that is not below `most`.
fn ticks_to(most: f64) -> Vec<(f64, String)> {
    let rough = most.max(1.0) / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * power).into_iter().find(|&s| s >= rough);
    let step = step.unwrap_or(rough);
    (0..=(most / step).ceil() as usize)
        .map(|n| (n as f64 * step, thousands(n as f64 * step)))
        .collect()
}

/// Returns a chart of a quantity over the runs in which it was measured.
pub(super) fn over_runs(series: &[Series], runs: &[String]) -> String {
    let ticks: Vec<(f64, String)> = match runs.len() {
        0 => Vec::new(),
        n => [0, n - 1].map(|i| (i as f64, runs[i].clone())).into(),
    };
    let title = |_, q: f64| format!("{} QPS", thousands(q));
    draw(series, |s| s.points.clone(), &ticks, "", &title)
}

/// Returns a plot and its legend for a page.
fn draw(
    series: &[Series],
    scaled: impl Fn(&Series) -> Vec<(f64, f64)>,
    ticks: &[(f64, String)],
    x_name: &str,
    title: &dyn Fn(f64, f64) -> String,
) -> String {
    let plot = plot(series, scaled, ticks, x_name, title);
    if plot.is_empty() {
        return plot;
    }
    let legend = legend(series.iter().map(|s| (s.name.as_str(), s.color)));
    format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">{plot}</svg>{legend}")
}

/// Returns the elements of a plot, or an empty string if no series has a positive value.
fn plot(
    series: &[Series],
    scaled: impl Fn(&Series) -> Vec<(f64, f64)>,
    ticks: &[(f64, String)],
    x_name: &str,
    title: &dyn Fn(f64, f64) -> String,
) -> String {
    let values = || series.iter().flat_map(|s| s.points.iter().map(|p| p.1)).filter(|v| *v > 0.0);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    if !low.is_finite() {
        return String::new();
    }
    let steps: Vec<f64> =
        (0..9).flat_map(|power| [1.0, 2.0, 5.0].map(|n| n * 10_f64.powi(power))).collect();
    let bottom = steps.iter().rev().find(|&&s| s <= low).copied().unwrap_or(1.0);
    let top = steps.iter().find(|&&s| s >= high && s > bottom).copied().unwrap_or(1e9);
    let (first, last) = match (ticks.first(), ticks.last()) {
        (Some(first), Some(last)) => (first.0, last.0),
        _ => (0.0, 1.0),
    };
    let x = |v: f64| LEFT + (v - first) / (last - first).max(1e-9) * (RIGHT - LEFT);
    let y = |v: f64| BOTTOM - (v / bottom).ln() / (top / bottom).ln() * (BOTTOM - TOP);
    let mut out = String::new();
    for step in steps.iter().filter(|s| (bottom..=top).contains(s)) {
        // Writing to a string does not fail.
        let _ = write!(
            out,
            "<path class=\"grid-line\" d=\"M{LEFT} {0:.1}H{RIGHT}\"/><text x=\"{1:.1}\" y=\"{2:.1}\" text-anchor=\"end\">{3}</text>",
            y(*step),
            LEFT - 6.0,
            y(*step) + 4.0,
            thousands(*step)
        );
    }
    let mut labelled = f64::NEG_INFINITY;
    for (value, name) in ticks {
        let at = x(*value);
        let _ = write!(out, "<path class=\"grid-line\" d=\"M{at:.1} {TOP}V{BOTTOM}\"/>");
        if at - labelled >= 34.0 {
            labelled = at;
            let anchor = if at > RIGHT - 20.0 { "end" } else { "middle" };
            let at = if at > RIGHT - 20.0 { RIGHT } else { at };
            let _ = write!(
                out,
                "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                BOTTOM + 16.0,
                escape(name)
            );
        }
    }
    let _ = write!(
        out,
        "<path class=\"axis\" d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{x_name}</text>",
        f64::midpoint(LEFT, RIGHT),
        HEIGHT - 6.0
    );
    for s in series {
        let color = s.color % COLORS;
        let points = scaled(s);
        if !s.marks {
            let joined: Vec<String> =
                points.iter().map(|p| format!("{:.1},{:.1}", x(p.0), y(p.1))).collect();
            let _ = write!(
                out,
                "<polyline class=\"s{color}\" fill=\"none\" stroke-width=\"2\" points=\"{}\"/>",
                joined.join(" ")
            );
        }
        for (a, b) in points {
            let (px, py) = (x(a), y(b));
            let shape = if s.marks {
                format!(
                    "<path class=\"f{color}\" d=\"M{px:.1} {:.1}l4.5 4.5l-4.5 4.5l-4.5 -4.5z\">",
                    py - 4.5
                )
            } else {
                format!("<circle class=\"f{color}\" cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"3\">")
            };
            let end = if s.marks { "</path>" } else { "</circle>" };
            let _ = write!(out, "{shape}<title>{}: {}</title>{end}", escape(&s.name), title(a, b));
        }
    }
    out
}

/// Returns names beside their colours.
pub(super) fn legend<'a>(names: impl Iterator<Item = (&'a str, usize)>) -> String {
    let mut out = String::from("<div class=key>");
    for (name, color) in names {
        let _ = write!(out, "<span><i class=b{}></i>{}</span>", color % COLORS, escape(name));
    }
    out.push_str("</div>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_holds_its_points() {
        let points = vec![(0.91, 30_000.0), (0.999, 9000.0)];
        let series = [Series { name: "f32".into(), points, color: 0, marks: false }];
        let svg = qps_over_recall(&series);
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("recall 0.9100, 30\u{2009}000 QPS"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn ticks_are_round_and_reach_the_end() {
        let values = |most| ticks_to(most).into_iter().map(|tick| tick.0).collect::<Vec<_>>();
        assert_eq!(values(780.0), [0.0, 200.0, 400.0, 600.0, 800.0]);
        assert_eq!(values(0.0), [0.0]);
        assert_eq!(values(10.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert_eq!(qps_over_recall(&[]), "");
        assert_eq!(qps_over_memory(&[]), "");
        assert_eq!(over_runs(&[], &[]), "");
    }
}
