//! What the control group of this process allows, versions 1 and 2: cores and memory.
//!
//! Owns the reading of `/proc/self/cgroup` and of the files below `/sys/fs/cgroup`. A bound holds for a
//! group and all below it, so every level up to the mount is looked at and the least counts. Bytes, and
//! thousandths of a core.

use std::fs;
use std::path::{Path, PathBuf};

/// Version 1 says "no bound" with a number near 2⁶³, rounded down to pages.
const UNBOUNDED: u64 = 1 << 60;

/// The groups that this process is in.
#[derive(Debug, Clone)]
pub struct Cgroup {
    mount: PathBuf,
    /// `/proc/self/cgroup`: `ID:CONTROLLERS:PATH` a line.
    groups: String,
}

impl Cgroup {
    /// This process's.
    pub fn here() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self { mount: PathBuf::from("/sys/fs/cgroup"), groups }
    }

    /// Thousandths of a core that the processes of the group may use together, where that is bounded.
    pub fn cpu_millis(&self) -> Option<u64> {
        let two = self.unified().into_iter().filter_map(|dir| quota_of_two(&read(&dir, "cpu.max")?));
        let one = self
            .controller("cpu")
            .into_iter()
            .filter_map(|dir| quota(&read(&dir, "cpu.cfs_quota_us")?, &read(&dir, "cpu.cfs_period_us")?));
        two.chain(one).min()
    }

    /// Bytes that the processes of the group may use together, where that is bounded.
    pub fn memory_limit(&self) -> Option<u64> {
        self.memory().map(|(limit, _)| limit).min()
    }

    /// Bytes that are left of that.
    pub fn memory_left(&self) -> Option<u64> {
        self.memory().map(|(limit, used)| limit.saturating_sub(used)).min()
    }

    /// (limit, used) of every bounded group.
    fn memory(&self) -> impl Iterator<Item = (u64, u64)> {
        let two = self.unified().into_iter().filter_map(|dir| {
            Some((number(&read(&dir, "memory.max")?)?, number(&read(&dir, "memory.current")?)?))
        });
        let one = self.controller("memory").into_iter().filter_map(|dir| {
            let limit = number(&read(&dir, "memory.limit_in_bytes")?)?;
            Some((limit, number(&read(&dir, "memory.usage_in_bytes")?)?))
        });
        two.chain(one).filter(|(limit, _)| *limit < UNBOUNDED)
    }

    /// Directories of version 2, from this process's group up to the mount.
    fn unified(&self) -> Vec<PathBuf> {
        let path = self.lines().find(|(controllers, _)| controllers.is_empty()).map(|(_, path)| path);
        path.map(|path| levels(&[self.mount.clone(), self.mount.join("unified")], path)).unwrap_or_default()
    }

    /// Directories of a controller of version 1, likewise.
    fn controller(&self, wanted: &str) -> Vec<PathBuf> {
        let is_wanted = |controllers: &str| controllers.split(',').any(|name| name == wanted);
        let line = self.lines().find(|(controllers, _)| is_wanted(controllers));
        line.map(|(controllers, path)| {
            let mut mounts = vec![self.mount.join(wanted), self.mount.join(controllers)];
            mounts.dedup();
            levels(&mounts, path)
        })
        .unwrap_or_default()
    }

    fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        self.groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'))
    }
}

/// In a container the group's path may be as the host sees it and not be there below the mount: the
/// mount itself is then this group.
fn levels(mounts: &[PathBuf], path: &str) -> Vec<PathBuf> {
    let inside = Path::new(path.trim_start_matches('/'));
    let below = |mount: &PathBuf| inside.ancestors().map(|level| mount.join(level)).collect::<Vec<_>>();
    mounts.iter().flat_map(below).collect()
}

fn read(dir: &Path, name: &str) -> Option<String> {
    fs::read_to_string(dir.join(name)).ok()
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// `cpu.max`: `max 100000` or `150000 100000`.
fn quota_of_two(text: &str) -> Option<u64> {
    let (quota_us, period_us) = text.trim().split_once(' ')?;
    quota(quota_us, period_us)
}

/// -1 and `max` are no bound.
fn quota(quota: &str, period: &str) -> Option<u64> {
    let (quota, period) = (number(quota)?, number(period)?);
    (period > 0 && quota > 0).then(|| quota * 1_000 / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cgroup(groups: &str, files: &[(&str, &str)]) -> (tempfile::TempDir, Cgroup) {
        let dir = tempfile::tempdir().expect("a directory");
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        }
        let cgroup = Cgroup { mount: dir.path().to_path_buf(), groups: groups.to_owned() };
        (dir, cgroup)
    }

    #[test]
    fn the_least_bound_on_the_way_up_counts_in_version_2() {
        let (_dir, cgroup) = cgroup(
            "0::/a/b\n",
            &[
                ("a/cpu.max", "150000 100000\n"),
                ("a/b/cpu.max", "max 100000\n"),
                ("a/memory.max", "1000\n"),
                ("a/memory.current", "300\n"),
                ("a/b/memory.max", "max\n"),
                ("a/b/memory.current", "100\n"),
            ],
        );
        assert_eq!(cgroup.cpu_millis(), Some(1_500));
        assert_eq!((cgroup.memory_limit(), cgroup.memory_left()), (Some(1_000), Some(700)));
    }

    #[test]
    fn version_1_has_a_directory_a_controller() {
        let (_dir, cgroup) = cgroup(
            "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n1:name=systemd:/\n0::/\n",
            &[
                ("cpu,cpuacct/cpu.cfs_quota_us", "50000\n"),
                ("cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
                ("memory/docker/x/memory.limit_in_bytes", "2048\n"),
                ("memory/docker/x/memory.usage_in_bytes", "4096\n"),
                ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory/memory.usage_in_bytes", "1\n"),
            ],
        );
        assert_eq!(cgroup.cpu_millis(), Some(500));
        assert_eq!((cgroup.memory_limit(), cgroup.memory_left()), (Some(2_048), Some(0)));
    }

    #[test]
    fn no_bound_is_no_number() {
        let (_dir, cgroup) = cgroup(
            "3:cpu:/\n0::/\n",
            &[
                ("cpu/cpu.cfs_quota_us", "-1\n"),
                ("cpu/cpu.cfs_period_us", "100000\n"),
                ("cpu.max", "max 100000"),
            ],
        );
        assert_eq!((cgroup.cpu_millis(), cgroup.memory_limit()), (None, None));
        assert_eq!(self::cgroup("", &[]).1.cpu_millis(), None);
    }
}
