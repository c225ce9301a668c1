//! MPEG-TS packets (ISO/IEC 13818-1 §2.4.3): sync, header, adaptation field, PCR, continuity.

use super::error::SegmentError;

/// Bytes of a packet.
pub(super) const PACKET: usize = 188;

/// One packet, taken apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet<'a> {
    /// Its first byte's place in the segment.
    pub(super) offset: u64,
    pub(super) pid: u16,
    /// A PES packet or section begins in it.
    pub(super) starts: bool,
    pub(super) counter: u8,
    /// The adaptation field says that a decoder can start here.
    pub(super) random_access: bool,
    /// Program clock reference in ticks of 27 MHz.
    pub(super) pcr: Option<u64>,
    /// Empty where the packet carries an adaptation field alone.
    pub(super) payload: &'a [u8],
}

/// The packets of a segment, in order.
pub(super) fn packets(
    bytes: &[u8],
) -> Result<impl Iterator<Item = Result<Packet<'_>, SegmentError>>, SegmentError> {
    if bytes.is_empty() || !bytes.len().is_multiple_of(PACKET) {
        return Err(SegmentError::Length { bytes: bytes.len() as u64 });
    }
    let offsets = (0u64..).step_by(PACKET);
    Ok(bytes.chunks_exact(PACKET).zip(offsets).map(|(bytes, offset)| packet(bytes, offset)))
}

fn packet(bytes: &[u8], offset: u64) -> Result<Packet<'_>, SegmentError> {
    let (header, body) = bytes.split_at(4);
    SegmentError::field(offset, "sync_byte", u64::from(header[0]), 0x47)?;
    SegmentError::field(offset, "transport_error_indicator", u64::from(header[1] >> 7), 0)?;
    SegmentError::field(offset, "transport_scrambling_control", u64::from(header[3] >> 6), 0)?;
    let mut packet = Packet {
        offset,
        pid: u16::from(header[1] & 0x1F) << 8 | u16::from(header[2]),
        starts: header[1] >> 6 & 1 == 1,
        counter: header[3] & 0xF,
        random_access: false,
        pcr: None,
        payload: &[],
    };
    let control = header[3] >> 4 & 3;
    let syntax = |reason| SegmentError::Syntax { offset, reason };
    let length = match control {
        1 => 0,
        2 | 3 => usize::from(body[0]) + 1,
        _ => return Err(syntax("adaptation_field_control is 0, which is reserved")),
    };
    // With a payload at least one byte is left for it, without one the field fills the packet.
    if (control == 2 && length != body.len()) || (control == 3 && length >= body.len()) {
        return Err(syntax("the adaptation field does not fit into its packet"));
    }
    let (field, payload) = body.split_at(length);
    packet.payload = payload;
    if let Some(flags) = field.get(1) {
        SegmentError::field(offset, "discontinuity_indicator", u64::from(flags >> 7), 0)?;
        packet.random_access = flags >> 6 & 1 == 1;
        if flags >> 4 & 1 == 1 {
            let pcr = field.get(2..8).ok_or_else(|| syntax("the adaptation field ends within its PCR"))?;
            packet.pcr = Some(clock(pcr));
        }
    }
    Ok(packet)
}

/// 33 bits of 90 kHz, 6 reserved, 9 of 27 MHz.
fn clock(bytes: &[u8]) -> u64 {
    let bits = bytes.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
    (bits >> 15) * 300 + (bits & 0x1FF)
}

/// The continuity counter of one stream: one more with every packet that has a payload.
///
/// The first packet may have any: it goes on from the segment before, or starts anew with a graph.
#[derive(Debug, Default)]
pub(super) struct Continuity(Option<u8>);

impl Continuity {
    pub(super) fn follow(&mut self, packet: &Packet<'_>) -> Result<(), SegmentError> {
        if let Some(last) = self.0 {
            let expected = if packet.payload.is_empty() { last } else { last.wrapping_add(1) & 0xF };
            if packet.counter != expected {
                return Err(SegmentError::Continuity {
                    offset: packet.offset,
                    pid: packet.pid,
                    found: packet.counter,
                    expected,
                });
            }
        }
        self.0 = Some(packet.counter);
        Ok(())
    }
}
