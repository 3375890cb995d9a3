//! The common parts of the measuring benches: their arguments, and vectors to work on.

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::str::FromStr;

use nearfield::Metric;
use nearfield::dataset::{Dataset, Generated};

/// Arguments of the form `--name value`.
pub(crate) struct Arguments(Vec<(String, String)>);

impl Arguments {
    /// Reads the arguments of this process; each must have one of the names.
    pub(crate) fn read(names: &[&str]) -> Result<Self, Box<dyn Error>> {
        let mut given = Vec::new();
        let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
        while let Some(arg) = args.next() {
            let name = arg.strip_prefix("--").filter(|name| names.contains(name));
            let name = name.ok_or(format!("unknown argument '{arg}'; there are: {names:?}"))?;
            let value = args.next().ok_or(format!("{arg} needs a value"))?;
            given.push((name.to_owned(), value));
        }
        Ok(Self(given))
    }

    /// Returns the value of an argument, the last one that was given.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Returns the value of an argument as a number, or another type that is read from text.
    pub(crate) fn value<T: FromStr>(&self, name: &str, default: T) -> Result<T, Box<dyn Error>>
    where
        T::Err: Error + 'static,
    {
        Ok(self.text(name).map(str::parse).transpose()?.unwrap_or(default))
    }

    /// Returns the vectors of `--dataset DIR`, or generated ones.
    pub(crate) fn input(&self, count: usize, dimension: usize) -> Result<Input, Box<dyn Error>> {
        let Some(folder) = self.text("dataset") else {
            let made = Generated::builder(count, dimension).build()?;
            let (base, queries) = (made.base().to_f32()?, made.queries().to_f32()?);
            return Ok(Input { base, queries, metric: Metric::L2, dimension });
        };
        let set = Dataset::open(folder)?;
        let (base, queries) = (set.base().to_f32()?, set.queries().to_f32()?);
        Ok(Input { base, queries, metric: set.metric(), dimension: set.dimension() })
    }

    /// Opens the file of `--json FILE` for lines.
    pub(crate) fn json(&self) -> Result<Json, Box<dyn Error>> {
        Ok(Json(self.text("json").map(File::create).transpose()?))
    }
}

/// Vectors, stored without gaps.
pub(crate) struct Input {
    pub(crate) base: Vec<f32>,
    pub(crate) queries: Vec<f32>,
    pub(crate) metric: Metric,
    pub(crate) dimension: usize,
}

/// The file for JSON, if it is requested.
pub(crate) struct Json(Option<File>);

impl Json {
    /// Writes an object on a new line.
    pub(crate) fn line(&mut self, object: &str) -> std::io::Result<()> {
        self.0.as_mut().map_or(Ok(()), |file| writeln!(file, "{object}"))
    }
}
