//! What crosses the socket between the supervisor and its child, and how it is framed.
//!
//! A frame is two 32-bit lengths (big endian: header, body), a JSON header and raw bytes. Bodies hold
//! what is large: pictures' bytes, segments, plans, reports. All lengths are bounded, and a body's
//! memory grows as its bytes arrive, so that a broken peer cannot ask for gigabytes with one number.
//! Knows the core's plain data, no threads and no processes.

use super::failure::{SinkFailure, SourceFailure, WireError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use transcode_core::Event;
use transcode_core::media::SourceIdentity;
use transcode_core::plan::{Chunk, Plan};
use transcode_core::platform::{Missing, Platform};
use transcode_core::sink::ObjectKind;

/// Bytes of JSON in a header, at most. Headers hold names, numbers and error texts.
pub(super) const MAX_HEADER: u32 = 1 << 20;

/// Bytes of a body, at most: one segment of 60 s at 70 Mbit/s, or the report of a very long job.
pub(super) const MAX_BODY: u32 = 1 << 29;

/// Bytes that one read may ask for; longer reads are asked for in pieces.
pub(super) const MAX_READ: u32 = 8 << 20;

/// What the supervisor says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub(super) enum ToChild {
    /// Which source all requests are about; said once, first.
    Source {
        /// Which bytes.
        identity: SourceIdentity,
        /// How many.
        size: u64,
    },
    /// Look what the source is; the body is the platform as JSON.
    Probe,
    /// Look which elements of some platforms are installed; the body is the platforms as JSON.
    Examine,
    /// Make a chunk; the body is a [`Work`] as JSON.
    Run,
    /// Stop as soon as can be.
    Cancel,
    /// The answer to the child's question of that number; the body goes with some of them.
    Answer {
        /// The question.
        id: u64,
        /// What came of it.
        answer: Answer,
    },
}

/// What a child has to make.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Work {
    /// The plan, whole.
    pub(super) plan: Plan,
    /// The part that is wanted.
    pub(super) chunk: Chunk,
    /// How this machine does it.
    pub(super) platform: Platform,
    /// For how long nothing may move in the graph, in milliseconds.
    pub(super) stall_ms: u64,
}

/// What is installed here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examined {
    /// GStreamer's version: `1.22.0`.
    pub gstreamer: String,
    /// By platform, in their order: what it needs and is not there.
    pub missing: Vec<Vec<Missing>>,
}

/// What came of a question.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// The bytes that were asked for, in the body; fewer only at the end of the source.
    Bytes,
    /// There is no such object.
    Nothing,
    /// It was created.
    New,
    /// It had been there.
    Existed,
    /// It was replaced or removed.
    Done,
    /// It has so many bytes, or none are known.
    Size(Option<u64>),
    /// The source failed.
    SourceFailed(SourceFailure),
    /// The sink failed.
    SinkFailed(SinkFailure),
}

/// What the child says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub(super) enum ToParent {
    /// A read of the source.
    Read {
        /// The question's number.
        id: u64,
        /// First byte.
        offset: u64,
        /// How many bytes, at most [`MAX_READ`].
        length: u32,
    },
    /// A call of the sink; the object's bytes are the body.
    Object {
        /// The question's number.
        id: u64,
        /// What to do.
        call: Call,
        /// Below the destination.
        key: String,
    },
    /// The graph said so.
    Event {
        /// What.
        event: Event,
    },
    /// Nothing to tell yet, and not dead: while GStreamer starts and the first bytes are looked at.
    Alive,
    /// The probe's result; the body is the media info as JSON.
    Probed,
    /// What is installed; the body is an [`Examined`] as JSON.
    Examined,
    /// The chunk is made; the body is its report as JSON.
    Done,
    /// The request failed.
    Failed {
        /// Of what.
        error: WireError,
    },
}

/// A call of the sink.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Call {
    /// Create once.
    Create(ObjectKind),
    /// Put in place of what is there.
    Replace(ObjectKind),
    /// Read it whole.
    Read,
    /// How many bytes.
    SizeOf,
    /// Remove it.
    Remove,
}

/// Write one frame. The caller holds the socket's lock: frames are never interleaved.
pub(super) fn write_frame(out: &mut impl Write, header: &impl Serialize, body: &[u8]) -> io::Result<()> {
    let header = serde_json::to_vec(header)?;
    let lengths = (u32::try_from(header.len()), u32::try_from(body.len()));
    let (Ok(head), Ok(tail)) = lengths else { return Err(too_long("a frame", u64::MAX, MAX_BODY)) };
    if head > MAX_HEADER {
        return Err(too_long("a header", u64::from(head), MAX_HEADER));
    }
    if tail > MAX_BODY {
        return Err(too_long("a body", u64::from(tail), MAX_BODY));
    }
    let mut front = Vec::with_capacity(header.len() + 8);
    front.extend_from_slice(&head.to_be_bytes());
    front.extend_from_slice(&tail.to_be_bytes());
    front.extend_from_slice(&header);
    out.write_all(&front)?;
    out.write_all(body)?;
    out.flush()
}

/// Read the front of a frame: its header, and how many bytes of body follow. `None` where the peer
/// has gone between two frames.
pub(super) fn read_header<H: DeserializeOwned>(input: &mut impl Read) -> io::Result<Option<(H, u32)>> {
    let mut lengths = [0u8; 8];
    let mut filled = 0;
    while filled < lengths.len() {
        match input.read(&mut lengths[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let [a, b, c, d, e, f, g, h] = lengths;
    let (head, tail) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
    if head > MAX_HEADER {
        return Err(too_long("a header", u64::from(head), MAX_HEADER));
    }
    if tail > MAX_BODY {
        return Err(too_long("a body", u64::from(tail), MAX_BODY));
    }
    let header = read_body(input, head)?;
    Ok(Some((serde_json::from_slice(&header)?, tail)))
}

/// Read so many bytes of body.
pub(super) fn read_body(input: &mut impl Read, length: u32) -> io::Result<Vec<u8>> {
    // Small ones in one piece; large ones grow as they come.
    let mut body = Vec::with_capacity(length.min(MAX_READ) as usize);
    input.take(u64::from(length)).read_to_end(&mut body)?;
    if body.len() < length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(body)
}

fn too_long(what: &str, length: u64, limit: u32) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} of {length} bytes; allowed are {limit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in() {
        let mut wire = Vec::new();
        let body = vec![7u8; 100_000];
        let call = Call::Create(ObjectKind::Segment);
        let said = ToParent::Object { id: 4, call, key: "720p/00003.ts".to_owned() };
        write_frame(&mut wire, &said, &body).expect("write");
        write_frame(&mut wire, &ToParent::Alive, b"").expect("write");
        let mut input = wire.as_slice();
        let (header, length): (ToParent, u32) = read_header(&mut input).expect("read").expect("a frame");
        assert!(matches!(header, ToParent::Object { id: 4, call: Call::Create(ObjectKind::Segment), .. }));
        assert_eq!(read_body(&mut input, length).expect("body"), body);
        let (header, length): (ToParent, u32) = read_header(&mut input).expect("read").expect("a frame");
        assert!(matches!(header, ToParent::Alive) && length == 0);
        assert!(read_header::<ToParent>(&mut input).expect("a clean end").is_none());
    }

    #[test]
    fn a_frame_that_ends_early_is_an_error_and_not_an_end() {
        let mut wire = Vec::new();
        write_frame(&mut wire, &ToParent::Alive, b"12345").expect("write");
        for cut in 1..wire.len() {
            let mut input = &wire[..cut];
            let read = read_header::<ToParent>(&mut input)
                .and_then(|frame| read_body(&mut input, frame.map_or(0, |(_, length)| length)));
            assert!(read.is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn lengths_beyond_the_bounds_are_refused_before_memory_is_taken() {
        for lengths in [[u32::MAX, 0], [2, u32::MAX]] {
            let mut wire: Vec<u8> = lengths.iter().flat_map(|length| length.to_be_bytes()).collect();
            wire.extend_from_slice(b"{}");
            let error = read_header::<ToParent>(&mut wire.as_slice()).expect_err("too long");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        }
    }
}
