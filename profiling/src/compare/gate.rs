//! Compares exact counts with those kept in the repository: needs no second build and no history, so every clone can run it, and
//! small losses cannot add up from change to change unseen.

use std::path::{Path, PathBuf};

use nearfield::Isa;
use serde::{Deserialize, Serialize};

use super::facts::{self, Fact, Value};
use super::judge::{self, Verdict};
use super::{Comparison, print};
use crate::args::{Args, usage};
use crate::results::{Run, folder};
use crate::{Done, Failure};

pub(crate) const HELP: &str = "\
gate --worker WORKER [--data DIR] [--baseline FILE.json] [--renew] [--out FILE.json]
    Counts what is exact in a build of `worker` (recall, distances, hops, bytes, allocations, instructions) and holds it
    against benchmarks/baseline/counts.json. Ends with 1 if something is worse; what is better passes. Where the loss is
    intended, or a gain is to be held: --renew writes the file. `scripts/gate.sh` builds the worker.";

/// The instruction set of the counts: its lanes decide the order in which sums are rounded, and so decide ties.
const ISA: Isa = Isa::Avx2;

/// The counts with which a build is compared.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Baseline {
    isa: String,
    facts: Vec<Value>,
}

pub(crate) fn run(mut args: Args) -> Result<Done, Failure> {
    let worker = args.path("--worker")?.ok_or_else(|| usage("--worker is missing"))?;
    let data = args.path("--data")?.unwrap_or_else(profiling_worker::set::carried);
    let baseline = args.path("--baseline")?;
    let baseline = baseline.unwrap_or_else(|| folder("benchmarks/baseline/counts.json"));
    let (renew, out) = (args.flag("--renew"), args.path("--out")?);
    args.finish()?;
    if !Isa::available().contains(&ISA) {
        println!("not checked: the counts are of {ISA}, which this CPU does not have");
        return Ok(Done::Well);
    }
    let counted = count(&worker, &data)?;
    if renew {
        let has_instructions = counted.iter().any(|value| value.quantity == "instructions");
        if !has_instructions {
            return Err("instructions belong to the baseline: install valgrind".into());
        }
        Run::new("counts", Baseline { isa: ISA.to_string(), facts: counted })
            .store(Some(baseline))?;
        return Ok(Done::Well);
    }
    let run: Run<Baseline> = serde_json::from_slice(
        &std::fs::read(&baseline).map_err(|e| format!("{}: {e}", baseline.display()))?,
    )?;
    check(run, counted, out)
}

fn count(worker: &Path, data: &Path) -> Result<Vec<Value>, Failure> {
    let mut counted = facts::counts(worker, data, true, Some(ISA))?;
    let instructions = match facts::has_valgrind() {
        true => facts::instructions_of(worker, data, Some(ISA))?,
        false => Vec::new(),
    };
    counted.extend(instructions);
    Ok(counted)
}

/// Compares the counts with the baseline.
fn check(
    baseline: Run<Baseline>,
    counted: Vec<Value>,
    out: Option<PathBuf>,
) -> Result<Done, Failure> {
    let now = Run::new("compare", ());
    let mut known = baseline.result.facts;
    let compilers = [&baseline.rustc, &now.rustc];
    if compilers[0] != compilers[1] {
        println!("instructions are not compared: {} then, {} now", compilers[0], compilers[1]);
        known.retain(|value| value.quantity != "instructions");
    } else if !facts::has_valgrind() {
        println!("instructions are not compared: valgrind is not installed");
        known.retain(|value| value.quantity != "instructions");
    }
    let Paired { facts, gone } = pair(known, counted);
    for value in &gone {
        println!("{} of {} is not counted any more", value.quantity, value.workload);
    }
    let facts: Vec<(Verdict, Fact)> =
        facts.into_iter().map(|fact| (judge::of_fact(&fact), fact)).collect();
    let worst = facts.iter().map(|fact| fact.0).max().ok_or("nothing was compared")?;
    // A missing count cannot be judged, so the gate fails.
    let verdict = if gone.is_empty() { worst } else { Verdict::Fail };
    let has_gained = facts.iter().any(|fact| fact.0 == Verdict::Better);
    let against = format!("the counts kept on {}", &baseline.time[..baseline.time.len().min(10)]);
    let comparison = Comparison { verdict, facts, against, ..Comparison::default() };
    print(&comparison);
    if verdict == Verdict::Fail {
        println!(
            "if that is intended: profiling/scripts/gate.sh --renew, and commit what it writes"
        );
    } else if has_gained {
        println!("to hold the gain: profiling/scripts/gate.sh --renew, and commit what it writes");
    }
    now.of(comparison).store(out)?;
    Ok(if verdict == Verdict::Fail { Done::Failed } else { Done::Well })
}

/// The facts to compare, and the counts of the baseline that the build lacks.
struct Paired {
    facts: Vec<Fact>,
    gone: Vec<Value>,
}

fn pair(known: Vec<Value>, counted: Vec<Value>) -> Paired {
    let mut paired = Paired { facts: Vec::new(), gone: Vec::new() };
    for value in known {
        let same =
            |other: &&Value| other.workload == value.workload && other.quantity == value.quantity;
        match counted.iter().find(same) {
            Some(new) => paired.facts.push(Fact {
                base: value.value,
                new: new.value,
                workload: value.workload,
                quantity: value.quantity,
            }),
            None => paired.gone.push(value),
        }
    }
    paired
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(quantity: &str, value: f64) -> Value {
        Value { workload: "search".into(), quantity: quantity.into(), value }
    }

    #[test]
    fn counts_are_paired_by_name() {
        let known = vec![value("recall", 0.9), value("hops", 10.0)];
        let Paired { facts, gone } = pair(known, vec![value("new", 1.0), value("recall", 0.8)]);
        assert_eq!(facts.len(), 1);
        assert_eq!((facts[0].base, facts[0].new), (0.9, 0.8));
        assert_eq!(gone, [value("hops", 10.0)]);
    }

    #[test]
    fn the_baseline_of_the_repository_is_read() {
        let file = std::fs::read(folder("benchmarks/baseline/counts.json")).unwrap();
        let run: Run<Baseline> = serde_json::from_slice(&file).unwrap();
        assert_eq!(run.result.isa, ISA.to_string());
        assert!(run.result.facts.iter().any(|value| value.quantity == "instructions"));
    }
}
