//! PES packets (ISO/IEC 13818-1 §2.4.3.6): put together from TS packets, header and time stamps read.

use super::error::SegmentError;
use super::ts::{Continuity, Packet};

/// One PES packet, put together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unit<'a> {
    /// Where its first TS packet begins.
    pub(super) offset: u64,
    /// Presentation time, 90 kHz, 33 bits.
    pub(super) pts: u64,
    /// Decoding time; the presentation time where none is written.
    pub(super) dts: u64,
    /// The clock reference in its first TS packet, 27 MHz.
    pub(super) pcr: Option<u64>,
    /// Its first TS packet is marked as a place to start at.
    pub(super) random_access: bool,
    /// The elementary stream's bytes.
    pub(super) data: &'a [u8],
}

/// Puts the PES packets of one stream together, in one buffer that is used again and again.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    bytes: Vec<u8>,
    offset: u64,
    pcr: Option<u64>,
    random_access: bool,
    counter: Continuity,
}

impl Assembler {
    /// Take a TS packet; where it begins another PES packet, the one before is finished by `act`.
    pub(super) fn push(
        &mut self,
        packet: &Packet<'_>,
        act: impl FnMut(Unit<'_>) -> Result<(), SegmentError>,
    ) -> Result<(), SegmentError> {
        self.counter.follow(packet)?;
        if packet.starts {
            self.finish(act)?;
            self.offset = packet.offset;
            self.pcr = packet.pcr;
            self.random_access = packet.random_access;
        } else if self.bytes.is_empty() && !packet.payload.is_empty() {
            return Err(SegmentError::Syntax {
                offset: packet.offset,
                reason: "the stream does not begin with the start of a PES packet",
            });
        }
        self.bytes.extend_from_slice(packet.payload);
        Ok(())
    }

    /// There is no more: finish what is there.
    pub(super) fn finish(
        &mut self,
        mut act: impl FnMut(Unit<'_>) -> Result<(), SegmentError>,
    ) -> Result<(), SegmentError> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let unit = self.unit()?;
        act(unit)?;
        self.bytes.clear();
        Ok(())
    }

    fn unit(&self) -> Result<Unit<'_>, SegmentError> {
        let (offset, bytes) = (self.offset, self.bytes.as_slice());
        let syntax = |reason| SegmentError::Syntax { offset, reason };
        let field = |name, found, expected| SegmentError::field(offset, name, found, expected);
        let head = bytes.get(..9).ok_or_else(|| syntax("the PES packet ends within its header"))?;
        let prefix = u64::from(head[0]) << 16 | u64::from(head[1]) << 8 | u64::from(head[2]);
        field("packet_start_code_prefix", prefix, 1)?;
        // 110x xxxx is audio, 1110 xxxx video; all others carry none of our streams.
        let video = head[3] >> 4 == 0xE;
        if !video && head[3] >> 5 != 0b110 {
            return Err(syntax("stream_id is neither video nor audio"));
        }
        let length = usize::from(head[4]) << 8 | usize::from(head[5]);
        // Only video may leave it at 0, where a picture has more than 16 bits can say.
        if (length != 0 || !video) && length + 6 != bytes.len() {
            return Err(SegmentError::Field {
                offset,
                field: "PES_packet_length",
                found: length as u64,
                expected: bytes.len() as u64 - 6,
            });
        }
        field("marker bits of the PES header", u64::from(head[6] >> 6), 0b10)?;
        field("PES_scrambling_control", u64::from(head[6] >> 4 & 3), 0)?;
        let (header, data) = bytes
            .split_at_checked(9 + usize::from(head[8]))
            .ok_or_else(|| syntax("the PES packet ends within its header"))?;
        let stamp = |at: usize, prefix: u8| {
            let bytes =
                header.get(at..at + 5).ok_or_else(|| syntax("the PES header ends within a time stamp"))?;
            timestamp(bytes, prefix).ok_or_else(|| syntax("a time stamp's marker bits are wrong"))
        };
        let (pts, dts) = match head[7] >> 6 {
            0b10 => {
                let pts = stamp(9, 0b0010)?;
                (pts, pts)
            }
            0b11 => (stamp(9, 0b0011)?, stamp(14, 0b0001)?),
            _ => return Err(syntax("the PES packet has no presentation time")),
        };
        Ok(Unit { offset, pts, dts, pcr: self.pcr, random_access: self.random_access, data })
    }
}

/// 33 bits in 3, 15 and 15, each followed by a marker.
fn timestamp(bytes: &[u8], prefix: u8) -> Option<u64> {
    if bytes[0] >> 4 != prefix || bytes[0] & bytes[2] & bytes[4] & 1 != 1 {
        return None;
    }
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|at| u64::from(bytes[at]));
    Some((a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1)
}
