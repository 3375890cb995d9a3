//! Flame graphs of benchmarks: `--profile-time SECONDS` samples the stacks of each and draws them. pprof's own hook is for
//! an older criterion.

use std::error::Error;
use std::fs::{File, create_dir_all};
use std::path::Path;

use criterion::profiler::Profiler;
use pprof::{ProfilerGuard, ProfilerGuardBuilder};

/// Requested samples a second. The kernel's own tick, often 250 Hz, caps them.
const FREQUENCY: i32 = 997;

/// Draws `profile/flamegraph.svg` beside the other results of a benchmark.
#[derive(Default)]
pub(crate) struct Flamegraphs {
    guard: Option<ProfilerGuard<'static>>,
}

impl Profiler for Flamegraphs {
    fn start_profiling(&mut self, benchmark: &str, _: &Path) {
        match ProfilerGuardBuilder::default().frequency(FREQUENCY).build() {
            Ok(guard) => self.guard = Some(guard),
            Err(error) => eprintln!("{benchmark} cannot be sampled: {error}"),
        }
    }

    fn stop_profiling(&mut self, benchmark: &str, folder: &Path) {
        let Some(guard) = self.guard.take() else { return };
        match draw(&guard, folder) {
            Ok(()) => println!("{benchmark}: wrote {}", folder.join("flamegraph.svg").display()),
            Err(error) => eprintln!("{benchmark} cannot be drawn: {error}"),
        }
    }
}

fn draw(guard: &ProfilerGuard<'_>, folder: &Path) -> Result<(), Box<dyn Error>> {
    create_dir_all(folder)?;
    let report = guard.report().build()?;
    if report.data.is_empty() {
        return Err("it was too short for a sample".into());
    }
    Ok(report.flamegraph(File::create(folder.join("flamegraph.svg"))?)?)
}
