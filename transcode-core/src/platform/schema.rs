//! The shape of a platform file: our terms on the left, an element's own on the right.
//!
//! Owns the types that a file is read into, units included. Says nothing of what is installed.

use super::words::OneOrMany;
use crate::media::Rotation;
use crate::spec::{Preset, RateMode, Tune};
use crate::units::MediaTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Properties as an element spells them.
pub type Properties = BTreeMap<String, Value>;

/// One platform: its file, and what that takes over from another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Platform {
    /// The platform's name: `software`.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// It has been seen to run on the hardware it is for. Otherwise it is written from the vendor's
    /// sources and documents, and runs on stand-ins alone.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub tried: bool,
    /// Element → the package or driver that brings it; `avdec_*` stands for all that begin so.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub packages: BTreeMap<String, String>,
    /// By video codec name: the decoders that may be used, best first.
    pub decode: BTreeMap<String, Vec<VideoDecoder>>,
    /// By audio codec name: how it is parsed and decoded.
    pub decode_audio: BTreeMap<String, AudioDecoder>,
    /// By container name: the demuxer.
    pub demux: BTreeMap<String, String>,
    /// Where pictures live from the decoder to the encoders, and what works on them there. The first
    /// whose elements are all installed is used.
    pub pictures: Vec<Pictures>,
    /// The H.264 encoder.
    pub encode: Encoder,
    /// The AAC encoder.
    pub encode_audio: AudioEncoder,
    /// What dividing the work costs here.
    pub chunk: ChunkCost,
}

const fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_true(value: &bool) -> bool {
    *value
}

#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// What a chunk costs beside the encoding of its pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ChunkCost {
    /// From the start of its process to the first picture in the encoders, the pictures that are
    /// decoded to get there included; wall time.
    pub start: MediaTime,
}

/// Where raw pictures lie.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Memory {
    /// Main memory, where the CPU works on them: `system`.
    #[default]
    System,
    /// A device's own, by its caps feature: `memory:CUDAMemory`.
    Device(String),
}

impl Memory {
    /// Main memory.
    pub fn is_system(&self) -> bool {
        *self == Self::System
    }
}

impl TryFrom<String> for Memory {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "system" => Ok(Self::System),
            feature if feature.len() > "memory:".len() && feature.starts_with("memory:") => {
                Ok(Self::Device(text))
            }
            _ => {
                Err(format!("memory `{text}`: it is `system` or a caps feature such as `memory:CUDAMemory`"))
            }
        }
    }
}

impl From<Memory> for String {
    fn from(memory: Memory) -> Self {
        memory.to_string()
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "system",
            Self::Device(feature) => feature,
        })
    }
}

/// One way to decode a video codec.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct VideoDecoder {
    /// The parser before the decoder; absent where the demuxer's output is fit for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parse: Option<String>,
    /// The decoder; absent for raw media.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub element: Option<String>,
    /// The element may be missing: it came with a later version, and the next decoder is used then.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
    /// Where its pictures lie.
    #[serde(default, skip_serializing_if = "Memory::is_system")]
    pub memory: Memory,
    /// Properties that are always set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: Properties,
    /// Properties that are set where this version of the element has them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub optional_properties: Properties,
    /// What it decodes; everything of its codec where nothing is said.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
}

/// What a decoder decodes. What is absent is unlimited.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// Pixels of a row, at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_width: Option<u32>,
    /// Rows, at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_height: Option<u32>,
    /// Pixels of a row, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_width: Option<u32>,
    /// Rows, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_height: Option<u32>,
    /// Chroma subsampling: `4:2:0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chroma: Option<OneOrMany<String>>,
    /// Bits a sample, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bit_depth: Option<u8>,
    /// Whole pictures only, no fields.
    #[serde(default, skip_serializing_if = "is_false")]
    pub progressive: bool,
}

impl Limits {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// How one audio codec is parsed and decoded.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AudioDecoder {
    /// The parser before the decoder; absent where the demuxer's output is fit for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parse: Option<String>,
    /// The decoder; absent for raw media.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub element: Option<String>,
    /// Properties, as the element spells them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: Properties,
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

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

/// Where pictures live from the decoder to the encoders, and what works on them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pictures {
    /// Where they lie.
    pub memory: Memory,
    /// Their format: `I420`, `NV12`; 8 bits and 4:2:0.
    pub format: String,
    /// Why this way is taken where an earlier one cannot be; absent in the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead: Option<String>,
    /// From what the decoder gives to `format`: depth, chroma, colours.
    pub convert: Step,
    /// From size to size; the element `built-in` is our own scaler (I420 in system memory).
    pub scale: Step,
    /// Turns pictures; `direction` has a word for every rotation.
    pub flip: Step,
    /// Weaves two fields into a picture, one picture for two fields.
    pub deinterlace: Step,
    /// From system memory to `memory`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<Step>,
    /// From a device's memory to system memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download: Option<Step>,
}

impl Pictures {
    /// The name of our own scaler in a file.
    pub const BUILT_IN: &str = "built-in";

    /// Every step, with what it is for.
    pub fn steps(&self) -> impl Iterator<Item = (&'static str, &Step)> {
        let always = [
            ("convert", &self.convert),
            ("scale", &self.scale),
            ("flip", &self.flip),
            ("deinterlace", &self.deinterlace),
        ];
        let moves = [("upload", self.upload.as_ref()), ("download", self.download.as_ref())];
        always.into_iter().chain(moves.into_iter().filter_map(|(name, step)| step.map(|step| (name, step))))
    }
}

/// One element that works on raw pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Step {
    /// The element.
    pub element: String,
    /// Where it works; absent = where pictures live. What is elsewhere is moved there and back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// It takes pictures from any memory that this platform uses, in any of its formats, and gives
    /// them to any: nothing else is needed to move them.
    #[serde(default, skip_serializing_if = "is_false")]
    pub transfers: bool,
    /// Properties that are always set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: Properties,
    /// Properties that are set where this version of the element has them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub optional_properties: Properties,
    /// Of `flip` alone: the property that takes the direction, and its word for each rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<MappedProperty<Rotation>>,
}

/// How an H.264 encoder is driven: our terms on the left, its properties on the right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Encoder {
    /// The element.
    pub element: String,
    /// Whose habits it has: picks the adapter in `graph` and the profile's `tuning`.
    pub family: EncoderFamily,
    /// Raw formats that it takes: `I420`, `NV12`.
    pub format: OneOrMany<String>,
    /// Where its pictures may lie; absent = system.
    #[serde(default = "system", skip_serializing_if = "is_system")]
    pub memory: OneOrMany<Memory>,
    /// What it makes is not believed: the first picture of every segment is decoded and compared
    /// with what went in.
    #[serde(default, skip_serializing_if = "is_false")]
    pub check_pictures: bool,
    /// Encoders that may run at once on the device; absent = no limit is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u32>,
    /// Properties that are always set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: Properties,
    /// Properties that are set where this version of the element has them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub optional_properties: Properties,
    /// The property that takes the bit rate, and its unit.
    pub bitrate: UnitProperty,
    /// The property that takes the highest bit rate over the VBV buffer, and its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bitrate: Option<UnitProperty>,
    /// The properties that take the distance of key frames, in pictures: every one of them is set.
    pub key_interval: OneOrMany<String>,
    /// The property that takes the rate control, and this encoder's word for each mode.
    pub rate_control: RateControls,
    /// The property that takes a preset, and this encoder's word for each of ours.
    pub preset: MappedProperty<Preset>,
    /// The property that takes a tune, and this encoder's word for each of ours; an empty word: it
    /// has nothing of the kind, and the tune is left out.
    pub tune: MappedProperty<Tune>,
    /// The property that takes the number of threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<String>,
    /// The property that takes the VBV buffer, and its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vbv: Option<UnitProperty>,
    /// The property that takes the number of B-frames in a row: 0 is set, where this version has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub b_frames: Option<String>,
    /// The property that takes the profile; absent: it is asked for in the caps behind the encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<MappedProperty<String>>,
    /// The property that has SPS and PPS written with every IDR picture, set where this version has it;
    /// otherwise the parser behind the encoder repeats them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat_headers: Option<String>,
}

fn system() -> OneOrMany<Memory> {
    OneOrMany::one(Memory::System)
}

fn is_system(memory: &OneOrMany<Memory>) -> bool {
    *memory == system()
}

/// Encoder families with an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EncoderFamily {
    /// x264.
    X264,
    /// NVIDIA's encoder on Jetson boards, behind V4L2.
    Nvv4l2,
    /// NVIDIA's encoder on graphics cards.
    Nvenc,
    /// Intel's and AMD's encoders behind VA-API.
    Va,
    /// Intel's Quick Sync Video.
    Qsv,
    /// Apple's VideoToolbox.
    Videotoolbox,
}

impl EncoderFamily {
    /// The key in a profile's `tuning`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X264 => "x264",
            Self::Nvv4l2 => "nvv4l2",
            Self::Nvenc => "nvenc",
            Self::Va => "va",
            Self::Qsv => "qsv",
            Self::Videotoolbox => "videotoolbox",
        }
    }
}

/// How the rate is controlled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RateControls {
    /// The property that takes the mode, or its names in several versions; absent where the encoder has
    /// one mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property: Option<OneOrMany<String>>,
    /// It is left out where this version of the element has no such property.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
    /// Our mode → its word, or words in the order of preference: the first that this version knows.
    /// A mode that is not there cannot be had here.
    pub values: BTreeMap<RateMode, OneOrMany<String>>,
    /// The property that takes the quality of `capped-crf`, as a quantiser of H.264 (0–51).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<String>,
}

/// A property and the unit it is spelt in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UnitProperty {
    /// The property's name.
    pub property: String,
    /// The unit it is spelt in.
    pub unit: Unit,
    /// It is left out where this version of the element has no such property.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
}

/// Units that properties are spelt in. A buffer is a time at the bit rate, or the bits of that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Unit {
    #[serde(rename = "bit/s")]
    BitsPerSecond,
    #[serde(rename = "kbit/s")]
    KbitsPerSecond,
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "bit")]
    Bits,
    #[serde(rename = "kbit")]
    Kbits,
}

impl Unit {
    /// It measures a rate, not a buffer.
    pub const fn is_rate(self) -> bool {
        matches!(self, Self::BitsPerSecond | Self::KbitsPerSecond)
    }
}

/// A property, and its word for each of our terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MappedProperty<Term: Ord> {
    /// The property's name, or its names in several versions; absent where the element has none of the
    /// kind, and words are empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property: Option<OneOrMany<String>>,
    /// It is left out where this version of the element has no such property.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
    /// Our term → its word, or words in the order of preference: the first that this version knows.
    /// A term that is not there cannot be had here.
    pub values: BTreeMap<Term, OneOrMany<String>>,
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
    pub properties: Properties,
    /// Samples by which its output is late without saying so.
    pub delay: u32,
}
