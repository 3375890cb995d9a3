//! Detects losses of a change: two builds of the worker side by side.

mod facts;
pub(crate) mod gate;
mod judge;
mod process;
mod timing;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::args::{Args, usage};
use crate::results::Run;
use crate::stats::Estimate;
use crate::{Done, Failure};

pub(crate) use facts::Fact;
pub(crate) use judge::Verdict;
pub(crate) use timing::Timing;

pub(crate) const HELP: &str = "\
compare --base WORKER --new WORKER [--data DIR] [--short] [--exact] [--skip instructions,time,facts]
        [--accept QUANTITY,...] [--out FILE.json]
    Whether the second build of `worker` is worse than the first. Exact counts are held strictly,
    time by trials of three processes that take turns. Ends with 1 if it is. `scripts/compare.sh BASE` builds both.
    --short takes one workload of each kind; --exact takes these and leaves time out, which is done in seconds.
    --accept names quantities, or `time`, whose loss is intended: it is reported and does not fail.";

/// A comparison of two builds, or of a build with stored counts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Comparison {
    /// The other side of the comparison, if it was not a build.
    #[serde(default)]
    pub(crate) against: String,
    pub(crate) verdict: Verdict,
    pub(crate) facts: Vec<(Verdict, Fact)>,
    pub(crate) timings: Vec<(Verdict, Timing)>,
    /// Share of their time that the workers waited for a core.
    pub(crate) queue_wait: f64,
    /// Quantities whose loss was accepted.
    pub(crate) accepted: Vec<String>,
}

pub(crate) fn run(mut args: Args) -> Result<Done, Failure> {
    let worker =
        |path: Option<PathBuf>, name| path.ok_or_else(|| usage(format!("{name} is missing")));
    let base = worker(args.path("--base")?, "--base")?;
    let new = worker(args.path("--new")?, "--new")?;
    let data = args.path("--data")?.unwrap_or_else(profiling_worker::set::carried);
    let list = |text: Option<String>| -> Vec<String> {
        text.iter().flat_map(|text| text.split(',')).map(|name| name.trim().to_owned()).collect()
    };
    let accepted = list(args.text("--accept")?);
    let skip = list(args.text("--skip")?);
    let exact = args.flag("--exact");
    let (short, out) = (args.flag("--short") || exact, args.path("--out")?);
    args.finish()?;
    if let Some(other) =
        skip.iter().find(|s| !["instructions", "time", "facts"].contains(&s.as_str()))
    {
        return Err(usage(format!("--skip is '{other}'; allowed: instructions, time, facts")));
    }
    let does = |what: &str| !(skip.iter().any(|name| name == what) || exact && what == "time");

    let mut facts = Vec::new();
    if does("facts") {
        facts.extend(facts::count(&base, &new, &data, short)?);
    }
    if does("instructions") {
        let counted = facts::instructions(&base, &new, &data)?;
        if counted.is_empty() {
            println!("no instructions counted: valgrind is not installed");
        }
        facts.extend(counted);
    }
    let (timings, queue_wait) = match does("time") {
        true => timing::measure(&base, &new, &data, short)?,
        false => (Vec::new(), 0.0),
    };
    let accept = |verdict: Verdict, quantity: &str| {
        let intended = accepted.iter().any(|name| name == quantity);
        if intended { verdict.min(Verdict::Worse) } else { verdict }
    };
    let facts: Vec<(Verdict, Fact)> = facts
        .into_iter()
        .map(|fact| (accept(judge::of_fact(&fact), &fact.quantity), fact))
        .collect();
    let timings: Vec<(Verdict, Timing)> = timings
        .into_iter()
        .map(|timing| (accept(judge::of_timing(&timing), "time"), timing))
        .collect();
    let verdicts = facts.iter().map(|f| f.0).chain(timings.iter().map(|t| t.0));
    // A gain in one quantity does not make up for a loss in another.
    let verdict = verdicts.max().ok_or("nothing was compared")?;
    let against = String::new();
    let comparison = Comparison { against, verdict, facts, timings, queue_wait, accepted };
    print(&comparison);
    Run::new("compare", comparison).store(out)?;
    Ok(if verdict == Verdict::Fail { Done::Failed } else { Done::Well })
}

fn print(comparison: &Comparison) {
    println!(
        "{:6} {:30} {:28} {:>14} {:>14} {:>9}",
        "", "workload", "quantity", "base", "new", "change"
    );
    for (verdict, fact) in &comparison.facts {
        // Exact counts that did not change are not printed.
        if fact.base == fact.new {
            continue;
        }
        println!(
            "{:6} {:30} {:28} {:>14.4} {:>14.4} {:>9}",
            verdict.name(),
            fact.workload,
            fact.quantity,
            fact.base,
            fact.new,
            fact.percent()
        );
    }
    let same = comparison.facts.iter().filter(|(_, fact)| fact.base == fact.new).count();
    println!("{same} of {} exact counts are the same to the last digit", comparison.facts.len());
    let interval = |e: Estimate| format!("{:+.2}% [{:+.2}, {:+.2}]", e.point, e.low, e.high);
    for (verdict, t) in &comparison.timings {
        println!(
            "{:6} {:30} CPU time {:>7.1} -> {:>7.1} us  {:24} control {:24} {} trials",
            verdict.name(),
            t.workload,
            t.micros[0],
            t.micros[1],
            interval(t.change),
            interval(t.control),
            t.trials
        );
    }
    if !comparison.timings.is_empty() {
        println!(
            "the workers waited {:.0} % of their time for a core",
            100.0 * comparison.queue_wait
        );
    }
    if comparison.timings.iter().any(|(verdict, _)| *verdict == Verdict::Noisy) {
        println!("the machine is too noisy to judge all times; they are only reported");
    }
    println!("verdict: {}", comparison.verdict.name());
}
