//! The source in pieces, one for each chunk of a plan: for those who want it read once, and its parts
//! sent to where they are worked on.
//!
//! Owns which pieces there are, where they are kept, and the list of them. Copies packets, decodes and
//! encodes nothing. Chunks do not need this: a graph reads ranges of the one source.
//!
//! A piece is a Matroska file. It begins with a key frame that is early enough for its chunk and ends
//! where a key frame behind the chunk does: so pieces overlap, and each can be decoded by itself. Its
//! stamps are the source's times plus [`Pieces::shift`], rounded to 0.1 ms.

use crate::cancel::Cancel;
use crate::error::Error;
use crate::graph::{CopyRun, SHIFT, copy_chunk};
use crate::media::SourceIdentity;
use crate::plan::{Plan, keys};
use crate::platform::Platform;
use crate::run::plan_digest;
use crate::sink::{ObjectKind, StreamSink, Writing};
use crate::source::Source;
use crate::units::{MediaTime, SegmentIndex};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The format of `chunks/source.json`.
pub const PIECES_VERSION: u32 = 1;

/// The list of pieces, stored beside them as [`keys::PIECES`]. It names what is stored whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pieces {
    /// [`PIECES_VERSION`] of the program that made it.
    pub version: u32,
    /// [`plan_digest`] of the plan whose chunks these are.
    pub plan: String,
    /// The bytes that were split.
    pub source: SourceIdentity,
    /// What was added to the source's times.
    pub shift: MediaTime,
    /// In order; one a chunk, as far as they are made.
    pub pieces: Vec<Piece>,
}

/// One piece.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The chunk's number.
    pub chunk: u32,
    /// The chunk's first segment.
    pub first: SegmentIndex,
    /// The segment after its last.
    pub end: SegmentIndex,
    /// Where it is kept, below the destination.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// The source's time of its first key frame; of its first packet where there are no pictures.
    pub begins: MediaTime,
    /// Packets in it, of all tracks.
    pub packets: u64,
}

/// Split the source of `plan` into a piece for each of its chunks. `tell` hears of each, and whether it
/// was there already.
///
/// Pieces that an earlier call has made of the same plan and source are left as they are. Blocks until
/// all are stored.
///
/// # Errors
/// - [`Error::Occupied`] where pieces of another plan or source are there and `overwrite` is not set;
/// - [`Error::Source`], [`Error::Input`] where the source cannot be read or taken apart;
/// - [`Error::Sink`] where a piece cannot be stored; nothing of that piece is left;
/// - [`Error::Platform`], [`Error::Stalled`] where an element is missing or hangs;
/// - [`Error::Interrupted`] soon after `cancel` is set.
pub fn split(
    plan: &Plan,
    platform: &Platform,
    source: &Arc<dyn Source>,
    sink: &dyn StreamSink,
    overwrite: bool,
    tell: &dyn Fn(&Piece, bool),
    cancel: &Cancel,
) -> Result<Pieces, Error> {
    let mut list = Pieces {
        version: PIECES_VERSION,
        plan: plan_digest(plan),
        source: plan.source.clone(),
        shift: MediaTime::new(SHIFT, 1).unwrap_or(MediaTime::ZERO),
        pieces: Vec::new(),
    };
    let mut there = found(&list, sink, overwrite, cancel)?;
    let mut made = false;
    for chunk in &plan.chunks {
        there.retain(|piece| piece.chunk >= chunk.index);
        if let Some(piece) = there.first().filter(|piece| piece.chunk == chunk.index) {
            if sink.size_of(&piece.key, cancel)?.is_none_or(|bytes| bytes == piece.bytes) {
                tell(piece, true);
                list.pieces.push(piece.clone());
                continue;
            }
        }
        made = true;
        let key = keys::piece(chunk.index);
        let about = about(plan, source.size(), chunk.segments().len());
        let mut writer = sink.begin(&key, ObjectKind::Piece, about, Writing::Replace, cancel)?;
        let mut bytes = 0;
        let run = CopyRun { plan, chunk, platform, source: source.clone(), cancel };
        let copied = copy_chunk(&run, &mut |part| {
            bytes += part.len() as u64;
            writer.write(part).map_err(Error::from)
        })?;
        writer.finish()?;
        let (first, end) = (chunk.first, chunk.end);
        let (begins, packets) = (copied.begins, copied.packets);
        let piece = Piece { chunk: chunk.index, first, end, key, bytes, begins, packets };
        tell(&piece, false);
        list.pieces.push(piece);
        // A list that is a piece behind is right; one that is a piece ahead would not be.
        sink.replace(keys::PIECES, ObjectKind::Document, list.to_json().as_bytes(), cancel)?;
    }
    if made {
        sink.replace(keys::PIECES, ObjectKind::Document, list.to_json().as_bytes(), cancel)?;
    }
    Ok(list)
}

/// The pieces of the same plan that are there.
fn found(
    wanted: &Pieces,
    sink: &dyn StreamSink,
    overwrite: bool,
    cancel: &Cancel,
) -> Result<Vec<Piece>, Error> {
    let Some(bytes) = sink.read(keys::PIECES, cancel)?.filter(|_| !overwrite) else { return Ok(Vec::new()) };
    let stored: Option<Pieces> = serde_json::from_slice(&bytes).ok();
    let same = |stored: &Pieces| {
        let identity = |list: &Pieces| (list.version, list.plan.clone(), list.source.clone(), list.shift);
        identity(stored) == identity(wanted)
    };
    match stored {
        Some(stored) if same(&stored) => Ok(stored.pieces),
        _ => Err(Error::Occupied {
            location: sink.location(),
            reason: format!(
                "{} is about pieces of another source, plan or version; choose another destination, or --overwrite",
                keys::PIECES
            ),
        }),
    }
}

/// At most so many bytes, for stores that want to know: the whole source and a little.
fn about(plan: &Plan, size: u64, segments: usize) -> u64 {
    let all = u64::from(plan.timeline.segment_count()).max(1);
    // A chunk's part, and as much again for what pieces share and where rates are uneven.
    let part = u128::from(size) * segments as u128 * 2 / u128::from(all);
    u64::try_from(part).unwrap_or(size).min(size) + (16 << 20)
}

impl Pieces {
    /// As it is stored.
    pub fn to_json(&self) -> String {
        // Plain data with text keys: nothing in it can fail to serialise.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}
