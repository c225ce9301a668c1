//! Makes the splitter close the last fragment as it closes every other.
//!
//! splitmuxsink judges a GOP when the next key frame arrives. The last GOP has no next one: it is
//! judged by the time of its own last picture, which for a GOP of a picture or two is not past the
//! boundary, and so it is glued to the segment before it. And hlssink2 loses the end of the stream
//! at times. So before the end more key frames go in: one right where the last picture ends, by
//! which the last GOP is judged, and some far behind, by which that one is. The splitter judges one
//! GOP a buffer, and only what every track has passed: hence several, and on the other track too.
//! What they are muxed into are fragments after the chunk's last, which are thrown away.

use gstreamer as gst;
use gstreamer::prelude::*;
use std::sync::{Mutex, PoisonError};

#[derive(Default)]
struct Seen {
    /// A key frame, to be sent once more.
    key: Option<gst::Buffer>,
    /// Where the first picture begins.
    begin: Option<gst::ClockTime>,
    /// Where the last picture ends.
    end: gst::ClockTime,
    closed: bool,
}

/// Whether segments are cut by a track's key frames.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// They are.
    Cuts,
    /// It follows.
    Follows,
}

/// So many more than the splitter can be behind: one that waits for its next key frame, one that
/// waits for the other track, and some to spare.
const MORE: u64 = 5;

/// Watch `pad`, the sink pad of the last queue before the splitter; `far` is more than any fragment
/// lasts. A sink pad, because a source pad takes no more buffers once it has sent the end. `ended`
/// hears how long the track was, before anything that closes it goes in.
pub(super) fn close_last_fragment(
    pad: &gst::Pad,
    role: Role,
    far: gst::ClockTime,
    ended: impl Fn(gst::ClockTime) + Send + Sync + 'static,
) {
    let seen = Mutex::new(Seen::default());
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(kinds, move |pad, info| {
        match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => note(&seen, buffer),
            Some(gst::PadProbeData::Event(event)) if event.type_() == gst::EventType::Eos => {
                if role == Role::Cuts {
                    ended(length(&seen));
                }
                let first = if role == Role::Cuts { 0 } else { 1 };
                for buffer in closing(&seen, (first..first + MORE).map(|times| far * times)) {
                    if pad.chain(buffer).is_err() {
                        break;
                    }
                }
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

fn note(seen: &Mutex<Seen>, buffer: &gst::Buffer) {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    if seen.closed {
        return;
    }
    if let Some(begin) = buffer.pts() {
        seen.begin = Some(seen.begin.map_or(begin, |first| first.min(begin)));
        seen.end = seen.end.max(begin + buffer.duration().unwrap_or_default());
    }
    // Every picture of a GOP could stand in; only the first is known to be a key frame.
    if seen.key.is_none() && !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT) {
        seen.key = Some(buffer.clone());
    }
}

/// From the first picture's beginning to the last one's end.
fn length(seen: &Mutex<Seen>) -> gst::ClockTime {
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.end.saturating_sub(seen.begin.unwrap_or(seen.end))
}

/// The key frame again, so long after the last picture each time; once.
fn closing(seen: &Mutex<Seen>, after: impl Iterator<Item = gst::ClockTime>) -> Vec<gst::Buffer> {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(key) = seen.key.take() else { return Vec::new() };
    if std::mem::replace(&mut seen.closed, true) {
        return Vec::new();
    }
    // Decoding runs ahead of showing by the same time as at every other key frame.
    let ahead = key.pts().zip(key.dts()).map(|(shown, decoded)| shown.saturating_sub(decoded));
    let again = |after: gst::ClockTime| {
        let mut buffer = key.copy();
        {
            let buffer = buffer.make_mut();
            buffer.set_pts(seen.end + after);
            buffer.set_dts((seen.end + after).checked_sub(ahead.unwrap_or_default()));
        }
        buffer
    };
    after.map(again).collect()
}
