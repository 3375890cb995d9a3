//! QPS over recall as SVG, one line for each index.

use std::fmt::Write;

use crate::report::{Point, shape, thousands};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 520.0;
/// The plot within the picture.
const LEFT: f64 = 84.0;
const RIGHT: f64 = WIDTH - 28.0;
const TOP: f64 = 92.0;
const BOTTOM: f64 = HEIGHT - 64.0;

/// Colours that are distinct for colour-blind readers, too (Okabe and Ito).
const COLORS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// Recalls that get a grid line if they are within the picture.
const RECALLS: [f64; 11] = [0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0];

/// Returns the chart of all points; those of one data set and quantization are joined in their order.
pub(crate) fn svg(points: &[Point]) -> String {
    let Some(first) = points.first() else { return String::new() };
    let axes = Axes::around(points);
    let mut out = String::new();
    frame(&mut out, &axes, first);
    let series =
        points.chunk_by(|a, b| (&a.dataset, a.quantization) == (&b.dataset, b.quantization));
    for (i, points) in series.enumerate() {
        line(&mut out, &axes, points, COLORS[i % COLORS.len()], i);
    }
    out.push_str("</svg>\n");
    out
}

/// The map from recall and QPS to places in the picture.
struct Axes {
    left: f64,
    bottom: f64,
    top: f64,
}

impl Axes {
    /// Returns axes that begin and end at a labelled value around all points.
    fn around(points: &[Point]) -> Self {
        let least = points.iter().map(|p| p.recall).fold(1.0, f64::min);
        let left = RECALLS[..RECALLS.len() - 1].iter().rev().find(|&&r| r <= least);
        let qps = |f: fn(f64, f64) -> f64| points.iter().map(|p| p.qps).reduce(f).unwrap_or(1.0);
        let ticks = ticks();
        let below = ticks.iter().rev().find(|&&q| q <= qps(f64::min)).copied();
        let above = ticks.iter().find(|&&q| q >= qps(f64::max)).copied();
        Self {
            left: left.copied().unwrap_or(0.0),
            bottom: below.unwrap_or(1.0),
            top: above.unwrap_or(1e9),
        }
    }

    /// Returns the place of a recall, by the logarithm of the share of missed answers, so that 0.99 and 0.999 do not fall on
    /// one spot; the small summand keeps the perfect 1.0 in the picture.
    fn x(&self, recall: f64) -> f64 {
        let scale = |r: f64| -(1.0 - r + 0.0005).log10();
        let share = (scale(recall) - scale(self.left)) / (scale(1.0) - scale(self.left));
        LEFT + share * (RIGHT - LEFT)
    }

    fn y(&self, qps: f64) -> f64 {
        let share = (qps / self.bottom).ln() / (self.top / self.bottom).ln().max(1e-9);
        BOTTOM - share * (BOTTOM - TOP)
    }
}

/// Returns 1, 2 and 5 times each power of ten.
fn ticks() -> Vec<f64> {
    (0..9).flat_map(|power| [1.0, 2.0, 5.0].map(|n| n * 10_f64.powi(power))).collect()
}

/// Draws everything except the lines. Writing to a string does not fail.
fn frame(out: &mut String, axes: &Axes, first: &Point) {
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         width=\"{WIDTH}\" height=\"{HEIGHT}\" font-family=\"Helvetica, Arial, sans-serif\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"34\" font-size=\"19\" font-weight=\"bold\" fill=\"#222222\">\
         Queries per second over recall</text>\n\
         <text x=\"{LEFT}\" y=\"55\" font-size=\"12.5\" fill=\"#555555\">{}, \
         {} query thread{}, {}; small figures: {}</text>",
        shape(first),
        first.threads,
        if first.threads == 1 { "" } else { "s" },
        first.isa,
        effort(first).0,
    );
    for qps in ticks().into_iter().filter(|q| (axes.bottom..=axes.top).contains(q)) {
        let y = axes.y(qps);
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{RIGHT}\" y2=\"{y:.1}\" stroke=\"#e3e3e3\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"12\" fill=\"#444444\" \
             text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + 4.0,
            thousands(qps),
        );
    }
    for &recall in RECALLS.iter().filter(|&&r| r >= axes.left) {
        let x = axes.x(recall);
        let _ = writeln!(
            out,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{BOTTOM}\" stroke=\"#e3e3e3\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" font-size=\"12\" fill=\"#444444\" \
             text-anchor=\"middle\">{recall}</text>",
            BOTTOM + 19.0,
        );
    }
    let _ = writeln!(
        out,
        "<path d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\" fill=\"none\" stroke=\"#888888\"/>\n\
         <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"13\" fill=\"#222222\" \
         text-anchor=\"middle\">recall@{} (higher is better)</text>\n\
         <text transform=\"translate(20 {:.1}) rotate(-90)\" font-size=\"13\" fill=\"#222222\" \
         text-anchor=\"middle\">queries per second (log scale)</text>",
        f64::midpoint(LEFT, RIGHT),
        HEIGHT - 18.0,
        first.k,
        f64::midpoint(TOP, BOTTOM),
    );
}

/// Returns the name of the parameter that searches vary, and its value at an operating point.
fn effort(point: &Point) -> (&'static str, usize) {
    point.nprobe.map_or(("ef", point.ef), |nprobe| ("nprobe", nprobe))
}

/// Draws one index: its line, its points with their effort, and its entry in the legend.
fn line(out: &mut String, axes: &Axes, points: &[Point], color: &str, position: usize) {
    let places: Vec<(f64, f64)> =
        points.iter().map(|p| (axes.x(p.recall), axes.y(p.qps))).collect();
    let joined: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>",
        joined.join(" ")
    );
    let mut labelled = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    for (point, &(x, y)) in points.iter().zip(&places) {
        let (name, effort) = effort(point);
        let title = format!("{name} {effort}: recall {:.4}, {:.0} QPS", point.recall, point.qps);
        let _ = writeln!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.2\" fill=\"{color}\">\
             <title>{title}</title></circle>"
        );
        // A label needs room from the previous one.
        if (x - labelled.0).hypot(y - labelled.1) >= 22.0 {
            labelled = (x, y);
            let (x, y) = (x + 5.0, y - 5.0);
            let anchor = if x > RIGHT - 24.0 { "end" } else { "start" };
            let _ = writeln!(
                out,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"10\" fill=\"{color}\" \
                 text-anchor=\"{anchor}\">{effort}</text>"
            );
        }
    }
    let x = LEFT + 250.0 * (position % 3) as f64;
    let y = 76.0 + 15.0 * (position / 3) as f64;
    let _ = writeln!(
        out,
        "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" stroke=\"{color}\" \
         stroke-width=\"3\"/><text x=\"{:.1}\" y=\"{:.1}\" font-size=\"13\" \
         fill=\"#222222\">{} ({}{})</text>",
        x + 22.0,
        x + 29.0,
        y + 4.5,
        escape(&points[0].dataset),
        points[0].element,
        if points[0].quantization == "none" {
            String::new()
        } else {
            format!(", {}", points[0].quantization)
        },
    );
}

/// Returns a name as XML text.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
