//! Finds where the time and the memory of nearfield's workloads are spent, and whether a change made a quantity worse.
//!
//! A separate unpublished package, so that its dependencies do not burden `cargo test` of the library.

mod advise;
mod args;
mod compare;
mod curve;
mod flame;
mod heap;
mod host;
mod kernels;
mod records;
mod report;
mod results;
mod sampler;
mod soak;
mod stats;
mod workload;

use std::process::ExitCode;

use args::{Args, Usage};
pub(crate) use profiling_worker::Failure;

#[cfg(feature = "dhat-heap")]
#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

#[cfg(not(feature = "dhat-heap"))]
#[global_allocator]
static ALLOCATOR: profiling_worker::allocations::Counting = profiling_worker::allocations::Counting;

/// The outcome of a command that could do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    Well,
    /// A check failed.
    Failed,
}

type Command = fn(Args) -> Result<Done, Failure>;

/// Commands by name, with the help of each.
const COMMANDS: [(&str, Command, &str); 13] = [
    ("compare", compare::run, compare::HELP),
    ("gate", compare::gate::run, compare::gate::HELP),
    ("flame", flame::run, flame::HELP),
    ("run", flame::run_plain, ""),
    ("fold", flame::fold, ""),
    ("heap", heap::run, heap::HELP),
    ("soak", soak::run, soak::HELP),
    ("curve", curve::run, curve::HELP),
    ("kernels", kernels::run, kernels::HELP),
    ("store", records::run, records::HELP),
    ("advise", advise::run, advise::HELP),
    ("report", report::run, report::HELP),
    ("picture", report::picture::run, report::picture::HELP),
];

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_default();
    if ["--help", "-h", "help"].contains(&name.as_str()) {
        println!("{}", help());
        return ExitCode::SUCCESS;
    }
    let Some((_, command, _)) = COMMANDS.iter().find(|(known, ..)| *known == name) else {
        eprintln!("error: unknown command '{name}'\n\n{}", help());
        return ExitCode::from(2);
    };
    match command(Args::new(args)) {
        Ok(Done::Well) => ExitCode::SUCCESS,
        Ok(Done::Failed) => ExitCode::FAILURE,
        Err(error) if error.is::<Usage>() => {
            eprintln!("error: {error}; try `--help`");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(3)
        }
    }
}

fn help() -> String {
    let mut text = String::from("usage: cargo prof COMMAND [OPTIONS]\n");
    for (_, _, help) in COMMANDS.iter().filter(|(_, _, help)| !help.is_empty()) {
        text.push('\n');
        text.push_str(help);
        text.push('\n');
    }
    text
}
