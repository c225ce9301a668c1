//! The media playlist of a rung (RFC 8216 §4.3.2 and §4.3.3).

use super::VERSION;
use crate::plan::Plan;
use crate::units::{MediaTime, SegmentIndex};
use std::fmt::Write;

/// How far a playlist is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It may grow; lines that are there stay as they are.
    Event,
    /// It is finished.
    Vod,
}

/// Seconds that no segment of the plan is longer than, to the nearest: `EXT-X-TARGETDURATION`.
///
/// It must not change while the playlist lives (RFC 8216 §4.3.3.1), so it is the plan's, not that of
/// the segments there are: the full segment's, or a shorter only segment's where the end is known.
/// Never 0, which would have players reload without a pause.
pub fn target_duration(plan: &Plan) -> u64 {
    let timeline = &plan.timeline;
    let longest = if timeline.open_ended {
        timeline.rate.time_of(u64::from(timeline.segment_slots))
    } else {
        timeline.length(SegmentIndex(0))
    };
    u64::try_from(longest.ticks(1)).unwrap_or(0).max(1)
}

/// The media playlist of `rung` that names its segments `0..durations.len()`.
///
/// An EXTINF has six decimals. Each is rounded so that the sum of all up to there is the exact sum
/// to the nearest microsecond: players add them up, and where a length has no end in decimals
/// (an audio ladder at 44.1 kHz) rounding each alone would drift. Lines depend on what stands before
/// them only, so a longer playlist begins with the lines of a shorter one.
///
/// URIs are relative to the playlist and need no escaping: rung names are letters, digits, - and _.
pub fn media(plan: &Plan, rung: &str, durations: &[MediaTime], state: State) -> String {
    let kind = match state {
        State::Event => "EVENT",
        State::Vod => "VOD",
    };
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:0\n\
         #EXT-X-PLAYLIST-TYPE:{kind}\n#EXT-X-INDEPENDENT-SEGMENTS\n",
        target_duration(plan)
    );
    let playlist = plan.playlist_key(rung);
    let folder = playlist.rsplit_once('/').map_or("", |(folder, _)| folder);
    text.reserve(durations.len() * 32);
    let (mut end, mut written) = (MediaTime::ZERO, 0);
    for (index, duration) in (0u32..).zip(durations) {
        end = end + *duration;
        let micros = end.ticks(1_000_000) - written;
        written += micros;
        let key = plan.segment_key(rung, SegmentIndex(index));
        let uri = key.strip_prefix(folder).map_or(key.as_str(), |rest| rest.trim_start_matches('/'));
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        // Writing to a String cannot fail.
        let _infallible = write!(text, "#EXTINF:{seconds}.{micros:06},\n{uri}\n");
    }
    if state == State::Vod {
        text.push_str("#EXT-X-ENDLIST\n");
    }
    text
}
