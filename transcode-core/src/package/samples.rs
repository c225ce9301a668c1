//! One segment as the samples of an MP4.
//!
//! Owns the way from a segment's bytes to what an MP4 holds of it, and the comparison with the plan
//! and with what the job's report says of the segment. Every byte passes the strict reader. Both
//! passes over the segments come through here, so what is counted is what is written. Knows no file.

use super::aac;
use super::avc::{self, Avc, ParameterSets};
use crate::plan::Plan;
use crate::run::SegmentRow;
use crate::segment::{self, AudioFormat, Inspected, Piece};

/// What an MP4 holds of one segment.
#[derive(Debug, Default)]
pub(super) struct Samples {
    /// Pictures in the order they are decoded; empty without video.
    pub(super) video: Coded,
    /// AAC packets.
    pub(super) audio: Coded,
    /// By picture: its place as shown less its place as decoded.
    pub(super) shifts: Vec<i16>,
    /// What the header says of the pictures; absent without video.
    pub(super) avc: Option<Avc>,
    /// What the header says of the sound; absent where there is no packet.
    pub(super) format: Option<AudioFormat>,
}

/// Samples one behind the other.
#[derive(Debug, Default)]
pub(super) struct Coded {
    pub(super) data: Vec<u8>,
    /// Bytes of each.
    pub(super) sizes: Vec<u32>,
}

/// Take a segment apart. `row` is what the job's report says of it.
///
/// # Errors
/// What is wrong with it, for people.
pub(super) fn samples(bytes: &[u8], plan: &Plan, rung: &str, row: &SegmentRow) -> Result<Samples, String> {
    if let Some(stated) = row.bytes.filter(|stated| *stated != bytes.len() as u64) {
        return Err(format!("it has {} bytes, the job made one of {stated}", bytes.len()));
    }
    let crc32 = segment::crc32(bytes);
    if let Some(stated) = row.crc32.filter(|stated| *stated != crc32) {
        return Err(format!("its CRC-32 is {crc32:08x}, that of the job's segment is {stated:08x}"));
    }
    let mut found = Samples::default();
    let mut sets = ParameterSets::default();
    let mut wrong = None;
    let inspected = segment::inspect_with(bytes, |piece| match piece {
        Piece::Picture(unit) => {
            let first = found.video.sizes.is_empty();
            match avc::append(unit, first, &mut sets, &mut found.video.data) {
                Ok(size) => found.video.sizes.push(size),
                Err(reason) => wrong = wrong.take().or(Some(reason)),
            }
        }
        Piece::Audio(frame) => {
            let payload = aac::payload(frame);
            found.audio.data.extend_from_slice(payload);
            // An ADTS frame has at most 8191 bytes.
            found.audio.sizes.push(u32::try_from(payload.len()).unwrap_or(u32::MAX));
        }
    });
    let inspected = inspected.map_err(|error| error.to_string())?;
    segment::check(&inspected, plan, rung, row.index).map_err(|error| error.to_string())?;
    if let Some(reason) = wrong {
        return Err(reason.to_owned());
    }
    let slots = if inspected.video.is_some() { found.video.sizes.len() } else { found.audio.sizes.len() };
    let lasts = plan.timeline.rate.time_of(slots as u64);
    if lasts != row.duration {
        return Err(format!("it lasts {lasts}, the job's segment {}", row.duration));
    }
    found.shifts = shifts(&inspected)?;
    found.format = inspected.audio.as_ref().and_then(|audio| audio.format);
    found.avc = inspected.video.map(|video| Avc { sets, sps: video.sps });
    Ok(found)
}

/// By picture: how many places later it is shown than it is decoded; the order is that of the time
/// stamps, which the comparison with the plan found to be those of the plan's slots.
fn shifts(inspected: &Inspected) -> Result<Vec<i16>, String> {
    let pictures = inspected.video.as_ref().map_or(&[][..], |video| &video.pictures);
    let Some(begin) = pictures.first().map(|first| first.pts) else { return Ok(Vec::new()) };
    let mut shown: Vec<(i64, usize)> = (0..)
        .zip(pictures)
        .map(|(decoded, picture)| (segment::clock::difference(picture.pts, begin), decoded))
        .collect();
    shown.sort_unstable();
    let mut shifts = vec![0i16; pictures.len()];
    for (place, (_, decoded)) in (0i64..).zip(shown) {
        let shift = place - i64::try_from(decoded).unwrap_or(i64::MAX);
        // H.264 lets no picture wait for more than 16 (§A.3.1, MaxDpbFrames).
        shifts[decoded] = i16::try_from(shift)
            .ok()
            .filter(|shift| *shift >= -16)
            .ok_or_else(|| format!("picture {decoded} is shown {shift} places from where it is decoded"))?;
    }
    Ok(shifts)
}
