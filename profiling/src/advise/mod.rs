//! Reads profiles: hot functions, and their known causes.

mod causes;
mod hot;
mod measure;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::args::Args;
use crate::results::Run;
use crate::{Done, Failure};

pub(crate) use causes::Finding;
pub(crate) use hot::Hot;

pub(crate) const HELP: &str = "\
advise [--quick] [--dataset DIR] [--out FILE.json]
    Runs building, searching, changes, collections and the store under the profiler, names the hot functions, and relates them to
    known causes with the figures that show them. What has no evidence is not said.";

/// Functions that are listed for each workload, and the least share of a listed function.
const LISTED: usize = 8;
const LEAST: f64 = 0.02;

/// The findings on a data set.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Advice {
    pub(crate) dataset: String,
    pub(crate) n: usize,
    pub(crate) dimension: usize,
    /// By workload: samples and the hot functions.
    pub(crate) hot: Vec<(String, usize, Vec<Hot>)>,
    pub(crate) findings: Vec<Finding>,
}

pub(crate) fn run(mut args: Args) -> Result<Done, Failure> {
    let time = Duration::from_secs(if args.flag("--quick") { 3 } else { 10 });
    let dataset = args.path("--dataset")?;
    let out = args.path("--out")?;
    args.finish()?;
    let set = crate::workload::load(dataset.as_deref())?;
    let facts = measure::measure(&set, dataset.as_deref(), time)?;
    let findings = causes::all(&facts);
    let hot = [
        ("build", facts.build),
        ("search", facts.search),
        ("codes", facts.codes),
        ("churn", facts.churn),
        ("collection", facts.collection),
        ("store", facts.store),
    ]
    .map(|(name, profile)| {
        let hot = profile.functions.into_iter().take(LISTED).filter(|hot| hot.share >= LEAST);
        (name.to_owned(), profile.samples, hot.collect())
    })
    .into();
    let (n, dimension) = (set.base.len(), set.dimension);
    let advice = Advice { dataset: set.name, n, dimension, hot, findings };
    print(&advice);
    Run::new("advise", advice).store(out)?;
    Ok(Done::Well)
}

fn print(advice: &Advice) {
    println!("{}: {} x {}", advice.dataset, advice.n, advice.dimension);
    for (workload, samples, hot) in &advice.hot {
        println!("\n{workload}, {samples} samples:");
        for hot in hot {
            println!("  {:>5.1} %  {:24} {}", 100.0 * hot.share, hot.function, hot.file);
        }
    }
    if advice.findings.is_empty() {
        println!("\nno known cause of lost time shows in the measurements");
    }
    for finding in &advice.findings {
        println!(
            "\n* {}\n  evidence:   {}\n  suggestion: {}",
            finding.cause, finding.evidence, finding.suggestion
        );
    }
}
