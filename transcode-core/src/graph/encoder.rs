//! One adapter per encoder family: from a rung's settings to an element's properties.
//!
//! The platform file says which property takes what, in which unit; this file knows the habits
//! that no table can say, one function a family.

use super::init::make;
use crate::error::Error;
use crate::plan::{AudioRung, VideoRung};
use crate::platform::{EncoderFamily, Platform, Unit, UnitProperty, Value};
use crate::spec::{RateControl, Tune};
use crate::units::{Bitrate, MediaTime};
use gstreamer as gst;
use gstreamer::prelude::*;
use std::collections::BTreeMap;

/// Set one property from text, checked against the element first.
pub(super) fn set(platform: &Platform, element: &gst::Element, name: &str, value: &str) -> Result<(), Error> {
    let factory = element.factory().map(|factory| factory.name().to_string()).unwrap_or_default();
    let error = |reason: String| Error::Platform { platform: platform.name.clone(), reason };
    let spec = element
        .find_property(name)
        .ok_or_else(|| error(format!("element `{factory}` has no property `{name}`")))?;
    let value = gst::glib::Value::deserialize(value, spec.value_type())
        .map_err(|_| error(format!("element `{factory}`: property `{name}` cannot be `{value}`")))?;
    element.set_property_from_value(name, &value);
    Ok(())
}

/// Set the fixed properties of a platform file.
pub(super) fn set_all(
    platform: &Platform,
    element: &gst::Element,
    properties: &BTreeMap<String, Value>,
) -> Result<(), Error> {
    for (name, value) in properties {
        let text = match value {
            Value::Bool(value) => value.to_string(),
            Value::Integer(value) => value.to_string(),
            Value::Text(value) => value.clone(),
        };
        set(platform, element, name, &text)?;
    }
    Ok(())
}

fn in_unit(rate: Bitrate, property: &UnitProperty) -> String {
    match property.unit {
        Unit::KbitsPerSecond => rate.kbits_per_second().to_string(),
        Unit::BitsPerSecond | Unit::Milliseconds => rate.bits_per_second().to_string(),
    }
}

/// What stands beside an encoder's pictures, on the timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Joints {
    /// Another encoder's pictures stand before its own, and have left the buffer as it is.
    pub(super) before: bool,
    /// Another's will stand behind: how long its own last.
    pub(super) after: Option<MediaTime>,
}

/// What of its buffer (VBV) an encoder leaves to the next one, and takes for granted where one has been
/// before: two fifths. x264's own 0.9 is more than another encoder leaves behind.
const LEFT: (i64, i64) = (2, 5);

/// The buffer of an encoder, in the encoder's terms: bits a second, its size in ms of those, and the
/// kbit that are in it before the first picture (absent: x264's own 0.9).
///
/// Who is followed by another keeps to a buffer smaller by what it has to leave, at a rate lower by as much as
/// fills that over its length. Then the real buffer holds at least as much more than the encoder
/// believes in the end: either it was filled to the brim and had the larger size, or it gained at the
/// higher rate all the way.
fn vbv(rung: &VideoRung, joints: Joints) -> (Bitrate, i64, Option<i64>) {
    let size = rung.vbv.ticks(1_000).max(1);
    let rate = i64::try_from(rung.bitrate.bits_per_second()).unwrap_or(i64::MAX);
    let left = size * LEFT.0 / LEFT.1;
    let filled = joints.before.then(|| (left.saturating_mul(rate) / 1_000_000).max(2));
    let Some(length) = joints.after.map(|length| length.ticks(1_000)) else {
        return (rung.bitrate, size.clamp(1, 10_000), filled);
    };
    // Pieces shorter than that are no longer than the buffer.
    let left = left.min(length / 2);
    let lower = i128::from(rate) * i128::from(length - left) / i128::from(length.max(1));
    let lower = u64::try_from(lower).ok().and_then(Bitrate::new).unwrap_or(rung.bitrate);
    let kept = i128::from(size - left) * i128::from(rate) / i128::from(lower.bits_per_second().max(1));
    (lower, i64::try_from(kept).unwrap_or(size).clamp(1, 10_000), filled)
}

/// The H.264 encoder of a rung, ready to link: raw pictures in, H.264 out.
pub(super) fn video(platform: &Platform, rung: &VideoRung, joints: Joints) -> Result<gst::Element, Error> {
    let spelling = &platform.encode;
    let encoder = make(&platform.name, &spelling.element)?;
    set_all(platform, &encoder, &spelling.properties)?;
    let word = spelling.preset.values.get(&rung.preset).ok_or_else(|| Error::Platform {
        platform: platform.name.clone(),
        reason: format!("preset {:?} has no counterpart here", rung.preset),
    })?;
    set(platform, &encoder, &spelling.preset.property, word)?;
    set(platform, &encoder, &spelling.bitrate.property, &in_unit(rung.bitrate, &spelling.bitrate))?;
    set(platform, &encoder, &spelling.key_interval, &rung.gop.to_string())?;
    if let Some(property) = &spelling.threads {
        set(platform, &encoder, property, &rung.threads.to_string())?;
    }
    match spelling.family {
        EncoderFamily::X264 => x264(platform, &encoder, rung, joints)?,
    }
    Ok(encoder)
}

/// x264's habits: everything but the rate goes through one option string, which is applied before
/// the element's own properties; its default is CBR with 600 ms of VBV, so the rate control has to
/// be spelt out; and ABR is CBR with the buffer taken away.
fn x264(platform: &Platform, encoder: &gst::Element, rung: &VideoRung, joints: Joints) -> Result<(), Error> {
    let spelling = &platform.encode;
    // Key frames stand on the plan's grid and nowhere else, and nothing refers across them.
    let mut options = vec!["scenecut=0".to_owned(), "open-gop=0".to_owned()];
    options.push(format!("level={}.{}", rung.level / 10, rung.level % 10));
    match rung.tune {
        Tune::None => {}
        // The element has two properties for x264's two groups of tunes.
        Tune::Film => set(platform, encoder, "psy-tune", "film")?,
        Tune::Animation => set(platform, encoder, "psy-tune", "animation")?,
        Tune::Grain => set(platform, encoder, "psy-tune", "grain")?,
        tune => {
            let word = spelling.tune.values.get(&tune).ok_or_else(|| Error::Platform {
                platform: platform.name.clone(),
                reason: format!("tune {tune:?} has no counterpart here"),
            })?;
            set(platform, encoder, &spelling.tune.property, word)?;
        }
    }
    let (rate, size, filled) = vbv(rung, joints);
    match rung.rate_control {
        RateControl::Abr => set(platform, encoder, &spelling.vbv.property, "0")?,
        // `pass=qual` is constant rate factor, with `bitrate` as its ceiling.
        RateControl::CappedCrf { crf } => {
            set(platform, encoder, "pass", "qual")?;
            set(platform, encoder, "quantizer", &crf.to_string())?;
        }
        RateControl::Cbr => {}
    }
    if rung.rate_control != RateControl::Abr {
        set(platform, encoder, &spelling.bitrate.property, &in_unit(rate, &spelling.bitrate))?;
        set(platform, encoder, &spelling.vbv.property, &size.to_string())?;
        options.extend(filled.map(|kbits| format!("vbv-init={kbits}")));
    }
    if let Some(tuning) = rung.tuning.get(spelling.family.name()) {
        options.push(tuning.clone());
    }
    set(platform, encoder, "option-string", &options.join(":"))
}

/// The AAC encoder of one distinct audio rung.
pub(super) fn audio(platform: &Platform, rung: &AudioRung) -> Result<gst::Element, Error> {
    let spelling = &platform.encode_audio;
    let encoder = make(&platform.name, &spelling.element)?;
    set_all(platform, &encoder, &spelling.properties)?;
    set(platform, &encoder, &spelling.bitrate.property, &in_unit(rung.bitrate, &spelling.bitrate))?;
    Ok(encoder)
}

/// The caps behind an H.264 encoder: the profile is asked for here, the level in its options.
pub(super) fn output_caps(rung: &VideoRung) -> gst::Caps {
    gst::Caps::builder("video/x-h264")
        .field("stream-format", "byte-stream")
        .field("alignment", "au")
        .field("profile", rung.profile.as_str())
        .build()
}
