//! A segment held against the plan: its pictures and packets, their times, the encoder's parameters.

use super::clock;
use super::error::SegmentError;
use super::inspect::{AudioStream, Inspected, Piece, VideoStream, inspect_with};
use super::sps::{Sps, SpsColour};
use super::{AudioFormat, Buffer, crc32, nal_units};
use crate::event::SegmentFacts;
use crate::plan::{AudioRung, Plan, VideoRung};
use crate::playlist::Avc;
use crate::units::{FrameRate, SegmentIndex};
use std::fmt::Display;
use std::ops::Range;

/// The muxer rounds nanoseconds down to ticks of 90 kHz, the plan rounds to the nearest.
const PICTURE_TOLERANCE: u64 = 1;

/// The same, and a tick for frames whose time follows from an earlier frame's.
const AUDIO_TOLERANCE: u64 = 2;

/// What the plan says of one segment of one rung.
struct Wanted<'a> {
    plan: &'a Plan,
    slots: Range<u64>,
    video: Option<&'a VideoRung>,
    audio: Option<&'a AudioRung>,
    /// The timeline may end in this segment, before its last slot.
    may_end: bool,
}

impl<'a> Wanted<'a> {
    fn new(plan: &'a Plan, rung: &str, index: SegmentIndex) -> Result<Self, SegmentError> {
        let slots = plan.timeline.slots_of(index);
        let planned = plan.rung(rung).filter(|_| !slots.is_empty());
        let planned = planned.ok_or_else(|| SegmentError::NotPlanned { rung: rung.to_owned(), index })?;
        Ok(Self {
            plan,
            slots,
            video: planned.video.as_ref(),
            audio: planned.audio.as_ref(),
            may_end: plan.timeline.open_ended || plan.allow_truncated,
        })
    }

    fn count(&self, what: &'static str, found: usize, full: u64, fewest: u64) -> Result<(), SegmentError> {
        let found = found as u64;
        let at_least = if self.may_end { fewest.min(full) } else { full };
        if (at_least..=full).contains(&found) {
            return Ok(());
        }
        Err(SegmentError::Count { what, found, at_least, at_most: full })
    }
}

/// Hold a segment against the plan.
///
/// - It has the rung's streams, and begins with SPS, PPS and an IDR picture.
/// - It has a picture for every slot and the audio packets that begin within it, no more. Fewer are
///   let through only where the plan's end is open or a truncated source is allowed: whether it was
///   the last segment that was short is for the verification of the whole to say.
/// - Key frames stand every `gop` pictures and nowhere else.
/// - Picture *n* as shown is at the time of its slot, packet *n* at sample 1024 · *n*, plus 3600 s.
/// - Profile, level, size, colour and rate, and the audio's rate and channels, are the plan's. The
///   profile may be one whose streams every decoder of the declared one takes.
///
/// # Errors
/// [`SegmentError`] with the first thing that differs.
pub fn check(
    inspected: &Inspected,
    plan: &Plan,
    rung: &str,
    index: SegmentIndex,
) -> Result<(), SegmentError> {
    let wanted = Wanted::new(plan, rung, index)?;
    if let Some((rung, stream)) = both("video", wanted.video, inspected.video.as_ref())? {
        parameters(rung, &stream.sps, plan.timeline.rate)?;
        pictures(&wanted, rung, stream)?;
    }
    if let Some((rung, stream)) = both("audio", wanted.audio, inspected.audio.as_ref())? {
        packets(&wanted, rung, stream)?;
    }
    Ok(())
}

/// Read a segment, hold it against the plan, and say what is in it.
///
/// Times are read back from the bytes, so they are whole ticks of 90 kHz; the duration is exact.
///
/// # Errors
/// [`SegmentError`], as [`inspect`](super::inspect()) and [`check`] give it.
pub fn facts(
    bytes: &[u8],
    plan: &Plan,
    rung: &str,
    index: SegmentIndex,
) -> Result<SegmentFacts, SegmentError> {
    let mut parameter_sets = None;
    let inspected = inspect_with(bytes, |piece| {
        if let (Piece::Picture(unit), None) = (piece, parameter_sets) {
            parameter_sets = Some(digest_of_parameters(unit));
        }
    })?;
    check(&inspected, plan, rung, index)?;
    let near = plan.timeline.begin(index);
    let video = inspected.video.as_ref().map(|video| &video.pictures);
    let audio = inspected.audio.as_ref().map(|audio| &audio.packets);
    let pictures = video.map_or(0, |pictures| pictures.len() as u64);
    let audio_packets = audio.map_or(0, |packets| packets.len() as u64);
    let slots = if video.is_some() { pictures } else { audio_packets };
    let shown = video.into_iter().flatten().map(|picture| clock::time(picture.pts, near));
    let rate = plan.timeline.rate;
    let buffer = plan.rung(rung).and_then(|rung| Buffer::of(rung.video.as_ref()?, rate));
    let sizes = || video.into_iter().flatten().map(|picture| picture.bytes);
    Ok(SegmentFacts {
        rung: rung.to_owned(),
        index,
        bytes: inspected.bytes,
        pictures,
        audio_packets,
        video_start: shown.min(),
        audio_start: audio.and_then(|packets| packets.first()).map(|packet| clock::time(packet.pts, near)),
        duration: plan.timeline.rate.time_of(slots),
        crc32: crc32(bytes),
        parameter_sets,
        bucket: buffer.map(|buffer| buffer.pour(sizes())),
        adopted: false,
    })
}

/// CRC-32 of the SPS and PPS units of an access unit, one after the other.
fn digest_of_parameters(unit: &[u8]) -> u32 {
    let mut sets = Vec::new();
    for nal in nal_units(unit).into_iter().flatten() {
        if nal.first().is_some_and(|header| matches!(header & 0x1f, 7 | 8)) {
            sets.extend_from_slice(nal);
        }
    }
    crc32(&sets)
}

/// The plan's stream and the segment's, where both have it; an error where one has.
fn both<A, B>(
    stream: &'static str,
    planned: Option<A>,
    found: Option<B>,
) -> Result<Option<(A, B)>, SegmentError> {
    match (planned, found) {
        (Some(planned), Some(found)) => Ok(Some((planned, found))),
        (None, None) => Ok(None),
        (_, found) => Err(SegmentError::Stream { stream, found: found.is_some() }),
    }
}

fn same<T: PartialEq + Display>(what: &'static str, found: T, expected: T) -> Result<(), SegmentError> {
    if found == expected {
        return Ok(());
    }
    Err(SegmentError::Format { what, found: found.to_string(), expected: expected.to_string() })
}

fn parameters(rung: &VideoRung, sps: &Sps, rate: FrameRate) -> Result<(), SegmentError> {
    let declared = Avc::of(rung);
    if !declared.takes(sps.avc) {
        return Err(SegmentError::Format {
            what: "H.264 profile and level",
            found: sps.avc.to_string(),
            expected: format!("{declared} as the playlists say"),
        });
    }
    same("picture size", sps.size, rung.size)?;
    same("chroma_format_idc", sps.chroma, 1)?;
    same("bits a sample", sps.bit_depth, 8)?;
    same("progressive", sps.progressive, true)?;
    if let Some((width, height)) = sps.pixel_aspect.filter(|(width, height)| width != height) {
        let found = format!("{width}:{height}");
        return Err(SegmentError::Format { what: "pixel aspect ratio", found, expected: "1:1".to_owned() });
    }
    if let Some((found, expected)) = sps.colour.zip(colour(&rung.colorimetry)) {
        same("colour (range:primaries:transfer:matrix)", Shown(found), Shown(expected))?;
    }
    match sps.rate.filter(|_| sps.fixed_rate) {
        Some(found) => same("frame rate", found, rate),
        None => Ok(()),
    }
}

#[derive(PartialEq)]
struct Shown(SpsColour);

impl Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let SpsColour { full_range, primaries, transfer, matrix } = self.0;
        write!(f, "{}:{primaries}:{transfer}:{matrix}", if full_range { "full" } else { "limited" })
    }
}

/// The numbers of ITU-T H.273 for a colorimetry as GStreamer writes it: a name, or
/// `range:matrix:transfer:primaries` in its own numbers. `None` where one of them is unknown there.
fn colour(name: &str) -> Option<SpsColour> {
    let text = match name {
        "bt601" => "2:4:16:4",
        "bt709" => "2:3:5:1",
        "smpte240m" => "2:5:6:5",
        "bt2020" => "2:6:11:7",
        "bt2020-10" => "2:6:13:7",
        "bt2100-pq" => "2:6:14:7",
        "bt2100-hlg" => "2:6:15:7",
        numbers => numbers,
    };
    // GstVideoColorMatrix, -TransferFunction and -Primaries from 1 on; 2 in H.273 is "unspecified".
    const MATRIX: [u8; 6] = [0, 4, 1, 6, 7, 9];
    const TRANSFER: [u8; 16] = [8, 2, 2, 4, 1, 7, 13, 5, 9, 10, 15, 2, 14, 16, 18, 6];
    const PRIMARIES: [u8; 7] = [1, 4, 5, 6, 7, 8, 9];
    let mut parts = text.split(':').map(|part| part.parse::<usize>().ok());
    let range = parts.next()??;
    let mut number = |table: &[u8]| table.get(parts.next()??.checked_sub(1)?).copied().filter(|n| *n != 2);
    let (matrix, transfer, primaries) = (number(&MATRIX)?, number(&TRANSFER)?, number(&PRIMARIES)?);
    Some(SpsColour { full_range: range == 1, primaries, transfer, matrix })
}

fn pictures(wanted: &Wanted<'_>, rung: &VideoRung, stream: &VideoStream) -> Result<(), SegmentError> {
    let pictures = &stream.pictures;
    if let Some(first) = pictures.first().filter(|first| !first.idr) {
        return Err(SegmentError::NotIdr { offset: first.offset });
    }
    wanted.count("pictures", pictures.len(), wanted.slots.end - wanted.slots.start, 1)?;
    let gop = u64::from(rung.gop.max(1));
    for (number, picture) in (0u64..).zip(pictures) {
        if picture.idr != number.is_multiple_of(gop) {
            return Err(SegmentError::KeyFrame {
                offset: picture.offset,
                picture: number,
                found: picture.idr,
                gop: rung.gop,
            });
        }
    }
    let rate = wanted.plan.timeline.rate;
    let begin = clock::stamp(rate.time_of(wanted.slots.start));
    let mut shown: Vec<_> =
        pictures.iter().map(|picture| (clock::difference(picture.pts, begin), picture)).collect();
    shown.sort_by_key(|(time, _)| *time);
    for (number, (_, picture)) in (0u64..).zip(shown) {
        let expected = clock::stamp(rate.time_of(wanted.slots.start + number));
        if clock::difference(picture.pts, expected).unsigned_abs() > PICTURE_TOLERANCE {
            return Err(SegmentError::Time {
                offset: picture.offset,
                what: "picture",
                number,
                found: picture.pts,
                expected,
            });
        }
    }
    Ok(())
}

fn packets(wanted: &Wanted<'_>, rung: &AudioRung, stream: &AudioStream) -> Result<(), SegmentError> {
    if let Some(AudioFormat { object_type, sample_rate, channels }) = stream.format {
        same("audio object type (2 is AAC-LC)", object_type, 2)?;
        same("audio samples a second", sample_rate, rung.sample_rate)?;
        same("audio channels", channels, rung.channels)?;
    }
    let timeline = &wanted.plan.timeline;
    let first = rung.packets_before(timeline, wanted.slots.start);
    let full = rung.packets_before(timeline, wanted.slots.end).saturating_sub(first);
    let rate = FrameRate::new(rung.sample_rate, AudioRung::PACKET).unwrap_or(timeline.rate);
    // The times first: where a packet is missing in the middle, they say which.
    for (number, packet) in (0u64..).zip(&stream.packets) {
        let expected = clock::stamp(rate.time_of(first + number));
        if clock::difference(packet.pts, expected).unsigned_abs() > AUDIO_TOLERANCE {
            return Err(SegmentError::Time {
                offset: packet.offset,
                what: "audio packet",
                number,
                found: packet.pts,
                expected,
            });
        }
    }
    let fewest = if wanted.video.is_some() { 0 } else { 1 };
    wanted.count("audio packets", stream.packets.len(), full, fewest)
}
