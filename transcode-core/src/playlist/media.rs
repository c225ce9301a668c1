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

/// One segment as a media playlist names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// How long it lasts.
    pub duration: MediaTime,
    /// Another encoder took over here: EXT-X-DISCONTINUITY (RFC 8216 §4.3.2.3) stands before it.
    pub discontinuity: bool,
    /// What an EVENT playlist remembers of it, so that a later run knows it again.
    pub checked: Option<Checked>,
}

/// How a stored segment is known again: what was read back from its bytes before it was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Bytes.
    pub bytes: u64,
    /// CRC-32 (ISO-HDLC) of the bytes.
    pub crc32: u32,
    /// CRC-32 of its SPS and PPS; absent without video.
    pub parameter_sets: Option<u32>,
}

impl From<MediaTime> for Entry {
    /// A segment of which only its length is known.
    fn from(duration: MediaTime) -> Self {
        Self { duration, discontinuity: false, checked: None }
    }
}

/// The media playlist of `rung` that names its segments `0..entries.len()`.
///
/// An EXTINF has six decimals. Each is rounded so that the sum of all up to there is the exact sum
/// to the nearest microsecond: players add them up, and where a length has no end in decimals
/// (an audio ladder at 44.1 kHz) rounding each alone would drift. Lines depend on what stands before
/// them only, so a longer playlist begins with the lines of a shorter one.
///
/// An EVENT playlist is also the job's checkpoint: before each segment stands a comment with its
/// size and checksums, such as `# 4500224 bytes, crc32 89abcdef, parameter sets 01234567`; players
/// skip comments (RFC 8216 §4.1). A VOD playlist has none: the figures are in the report then.
///
/// URIs are relative to the playlist and need no escaping: rung names are letters, digits, - and _.
pub fn media(plan: &Plan, rung: &str, entries: &[Entry], state: State) -> String {
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
    text.reserve(entries.len() * 96);
    let (mut end, mut written) = (MediaTime::ZERO, 0);
    for (index, entry) in (0u32..).zip(entries) {
        end = end + entry.duration;
        let micros = end.ticks(1_000_000) - written;
        written += micros;
        if entry.discontinuity {
            text.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if let (Some(checked), State::Event) = (&entry.checked, state) {
            let _infallible = writeln!(text, "{checked}");
        }
        let key = plan.segment_key(rung, SegmentIndex(index));
        let uri = plan.address(folder, &key);
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        // Writing to a String cannot fail.
        let _infallible = write!(text, "#EXTINF:{seconds}.{micros:06},\n{uri}\n");
    }
    if state == State::Vod {
        text.push_str("#EXT-X-ENDLIST\n");
    }
    text
}

/// As it stands in an EVENT playlist.
impl std::fmt::Display for Checked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "# {} bytes, crc32 {:08x}", self.bytes, self.crc32)?;
        self.parameter_sets.map_or(Ok(()), |sets| write!(f, ", parameter sets {sets:08x}"))
    }
}

impl Checked {
    /// Read back what [`Display`](std::fmt::Display) writes.
    pub(super) fn read(line: &str) -> Option<Self> {
        let (bytes, rest) = line.strip_prefix("# ")?.split_once(" bytes, crc32 ")?;
        let (crc32, sets) = match rest.split_once(", parameter sets ") {
            Some((crc32, sets)) => (crc32, Some(sets)),
            None => (rest, None),
        };
        let hex = |text: &str| (text.len() == 8).then(|| u32::from_str_radix(text, 16).ok()).flatten();
        let parameter_sets = match sets {
            Some(sets) => Some(hex(sets)?),
            None => None,
        };
        Some(Self { bytes: bytes.parse().ok()?, crc32: hex(crc32)?, parameter_sets })
    }
}
