//! Platforms: files that say how a kind of machine decodes, scales and encodes.
//!
//! Owns `pipelines/platforms/*.toml`: their shape ([`schema`]), what a shape cannot say (checked where
//! a file is read), and the choice of a decoder for a stream ([`choice`]). Knows element and property
//! names only as data that passes through; `graph` is the one room that uses them. Pure: whether an
//! element is installed is not asked here. Unknown keys, units and terms are errors with their line.

mod check;
pub mod choice;
mod file;
pub mod schema;
mod words;

pub use choice::{Choice, CodedVideo, PassedOver};
pub use schema::{
    AudioDecoder, AudioEncoder, ChunkCost, Encoder, EncoderFamily, Limits, MappedProperty, Memory, Pictures,
    Platform, RateControls, Step, Unit, UnitProperty, Value, VideoDecoder,
};
pub use words::OneOrMany;

use crate::error::Error;
use serde::{Deserialize, Serialize};

const BUILTIN: [(&str, &str); 8] = [
    ("software", include_str!("../../../pipelines/platforms/software.toml")),
    ("jetson", include_str!("../../../pipelines/platforms/jetson.toml")),
    ("jetson-nvenc", include_str!("../../../pipelines/platforms/jetson-nvenc.toml")),
    ("nvidia", include_str!("../../../pipelines/platforms/nvidia.toml")),
    ("nvidia-decode", include_str!("../../../pipelines/platforms/nvidia-decode.toml")),
    ("va", include_str!("../../../pipelines/platforms/va.toml")),
    ("qsv", include_str!("../../../pipelines/platforms/qsv.toml")),
    ("videotoolbox", include_str!("../../../pipelines/platforms/videotoolbox.toml")),
];

/// The names of the platforms that are compiled in.
pub fn builtin_platforms() -> impl Iterator<Item = &'static str> {
    BUILTIN.iter().map(|(name, _)| *name)
}

/// An element that a platform names and that is not installed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Missing {
    /// The element.
    pub element: String,
    /// The package or driver that brings it.
    pub package: String,
    /// What it is for: `decode h264`, `encode h264`, `open mp4`.
    pub purpose: String,
    /// The platform cannot do without. Otherwise some sources need it, or another takes its place.
    pub required: bool,
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
        let config = |reason: String| Error::Config { what: what.to_owned(), reason };
        let file: file::PlatformFile =
            toml::from_str(text).map_err(|error| config(error.to_string().trim().to_owned()))?;
        let platform = file.complete().map_err(config)?;
        check::check(&platform, text).map_err(config)?;
        Ok(platform)
    }

    /// What brings an element, as the platform's `[packages]` table says it; a key that ends in `*`
    /// stands for every element that begins so.
    pub fn package_of(&self, element: &str) -> Option<&str> {
        let fits = |key: &str| {
            key == element || key.strip_suffix('*').is_some_and(|begin| element.starts_with(begin))
        };
        let exact = self.packages.get(element);
        exact
            .or_else(|| self.packages.iter().find(|(key, _)| fits(key)).map(|(_, what)| what))
            .map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_fits_the_schema_and_says_its_own_name() {
        for name in builtin_platforms() {
            let platform = Platform::builtin(name).unwrap_or_else(|error| panic!("{}", error.chain()));
            assert_eq!(platform.name, name);
            assert_eq!(platform.tried, name == "software", "{name}");
            assert_eq!(
                platform.encode.check_pictures,
                platform.encode.family != EncoderFamily::X264,
                "{name}"
            );
            for codec in ["h264", "hevc", "vp9", "av1", "mpeg2", "prores"] {
                let last = platform.decode[codec].last().expect("a decoder");
                let software = Platform::builtin("software").expect("software");
                assert_eq!(Some(last), software.decode[codec].last(), "{name}: the CPU is the last resort");
            }
        }
    }

    #[test]
    fn packages_are_named_by_element_or_by_its_beginning() {
        let platform = Platform::builtin("nvidia").expect("built in");
        assert!(platform.package_of("nvh264enc").is_some_and(|text| text.contains("libnvidia-encode")));
        assert!(platform.package_of("cudascale").is_some_and(|text| text.contains("libnvrtc")));
        assert_eq!(platform.package_of("x264enc"), None);
    }

    #[test]
    fn a_file_of_ones_own_takes_over_what_it_does_not_say() {
        let text = include_str!("../../../pipelines/platforms/va.toml");
        let own = text.replace("name = \"va\"", "name = \"mine\"");
        let own = Platform::parse("mine.toml", &own).expect("fits");
        assert_eq!((own.name.as_str(), own.demux["mp4"].as_str()), ("mine", "qtdemux"));
        let error = Platform::parse("mine.toml", &text.replace("base = \"software\"\n", ""));
        let error = error.expect_err("nothing says how containers are opened").to_string();
        assert!(error.contains("mine.toml") && error.contains("base = \"software\""), "{error}");
        let error = Platform::parse("mine.toml", &text.replace("base = \"software\"", "base = \"none\""));
        assert!(error.expect_err("no such base").to_string().contains("known are software"));
    }
}
