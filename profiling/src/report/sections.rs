//! The sections of the page, each from the newest run of its kind.

use std::fmt::Write;
use std::fs;

use super::chart::legend;
use super::html::{bytes, escape, section, table, thousands};
use super::peers::Peers;
use crate::advise::Advice;
use crate::compare::{Comparison, Verdict};
use crate::curve::{Curve, Curves};
use crate::heap::Heaps;
use crate::kernels::Kernels;
use crate::records::Operations;
use crate::results::{Run, folder};
use crate::soak::Soak;

/// Returns a badge that shows a verdict at a glance.
pub(super) fn badge(verdict: Verdict) -> String {
    let class = match verdict {
        Verdict::Better | Verdict::Same => "good",
        Verdict::Noisy | Verdict::Worse => "warn",
        Verdict::Fail => "bad",
    };
    format!("<span class=\"verdict {class}\">{}</span>", verdict.name().to_lowercase())
}

/// Returns a count with its significant digits.
fn figure(value: f64) -> String {
    if value < 10_000.0 { format!("{value:.4}") } else { thousands(value) }
}

pub(super) fn comparison(run: Option<&Run<Comparison>>) -> String {
    let Some(run) = run else { return String::new() };
    let c = &run.result;
    let mut rows = Vec::new();
    for (verdict, t) in &c.timings {
        let interval = |e: crate::stats::Estimate| {
            format!("{:+.1} % <span class=soft>[{:+.1}, {:+.1}]</span>", e.point, e.low, e.high)
        };
        rows.push(vec![
            badge(*verdict),
            escape(&t.workload),
            format!("{:.1}", t.micros[0]),
            format!("{:.1}", t.micros[1]),
            interval(t.change),
            interval(t.control),
        ]);
    }
    let times = match rows.is_empty() {
        true => String::new(),
        false => table(
            &["", "CPU time of a step", "base us", "new us", "change", "control: new to new"],
            2,
            &rows,
        ),
    };
    let moved = c.facts.iter().filter(|(_, fact)| fact.base != fact.new);
    let rows: Vec<Vec<String>> = moved
        .map(|(verdict, f)| {
            vec![
                badge(*verdict),
                escape(&f.workload),
                escape(&f.quantity),
                figure(f.base),
                figure(f.new),
                f.percent(),
            ]
        })
        .collect();
    let same = c.facts.len() - rows.len();
    let facts = match rows.is_empty() {
        true => String::new(),
        false => table(&["", "workload", "quantity", "base", "new", "change"], 3, &rows),
    };
    let lead = format!(
        "{} at {}, commit {}{}. {same} of {} exact counts are the same to the last digit.{}",
        badge(c.verdict),
        escape(&run.time),
        escape(&run.commit),
        if c.against.is_empty() {
            String::new()
        } else {
            format!(", against {}", escape(&c.against))
        },
        c.facts.len(),
        if c.timings.is_empty() {
            " Time was not compared.".to_owned()
        } else {
            format!(" The workers waited {:.0} % of their time for a core.", 100.0 * c.queue_wait)
        }
    );
    section("verdict", "Against the baseline", &lead, &(times + &facts))
}

/// Returns text as HTML; text between backticks is code.
fn prose(text: &str) -> String {
    let mut out = String::new();
    for (at, part) in escape(text).split('`').enumerate() {
        let _ =
            if at % 2 == 1 { write!(out, "<code>{part}</code>") } else { write!(out, "{part}") };
    }
    out
}

pub(super) fn memory(run: Option<&Run<Curves>>) -> String {
    let Some(run) = run else { return String::new() };
    let parts = ["vectors", "codes", "base rows", "upper levels", "centroids", "keys", "scratch"];
    let each = |curve: &Curve| {
        let m = &curve.memory;
        [m.vectors, m.codes, m.rows, m.upper, m.centroids, m.keys, m.scratch]
            .map(|part| part as f64 / curve.n as f64)
    };
    let most = run.result.curves.iter().map(|c| each(c).iter().sum::<f64>()).fold(1.0, f64::max);
    let mut out = String::from("<div class=card>");
    for curve in &run.result.curves {
        let parts = each(curve);
        let mut bar = String::new();
        for (color, part) in parts.iter().enumerate() {
            let _ =
                write!(bar, "<i class=b{color} style=\"width:{:.2}%\"></i>", 100.0 * part / most);
        }
        let _ = write!(
            out,
            "<div class=row><span>{} {}</span><div class=bar>{bar}</div><span>{}</span></div>",
            escape(&curve.dataset),
            escape(&curve.recipe),
            bytes(parts.iter().sum())
        );
    }
    out.push_str(&legend(parts.iter().enumerate().map(|(color, name)| (*name, color))));
    out.push_str("</div>");
    let head = ["data", "walk reads", "index", "resident", "peak while building", "huge pages"];
    let mut build_head: Vec<String> = head.map(String::from).into();
    let mut rows = Vec::new();
    for curve in &run.result.curves {
        let m = &curve.memory;
        let total = m.vectors + m.codes + m.rows + m.upper + m.centroids + m.keys + m.scratch;
        let mut row = vec![escape(&curve.dataset), escape(&curve.recipe), bytes(total as f64)];
        row.extend([m.resident, m.peak, m.huge].map(|b| bytes(b as f64)));
        for build in &curve.build {
            let name = format!("build s, {} threads", build.threads);
            if !build_head.contains(&name) {
                build_head.push(name);
            }
            row.push(format!(
                "{:.2} <span class=soft>({:.2} CPU)</span>",
                build.wall_s, build.cpu_s
            ));
        }
        rows.push(row);
    }
    let head: Vec<&str> = build_head.iter().map(String::as_str).collect();
    out.push_str(&table(&head, 2, &rows));
    let lead = "Bytes for each vector, by purpose, from the index's own account; below, what the process says, and building.";
    section("memory", "Memory and building", lead, &out)
}

pub(super) fn kernels(run: Option<&Run<Kernels>>) -> String {
    let Some(run) = run else { return String::new() };
    let kernels = &run.result.kernels;
    let most = kernels.iter().map(|k| k.gigabytes_per_second).fold(1.0, f64::max);
    let mut isas: Vec<&str> = Vec::new();
    for k in kernels {
        if !isas.contains(&k.isa.as_str()) {
            isas.push(&k.isa);
        }
    }
    let color = |isa: &str| isas.iter().position(|name| *name == isa).unwrap_or(0);
    let mut out = String::from("<div class=grid>");
    for group in kernels.chunk_by(|a, b| a.metric == b.metric) {
        let _ = write!(out, "<div class=card><h3>{}</h3>", escape(&group[0].metric));
        for k in group.iter().filter(|k| k.dimension == 384) {
            let _ = write!(
                out,
                "<div class=row><span>{} {}</span><div class=bar><i class=b{} style=\"width:{:.2}%\"></i></div>\
                 <span>{:.1} GB/s</span></div>",
                escape(&k.element),
                escape(&k.isa),
                color(&k.isa),
                100.0 * k.gigabytes_per_second / most,
                k.gigabytes_per_second
            );
        }
        out.push_str("</div>");
    }
    out.push_str("</div>");
    out.push_str(&legend(isas.iter().map(|isa| (*isa, color(isa)))));
    let lead = "Bytes of rows a second, 384 dimensions, rows in the second-level cache, on the thread's own clock.";
    section("kernels", "Distance kernels", lead, &out)
}

pub(super) fn store(run: Option<&Run<Operations>>) -> String {
    let Some(run) = run else { return String::new() };
    let rows: Vec<Vec<String>> = run
        .result
        .operations
        .iter()
        .map(|o| {
            let mut row = vec![escape(&o.name), thousands(o.count as f64)];
            row.extend([o.mean, o.p50, o.p99, o.max].map(|us| format!("{us:.2}")));
            row
        })
        .collect();
    let lead = format!(
        "Microseconds, {} records of 16 + 256 bytes in a file, which takes {:.2} bytes for each of theirs. \
         What is synced waits for the disk.",
        thousands(run.result.records as f64),
        run.result.file_bytes_per_byte
    );
    let head = ["operation", "count", "mean", "p50", "p99", "max"];
    section("store", "Page store and B+tree", &lead, &table(&head, 1, &rows))
}

pub(super) fn heap(heaps: Option<&Run<Heaps>>, soak: Option<&Run<Soak>>) -> String {
    let mut out = String::new();
    if let Some(run) = heaps {
        let rows: Vec<Vec<String>> = run
            .result
            .workloads
            .iter()
            .map(|h| {
                let site = h.sites.first().map_or("none", |site| &site.place);
                vec![
                    escape(&h.workload),
                    format!("<code>{}</code>", escape(site)),
                    thousands(h.blocks as f64),
                    format!("{:.4}", h.blocks as f64 / h.operations as f64),
                    bytes(h.bytes as f64),
                    bytes(h.peak_bytes as f64),
                ]
            })
            .collect();
        let head = [
            "workload",
            "place with the most",
            "allocations",
            "for each operation",
            "bytes",
            "peak",
        ];
        out.push_str(&table(&head, 2, &rows));
    }
    if let Some(run) = soak {
        let g = run.result.growth;
        let (class, word) = if g.flat { ("good", "flat") } else { ("bad", "growing") };
        let _ = write!(
            out,
            "<p class=note>Soak of {} minutes, {} operations: resident memory is <span class={class}>{word}</span>, \
             {} in the second quarter and {} in the last.</p>",
            run.result.minutes,
            thousands(run.result.operations as f64),
            bytes(g.early),
            bytes(g.late)
        );
    }
    let lead = "What the allocator gives; columns of an index are mapped and not in it.";
    section("heap", "Heap", lead, &out)
}

pub(super) fn advice(run: Option<&Run<Advice>>) -> String {
    let Some(run) = run else { return String::new() };
    let mut out = String::from("<div class=grid>");
    for (workload, samples, hot) in &run.result.hot {
        let _ = write!(
            out,
            "<div class=card><h3>{} <span class=soft>{samples} samples</span></h3>",
            escape(workload)
        );
        for h in hot {
            let _ = write!(
                out,
                "<div class=row><span>{} <span class=soft>{}</span></span>\
                 <div class=bar title=\"{}\"><i class=b0 style=\"width:{:.1}%\"></i></div><span>{:.1} %</span></div>",
                escape(&h.function),
                escape(h.file.rsplit('/').next().unwrap_or_default()),
                escape(&h.file),
                100.0 * h.share,
                100.0 * h.share
            );
        }
        out.push_str("</div>");
    }
    out.push_str("</div>");
    for f in &run.result.findings {
        let _ = write!(
            out,
            "<div class=finding><h3>{}</h3><p>{}.</p><p><b>Try:</b> {}.</p></div>",
            prose(&f.cause),
            prose(&f.evidence),
            prose(&f.suggestion)
        );
    }
    if run.result.findings.is_empty() {
        out.push_str("<p class=note>No known cause of lost time shows in the measurements.</p>");
    }
    let lead = format!(
        "Functions of the library by samples, and known causes with the figures that show them; {}, {} x {}.",
        escape(&run.result.dataset),
        thousands(run.result.n as f64),
        run.result.dimension
    );
    section("advice", "Recommendations", &lead, &out)
}

pub(super) fn peers(peers: Option<&Peers>) -> String {
    let Some(peers) = peers else { return String::new() };
    let hnswlib = |dataset: &str| {
        peers
            .rows
            .iter()
            .find(|p| p.dataset == dataset && p.system == "hnswlib")
            .and_then(|p| p.qps_95)
    };
    let rows: Vec<Vec<String>> = peers
        .rows
        .iter()
        .map(|p| {
            let figure = |q: Option<f64>| q.map_or("-".to_owned(), thousands);
            let ratio =
                p.qps_95.zip(hnswlib(&p.dataset)).map(|(q, base)| format!("{:.2}", q / base));
            vec![
                escape(&p.dataset),
                escape(&p.system),
                figure(p.qps_95),
                ratio.unwrap_or("-".to_owned()),
                figure(p.qps_99),
                thousands(p.build_s),
                thousands(p.memory_mb),
            ]
        })
        .collect();
    let head = ["data", "system", "QPS at 0.95", "to hnswlib", "QPS at 0.99", "build s", "MB"];
    let table = table(&head, 2, &rows);
    let content =
        format!("<details><summary>{} measurements</summary>{table}</details>", rows.len());
    section("peers", "Other systems", &format!("{}.", escape(&peers.how)), &content)
}

/// Returns pictures and texts that other commands left beside the page.
pub(super) fn files() -> String {
    let mut out = String::new();
    for (name, kinds) in [("flamegraphs", "svg"), ("memory", "txt json")] {
        let mut files: Vec<String> = fs::read_dir(folder(name))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|file| file.rsplit_once('.').is_some_and(|(_, end)| kinds.contains(end)))
            .collect();
        files.sort();
        for file in files {
            let file = escape(&file);
            let _ = write!(out, "<li><a href=\"../{name}/{file}\">{name}/{file}</a></li>");
        }
    }
    if !out.is_empty() {
        out = format!("<ul>{out}</ul>");
    }
    let lead = "Flame graphs open in a browser: click to zoom, Ctrl-F to search. heap-*.json is for valgrind's dh_view.html.";
    section("files", "Flame graphs and heap reports", lead, &out)
}
