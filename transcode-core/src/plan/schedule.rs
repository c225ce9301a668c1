//! The timeline: the rate of its grid, the length of its segments, where it begins and ends.
//!
//! Times are stream times of the source, exact. Rules:
//! - *Rate.* The source's own. A variable rate goes to the standard rate within 1 % of its nominal
//!   one, or else the next above. Above 60 (Apple's HLS authoring rules allow no more) whole
//!   fractions of pictures are kept; rates that no camera has are not believed; below 1, pictures
//!   are repeated.
//! - *Segments.* `ceil(target × rate)` slots, then up to a multiple of the key frames that a segment
//!   has in every rung, so that each rung's distance of key frames divides it.
//! - *Beginning.* The first picture; of a clip, the first picture of the source's grid at or after
//!   the time asked for. An audio ladder begins with the very sample.
//! - *End.* The nearest slot to the end of the last picture (containers round), the last slot that
//!   begins before the end of a clip, or where a file was cut off. Sources that cannot state their
//!   length are open-ended: see [`Timeline`].

use super::report::{PlanReport, Reason, seconds};
use super::timeline::Timeline;
use super::tracks::Tracks;
use crate::error::Error;
use crate::media::{Container, MediaInfo, VideoTrack};
use crate::plan::AudioRung;
use crate::spec::JobSpec;
use crate::units::{FrameRate, MediaTime};

/// Rates that a variable one is put on: those of cameras, films and screen recorders.
const STANDARD: [(u32, u32); 15] = [
    (1, 1),
    (5, 1),
    (10, 1),
    (12, 1),
    (15, 1),
    (20, 1),
    (24_000, 1_001),
    (24, 1),
    (25, 1),
    (30_000, 1_001),
    (30, 1),
    (48, 1),
    (50, 1),
    (60_000, 1_001),
    (60, 1),
];

/// Constant rates up to this are a camera's (slow motion); above, a container's clock.
const FASTEST_CAMERA: u32 = 240;

/// An open-ended timeline is never longer than this, so that every count stays small.
const LONGEST_HOURS: i64 = 1_000;

fn rate(num: u32, den: u32) -> FrameRate {
    FrameRate::new(num, den).expect("constants are not zero")
}

fn whole_seconds(seconds: i64) -> MediaTime {
    MediaTime::new(seconds, 1).unwrap_or(MediaTime::ZERO)
}

/// The rate of the grid for pictures, and why it is not the source's.
pub(super) fn picture_rate(track: &VideoTrack) -> (FrameRate, Option<Reason>) {
    let source = track.frame_rate;
    let (slowest, fastest) = (rate(1, 1), rate(60, 1));
    if source > fastest {
        if !track.variable_rate && source <= rate(FASTEST_CAMERA, 1) {
            let keep_one_of = source.num().div_ceil(source.den() * 60);
            let divided =
                source.den().checked_mul(keep_one_of).and_then(|den| FrameRate::new(source.num(), den));
            let rate = divided.unwrap_or(fastest);
            return (rate, Some(Reason::RateDivided { source, rate, keep_one_of }));
        }
        let rate = mean(track).map_or(fastest, |(num, den)| standard(num, den));
        return (rate, Some(Reason::RateNotBelieved { source, rate }));
    }
    if track.variable_rate {
        let rate = standard(u128::from(source.num()), u128::from(source.den()));
        return (rate, Some(Reason::VariableRate { nominal: source, rate }));
    }
    if source < slowest {
        return (slowest, Some(Reason::RateRaised { source, rate: slowest }));
    }
    (source, None)
}

/// Pictures a second over the whole track, as a fraction.
fn mean(track: &VideoTrack) -> Option<(u128, u128)> {
    let nanos = u128::try_from(track.duration?.nanos()).ok().filter(|nanos| *nanos > 0)?;
    Some((u128::from(track.pictures?) * 1_000_000_000, nanos))
}

/// The standard rate for `num / den` pictures a second: the nearest within 1 %, else the next above.
fn standard(num: u128, den: u128) -> FrameRate {
    let distance =
        |(n, d): &(u32, u32)| (u128::from(*n) * den).abs_diff(num * u128::from(*d)) * 1_001 / u128::from(*d);
    let near = STANDARD.iter().min_by_key(|known| distance(known));
    let near = near.filter(|known| distance(known) * 100 <= num * 1_001);
    let above = || STANDARD.iter().find(|(n, d)| u128::from(*n) * den >= num * u128::from(*d));
    let (num, den) = near.or_else(above).copied().unwrap_or((60, 1));
    rate(num, den)
}

/// Slots a segment, and slots from key frame to key frame for each of `key_intervals`.
///
/// # Errors
/// Which intervals have no common segment, and what to do.
pub(super) fn segment_slots(
    rate: FrameRate,
    target: MediaTime,
    key_intervals: &[MediaTime],
) -> Result<(u32, Vec<u32>), String> {
    let count = |number: i64| u64::try_from(number).unwrap_or(0).max(1);
    let least = count(rate.ceil(target));
    // Key frames a segment, by rung, none further from the next than asked for. Where that is every
    // picture, any segment will do.
    let each: Vec<u64> =
        key_intervals.iter().map(|key| least.div_ceil(count(rate.ceil(*key)).min(least))).collect();
    let common = each.iter().filter(|keys| **keys < least).try_fold(1u64, |all, keys| {
        // More than half a segment's slots would make segments half as long again.
        Some(all / gcd(all, *keys) * keys).filter(|all| *all <= least.div_ceil(2))
    });
    let Some(common) = common else {
        let all: Vec<String> = key_intervals.iter().map(MediaTime::to_string).collect();
        return Err(format!(
            "key-intervals {} have no common segment near {target}; give renditions the same one, or \
             such that each is a whole multiple of the next",
            all.join(", ")
        ));
    };
    let slots = least.div_ceil(common) * common;
    let gops = each.iter().map(|keys| if *keys == least { 1 } else { narrow(slots / keys) }).collect();
    Ok((narrow(slots), gops))
}

const fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// What the timeline is made from.
pub(super) struct Extent<'a> {
    pub(super) info: &'a MediaInfo,
    pub(super) spec: &'a JobSpec,
    pub(super) tracks: &'a Tracks<'a>,
    /// Of the grid.
    pub(super) rate: FrameRate,
    pub(super) segment_slots: u32,
}

/// The timeline.
///
/// # Errors
/// [`Error::Config`] where the clip lies outside the source, [`Error::Input`] where what is wanted
/// was cut off.
pub(super) fn timeline(of: &Extent<'_>, report: &mut PlanReport) -> Result<Timeline, Error> {
    let Extent { info, spec, tracks, rate, segment_slots } = of;
    let clip = spec.clip;
    let (first, length, never) = match (tracks.video, tracks.audio) {
        (Some(video), _) => (video.start, video.duration, never_states_length(info.container)),
        (None, Some(audio)) => (audio.start, audio.duration, never_states_length(info.container)),
        (None, None) => (MediaTime::ZERO, None, true),
    };
    let open_ended = never || length.is_none();
    let stated = length.map(|length| first + length).or(info.duration).filter(|end| *end >= first);
    check_clip(spec, stated)?;

    let start = beginning(of, first, report);
    let end = cut_off(of, start, stated, report)?;
    // A lone picture may last no time at all.
    let of_source = |end: MediaTime| match tracks.video {
        Some(_) => rate.nearest(end - start),
        None => rate.ceil(end - start),
    };
    let lone = clip.start.is_none() && tracks.video.is_some();
    let known = end.map(|end| u64::try_from(of_source(end)).unwrap_or(0));
    if known == Some(0) && !lone {
        let from = clip.start.map_or_else(|| seconds(start), seconds);
        return Err(outside(format!("nothing of the source begins at or after {from}; begin earlier")));
    }
    let known = known.map(|slots| slots.max(1));
    let wanted = clip.end.map(|end| u64::try_from(rate.ceil(end - start)).unwrap_or(0));
    if wanted == Some(0) {
        return Err(outside(format!(
            "it ends before its first picture, which is shown at {}; end later",
            seconds(start)
        )));
    }
    if let (Some(asked), Some(end)) = (clip.end, stated) {
        if asked > end {
            report.add(Reason::ClipEndsWithSource { asked, end });
        }
    }
    let expected = match (known, wanted) {
        (Some(known), Some(wanted)) => Some(known.min(wanted)),
        (known, wanted) => known.or(wanted),
    };
    if !open_ended {
        let slots = expected.unwrap_or(1);
        return Ok(Timeline {
            rate: *rate,
            slots,
            segment_slots: *segment_slots,
            start,
            open_ended: false,
            expected: None,
        });
    }
    report.add(Reason::OpenEnded { expected: known.map(|slots| rate.time_of(slots)) });
    let bound = u64::try_from(rate.ceil(upper_bound(info.source.size, stated))).unwrap_or(1).max(1);
    let slots = wanted.map_or(bound, |wanted| wanted.min(bound));
    Ok(Timeline {
        rate: *rate,
        slots,
        segment_slots: *segment_slots,
        start,
        open_ended: true,
        expected: expected.map(|expected| expected.min(slots)),
    })
}

/// Containers that state no length, or one that is only a guess: recordings may go on behind it.
const fn never_states_length(container: Container) -> bool {
    matches!(
        container,
        Container::MpegTs | Container::MpegPs | Container::Flv | Container::Mp3 | Container::Adts
    )
}

/// Longer than any source of so many bytes: its length at 1 byte a millisecond (8 kbit/s, the least
/// that any audio codec here makes), and twice the stated length and a minute where that is more.
fn upper_bound(bytes: u64, stated: Option<MediaTime>) -> MediaTime {
    let by_bytes = MediaTime::new(i64::try_from(bytes).unwrap_or(i64::MAX), 1_000).unwrap_or(MediaTime::ZERO);
    let by_length = stated.map_or(MediaTime::ZERO, |stated| stated + stated);
    (by_bytes.max(by_length) + whole_seconds(60)).min(whole_seconds(LONGEST_HOURS * 3_600))
}

fn outside(reason: String) -> Error {
    Error::Config { what: "the clip window".to_owned(), reason }
}

/// What can be said of the clip without the grid.
fn check_clip(spec: &JobSpec, stated: Option<MediaTime>) -> Result<(), Error> {
    let clip = spec.clip;
    let negative = |time: Option<MediaTime>| time.filter(|time| time.is_negative());
    if let Some(time) = negative(clip.start).or(negative(clip.end)) {
        return Err(outside(format!(
            "{} is before the source's beginning; times count from 0",
            seconds(time)
        )));
    }
    if let (Some(start), Some(end)) = (clip.start, clip.end) {
        if end <= start {
            return Err(outside(format!(
                "it ends at {}, which is not after its beginning at {}",
                seconds(end),
                seconds(start)
            )));
        }
    }
    match (clip.start, stated) {
        (Some(start), Some(end)) if start >= end => Err(outside(format!(
            "it begins at {}, but the source ends at {}; begin earlier",
            seconds(start),
            seconds(end)
        ))),
        _ => Ok(()),
    }
}

/// Stream time of slot 0.
fn beginning(of: &Extent<'_>, first: MediaTime, report: &mut PlanReport) -> MediaTime {
    let asked = of.spec.clip.start;
    let start = match (asked.filter(|asked| *asked > first), of.tracks.video) {
        (None, _) => first,
        (Some(asked), None) => asked,
        (Some(asked), Some(video)) => {
            // Pictures at a variable rate have no grid of their own.
            let grid = if video.variable_rate { of.rate } else { video.frame_rate };
            first + grid.time_of(u64::try_from(grid.ceil(asked - first)).unwrap_or(0))
        }
    };
    match asked {
        Some(asked) if asked != start => report.add(Reason::ClipMoved { asked, start }),
        None if start > MediaTime::ZERO && of.tracks.video.is_some() => {
            report.add(Reason::PicturesBeginLate { start });
        }
        _ => {}
    }
    start
}

/// Where the source ends, or was cut off.
fn cut_off(
    of: &Extent<'_>,
    start: MediaTime,
    stated: Option<MediaTime>,
    report: &mut PlanReport,
) -> Result<Option<MediaTime>, Error> {
    let Some(cut) = &of.info.truncated else { return Ok(stated) };
    let (missing_bytes, playable) = (cut.missing_bytes, cut.playable);
    // Many containers state no length, or have lost where they state it.
    let stated = stated.filter(|stated| *stated > playable);
    let input = |reason: String| Error::Input { uri: of.info.source.uri.clone(), reason };
    if of.spec.clip.end.is_some_and(|end| end <= playable) {
        report.add(Reason::TruncatedLater { missing_bytes, playable });
        return Ok(Some(playable));
    }
    let what = format!(
        "the file was cut off: {missing_bytes} bytes are missing, it plays up to {}{}",
        seconds(playable),
        stated.map(|stated| format!(" of {}", seconds(stated))).unwrap_or_default()
    );
    if playable <= start || of.rate.ceil(playable - start) < 1 {
        return Err(input(format!("{what}, and nothing of what is wanted is there; fetch it again")));
    }
    if !of.spec.allow_truncated {
        return Err(input(format!(
            "{what}; fetch it again, or publish what is there with --allow-truncated"
        )));
    }
    report.add(Reason::Truncated { missing_bytes, playable, stated });
    Ok(Some(playable))
}

/// Sound that is this much off the picture is not heard as such (EBU R 37: −40 ms … +60 ms).
fn worth_a_word() -> MediaTime {
    MediaTime::new(40, 1_000).unwrap_or(MediaTime::ZERO)
}

/// At the end, tracks hardly ever stop together; silence or a last picture of this length is missed.
fn worth_a_word_at_the_end() -> MediaTime {
    MediaTime::new(500, 1_000).unwrap_or(MediaTime::ZERO)
}

/// How the sound lies against the pictures.
pub(super) fn compare_sound(
    info: &MediaInfo,
    tracks: &Tracks<'_>,
    timeline: &Timeline,
    spec: &JobSpec,
    report: &mut PlanReport,
) {
    let (Some(video), Some(audio)) = (tracks.video, tracks.audio) else { return };
    let whole = timeline.start == video.start;
    let before = video.start - audio.start;
    if whole && before >= worth_a_word() {
        report.add(Reason::SoundBeforePictures { length: before });
    }
    let late = audio.start - timeline.start;
    let length = timeline.expected_duration();
    if late >= worth_a_word() {
        report.add(Reason::SoundBeginsLate { length: length.map_or(late, |length| late.min(length)) });
    }
    // What was cut off has its own note.
    let ends = |sound: MediaTime| info.truncated.as_ref().map_or(sound, |cut| sound.min(cut.playable));
    let sound = audio.duration.map(|length| ends(audio.start + length));
    let (Some(sound), Some(length)) = (sound, length) else { return };
    let end = timeline.start + length;
    if spec.clip.end.is_none() && sound - end >= worth_a_word_at_the_end() {
        report.add(Reason::SoundAfterPictures { length: sound - end });
    }
    if end - sound.max(timeline.start) >= worth_a_word_at_the_end() && sound > timeline.start {
        report.add(Reason::SoundEndsEarly { length: end - sound });
    }
}

/// The grid of an audio ladder: AAC packets.
pub(super) fn packet_rate(sample_rate: u32) -> FrameRate {
    FrameRate::new(sample_rate, AudioRung::PACKET).unwrap_or_else(|| rate(48_000, AudioRung::PACKET))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> MediaTime {
        text.parse().expect("time")
    }

    fn slots(rate: &str, target: &str, keys: &[&str]) -> Result<(u32, Vec<u32>), String> {
        let keys: Vec<MediaTime> = keys.iter().map(|key| time(key)).collect();
        segment_slots(rate.parse().expect("rate"), time(target), &keys)
    }

    #[test]
    fn segments_are_whole_pictures_and_whole_gops() {
        assert_eq!(slots("24", "6s", &["6s"]), Ok((144, vec![144])));
        assert_eq!(slots("30000/1001", "6s", &["6s"]), Ok((180, vec![180])));
        assert_eq!(slots("30000/1001", "6s", &["2s", "1s"]), Ok((180, vec![60, 30])));
        assert_eq!(slots("24", "6s", &["2.5s"]), Ok((144, vec![48])), "never further apart than asked for");
        assert_eq!(slots("24001/1000", "6s", &["1s"]), Ok((150, vec![25])), "145 is no multiple of 6");
        assert_eq!(slots("1", "6s", &["0.1s"]), Ok((6, vec![1])));
        assert_eq!(slots("25", "1s", &["20ms", "0.5s"]), Ok((26, vec![1, 13])));
        assert_eq!(slots("1", "1.5s", &["1.5s"]), Ok((2, vec![2])));
    }

    #[test]
    fn key_intervals_without_a_common_segment_are_refused() {
        let error = slots("24", "6s", &["850ms", "600ms", "500ms"]).expect_err("7, 10 and 12 a segment");
        assert!(error.contains("0.85s"), "{error}");
    }

    #[test]
    fn variable_rates_go_to_the_standard_rate_near_or_above() {
        for (given, expected) in [
            ("30", "30"),
            ("30000/1001", "30000/1001"),
            ("24", "24"),
            ("2998/100", "30000/1001"),
            ("2999/100", "30"),
            ("301/10", "30"),
            ("31", "48"),
            ("20", "20"),
            ("21", "24000/1001"),
            ("2", "5"),
            ("59", "60000/1001"),
        ] {
            let given: FrameRate = given.parse().expect("rate");
            let found = standard(u128::from(given.num()), u128::from(given.den()));
            assert_eq!(found.to_string(), expected, "{given}");
        }
    }
}
