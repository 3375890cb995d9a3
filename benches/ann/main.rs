//! The main benchmark: recall, queries per second, latency, build time and memory of an index.
//!
//! `cargo bench --bench ann` measures two real data sets that the repository carries and a
//! generated one, without codes and with `Quantization::Auto`;
//! `cargo bench --bench ann -- --help` lists the arguments with which it measures anything else.

mod args;
mod chart;
mod measure;
mod progress;
mod report;
mod sets;
mod subject;

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use args::{Command, Settings};
use report::Point;
use sets::Source;

fn main() -> ExitCode {
    match args::parse(std::env::args().skip(1)) {
        Ok(Command::Help) => {
            println!("{}", args::HELP);
            ExitCode::SUCCESS
        }
        Ok(Command::Run(settings)) => match run(&settings) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        },
        Err(usage) => {
            eprintln!("error: {usage}\n\nTry `cargo bench --bench ann -- --help`.");
            ExitCode::from(2)
        }
    }
}

fn run(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let (sources, files) = if settings.sources.is_empty() {
        (Source::carried_and_generated(settings.quick), Files::default_run(settings)?)
    } else {
        (settings.sources.clone(), Files { json: settings.json.clone(), svg: settings.svg.clone() })
    };
    // The files are made before anything is measured, because a mistyped path must not cost an hour.
    let create = |path: &Option<PathBuf>| -> Result<Option<File>, Box<dyn Error>> {
        let Some(path) = path else { return Ok(None) };
        let file = File::create(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Some(file))
    };
    let (mut json, svg) = (create(&files.json)?, create(&files.svg)?);

    let mut points: Vec<Point> = Vec::new();
    for source in sources {
        let set = source.load(settings)?;
        for &quantization in &settings.quantizations {
            let settings = Settings { quantization, ..settings.clone() };
            let measured = measure::measure(&set, &settings)?;
            print!("{}", report::table(&measured));
            if let Some(json) = &mut json {
                for point in &measured {
                    writeln!(json, "{}", report::json(point))?;
                }
            }
            points.extend(measured);
        }
    }
    if let Some(mut svg) = svg {
        svg.write_all(chart::svg(&points).as_bytes())?;
    }
    for path in [files.json, files.svg].into_iter().flatten() {
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}

/// The files of the results besides the table.
struct Files {
    json: Option<PathBuf>,
    svg: Option<PathBuf>,
}

impl Files {
    /// Returns both files, in the repository unless their paths are given, for a run without a named data set.
    fn default_run(settings: &Settings) -> Result<Self, Box<dyn Error>> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("profiling/benchmarks");
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let or = |given: &Option<PathBuf>, name| given.clone().unwrap_or(folder.join(name));
        Ok(Self {
            json: Some(or(&settings.json, "ann.jsonl")),
            svg: Some(or(&settings.svg, "ann.svg")),
        })
    }
}
