//! What decoded pictures are taken for, where they come into the first converter.
//!
//! A decoder says colours of every picture, told or not: where the stream tells none, GStreamer
//! guesses by the number of lines, and nobody behind can see that it was a guess. The plan has
//! decided what they are from all that the file says, so its word goes.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;

/// Let `convert` take YUV pictures for `colorimetry`; `None` where this GStreamer cannot read it.
///
/// Two things stay as the decoder has them. Red, green and blue have no matrix to choose. And the
/// full range is never a guess: only a decoder that was told so says it (motion JPEG, H.264 with
/// `video_full_range_flag` and no colour description, which its parser passes over).
pub(super) fn take_for(convert: &gst::Element, colorimetry: &str) -> Option<()> {
    let wanted: gst_video::VideoColorimetry = colorimetry.parse().ok()?;
    let pad = convert.static_pad("sink")?;
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        let caps = match &info.data {
            Some(gst::PadProbeData::Event(event)) => match event.view() {
                gst::EventView::Caps(caps) => with(caps.caps(), &wanted),
                _ => None,
            },
            _ => None,
        };
        if let Some(caps) = caps {
            info.data = Some(gst::PadProbeData::Event(gst::event::Caps::new(&caps)));
        }
        gst::PadProbeReturn::Ok
    });
    Some(())
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
    let mut caps = caps.to_owned();
    caps.make_mut().iter_mut().for_each(|structure| structure.set("colorimetry", colorimetry.to_string()));
    Some(caps)
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
