//! The fragmented MP4: a header without samples, then a fragment for each segment.
//!
//! Owns `moof` with its runs, the frame of its `mdat`, and the index at the end (`mfra`), by which a
//! player that has the whole file seeks. A fragment needs nothing but its segment: one pass, and
//! between segments only the index is kept, 16 bytes each. Composition offsets are signed, so that a
//! picture may be shown earlier than the header's reordering delay foresees. The sound has no priming
//! packet: much that reads fragments does not look at the sound's edit list, and would play it.

use super::boxes::Boxes;
use super::header::{AUDIO, Clocks, Head, VIDEO, file_type};
use super::samples::Samples;
use crate::plan::AudioRung;

/// A sample that a decoder can begin with: it depends on no other (§8.8.3.1).
const SYNC: u32 = 0x0200_0000;

/// One that does not, and depends on others.
const DEPENDS: u32 = 0x0101_0000;

/// `ftyp` and a `moov` that lists no sample.
pub(super) fn header(head: &Head<'_>) -> Vec<u8> {
    let mut boxes = Boxes::new();
    file_type(&[b"iso6", b"isom", b"avc1", b"mp41", b"mp42"], &mut boxes);
    let none = |_: u32, boxes: &mut Boxes| {
        for name in [b"stts", b"stsc"] {
            boxes.full(name, 0, 0, |boxes| boxes.u32(0));
        }
        boxes.full(b"stsz", 0, 0, |boxes| boxes.zeros(8));
        boxes.full(b"stco", 0, 0, |boxes| boxes.u32(0));
    };
    head.moov(true, none, &mut boxes);
    boxes.into_bytes()
}

/// Where a segment stands on the timeline.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Its number among the fragments, from 1.
    pub(super) sequence: u32,
    /// Its first picture.
    pub(super) picture: u64,
    /// Its first packet.
    pub(super) packet: u64,
    /// Pictures from key frame to key frame.
    pub(super) gop: u32,
    /// The header's reordering delay, in pictures.
    pub(super) delay: u32,
}

/// A fragment up to its samples: `moof` and the frame of `mdat`. Behind it come the pictures, then the
/// packets.
pub(super) fn fragment(samples: &Samples, place: Place, clocks: Clocks) -> Vec<u8> {
    let mut boxes = Boxes::new();
    let mut offsets = [None, None];
    boxes.boxed(b"moof", |boxes| {
        boxes.full(b"mfhd", 0, 0, |boxes| boxes.u32(place.sequence));
        if !samples.video.sizes.is_empty() {
            offsets[0] = Some(video(samples, place, clocks, boxes));
        }
        if !samples.audio.sizes.is_empty() {
            offsets[1] = Some(audio(samples, place, boxes));
        }
    });
    let mut at = boxes.len() + 8;
    for (offset, bytes) in offsets.into_iter().zip([samples.video.data.len(), 0]) {
        if let Some(offset) = offset {
            boxes.set(offset, u32::try_from(at).unwrap_or(u32::MAX));
        }
        at += bytes;
    }
    let payload = samples.video.data.len() + samples.audio.data.len();
    boxes.u32(u32::try_from(payload + 8).unwrap_or(u32::MAX));
    boxes.bytes(b"mdat");
    boxes.into_bytes()
}

/// The pictures' run; where its data offset is to be put.
fn video(samples: &Samples, place: Place, clocks: Clocks, boxes: &mut Boxes) -> usize {
    let mut offset = 0;
    boxes.boxed(b"traf", |boxes| {
        // Offsets count from this moof; every sample lasts as long as the others.
        boxes.full(b"tfhd", 0, 0x02_0008, |boxes| {
            boxes.u32(VIDEO);
            boxes.u32(clocks.picture);
        });
        boxes.full(b"tfdt", 1, 0, |boxes| boxes.u64(place.picture * u64::from(clocks.picture)));
        // Data offset; by sample: size, flags, composition offset.
        boxes.full(b"trun", 1, 0x0E01, |boxes| {
            boxes.u32(u32::try_from(samples.video.sizes.len()).unwrap_or(u32::MAX));
            offset = boxes.later();
            for ((number, size), shift) in (0u32..).zip(&samples.video.sizes).zip(&samples.shifts) {
                boxes.u32(*size);
                boxes.u32(if number.is_multiple_of(place.gop.max(1)) { SYNC } else { DEPENDS });
                let places = i64::from(*shift) + i64::from(place.delay);
                boxes.i32(i32::try_from(places * i64::from(clocks.picture)).unwrap_or(0));
            }
        });
    });
    offset
}

/// The packets' run; where its data offset is to be put.
fn audio(samples: &Samples, place: Place, boxes: &mut Boxes) -> usize {
    let mut offset = 0;
    boxes.boxed(b"traf", |boxes| {
        boxes.full(b"tfhd", 0, 0x02_0028, |boxes| {
            boxes.u32(AUDIO);
            boxes.u32(AudioRung::PACKET);
            boxes.u32(SYNC);
        });
        let begin = place.packet * u64::from(AudioRung::PACKET);
        boxes.full(b"tfdt", 1, 0, |boxes| boxes.u64(begin));
        boxes.full(b"trun", 0, 0x0201, |boxes| {
            boxes.u32(u32::try_from(samples.audio.sizes.len()).unwrap_or(u32::MAX));
            offset = boxes.later();
            samples.audio.sizes.iter().for_each(|size| boxes.u32(*size));
        });
    });
    offset
}

/// The index: of each fragment, its first decoding time in the clock of its first track, and where
/// its `moof` is.
pub(super) fn index(track: u32, entries: &[(u64, u64)]) -> Vec<u8> {
    let mut boxes = Boxes::new();
    boxes.boxed(b"mfra", |boxes| {
        boxes.full(b"tfra", 1, 0, |boxes| {
            boxes.u32(track);
            boxes.u32(0); // numbers of one byte
            boxes.u32(u32::try_from(entries.len()).unwrap_or(u32::MAX));
            for (time, offset) in entries {
                boxes.u64(*time);
                boxes.u64(*offset);
                boxes.bytes(&[1, 1, 1]); // traf, trun, sample
            }
        });
        boxes.full(b"mfro", 0, 0, |boxes| {
            let size = u32::try_from(boxes.len() + 4).unwrap_or(u32::MAX);
            boxes.u32(size);
        });
    });
    boxes.into_bytes()
}
