//! Looks into a source: which tracks the demuxer finds, what parsers say of them, and when their
//! first and last pictures and samples are shown.
//!
//! Owns a small pipeline, `source ! demuxer ! parser ! nothing`, that decodes nothing and is taken
//! down as soon as every track is known. The caller's thread drives it; streaming threads only write
//! down what passes. Everything that could go on for ever is bounded: standing still, bytes, pictures.
//! Times are those of [`Clock`] in nanoseconds, GStreamer's clock.

use super::caps::Facts;
use super::clock::Clock;
use super::follow::{Follow, platform_error};
use super::init::make;
use super::notes::{Look, Notes, SeenTrack};
use super::source_element::{Watched, source_element};
use crate::cancel::Cancel;
use crate::error::Error;
use crate::platform::Platform;
use crate::source::Source;
use crate::units::MediaTime;
use gstreamer as gst;
use gstreamer::prelude::*;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// How often the driver looks around.
const TICK: Duration = Duration::from_millis(10);

/// Nothing is read and nothing passes for so long: an element hangs.
const STALL: Duration = Duration::from_secs(10);

/// How long taking the pipeline down may block before its threads are left to themselves.
const TEARDOWN: Duration = Duration::from_millis(800);

/// Bytes after which a source is given up in which nothing was found.
const MOST_BYTES: u64 = 256 << 20;

/// Where the end is looked at from, before the end: longer than the distance of key frames usual in
/// broadcasting.
const TAIL: i64 = 4_000_000_000;

/// How long the end may be looked for. It is a nicety: without it the length is what headers say.
const TAIL_LIMIT: Duration = Duration::from_secs(8);

/// A source up to this size is read to its end rather than entered near it.
pub(crate) const SMALL: u64 = 4 << 20;

/// What to look into, and how.
pub(crate) struct Examination<'a> {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) platform: &'a Platform,
    /// The container as platform files key it.
    pub(crate) container: &'a str,
    pub(crate) look: Look,
    /// The size that the file should have by its own header, where that is more than there is.
    pub(crate) whole: Option<u64>,
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
    // A demuxer that failed may not answer either.
    let duration = if result.is_ok() { driver.duration() } else { None };
    driver.take_down();
    result?;
    if wanted.cancel.is_cancelled() {
        return Err(Error::Interrupted);
    }
    Ok(Examined { tracks: driver.notes.finish(end_seen), duration })
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
                let demuxer = make(wanted.platform, factory)?;
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
        let notes = Arc::new(Notes::new(wanted.look, Clock::named(wanted.container)));
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
        self.notes.lock().is_known(self.wanted.look)
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
        // Of a file that was cut off, the header tells the length it had.
        let (here, whole) = (self.wanted.source.size(), self.wanted.whole);
        let share = |nanos: i64| match whole.filter(|whole| *whole > here) {
            Some(whole) => {
                i64::try_from(i128::from(nanos) * i128::from(here) / i128::from(whole)).unwrap_or(0)
            }
            None => nanos,
        };
        let duration = self.duration().map(|duration| share(duration.nanos()));
        let small = here <= SMALL;
        let entered = match duration {
            _ if self.all_ended() => return true,
            _ if small => true,
            Some(duration) if duration > 2 * TAIL => self.enter(duration - TAIL),
            Some(_) => true,
            None => false,
        };
        self.notes.end_look();
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
        self.notes.end_look();
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

fn clock(time: Duration) -> gst::ClockTime {
    gst::ClockTime::from_mseconds(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
