//! Quantities that are the same in every run of the same code: they are held strictly.

use std::path::Path;
use std::process::{Command, Stdio};

use profiling_worker::section;
use profiling_worker::subject::Folder;
use serde::{Deserialize, Serialize};

use crate::Failure;

/// A quantity of a workload in both builds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fact {
    pub(crate) workload: String,
    pub(crate) quantity: String,
    pub(crate) base: f64,
    pub(crate) new: f64,
}

/// What the two builds count of themselves.
pub(super) fn count(
    base: &Path,
    new: &Path,
    data: &Path,
    short: bool,
) -> Result<Vec<Fact>, Failure> {
    let (base, new) = (counts(base, data, short)?, counts(new, data, short)?);
    let pair = |(workload, quantity, new): (String, String, f64)| {
        let base = base.iter().find(|fact| fact.0 == workload && fact.1 == quantity)?.2;
        Some(Fact { workload, quantity, base, new })
    };
    Ok(new.into_iter().filter_map(pair).collect())
}

fn counts(worker: &Path, data: &Path, short: bool) -> Result<Vec<(String, String, f64)>, Failure> {
    let mut command = Command::new(worker);
    command.arg("facts").arg(data).stderr(Stdio::inherit());
    if short {
        command.arg("--short");
    }
    let output = command.output().map_err(|e| format!("{}: {e}", worker.display()))?;
    if !output.status.success() {
        return Err(format!("{}: {}", worker.display(), output.status).into());
    }
    String::from_utf8(output.stdout)?
        .lines()
        .map(|line| {
            let mut parts = line.split('\t').map(str::to_owned);
            let value = |text: String| text.parse::<f64>().ok();
            let fact = || Some((parts.next()?, parts.next()?, parts.next().and_then(value)?));
            let mut fact = fact;
            fact().ok_or_else(|| format!("the worker said '{line}', not a fact").into())
        })
        .collect()
}

/// Instructions of each section as valgrind counts them, in every run nearly or exactly the same; on kernels for AVX2, as it
/// knows no AVX-512. Nothing where there is no valgrind.
pub(super) fn instructions(base: &Path, new: &Path, data: &Path) -> Result<Vec<Fact>, Failure> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return Ok(Vec::new());
    }
    // Counts do not mind company, and most machines have two cores.
    let (base, new) = std::thread::scope(|scope| {
        let base = scope.spawn(|| executed(base, data));
        let new = executed(new, data);
        (base.join(), new)
    });
    let (base, new) = (base.map_err(|_| "counting stopped")??, new?);
    let facts = section::NAMES.iter().zip(base.into_iter().zip(new));
    Ok(facts
        .map(|(name, (base, new))| {
            let (workload, quantity) = ((*name).to_owned(), "instructions".to_owned());
            Fact { workload, quantity, base, new }
        })
        .collect())
}

/// The instructions of each section.
fn executed(worker: &Path, data: &Path) -> Result<Vec<f64>, Failure> {
    let folder = Folder::new()?;
    let prepared = Command::new(worker).arg("prepare").arg(data).arg(&folder.0).status();
    let prepared = prepared.map_err(|e| format!("{}: {e}", worker.display()))?;
    if !prepared.success() {
        return Err(format!("{}: {prepared}", worker.display()).into());
    }
    section::NAMES.iter().map(|name| executed_in(worker, name, data, &folder.0)).collect()
}

fn executed_in(worker: &Path, section: &str, data: &Path, folder: &Path) -> Result<f64, Failure> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*counted_section*")
        .arg(worker)
        .args(["section", section])
        .args([data, folder])
        .output()?;
    let report = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("valgrind: {}\n{report}", output.status).into());
    }
    let collected = report.lines().find_map(|line| line.split_once("Collected :"));
    match collected.and_then(|(_, count)| count.trim().parse().ok()) {
        Some(count) if count > 0.0 => Ok(count),
        _ => Err(format!("valgrind counted nothing in {section}:\n{report}").into()),
    }
}
