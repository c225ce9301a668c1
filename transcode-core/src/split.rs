//! The source in pieces, about one for each chunk of a plan: for those who want it read once, and its parts
//! sent to where they are worked on.
//!
//! Owns where the pieces are kept, and the list of them. Copies packets, decodes and encodes nothing. Chunks
//! do not need this: a graph reads ranges of the one source.
//!
//! A piece is a Matroska file. It begins with the first key frame in or behind the slot that its chunk begins
//! with, and ends before that of the next: so each can be decoded by itself, and together they have every
//! packet of the source's picture and sound once. Where key frames are rare there are fewer pieces than
//! chunks. Stamps begin at 0 in each, rounded to 0.1 ms.

use crate::cancel::Cancel;
use crate::error::Error;
use crate::graph::{Copied, CopyRun, Part, copy_pieces};
use crate::media::SourceIdentity;
use crate::plan::{Plan, keys};
use crate::platform::Platform;
use crate::run::plan_digest;
use crate::sink::{ObjectKind, ObjectWriter, StreamSink, Writing};
use crate::source::Source;
use crate::units::MediaTime;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The format of `chunks/source.json`.
pub const PIECES_VERSION: u32 = 1;

/// What the store is told to expect beyond the source's own bytes: headers of a piece.
const HEADERS: u64 = 16 << 20;

/// Length of a piece, in seconds, where nothing says how long a chunk is.
const MINUTE: i64 = 60;

/// How a source is split.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Replace pieces of another plan or source.
    pub overwrite: bool,
    /// How long a piece is, rounded up to whole segments, where the plan is one chunk because its source
    /// cannot state its length; a minute where absent. Elsewhere the plan's chunks are taken.
    pub every: Option<MediaTime>,
}

/// The list of pieces, stored beside them as [`keys::PIECES`] once all are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pieces {
    /// [`PIECES_VERSION`] of the program that made it.
    pub version: u32,
    /// [`plan_digest`] of the plan whose chunks say where to cut.
    pub plan: String,
    /// The bytes that were split.
    pub source: SourceIdentity,
    /// Slots a piece, where the plan is one chunk because its source cannot state its length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// In order.
    pub pieces: Vec<Piece>,
}

/// One piece.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Where it is kept, below the destination.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// The source's time at its 0.
    pub begins: MediaTime,
    /// Pictures in it.
    pub pictures: u64,
    /// Packets of sound in it.
    pub audio_packets: u64,
}

/// Split the source of `plan`: the video and the audio track that it takes, and no others. `tell` hears of
/// each piece, and whether it was there already.
///
/// Where all pieces of the same plan and source are there, they are left; otherwise all are made. Blocks
/// until they are stored.
///
/// # Errors
/// - [`Error::Occupied`] where pieces of another plan or source are there and are not to be overwritten;
/// - [`Error::Source`], [`Error::Input`] where the source cannot be read or taken apart, or not be divided
///   without loss;
/// - [`Error::Sink`] where a piece cannot be stored; nothing of that piece is left, and no list;
/// - [`Error::Platform`], [`Error::Stalled`] where an element is missing or hangs;
/// - [`Error::Interrupted`] soon after `cancel` is set.
pub fn split(
    plan: &Plan,
    platform: &Platform,
    source: &Arc<dyn Source>,
    sink: &dyn StreamSink,
    options: Options,
    tell: &dyn Fn(&Piece, bool),
    cancel: &Cancel,
) -> Result<Pieces, Error> {
    let (version, digest, every) = (PIECES_VERSION, plan_digest(plan), every(plan, options.every));
    let mut list = Pieces { version, plan: digest, source: plan.source.clone(), every, pieces: Vec::new() };
    if let Some(before) = found(&list, sink, options.overwrite, cancel)? {
        if before.are_there(sink, cancel)? {
            before.pieces.iter().for_each(|piece| tell(piece, true));
            return Ok(before);
        }
        // First the list: it never names what is not there.
        sink.remove(keys::PIECES, cancel)?;
        for piece in &before.pieces {
            sink.remove(&piece.key, cancel)?;
        }
    }
    let mut under_way: Option<(String, u64, Box<dyn ObjectWriter + '_>)> = None;
    let run = CopyRun { plan, every, platform, source: source.clone(), cancel };
    copy_pieces(&run, &mut |part| match part {
        Part::Bytes(bytes) => {
            let (_, written, writer) = match &mut under_way {
                Some(under_way) => under_way,
                None => {
                    let key = keys::piece(u32::try_from(list.pieces.len()).unwrap_or(u32::MAX));
                    let about = source.size().saturating_add(HEADERS);
                    let writer = sink.begin(&key, ObjectKind::Piece, about, Writing::Replace, cancel)?;
                    under_way.insert((key, 0, writer))
                }
            };
            *written += bytes.len() as u64;
            Ok(writer.write(bytes)?)
        }
        Part::End(Copied { begins, pictures, audio_packets }) => {
            let Some((key, bytes, writer)) = under_way.take() else { return Ok(()) };
            writer.finish()?;
            let piece = Piece { key, bytes, begins, pictures, audio_packets };
            tell(&piece, false);
            list.pieces.push(piece);
            Ok(())
        }
    })?;
    sink.replace(keys::PIECES, ObjectKind::Document, list.to_json().as_bytes(), cancel)?;
    Ok(list)
}

/// Slots a piece, where the plan does not divide its timeline: whole segments.
fn every(plan: &Plan, asked: Option<MediaTime>) -> Option<u64> {
    let timeline = &plan.timeline;
    let length = asked.or_else(|| MediaTime::new(MINUTE, 1))?;
    let slots = u64::try_from(timeline.rate.ceil(length)).unwrap_or(1);
    let segment = u64::from(timeline.segment_slots.max(1));
    (timeline.open_ended && plan.chunks.len() <= 1)
        .then(|| slots.div_ceil(segment).max(1).saturating_mul(segment))
}

/// The list that is there: of the same plan and source, or of whatever is to be overwritten.
fn found(
    wanted: &Pieces,
    sink: &dyn StreamSink,
    overwrite: bool,
    cancel: &Cancel,
) -> Result<Option<Pieces>, Error> {
    let Some(bytes) = sink.read(keys::PIECES, cancel)? else { return Ok(None) };
    let stored: Option<Pieces> = serde_json::from_slice(&bytes).ok();
    let same = |stored: &Pieces| {
        let identity = |list: &Pieces| (list.version, list.plan.clone(), list.source.clone(), list.every);
        identity(stored) == identity(wanted)
    };
    match stored {
        // What is to be made anew is not there.
        Some(stored) if overwrite => Ok(Some(Pieces { version: 0, ..stored })),
        None if overwrite => Ok(None),
        Some(stored) if same(&stored) => Ok(Some(stored)),
        _ => Err(Error::Occupied {
            location: sink.location(),
            reason: format!(
                "{} is about pieces of another source, plan or version; choose another destination, or --overwrite",
                keys::PIECES
            ),
        }),
    }
}

impl Pieces {
    /// Whether all of them are, as far as these credentials may know.
    fn are_there(&self, sink: &dyn StreamSink, cancel: &Cancel) -> Result<bool, Error> {
        if self.version != PIECES_VERSION {
            return Ok(false);
        }
        if let Some(there) = sink.list(cancel)? {
            return Ok(self.pieces.iter().all(|piece| there.get(&piece.key) == Some(&piece.bytes)));
        }
        for piece in &self.pieces {
            if sink.size_of(&piece.key, cancel)?.is_some_and(|bytes| bytes != piece.bytes) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// As it is stored.
    pub fn to_json(&self) -> String {
        // Plain data with text keys: nothing in it can fail to serialise.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}
