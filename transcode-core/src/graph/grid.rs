//! Puts decoded sound back where its container has rounded it from.
//!
//! Matroska and FLV stamp in milliseconds: a run that begins in the middle would place its samples up
//! to half of one, 24 samples, off where a run from the start has counted them to be. Where packets all
//! have the same number of samples, the place of each is known from the track's first: this finds out
//! which it is and stamps it so.

use crate::media::Container;
use crate::plan::AudioInput;
use gstreamer as gst;
use gstreamer::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What rounding to milliseconds can do, twice. Further off it is no rounding, and the stamp stands.
const ROUNDED: i64 = 1_000_000;

/// Whether a track's stamps are rounded, and its packets all of one length.
pub(super) fn is_rounded(container: Container, codec: &str) -> bool {
    matches!(container, Container::Matroska | Container::WebM | Container::Flv)
        && matches!(codec, "aac" | "mp3" | "ac3" | "eac3" | "flac")
}

/// Stamp what comes out of `decoder`.
pub(super) fn unround(decoder: &gst::Element, input: &AudioInput) {
    let Some(pad) = decoder.static_pad("src") else { return };
    let (start, before) = (input.start, AtomicUsize::new(0));
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let caps = pad.current_caps();
        let format = caps.and_then(|caps| gstreamer_audio::AudioInfo::from_caps(&caps).ok());
        if let (Some(format), Some(gst::PadProbeData::Buffer(buffer))) = (format, &mut info.data) {
            let length = buffer.size() / usize::try_from(format.bpf()).unwrap_or(1).max(1);
            // The first after a seek is clipped: only what has the length of the one before is whole.
            let whole = before.swap(length, Ordering::Relaxed) == length;
            let told = buffer.pts().and_then(|pts| i64::try_from(pts.nseconds()).ok());
            if let Some(told) = told.filter(|_| whole) {
                let place = place(told, start.nanos(), length, format.rate());
                buffer.make_mut().set_pts(gst::ClockTime::from_nseconds(u64::try_from(place).unwrap_or(0)));
            }
        }
        gst::PadProbeReturn::Ok
    });
}

/// Where the packet of `length` samples that is stamped `told` begins, if the first begins at `start`;
/// in ns.
fn place(told: i64, start: i64, length: usize, rate: u32) -> i64 {
    let (length, rate) = (length as i128, i128::from(rate));
    let since = i128::from(told - start);
    let packet = 1_000_000_000 * length;
    if packet == 0 || rate == 0 {
        return told;
    }
    let number = (since * rate * 2 + packet).div_euclid(packet * 2);
    let exact = (number * packet * 2 + rate).div_euclid(rate * 2);
    let place = start + i64::try_from(exact).unwrap_or(0);
    if (place - told).abs() <= ROUNDED { place } else { told }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rounded_stamp_finds_its_packet() {
        for (rate, length) in [(48_000u32, 1_024usize), (44_100, 1_152), (48_000, 1_536)] {
            for start in [0, 21_000_000, 3_700_000_000] {
                for number in [0i64, 1, 2, 3, 1_000, 337_501] {
                    let exact = start + number * length as i64 * 1_000_000_000 / i64::from(rate);
                    let told = (exact + 500_000) / 1_000_000 * 1_000_000;
                    let found = place(told, start, length, rate);
                    assert!((found - exact).abs() <= 1, "{rate} {start} {number}: {found} {exact}");
                }
            }
        }
    }

    #[test]
    fn a_stamp_that_is_no_rounding_stands() {
        assert_eq!(place(5_000_000, 0, 1_024, 48_000), 5_000_000);
    }
}
