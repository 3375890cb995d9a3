//! A process that does pieces of work when told to, so that another can compare two builds of it.
//!
//! `worker serve [--short] DATA`: prepares all workloads, says `ready` and their names, one a line, and an empty line.
//! Then each line `NUMBER` on standard input runs a step of that workload, answered by its nanoseconds of CPU time.
//! `worker facts [--short] DATA` prints `workload<TAB>quantity<TAB>value` lines. `worker section DATA` runs
//! what is counted under callgrind.

use std::io::{BufRead, Write, stdin, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use profiling_worker::work::{Kind, Work, plans};
use profiling_worker::{Failure, allocations, facts, section};

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let short = args.iter().position(|arg| arg == "--short").map(|at| args.remove(at)).is_some();
    let [command, data] = args.as_slice() else {
        eprintln!("usage: worker serve|facts|section [--short] DATA");
        return ExitCode::from(2);
    };
    let data = PathBuf::from(data);
    let done = match command.as_str() {
        "serve" => serve(&data, short),
        "facts" => print_facts(&data, short),
        "section" => count(&data),
        other => Err(format!("unknown command '{other}'").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("worker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(data: &std::path::Path, short: bool) -> Result<(), Failure> {
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

fn print_facts(data: &std::path::Path, short: bool) -> Result<(), Failure> {
    for plan in plans(data, short) {
        let name = plan.name;
        for (quantity, value) in facts::of(&mut Work::prepare(plan)?)? {
            println!("{name}\t{quantity}\t{value}");
        }
    }
    Ok(())
}

fn count(data: &std::path::Path) -> Result<(), Failure> {
    let plan = plans(data, true).into_iter().find(|plan| plan.kind == Kind::Insert);
    section::run(Work::prepare(plan.ok_or("no workload of insertions")?)?)
}
