//! Checks that memory stays flat under hours of the same work.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::args::Args;
use crate::host::resident;
use crate::results::Run;
use crate::stats::median;
use crate::workload::{NAMES, Workload, named};
use crate::{Done, Failure};

pub(crate) const HELP: &str = "\
soak [--minutes N] [--workload build,search,codes,batch,churn,collection,store] [--dataset DIR] [--out FILE.json]
    Repeats the workloads in turn for N minutes (5) and looks at resident memory. Ends with 1 if it
    grows: by more than 1 % and 2 MiB from the second to the last quarter of the time.";

/// Allowed growth, the larger of both: allocators keep a few more pages at times.
const ALLOWED_SHARE: f64 = 0.01;
const ALLOWED_BYTES: f64 = 2.0 * 1024.0 * 1024.0;

/// Resident memory over time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Soak {
    pub(crate) minutes: f64,
    pub(crate) workloads: Vec<String>,
    /// Operations of all workloads.
    pub(crate) operations: u64,
    /// Resident bytes after each round over the workloads, with the seconds since the beginning.
    pub(crate) samples: Vec<(f64, f64)>,
    pub(crate) growth: Growth,
}

/// The growth of the memory in use.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Growth {
    /// Medians of the second and of the last quarter of the time, in bytes.
    pub(crate) early: f64,
    pub(crate) late: f64,
    pub(crate) flat: bool,
}

pub(crate) fn run(mut args: Args) -> Result<Done, Failure> {
    let minutes = args.number("--minutes", 5.0, 0.1..=10_000.0)?;
    let dataset = args.path("--dataset")?;
    let names = args.text("--workload")?.unwrap_or_else(|| NAMES.join(","));
    let out = args.path("--out")?;
    args.finish()?;
    let mut workloads = names
        .split(',')
        .map(|name| named(name, dataset.as_deref()))
        .collect::<Result<Vec<_>, Failure>>()?;
    for workload in &mut workloads {
        workload.prepare()?;
    }
    let (mut samples, mut operations) = (Vec::new(), 0);
    let started = Instant::now();
    let whole = Duration::from_secs_f64(60.0 * minutes);
    while started.elapsed() < whole {
        operations += round(&mut workloads)?;
        let resident = resident().ok_or("the system does not tell how much memory is resident")?;
        samples.push((started.elapsed().as_secs_f64(), resident as f64));
    }
    let growth = growth(&samples).ok_or("too short: eight rounds at least are needed")?;
    let mib = |bytes: f64| bytes / 1024.0 / 1024.0;
    println!(
        "{operations} operations in {minutes} minutes; resident {:.1} MiB in the second quarter, {:.1} MiB in the last: {}",
        mib(growth.early),
        mib(growth.late),
        if growth.flat { "flat" } else { "GROWING" }
    );
    let workloads = workloads.iter().map(|workload| workload.name().to_owned()).collect();
    Run::new("soak", Soak { minutes, workloads, operations, samples, growth }).store(out)?;
    Ok(if growth.flat { Done::Well } else { Done::Failed })
}

fn round(workloads: &mut [Box<dyn Workload>]) -> Result<u64, Failure> {
    let mut operations = 0;
    for workload in workloads {
        operations += workload.pass()?;
    }
    Ok(operations)
}

/// Compares the second with the last quarter of the samples. Returns `None` if they are fewer than eight.
fn growth(samples: &[(f64, f64)]) -> Option<Growth> {
    let quarter = samples.len() / 4;
    if quarter < 2 {
        return None;
    }
    let of = |samples: &[(f64, f64)]| median(&samples.iter().map(|s| s.1).collect::<Vec<_>>());
    let (early, late) =
        (of(&samples[quarter..2 * quarter]), of(&samples[samples.len() - quarter..]));
    let flat = late - early <= (ALLOWED_SHARE * early).max(ALLOWED_BYTES);
    Some(Growth { early, late, flat })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(resident: impl Fn(f64) -> f64) -> bool {
        let samples: Vec<_> = (0..100).map(|i| (f64::from(i), resident(f64::from(i)))).collect();
        growth(&samples).unwrap().flat
    }

    #[test]
    fn growth_is_told_from_noise() {
        assert!(flat(|t| 100e6 + 1e6 * (t * 7.0).sin()));
        // The buffers are made in the beginning.
        assert!(flat(|t| 100e6 + 50e6 * (t / 10.0).min(1.0)));
        assert!(!flat(|t| 100e6 + 0.2e6 * t));
        assert!(growth(&[(0.0, 1.0); 7]).is_none());
    }
}
