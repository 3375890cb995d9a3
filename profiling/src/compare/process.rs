//! A worker process: a build of the library that runs a step on request.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::Failure;

pub(super) struct Process {
    child: Child,
    /// `None` if the worker was told to end.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// The workloads of the worker, by number.
    pub(super) workloads: Vec<String>,
}

impl Process {
    /// Starts a worker. It prepares its workloads while others are started: call [`Process::wait_until_ready`] before
    /// any step.
    pub(super) fn start(worker: &Path, data: &Path, short: bool) -> Result<Self, Failure> {
        let mut command = Command::new(worker);
        command.arg("serve").arg(data);
        if short {
            command.arg("--short");
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{}: {e}", worker.display()))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().ok_or("a pipe was asked for")?);
        Ok(Self { child, input, output, workloads: Vec::new() })
    }

    pub(super) fn wait_until_ready(&mut self) -> Result<(), Failure> {
        if self.line()? != "ready" {
            return Err("the worker speaks another protocol".into());
        }
        loop {
            let name = self.line()?;
            if name.is_empty() {
                return Ok(());
            }
            self.workloads.push(name);
        }
    }

    /// Runs a step of a workload. Returns its CPU time in nanoseconds.
    pub(super) fn step(&mut self, workload: usize) -> Result<f64, Failure> {
        let input = self.input.as_mut().ok_or("the worker was told to end")?;
        writeln!(input, "{workload}")?;
        input.flush()?;
        let line = self.line()?;
        Ok(line.parse().map_err(|_| format!("the worker said '{line}', not a time"))?)
    }

    /// Returns the share of its time that the worker waited for a core.
    pub(super) fn queue_wait(&self) -> Option<f64> {
        crate::host::queue_wait(&self.child.id().to_string())
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err("a worker ended early".into());
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The end of its input ends the worker, which removes its files; while it prepares, the worker does not read its input.
        drop(self.input.take());
        for _ in 0..200 {
            match self.child.try_wait() {
                Ok(None) => sleep(Duration::from_millis(10)),
                _ => return,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
