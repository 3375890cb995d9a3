//! Quantities that are the same in every run of the same code, with strict limits.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use nearfield::Isa;
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

impl Fact {
    /// Returns the change as text.
    pub(crate) fn percent(&self) -> String {
        match self.base {
            // A change from 0 has no percentage.
            0.0 => "new".to_owned(),
            base => format!("{:+.2}%", 100.0 * (self.new / base - 1.0)),
        }
    }
}

/// A quantity of a workload in one build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Value {
    pub(super) workload: String,
    pub(super) quantity: String,
    pub(super) value: f64,
}

/// Compares the counts that the two builds report.
pub(super) fn count(
    base: &Path,
    new: &Path,
    data: &Path,
    short: bool,
) -> Result<Vec<Fact>, Failure> {
    let (base, new) = (counts(base, data, short, None)?, counts(new, data, short, None)?);
    let pair = |Value { workload, quantity, value: new }: Value| {
        let same = |fact: &&Value| fact.workload == workload && fact.quantity == quantity;
        let base = base.iter().find(same)?.value;
        Some(Fact { workload, quantity, base, new })
    };
    Ok(new.into_iter().filter_map(pair).collect())
}

/// Returns the counts that a build reports, on the kernels of an instruction set or on those that it chooses.
pub(super) fn counts(
    worker: &Path,
    data: &Path,
    short: bool,
    isa: Option<Isa>,
) -> Result<Vec<Value>, Failure> {
    let mut command = on(worker, isa);
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
            let number = |text: String| text.parse::<f64>().ok();
            let mut value = || {
                let (workload, quantity) = (parts.next()?, parts.next()?);
                Some(Value { workload, quantity, value: parts.next().and_then(number)? })
            };
            value().ok_or_else(|| format!("the worker said '{line}', not a fact").into())
        })
        .collect()
}

/// Returns a command for a program that uses the kernels of an instruction set.
fn on(program: impl AsRef<OsStr>, isa: Option<Isa>) -> Command {
    let mut command = Command::new(program);
    if let Some(isa) = isa {
        command.env("NEARFIELD_SIMD", isa.to_string());
    }
    command
}

pub(super) fn has_valgrind() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok()
}

/// Returns the instructions of each section in both builds. Returns an empty list without valgrind.
pub(super) fn instructions(base: &Path, new: &Path, data: &Path) -> Result<Vec<Fact>, Failure> {
    if !has_valgrind() {
        return Ok(Vec::new());
    }
    // Counts do not depend on load, and most machines have two cores.
    let (base, new) = std::thread::scope(|scope| {
        let base = scope.spawn(|| instructions_of(base, data, None));
        let new = instructions_of(new, data, None);
        (base.join(), new)
    });
    let (base, new) = (base.map_err(|_| "counting stopped")??, new?);
    Ok(base
        .into_iter()
        .zip(new)
        .map(|(base, new)| Fact {
            workload: new.workload,
            quantity: new.quantity,
            base: base.value,
            new: new.value,
        })
        .collect())
}

/// Returns the instructions of each section as valgrind counts them, nearly or exactly the same in every run; on kernels for AVX2, because
/// valgrind does not support AVX-512.
pub(super) fn instructions_of(
    worker: &Path,
    data: &Path,
    isa: Option<Isa>,
) -> Result<Vec<Value>, Failure> {
    let folder = Folder::new()?;
    let prepared = on(worker, isa).arg("prepare").arg(data).arg(&folder.0).status();
    let prepared = prepared.map_err(|e| format!("{}: {e}", worker.display()))?;
    if !prepared.success() {
        return Err(format!("{}: {prepared}", worker.display()).into());
    }
    let count = |name: &&str| -> Result<Value, Failure> {
        let (workload, quantity) = ((*name).to_owned(), "instructions".to_owned());
        Ok(Value { workload, quantity, value: executed_in(worker, name, data, &folder.0, isa)? })
    };
    section::NAMES.iter().map(count).collect()
}

fn executed_in(
    worker: &Path,
    section: &str,
    data: &Path,
    folder: &Path,
    isa: Option<Isa>,
) -> Result<f64, Failure> {
    let output = on("valgrind", isa)
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
