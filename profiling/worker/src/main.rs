//! A process that runs pieces of work on request, so that another can compare two builds of it.
//!
//! `worker serve [--short] DATA`: prepares all workloads, prints `ready` and their names, one a line, and an empty line.
//! Then each line `NUMBER` on standard input runs a step of that workload, answered by its nanoseconds of CPU time.
//! `worker facts [--short] DATA` prints `workload<TAB>quantity<TAB>value` lines. `worker prepare DATA FOLDER` writes
//! the input of `worker section NAME DATA FOLDER`, which is counted under callgrind.

use std::io::{BufRead, Write, stdin, stdout};
use std::path::Path;
use std::process::ExitCode;

use profiling_worker::work::{Work, plans};
use profiling_worker::{Failure, allocations, facts, section};

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let short = args.iter().position(|arg| arg == "--short").map(|at| args.remove(at)).is_some();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["serve", data] => serve(Path::new(data), short),
        ["facts", data] => print_facts(Path::new(data), short),
        ["prepare", data, folder] => section::prepare(Path::new(data), Path::new(folder)),
        ["section", name, data, folder] => section::run(name, Path::new(data), Path::new(folder)),
        _ => {
            eprintln!(
                "usage: worker serve|facts [--short] DATA, prepare DATA FOLDER, section NAME DATA FOLDER"
            );
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("worker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(data: &Path, short: bool) -> Result<(), Failure> {
    let mut works =
        plans(data, short).into_iter().map(Work::prepare).collect::<Result<Vec<_>, Failure>>()?;
    let mut out = stdout().lock();
    writeln!(out, "ready")?;
    for work in &works {
        writeln!(out, "{}", work.plan.name)?;
    }
    writeln!(out)?;
    out.flush()?;
    for line in stdin().lock().lines() {
        let line = line?;
        let work = line.parse().ok().and_then(|number: usize| works.get_mut(number));
        let work = work.ok_or_else(|| format!("no workload '{line}'"))?;
        writeln!(out, "{}", work.step()?.as_nanos())?;
        out.flush()?;
    }
    Ok(())
}

fn print_facts(data: &Path, short: bool) -> Result<(), Failure> {
    for plan in plans(data, short) {
        let name = plan.name;
        for (quantity, value) in facts::of(&mut Work::prepare(plan)?)? {
            println!("{name}\t{quantity}\t{value}");
        }
    }
    Ok(())
}
