//! Looks into a source: which tracks the demuxer finds, what parsers say of them, and when their
//! first and last pictures and samples are shown.
//!
//! Owns a small pipeline, `source ! demuxer ! parser ! nothing`, that decodes nothing and is taken
//! down as soon as every track is known. The caller's thread drives it; streaming threads only write
//! down what passes. Everything that could go on for ever is bounded: standing still, bytes, pictures.
//! Times are stream times in nanoseconds, GStreamer's clock.

use super::caps::{self, Facts};
use super::init::make;
use super::source_element::{Watched, source_element};
use crate::cancel::Cancel;
use crate::error::Error;
use crate::media::{Colour, Rotation};
use crate::platform::Platform;
use crate::source::Source;
use crate::units::MediaTime;
use gstreamer as gst;
use gstreamer::prelude::*;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often the driver looks around.
const TICK: Duration = Duration::from_millis(10);

/// Nothing is read and nothing passes for so long: an element hangs.
const STALL: Duration = Duration::from_secs(10);

/// How long taking the pipeline down may block before its threads are left to themselves.
const TEARDOWN: Duration = Duration::from_millis(800);

/// How much of each video track is looked at where the container has no tables: enough to tell a
/// rate from its neighbours on a clock of milliseconds.
const LOOK: i64 = 2_000_000_000;

/// Pictures that are looked at, however short they are.
const MOST_PICTURES: usize = 600;

/// How many pictures the deepest usual pyramid of B-pictures decodes before the first that is shown.
const REORDERED: usize = 8;

/// A track that has shown nothing while another went on for so long has nothing to show.
const LATE: i64 = 10_000_000_000;

/// Bytes after which a source is given up in which nothing was found.
const MOST_BYTES: u64 = 256 << 20;

/// Where the end is looked at from, before the end: longer than the distance of key frames usual in
/// broadcasting.
const TAIL: i64 = 4_000_000_000;

/// How long the end may be looked for. It is a nicety: without it the length is what headers say.
const TAIL_LIMIT: Duration = Duration::from_secs(8);

/// A source up to this size is read to its end rather than entered near it.
pub(crate) const SMALL: u64 = 4 << 20;

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

/// What to look into, and how.
pub(crate) struct Examination<'a> {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) platform: &'a Platform,
    /// The container as platform files key it.
    pub(crate) container: &'a str,
    pub(crate) look: Look,
    /// For streams without a container: the audio codec whose parser takes the bytes.
    pub(crate) elementary: Option<&'a str>,
    pub(crate) cancel: &'a Cancel,
}

/// What was found.
#[derive(Debug, Clone)]
pub(crate) struct Examined {
    /// In the demuxer's order.
    pub(crate) tracks: Vec<SeenTrack>,
    /// What the demuxer says of the whole.
    pub(crate) duration: Option<MediaTime>,
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
    /// When the first pictures or samples are shown, in order of time.
    pub(crate) times: Vec<i64>,
    /// Buffers that passed.
    pub(crate) buffers: u64,
    /// When the last one begins and how long it lasts; only where the end was seen.
    pub(crate) last: Option<(i64, Option<i64>)>,
    /// The end of the track was seen.
    pub(crate) ended: bool,
}

/// Look into a source.
///
/// # Errors
/// [`Error::Input`] where the demuxer or a parser fails, or finds nothing; [`Error::Source`];
/// [`Error::Platform`] for elements that are not there; [`Error::Stalled`]; [`Error::Interrupted`].
pub(crate) fn examine(wanted: &Examination<'_>) -> Result<Examined, Error> {
    super::init()?;
    let driver = Driver::build(wanted)?;
    let result = driver.until_known();
    let end_seen = result.is_ok() && wanted.look == Look::BothEnds && driver.look_at_the_end();
    let duration = driver.duration();
    driver.take_down();
    match result {
        Ok(()) => Ok(Examined { tracks: driver.notes.finish(end_seen), duration }),
        Err(error) => Err(error),
    }
}

/// What streaming threads write down.
#[derive(Default)]
struct Notes {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tracks: Vec<Note>,
    complete: bool,
    /// Grows with everything that passes.
    moved: u64,
    /// An element could not be made or linked in a streaming thread.
    failure: Option<Error>,
}

struct Note {
    seen: SeenTrack,
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    /// The latest time on this track.
    at: i64,
    /// What the container says of colours, which the parser was not told.
    colour: Option<Colour>,
    /// Pictures came after those that were looked at.
    went_on: bool,
}

impl Notes {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, end_seen: bool) -> Vec<SeenTrack> {
        let tracks = std::mem::take(&mut self.lock().tracks);
        tracks
            .into_iter()
            .map(|mut note| {
                note.drop_the_unsettled();
                note.seen.times.sort_unstable();
                note.restore_colour();
                note.seen.last = note.seen.last.filter(|_| end_seen);
                note.seen
            })
            .collect()
    }

    fn event(&self, track: usize, event: &gst::EventRef) {
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
    fn keep_colour_from_parser(&self, track: usize, info: &mut gst::PadProbeInfo<'_>) {
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

    fn buffer(&self, track: usize, buffer: &gst::BufferRef) {
        let mut state = self.lock();
        state.moved += 1;
        let Some(note) = state.tracks.get_mut(track) else { return };
        if buffer.flags().contains(gst::BufferFlags::HEADER) && note.has_header_packets() {
            return;
        }
        note.seen.buffers += 1;
        let stamp = buffer.pts().or(buffer.dts());
        let shown =
            note.segment.as_ref().zip(stamp).and_then(|(segment, stamp)| segment.to_stream_time(stamp));
        let Some(shown) = shown.and_then(|time| i64::try_from(time.nseconds()).ok()) else { return };
        note.at = note.at.max(shown);
        // What is looked at must not depend on how soon the driver notices that it is enough.
        if note.seen_enough() {
            note.went_on = true;
        } else {
            note.seen.times.push(shown);
        }
        if note.seen.last.is_none_or(|(last, _)| shown >= last) {
            let length = buffer.duration().and_then(|length| i64::try_from(length.nseconds()).ok());
            note.seen.last = Some((shown, length));
        }
    }
}

impl Note {
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
        let times = &self.seen.times;
        let span = times.iter().max().zip(times.iter().min()).map_or(0, |(last, first)| last - first);
        times.len() >= MOST_PICTURES || (times.len() > 3 * REORDERED && span >= LOOK)
    }

    /// Pictures are decoded in another order than they are shown: those shown after the earliest of
    /// the last few may have others before them that were not seen any more.
    fn drop_the_unsettled(&mut self) {
        if !matches!(self.seen.facts, Facts::Video(_)) || !self.went_on {
            return;
        }
        let times = &mut self.seen.times;
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

struct Driver<'a> {
    wanted: &'a Examination<'a>,
    pipeline: gst::Pipeline,
    demuxer: gst::Element,
    source: Arc<Watched>,
    /// Ends this examination's reads without touching the caller's handle.
    reading: Cancel,
    notes: Arc<Notes>,
}

impl<'a> Driver<'a> {
    fn build(wanted: &'a Examination<'a>) -> Result<Self, Error> {
        let wrong = |reason: &str| platform_error(wanted.platform, reason);
        let source = Watched::new(wanted.source.clone());
        let reading = wanted.cancel.child();
        let element = source_element(source.clone(), reading.clone())?;
        let pipeline = gst::Pipeline::new();
        pipeline.add(&element).map_err(|_| wrong("the source cannot be added"))?;
        let demuxer = match (wanted.platform.demux.get(wanted.container), wanted.elementary) {
            (Some(factory), _) => {
                let demuxer = make(&wanted.platform.name, factory)?;
                demuxer.set_property("name", "demuxer");
                pipeline.add(&demuxer).map_err(|_| wrong("the demuxer cannot be added"))?;
                element.link(&demuxer).map_err(|_| wrong("the demuxer cannot be linked"))?;
                demuxer
            }
            (None, Some(_)) => element,
            (None, None) => {
                return Err(wrong(&format!("no demuxer is named for the container `{}`", wanted.container)));
            }
        };
        let notes = Arc::new(Notes::default());
        let driver = Self { wanted, pipeline, demuxer, source, reading, notes };
        driver.connect();
        Ok(driver)
    }

    /// Have every pad followed by its parser and by nothing.
    fn connect(&self) {
        let follow = Follow {
            pipeline: self.pipeline.downgrade(),
            platform: self.wanted.platform.clone(),
            elementary: self.wanted.elementary.map(str::to_owned),
            notes: self.notes.clone(),
        };
        let always = self.demuxer.src_pads();
        always.iter().for_each(|pad| follow.pad(pad));
        if always.is_empty() {
            self.demuxer.connect_pad_added(move |_, pad| follow.pad(pad));
            let notes = self.notes.clone();
            self.demuxer.connect_no_more_pads(move |_| notes.lock().complete = true);
        } else {
            self.notes.lock().complete = true;
        }
    }

    /// Run until every track is known.
    fn until_known(&self) -> Result<(), Error> {
        let bus = self
            .pipeline
            .bus()
            .ok_or_else(|| platform_error(self.wanted.platform, "a pipeline has no bus"))?;
        let started = self.pipeline.set_state(gst::State::Playing);
        let mut watch = Standstill::new();
        loop {
            if self.wanted.cancel.is_cancelled() {
                return Err(Error::Interrupted);
            }
            if let Some(message) =
                bus.timed_pop_filtered(clock(TICK), &[gst::MessageType::Error, gst::MessageType::Eos])
            {
                return match message.view() {
                    gst::MessageView::Error(error) => self.blame(error),
                    _ => Ok(()),
                };
            }
            if let Some(failure) = self.notes.lock().failure.take() {
                return Err(failure);
            }
            if started.is_err() {
                return Err(platform_error(self.wanted.platform, "the demuxer does not start"));
            }
            if self.is_known() {
                return Ok(());
            }
            if self.source.bytes() > MOST_BYTES && !self.anything_found() {
                return Err(self.input(format!(
                    "no video and no audio was found in its first {} MiB; the file is damaged",
                    MOST_BYTES >> 20
                )));
            }
            self.check_standstill(&mut watch)?;
        }
    }

    fn is_known(&self) -> bool {
        let state = self.notes.lock();
        let furthest = state.tracks.iter().map(|note| note.at).max().unwrap_or(0);
        let all = state.tracks.iter().all(|note| note.known(self.wanted.look));
        let found = state.tracks.iter().any(|note| !matches!(note.seen.facts, Facts::Other(_)));
        let first =
            state.tracks.iter().filter_map(|note| note.seen.times.first()).min().copied().unwrap_or(0);
        let ended = !state.tracks.is_empty() && state.tracks.iter().all(|note| note.seen.ended);
        (state.complete && all) || ended || (found && furthest - first >= LATE)
    }

    fn anything_found(&self) -> bool {
        self.notes.lock().tracks.iter().any(|note| note.seen.buffers > 0)
    }

    fn check_standstill(&self, watch: &mut Standstill) -> Result<(), Error> {
        let now = (self.notes.lock().moved, self.source.bytes());
        if watch.lasts(now, self.source.is_reading()) < STALL {
            return Ok(());
        }
        if !self.anything_found() {
            return Err(self.input("no video and no audio was found in it; the file is damaged".to_owned()));
        }
        Err(Error::Stalled {
            reason: format!(
                "nothing moved for {} s while looking into {} with `{}`",
                STALL.as_secs(),
                self.wanted.source.identity().uri,
                self.element_name(&self.demuxer)
            ),
        })
    }

    /// Whose fault an error on the bus is. After everything was seen it is nobody's.
    fn blame(&self, error: &gst::message::Error) -> Result<(), Error> {
        if let Some(failure) = self.source.failure() {
            return Err(Error::Source(failure));
        }
        if self.wanted.cancel.is_cancelled() {
            return Err(Error::Interrupted);
        }
        if let Some(failure) = self.notes.lock().failure.take() {
            return Err(failure);
        }
        if self.is_known() {
            return Ok(());
        }
        let element = error.src().and_then(|source| source.downcast_ref::<gst::Element>());
        let name = element.map_or_else(|| "the pipeline".to_owned(), |element| self.element_name(element));
        let text = one_line(error.error().message());
        // The first line is a place in GStreamer's code, what follows is for people.
        let detail = error.debug().and_then(|debug| Some(one_line(debug.as_str().split_once('\n')?.1)));
        let detail = detail.filter(|detail| !detail.is_empty()).map(|detail| format!(" ({detail})"));
        let reason = format!(
            "`{name}` cannot read it, {} bytes in: {text}{}; the file is damaged or not what it seems",
            self.source.bytes(),
            detail.unwrap_or_default()
        );
        if error.error().is::<gst::CoreError>() || error.error().is::<gst::LibraryError>() {
            return Err(platform_error(self.wanted.platform, &reason));
        }
        Err(self.input(reason))
    }

    fn input(&self, reason: String) -> Error {
        Error::Input { uri: self.wanted.source.identity().uri, reason }
    }

    fn element_name(&self, element: &gst::Element) -> String {
        element.factory().map_or_else(|| element.name().to_string(), |factory| factory.name().to_string())
    }

    /// What the demuxer says of the whole.
    fn duration(&self) -> Option<MediaTime> {
        let pads = self.demuxer.src_pads();
        let longest = pads.iter().filter_map(|pad| pad.query_duration::<gst::ClockTime>()).max()?;
        i64::try_from(longest.nseconds()).ok().filter(|nanos| *nanos > 0).map(MediaTime::from_nanos)
    }

    /// Enter the source near its end and read on from there, so that the last picture and the last
    /// sample of each track are seen. Where that fails nothing is said of the end.
    fn look_at_the_end(&self) -> bool {
        let duration = self.duration().map(MediaTime::nanos);
        let small = self.wanted.source.size() <= SMALL;
        let entered = match duration {
            _ if self.all_ended() => return true,
            _ if small => true,
            Some(duration) if duration > 2 * TAIL => self.enter(duration - TAIL),
            Some(_) => true,
            None => false,
        };
        let reached = entered && self.until_the_end();
        if !reached {
            log::debug!("the end of {} was not reached", self.wanted.source.identity().uri);
        }
        reached
    }

    fn enter(&self, at: i64) -> bool {
        let at = gst::ClockTime::from_nseconds(at.max(0).unsigned_abs());
        let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT | gst::SeekFlags::SNAP_BEFORE;
        let seek = gst::event::Seek::new(
            1.0,
            flags,
            gst::SeekType::Set,
            at,
            gst::SeekType::None,
            gst::ClockTime::NONE,
        );
        for note in &mut self.notes.lock().tracks {
            note.seen.ended = false;
            note.seen.last = None;
        }
        let pads = self.demuxer.src_pads();
        let entry = pads.iter().find(|pad| pad.name().starts_with("video")).or(pads.first());
        entry.is_some_and(|pad| pad.send_event(seek))
    }

    fn all_ended(&self) -> bool {
        let state = self.notes.lock();
        let mut used = state.tracks.iter().filter(|note| !matches!(note.seen.facts, Facts::Other(_)));
        !state.tracks.is_empty() && used.all(|note| note.seen.ended)
    }

    fn until_the_end(&self) -> bool {
        let Some(bus) = self.pipeline.bus() else { return false };
        let begun = Instant::now();
        while !self.all_ended() {
            let failed = bus.timed_pop_filtered(clock(TICK), &[gst::MessageType::Error]).is_some();
            let late = begun.elapsed() > TAIL_LIMIT && !self.source.is_reading();
            if failed || late || self.wanted.cancel.is_cancelled() {
                return false;
            }
        }
        true
    }

    /// To NULL on a thread of its own, as demuxers of damaged files may hang.
    fn take_down(&self) {
        self.reading.cancel();
        let pipeline = self.pipeline.clone();
        let (done, wait) = channel();
        let thread = std::thread::Builder::new().name("teardown".to_owned()).spawn(move || {
            let _already_down = pipeline.set_state(gst::State::Null);
            let _gave_up_waiting = done.send(());
        });
        if thread.is_err() || wait.recv_timeout(TEARDOWN).is_err() {
            log::warn!("the pipeline does not go down; its threads are left behind");
        }
    }
}

/// What follows a demuxer's pad.
struct Follow {
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    platform: Platform,
    elementary: Option<String>,
    notes: Arc<Notes>,
}

impl Follow {
    fn pad(&self, pad: &gst::Pad) {
        if let Err(error) = self.try_pad(pad) {
            self.notes.lock().failure.get_or_insert(error);
        }
    }

    fn try_pad(&self, pad: &gst::Pad) -> Result<(), Error> {
        let Some(pipeline) = self.pipeline.upgrade() else { return Ok(()) };
        let wrong = |reason: &str| platform_error(&self.platform, reason);
        let facts = pad.current_caps().map_or(Facts::Other(String::new()), |caps| caps::facts(&caps));
        let sink = make(&self.platform.name, "fakesink")?;
        sink.set_property("sync", false);
        sink.set_property("async", false);
        sink.set_property("enable-last-sample", false);
        let mut chain = Vec::new();
        let decoder = match (&self.elementary, &facts) {
            (Some(codec), _) => self.platform.decode_audio.get(codec),
            (None, Facts::Video(video)) => self.platform.decode.get(&video.codec),
            (None, Facts::Audio(audio)) => self.platform.decode_audio.get(&audio.codec),
            (None, Facts::Other(_)) => None,
        };
        if let Some(parse) = decoder.and_then(|decoder| decoder.parse.as_ref()) {
            chain.push(make(&self.platform.name, parse)?);
        }
        if matches!(&facts, Facts::Video(video) if video.codec == "h264") && !chain.is_empty() {
            // In this form the header is in the caps.
            let filter = make(&self.platform.name, "capsfilter")?;
            let form =
                gst::Caps::builder("video/x-h264").field("stream-format", "avc").field("alignment", "au");
            filter.set_property("caps", form.build());
            chain.push(filter);
        }
        chain.push(sink);
        pipeline.add_many(&chain).map_err(|_| wrong("a parser cannot be added"))?;
        gst::Element::link_many(&chain).map_err(|_| wrong("a parser cannot be linked"))?;
        let pads = |element: &gst::Element| {
            element.static_pad("sink").ok_or_else(|| wrong("an element has no sink pad"))
        };
        let first = pads(&chain[0])?;
        let last = pads(&chain[chain.len() - 1])?;
        let track = {
            let mut state = self.notes.lock();
            let seen = SeenTrack {
                pad: pad.name().to_string(),
                id: None,
                facts,
                rotation: Rotation::None,
                language: None,
                times: Vec::new(),
                buffers: 0,
                last: None,
                ended: false,
            };
            state.tracks.push(Note { seen, segment: None, at: 0, colour: None, went_on: false });
            state.tracks.len() - 1
        };
        // Tags are read where they come in: not every parser passes all of them on.
        if first != last {
            let notes = self.notes.clone();
            first.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
                match info.event().map(|event| event.type_()) {
                    Some(gst::EventType::Tag) => {
                        info.event().into_iter().for_each(|event| notes.event(track, event))
                    }
                    Some(gst::EventType::Caps) => notes.keep_colour_from_parser(track, info),
                    _ => {}
                }
                gst::PadProbeReturn::Ok
            });
        }
        let notes = self.notes.clone();
        let kinds =
            gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST | gst::PadProbeType::EVENT_DOWNSTREAM;
        last.add_probe(kinds, move |_, info| {
            match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => notes.buffer(track, buffer),
                Some(gst::PadProbeData::BufferList(list)) => {
                    list.iter().for_each(|buffer| notes.buffer(track, buffer))
                }
                Some(gst::PadProbeData::Event(event)) => notes.event(track, event),
                _ => {}
            }
            gst::PadProbeReturn::Ok
        });
        for element in chain.iter().rev() {
            element.sync_state_with_parent().map_err(|_| wrong("a parser does not start"))?;
        }
        pad.link(&first)
            .map_err(|error| wrong(&format!("the parser of pad {} cannot be linked: {error}", pad.name())))?;
        Ok(())
    }
}

/// Since when nothing has moved.
struct Standstill {
    at: (u64, u64),
    since: Instant,
}

impl Standstill {
    fn new() -> Self {
        Self { at: (0, 0), since: Instant::now() }
    }

    fn lasts(&mut self, at: (u64, u64), busy: bool) -> Duration {
        if at != self.at || busy {
            *self = Self { at, since: Instant::now() };
        }
        self.since.elapsed()
    }
}

fn platform_error(platform: &Platform, reason: &str) -> Error {
    Error::Platform { platform: platform.name.clone(), reason: reason.to_owned() }
}

fn clock(time: Duration) -> gst::ClockTime {
    gst::ClockTime::from_mseconds(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
