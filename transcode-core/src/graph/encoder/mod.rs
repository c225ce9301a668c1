//! From a rung's settings to an encoder's properties.
//!
//! The platform file says which property takes what, in which unit; one adapter a family knows the
//! habits that no table can say. Properties are checked against the element before they are set, so
//! that a wrong one is an error that names it and no abort.

mod joints;
mod nvenc;
mod nvv4l2;
mod va;
mod x264;

pub(super) use joints::Joints;

use super::init::make;
use crate::error::Error;
use crate::plan::{AudioRung, VideoRung};
use crate::platform::{EncoderFamily, MappedProperty, OneOrMany, Platform, Unit, UnitProperty, Value};
use crate::spec::{RateControl, Tune};
use crate::units::{Bitrate, MediaTime};
use gstreamer as gst;
use gstreamer::prelude::*;
use std::collections::BTreeMap;

fn wrong(platform: &Platform, reason: String) -> Error {
    Error::Platform { platform: platform.name.clone(), reason }
}

fn factory(element: &gst::Element) -> String {
    element.factory().map(|factory| factory.name().to_string()).unwrap_or_default()
}

/// Set one property from text, checked against the element first.
pub(super) fn set(platform: &Platform, element: &gst::Element, name: &str, value: &str) -> Result<(), Error> {
    let spec = element
        .find_property(name)
        .ok_or_else(|| wrong(platform, format!("element `{}` has no property `{name}`", factory(element))))?;
    let given = gst::glib::Value::deserialize(value, spec.value_type());
    // The range of a property is no part of its type, and setting a value outside aborts.
    let given = given.ok().filter(|given| in_range(&spec, given));
    let given = given.ok_or_else(|| {
        wrong(platform, format!("element `{}`: property `{name}` cannot be `{value}`", factory(element)))
    })?;
    if !spec.flags().contains(gst::glib::ParamFlags::WRITABLE) {
        return Err(wrong(
            platform,
            format!("element `{}`: property `{name}` cannot be set", factory(element)),
        ));
    }
    element.set_property_from_value(name, &given);
    Ok(())
}

/// Whether a number is one that the property takes.
fn in_range(spec: &gst::glib::ParamSpec, value: &gst::glib::Value) -> bool {
    macro_rules! within {
        ($($kind:ty: $number:ty),*) => {
            $(if let (Some(spec), Ok(value)) = (spec.downcast_ref::<$kind>(), value.get::<$number>()) {
                return (spec.minimum()..=spec.maximum()).contains(&value);
            })*
        };
    }
    use gst::glib;
    within!(
        glib::ParamSpecInt: i32,
        glib::ParamSpecUInt: u32,
        glib::ParamSpecInt64: i64,
        glib::ParamSpecUInt64: u64,
        glib::ParamSpecFloat: f32,
        glib::ParamSpecDouble: f64
    );
    true
}

/// Set the fixed properties of a platform file.
pub(super) fn set_all(
    platform: &Platform,
    element: &gst::Element,
    properties: &BTreeMap<String, Value>,
) -> Result<(), Error> {
    properties.iter().try_for_each(|(name, value)| set(platform, element, name, &value.to_string()))
}

/// Set those that this version of the element has.
pub(super) fn set_known(
    platform: &Platform,
    element: &gst::Element,
    properties: &BTreeMap<String, Value>,
) -> Result<(), Error> {
    let known = properties.iter().filter(|(name, _)| element.find_property(name).is_some());
    known.into_iter().try_for_each(|(name, value)| set(platform, element, name, &value.to_string()))
}

/// Set a property to the first of some words that this version of the element knows. An empty word
/// leaves it alone.
pub(super) fn set_first(
    platform: &Platform,
    element: &gst::Element,
    name: &str,
    words: &OneOrMany<String>,
) -> Result<(), Error> {
    let mut last = Ok(());
    for word in words {
        if word.is_empty() {
            return Ok(());
        }
        last = set(platform, element, name, word);
        if last.is_ok() {
            break;
        }
    }
    last
}

/// Set a property to this element's word for one of our terms.
fn set_mapped<Term: Ord + std::fmt::Debug>(
    platform: &Platform,
    element: &gst::Element,
    mapped: &MappedProperty<Term>,
    term: &Term,
) -> Result<(), Error> {
    let words = mapped
        .values
        .get(term)
        .ok_or_else(|| wrong(platform, format!("{term:?} has no counterpart in `{}`", factory(element))))?;
    set_known_as(platform, element, mapped.property.as_ref(), mapped.optional, words)
}

/// Set a property that has several names in several versions.
pub(super) fn set_known_as(
    platform: &Platform,
    element: &gst::Element,
    names: Option<&OneOrMany<String>>,
    optional: bool,
    words: &OneOrMany<String>,
) -> Result<(), Error> {
    let Some(names) = names else { return Ok(()) };
    if words.iter().all(String::is_empty) {
        return Ok(());
    }
    let known = names.iter().find(|name| element.find_property(name).is_some());
    match known.or_else(|| names.first().filter(|_| !optional)) {
        Some(name) => set_first(platform, element, name, words),
        None => Ok(()),
    }
}

/// Set a property in its unit.
fn set_in_unit(
    platform: &Platform,
    element: &gst::Element,
    property: &UnitProperty,
    value: u64,
) -> Result<(), Error> {
    if property.optional && element.find_property(&property.property).is_none() {
        return Ok(());
    }
    set(platform, element, &property.property, &value.to_string())
}

/// A rate in a property's unit.
fn rate_in(unit: Unit, rate: Bitrate) -> u64 {
    match unit {
        Unit::KbitsPerSecond | Unit::Kbits => rate.kbits_per_second(),
        Unit::BitsPerSecond | Unit::Bits | Unit::Milliseconds => rate.bits_per_second(),
    }
}

/// A buffer of so much time at a rate, in a property's unit.
fn buffer_in(unit: Unit, rate: Bitrate, time: MediaTime) -> u64 {
    let bits = || {
        let rate = u32::try_from(rate.bits_per_second()).unwrap_or(u32::MAX);
        u64::try_from(time.ticks(rate)).unwrap_or(0)
    };
    match unit {
        Unit::Milliseconds => u64::try_from(time.nanos() / 1_000_000).unwrap_or(0),
        Unit::Kbits | Unit::KbitsPerSecond => bits() / 1_000,
        Unit::Bits | Unit::BitsPerSecond => bits(),
    }
}

/// The H.264 encoder of a rung, ready to link: raw pictures in, H.264 out.
pub(super) fn video(platform: &Platform, rung: &VideoRung, joints: Joints) -> Result<gst::Element, Error> {
    let spelling = &platform.encode;
    let encoder = make(platform, &spelling.element)?;
    set_all(platform, &encoder, &spelling.properties)?;
    set_known(platform, &encoder, &spelling.optional_properties)?;
    set_mapped(platform, &encoder, &spelling.preset, &rung.preset)?;
    set_in_unit(platform, &encoder, &spelling.bitrate, rate_in(spelling.bitrate.unit, rung.bitrate))?;
    for property in &spelling.key_interval {
        set(platform, &encoder, property, &rung.gop.to_string())?;
    }
    if let Some(property) = &spelling.threads {
        set(platform, &encoder, property, &rung.threads.to_string())?;
    }
    for (property, value) in [(&spelling.b_frames, "0"), (&spelling.repeat_headers, "true")] {
        if let Some(property) = property.as_ref().filter(|name| encoder.find_property(name).is_some()) {
            set(platform, &encoder, property, value)?;
        }
    }
    if let Some(profile) = &spelling.profile {
        set_mapped(platform, &encoder, profile, &rung.profile)?;
    }
    rate_control(platform, &encoder, rung)?;
    if spelling.family == EncoderFamily::X264 {
        x264::adapt(platform, &encoder, rung, joints)?;
    } else {
        tune(platform, &encoder, rung)?;
        buffers(platform, &encoder, rung)?;
        odd_habits(platform, &encoder, rung)?;
        tuning(platform, &encoder, rung)?;
    }
    Ok(encoder)
}

/// What no table can say of a hardware encoder.
fn odd_habits(platform: &Platform, encoder: &gst::Element, rung: &VideoRung) -> Result<(), Error> {
    match platform.encode.family {
        EncoderFamily::Nvv4l2 => nvv4l2::adapt(platform, encoder, rung),
        EncoderFamily::Nvenc => nvenc::adapt(platform, encoder, rung),
        EncoderFamily::Va => va::adapt(platform, encoder, rung),
        // Quick Sync's GOPs are closed where there are no B-frames; VideoToolbox is asked for profile and
        // level in the caps.
        EncoderFamily::X264 | EncoderFamily::Qsv | EncoderFamily::Videotoolbox => Ok(()),
    }
}

/// The mode, and the quality of capped CRF.
fn rate_control(platform: &Platform, encoder: &gst::Element, rung: &VideoRung) -> Result<(), Error> {
    let controls = &platform.encode.rate_control;
    let mode = rung.rate_control.mode();
    let words = controls.values.get(&mode).ok_or_else(|| {
        wrong(platform, format!("rate control {mode:?} has no counterpart in `{}`", factory(encoder)))
    })?;
    set_known_as(platform, encoder, controls.property.as_ref(), controls.optional, words)?;
    if let (RateControl::CappedCrf { crf }, Some(quality)) = (rung.rate_control, &controls.quality) {
        set(platform, encoder, quality, &crf.to_string())?;
    }
    Ok(())
}

/// The tune, where the encoder has a word for it.
fn tune(platform: &Platform, encoder: &gst::Element, rung: &VideoRung) -> Result<(), Error> {
    if rung.tune == Tune::None {
        return Ok(());
    }
    set_mapped(platform, encoder, &platform.encode.tune, &rung.tune)
}

/// The VBV buffer and the highest rate, as hardware encoders want them: what ABR lacks is left at the
/// encoder's own.
fn buffers(platform: &Platform, encoder: &gst::Element, rung: &VideoRung) -> Result<(), Error> {
    let spelling = &platform.encode;
    if rung.rate_control == RateControl::Abr {
        return Ok(());
    }
    if let Some(property) = &spelling.max_bitrate {
        set_in_unit(platform, encoder, property, rate_in(property.unit, rung.bitrate))?;
    }
    if let Some(property) = &spelling.vbv {
        set_in_unit(platform, encoder, property, buffer_in(property.unit, rung.bitrate, rung.vbv))?;
    }
    Ok(())
}

/// The profile's `tuning` for a family without an option string: `name=value` pairs with `:` between
/// them, each a property of the element.
fn tuning(platform: &Platform, encoder: &gst::Element, rung: &VideoRung) -> Result<(), Error> {
    let Some(text) = rung.tuning.get(platform.encode.family.name()) else { return Ok(()) };
    for pair in text.split(':').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| wrong(platform, format!("tuning `{pair}`: it is written name=value")))?;
        set(platform, encoder, name, value)?;
    }
    Ok(())
}

/// The AAC encoder of one distinct audio rung.
pub(super) fn audio(platform: &Platform, rung: &AudioRung) -> Result<gst::Element, Error> {
    let spelling = &platform.encode_audio;
    let encoder = make(platform, &spelling.element)?;
    set_all(platform, &encoder, &spelling.properties)?;
    set_in_unit(platform, &encoder, &spelling.bitrate, rate_in(spelling.bitrate.unit, rung.bitrate))?;
    Ok(encoder)
}

/// The caps behind an H.264 encoder: the profile is asked for here, where no property takes it.
pub(super) fn output_caps(platform: &Platform, rung: &VideoRung) -> gst::Caps {
    let caps = gst::Caps::builder("video/x-h264").field("alignment", "au");
    let caps = match platform.encode.family {
        // It writes AVC headers alone; the parser behind makes a byte stream of them.
        EncoderFamily::Videotoolbox => caps,
        _ => caps.field("stream-format", "byte-stream"),
    };
    match platform.encode.profile {
        Some(_) => caps.build(),
        None => caps.field("profile", rung.profile.as_str()).build(),
    }
}
