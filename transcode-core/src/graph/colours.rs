//! What decoded pictures are taken for, where they come into the first converter.
//!
//! A decoder says colours of every picture, told or not: where the stream tells none, GStreamer
//! guesses by the number of lines, and nobody behind can see that it was a guess. The plan has
//! decided what they are from all that the file says, so its word goes.

use super::range;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;
use std::sync::{Mutex, PoisonError};

/// Let `convert` take YUV pictures for `colorimetry`; `None` where this GStreamer cannot read it.
///
/// Two things stay as the decoder has them. Red, green and blue have no matrix to choose. And the
/// full range is never a guess: only a decoder that was told so says it (motion JPEG, H.264 with
/// `video_full_range_flag` and no colour description, which its parser passes over). Pictures of that range
/// are brought to the limited one here where the converter would forget it: see [`range`].
pub(super) fn take_for(convert: &gst::Element, colorimetry: &str) -> Option<()> {
    let wanted: gst_video::VideoColorimetry = colorimetry.parse().ok()?;
    let pad = convert.static_pad("sink")?;
    // Pictures as they come, while they are of the full range and ours to limit.
    let full = Mutex::new(None::<gst_video::VideoInfo>);
    let both = gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::BUFFER;
    pad.add_probe(both, move |_, info| {
        let mut full = full.lock().unwrap_or_else(PoisonError::into_inner);
        match info.data.take() {
            Some(gst::PadProbeData::Event(event)) => {
                let caps = match event.view() {
                    gst::EventView::Caps(caps) => {
                        let taken = with(caps.caps(), &wanted);
                        *full = range_of(taken.as_deref().unwrap_or(caps.caps()));
                        match full.as_ref() {
                            Some(info) => Some(labelled(caps.caps(), &range::limited(&info.colorimetry()))),
                            None => taken,
                        }
                    }
                    _ => None,
                };
                let event = caps.map_or(event, |caps| gst::event::Caps::new(&caps));
                info.data = Some(gst::PadProbeData::Event(event));
            }
            Some(gst::PadProbeData::Buffer(buffer)) => {
                let limited = match full.as_ref() {
                    Some(info) => range::limit(buffer, info),
                    None => Some(buffer),
                };
                let Some(buffer) = limited else { return gst::PadProbeReturn::Drop };
                info.data = Some(gst::PadProbeData::Buffer(buffer));
            }
            other => info.data = other,
        }
        gst::PadProbeReturn::Ok
    });
    Some(())
}

/// What the pictures are, where they are of the full range and in memory that this room can reach.
fn range_of(caps: &gst::CapsRef) -> Option<gst_video::VideoInfo> {
    let features = caps.features(0)?;
    let reachable = features.is_empty() || features.contains("memory:SystemMemory");
    let info = gst_video::VideoInfo::from_caps(caps).ok().filter(|_| reachable)?;
    range::is_ours(&info).then_some(info)
}

/// The same caps with other colours.
fn labelled(caps: &gst::CapsRef, colours: &gst_video::VideoColorimetry) -> gst::Caps {
    let mut caps = caps.to_owned();
    caps.make_mut().iter_mut().for_each(|structure| structure.set("colorimetry", colours.to_string()));
    caps
}

/// The same caps with the wanted colours; `None` where they stay as they are.
fn with(caps: &gst::CapsRef, wanted: &gst_video::VideoColorimetry) -> Option<gst::Caps> {
    let told = gst_video::VideoInfo::from_caps(caps).ok()?;
    if !told.format_info().is_yuv() {
        return None;
    }
    let full = told.colorimetry().range() == gst_video::VideoColorRange::Range0_255;
    let range = if full { gst_video::VideoColorRange::Range0_255 } else { wanted.range() };
    let colorimetry =
        gst_video::VideoColorimetry::new(range, wanted.matrix(), wanted.transfer(), wanted.primaries());
    if colorimetry == told.colorimetry() || wanted.matrix() == gst_video::VideoColorMatrix::Rgb {
        return None;
    }
    Some(labelled(caps, &colorimetry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    fn taken(caps: &str, wanted: &str) -> Option<String> {
        crate::graph::init().unwrap();
        let caps = gst::Caps::from_str(&format!("video/x-raw, width=320, height=240, {caps}")).unwrap();
        let caps = with(&caps, &wanted.parse().unwrap())?;
        Some(caps.structure(0).unwrap().get::<String>("colorimetry").unwrap())
    }

    #[test]
    fn the_plan_says_the_colours_but_neither_full_range_nor_rgb() {
        let guessed = "format=I420, colorimetry=bt601";
        assert_eq!(taken(guessed, "bt709").as_deref(), Some("bt709"));
        assert_eq!(taken(guessed, "bt601"), None);
        assert_eq!(taken("format=I420, colorimetry=1:4:0:0", "bt709").as_deref(), Some("1:3:5:1"));
        assert_eq!(taken("format=GBR, colorimetry=sRGB", "bt709"), None);
        assert_eq!(taken(guessed, "sRGB"), None);
    }
}
