//! Puts decoded sound on the grid of the source's samples, whichever run decodes it.
//!
//! **Stamps.** Matroska and FLV stamp in milliseconds: a run that begins in the middle would place its samples up
//! to half of one, 24 samples, off where a run from the start has counted them to be. Where packets all
//! have the same number of samples, the place of each is known from the track's first: this finds out
//! which it is and stamps it so.
//!
//! **Resampling.** 147 samples at 44.1 kHz are 160 at 48: a resampler that begins with another of the
//! 147 makes samples that lie between those of a run from the start. So every run lets it begin with a
//! whole multiple, counted from the timeline's beginning.

use super::clock::{Clock, UNDECIDED};
use crate::media::Container;
use crate::plan::AudioInput;
use crate::units::{FrameRate, MediaTime};
use gstreamer as gst;
use gstreamer::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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

/// Have `resampler` begin, also after a seek, with a sample whose number is a whole multiple of what
/// it turns into whole samples of `rate`. While `wait` is set it gets nothing: it keeps its phase over
/// a flush, so what comes before the seek would tell in what comes after it. The flush unsets it.
pub(super) fn begin_whole(
    resampler: &gst::Element,
    clock: Clock,
    start: MediaTime,
    rate: u32,
    wait: Arc<AtomicBool>,
) {
    let Some(pad) = resampler.static_pad("sink") else { return };
    let (sought, begun) = (AtomicBool::new(false), AtomicBool::new(false));
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_FLUSH;
    pad.add_probe(kinds, move |pad, info| {
        let drop = match &mut info.data {
            Some(gst::PadProbeData::Event(event)) if event.type_() == gst::EventType::FlushStop => {
                wait.store(false, Ordering::Relaxed);
                sought.store(true, Ordering::Relaxed);
                begun.store(false, Ordering::Relaxed);
                false
            }
            Some(gst::PadProbeData::Buffer(_)) if wait.load(Ordering::Relaxed) => true,
            Some(gst::PadProbeData::Buffer(buffer)) if !begun.load(Ordering::Relaxed) => {
                // The first after a seek is clipped, at a time that no sample has.
                let clipped = sought.swap(false, Ordering::Relaxed);
                let whole = if clipped { None } else { cut(pad, buffer, clock, start, rate) };
                begun.store(whole.is_some(), Ordering::Relaxed);
                match whole {
                    Some(whole) => {
                        *buffer = whole;
                        false
                    }
                    None => true,
                }
            }
            _ => false,
        };
        if drop {
            info.data = None;
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
}

/// The buffer from its first whole sample on; `None` where it has none.
fn cut(
    pad: &gst::Pad,
    buffer: &gst::Buffer,
    clock: Clock,
    start: MediaTime,
    rate: u32,
) -> Option<gst::Buffer> {
    let caps = pad.current_caps();
    let Some(format) = caps.and_then(|caps| gstreamer_audio::AudioInfo::from_caps(&caps).ok()) else {
        return Some(buffer.clone());
    };
    let segment = pad.sticky_event::<gst::event::Segment>(0);
    let segment = segment.as_ref().and_then(|event| event.segment().downcast_ref::<gst::ClockTime>());
    let (Some(segment), Some(pts), true) = (segment, buffer.pts(), format.rate() != rate) else {
        return Some(buffer.clone());
    };
    let time = clock.time(segment, pts) - start + MediaTime::from_nanos(UNDECIDED);
    let skip = to_whole(time.ticks(format.rate()), format.rate(), rate);
    let bytes = skip * usize::try_from(format.bpf()).ok()?;
    if bytes >= buffer.size() {
        return None;
    }
    let mut rest = buffer.copy_region(gst::BufferCopyFlags::all(), bytes..).ok()?;
    let nanos = u64::try_from(skip).ok()? * 1_000_000_000 / u64::from(format.rate());
    let skipped = gst::ClockTime::from_nseconds(nanos);
    rest.make_mut().set_pts(pts + skipped);
    let length = buffer.duration().map(|length| length.saturating_sub(skipped));
    rest.make_mut().set_duration(length);
    Some(rest)
}

/// Samples from `number` on to the next that is a whole sample of the other rate.
fn to_whole(number: i64, from: u32, to: u32) -> usize {
    // In lowest terms.
    let every = FrameRate::new(from, to).map_or(1, |ratio| i64::from(ratio.num()));
    usize::try_from((-number).rem_euclid(every)).unwrap_or(0)
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
    fn a_resampler_begins_with_a_sample_that_both_rates_have() {
        assert_eq!(to_whole(0, 44_100, 48_000), 0);
        assert_eq!(to_whole(1, 44_100, 48_000), 146);
        assert_eq!(to_whole(147 * 5 + 140, 44_100, 48_000), 7);
        assert_eq!(to_whole(-1, 32_000, 48_000), 1);
        assert_eq!(to_whole(12_345, 96_000, 48_000), 1);
        assert_eq!(to_whole(12_345, 16_000, 48_000), 0);
    }

    #[test]
    fn a_stamp_that_is_no_rounding_stands() {
        assert_eq!(place(5_000_000, 0, 1_024, 48_000), 5_000_000);
    }
}
