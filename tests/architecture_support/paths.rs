//! Paths in source text.

use super::{code, is_word};

/// Reads a path, or the tree of paths in a `use`, from the head of `text`. Adds each path below `before` to `found`, and returns the rest.
fn read_tree<'t>(text: &'t str, before: &[&'t str], found: &mut Vec<Vec<&'t str>>) -> &'t str {
    let mut rest = text.trim_start();
    let mut path = before.to_vec();
    loop {
        if let Some(mut group) = rest.strip_prefix('{') {
            loop {
                group = read_tree(group, &path, found).trim_start();
                match group.strip_prefix(',') {
                    Some(next) => group = next,
                    None => return group.strip_prefix('}').unwrap_or(group),
                }
            }
        }
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if end > 0 {
            path.push(&rest[..end]);
        }
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(next) => rest = next.trim_start(),
            None => break,
        }
    }
    // The other name in `a as b`, or the star of `a::*`.
    let end = rest.find([',', '}', ';']).unwrap_or(rest.len());
    if path.len() > before.len() {
        found.push(path);
    }
    if before.is_empty() { rest } else { &rest[end..] }
}

/// Returns the number of modules written out in the code that are still open at its end.
fn open_modules(code: &str) -> usize {
    let begins = code.match_indices("mod ").filter(|(at, _)| !code[..*at].ends_with(is_word));
    let bodies = begins.filter_map(|(at, head)| {
        let name = &code[at + head.len()..];
        name.trim_start_matches(is_word).strip_prefix(" {")
    });
    bodies.filter(|body| body.matches('}').count() <= body.matches('{').count()).count()
}

/// Returns the paths in the code of a file that begin at the crate or at a module around the file, from the crate on, with their lines.
pub(crate) fn paths(file: &str, text: &str) -> Vec<(usize, Vec<String>)> {
    let code: String = code(text).map(|(_, line)| line.to_owned() + "\n").collect();
    let file = file.strip_suffix(".rs").unwrap();
    let own: Vec<_> = file.strip_suffix("/mod").unwrap_or(file).split('/').collect();
    let mut all = Vec::new();
    let mut at = 0;
    while let Some(begin) =
        ["crate::", "super::"].iter().filter_map(|head| code[at..].find(head)).min()
    {
        let begin = at + begin;
        at = begin + "crate::".len();
        if code[..begin].ends_with(is_word) || code[..begin].ends_with("pub(in ") {
            continue;
        }
        let mut found = Vec::new();
        let rest = read_tree(&code[begin..], &[], &mut found);
        at = at.max(code.len() - rest.len());
        let line = code[..begin].matches('\n').count() + 1;
        for path in found {
            let up = path.iter().take_while(|name| **name == "super").count();
            let names = if up == 0 { 1 } else { up };
            let up = up.saturating_sub(open_modules(&code[..begin]));
            let base = if path[0] == "crate" { &[] } else { &own[..own.len().saturating_sub(up)] };
            let path = base.iter().chain(&path[names..]).map(|name| (*name).to_owned()).collect();
            all.push((line, path));
        }
    }
    all
}
