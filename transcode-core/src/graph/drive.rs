//! Drives one chunk's pipeline from the first byte to the last stored segment.
//!
//! One thread, the caller's: it starts the pipeline, seeks where the chunk begins in the middle,
//! passes events on, watches for standstill, and takes everything down on every way out. Nothing
//! here is called from a streaming thread.

mod faults;

use super::assemble::{AUDIO_POSTROLL, Assembly, Parts, assemble};
use super::clock::clock;
use super::fragments::RungOutput;
use super::hold::Hold;
use super::source_element::{Watched, source_element};
use super::thumbnail::{self, Chooser, Maker};
use super::upload::Uploader;
use super::viewer::Eyes;
use super::wiring::{connect, tell};
use super::witness::Witness;
use crate::cancel::Cancel;
use crate::error::Error;
use crate::event::{ChunkReport, Event, RungProgress, RungReport};
use crate::media::Container;
use crate::plan::{AudioRung, Chunk, Plan};
use crate::platform::Platform;
use crate::sink::Sink;
use crate::source::Source;
use crate::units::{MediaTime, SegmentIndex};
use gstreamer as gst;
use gstreamer::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the driver looks around.
const TICK: Duration = Duration::from_millis(20);

/// How often progress is told.
const PROGRESS: Duration = Duration::from_millis(250);

/// How far before the chunk's first slot decoding is asked to begin: decoders clip what lies before
/// the seek, the picture that covers the first slot may begin before it, and sound begins four packets early
/// with a decoder that has to warm up. Every key frame that this goes past costs its pictures; where it is
/// not enough, the gate asks for twice as much.
const PREROLL_MS: i64 = 250;

/// A demuxer that refuses so many seeks, one a tick, refuses all. WAV's shows its pads a moment before it takes one.
const REFUSALS: u32 = 20;

/// Everything stands still for so long while audio lags behind: its track has nothing to say here.
const STARVED: Duration = Duration::from_millis(300);

/// Everything is stored and the end of the stream still does not come: hlssink2 loses it at times.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// How long taking the pipeline down may block before its threads are left to themselves: of a run
/// that is stopped, which has a second for everything, and of one that has come to its end.
const TEARDOWN: Duration = Duration::from_millis(800);
const TEARDOWN_AT_THE_END: Duration = Duration::from_secs(10);

/// One run of a chunk.
pub(crate) struct ChunkRun<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) chunk: &'a Chunk,
    pub(crate) platform: &'a Platform,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) events: &'a (dyn Fn(Event) + Send + Sync),
    pub(crate) cancel: &'a Cancel,
    /// Nothing moves for so long: the run fails.
    pub(crate) stall: Duration,
}

/// What the driver hears from other threads.
#[derive(Clone, Copy)]
pub(super) enum Signal {
    PadsComplete,
    /// A first buffer has left the demuxer.
    Begun,
    NeedEarlier,
}

/// Make every segment of the chunk.
pub(crate) fn run_chunk(run: &ChunkRun<'_>) -> Result<ChunkReport, Error> {
    super::init()?;
    match Driver::build(run, true)?.drive()? {
        Some(report) => Ok(report),
        // Some files cannot be entered in the middle. What has come since the graph began was thrown away, maybe
        // all of it: so once more, with everything from the start, which is slow and right.
        None => Driver::build(run, false)?.drive()?.ok_or_else(|| Error::Stalled {
            reason: "a graph that decodes its source from the start wants to be sent there".to_owned(),
        }),
    }
}

struct Driver<'a> {
    run: &'a ChunkRun<'a>,
    assembly: Assembly,
    outputs: Vec<Arc<RungOutput>>,
    uploader: Uploader,
    source: Arc<Watched>,
    aborting: Arc<AtomicBool>,
    fragment_error: Arc<Mutex<Option<Error>>>,
    chooser: Option<Arc<Chooser>>,
    maker: Option<Maker>,
    events: Receiver<Event>,
    signals: Receiver<Signal>,
    begun: Instant,
    first_picture: Arc<AtomicU64>,
    first_segment: Option<Duration>,
    /// What was taken for the end of the source.
    cut: Option<Error>,
    /// The pipeline has been told to go down, once and for all.
    down: bool,
    /// The demuxer has shown all its pads; a buffer has left it; the first seek has been made.
    complete: bool,
    flowing: bool,
    seeking: bool,
    /// Where the last seek went; `None` where decoding runs from the start of the source.
    sought: Option<MediaTime>,
    /// How often the demuxer has refused to go there; it is not to be moved any more.
    refusals: u32,
    refused: bool,
}

/// Numbers that change whenever anything moves.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Activity {
    reads: u64,
    slot: u64,
    encoded: u64,
    finished: u32,
    stored: usize,
}

impl<'a> Driver<'a> {
    /// With `enter`, a chunk in the middle is begun by a seek; without, everything before it is decoded, too.
    fn build(run: &'a ChunkRun<'a>, enter: bool) -> Result<Self, Error> {
        let plan = Arc::new(run.plan.clone());
        let begun = Instant::now();
        let (event_sender, events) = channel();
        let (signal_sender, signals) = channel();
        let aborting = Arc::new(AtomicBool::new(false));
        let fragment_error = Arc::new(Mutex::new(None));
        let uploader = Uploader::start(plan.clone(), run.sink.clone(), run.cancel.clone(), event_sender);
        let witness = Witness::wanted(run.platform, &plan, run.chunk);
        let outputs =
            RungOutput::all(&plan, run.chunk, &uploader, witness.as_ref(), &aborting, &fragment_error);
        let slots = plan.timeline.slots_of(run.chunk.first).start
            ..plan.timeline.slots_of(SegmentIndex(run.chunk.end.0.saturating_sub(1))).end;
        let wanted = plan.thumbnail.clone().filter(|thumbnail| slots.contains(&thumbnail.frame));
        let (chooser, maker) = match wanted {
            Some(wanted) => {
                let (chooser, maker) = thumbnail::start(wanted, uploader.handle());
                (Some(chooser), Some(maker))
            }
            None => (None, None),
        };
        let first_picture = Arc::new(AtomicU64::new(0));
        let source = Watched::new(run.source.clone());
        let element = source_element(source.clone(), run.cancel.clone())?;
        let begin = plan.timeline.begin(run.chunk.first) + plan.timeline.start;
        let seek = enter && begin > MediaTime::ZERO;
        let assembly = assemble(Parts {
            plan: &plan,
            chunk: run.chunk,
            platform: run.platform,
            source: element,
            outputs: &outputs,
            first_picture: first_picture.clone(),
            begun,
            eyes: Arc::new(Eyes { chooser: chooser.clone(), witness }),
            need_earlier: tell(&signal_sender, || Signal::NeedEarlier),
            wait_for_seek: seek,
        })?;
        let sought = seek.then(|| begin - MediaTime::new(PREROLL_MS, 1_000).unwrap_or(MediaTime::ZERO));
        connect(&assembly, signal_sender);
        if !enter {
            if let Some(gate) = &assembly.video_gate {
                gate.arm(true);
            }
            if let Some(gate) = &assembly.audio_gate {
                gate.arm();
            }
        }
        Ok(Self {
            run,
            assembly,
            outputs,
            uploader,
            source,
            aborting,
            fragment_error,
            chooser,
            maker,
            events,
            signals,
            begun,
            first_picture,
            first_segment: None,
            cut: None,
            down: false,
            complete: false,
            flowing: false,
            seeking: false,
            sought,
            refusals: 0,
            refused: false,
        })
    }

    /// The report; none where the source cannot be entered where the chunk begins.
    fn drive(mut self) -> Result<Option<ChunkReport>, Error> {
        let result = self.until_the_end();
        if result.is_err() || self.refused {
            self.aborting.store(true, Ordering::SeqCst);
        }
        self.take_down();
        result?;
        if self.refused {
            return Ok(None);
        }
        if let Some(chooser) = &self.chooser {
            chooser.finish();
        }
        if let Some(maker) = self.maker.take() {
            maker.join()?;
        }
        self.drain()?;
        Ok(Some(self.report()))
    }

    /// Start, seek, and turn the handle until every segment is finished.
    fn until_the_end(&mut self) -> Result<(), Error> {
        for text in std::mem::take(&mut self.assembly.notes) {
            (self.run.events)(Event::Warning { text });
        }
        let bus = self.assembly.pipeline.bus().ok_or_else(|| self.platform_error("a pipeline has no bus"))?;
        if self.assembly.pipeline.set_state(gst::State::Playing).is_err() {
            return Err(self
                .bus_error(&bus)
                .unwrap_or_else(|| self.platform_error("the pipeline does not start")));
        }
        let mut activity = Activity::default();
        let mut moved = Instant::now();
        let mut told = Instant::now();
        let mut complete_since: Option<Instant> = None;
        loop {
            if self.run.cancel.is_cancelled() {
                return Err(Error::Interrupted);
            }
            self.check_others()?;
            let message = bus.timed_pop(gst::ClockTime::from_mseconds(TICK.as_millis() as u64));
            if let Some(message) = message {
                if self.on_message(&bus, &message)? {
                    return Ok(());
                }
            }
            while let Ok(signal) = self.signals.try_recv() {
                match signal {
                    Signal::PadsComplete => {
                        self.on_pads_complete()?;
                        self.seek_if_ready()?;
                    }
                    Signal::Begun => {
                        self.flowing = true;
                        self.seek_if_ready()?;
                    }
                    Signal::NeedEarlier => self.seek_earlier()?,
                }
            }
            // A refusal may be that of a demuxer that is not quite there yet.
            self.seek_if_ready()?;
            if self.refused {
                return Ok(());
            }
            self.pass_events();
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                (self.run.events)(self.progress());
            }
            let now = self.activity();
            if now != activity || self.source.is_reading() || self.uploader.pending() > 0 {
                activity = now;
                moved = Instant::now();
            }
            if moved.elapsed() >= STARVED {
                self.feed_silence();
            }
            self.follow_with_silence();
            if moved.elapsed() >= self.run.stall {
                return Err(self.cut.take().unwrap_or_else(|| self.stalled(activity)));
            }
            if self.everything_finished() {
                if complete_since.get_or_insert_with(Instant::now).elapsed() >= END_TIMEOUT {
                    log::debug!("every segment is finished and the end of the stream never came");
                    return Ok(());
                }
            }
        }
    }

    /// Failures that other threads have put down.
    fn check_others(&self) -> Result<(), Error> {
        if let Some(error) = self.fragment_error.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Err(error);
        }
        self.uploader.error().map_or(Ok(()), Err)
    }

    /// True at the end of the stream.
    fn on_message(&mut self, bus: &gst::Bus, message: &gst::Message) -> Result<bool, Error> {
        match message.view() {
            gst::MessageView::Eos(_) => Ok(true),
            gst::MessageView::StateChanged(changed) => {
                let pipeline: &gst::Object = self.assembly.pipeline.upcast_ref();
                if changed.src() == Some(pipeline) && changed.current() == gst::State::Playing {
                    self.assembly.holds.drain(..).for_each(Hold::let_go);
                }
                Ok(false)
            }
            gst::MessageView::Error(error) => {
                let path = error.src().map(|src| src.path_string().to_string()).unwrap_or_default();
                self.end_before(self.blame(bus, error), &path).map(|()| false)
            }
            gst::MessageView::Warning(warning) => {
                let element = warning.src().map(|src| src.name().to_string()).unwrap_or_default();
                let text = format!("{element}: {}", warning.error().message());
                (self.run.events)(Event::Warning { text });
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// The demuxer has shown all its pads: those of the plan must be among them; now it can seek. Some
    /// say it again after the seek.
    fn on_pads_complete(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.complete, true) {
            return Ok(());
        }
        for (name, target) in &self.assembly.inputs {
            if !target.is_linked() {
                return Err(Error::Input {
                    uri: self.run.plan.source.uri.clone(),
                    reason: format!("the track `{name}` that the plan uses is not there any more"),
                });
            }
        }
        Ok(())
    }

    /// The first seek, once the demuxer can take it. One that calls the first block that it meets the
    /// beginning must have met it: after a seek it would be one in the middle.
    fn seek_if_ready(&mut self) -> Result<(), Error> {
        let ready = self.complete && (self.flowing || !self.met_first());
        match self.sought.filter(|_| ready && !self.seeking) {
            Some(to) => {
                self.seeking = true;
                self.seek(to)
            }
            None => Ok(()),
        }
    }

    fn met_first(&self) -> bool {
        matches!(self.run.plan.input.container, Container::Matroska | Container::WebM)
    }

    fn seek_earlier(&mut self) -> Result<(), Error> {
        let Some(before) = self.sought else { return Ok(()) };
        let begin = self.run.plan.timeline.begin(self.run.chunk.first) + self.run.plan.timeline.start;
        // Twice as far back each time.
        let to = before - (begin - before);
        self.sought = Some(to);
        self.seek(to)
    }

    fn seek(&mut self, to: MediaTime) -> Result<(), Error> {
        let from_start = to <= MediaTime::ZERO;
        let to = if from_start { MediaTime::ZERO } else { to - self.beginning() };
        if let Some(gate) = &self.assembly.video_gate {
            gate.arm_after_seek(from_start);
        }
        if let Some(gate) = &self.assembly.audio_gate {
            gate.arm_after_seek();
        }
        let seek = gst::event::Seek::new(
            1.0,
            gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE,
            gst::SeekType::Set,
            clock(to),
            gst::SeekType::None,
            gst::ClockTime::NONE,
        );
        let pad = self.assembly.inputs.values().find_map(gst::prelude::PadExt::peer);
        if pad.is_some_and(|pad| pad.send_event(seek)) {
            return Ok(());
        }
        self.refusals += 1;
        if self.refusals < REFUSALS {
            self.seeking = false;
            return Ok(());
        }
        (self.run.events)(Event::Warning {
            text: format!("this source cannot be entered at {to}; it is decoded from its start"),
        });
        self.refused = true;
        Ok(())
    }

    /// What such a demuxer takes off every stamp to make a stream time, which seeks are given in.
    fn beginning(&self) -> MediaTime {
        let pad = self.assembly.inputs.values().next().filter(|_| self.met_first());
        let segment = pad.and_then(|pad| pad.sticky_event::<gst::event::Segment>(0));
        let segment = segment.as_ref().and_then(|event| event.segment().downcast_ref::<gst::ClockTime>());
        let taken = segment.and_then(|segment| segment.start()?.checked_sub(segment.time()?));
        MediaTime::from_nanos(taken.and_then(|taken| i64::try_from(taken.nseconds()).ok()).unwrap_or(0))
    }

    /// Audio that never comes would hold up the muxers for ever: silence up to where video is.
    fn feed_silence(&self) {
        let (Some(video), Some(audio)) = (&self.assembly.video_gate, &self.assembly.audio_gate) else {
            return;
        };
        let Some(rate) = self.run.plan.audio_encodes().first().map(|audio| audio.sample_rate) else { return };
        let position = self.run.plan.timeline.samples_before(video.position(), rate);
        if audio.position().is_some_and(|at| at < position) && audio.fill(position) {
            log::debug!("no audio arrives; silence up to sample {position}");
        }
    }

    /// The audio track is over: silence goes on as long as there are pictures, and no longer.
    fn follow_with_silence(&self) {
        let (Some(video), Some(audio)) = (&self.assembly.video_gate, &self.assembly.audio_gate) else {
            return;
        };
        let Some(format) = self.run.plan.audio_encodes().into_iter().next() else { return };
        if !audio.is_waiting() {
            return;
        }
        let (timeline, slot) = (&self.run.plan.timeline, video.position());
        if video.is_done() {
            let packets = format.packets_before(timeline, slot) + AUDIO_POSTROLL;
            audio.fill(packets * u64::from(AudioRung::PACKET));
            audio.end();
        } else {
            audio.fill(timeline.samples_before(slot, format.sample_rate));
        }
    }

    fn activity(&self) -> Activity {
        let sum =
            |counters: &[Arc<AtomicU64>]| counters.iter().map(|c| c.load(Ordering::Relaxed)).sum::<u64>();
        Activity {
            reads: self.source.reads(),
            slot: self.assembly.video_gate.as_ref().map_or(0, super::video_gate::VideoGate::position),
            encoded: sum(&self.assembly.encoded) + sum(&self.assembly.packets),
            finished: self.outputs.iter().map(|output| output.finished.load(Ordering::SeqCst)).sum(),
            stored: self.uploader.pending(),
        }
    }

    fn everything_finished(&self) -> bool {
        self.outputs.iter().all(|output| output.is_finished())
    }

    fn progress_of_rungs(&self) -> Vec<RungProgress> {
        let counters =
            if self.run.plan.input.video.is_some() { &self.assembly.encoded } else { &self.assembly.packets };
        self.outputs
            .iter()
            .zip(counters)
            .map(|(output, counter)| RungProgress {
                rung: output.rung.clone(),
                encoded: counter.load(Ordering::Relaxed),
                segments: output.finished.load(Ordering::SeqCst),
            })
            .collect()
    }

    fn progress(&self) -> Event {
        Event::Progress { rungs: self.progress_of_rungs() }
    }

    fn pass_events(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            if matches!(event, Event::Segment(_)) && self.first_segment.is_none() {
                self.first_segment = Some(self.begun.elapsed());
            }
            (self.run.events)(event);
        }
    }

    /// Wait until everything that was handed over is stored.
    fn drain(&mut self) -> Result<(), Error> {
        loop {
            let left = self.uploader.pending();
            self.check_others()?;
            self.pass_events();
            if left == 0 {
                break;
            }
            if self.run.cancel.sleep(TICK) {
                return Err(Error::Interrupted);
            }
        }
        self.pass_events();
        (self.run.events)(self.progress());
        Ok(())
    }

    /// To NULL on a thread of its own: it waits for every streaming thread, whatever that waits for.
    fn take_down(&mut self) {
        if std::mem::replace(&mut self.down, true) {
            return;
        }
        let pipeline = self.assembly.pipeline.clone();
        let (done, wait) = channel();
        let thread = std::thread::Builder::new().name("teardown".to_owned()).spawn(move || {
            let _already_down = pipeline.set_state(gst::State::Null);
            let _gave_up_waiting = done.send(());
        });
        let patience = if self.aborting.load(Ordering::SeqCst) { TEARDOWN } else { TEARDOWN_AT_THE_END };
        if thread.is_err() || wait.recv_timeout(patience).is_err() {
            log::warn!("the pipeline does not go down; its threads are left behind");
        }
    }

    fn report(&self) -> ChunkReport {
        let mut report = ChunkReport::default();
        if let Some(gate) = &self.assembly.video_gate {
            gate.report(&mut report);
        }
        if let Some(gate) = &self.assembly.audio_gate {
            gate.report(&mut report);
        }
        let stored = self.uploader.stored();
        for (at, output) in self.outputs.iter().enumerate() {
            let mut segments: Vec<_> =
                stored.iter().filter(|facts| facts.rung == output.rung).cloned().collect();
            segments.sort_by_key(|facts| facts.index);
            report.rungs.push(RungReport {
                rung: output.rung.clone(),
                encoded: self.assembly.encoded[at].load(Ordering::Relaxed),
                audio_packets: self.assembly.packets[at].load(Ordering::Relaxed),
                segments,
            });
        }
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        report.timings.first_picture_ms = self.first_picture.load(Ordering::Relaxed);
        report.timings.first_segment_ms = self.first_segment.map_or(0, millis);
        report.timings.total_ms = millis(self.begun.elapsed());
        report.timings.sink_wait_ms = millis(self.uploader.waited());
        report.timings.source_bytes = self.source.bytes();
        report.timings.source_reads = self.source.reads();
        report
    }
}

/// Ways out other than the end take the pipeline down as well.
impl Drop for Driver<'_> {
    fn drop(&mut self) {
        if !self.down {
            self.aborting.store(true, Ordering::SeqCst);
            self.take_down();
        }
    }
}

#[cfg(test)]
#[path = "tests/lost_end.rs"]
mod lost_end;

#[cfg(test)]
#[path = "tests/one_fault.rs"]
mod one_fault;

#[cfg(test)]
#[path = "tests/slow_to_play.rs"]
mod slow_to_play;
