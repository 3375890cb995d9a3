//! The share of a file that is in memory.
//!
//! A collection maps its vectors and its graph from the file, and the system keeps the pages that are used: its page cache is the pool of
//! buffers. Linux tells the sizes of maps in `/proc/self/smaps`.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Age up to which a reading counts: the kernel takes a millisecond and more to list the maps of a process.
const RECENT: Duration = Duration::from_secs(1);

/// The maps of a file in this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Residency {
    /// Bytes that are mapped.
    pub mapped: u64,
    /// Bytes of them that are in memory.
    pub resident: u64,
}

/// The maps of a file, as they were a second ago at most.
#[derive(Debug, Default)]
pub struct RecentResidency(Mutex<Option<(Instant, Option<Residency>)>>);

impl RecentResidency {
    /// Returns the maps of a file, or `None` where the system does not tell. Callers at one time read them once.
    pub fn of(&self, file: &Path) -> Option<Residency> {
        let mut last = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match *last {
            Some((read, residency)) if read.elapsed() < RECENT => residency,
            _ => {
                let residency = residency(file);
                *last = Some((Instant::now(), residency));
                residency
            }
        }
    }
}

/// Returns the maps of a file, or `None` where the system does not tell.
fn residency(file: &Path) -> Option<Residency> {
    let file = fs::canonicalize(file).ok()?;
    Some(sum(&fs::read_to_string("/proc/self/smaps").ok()?, file.to_str()?))
}

/// Returns the bytes of memory that the process has, or `None` where the system does not tell.
pub fn resident_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| kilobytes(line, "VmRSS:"))
}

fn kilobytes(line: &str, name: &str) -> Option<u64> {
    let value = line.strip_prefix(name)?.trim().strip_suffix("kB")?;
    Some(value.trim().parse::<u64>().ok()? * 1024)
}

/// Adds the maps of a file in the text of `smaps`: a line of addresses and the path begins a map, lines with a name and a size follow.
fn sum(smaps: &str, file: &str) -> Residency {
    let mut sum = Residency::default();
    let mut is_of_file = false;
    for line in smaps.lines() {
        let first = line.split(' ').next().unwrap_or_default();
        if !first.ends_with(':') {
            is_of_file = line.ends_with(file);
        } else if is_of_file {
            sum.mapped += kilobytes(line, "Size:").unwrap_or(0);
            sum.resident += kilobytes(line, "Rss:").unwrap_or(0);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_of_the_file_are_added() {
        let smaps = "7f00-7f10 r--p 00000000 08:01 12 /data/a.nf\nSize:     64 kB\nKernelPageSize: 4 kB\nRss:      16 kB\nPss: 8 kB\n\
                     7f20-7f30 rw-p 00000000 00:00 0\nSize:   100 kB\nRss:  100 kB\n\
                     7f40-7f50 rw-p 00010000 08:01 12 /data/a.nf\nSize:  4 kB\nRss:  4 kB\n";
        assert_eq!(sum(smaps, "/data/a.nf"), Residency { mapped: 68 << 10, resident: 20 << 10 });
        assert_eq!(sum(smaps, "/data/b.nf"), Residency::default());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn maps_are_read_again_after_a_second() {
        let recent = RecentResidency::default();
        let program = std::env::current_exe().unwrap();
        let first = recent.of(&program);
        assert!(first.is_some_and(|maps| maps.resident > 0));
        // A reading that is young answers, whatever the file.
        assert_eq!(recent.of(Path::new("/")), first);
        let old = Instant::now().checked_sub(RECENT).unwrap();
        *recent.0.lock().unwrap() = Some((old, None));
        assert!(recent.of(&program).is_some());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_has_memory() {
        assert!(resident_memory().is_some_and(|bytes| bytes > 1 << 20));
    }
}
