//! Draws flame graphs: samples of the stacks of a workload, or the samples of `perf`.

use std::fs::{self, File};
use std::io::{BufReader, stdin};
use std::time::Duration;

use inferno::collapse::Collapse;
use inferno::collapse::perf::Folder;
use inferno::flamegraph;

use crate::args::Args;
use crate::results::folder;
use crate::sampler::{self, Frame, Stacks};
use crate::workload::{Workload, named};
use crate::{Done, Failure};

pub(crate) const HELP: &str = "\
flame [--workload build|search|codes|batch|churn|collection|store] [--dataset DIR] [--seconds N] [--out FILE.svg]
    Samples the stacks of a workload (search) for N seconds (5) and draws them: flamegraphs/WORKLOAD.svg.
run [--workload ...] [--dataset DIR] [--seconds N]
    The same work without a profiler: something for perf, valgrind, heaptrack to look at.
fold [--title TEXT] [--only FUNCTION] [--out FILE.svg]
    Draws what `perf script` prints, read from standard input: flamegraphs/perf.svg. With --only, stacks
    without that function are left out: `workload_passes` is the work of `run` without its preparations.";

/// The workload, and the time to run it.
struct Choice {
    workload: Box<dyn Workload>,
    time: Duration,
}

impl Choice {
    fn of(args: &mut Args) -> Result<Self, Failure> {
        let name = args.text("--workload")?.unwrap_or_else(|| "search".to_owned());
        let dataset = args.path("--dataset")?;
        let time = Duration::from_secs_f64(args.number("--seconds", 5.0, 0.0..=3600.0)?);
        Ok(Self { workload: named(&name, dataset.as_deref())?, time })
    }
}

/// Returns the stacks of a workload that is prepared already, and its operations.
pub(crate) fn sample(
    workload: &mut dyn Workload,
    time: Duration,
) -> Result<(Stacks, u64), Failure> {
    let (operations, stacks) = sampler::sample(|| workload_passes(workload, time))?;
    Ok((stacks, operations))
}

/// Runs the profiled passes, under a name that a profile can be cut down to.
#[inline(never)]
fn workload_passes(workload: &mut dyn Workload, time: Duration) -> Result<u64, Failure> {
    let operations = workload.run(time)?;
    // This line prevents a tail call, which would take this function off the stack.
    Ok(std::hint::black_box(operations))
}

pub(crate) fn run(mut args: Args) -> Result<Done, Failure> {
    let Choice { mut workload, time } = Choice::of(&mut args)?;
    let out = args.path("--out")?;
    args.finish()?;
    workload.prepare()?;
    let (stacks, operations) = sample(workload.as_mut(), time)?;
    let default = folder("flamegraphs").join(format!("{}.svg", workload.name()));
    let out = out.unwrap_or(default);
    make_folder(&out)?;
    let mut options = options(&format!("nearfield: {}", workload.name()));
    let lines: Vec<String> = stacks.iter().map(line).collect();
    flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), File::create(&out)?)
        .map_err(|e| format!("{}: {e}", out.display()))?;
    let samples: usize = stacks.iter().map(|stack| stack.1).sum();
    println!("{operations} x {}, {samples} samples; wrote {}", workload.operation(), out.display());
    Ok(Done::Well)
}

/// Returns a stack as inferno reads it: outermost function first, between semicolons, then the count.
fn line((frames, count): &(Vec<Frame>, usize)) -> String {
    let names: Vec<String> =
        frames.iter().rev().map(|frame| frame.function.replace([';', '\n'], ":")).collect();
    format!("{} {count}", names.join(";"))
}

pub(crate) fn run_plain(mut args: Args) -> Result<Done, Failure> {
    let Choice { mut workload, time } = Choice::of(&mut args)?;
    args.finish()?;
    workload.prepare()?;
    let operations = workload_passes(workload.as_mut(), time)?;
    let bytes = match workload.index() {
        Some(index) => index.stats()?.bytes.total(),
        None => 0,
    };
    println!("{operations} x {}; the index takes {bytes} bytes", workload.operation());
    Ok(Done::Well)
}

pub(crate) fn fold(mut args: Args) -> Result<Done, Failure> {
    let title = args.text("--title")?.unwrap_or_else(|| "nearfield".to_owned());
    let only = args.text("--only")?.unwrap_or_default();
    let out = args.path("--out")?.unwrap_or_else(|| folder("flamegraphs/perf.svg"));
    args.finish()?;
    let mut stacks = Vec::new();
    Folder::default().collapse(BufReader::new(stdin().lock()), &mut stacks)?;
    let text = String::from_utf8_lossy(&stacks);
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(&only)).collect();
    if lines.is_empty() {
        return Err(
            format!("none of {} stacks on standard input fits", text.lines().count()).into()
        );
    }
    make_folder(&out)?;
    let mut options = options(&title);
    // The clock's samples carry their duration.
    options.count_name = "ns".to_owned();
    flamegraph::from_lines(&mut options, lines.iter().copied(), File::create(&out)?)
        .map_err(|e| format!("{}: {e}", out.display()))?;
    println!("{} different stacks; wrote {}", lines.len(), out.display());
    Ok(Done::Well)
}

fn options(title: &str) -> flamegraph::Options<'static> {
    let mut options = flamegraph::Options::default();
    options.title = title.to_owned();
    options.count_name = "samples".to_owned();
    // Towers of a sample or two are not readable, and take most of the file.
    options.min_width = 0.1;
    options
}

fn make_folder(file: &std::path::Path) -> Result<(), Failure> {
    Ok(file.parent().map_or(Ok(()), fs::create_dir_all)?)
}
