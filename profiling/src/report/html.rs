//! The page around the sections: one file that needs no network and no script.

use std::fmt::Write;

/// Returns text as HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Returns a whole number with its thousands apart.
pub(super) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) && !out.ends_with('-') {
            out.push('\u{2009}');
        }
        out.push(digit);
    }
    out
}

/// Returns bytes in the most readable unit.
pub(super) fn bytes(value: f64) -> String {
    match value {
        v if v >= 1024.0 * 1024.0 => format!("{:.1} MiB", v / 1024.0 / 1024.0),
        v if v >= 1024.0 => format!("{:.1} KiB", v / 1024.0),
        v => format!("{v:.0} B"),
    }
}

/// Returns a table. Columns after the first `text` hold figures.
pub(super) fn table(head: &[&str], text: usize, rows: &[Vec<String>]) -> String {
    let class = |column| if column < text { "" } else { " class=n" };
    let mut out = String::from("<div class=scroll><table><thead><tr>");
    for (column, name) in head.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = write!(out, "<th{}>{}</th>", class(column), escape(name));
    }
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        out.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let _ = write!(out, "<td{}>{cell}</td>", class(column));
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
    out
}

/// Returns a section under a heading; empty if it has no content.
pub(super) fn section(id: &str, title: &str, lead: &str, content: &str) -> String {
    if content.is_empty() {
        return String::new();
    }
    format!("<section id={id}><h2>{title}</h2><p class=lead>{lead}</p>{content}</section>\n")
}

/// Returns the whole page.
pub(super) fn page(head: &str, sections: &[String]) -> String {
    let mut links = String::new();
    for section in sections.iter().filter(|section| !section.is_empty()) {
        let id = between(section, "<section id=", ">");
        let title = between(section, "<h2>", "</h2>");
        let _ = write!(links, "<a href=\"#{id}\">{title}</a>");
    }
    format!(
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width,initial-scale=1\">\
         <meta name=color-scheme content=\"light dark\"><title>nearfield: profiling report</title>\
         <style>{PALETTE}{STYLE}</style></head>\n<body><main>{head}<nav>{links}</nav>\n{}</main></body></html>\n",
        sections.concat()
    )
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let rest = text.split_once(from).map_or("", |(_, rest)| rest);
    rest.split_once(to).map_or("", |(found, _)| found)
}

/// Colours of lines, marks and texts by the reader's colour scheme.
pub(super) const PALETTE: &str = "
:root{--bg:#fbfbfa;--card:#fff;--ink:#1d2126;--soft:#5b6470;--line:#e2e4e8;--grid:#eceef1;--good:#14783f;--bad:#b3261e;
--warn:#9a5b00;--link:#0b5cad;--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#b0568f;--c4:#b07800;--c5:#3a8fc0;
--c6:#7a5bb5;--c7:#8a5a3c;--c8:#6b7280;--c9:#c2185b}
@media(prefers-color-scheme:dark){:root{--bg:#14171a;--card:#1c2024;--ink:#e6e8ea;--soft:#9aa4af;--line:#2d3339;
--grid:#262b31;--good:#58c98a;--bad:#ff8a80;--warn:#e9b35c;--link:#7db8f0;--c0:#4aa8e0;--c1:#f08a4b;--c2:#3cc7a0;--c3:#dd92c3;
--c4:#e0ae45;--c5:#8cc9ec;--c6:#b49be6;--c7:#c99a78;--c8:#a3acb8;--c9:#f48fb1}}
svg text{fill:var(--soft);font-size:11px}svg .grid-line{stroke:var(--grid)}svg .axis{stroke:var(--line);fill:none}
.s0{stroke:var(--c0)}.s1{stroke:var(--c1)}.s2{stroke:var(--c2)}.s3{stroke:var(--c3)}.s4{stroke:var(--c4)}.s5{stroke:var(--c5)}
.s6{stroke:var(--c6)}.s7{stroke:var(--c7)}.s8{stroke:var(--c8)}.s9{stroke:var(--c9)}
.f0{fill:var(--c0)}.f1{fill:var(--c1)}.f2{fill:var(--c2)}.f3{fill:var(--c3)}.f4{fill:var(--c4)}.f5{fill:var(--c5)}
.f6{fill:var(--c6)}.f7{fill:var(--c7)}.f8{fill:var(--c8)}.f9{fill:var(--c9)}
";

const STYLE: &str = "
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}
main{max-width:1180px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:26px;line-height:1.2;margin:0 0 6px}h2{font-size:19px;margin:0 0 4px}h3{font-size:15px;margin:0 0 8px;font-weight:600}
p{margin:0 0 10px}.lead,.host,figcaption,.note{color:var(--soft);font-size:13.5px}.lead{max-width:78ch}
nav{display:flex;flex-wrap:wrap;gap:6px 16px;margin:14px 0 6px;font-size:14px}a{color:var(--link)}
section{margin-top:34px;padding-top:20px;border-top:1px solid var(--line)}
.verdict{display:inline-block;padding:3px 12px;border-radius:99px;font-weight:600;border:1.5px solid currentColor}
.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}.soft{color:var(--soft)}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,350px),1fr));gap:16px;margin-top:14px}
.card,figure{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px;margin:0;min-width:0}
figure svg{display:block;width:100%;max-width:560px;height:auto}figcaption{margin-top:6px}
code{font-size:.92em}
.scroll{overflow-x:auto;margin-top:10px}table{border-collapse:collapse;width:100%;font-size:13.5px}
th,td{text-align:left;padding:5px 14px 5px 0;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--soft);font-weight:600;font-size:12.5px}.n{text-align:right;font-variant-numeric:tabular-nums}
td.n:last-child,th.n:last-child{padding-right:2px}
.bar{display:flex;height:16px;border-radius:4px;overflow:hidden;background:var(--grid)}.bar i{display:block;height:100%}
.row{display:grid;grid-template-columns:minmax(90px,46%) 1fr 78px;gap:10px;align-items:center;font-size:13px;margin:5px 0}
.row>span:last-child{text-align:right;font-variant-numeric:tabular-nums}
.key{display:flex;flex-wrap:wrap;gap:4px 14px;font-size:12.5px;color:var(--soft);margin-top:8px}
.key i{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:5px;vertical-align:-1px}
.finding{border-left:3px solid var(--warn);padding:2px 0 2px 12px;margin:14px 0}.finding p{margin:2px 0;max-width:90ch}
.b0{background:var(--c0)}.b1{background:var(--c1)}.b2{background:var(--c2)}.b3{background:var(--c3)}.b4{background:var(--c4)}.b5{background:var(--c5)}
.b6{background:var(--c6)}.b7{background:var(--c7)}.b8{background:var(--c8)}.b9{background:var(--c9)}
@media(max-width:520px){main{padding:18px 12px 40px}h1{font-size:22px}}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_sections_are_linked() {
        assert_eq!(escape("a<b & \"c\""), "a&lt;b &amp; &quot;c&quot;");
        assert_eq!(thousands(1_234_567.4), "1\u{2009}234\u{2009}567");
        assert_eq!(section("x", "X", "", ""), "");
        let page = page("<h1>T</h1>", &[section("x", "X", "lead", "content"), String::new()]);
        assert!(page.contains("<a href=\"#x\">X</a>"));
        // The page loads no other files.
        assert!(!page.contains("http") && !page.contains("<script"));
    }
}
