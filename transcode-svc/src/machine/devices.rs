//! Which accelerators the system shows, and which drivers drive them, as names.
//!
//! Reads a few files of `/dev`, `/proc` and `/sys`; opens no device. Tells nothing about what works:
//! that is what a trial is for. The names are part of the key that verdicts are kept under.

use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// What is there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Devices {
    /// The kernel's release.
    pub kernel: String,
    /// The board, where the system is one (`/proc/device-tree/model`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub board: Option<String>,
    /// Device nodes of accelerators, in order: `nvidia0`, `nvmap`, `dri/renderD128`.
    pub nodes: Vec<String>,
    /// Drivers with their versions, and what they say of their devices.
    pub drivers: Vec<String>,
}

impl Devices {
    /// This machine's.
    pub fn here() -> Self {
        Self::below(Path::new("/"))
    }

    fn below(root: &Path) -> Self {
        let text = |path: &str| {
            let text = fs::read_to_string(root.join(path)).ok()?;
            let line = text.trim_matches(['\0', '\n', ' ']).lines().next()?.to_owned();
            (!line.is_empty()).then_some(line)
        };
        let mut nodes = names(&root.join("dev"), |name| {
            let numbered = |prefix: &str| {
                name.strip_prefix(prefix)
                    .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
            };
            numbered("nvidia") || name == "nvmap" || name.starts_with("nvhost-") || name == "v4l2-nvdec"
        });
        let render = names(&root.join("dev/dri"), |name| name.starts_with("renderD"));
        nodes.extend(render.iter().map(|name| format!("dri/{name}")));
        let mut drivers = Vec::new();
        drivers.extend(text("proc/driver/nvidia/version").map(|line| one_line(&line)));
        drivers
            .extend(text("etc/nv_tegra_release").map(|line| one_line(line.trim_start_matches(['#', ' ']))));
        for gpu in names(&root.join("proc/driver/nvidia/gpus"), |_| true) {
            let path = format!("proc/driver/nvidia/gpus/{gpu}/information");
            let model = fs::read_to_string(root.join(path)).ok();
            let model = model.as_deref().and_then(|text| text.lines().find_map(|l| l.strip_prefix("Model:")));
            drivers.extend(model.map(|model| model.trim().to_owned()));
        }
        for node in &render {
            let link = fs::read_link(root.join(format!("sys/class/drm/{node}/device/driver"))).ok();
            let driver = link.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
            drivers.extend(driver.map(|driver| format!("{node}: {driver}")));
        }
        Self {
            kernel: text("proc/sys/kernel/osrelease").unwrap_or_default(),
            board: text("proc/device-tree/model"),
            nodes,
            drivers,
        }
    }

    /// Whether there is anything beside the CPU.
    pub fn has_accelerator(&self) -> bool {
        !self.nodes.is_empty()
    }
}

fn names(dir: &Path, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| wanted(name));
    names.sort();
    names
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        }
        dir
    }

    #[test]
    fn a_t4_is_told_by_its_nodes_driver_and_model() {
        let dir = root(&[
            ("dev/nvidia0", ""),
            ("dev/nvidiactl", ""),
            ("dev/tty0", ""),
            (
                "proc/driver/nvidia/version",
                "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01\nGCC\n",
            ),
            ("proc/driver/nvidia/gpus/0000:00:1e.0/information", "Model: \t\t Tesla T4\nIRQ: 10\n"),
            ("proc/sys/kernel/osrelease", "6.1.0\n"),
        ]);
        let devices = Devices::below(dir.path());
        assert_eq!(devices.nodes, ["nvidia0"]);
        assert_eq!(devices.drivers[1], "Tesla T4");
        assert!(devices.drivers[0].ends_with("Module 535.183.01"), "{:?}", devices.drivers);
        assert!(devices.has_accelerator());
    }

    #[test]
    fn a_board_says_its_model_and_a_bare_machine_nothing() {
        let dir = root(&[
            ("proc/device-tree/model", "NVIDIA Orin Nano Developer Kit\0"),
            ("etc/nv_tegra_release", "# R36 (release), REVISION: 4.0\n"),
            ("dev/nvmap", ""),
            ("dev/dri/renderD128", ""),
        ]);
        let devices = Devices::below(dir.path());
        assert_eq!(devices.board.as_deref(), Some("NVIDIA Orin Nano Developer Kit"));
        assert_eq!(devices.nodes, ["nvmap", "dri/renderD128"]);
        assert_eq!(devices.drivers, ["R36 (release), REVISION: 4.0"]);
        assert_eq!(Devices::below(root(&[]).path()), Devices::default());
    }
}
