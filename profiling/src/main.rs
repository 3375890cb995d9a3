//! Flame graphs and heap reports of building and searching an index.
//!
//! An unpublished package of its own, so that its dependencies burden nobody's `cargo test`.

mod flame;
mod heap;
mod workload;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

#[cfg(feature = "dhat-heap")]
#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const HELP: &str = "\
usage: cargo run --profile profiling -p profiling -- flame [--dataset DIR] [--out FILE.svg]
                                                           [--part build|search|all] [--seconds N]
       cargo run --profile profiling -p profiling --features dhat-heap -- heap
                                                           [--dataset DIR] [--out FILE.json]

flame  samples the stacks of building an index and of searching it, and draws them
       (profiling/flamegraphs/flame.svg)
heap   records every allocation of the same work (profiling/memory/heap.json), for the
       viewer that comes with valgrind, dh_view.html, and prints the totals

Without --dataset: 20,000 generated vectors of 128 dimensions. A data set is a folder as
nearfield::dataset::Dataset reads it.";

/// What the command line asks for.
struct Options {
    dataset: Option<PathBuf>,
    out: Option<PathBuf>,
    part: Part,
    seconds: f64,
}

/// What a flame graph shows.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Build,
    Search,
    All,
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let options = match Options::parse(args) {
        Ok(options) => options,
        Err(usage) => return refuse(&usage),
    };
    let done = match command.as_str() {
        "flame" => flame::run(&options),
        "heap" => heap::run(&options),
        "--help" | "-h" => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        other => return refuse(&format!("unknown command '{other}'")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn refuse(usage: &str) -> ExitCode {
    eprintln!("error: {usage}\n\n{HELP}");
    ExitCode::from(2)
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { dataset: None, out: None, part: Part::All, seconds: 5.0 };
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{name} needs a value"));
            match name.as_str() {
                "--dataset" => options.dataset = Some(value()?.into()),
                "--out" => options.out = Some(value()?.into()),
                "--part" => {
                    options.part = match value()?.as_str() {
                        "build" => Part::Build,
                        "search" => Part::Search,
                        "all" => Part::All,
                        other => return Err(format!("--part is '{other}'")),
                    }
                }
                "--seconds" => {
                    let text = value()?;
                    options.seconds = text
                        .parse()
                        .ok()
                        .filter(|s| (0.1..=600.0).contains(s))
                        .ok_or_else(|| format!("--seconds is '{text}'; allowed: 0.1 to 600"))?;
                }
                _ => return Err(format!("unknown argument '{name}'")),
            }
        }
        Ok(options)
    }

    /// The file to write, in a folder that is made if there is none.
    fn out(&self, default: &str) -> Result<PathBuf, Box<dyn Error>> {
        let out = self.out.clone();
        let out = out.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(default));
        if let Some(folder) = out.parent() {
            std::fs::create_dir_all(folder)?;
        }
        Ok(out)
    }
}
