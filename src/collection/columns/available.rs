//! The memory that is available for the pages of a file.

/// Returns the bytes that this process may have, if the system reports them: the least of the available memory and the limits of its
/// memory cgroups.
#[cfg(target_os = "linux")]
pub(super) fn available() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(|file| {
        // `max`, in the second version, means no limit.
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    });
    let info = std::fs::read_to_string("/proc/meminfo").ok();
    info.as_deref().and_then(of_info).into_iter().chain(limits).min()
}

/// Returns `None`, because other systems do not report it.
#[cfg(not(target_os = "linux"))]
pub(super) fn available() -> Option<u64> {
    None
}

/// Returns the available memory by `/proc/meminfo`.
#[cfg(target_os = "linux")]
fn of_info(info: &str) -> Option<u64> {
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Returns the files with the limits of the groups that `/proc/self/cgroup` names, and of their parents.
#[cfg(target_os = "linux")]
fn limit_files(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(mut path)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            continue;
        };
        while let Some((parent, _)) = path.rsplit_once('/') {
            files.push(format!("{root}{path}/{file}"));
            path = parent;
        }
    }
    files
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn groups_and_those_they_are_in_are_asked() {
        let groups = "7:memory:/a/b\n3:cpu,cpuacct:/a\n0::/c.slice\nnonsense\n";
        let files = limit_files(groups);
        assert_eq!(
            files,
            [
                "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/c.slice/memory.max",
            ]
        );
    }

    #[test]
    fn the_system_tells() {
        assert_eq!(of_info("MemTotal: 9 kB\nMemAvailable:   12 kB\n"), Some(12 * 1024));
        assert_eq!(of_info("MemAvailable: many kB\n"), None);
        assert!(available().is_some_and(|bytes| bytes > 1 << 20));
    }
}
