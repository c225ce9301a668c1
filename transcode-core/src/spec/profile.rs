//! Profiles: files that say what is asked for. Those in `pipelines/profiles/` are compiled in.

use super::{AudioPolicy, Encoding, Layout, Rendition, is_name};
use crate::error::Error;
use crate::units::{Bitrate, MediaTime};
use serde::{Deserialize, Serialize};

/// A named request: the ladder and how it is encoded. Unknown keys are errors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Profile {
    /// The profile's name: `abr`.
    pub name: String,
    /// One line for `--help` and the report.
    pub description: String,
    /// Target length of a segment; the plan rounds it up to whole pictures.
    pub segment: MediaTime,
    /// How objects are named.
    #[serde(default)]
    pub layout: Layout,
    /// Sound or none.
    #[serde(default)]
    pub audio: AudioPolicy,
    /// Settings of every rendition that does not say otherwise.
    pub encoding: Encoding,
    /// The ladder, best first.
    #[serde(rename = "rendition")]
    pub renditions: Vec<Rendition>,
}

const BUILTIN: [(&str, &str); 2] = [
    ("abr", include_str!("../../../pipelines/profiles/abr.toml")),
    ("match", include_str!("../../../pipelines/profiles/match.toml")),
];

/// The names of the profiles that are compiled in.
pub fn builtin_profiles() -> impl Iterator<Item = &'static str> {
    BUILTIN.iter().map(|(name, _)| *name)
}

impl Profile {
    /// The compiled-in profile of that name.
    ///
    /// # Errors
    /// [`Error::Config`] with the names that exist.
    pub fn builtin(name: &str) -> Result<Self, Error> {
        let text = BUILTIN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
        let text = text.ok_or_else(|| Error::Config {
            what: format!("profile `{name}`"),
            reason: format!(
                "there is no such profile; known are {}, or give a path to a .toml file",
                builtin_profiles().collect::<Vec<_>>().join(", ")
            ),
        })?;
        Self::parse(&format!("profile {name}"), text)
    }

    /// A profile from the text of a file; `what` names it in errors.
    ///
    /// # Errors
    /// [`Error::Config`] with line, key and what is allowed.
    pub fn parse(what: &str, text: &str) -> Result<Self, Error> {
        let config = |reason: String| Error::Config { what: what.to_owned(), reason };
        let profile: Self =
            toml::from_str(text).map_err(|error| config(error.to_string().trim().to_owned()))?;
        profile.check().map_err(config)?;
        Ok(profile)
    }

    /// What a file's syntax cannot say; also called for ladders given by hand.
    ///
    /// # Errors
    /// The value and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        if self.renditions.is_empty() {
            return Err("no rendition: at least one is needed".to_owned());
        }
        for (at, rendition) in self.renditions.iter().enumerate() {
            if !is_name(&rendition.name) {
                return Err(format!(
                    "rendition `{}`: a name is 1 to 32 letters, digits, - or _",
                    rendition.name
                ));
            }
            if self.renditions.iter().take(at).any(|other| other.name == rendition.name) {
                return Err(format!("rendition `{}` is there twice", rendition.name));
            }
        }
        if self.layout == Layout::Flat && self.renditions.len() > 1 {
            return Err(format!("the flat layout holds one rendition, not {}", self.renditions.len()));
        }
        let (second, minute) = (MediaTime::new(1, 1), MediaTime::new(60, 1));
        if Some(self.segment) < second || Some(self.segment) > minute {
            return Err(format!("segment {} is outside 1s to 60s", self.segment));
        }
        self.encoding.check()?;
        for rendition in &self.renditions {
            rendition.check()?;
            let encoding = rendition.encoding.over(&self.encoding);
            encoding.check().map_err(|reason| format!("rendition `{}`: {reason}", rendition.name))?;
            if encoding.key_interval <= MediaTime::ZERO || encoding.key_interval > self.segment {
                return Err(format!(
                    "rendition `{}`: key-interval {} must be above 0 and no longer than a segment ({})",
                    rendition.name, encoding.key_interval, self.segment
                ));
            }
        }
        Ok(())
    }
}

/// Lines that a rendition may ask for: from the smallest picture that x264 takes to 8K.
const LINES: std::ops::RangeInclusive<u32> = 2..=4_320;

/// Video bit/s: from what a postage stamp needs to what H.264 level 5.2 allows.
const VIDEO: std::ops::RangeInclusive<u64> = 10_000..=240_000_000;

/// Audio bit/s: from AAC-LC's lowest use to more than two channels can hold.
const AUDIO: std::ops::RangeInclusive<u64> = 8_000..=640_000;

impl Rendition {
    fn check(&self) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("rendition `{}`: {what}", self.name));
        let outside =
            |rate: Bitrate, range: &std::ops::RangeInclusive<u64>| !range.contains(&rate.bits_per_second());
        if let Some(lines) = self.height.filter(|lines| !LINES.contains(lines)) {
            return wrong(&format!("height {lines} is outside {} to {}", LINES.start(), LINES.end()));
        }
        if outside(self.video, &VIDEO) {
            return wrong(&format!("video {} is outside 10k to 240M bit/s", self.video));
        }
        if outside(self.audio, &AUDIO) {
            return wrong(&format!("audio {} is outside 8k to 640k bit/s", self.audio));
        }
        Ok(())
    }
}

/// x264's words that a plan decides: key frames stand on its grid, colours and rates are its own,
/// and an encoder writes no files.
const PLANNED: [&str; 38] = [
    "threads",
    "vbv-init",
    "keyint",
    "keyint-min",
    "min-keyint",
    "scenecut",
    "no-scenecut",
    "open-gop",
    "no-open-gop",
    "intra-refresh",
    "profile",
    "level",
    "level-idc",
    "bitrate",
    "crf",
    "crf-max",
    "qp",
    "qp-constant",
    "pass",
    "stats",
    "vbv-maxrate",
    "vbv-bufsize",
    "nal-hrd",
    "fps",
    "force-cfr",
    "interlaced",
    "fake-interlaced",
    "tff",
    "bff",
    "pic-struct",
    "colorprim",
    "transfer",
    "colormatrix",
    "fullrange",
    "sar",
    "annexb",
    "qpfile",
    "dump-yuv",
];

impl Encoding {
    fn check(&self) -> Result<(), String> {
        if let super::RateControl::CappedCrf { crf } = self.rate_control {
            if crf > 51 {
                return Err(format!("crf {crf} is outside 0 to 51"));
            }
        }
        // x264enc's `vbv-buf-capacity` ends at 10,000 ms.
        if self.vbv <= MediaTime::ZERO || Some(self.vbv) > MediaTime::new(10, 1) {
            return Err(format!("vbv {} is outside 1ms to 10s", self.vbv));
        }
        if let Some(threads) = self.threads.filter(|threads| !(1..=64).contains(threads)) {
            return Err(format!("threads {threads} is outside 1 to 64"));
        }
        for (family, text) in &self.tuning {
            if family != "x264" {
                return Err(format!("tuning for `{family}`: known are x264"));
            }
            for option in text.split(':').filter(|option| !option.is_empty()) {
                let name = option.split('=').next().unwrap_or_default().trim().replace('_', "-");
                if PLANNED.contains(&name.as_str()) {
                    return Err(format!("tuning `{option}`: `{name}` is decided by the plan, leave it out"));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::RateControl;

    fn with(change: impl FnOnce(&mut Profile)) -> String {
        let mut profile = Profile::builtin("abr").expect("profile");
        change(&mut profile);
        profile.check().err().unwrap_or_else(|| "fine".to_owned())
    }

    #[test]
    fn built_in_profiles_are_fine() {
        for name in builtin_profiles() {
            assert_eq!(Profile::builtin(name).map(|profile| profile.check()).expect(name), Ok(()));
        }
    }

    #[test]
    fn values_that_cannot_be_are_named_with_what_is_allowed() {
        for (found, expected) in [
            (with(|p| p.renditions.clear()), "at least one"),
            (with(|p| p.renditions[1].name = "1080p".into()), "`1080p` is there twice"),
            (with(|p| p.renditions[0].name = "../x".into()), "letters, digits"),
            (with(|p| p.layout = Layout::Flat), "one rendition, not 4"),
            (with(|p| p.renditions[0].height = Some(1)), "height 1 is outside 2 to 4320"),
            (with(|p| p.renditions[0].video = Bitrate::new(9_999).expect("rate")), "outside 10k to 240M"),
            (with(|p| p.renditions[0].audio = Bitrate::new(641_000).expect("rate")), "outside 8k to 640k"),
            (with(|p| p.segment = "0.5s".parse().expect("time")), "outside 1s to 60s"),
            (with(|p| p.encoding.key_interval = "7s".parse().expect("time")), "no longer than a segment"),
            (with(|p| p.encoding.vbv = MediaTime::ZERO), "outside 1ms to 10s"),
            (with(|p| p.encoding.rate_control = RateControl::CappedCrf { crf: 52 }), "outside 0 to 51"),
            (
                with(|p| drop(p.encoding.tuning.insert("x264".into(), "me=dia:keyint_min=1".into()))),
                "`keyint-min` is decided",
            ),
            (with(|p| drop(p.encoding.tuning.insert("x265".into(), String::new()))), "known are x264"),
        ] {
            assert!(found.contains(expected), "{found}: {expected}");
        }
        assert_eq!(with(|p| drop(p.encoding.tuning.insert("x264".into(), "me=dia:subme=1".into()))), "fine");
    }
}
