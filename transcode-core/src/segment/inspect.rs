//! From a segment's bytes to what is in them; nothing is held against a plan here.

use super::adts::{self, AudioFormat};
use super::clock;
use super::error::SegmentError;
use super::h264::{self, PictureKind};
use super::pes::{Assembler, Unit};
use super::sps::Sps;
use super::tables::{Streams, Tables};
use super::ts::{self, PACKET};
use crate::plan::AudioRung;

/// What is in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// Bytes.
    pub bytes: u64,
    /// The H.264 stream; absent where the PMT names none.
    pub video: Option<VideoStream>,
    /// The AAC stream; absent where the PMT names none.
    pub audio: Option<AudioStream>,
    /// The first program clock reference, in ticks of 27 MHz.
    pub first_pcr: u64,
    /// How many program clock references there are.
    pub pcrs: u64,
}

/// The H.264 of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoStream {
    /// The sequence parameter set; the same for all of the segment.
    pub sps: Sps,
    /// Its pictures in the order they are sent, which is the order they are decoded in.
    pub pictures: Vec<Picture>,
}

impl VideoStream {
    /// The numbers of the IDR pictures, in the order they are sent.
    pub fn idrs(&self) -> impl Iterator<Item = usize> {
        self.pictures.iter().enumerate().filter(|(_, picture)| picture.idr).map(|(at, _)| at)
    }
}

/// One picture: an access unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// Where its first TS packet begins.
    pub offset: u64,
    /// Bytes of the access unit.
    pub bytes: u64,
    /// Presentation time.
    pub pts: u64,
    /// Decoding time.
    pub dts: u64,
    /// Nothing after it refers to anything before it.
    pub idr: bool,
    /// What it refers to.
    pub kind: PictureKind,
    /// Both an SPS and a PPS come with it.
    pub parameter_sets: bool,
    /// Its TS packet is marked as a place to start at.
    pub random_access: bool,
}

/// The AAC of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioStream {
    /// The same for all of the segment; absent where there is no packet.
    pub format: Option<AudioFormat>,
    /// Its packets in order.
    pub packets: Vec<AudioPacket>,
}

/// One AAC frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioPacket {
    /// Where the TS packet begins in which its PES packet begins.
    pub offset: u64,
    /// Bytes, ADTS header included.
    pub bytes: u64,
    /// Presentation time.
    pub pts: u64,
}

/// Read a segment.
///
/// # Errors
/// [`SegmentError`] with the byte offset: whatever breaks the standards, or is written by no muxer
/// and encoder that this reader is for.
pub fn inspect(bytes: &[u8]) -> Result<Inspected, SegmentError> {
    inspect_with(bytes, |_| {})
}

/// The first picture of a segment, as a byte stream with its parameter sets.
pub(crate) fn first_picture(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut first = None;
    let read = inspect_with(bytes, |piece| {
        if let (Piece::Picture(unit), None) = (piece, &first) {
            first = Some(unit.to_vec());
        }
    });
    read.ok().and(first)
}

/// What [`inspect_with`] hands out, each once, in the order of the stream it belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Piece<'a> {
    /// An access unit: a byte stream with start codes.
    Picture(&'a [u8]),
    /// An AAC frame with its ADTS header.
    Audio(&'a [u8]),
}

/// Read a segment, and hand out every picture and audio packet that was found to be right.
///
/// # Errors
/// [`SegmentError`], as [`inspect`] gives it.
pub(crate) fn inspect_with(bytes: &[u8], mut give: impl FnMut(Piece<'_>)) -> Result<Inspected, SegmentError> {
    let mut tables = Tables::default();
    let (mut video_units, mut audio_units) = (Assembler::default(), Assembler::default());
    let (mut video, mut audio) = (Video::default(), Audio::default());
    let mut references = References::default();
    let mut known: Option<Streams> = None;
    for packet in ts::packets(bytes)? {
        let packet = packet?;
        if let Some(streams) = tables.take(&packet)? {
            known = Some(streams);
        }
        if tables.own(packet.pid) {
            continue;
        }
        let unknown = SegmentError::UnknownPid { offset: packet.offset, pid: packet.pid };
        let Some(streams) = known else { return Err(unknown) };
        if let Some(pcr) = packet.pcr {
            references.take(pcr, packet.offset, packet.pid == streams.clock)?;
        }
        if streams.video == Some(packet.pid) {
            video_units.push(&packet, |unit| video.take(unit, &mut give))?;
        } else if streams.audio == Some(packet.pid) {
            audio_units.push(&packet, |unit| audio.take(unit, &mut give))?;
        } else {
            return Err(unknown);
        }
    }
    video_units.finish(|unit| video.take(unit, &mut give))?;
    audio_units.finish(|unit| audio.take(unit, &mut give))?;
    let end = (bytes.len() - PACKET) as u64;
    let Some(streams) = known else {
        return Err(SegmentError::Syntax { offset: end, reason: "the segment ends before its PMT" });
    };
    let Some(first_pcr) = references.first else {
        return Err(SegmentError::Syntax {
            offset: end,
            reason: "the segment has no program clock reference",
        });
    };
    Ok(Inspected {
        bytes: bytes.len() as u64,
        video: streams.video.map(|_| video.done(end)).transpose()?,
        audio: streams.audio.map(|_| AudioStream { format: audio.format, packets: audio.packets }),
        first_pcr,
        pcrs: references.count,
    })
}

/// The program clock references of a segment: on their own stream, never going back.
#[derive(Default)]
struct References {
    first: Option<u64>,
    last: u64,
    count: u64,
}

impl References {
    fn take(&mut self, pcr: u64, offset: u64, own: bool) -> Result<(), SegmentError> {
        let syntax = |reason| Err(SegmentError::Syntax { offset, reason });
        if !own {
            return syntax("a program clock reference on another stream than the PMT says");
        }
        if self.first.is_some() && clock::difference(pcr / 300, self.last / 300) < 0 {
            return syntax("the program clock goes back");
        }
        self.first.get_or_insert(pcr);
        self.last = pcr;
        self.count += 1;
        Ok(())
    }
}

#[derive(Default)]
struct Video {
    /// The SPS as it is written, to see that all are equal.
    written: Vec<u8>,
    sps: Option<Sps>,
    pps: bool,
    pictures: Vec<Picture>,
}

impl Video {
    fn take(&mut self, unit: Unit<'_>, give: &mut impl FnMut(Piece<'_>)) -> Result<(), SegmentError> {
        let (offset, picture) = (unit.offset, self.pictures.len() as u64);
        let wrong = |reason| SegmentError::Picture { offset, picture, reason };
        let access = h264::access_unit(unit.data).map_err(wrong)?;
        if let Some(bytes) = access.sps {
            if self.sps.is_none() {
                self.sps = Some(Sps::read(bytes).ok_or_else(|| wrong("an SPS that cannot be"))?);
                self.written = bytes.to_vec();
            } else if self.written != bytes {
                return Err(wrong("the SPS changes within the segment"));
            }
        }
        self.pps |= access.pps;
        for (there, missing) in [(self.sps.is_some(), "SPS"), (self.pps, "PPS")] {
            if !there {
                return Err(SegmentError::ParameterSet { offset, picture, missing });
            }
        }
        let order = |rule, other| Err(SegmentError::Order { offset, picture, rule, found: unit.dts, other });
        if clock::difference(unit.pts, unit.dts) < 0 {
            return order("the DTS must not lie behind the PTS", unit.pts);
        }
        let last = self.pictures.last().map(|last| last.dts);
        if let Some(last) = last.filter(|last| clock::difference(unit.dts, *last) <= 0) {
            return order("the DTS must lie behind that of the picture before", last);
        }
        let pcr = unit.pcr.map(|pcr| pcr / 300);
        if let Some(pcr) = pcr.filter(|pcr| clock::difference(unit.dts, *pcr) < 0) {
            return order("the DTS must not lie before the clock reference of its own packet", pcr);
        }
        self.pictures.push(Picture {
            offset,
            bytes: unit.data.len() as u64,
            pts: unit.pts,
            dts: unit.dts,
            idr: access.idr,
            kind: access.kind,
            parameter_sets: access.sps.is_some() && access.pps,
            random_access: unit.random_access,
        });
        give(Piece::Picture(unit.data));
        Ok(())
    }

    fn done(self, end: u64) -> Result<VideoStream, SegmentError> {
        match self.sps {
            Some(sps) => Ok(VideoStream { sps, pictures: self.pictures }),
            None => Err(SegmentError::Syntax {
                offset: end,
                reason: "the PMT names video, but no picture is there",
            }),
        }
    }
}

#[derive(Default)]
struct Audio {
    format: Option<AudioFormat>,
    packets: Vec<AudioPacket>,
}

impl Audio {
    /// The frames of a PES packet; the time stamp is the first one's.
    fn take(&mut self, unit: Unit<'_>, give: &mut impl FnMut(Piece<'_>)) -> Result<(), SegmentError> {
        let mut rest = unit.data;
        let mut number = 0i64;
        while !rest.is_empty() || number == 0 {
            let packet = self.packets.len() as u64;
            let wrong = |reason| SegmentError::AudioPacket { offset: unit.offset, packet, reason };
            let (format, length) = adts::frame(rest).map_err(wrong)?;
            if *self.format.get_or_insert(format) != format {
                return Err(wrong("rate, channels or object type change within the segment"));
            }
            let samples = number * i64::from(AudioRung::PACKET);
            self.packets.push(AudioPacket {
                offset: unit.offset,
                bytes: length as u64,
                pts: clock::later(unit.pts, samples, format.sample_rate),
            });
            let (frame, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            give(Piece::Audio(frame));
            rest = behind;
            number += 1;
        }
        Ok(())
    }
}
