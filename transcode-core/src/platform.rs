//! Platforms: files that say how a kind of machine decodes, scales and encodes.
//!
//! Owns the shape of `pipelines/platforms/*.toml` and its checks. Knows element and property names
//! only as data that passes through; `graph` is the one room that uses them. Unknown keys are errors.

use crate::error::Error;
use crate::spec::{Preset, Tune};
use crate::units::MediaTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One platform file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Platform {
    /// The platform's name: `software`.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// By video codec name: how it is parsed and decoded.
    pub decode: BTreeMap<String, Decoder>,
    /// By audio codec name: how it is parsed and decoded.
    pub decode_audio: BTreeMap<String, Decoder>,
    /// By container name: the demuxer.
    pub demux: BTreeMap<String, String>,
    /// The H.264 encoder.
    pub encode: Encoder,
    /// The AAC encoder.
    pub encode_audio: AudioEncoder,
    /// What dividing the work costs here.
    pub chunk: ChunkCost,
}

/// What a chunk costs beside the encoding of its pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ChunkCost {
    /// From the start of its process to the first picture in the encoders, the pictures that are
    /// decoded to get there included; wall time.
    pub start: MediaTime,
}

/// How one codec is parsed and decoded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Decoder {
    /// The parser before the decoder; absent where the demuxer's output is fit for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parse: Option<String>,
    /// The decoder; absent for raw media.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub element: Option<String>,
    /// Properties, as the element spells them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, Value>,
}

/// A property's value in a platform file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(missing_docs)]
pub enum Value {
    Bool(bool),
    Integer(i64),
    Text(String),
}

/// How an H.264 encoder is driven: our terms on the left, its properties on the right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Encoder {
    /// The element.
    pub element: String,
    /// Whose habits it has: picks the adapter in `graph` and the profile's `tuning`.
    pub family: EncoderFamily,
    /// Raw format it is fed: `I420`, `NV12`.
    pub format: String,
    /// Properties that are always set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, Value>,
    /// The property that takes the bit rate, and its unit.
    pub bitrate: UnitProperty,
    /// The property that takes the distance of key frames, in pictures.
    pub key_interval: String,
    /// The property that takes a preset, and this encoder's word for each of ours.
    pub preset: MappedProperty<Preset>,
    /// The property that takes a tune, and this encoder's word for each of ours.
    pub tune: MappedProperty<Tune>,
    /// The property that takes the number of threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<String>,
    /// The property that takes the VBV buffer, and its unit.
    pub vbv: UnitProperty,
}

/// Encoder families with an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EncoderFamily {
    /// x264.
    X264,
}

impl EncoderFamily {
    /// The key in a profile's `tuning`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X264 => "x264",
        }
    }
}

/// A property and the unit it is spelt in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UnitProperty {
    /// The property's name.
    pub property: String,
    /// The unit it is spelt in.
    pub unit: Unit,
}

/// Units that properties are spelt in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Unit {
    #[serde(rename = "bit/s")]
    BitsPerSecond,
    #[serde(rename = "kbit/s")]
    KbitsPerSecond,
    #[serde(rename = "ms")]
    Milliseconds,
}

/// A property, and its word for each of our terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MappedProperty<Term: Ord> {
    /// The property's name.
    pub property: String,
    /// Our term → its word. A term that is not there cannot be had here.
    pub values: BTreeMap<Term, String>,
}

/// How the AAC encoder is driven.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AudioEncoder {
    /// The element.
    pub element: String,
    /// Raw format it is fed: `F32LE`.
    pub format: String,
    /// The property that takes the bit rate, and its unit.
    pub bitrate: UnitProperty,
    /// Properties that are always set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, Value>,
    /// Samples by which its output is late without saying so.
    pub delay: u32,
}

/// An element that a platform needs and that is not installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The element.
    pub element: String,
    /// The package or driver that brings it.
    pub package: String,
}

const BUILTIN: [(&str, &str); 1] = [("software", include_str!("../../pipelines/platforms/software.toml"))];

/// The names of the platforms that are compiled in.
pub fn builtin_platforms() -> impl Iterator<Item = &'static str> {
    BUILTIN.iter().map(|(name, _)| *name)
}

impl Platform {
    /// The compiled-in platform of that name.
    ///
    /// # Errors
    /// [`Error::Config`] with the names that exist.
    pub fn builtin(name: &str) -> Result<Self, Error> {
        let text = BUILTIN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
        let text = text.ok_or_else(|| Error::Config {
            what: format!("platform `{name}`"),
            reason: format!(
                "there is no such platform; known are {}, or give a path to a .toml file",
                builtin_platforms().collect::<Vec<_>>().join(", ")
            ),
        })?;
        Self::parse(&format!("platform {name}"), text)
    }

    /// A platform from the text of a file; `what` names it in errors.
    ///
    /// # Errors
    /// [`Error::Config`] with line, key and what is allowed.
    pub fn parse(what: &str, text: &str) -> Result<Self, Error> {
        toml::from_str(text).map_err(|error| Error::Config {
            what: what.to_owned(),
            reason: error.to_string().trim().to_owned(),
        })
    }
}
