//! The progressive MP4: header, then all samples (*faststart*).
//!
//! Owns `ftyp`, `moov` with its sample tables, and the frame of `mdat`. The header is a pure function
//! of the tables, so that it is whole before the first sample is written. Chunk offsets are 32 bits
//! where all fit, 64 where not; an `mdat` from 4 GiB on has its large size.

use super::aac::{self, PRIMING};
use super::boxes::Boxes;
use super::header::{AUDIO, Head, VIDEO, file_type};
use super::tables::{Run, Tables};
use crate::plan::AudioRung;
use std::ops::Range;

/// The header, and how many bytes the whole file has.
pub(super) struct Layout {
    /// `ftyp`, `moov` and the frame of `mdat`.
    pub(super) head: Vec<u8>,
    pub(super) total: u64,
}

/// A film of more than so many bytes of tables cannot be one MP4: sizes of boxes are 32 bits.
const LONGEST_TABLES: u64 = 1 << 31;

/// Lay the file out.
///
/// # Errors
/// Why it cannot be one, for people.
pub(super) fn layout(head: &Head<'_>, tables: &Tables<'_>, gop: u32) -> Result<Layout, String> {
    let samples = tables.pictures.len() as u64 + tables.packets.len() as u64;
    if samples * 24 > LONGEST_TABLES {
        return Err(format!(
            "{samples} pictures and packets are too many for one MP4; make a fragmented one"
        ));
    }
    let priming = head.audio.as_ref().map_or(0, |audio| aac::silence(audio.format.channels).len() as u64);
    let payload = tables.video_bytes(&(0..u64::MAX)) + tables.audio_bytes(&(0..u64::MAX)) + priming;
    // The offsets' width decides the header's length and the other way round: a header is never 256 MiB.
    let wide = payload + (LONGEST_TABLES >> 3) > u64::from(u32::MAX);
    let frame = if payload + 8 > u64::from(u32::MAX) { 16 } else { 8 };
    let write = |base: u64| {
        let mut boxes = Boxes::new();
        file_type(&[b"isom", b"iso4", b"avc1", b"mp41", b"mp42"], &mut boxes);
        let own = |id: u32, boxes: &mut Boxes| {
            let table = Table { tables, base, wide, priming, head };
            if id == VIDEO { table.video(gop, boxes) } else { table.audio(boxes) }
        };
        head.moov(false, own, &mut boxes);
        boxes
    };
    // Offsets do not change the header's length.
    let base = write(0).len() as u64 + frame;
    let mut boxes = write(base);
    if frame == 16 {
        boxes.u32(1);
        boxes.bytes(b"mdat");
        boxes.u64(payload + 16);
    } else {
        boxes.u32(u32::try_from(payload + 8).unwrap_or(u32::MAX));
        boxes.bytes(b"mdat");
    }
    Ok(Layout { head: boxes.into_bytes(), total: base + payload })
}

/// The tables of one track.
struct Table<'a> {
    tables: &'a Tables<'a>,
    /// Where the first sample is in the file.
    base: u64,
    /// Offsets of 64 bits.
    wide: bool,
    /// Bytes of the priming packet, which stands before the first run's packets.
    priming: u64,
    head: &'a Head<'a>,
}

impl Table<'_> {
    fn video(&self, gop: u32, boxes: &mut Boxes) {
        let count = len(&self.tables.pictures);
        constant_time(count, self.head.clocks.picture, boxes);
        self.composition(boxes);
        if gop > 1 {
            boxes.full(b"stss", 0, 0, |boxes| {
                boxes.u32(count.div_ceil(gop));
                (1..=count).step_by(gop as usize).for_each(|number| boxes.u32(number));
            });
        }
        self.chunks(VIDEO, boxes);
        sizes(None, &self.tables.pictures, boxes);
    }

    fn audio(&self, boxes: &mut Boxes) {
        let count = len(&self.tables.packets) + 1;
        constant_time(count, AudioRung::PACKET, boxes);
        // Every packet needs the one before: a seek has to begin a packet early (§10.1).
        boxes.full(b"sgpd", 1, 0, |boxes| {
            boxes.bytes(b"roll");
            boxes.u32(2); // bytes an entry
            boxes.u32(1);
            boxes.bytes(&(-1i16).to_be_bytes());
        });
        boxes.full(b"sbgp", 0, 0, |boxes| {
            boxes.bytes(b"roll");
            boxes.u32(1);
            boxes.u32(count);
            boxes.u32(1);
        });
        self.chunks(AUDIO, boxes);
        let priming = u32::try_from(self.priming).unwrap_or(0);
        sizes(Some(priming), &self.tables.packets, boxes);
        debug_assert_eq!(PRIMING, AudioRung::PACKET);
    }

    /// Presentation less decoding time, in runs of equal ones.
    fn composition(&self, boxes: &mut Boxes) {
        let (delay, picture) = (self.tables.delay(), self.head.clocks.picture);
        if self.tables.shifts.iter().all(|shift| *shift == 0) {
            return;
        }
        boxes.full(b"ctts", 0, 0, |boxes| {
            let place = boxes.later();
            let mut entries = 0;
            for run in self.tables.shifts.chunk_by(|a, b| a == b) {
                let shift = run.first().map_or(0, |shift| i64::from(*shift)) + i64::from(delay);
                boxes.u32(u32::try_from(run.len()).unwrap_or(u32::MAX));
                boxes.u32(u32::try_from(shift * i64::from(picture)).unwrap_or(0));
                entries += 1;
            }
            boxes.set(place, entries);
        });
    }

    /// Samples a chunk, and where each chunk is.
    fn chunks(&self, id: u32, boxes: &mut Boxes) {
        boxes.full(b"stsc", 0, 0, |boxes| {
            let place = boxes.later();
            let (mut entries, mut last) = (0, 0);
            for (number, (_, samples)) in (1u32..).zip(self.places(id)) {
                if samples != last {
                    boxes.u32(number);
                    boxes.u32(samples);
                    boxes.u32(1);
                    (entries, last) = (entries + 1, samples);
                }
            }
            boxes.set(place, entries);
        });
        let (name, width) = if self.wide { (b"co64", 1) } else { (b"stco", 0) };
        boxes.full(name, 0, 0, |boxes| {
            let place = boxes.later();
            let mut entries = 0;
            for (offset, _) in self.places(id) {
                boxes.time(width, offset);
                entries += 1;
            }
            boxes.set(place, entries);
        });
    }

    /// A track's chunks: where each begins, and how many samples it has.
    fn places(&self, id: u32) -> impl Iterator<Item = (u64, u32)> + use<'_> {
        let mut at = self.base;
        let mut primed = self.priming == 0;
        let places = self.tables.all_runs().map(move |Run { video, audio }| {
            let begin = at;
            at += self.tables.video_bytes(&video);
            let between = at;
            at += self.tables.audio_bytes(&audio);
            let mut packets = count(&audio);
            if !primed {
                at += self.priming;
                packets += 1;
                primed = true;
            }
            if id == VIDEO { (begin, count(&video)) } else { (between, packets) }
        });
        places.filter(|(_, samples)| *samples > 0)
    }
}

fn count(range: &Range<u64>) -> u32 {
    u32::try_from(range.end.saturating_sub(range.start)).unwrap_or(u32::MAX)
}

fn len(sizes: &[u32]) -> u32 {
    u32::try_from(sizes.len()).unwrap_or(u32::MAX)
}

/// `stts` where every sample lasts as long as the others.
fn constant_time(count: u32, ticks: u32, boxes: &mut Boxes) {
    boxes.full(b"stts", 0, 0, |boxes| {
        boxes.u32(1);
        boxes.u32(count);
        boxes.u32(ticks);
    });
}

fn sizes(first: Option<u32>, sizes: &[u32], boxes: &mut Boxes) {
    boxes.full(b"stsz", 0, 0, |boxes| {
        boxes.u32(0);
        boxes.u32(len(sizes) + u32::from(first.is_some()));
        first.iter().chain(sizes).for_each(|size| boxes.u32(*size));
    });
}
