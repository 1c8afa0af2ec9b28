//! The memory limit of the control group (v2) that the worker runs in.
//!
//! The limits of all groups above hold as well, so the tightest one on the way up counts.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";

/// How deep groups are searched; the kernel allows more, nobody nests so deep.
const DEPTH_MAX: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MemoryLimit {
    pub(super) total_bytes: u64,
    pub(super) available_bytes: u64,
}

impl MemoryLimit {
    /// `None` where there is no limit.
    pub(super) fn current() -> Option<Self> {
        let own = own_group(&fs::read_to_string("/proc/self/cgroup").ok()?)?;
        let limits: Vec<_> = own
            .ancestors()
            .take_while(|group| group.starts_with(ROOT))
            .take(DEPTH_MAX)
            .filter_map(Self::of_group)
            .collect();
        Some(Self {
            total_bytes: limits.iter().map(|limit| limit.total_bytes).min()?,
            available_bytes: limits.iter().map(|limit| limit.available_bytes).min()?,
        })
    }

    fn of_group(group: &Path) -> Option<Self> {
        let file = |name| fs::read_to_string(group.join(name)).ok();
        Self::parse(
            &file("memory.max")?,
            &file("memory.current")?,
            &file("memory.stat")?,
        )
    }

    /// Pages of files that were not used lately can be given back, so they count as available.
    fn parse(max: &str, current: &str, stat: &str) -> Option<Self> {
        let total_bytes: u64 = max.trim().parse().ok()?;
        let current_bytes: u64 = current.trim().parse().ok()?;
        let inactive = stat
            .lines()
            .find_map(|line| line.strip_prefix("inactive_file "));
        let inactive_bytes: u64 = inactive.and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
        let used_bytes = current_bytes.saturating_sub(inactive_bytes);
        Some(Self {
            total_bytes,
            available_bytes: total_bytes.saturating_sub(used_bytes),
        })
    }
}

/// The directory of our own group, from the text of `/proc/self/cgroup`.
fn own_group(text: &str) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(ROOT).join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_can_be_given_back_is_available() {
        let limit = MemoryLimit::parse("1000\n", "600\n", "anon 100\ninactive_file 250\n");
        assert_eq!(
            limit,
            Some(MemoryLimit {
                total_bytes: 1000,
                available_bytes: 650
            })
        );
    }

    #[test]
    fn a_group_without_a_limit_has_none() {
        assert_eq!(MemoryLimit::parse("max\n", "600\n", ""), None);
    }

    #[test]
    fn a_group_over_its_limit_has_nothing_available() {
        let limit = MemoryLimit::parse("1000", "1200", "");
        assert_eq!(limit.map(|limit| limit.available_bytes), Some(0));
    }

    #[test]
    fn our_own_group_is_the_one_of_version_2() {
        let text = "1:cpu:/old\n0::/system.slice/rota.service\n";
        let group = Path::new(ROOT).join("system.slice/rota.service");
        assert_eq!(own_group(text), Some(group));
        assert_eq!(own_group("0::/\n"), Some(PathBuf::from("/sys/fs/cgroup/")));
        assert_eq!(own_group("1:cpu:/old\n"), None);
    }
}
