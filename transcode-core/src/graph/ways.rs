//! What of a platform is installed here: the way that pictures take, and what is missing.

use super::init::{is_installed, package_of};
use crate::error::Error;
use crate::platform::{Missing, Pictures, Platform};

/// What every graph needs beside what a platform names.
const ALWAYS: [&str; 12] = [
    "queue",
    "tee",
    "capsfilter",
    "h264parse",
    "hlssink2",
    "splitmuxsink",
    "mpegtsmux",
    "audioconvert",
    "audioresample",
    "videoconvert",
    "appsink",
    "jpegenc",
];

/// The way that pictures take: the first whose elements are all installed. Where it is not the first
/// of all, the reason why, for people.
pub(super) fn choose(platform: &Platform) -> (Option<&Pictures>, Option<String>) {
    let complete = |way: &&Pictures| lacking(way).next().is_none();
    let Some(way) = platform.pictures.iter().find(complete) else { return (platform.pictures.first(), None) };
    let first = platform.pictures.first();
    let lacks: Vec<&str> = first.into_iter().flat_map(lacking).collect();
    let why = way.instead.as_ref().filter(|_| !lacks.is_empty());
    (Some(way), why.map(|why| format!("{} not installed: {why}", lacks.join(", "))))
}

/// A way's elements that are not installed.
fn lacking(way: &Pictures) -> impl Iterator<Item = &str> {
    let elements = way.steps().map(|(_, step)| step.element.as_str());
    elements.filter(|element| *element != Pictures::BUILT_IN && !is_installed(element))
}

/// What a platform cannot do without and is not installed here. Empty: it can be tried.
///
/// # Errors
/// [`Error::Platform`] where GStreamer does not start.
///
/// ```
/// use transcode_core::{Platform, missing};
///
/// # fn main() -> Result<(), transcode_core::Error> {
/// for element in missing(&Platform::builtin("software")?)? {
///     println!("{} ({}): install {}", element.element, element.purpose, element.package);
/// }
/// # Ok(())
/// # }
/// ```
pub fn missing(platform: &Platform) -> Result<Vec<Missing>, Error> {
    let mut all = not_installed(platform)?;
    all.retain(|missing| missing.required);
    Ok(all)
}

/// Every element that a platform names and that is not installed here, those first that it cannot do
/// without.
///
/// # Errors
/// [`Error::Platform`] where GStreamer does not start.
pub fn not_installed(platform: &Platform) -> Result<Vec<Missing>, Error> {
    super::init()?;
    let mut found: Vec<Missing> = Vec::new();
    let mut need = |element: &str, purpose: String, required: bool| {
        if element == Pictures::BUILT_IN || is_installed(element) {
            return;
        }
        match found.iter_mut().find(|other| other.element == element) {
            Some(other) => other.required |= required,
            None => found.push(Missing {
                element: element.to_owned(),
                purpose,
                package: package_of(platform, element),
                required,
            }),
        }
    };
    need(&platform.encode.element, "encode h264".to_owned(), true);
    need(&platform.encode_audio.element, "encode aac".to_owned(), true);
    ALWAYS.iter().for_each(|element| need(element, "every graph".to_owned(), true));
    let some_way = platform.pictures.iter().any(|way| lacking(way).next().is_none());
    for (at, way) in platform.pictures.iter().enumerate() {
        for (name, step) in way.steps() {
            need(&step.element, format!("{name} pictures"), !some_way && at == 0);
        }
    }
    for (codec, decoders) in &platform.decode {
        let any = decoders.iter().any(|decoder| decoder.element.as_deref().is_none_or(is_installed));
        for (at, decoder) in decoders.iter().enumerate() {
            // The platform's own decoder of the codec that nearly every source has.
            let required = codec == "h264" && at == 0 && !decoder.optional || !any && codec == "h264";
            for element in decoder.parse.iter().chain(&decoder.element) {
                need(element, format!("decode {codec}"), required);
            }
        }
    }
    for (codec, decoder) in &platform.decode_audio {
        for element in decoder.parse.iter().chain(&decoder.element) {
            need(element, format!("decode {codec}"), codec == "aac");
        }
    }
    for (container, element) in &platform.demux {
        need(element, format!("open {container}"), container == "mp4");
    }
    found.sort_by_key(|missing| !missing.required);
    Ok(found)
}
