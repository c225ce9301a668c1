//! What streaming threads write down of the tracks that pass them, and when that is enough.
//!
//! Owns the reading of events and buffers, and what of it may be believed: the first pictures in the
//! order they are shown, colours from the bitstream before those of the container. The same file
//! gives the same notes, however soon or late the threads run. Times are stream times in
//! nanoseconds, GStreamer's clock.

use super::caps::{self, Facts};
use super::clock::Clock;
use crate::error::Error;
use crate::media::{Colour, Rotation};
use gstreamer as gst;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How much of each video track is looked at where the container has no tables: enough to tell a
/// rate from its neighbours on a clock of milliseconds.
const LOOK: i64 = 2_000_000_000;

/// Pictures that are looked at, however short they are.
const MOST_PICTURES: usize = 600;

/// How many pictures the deepest usual pyramid of B-pictures decodes before the first that is shown.
const REORDERED: usize = 8;

/// A track that has shown nothing while another went on for so long has nothing to show; one with
/// fewer pictures than are wanted is not waited for longer either.
const LATE: i64 = 10_000_000_000;

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// The container's tables tell times: one buffer a track, for what parsers say.
    Streams,
    /// The beginning of each track.
    Beginning,
    /// The beginning and the end of each track.
    BothEnds,
}

/// One of the demuxer's pads.
#[derive(Debug, Clone)]
pub(crate) struct SeenTrack {
    /// The pad's name.
    pub(crate) pad: String,
    /// The number at the end of the stream's identifier: an MP4's track number.
    pub(crate) id: Option<u32>,
    pub(crate) facts: Facts,
    pub(crate) rotation: Rotation,
    /// As the container writes it, of two or three letters.
    pub(crate) language: Option<String>,
    /// When the first picture or sample is shown.
    pub(crate) first: Option<i64>,
    /// Stamps of the first pictures or samples, in order. These are no stream times: Matroska's
    /// demuxer may find that another track begins earlier and move its zero by some milliseconds
    /// after a few pictures, which is no change of their rate.
    pub(crate) stamps: Vec<i64>,
    /// Buffers that passed.
    pub(crate) buffers: u64,
    /// When the last one begins and how long it lasts; only where the end was seen.
    pub(crate) last: Option<(i64, Option<i64>)>,
    /// The end of the track was seen.
    pub(crate) ended: bool,
}

/// What streaming threads write down.
pub(super) struct Notes {
    state: Mutex<State>,
    go_on: Condvar,
    look: Look,
    clock: Clock,
}

/// What was written down.
#[derive(Default)]
pub(super) struct State {
    /// In the order in which the demuxer showed them.
    pub(super) tracks: Vec<Note>,
    /// The demuxer has shown all of them.
    pub(super) complete: bool,
    /// Grows with everything that passes.
    pub(super) moved: u64,
    /// The first look is over: what passes now is not looked at any more, or only for its end.
    pub(super) over: bool,
    /// An element could not be made or linked in a streaming thread.
    pub(super) failure: Option<Error>,
}

/// What was written down of one track.
pub(super) struct Note {
    pub(super) seen: SeenTrack,
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    /// The latest time on this track.
    at: i64,
    /// What the container says of colours, which the parser was not told.
    colour: Option<Colour>,
}

impl State {
    /// Everything that the look is for has been seen of every track.
    pub(super) fn is_known(&self, look: Look) -> bool {
        let tracks = &self.tracks;
        let furthest = tracks.iter().map(|note| note.at).max().unwrap_or(0);
        let first = tracks.iter().filter_map(|note| note.seen.first).min().unwrap_or(0);
        let found = tracks.iter().any(|note| !matches!(note.seen.facts, Facts::Other(_)));
        let ended = !tracks.is_empty() && tracks.iter().all(|note| note.seen.ended);
        let all = self.complete && tracks.iter().all(|note| note.known(look));
        all || ended || (found && furthest - first >= LATE)
    }
}

impl Notes {
    pub(super) fn new(look: Look, clock: Clock) -> Self {
        Self { state: Mutex::default(), go_on: Condvar::new(), look, clock }
    }

    /// The first look is over; whoever waits for that goes on.
    pub(super) fn end_look(&self) {
        self.lock().over = true;
        self.go_on.notify_all();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn finish(&self, end_seen: bool) -> Vec<SeenTrack> {
        let tracks = std::mem::take(&mut self.lock().tracks);
        tracks
            .into_iter()
            .map(|mut note| {
                note.drop_the_unsettled();
                note.seen.stamps.sort_unstable();
                note.restore_colour();
                note.seen.last = note.seen.last.filter(|_| end_seen);
                note.seen
            })
            .collect()
    }

    pub(super) fn event(&self, track: usize, event: &gst::EventRef) {
        let mut state = self.lock();
        state.moved += 1;
        let Some(note) = state.tracks.get_mut(track) else { return };
        match event.view() {
            gst::EventView::StreamStart(start) => {
                note.seen.id = start.stream_id().rsplit('/').next().and_then(|id| id.parse().ok());
            }
            gst::EventView::Caps(caps) => note.seen.facts = caps::facts(caps.caps()),
            gst::EventView::Segment(segment) => {
                note.segment = segment.segment().clone().downcast::<gst::ClockTime>().ok();
            }
            gst::EventView::Tag(tag) => {
                if let Some(language) = tag.tag().get::<gst::tags::LanguageCode>() {
                    note.seen.language = Some(language.get().to_owned());
                }
                if let Some(orientation) = tag.tag().get::<gst::tags::ImageOrientation>() {
                    note.seen.rotation = caps::orientation(orientation.get());
                }
            }
            gst::EventView::Eos(_) => note.seen.ended = true,
            _ => {}
        }
    }

    /// A parser that is told colours passes them on, whatever the bitstream says; and containers
    /// often tell no range, or nothing but the range.
    pub(super) fn keep_colour_from_parser(&self, track: usize, info: &mut gst::PadProbeInfo<'_>) {
        let Some(gst::PadProbeData::Event(event)) = &info.data else { return };
        let gst::EventView::Caps(caps) = event.view() else { return };
        let Facts::Video(video) = caps::facts(caps.caps()) else { return };
        if video.colour.colorimetry.is_empty() {
            return;
        }
        let mut caps = caps.caps_owned();
        caps.make_mut().iter_mut().for_each(|structure| structure.remove_field("colorimetry"));
        info.data = Some(gst::PadProbeData::Event(gst::event::Caps::new(&caps)));
        if let Some(note) = self.lock().tracks.get_mut(track) {
            note.colour = Some(video.colour);
        }
    }

    pub(super) fn buffer(&self, track: usize, buffer: &gst::BufferRef) {
        let mut state = self.lock();
        state.moved += 1;
        let over = state.over;
        let Some(note) = state.tracks.get_mut(track) else { return };
        if buffer.flags().contains(gst::BufferFlags::HEADER) && note.has_header_packets() {
            return;
        }
        note.seen.buffers += 1;
        let stamp = buffer.pts().or(buffer.dts());
        let shown = note.segment.as_ref().zip(stamp).and_then(|(segment, stamp)| {
            // What lies outside the segment, before an edit list's begin, is not shown.
            let clipped = self.clock == Clock::Stream && segment.to_stream_time(stamp).is_none();
            (!clipped).then(|| self.clock.time(segment, stamp).nanos())
        });
        let Some(shown) = shown else { return };
        note.at = note.at.max(shown);
        // What is looked at must not depend on how soon the driver notices that it is enough.
        if !over && !note.seen_enough() {
            note.seen.first = Some(note.seen.first.map_or(shown, |first| first.min(shown)));
            note.seen.stamps.extend(stamp.and_then(|stamp| i64::try_from(stamp.nseconds()).ok()));
        }
        if note.seen.last.is_none_or(|(last, _)| shown >= last) {
            let length = buffer.duration().and_then(|length| i64::try_from(length.nseconds()).ok());
            note.seen.last = Some((shown, length));
        }
        // Enough is enough: the source is read no further until the driver has decided how to go on.
        while !state.over && state.is_known(self.look) {
            state = self.go_on.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Note {
    pub(super) fn new(seen: SeenTrack) -> Self {
        Self { seen, segment: None, at: 0, colour: None }
    }

    /// Codecs whose first packets say how to decode; elsewhere the same flag is on pictures.
    fn has_header_packets(&self) -> bool {
        let codec = match &self.seen.facts {
            Facts::Video(video) => &video.codec,
            Facts::Audio(audio) => &audio.codec,
            Facts::Other(_) => return false,
        };
        matches!(codec.as_str(), "theora" | "vorbis" | "opus" | "flac" | "speex")
    }

    fn seen_enough(&self) -> bool {
        let times = &self.seen.stamps;
        let span = times.iter().max().zip(times.iter().min()).map_or(0, |(last, first)| last - first);
        times.len() >= MOST_PICTURES
            || (times.len() > 3 * REORDERED && span >= LOOK)
            || (times.len() > 2 && span >= LATE)
    }

    /// Pictures are decoded in another order than they are shown: those shown after the earliest of
    /// the last few may have others before them that were not seen any more.
    fn drop_the_unsettled(&mut self) {
        if !matches!(self.seen.facts, Facts::Video(_)) || !self.seen_enough() {
            return;
        }
        let times = &mut self.seen.stamps;
        let last = times.iter().rev().take(REORDERED).min().copied();
        times.retain(|time| last.is_none_or(|last| *time <= last));
    }

    /// What the bitstream says of colours counts, as it does for decoders; where it says nothing,
    /// what the container says.
    fn restore_colour(&mut self) {
        if let (Facts::Video(video), Some(colour)) = (&mut self.seen.facts, self.colour.take()) {
            if video.colour.colorimetry.is_empty() {
                video.colour = colour;
            }
        }
    }

    /// Everything that the look is for has been seen.
    fn known(&self, look: Look) -> bool {
        if self.seen.ended {
            return true;
        }
        match &self.seen.facts {
            // Caps have not come yet.
            Facts::Other(name) if name.is_empty() => false,
            Facts::Other(_) => true,
            Facts::Audio(_) => self.seen.buffers > 0,
            Facts::Video(_) if look == Look::Streams => self.seen.buffers > 0,
            Facts::Video(_) => self.seen_enough(),
        }
    }
}
