//! Makes the splitter close the last fragment as it closes every other.
//!
//! splitmuxsink judges a GOP when the next key frame arrives. The last GOP has no next one: it is
//! judged by the time of its own last picture, which for a GOP of a picture or two is not past the
//! boundary, and so it is glued to the segment before it. And hlssink2 loses the end of the stream
//! at times. So before the end two more key frames go in: one right where the last picture ends,
//! by which the last GOP is judged, and one far behind, by which the first one is. What they are
//! muxed into is a fragment after the chunk's last, which is thrown away.

use gstreamer as gst;
use gstreamer::prelude::*;
use std::sync::{Mutex, PoisonError};

#[derive(Default)]
struct Seen {
    /// A key frame, to be sent once more.
    key: Option<gst::Buffer>,
    /// Where the last picture ends.
    end: gst::ClockTime,
    closed: bool,
}

/// Watch `pad`, the sink pad of the last queue before the splitter; `far` is more than any fragment
/// lasts. A sink pad, because a source pad takes no more buffers once it has sent the end.
pub(super) fn close_last_fragment(pad: &gst::Pad, far: gst::ClockTime) {
    let seen = Mutex::new(Seen::default());
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(kinds, move |pad, info| {
        match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => note(&seen, buffer),
            Some(gst::PadProbeData::Event(event)) if event.type_() == gst::EventType::Eos => {
                for buffer in closing_pair(&seen, far).into_iter().flatten() {
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
        seen.end = seen.end.max(begin + buffer.duration().unwrap_or_default());
    }
    // Every picture of a GOP could stand in; only the first is known to be a key frame.
    if seen.key.is_none() && !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT) {
        seen.key = Some(buffer.clone());
    }
}

fn closing_pair(seen: &Mutex<Seen>, far: gst::ClockTime) -> Option<[gst::Buffer; 2]> {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let key = seen.key.take().filter(|_| !std::mem::replace(&mut seen.closed, true))?;
    // Decoding runs ahead of showing by the same time as at every other key frame.
    let ahead = key.pts().zip(key.dts()).map(|(shown, decoded)| shown.saturating_sub(decoded));
    let at = |time: gst::ClockTime| {
        let mut buffer = key.copy();
        {
            let buffer = buffer.make_mut();
            buffer.set_pts(time);
            buffer.set_dts(time.checked_sub(ahead.unwrap_or_default()));
        }
        buffer
    };
    Some([at(seen.end), at(seen.end + far)])
}
