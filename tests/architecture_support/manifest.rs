//! The dependencies that `Cargo.toml` names.

/// Returns the direct dependencies of a default build, over all systems: optional ones are off, and only models need those under `nearfield_model`.
pub(crate) fn direct(manifest: &str) -> Vec<&str> {
    let mut direct = Vec::new();
    let mut is_counted = false;
    for line in manifest.lines() {
        if let Some(table) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            is_counted = false;
            let (before, name) = match table.split_once("dependencies") {
                Some((before, name)) => (before, name.strip_prefix('.').unwrap_or(name)),
                None => continue,
            };
            let is_normal = before.is_empty() || before.ends_with('.');
            if is_normal && !before.contains("nearfield_model") {
                is_counted = name.is_empty();
                // A table for a single dependency, as cargo writes them into a package.
                direct.extend((!name.is_empty()).then_some(name));
            }
        } else if line == "optional = true" {
            direct.pop();
        } else if let Some((name, value)) = line.split_once(" = ")
            && is_counted
            && !line.starts_with([' ', '#'])
            && !value.contains("optional = true")
        {
            direct.push(name);
        }
    }
    direct
}
