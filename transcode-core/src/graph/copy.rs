//! Copies a source into pieces, in one go through it: nothing is decoded, nothing encoded.
//!
//! ```text
//! source ! demux ─┬ (parse) ─ pictures ─┐                       ┌ piece 0: mux ─ bytes
//!                 └ (parse) ─ sound ────┴ in order, cut by time ┤ piece 1: mux ─ bytes
//! ```
//!
//! Owns where a piece ends, and the checks without which the pieces would not be the source. A piece begins
//! with the first key frame in or behind the slot that the plan has for it, unless pictures that follow it
//! are shown before it (an open group of pictures); the sound is cut at the same time. Every packet is in
//! exactly one piece, unchanged; what an edit list hides is in none. Stamps begin at 0 in every piece and are
//! rounded to 0.1 ms. Times are the source's.

mod muxer;
mod reader;

use super::follow::platform_error;
use crate::cancel::Cancel;
use crate::error::Error;
use crate::media::{Container, Rotation};
use crate::plan::Plan;
use crate::platform::Platform;
use crate::source::Source;
use crate::units::MediaTime;
use gstreamer as gst;
use muxer::Muxer;
use reader::{Next, Reader};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// How often a driver looks around.
const TICK: Duration = Duration::from_millis(20);

/// Nothing moves for so long: an element hangs.
const STALL: Duration = Duration::from_secs(30);

/// Packets wait for those of the other track up to so many bytes: several seconds of the dearest codecs.
const WAITING: u64 = 128 << 20;

/// What is to be copied.
pub(crate) struct CopyRun<'a> {
    pub(crate) plan: &'a Plan,
    /// So many slots a piece; absent where the plan's chunks say where pieces begin.
    pub(crate) every: Option<u64>,
    pub(crate) platform: &'a Platform,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) cancel: &'a Cancel,
}

/// What comes of it, in order.
pub(crate) enum Part<'a> {
    /// Bytes of the piece under way.
    Bytes(&'a [u8]),
    /// The piece is whole.
    End(Copied),
}

/// A piece.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Copied {
    /// The source's time at the piece's 0.
    pub(crate) begins: MediaTime,
    pub(crate) pictures: u64,
    pub(crate) audio_packets: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Video,
    Audio,
}

/// A packet of the source.
struct Packet {
    kind: Kind,
    time: MediaTime,
    is_key: bool,
    buffer: gst::Buffer,
    caps: gst::Caps,
}

/// Copy all of it; `give` is called on this thread.
///
/// # Errors
/// As [`run_chunk`](super::run_chunk), what `give` says, and [`Error::Input`] for a source that cannot be
/// divided without loss.
pub(crate) fn copy_pieces(
    run: &CopyRun<'_>,
    give: &mut dyn FnMut(Part<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    super::init()?;
    fits(run.plan)?;
    let reader = Reader::start(run)?;
    let chunks = run.plan.chunks.iter().skip(1).map(|chunk| run.plan.timeline.slots_of(chunk.first).start);
    let due = run.every.map_or_else(|| chunks.collect(), |every| VecDeque::from([every]));
    let mut cutter = Cutter { run, due, piece: None, end: MediaTime::ZERO };
    let first = reader.first()?;
    while let Some(next) = reader.next()? {
        cutter.take(next, first, give)?;
    }
    cutter.finish(give)
}

fn refused(plan: &Plan, reason: String) -> Error {
    let reason = format!("{reason}; `transcode run` takes it as it is and needs no pieces");
    Error::Input { uri: plan.source.uri.clone(), reason }
}

/// Whether pieces of it can be the same.
fn fits(plan: &Plan) -> Result<(), Error> {
    use Container::{Flv, Matroska, Mp4, MpegTs, QuickTime, WebM};
    if !matches!(plan.input.container, Mp4 | QuickTime | Matroska | WebM | MpegTs | Flv) {
        let reason = "it is split out of MP4, QuickTime, Matroska, WebM, MPEG-TS and FLV alone: other containers \
                      do not say of every packet when it is shown, and whether it is a key frame";
        return Err(refused(plan, reason.to_owned()));
    }
    if plan.input.video.as_ref().is_some_and(|video| video.rotation != Rotation::None) {
        let reason = "its pictures are to be turned, which a piece cannot say";
        return Err(refused(plan, reason.to_owned()));
    }
    Ok(())
}

struct Cutter<'a> {
    run: &'a CopyRun<'a>,
    /// Slots that pieces should begin at, from the next one on.
    due: VecDeque<u64>,
    piece: Option<Muxer<'a>>,
    /// Of the last picture, or packet of sound where there are none.
    end: MediaTime,
}

impl<'a> Cutter<'a> {
    fn take(
        &mut self,
        Next { packet, following, is_last, tracks }: Next,
        first: MediaTime,
        give: &mut dyn FnMut(Part<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let plan = self.run.plan;
        let cuts = packet.kind == Kind::Video || plan.input.video.is_none();
        if cuts {
            self.end = self.end.max(packet.time);
        }
        let piece = match self.piece.take() {
            None => Muxer::begin(self.run, first, &tracks)?,
            Some(piece) if cuts && self.is_cut(&packet, following) => {
                let late = piece.last(Kind::Audio).filter(|late| *late >= packet.time);
                if let Some(late) = late.filter(|_| packet.kind == Kind::Video) {
                    return Err(self.apart(late, packet.time));
                }
                piece.finish(give)?;
                Muxer::begin(self.run, packet.time, &tracks)?
            }
            Some(piece) => piece,
        };
        if packet.time < piece.begins {
            return Err(match packet.kind {
                Kind::Video => refused(
                    plan,
                    format!("a picture at {} s follows the key frame at {} s", packet.time, piece.begins),
                ),
                Kind::Audio => self.apart(packet.time, piece.begins),
            });
        }
        self.piece.insert(piece).push(packet, is_last, give)
    }

    /// Whether a new piece begins with this packet; if so, it is not due any more.
    fn is_cut(&mut self, packet: &Packet, following: Option<MediaTime>) -> bool {
        let timeline = &self.run.plan.timeline;
        let slot = timeline.rate.nearest(packet.time - timeline.start);
        let is_due = |due: &u64| i64::try_from(*due).is_ok_and(|due| due <= slot);
        let is_key = packet.is_key || packet.kind == Kind::Audio;
        // Pictures that are shown before a key frame follow it at once (H.264 and H.265 alike).
        let is_closed = following.is_none_or(|following| following >= packet.time);
        if !(is_key && is_closed && self.due.front().is_some_and(is_due)) {
            return false;
        }
        while self.due.front().is_some_and(is_due) {
            let due = self.due.pop_front();
            if let (Some(due), Some(every)) = (due, self.run.every) {
                self.due.push_back(due.saturating_add(every.max(1)));
            }
        }
        true
    }

    /// The tracks are too far apart to be cut at one time.
    fn apart(&self, sound: MediaTime, pictures: MediaTime) -> Error {
        let reason = format!(
            "its sound at {sound} s and its pictures at {pictures} s lie more than {} MiB apart in the file",
            WAITING >> 20
        );
        refused(self.run.plan, reason)
    }

    fn finish(self, give: &mut dyn FnMut(Part<'_>) -> Result<(), Error>) -> Result<(), Error> {
        let plan = self.run.plan;
        let Some(piece) = self.piece else {
            return Err(refused(plan, "nothing is in it that could be copied".to_owned()));
        };
        // As much as may be missing where it is decoded.
        let short = plan.timeline.rate.time_of(2).max(MediaTime::new(1, 2).unwrap_or(MediaTime::ZERO));
        let planned = plan.timeline.start + plan.timeline.duration();
        if !plan.timeline.open_ended && !plan.allow_truncated && self.end + short < planned {
            return Err(Error::Input {
                uri: plan.source.uri.clone(),
                reason: format!(
                    "it ends early: packets up to {} s of {planned} s are there; fetch it again, or split what is \
                     there with --allow-truncated",
                    self.end
                ),
            });
        }
        piece.finish(give)
    }
}
