//! The command line: `--name value`, `--name=value` and bare flags.

use std::path::PathBuf;
use std::str::FromStr;

use crate::Failure;

/// Arguments that no command has read yet.
#[derive(Debug)]
pub(crate) struct Args {
    rest: Vec<String>,
}

impl Args {
    pub(crate) fn new(args: impl IntoIterator<Item = String>) -> Self {
        Self { rest: args.into_iter().collect() }
    }

    /// Returns whether a bare flag is given.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        self.rest.iter().position(|arg| arg == name).map(|at| self.rest.remove(at)).is_some()
    }

    /// Returns the value of an option, or `None` if it is absent.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Failure> {
        for at in 0..self.rest.len() {
            if self.rest[at] == name {
                if at + 1 == self.rest.len() {
                    return Err(usage(format!("{name} needs a value")));
                }
                self.rest.remove(at);
                return Ok(Some(self.rest.remove(at)));
            }
            let value = self.rest[at].strip_prefix(name).and_then(|rest| rest.strip_prefix('='));
            if let Some(value) = value.map(str::to_owned) {
                self.rest.remove(at);
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    pub(crate) fn path(&mut self, name: &str) -> Result<Option<PathBuf>, Failure> {
        Ok(self.text(name)?.map(PathBuf::from))
    }

    /// Returns a number in a range, or `default` if the option is absent.
    pub(crate) fn number<T: FromStr + PartialOrd + std::fmt::Display>(
        &mut self,
        name: &str,
        default: T,
        allowed: std::ops::RangeInclusive<T>,
    ) -> Result<T, Failure> {
        let Some(text) = self.text(name)? else { return Ok(default) };
        text.parse().ok().filter(|value| allowed.contains(value)).ok_or_else(|| {
            usage(format!("{name} is '{text}'; allowed: {} to {}", allowed.start(), allowed.end()))
        })
    }

    /// Refuses the remaining arguments.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        match self.rest.first() {
            None => Ok(()),
            Some(arg) => Err(usage(format!("unknown argument '{arg}'"))),
        }
    }
}

/// A mistake on the command line.
#[derive(Debug)]
pub(crate) struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

pub(crate) fn usage(message: impl Into<String>) -> Failure {
    Usage(message.into()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_flags_and_the_rest() {
        let mut args = Args::new(["--ef", "10", "--quick", "--out=a=b"].map(String::from));
        assert_eq!(args.number("--ef", 64, 1..=100).unwrap(), 10);
        assert_eq!(args.text("--out").unwrap().as_deref(), Some("a=b"));
        assert!(args.flag("--quick") && !args.flag("--quick"));
        args.finish().unwrap();
    }

    #[test]
    fn mistakes_are_named() {
        let mut args = Args::new(["--ef", "0", "--what", "--k"].map(String::from));
        assert!(args.number("--ef", 64, 1..=100).unwrap_err().to_string().contains("1 to 100"));
        assert!(args.text("--k").is_err());
        assert!(args.finish().unwrap_err().to_string().contains("'--what'"));
    }
}
