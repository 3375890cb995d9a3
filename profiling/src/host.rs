//! Describes the machine and its load: a figure without them cannot be compared with another.

use std::fs;
use std::process::Command;

use nearfield::Isa;
use serde::{Deserialize, Serialize};

/// Facts about the machine, the compiler and the code, that every result carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Host {
    pub(crate) cpu: String,
    /// The instruction set that the kernels use.
    pub(crate) isa: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// Runnable processes, on average over the last minute.
    pub(crate) load1: f64,
    /// Share of its time that this process, ready to run, waited for a core.
    pub(crate) queue_wait: f64,
    /// Share of the machine's time since its start that its hypervisor gave to other machines.
    pub(crate) steal: f64,
    /// The system's setting of transparent huge pages.
    pub(crate) huge_pages: String,
}

impl Host {
    /// Returns the facts of this moment: call it after measuring.
    pub(crate) fn now() -> Self {
        let load = read("/proc/loadavg");
        Self {
            cpu: cpu(),
            isa: Isa::detect().to_string(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load1: load.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0),
            queue_wait: queue_wait("self").unwrap_or(0.0),
            steal: steal().unwrap_or(0.0),
            huge_pages: chosen(&read("/sys/kernel/mm/transparent_hugepage/enabled")),
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn cpu() -> String {
    let info = read("/proc/cpuinfo");
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    field("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// Returns the word in brackets of a list such as `always [madvise] never`.
fn chosen(list: &str) -> String {
    let word = list.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    word.map_or_else(|| "unknown".to_owned(), |(word, _)| word.to_owned())
}

/// Returns the share of its runnable time that a process waited for a core; over all its threads.
pub(crate) fn queue_wait(process: &str) -> Option<f64> {
    let (mut ran, mut waited) = (0.0, 0.0);
    for task in fs::read_dir(format!("/proc/{process}/task")).ok()?.flatten() {
        let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        let mut numbers = stat.split_whitespace().map_while(|n| n.parse::<f64>().ok());
        ran += numbers.next()?;
        waited += numbers.next()?;
    }
    Some(if ran + waited > 0.0 { waited / (ran + waited) } else { 0.0 })
}

/// Returns the number of times that the current threads of this process went to sleep voluntarily.
pub(crate) fn waits() -> Option<f64> {
    let mut sum = 0.0;
    for task in fs::read_dir("/proc/self/task").ok()?.flatten() {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"))?;
        sum += line.trim().parse::<f64>().ok()?;
    }
    Some(sum)
}

fn steal() -> Option<f64> {
    let stat = read("/proc/stat");
    let line = stat.lines().next()?;
    let ticks: Vec<f64> = line.split_whitespace().skip(1).map_while(|n| n.parse().ok()).collect();
    // The fields are user, nice, system, idle, iowait, irq, softirq, steal; user includes guests.
    let all: f64 = ticks.iter().take(8).sum();
    Some(ticks.get(7)? / all)
}

/// Returns the resident memory of this process, in bytes.
pub(crate) fn resident() -> Option<u64> {
    status("VmRSS:")
}

/// Returns the peak of the resident memory, in bytes, since [`reset_peak`].
pub(crate) fn peak_resident() -> Option<u64> {
    status("VmHWM:")
}

/// Returns the bytes of anonymous memory in huge pages.
pub(crate) fn huge_resident() -> Option<u64> {
    kib(&fs::read_to_string("/proc/self/smaps_rollup").ok()?, "AnonHugePages:")
}

/// Resets the peak to the memory that is resident now.
pub(crate) fn reset_peak() {
    // If the system does not allow the reset, the peak is that of the whole process.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn status(name: &str) -> Option<u64> {
    kib(&fs::read_to_string("/proc/self/status").ok()?, name)
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Returns the first line that a program prints, without its end.
pub(crate) fn first_line(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok().filter(|o| o.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_sizes() {
        assert_eq!(chosen("always [madvise] never\n"), "madvise");
        assert_eq!(chosen(""), "unknown");
        assert_eq!(kib("VmRSS:\t  12 kB\n", "VmRSS:"), Some(12 * 1024));
        assert_eq!(kib("VmRSS:\t  12 kB\n", "VmHWM:"), None);
    }
}
