//! The server as a child process.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// A server in a child process, which ends with its owner.
pub struct Process {
    pub child: Child,
    pub lines: BufReader<ChildStdout>,
    pub base: String,
    /// Time from the start of the process until it was ready.
    pub ready: Duration,
}

impl Process {
    pub fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    /// Starts the program with flags.
    pub fn start_with(data: &Path, flags: &[&str]) -> Self {
        let start = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_server"))
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = || {
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            line
        };
        let listening = line();
        let base =
            listening.trim().strip_prefix("listening on ").expect("the first line").to_owned();
        assert!(line().starts_with("ready"));
        Self { child, lines, base, ready: start.elapsed() }
    }

    /// Ends the process as a crash does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
