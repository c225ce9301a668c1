//! Tells the splitter where a fragment ends, and has it closed there.
//!
//! splitmuxsink cuts before groups of pictures only, and judges one, to this fragment or to the next,
//! when it is whole: when the next one has begun. Left alone it closes a segment when the whole group
//! behind it has come in: a segment later than it could. So where the plan has a boundary, marks go in
//! before the key frame: buffers with the key frame's time and nothing in them, each a whole group as
//! soon as the next buffer comes. The splitter is told to split at that time; the first mark begins the
//! new fragment, which closes the old one, and the marks are taken out again before the muxer: see
//! [`take_out_marks`]. The end of the stream is a boundary as every other. So nothing hangs on a last
//! group's length, nor on the end itself, which hlssink2 loses at times.
//!
//! Works on the track whose groups cut: the pictures, or the packets where there are none. The other
//! track is cut by its time stamps, at the same time as ever: a mark has the key frame's, to the
//! nanosecond. Clock: the pad's, turned into running time for the splitter.

use super::clock::clock;
use crate::plan::Timeline;
use crate::units::{FrameRate, SegmentIndex};
use gstreamer as gst;
use gstreamer::prelude::*;
use std::sync::{Mutex, PoisonError};

/// Marks at a boundary. The splitter judges one group a buffer, and only what decoding has come to:
/// one group is always open, others begin among the pictures that H.264 may reorder, sixteen at most
/// (ITU-T H.264 A.3.1, MaxDpbFrames); and it takes one mark more to judge the first mark.
const MARKS: usize = 16 + 2;

/// Where a chunk is to be cut.
pub(super) struct Boundaries {
    /// The plan's.
    pub(super) timeline: Timeline,
    /// The chunk's first segment.
    pub(super) first: SegmentIndex,
}

impl Boundaries {
    /// The running time from which on a key frame belongs to segment `index`: half a slot before its
    /// first slot, since some encoders round time stamps.
    fn from(&self, index: SegmentIndex) -> gst::ClockTime {
        let rate = self.timeline.rate;
        let half = FrameRate::new(rate.num() * 2, rate.den()).unwrap_or(rate);
        clock(self.timeline.begin(index)).saturating_sub(clock(half.time_of(1)))
    }
}

/// What has gone by.
struct Seen {
    /// The segment that comes next.
    next: SegmentIndex,
    /// Where the first picture begins, on the pad's clock.
    begin: Option<gst::ClockTime>,
    /// Where the last picture ends, on the pad's clock.
    end: gst::ClockTime,
    ended: bool,
}

/// Close a fragment at each of `boundaries`, and the last one at the end of the stream. `pad` is the
/// sink pad of the last queue before the `splitter`: a sink pad, because a source pad takes no more
/// buffers once it has sent the end. `ended` hears how long the track was, before the marks that close
/// the last fragment go in.
pub(super) fn close_fragments(
    pad: &gst::Pad,
    splitter: &gst::Element,
    boundaries: Boundaries,
    ended: impl Fn(gst::ClockTime) + Send + Sync + 'static,
) {
    let next = SegmentIndex(boundaries.first.0 + 1);
    let seen = Mutex::new(Seen { next, begin: None, end: gst::ClockTime::ZERO, ended: false });
    let splitter = splitter.downgrade();
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(kinds, move |pad, info| {
        // The lock is not held while marks go in: they come by here too.
        let at = match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) if !is_mark(buffer) => {
                note(&mut seen.lock().unwrap_or_else(PoisonError::into_inner), pad, buffer, &boundaries)
            }
            Some(gst::PadProbeData::Event(event)) if event.type_() == gst::EventType::Eos => {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                let again = std::mem::replace(&mut seen.ended, true);
                let (begin, end) = (seen.begin, seen.end);
                drop(seen);
                if !again {
                    ended(end.saturating_sub(begin.unwrap_or(end)));
                }
                begin.filter(|_| !again).map(|_| end)
            }
            _ => None,
        };
        if let (Some(at), Some(splitter)) = (at, splitter.upgrade()) {
            cut(pad, &splitter, at);
        }
        gst::PadProbeReturn::Ok
    });
}

/// Take the marks out again, on their way from the `splitter` into its `muxer`.
pub(super) fn take_out_marks(muxer: &gst::Element) {
    muxer.connect_pad_added(|_, pad| {
        pad.add_probe(gst::PadProbeType::BUFFER, |_, info| {
            if !matches!(&info.data, Some(gst::PadProbeData::Buffer(buffer)) if is_mark(buffer)) {
                return gst::PadProbeReturn::Ok;
            }
            // Handled without data, because Drop leaves the buffer freed twice on 1.22.
            info.data = None;
            gst::PadProbeReturn::Handled
        });
    });
}

/// A picture has come; gives its time if a segment begins with it.
fn note(
    seen: &mut Seen,
    pad: &gst::Pad,
    buffer: &gst::BufferRef,
    boundaries: &Boundaries,
) -> Option<gst::ClockTime> {
    let pts = buffer.pts()?;
    seen.begin = Some(seen.begin.map_or(pts, |first| first.min(pts)));
    seen.end = seen.end.max(pts + buffer.duration().unwrap_or_default());
    if buffer.flags().contains(gst::BufferFlags::DELTA_UNIT) {
        return None;
    }
    if running_time(pad, pts)? < boundaries.from(seen.next) {
        return None;
    }
    seen.next.0 += 1;
    Some(pts)
}

/// Have a fragment end at `at`, on the pad's clock.
fn cut(pad: &gst::Pad, splitter: &gst::Element, at: gst::ClockTime) {
    let Some(time) = running_time(pad, at) else { return };
    splitter.emit_by_name::<()>("split-at-running-time", &[&time.nseconds()]);
    let mark = mark(at);
    for _ in 0..MARKS {
        if pad.chain(mark.clone()).is_err() {
            break;
        }
    }
}

fn running_time(pad: &gst::Pad, at: gst::ClockTime) -> Option<gst::ClockTime> {
    let segment = pad.sticky_event::<gst::event::Segment>(0)?;
    segment.segment().downcast_ref::<gst::ClockTime>()?.to_running_time_full(at)?.positive()
}

/// One byte, because the splitter leaves out groups without any.
fn mark(at: gst::ClockTime) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_slice([0u8]);
    if let Some(buffer) = buffer.get_mut() {
        buffer.set_pts(at);
        buffer.set_dts(at);
        buffer.set_flags(gst::BufferFlags::GAP);
    }
    buffer
}

/// No picture and no packet is one byte long.
fn is_mark(buffer: &gst::BufferRef) -> bool {
    buffer.flags().contains(gst::BufferFlags::GAP) && buffer.size() == 1
}
