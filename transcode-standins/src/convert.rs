//! Inside the converters: scaling, format conversion and turning in software, under the vendor's caps.
//!
//! Owns: how the vendor's scaling and flip properties are done with GStreamer's own elements.
//! Must not know: faults, decoding, encoding.

use gst::prelude::*;
use gstreamer as gst;

use crate::Error;
use crate::element::{Inside, Settings, chain, make, pad, show};
use crate::relabel::Relabel;
use crate::table::{Entry, Kind};

/// Raw pictures in system memory, of any format.
pub(crate) fn system() -> gst::Caps {
    gst::Caps::new_empty_simple("video/x-raw")
}

/// Relabel, the work, relabel.
pub(crate) fn build(bin: &gst::Bin, entry: &Entry) -> Result<Inside, Error> {
    let (sink, src) = (entry.caps("sink")?, entry.caps("src")?);
    if entry.kind == Kind::Copy {
        let copy: gst::Element = Relabel::new("copy", &sink, &src).upcast();
        bin.add(&copy).map_err(|err| Error::Gst(err.to_string()))?;
        show(bin, "sink", &pad(&copy, "sink")?)?;
        show(bin, "src", &pad(&copy, "src")?)?;
        return Ok(Inside { configure: Box::new(|_| {}), session: false });
    }
    let entering: gst::Element = Relabel::new("entering", &sink, &system()).upcast();
    let leaving: gst::Element = Relabel::new("leaving", &system(), &src).upcast();
    let work = match entry.kind {
        Kind::Convert => make("videoconvert", "work")?,
        Kind::Scale => make("videoscale", "work")?,
        _ => make("videoconvertscale", "work")?,
    };
    let turns = bin.has_property("flip-method") || bin.has_property("video-direction");
    let flip = if turns { Some(make("videoflip", "flip")?) } else { None };
    let mut elements = vec![entering.clone()];
    if let Some(flip) = &flip {
        // videoflip takes fewer formats than the vendors' elements: no P010_10LE.
        elements.extend([make("videoconvert", "for-flip")?, flip.clone()]);
    }
    elements.extend([work.clone(), leaving.clone()]);
    chain(bin, &elements)?;
    show(bin, "sink", &pad(&entering, "sink")?)?;
    show(bin, "src", &pad(&leaving, "src")?)?;
    Ok(Inside {
        configure: Box::new(move |settings| configure(&work, flip.as_ref(), settings)),
        session: false,
    })
}

fn configure(work: &gst::Element, flip: Option<&gst::Element>, settings: &Settings) {
    if work.has_property("method") {
        // nvvidconv names its interpolation (Nearest by default); the others scale bilinear.
        let method = match settings.nick("interpolation-method").as_deref() {
            Some("Nearest") => "nearest-neighbour",
            Some("5-Tap") => "4-tap",
            Some("10-Tap" | "Smart" | "Nicest") => "lanczos",
            _ => "bilinear",
        };
        work.set_property_from_str("method", method);
    }
    if work.has_property("add-borders") {
        // Where the vendor has no such property, the picture fills the frame.
        work.set_property("add-borders", settings.truth("add-borders").unwrap_or(false));
    }
    if let Some(flip) = flip {
        // The names of the directions are the same as videoflip's; nvvidconv's numbers are not.
        if let Some(method) = settings.nick("flip-method") {
            flip.set_property_from_str("method", &method);
        }
        if let Some(direction) = settings.nick("video-direction") {
            flip.set_property_from_str("video-direction", &direction);
        }
    }
}
