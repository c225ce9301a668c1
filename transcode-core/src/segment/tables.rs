//! The program's tables (ISO/IEC 13818-1 §2.4.4): a PAT with one program, and its PMT with at most
//! one H.264 and one AAC stream. Both stand at the front of every segment and are repeated unchanged.

use super::crc;
use super::error::SegmentError;
use super::ts::{Continuity, Packet};

/// The PAT's own stream.
pub(super) const PAT: u16 = 0;

/// `stream_type` of H.264 (ISO/IEC 13818-1 table 2-34).
const H264: u8 = 0x1B;

/// `stream_type` of AAC in ADTS.
const ADTS: u8 = 0x0F;

/// Which streams there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Streams {
    pub(super) pmt: u16,
    pub(super) clock: u16,
    pub(super) video: Option<u16>,
    pub(super) audio: Option<u16>,
}

/// Reads the first PAT and PMT, and holds every later one against them.
#[derive(Debug, Default)]
pub(super) struct Tables<'a> {
    pat: Option<&'a [u8]>,
    pmt_pid: u16,
    pmt: Option<&'a [u8]>,
    streams: Option<Streams>,
    counters: [Continuity; 2],
}

impl<'a> Tables<'a> {
    /// Take a packet where it is one of a table; gives the streams once both tables are known.
    /// The first packet of a segment must be the PAT, the second the PMT.
    pub(super) fn take(&mut self, packet: &Packet<'a>) -> Result<Option<Streams>, SegmentError> {
        if packet.pid == PAT {
            self.counters[0].follow(packet)?;
            let section = section(packet, "PAT", 0)?;
            if repeats(self.pat, section, packet.offset)? {
                return Ok(self.streams);
            }
            self.pmt_pid = program(section, packet.offset)?;
            self.pat = Some(section);
        } else if self.pat.is_none() {
            return Err(syntax(packet.offset, "the segment does not begin with a PAT"));
        } else if packet.pid == self.pmt_pid {
            self.counters[1].follow(packet)?;
            let section = section(packet, "PMT", 2)?;
            if !repeats(self.pmt, section, packet.offset)? {
                self.streams = Some(streams(section, packet.offset, self.pmt_pid)?);
                self.pmt = Some(section);
            }
        } else if self.streams.is_none() {
            return Err(syntax(packet.offset, "the PMT does not follow the PAT at the segment's front"));
        }
        Ok(self.streams)
    }

    /// Whether a packet belongs to the tables.
    pub(super) fn own(&self, pid: u16) -> bool {
        pid == PAT || (self.pat.is_some() && pid == self.pmt_pid)
    }
}

const fn syntax(offset: u64, reason: &'static str) -> SegmentError {
    SegmentError::Syntax { offset, reason }
}

fn repeats(first: Option<&[u8]>, again: &[u8], offset: u64) -> Result<bool, SegmentError> {
    match first {
        None => Ok(false),
        Some(first) if first == again => Ok(true),
        Some(_) => Err(syntax(offset, "the PAT or PMT changes within the segment")),
    }
}

/// The section of a packet, whole and with the right CRC: from `table_id` to before the CRC.
fn section<'a>(packet: &Packet<'a>, table: &'static str, id: u8) -> Result<&'a [u8], SegmentError> {
    let offset = packet.offset;
    let short = || syntax(offset, "a table does not fit into its packet");
    if !packet.starts {
        return Err(syntax(offset, "a table is spread over packets"));
    }
    let (pointer, rest) = packet.payload.split_first().ok_or_else(short)?;
    let rest = rest.get(usize::from(*pointer)..).ok_or_else(short)?;
    let [table_id, high, low, ..] = *rest else { return Err(short()) };
    SegmentError::field(offset, "table_id", u64::from(table_id), u64::from(id))?;
    SegmentError::field(offset, "section_syntax_indicator", u64::from(high >> 7), 1)?;
    let length = usize::from(high & 0xF) << 8 | usize::from(low);
    let whole = rest.get(..3 + length).filter(|whole| whole.len() >= 12).ok_or_else(short)?;
    let (body, stated) = whole.split_at(whole.len() - 4);
    let stated = u32::from_be_bytes([stated[0], stated[1], stated[2], stated[3]]);
    let computed = crc::mpeg2(body);
    if stated != computed {
        return Err(SegmentError::TableCrc { offset, table, found: stated, expected: computed });
    }
    SegmentError::field(offset, "current_next_indicator", u64::from(body[5] & 1), 1)?;
    SegmentError::field(offset, "last_section_number", u64::from(body[7]), 0)?;
    Ok(body)
}

fn pid(bytes: &[u8]) -> u16 {
    u16::from(bytes[0] & 0x1F) << 8 | u16::from(bytes[1])
}

/// The PMT's stream out of the PAT.
fn program(section: &[u8], offset: u64) -> Result<u16, SegmentError> {
    match section.get(8..) {
        Some(entry) if entry.len() == 4 && (entry[0], entry[1]) != (0, 0) => Ok(pid(&entry[2..])),
        _ => Err(syntax(offset, "the PAT does not hold exactly one program")),
    }
}

/// The streams out of the PMT.
fn streams(section: &[u8], offset: u64, pmt: u16) -> Result<Streams, SegmentError> {
    let short = || syntax(offset, "the PMT ends within an entry");
    let skip = |bytes: &[u8]| usize::from(bytes[0] & 0xF) << 8 | usize::from(bytes[1]);
    let head = section.get(8..12).ok_or_else(short)?;
    let mut found = Streams { pmt, clock: pid(head), video: None, audio: None };
    let mut rest = section.get(12 + skip(&head[2..])..).ok_or_else(short)?;
    while !rest.is_empty() {
        let entry = rest.get(..5).ok_or_else(short)?;
        let slot = match entry[0] {
            H264 => &mut found.video,
            ADTS => &mut found.audio,
            _ => return Err(syntax(offset, "the PMT names a stream that is neither H.264 nor AAC in ADTS")),
        };
        if slot.replace(pid(&entry[1..])).is_some() {
            return Err(syntax(offset, "the PMT names two streams of a kind"));
        }
        rest = rest.get(5 + skip(&entry[3..])..).ok_or_else(short)?;
    }
    match found.video.or(found.audio) {
        Some(first) => SegmentError::field(offset, "PCR_PID", u64::from(found.clock), u64::from(first))?,
        None => return Err(syntax(offset, "the PMT names no stream")),
    }
    Ok(found)
}
