//! Times as GStreamer spells them, and what of them may be believed.
//!
//! Owns the way from a buffer's stamp to the time that plans count in ([`Clock`]), and back. In ns.

use crate::media::Container;
use crate::units::MediaTime;
use gstreamer as gst;

/// Stamps are whole nanoseconds, some rounded up and some down: one that lies right between two samples
/// or two slots must not be the one here and the other there. This is more than the rounding, and less
/// than a hundredth of a sample.
pub(super) const UNDECIDED: i64 = 100;

/// Which time of a demuxer's buffers says where on the source's timeline they belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// The stream time, after edit lists and all.
    Stream,
    /// The stamp as it stands in the container. matroskademux calls the first block that it meets the
    /// beginning, also after a seek, and takes that back where an earlier one follows; tsdemux calls
    /// the first picture 0 before a seek and not after it. What they write into segments depends on
    /// where they have been.
    Stamp,
}

impl Clock {
    pub(super) const fn of(container: Container) -> Self {
        match container {
            Container::Matroska | Container::WebM | Container::MpegTs | Container::MpegPs => Self::Stamp,
            _ => Self::Stream,
        }
    }

    /// For a container as platform files key it.
    pub(super) fn named(container: &str) -> Self {
        let container = serde_json::from_value(serde_json::Value::String(container.to_owned()));
        container.map_or(Self::Stream, Self::of)
    }

    /// Where a buffer that is stamped `pts` belongs.
    pub(super) fn time(
        self,
        segment: &gst::FormattedSegment<gst::ClockTime>,
        pts: gst::ClockTime,
    ) -> MediaTime {
        let stream = match self {
            Self::Stream => segment.to_stream_time_full(pts).map(signed_nanos),
            Self::Stamp => None,
        };
        MediaTime::from_nanos(stream.unwrap_or_else(|| i64::try_from(pts.nseconds()).unwrap_or(i64::MAX)))
    }
}

/// A time on the plan's clock as GStreamer spells it; the same rounding everywhere.
pub(super) fn clock(time: MediaTime) -> gst::ClockTime {
    gst::ClockTime::from_nseconds(u64::try_from(time.nanos()).unwrap_or(0))
}

/// A signed GStreamer time in nanoseconds.
fn signed_nanos(time: gst::Signed<gst::ClockTime>) -> i64 {
    let nanos = i64::try_from(time.abs().nseconds()).unwrap_or(i64::MAX);
    if time.is_negative() { -nanos } else { nanos }
}
