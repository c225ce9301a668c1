//! What `transcode doctor` has found: the document that `--json` prints, part of the command's
//! interface. Fields are added, never renamed or removed.
//!
//! Bytes, seconds, milliseconds where the name says so; what is not known is null.

use crate::engine::platforms::Rank;
use crate::engine::{Machine, bytes};
use crate::machine::{Cgroup, Devices, Keeper, Pair, Verdict};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::Command;
use transcode_core::Error;
use transcode_core::platform::{Missing, Platform};

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct Findings {
    /// This program's version.
    pub(super) program: &'static str,
    /// GStreamer's version.
    pub(super) gstreamer: String,
    pub(super) machine: MachineFindings,
    pub(super) registry: Registry,
    /// The store that was named.
    pub(super) store: Option<StoreFindings>,
    pub(super) platforms: Vec<PlatformFindings>,
    /// What `--platform auto` stands for here, best first.
    pub(super) auto: Vec<String>,
    /// What it is good for, in a sentence.
    pub(super) summary: String,
}

/// The machine as the system shows it.
#[derive(Debug, Serialize)]
pub(super) struct MachineFindings {
    #[serde(flatten)]
    pub(super) devices: Devices,
    /// CPU cores: there, and those that this process may use.
    pub(super) cores: u64,
    pub(super) cores_allowed: u64,
    /// Cores' worth of time that the control group allows; null where it does not bound it.
    pub(super) cpu_quota: Option<f64>,
    /// Bytes of memory: there, free, and what the control group allows.
    pub(super) memory: Option<u64>,
    pub(super) memory_free: Option<u64>,
    pub(super) memory_limit: Option<u64>,
    /// Where this machine's findings are kept, and how many bytes are free there.
    pub(super) state: Option<PathBuf>,
    pub(super) disk_free: Option<u64>,
}

/// GStreamer's list of its plugins.
#[derive(Debug, Serialize)]
pub(super) struct Registry {
    /// The file of our own, where there are accelerators: renewed when devices or drivers change.
    pub(super) own: Option<PathBuf>,
    /// What may be wrong with it.
    pub(super) note: Option<String>,
}

/// The named store's clock.
#[derive(Debug, Serialize)]
pub(super) struct StoreFindings {
    pub(super) address: String,
    /// Seconds by which this machine is ahead.
    pub(super) skew: Option<i64>,
    pub(super) error: Option<String>,
}

/// One platform.
#[derive(Debug, Serialize)]
pub(super) struct PlatformFindings {
    pub(super) name: String,
    pub(super) description: String,
    /// Everything that it cannot do without is installed.
    pub(super) present: bool,
    pub(super) missing: Vec<Missing>,
    /// It decodes and encodes H.264, which nearly every source is.
    pub(super) passed: bool,
    /// It was tried just now, rather than remembered.
    pub(super) tried_now: bool,
    /// Seconds for which it is still left out because it failed too often.
    pub(super) set_aside: Option<u64>,
    pub(super) pairs: Vec<Pair>,
    /// Seconds of 1080p30 that become an `abr` ladder in a second.
    pub(super) speed: Option<f64>,
    /// What starting a chunk costs, in milliseconds.
    pub(super) start_ms: Option<u64>,
    /// Encode sessions at once that worked, of 2, 4 and 8 that are tried.
    pub(super) sessions: Option<u32>,
    /// The largest of the large pictures that were decoded and encoded.
    pub(super) decodes: Option<String>,
    pub(super) encodes: Option<String>,
}

impl PlatformFindings {
    pub(super) fn new(
        platform: &Platform,
        missing: Vec<Missing>,
        verdict: Option<Verdict>,
        tried_now: bool,
        set_aside: Option<u64>,
    ) -> Self {
        let (present, verdict) = (missing.is_empty(), verdict.unwrap_or_default());
        Self {
            name: platform.name.clone(),
            description: platform.description.clone(),
            present,
            missing,
            passed: verdict.passed(),
            tried_now,
            set_aside,
            pairs: verdict.pairs,
            speed: verdict.speed,
            start_ms: verdict.start_ms,
            sessions: verdict.sessions,
            decodes: verdict.decodes,
            encodes: verdict.encodes,
        }
    }

    /// What keeps it from working.
    pub(super) fn why_not(&self) -> String {
        if !self.present {
            return format!("it cannot run here: {}", crate::engine::platforms::list(&self.missing));
        }
        let failed = self.pairs.iter().find_map(|pair| pair.why.as_deref());
        format!("its trial failed: {}", failed.unwrap_or("it was not tried"))
    }
}

impl MachineFindings {
    pub(super) fn here(devices: &Devices, keeper: &Keeper) -> Self {
        let cgroup = Cgroup::here();
        let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cores = cpus.lines().filter(|line| line.starts_with("processor")).count() as u64;
        let Machine { cores: allowed, memory: free, .. } = Machine::here();
        let state = keeper.dir().map(Path::to_path_buf);
        Self {
            devices: devices.clone(),
            cores: cores.max(allowed),
            cores_allowed: allowed,
            cpu_quota: cgroup.cpu_millis().map(|millis| millis as f64 / 1_000.0),
            memory: bytes(&info, "MemTotal:"),
            memory_free: free,
            memory_limit: cgroup.memory_limit(),
            disk_free: state.as_deref().and_then(disk_free),
            state,
        }
    }
}

/// Asked of df(1), where there is one: of the nearest directory that exists.
fn disk_free(dir: &Path) -> Option<u64> {
    let there = dir.ancestors().find(|dir| dir.is_dir())?;
    let output = Command::new("df").args(["-P", "-k"]).arg(there).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.lines().nth(1)?.split_whitespace().nth(3)?.parse::<u64>().ok()? << 10)
}

impl Registry {
    pub(super) fn new(keeper: &Keeper, devices: &Devices) -> Self {
        let own = keeper.registry(devices);
        let foreign = devices.has_accelerator() && own.is_none();
        let note = foreign.then(|| {
            "GST_REGISTRY names a list of plugins that is not renewed when a device appears; remove that file \
             where elements seem to be missing"
                .to_owned()
        });
        Self { own, note }
    }
}

impl StoreFindings {
    pub(super) fn new(address: &str, skew: Result<i64, Error>) -> Self {
        let error = skew.as_ref().err().map(Error::chain);
        Self { address: address.to_owned(), skew: skew.ok(), error }
    }
}

impl Findings {
    pub(super) fn new(
        machine: MachineFindings,
        gstreamer: String,
        registry: Registry,
        store: Option<StoreFindings>,
        platforms: Vec<PlatformFindings>,
    ) -> Self {
        let usable = |found: &&PlatformFindings| found.passed && found.set_aside.is_none();
        let mut best: Vec<&PlatformFindings> = platforms.iter().filter(usable).collect();
        let rank = |found: &PlatformFindings| Rank::of(&found.name, found.speed);
        best.sort_by(|a, b| rank(a).best_first(&rank(b)));
        let auto = best.iter().map(|found| found.name.clone()).collect();
        let summary = summary(&machine, &best, platforms.iter().any(|found| found.name != super::SOFTWARE));
        let program = env!("CARGO_PKG_VERSION");
        Self { program, gstreamer, machine, registry, store, platforms, auto, summary }
    }
}

/// What a newcomer wants to know.
fn summary(machine: &MachineFindings, best: &[&PlatformFindings], looked_for_more: bool) -> String {
    let Some(first) = best.first() else {
        return "Nothing that was looked at works here yet; what is missing stands above.".to_owned();
    };
    let allowed = machine
        .cpu_quota
        .map_or(machine.cores_allowed as f64, |quota| quota.min(machine.cores_allowed as f64));
    let cores =
        if allowed < 1.5 { format!("{allowed:.2} CPU core") } else { format!("{allowed:.0} CPU cores") };
    let with = if first.name == super::SOFTWARE {
        format!("{cores} and no GPU that is used")
    } else {
        format!("platform {} ({})", first.name, first.description)
    };
    let speed = first.speed.map_or_else(
        || "it works; how fast could not be measured".to_owned(),
        |speed| {
            let minutes = (60.0 / speed.max(0.01)).ceil();
            let judgement = if speed >= 4.0 {
                "comfortable for a queue of videos"
            } else if speed >= 1.0 {
                "fine for single videos, playable while they are being made"
            } else {
                "slower than it plays; the profile `match`, a smaller ladder or more cores help"
            };
            format!(
                "an hour of 1080p30 becomes a four-rung ladder in about {minutes:.0} minutes ({speed:.1}× realtime), \
                 {judgement}"
            )
        },
    );
    let more = if first.name == super::SOFTWARE || !looked_for_more {
        String::new()
    } else {
        format!(" If it fails, {} goes on.", best.get(1).map_or("nothing", |second| second.name.as_str()))
    };
    format!("With {with}, {speed}.{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> MachineFindings {
        MachineFindings {
            devices: Devices::default(),
            cores: 8,
            cores_allowed: 4,
            cpu_quota: Some(1.5),
            memory: None,
            memory_free: None,
            memory_limit: None,
            state: None,
            disk_free: None,
        }
    }

    fn found(name: &str, speed: f64, passed: bool) -> PlatformFindings {
        let why = (!passed).then(|| "green".to_owned());
        let pair = Pair { clip: "h264".into(), codec: "h264".into(), judged: None, why };
        let verdict = Verdict { pairs: vec![pair], speed: Some(speed), ..Verdict::default() };
        let platform = Platform::builtin("software").expect("built in");
        let platform = Platform { name: name.to_owned(), ..platform };
        PlatformFindings::new(&platform, Vec::new(), Some(verdict), false, None)
    }

    fn findings(platforms: Vec<PlatformFindings>) -> Findings {
        let registry = Registry { own: None, note: None };
        Findings::new(machine(), "1.22.0".into(), registry, None, platforms)
    }

    #[test]
    fn a_sentence_says_what_it_is_good_for() {
        let slow = findings(vec![found("software", 0.5, true)]).summary;
        assert!(
            slow.contains("120 minutes") && slow.contains("slower than") && slow.contains("no GPU"),
            "{slow}"
        );
        let fast = findings(vec![found("nvidia", 8.0, true), found("software", 0.5, true)]);
        assert!(fast.summary.contains("8.0× realtime") && fast.summary.contains("software goes on"));
        assert_eq!(fast.auto, ["nvidia", "software"]);
        let none = findings(vec![found("nvidia", 8.0, false)]);
        assert!(none.auto.is_empty() && none.summary.contains("missing"), "{}", none.summary);
    }

    #[test]
    fn what_failed_a_trial_says_why() {
        assert_eq!(found("nvidia", 1.0, false).why_not(), "its trial failed: green");
    }
}
