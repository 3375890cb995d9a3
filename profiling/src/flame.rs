//! Where the time goes.

use std::error::Error;
use std::fs::File;
use std::time::Duration;

use pprof::ProfilerGuardBuilder;

use crate::workload::Workload;
use crate::{Options, Part};

/// Samples a second: no divisor of the usual timers' rates, so that samples do not fall in step.
const FREQUENCY: i32 = 997;

/// Samples the stacks of building and of searching, and draws them.
pub(crate) fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let out = options.out("flamegraphs/flame.svg")?;
    let workload = Workload::load(options.dataset.as_deref())?;
    let start = || ProfilerGuardBuilder::default().frequency(FREQUENCY).build();

    let early = if options.part == Part::Search { None } else { Some(start()?) };
    let index = workload.build()?;
    let guard = match early {
        Some(guard) => guard,
        None => start()?,
    };
    if options.part != Part::Build {
        workload.search(&index, Duration::from_secs_f64(options.seconds))?;
    }
    let report = guard.report().build()?;
    let samples: isize = report.data.values().sum();
    if samples == 0 {
        return Err("the work was too short to be sampled".into());
    }
    report.flamegraph(File::create(&out)?)?;
    println!("{samples} samples in {}", out.display());
    Ok(())
}
