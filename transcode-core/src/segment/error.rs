//! What is wrong with a segment: where in its bytes, which picture or packet, which value, and what
//! it should have been. Byte offsets count from the segment's first byte, pictures and audio packets
//! from 0 in the order they are sent. Time stamps are ticks of the 90 kHz clock.

use crate::units::SegmentIndex;

/// The bytes of a segment are damaged, or are not what the plan says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// The bytes are no whole number of 188-byte packets, or none at all.
    #[error("{bytes} bytes are not a whole number of 188-byte packets: the segment is cut short")]
    Length {
        /// Bytes given.
        bytes: u64,
    },
    /// A field that can only have one value has another.
    #[error("byte {offset}: {field} is {found:#x}, expected {expected:#x}")]
    Field {
        /// Where the packet, section or access unit begins.
        offset: u64,
        /// Which field, in the standard's words.
        field: &'static str,
        /// What was read.
        found: u64,
        /// What it must be.
        expected: u64,
    },
    /// Something that this reader does not let through, or that ends before its end.
    #[error("byte {offset}: {reason}")]
    Syntax {
        /// Where the packet, section or access unit begins.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// The PAT or PMT does not have the CRC-32/MPEG-2 that it states.
    #[error("byte {offset}: the {table} says CRC {found:#010x}, its bytes have {expected:#010x}")]
    TableCrc {
        /// Where the packet begins.
        offset: u64,
        /// `PAT` or `PMT`.
        table: &'static str,
        /// Stated.
        found: u32,
        /// Computed.
        expected: u32,
    },
    /// A packet is missing, there twice, or out of its turn.
    #[error(
        "byte {offset}: continuity counter of PID {pid:#x} is {found}, expected {expected}: a packet is lost or misplaced"
    )]
    Continuity {
        /// Where the packet begins.
        offset: u64,
        /// Its stream.
        pid: u16,
        /// What was read.
        found: u8,
        /// One more than the stream's packet before, modulo 16.
        expected: u8,
    },
    /// A packet of a stream that the PMT does not name.
    #[error("byte {offset}: PID {pid:#x} is in neither PAT nor PMT")]
    UnknownPid {
        /// Where the packet begins.
        offset: u64,
        /// Its stream.
        pid: u16,
    },
    /// An access unit of video that a decoder could not take.
    #[error("byte {offset}, picture {picture}: {reason}")]
    Picture {
        /// Where its first packet begins.
        offset: u64,
        /// Its number in the order it is sent.
        picture: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// A picture comes without a parameter set that it needs.
    #[error("byte {offset}, picture {picture}: no {missing} before it")]
    ParameterSet {
        /// Where the picture's first packet begins.
        offset: u64,
        /// Its number in the order it is sent.
        picture: u64,
        /// `SPS` or `PPS`.
        missing: &'static str,
    },
    /// An AAC frame that a decoder could not take.
    #[error("byte {offset}, audio packet {packet}: {reason}")]
    AudioPacket {
        /// Where its first TS packet begins.
        offset: u64,
        /// Its number in the segment.
        packet: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// A stream that the plan has is missing, or the other way round.
    #[error("{stream} is {}, but the plan's rung is {} it", if *.found { "there" } else { "missing" }, if *.found { "without" } else { "with" })]
    Stream {
        /// `video` or `audio`.
        stream: &'static str,
        /// Whether the segment has it.
        found: bool,
    },
    /// The first picture is not one that a player can begin with.
    #[error("byte {offset}: the segment begins with a picture that is not IDR: no player can start here")]
    NotIdr {
        /// Where the picture's first packet begins.
        offset: u64,
    },
    /// Too few or too many pictures or audio packets.
    #[error("{found} {what}, expected {}", if .at_least == .at_most { .at_most.to_string() } else { format!("{} to {}", .at_least, .at_most) })]
    Count {
        /// `pictures` or `audio packets`.
        what: &'static str,
        /// In the segment.
        found: u64,
        /// The fewest the plan lets through.
        at_least: u64,
        /// The most the plan lets through.
        at_most: u64,
    },
    /// A key frame where the plan has none, or none where the plan has one.
    #[error("byte {offset}: picture {picture} is {} key frame, expected one every {gop} pictures and no others", if *.found { "a" } else { "no" })]
    KeyFrame {
        /// Where the picture's first packet begins.
        offset: u64,
        /// Its number in the order it is sent.
        picture: u64,
        /// Whether it is one.
        found: bool,
        /// Pictures from key frame to key frame in the plan.
        gop: u32,
    },
    /// Something is shown too early or too late.
    #[error("byte {offset}: {what} {number} has PTS {found}, expected {expected} ({} ticks of 90 kHz off)", crate::segment::clock::difference(*.found, *.expected))]
    Time {
        /// Where its first packet begins.
        offset: u64,
        /// `picture` (counted as shown) or `audio packet`.
        what: &'static str,
        /// Its number in the segment.
        number: u64,
        /// PTS read, modulo 2³³.
        found: u64,
        /// PTS of the plan, modulo 2³³.
        expected: u64,
    },
    /// Decoding times do not increase, or lie behind the presentation or before the clock.
    #[error("byte {offset}, picture {picture}: {rule}: {found} against {other}")]
    Order {
        /// Where the picture's first packet begins.
        offset: u64,
        /// Its number in the order it is sent.
        picture: u64,
        /// What should hold.
        rule: &'static str,
        /// The picture's DTS.
        found: u64,
        /// What it was compared with.
        other: u64,
    },
    /// The encoder made something else than the plan says.
    #[error("{what} is {found}, expected {expected}")]
    Format {
        /// Which property.
        what: &'static str,
        /// In the segment.
        found: String,
        /// In the plan.
        expected: String,
    },
    /// The plan has no such rung or segment: the caller's mistake.
    #[error("rung `{rung}` segment {index} is not in the plan")]
    NotPlanned {
        /// As asked.
        rung: String,
        /// As asked.
        index: SegmentIndex,
    },
}

impl SegmentError {
    pub(super) fn field(offset: u64, field: &'static str, found: u64, expected: u64) -> Result<(), Self> {
        if found == expected { Ok(()) } else { Err(Self::Field { offset, field, found, expected }) }
    }
}
