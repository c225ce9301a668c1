//! What this machine has found out about itself, kept from one command to the next.
//!
//! Owns one small JSON file, `platforms.json`, in `$TRANSCODE_STATE_DIR`, `$XDG_CACHE_HOME/transcode` or
//! `~/.cache/transcode`. It is written whole beside its place and renamed, so nobody reads half of it;
//! two processes that write at once lose the older news, which costs one trial. What was found out under
//! another driver, GStreamer, device, plugin path or version of this program does not count. A file that
//! cannot be read or written is no failure: everything in it can be found out again.

use super::devices::Devices;
use super::health::Health;
use super::trials::Depth;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use transcode_core::platform::Platform;
use transcode_core::run;
use transcode_core::trial::Judged;
use transcode_core::units::MediaTime;

/// The shape of the file; another one's is not read.
const VERSION: u32 = 1;

const FILE: &str = "platforms.json";

/// Encoders at once of which no more are tried.
pub(super) const MOST_SESSIONS: u32 = 8;

/// Under what circumstances something was found out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Key {
    /// This program's version.
    pub program: String,
    /// GStreamer's version.
    pub gstreamer: String,
    /// Devices and drivers.
    pub devices: Devices,
    /// `GST_PLUGIN_PATH`, where GStreamer looks for more elements.
    pub plugin_path: String,
}

impl Key {
    /// Of this process, with the version of GStreamer that the child told.
    pub fn here(gstreamer: &str) -> Self {
        let plugin_path = std::env::var_os("GST_PLUGIN_PATH").unwrap_or_default();
        Self {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            gstreamer: gstreamer.to_owned(),
            devices: Devices::here(),
            plugin_path: plugin_path.to_string_lossy().into_owned(),
        }
    }
}

/// Whether a platform makes of one kind of source what it should.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The clip's name: `hevc-10`.
    pub clip: String,
    /// The codec that was decoded, as platform files key it.
    pub codec: String,
    /// What came out, where it passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<Judged>,
    /// What failed, where it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What trying a platform has shown.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Verdict {
    /// [`digest`] of the platform's file.
    pub file: String,
    /// How much was tried.
    #[serde(default)]
    pub depth: Depth,
    /// Each kind of source.
    pub pairs: Vec<Pair>,
    /// How many seconds of 1080p30 become an `abr` ladder in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<f64>,
    /// From the start of a chunk's process to its first encoded picture, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<u64>,
    /// Encode sessions at once that worked; the bound that was tried up to where all did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u32>,
    /// The largest pictures that were decoded, `3840x2160`; absent where none of the large were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decodes: Option<String>,
    /// The largest pictures that were encoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encodes: Option<String>,
}

impl Verdict {
    /// Whether it can be used at all: what nearly every source is, decoded and encoded.
    pub fn passed(&self) -> bool {
        self.pairs.first().is_some_and(|pair| pair.why.is_none())
    }

    /// What failed with sources of that codec, if anything was tried and failed.
    pub fn against(&self, codec: &str) -> Option<&str> {
        let mut pairs = self.pairs.iter().filter(|pair| pair.codec == codec);
        pairs.find_map(|pair| pair.why.as_deref())
    }
}

/// All that is kept.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Memory {
    version: u32,
    key: Key,
    /// By platform.
    #[serde(default)]
    pub verdicts: BTreeMap<String, Verdict>,
    /// By platform.
    #[serde(default)]
    pub health: BTreeMap<String, Health>,
}

impl Memory {
    /// The verdict on exactly this platform file.
    pub fn verdict(&self, platform: &Platform) -> Option<&Verdict> {
        self.verdicts.get(&platform.name).filter(|verdict| verdict.file == digest(platform))
    }

    /// The platform, with what a start costs here and how many encoders run at once, where trials have found
    /// that out, in place of what its file says.
    pub fn measured(&self, mut platform: Platform) -> Platform {
        let Some(verdict) = self.verdict(&platform) else { return platform };
        // All that were tried is no bound.
        let sessions = verdict.sessions.filter(|worked| *worked < MOST_SESSIONS);
        platform.encode.sessions = sessions.or(platform.encode.sessions);
        let start = verdict.start_ms;
        let start = start.and_then(|ms| MediaTime::new(i64::try_from(ms).ok()?, 1_000));
        if let Some(start) = start.filter(|start| *start > MediaTime::ZERO) {
            platform.chunk.start = start;
        }
        platform
    }
}

/// Tells one platform file from another: the digest of its JSON.
pub fn digest(platform: &Platform) -> String {
    run::digest(&serde_json::to_vec(platform).unwrap_or_default())
}

/// Where it is kept.
#[derive(Debug, Clone)]
pub struct Keeper {
    dir: Option<PathBuf>,
}

impl Keeper {
    /// As the environment says; nowhere, where it says nothing.
    pub fn here() -> Self {
        Self { dir: directory(|name| std::env::var_os(name)) }
    }

    /// In this directory.
    pub const fn within(dir: PathBuf) -> Self {
        Self { dir: Some(dir) }
    }

    /// The directory, which need not exist.
    pub fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// What was found out under these circumstances; nothing, where they are others.
    pub fn recall(&self, key: &Key) -> Memory {
        let read = || {
            let text = fs::read(self.dir.as_ref()?.join(FILE)).ok()?;
            serde_json::from_slice::<Memory>(&text)
                .inspect_err(|error| log::debug!("{FILE} is not understood and begun anew: {error}"))
                .ok()
        };
        let fresh = || Memory { version: VERSION, key: key.clone(), ..Memory::default() };
        read().filter(|memory| memory.version == VERSION && memory.key == *key).unwrap_or_else(fresh)
    }

    /// Change what is kept.
    pub fn change(&self, key: &Key, change: impl FnOnce(&mut Memory)) {
        let mut memory = self.recall(key);
        change(&mut memory);
        let Some(dir) = &self.dir else { return };
        if let Err(error) = write(dir, &memory) {
            log::debug!("{} cannot be written: {error}", dir.join(FILE).display());
        }
    }

    /// A plugin registry of our own where there are accelerators: GStreamer's is only renewed when a
    /// plugin's file changes, and not when a device appears that a plugin had looked for in vain. One
    /// file for each set of devices and drivers.
    pub fn registry(&self, devices: &Devices) -> Option<PathBuf> {
        if !devices.has_accelerator() || std::env::var_os("GST_REGISTRY").is_some() {
            return None;
        }
        let dir = self.dir.as_ref()?;
        let text = serde_json::to_vec(devices).ok()?;
        let name = format!("registry-{}.bin", run::digest(&text));
        fs::create_dir_all(dir).ok()?;
        Some(dir.join(name))
    }
}

fn directory(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    path("TRANSCODE_STATE_DIR")
        .or_else(|| path("XDG_CACHE_HOME").map(|cache| cache.join("transcode")))
        .or_else(|| path("HOME").map(|home| home.join(".cache/transcode")))
}

fn write(dir: &Path, memory: &Memory) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    let own = dir.join(format!("{FILE}.{}", std::process::id()));
    let mut file = fs::File::create(&own)?;
    file.write_all(&serde_json::to_vec_pretty(memory)?)?;
    file.sync_all()?;
    fs::rename(&own, dir.join(FILE)).inspect_err(|_| {
        let _left_behind = fs::remove_file(&own);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(gstreamer: &str) -> Key {
        Key { program: "1".into(), gstreamer: gstreamer.into(), ..Key::default() }
    }

    fn software() -> Platform {
        Platform::builtin("software").expect("built in")
    }

    fn verdict(why: Option<&str>) -> Verdict {
        let pair = |codec: &str, why: Option<&str>| Pair {
            clip: codec.to_owned(),
            codec: codec.to_owned(),
            judged: None,
            why: why.map(ToOwned::to_owned),
        };
        let pairs = vec![pair("h264", None), pair("av1", why)];
        Verdict { file: digest(&software()), pairs, start_ms: Some(1_250), ..Verdict::default() }
    }

    #[test]
    fn what_was_found_out_is_there_again_and_only_under_the_same_circumstances() {
        let dir = tempfile::tempdir().expect("a directory");
        let keeper = Keeper::within(dir.path().join("new"));
        assert_eq!(keeper.recall(&key("1.22")).verdicts, BTreeMap::new());
        keeper.change(&key("1.22"), |memory| {
            memory.verdicts.insert("software".into(), verdict(Some("no such decoder")));
        });
        let memory = keeper.recall(&key("1.22"));
        let found = memory.verdict(&software()).expect("kept");
        assert!(found.passed());
        assert_eq!((found.against("av1"), found.against("h264")), (Some("no such decoder"), None));
        assert!(keeper.recall(&key("1.24")).verdicts.is_empty(), "another GStreamer");
        let mut other = key("1.22");
        other.devices.nodes.push("nvidia0".into());
        assert!(keeper.recall(&other).verdicts.is_empty(), "a card was put in");
        assert_eq!(fs::read_dir(dir.path().join("new")).expect("there").count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_verdict_on_another_platform_file_does_not_count() {
        let mut memory = Memory::default();
        memory.verdicts.insert("software".into(), verdict(None));
        let mut changed = software();
        changed.description.push('!');
        assert!(memory.verdict(&software()).is_some() && memory.verdict(&changed).is_none());
        assert_eq!(memory.measured(software()).chunk.start, "1.25s".parse().expect("a time"));
        assert_eq!(memory.measured(changed.clone()), changed);
    }

    #[test]
    fn a_bound_of_encoders_that_trials_have_met_is_the_platforms() {
        let bound = |worked: Option<u32>, told: Option<u32>| {
            let mut platform = software();
            platform.encode.sessions = told;
            let mut memory = Memory::default();
            let found = Verdict { file: digest(&platform), sessions: worked, ..verdict(None) };
            memory.verdicts.insert("software".into(), found);
            memory.measured(platform).encode.sessions
        };
        assert_eq!(
            [bound(None, None), bound(Some(2), None), bound(Some(4), Some(8))],
            [None, Some(2), Some(4)]
        );
        assert_eq!(
            [bound(Some(8), None), bound(Some(8), Some(12))],
            [None, Some(12)],
            "as many as were tried"
        );
    }

    #[test]
    fn a_file_that_is_damaged_is_begun_anew() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join(FILE), "{").expect("written");
        let keeper = Keeper::within(dir.path().to_owned());
        assert!(keeper.recall(&key("1")).health.is_empty());
        keeper.change(&key("1"), |memory| memory.health.entry("a".into()).or_default().failed(7));
        assert_eq!(keeper.recall(&key("1")).health["a"].failures, [7]);
    }

    #[test]
    fn the_directory_is_the_one_that_the_environment_names_first() {
        let with = |set: &[(&str, &str)]| {
            directory(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
        };
        assert_eq!(with(&[("HOME", "/h")]), Some("/h/.cache/transcode".into()));
        assert_eq!(with(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/c")]), Some("/c/transcode".into()));
        assert_eq!(with(&[("XDG_CACHE_HOME", "/c"), ("TRANSCODE_STATE_DIR", "/s")]), Some("/s".into()));
        assert_eq!(with(&[("HOME", "")]), None);
    }

    #[test]
    fn a_registry_of_our_own_is_for_machines_with_devices() {
        let dir = tempfile::tempdir().expect("a directory");
        let keeper = Keeper::within(dir.path().to_owned());
        let with = |node: &str| Devices { nodes: vec![node.to_owned()], ..Devices::default() };
        assert_eq!(keeper.registry(&Devices::default()), None);
        if std::env::var_os("GST_REGISTRY").is_none() {
            assert_ne!(keeper.registry(&with("nvidia0")), keeper.registry(&with("nvidia1")));
        }
    }
}
