//! Profiles: files that say what is asked for. Those in `pipelines/profiles/` are compiled in.

use super::{AudioPolicy, Encoding, Layout, Rendition, is_name};
use crate::error::Error;
use crate::units::MediaTime;
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
        for rendition in &self.renditions {
            let encoding = rendition.encoding.over(&self.encoding);
            if encoding.key_interval <= MediaTime::ZERO || encoding.key_interval > self.segment {
                return Err(format!(
                    "rendition `{}`: key-interval {} must be above 0 and no longer than a segment ({})",
                    rendition.name, encoding.key_interval, self.segment
                ));
            }
            if let super::RateControl::CappedCrf { crf } = encoding.rate_control {
                if crf > 51 {
                    return Err(format!("rendition `{}`: crf {crf} is outside 0 to 51", rendition.name));
                }
            }
        }
        Ok(())
    }
}
