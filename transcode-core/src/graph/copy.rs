//! Copies the part of a source that a chunk needs: `source ! demuxer ! parser ! muxer`, and nothing decoded.
//!
//! Owns which packets those are, the small pipeline, and its driver, which is the caller's thread. The
//! pictures begin with the last key frame that is surely early enough for the chunk, and end with those
//! that belong in front of the first key frame behind it: so whatever decodes the copy finds every picture
//! of the chunk, also where pictures refer across key frames (open GOPs). The sound begins with them and
//! reaches a little further than the chunk. Everything else of the source is left out.
//!
//! Every stamp is the source's time plus [`SHIFT`]: what an edit list hides lies before 0, and has to be
//! stamped all the same. Matroska takes every codec that we decode; its clock is set to ticks of 0.1 ms.

use super::assemble::INPUT;
use super::clock::{Clock, clock};
use super::follow::platform_error;
use super::init::make;
use super::source_element::{Watched, source_element};
use crate::cancel::Cancel;
use crate::error::Error;
use crate::media::Container;
use crate::plan::{Chunk, Plan};
use crate::platform::Platform;
use crate::source::Source;
use crate::units::MediaTime;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What is added to the source's times, in seconds.
pub(crate) const SHIFT: i64 = 10;

/// How often the driver looks around.
const TICK: u64 = 20;

/// How far before the chunk the key frame is looked for: what a graph looks for that makes the chunk.
const EARLY_MS: i64 = 250;

/// How much sound there is behind the chunk: what its encoder needs is two packets.
const SOUND_BEHIND_MS: i64 = 500;

/// Nothing moves for so long: an element hangs, or one track's packets lie too far from the other's.
const STALL: Duration = Duration::from_secs(30);

/// Packets of one track that may wait for the other's, in bytes: several seconds of the dearest codecs.
const WAITING: u32 = 128 << 20;

/// Nanoseconds of a tick of the file's clock, and of the longest cluster: what is in one is counted from
/// its beginning in 16 bits (RFC 9559 §10).
const TICK_NANOS: i64 = 100_000;
const CLUSTER_NANOS: i64 = 2_000_000_000;

/// What is to be copied.
pub(crate) struct CopyRun<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) chunk: &'a Chunk,
    pub(crate) platform: &'a Platform,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) cancel: &'a Cancel,
}

/// What was copied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Copied {
    /// The source's time of the first key frame, or of the first sound where there are no pictures.
    pub(crate) begins: MediaTime,
    /// Packets of all tracks.
    pub(crate) packets: u64,
}

/// Copy; `write` is called on this thread, in order.
///
/// # Errors
/// As [`run_chunk`](super::run_chunk), and what `write` says.
pub(crate) fn copy_chunk(
    run: &CopyRun<'_>,
    write: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
) -> Result<Copied, Error> {
    super::init()?;
    let begin = run.plan.timeline.begin(run.chunk.first) + run.plan.timeline.start;
    let mut early = ms(EARLY_MS) + run.plan.timeline.rate.time_of(1);
    loop {
        let from = Some(begin - early).filter(|from| *from > MediaTime::ZERO);
        if let Some(copied) = Attempt::build(run, from, begin)?.drive(write)? {
            return Ok(copied);
        }
        // The key frame came too late: twice as far back, at last from the start.
        early = early + early;
    }
}

fn ms(millis: i64) -> MediaTime {
    MediaTime::new(millis, 1_000).unwrap_or(MediaTime::ZERO)
}

/// What the streaming threads decide by, and what they found.
struct State {
    clock: Clock,
    /// The source is entered in the middle: packets count from the seek on.
    sought: bool,
    /// The key frame has to be this early.
    need: MediaTime,
    /// The chunk is over.
    end: MediaTime,
    tracks: Vec<Track>,
    /// The first key frame of the pictures.
    key: Option<MediaTime>,
    /// The first one behind the chunk.
    behind: Option<MediaTime>,
    too_late: bool,
    packets: u64,
    begins: Option<MediaTime>,
}

struct Track {
    video: bool,
    /// The demuxer's segment: what its stamps mean.
    segment: gst::FormattedSegment<gst::ClockTime>,
    /// The seek has come through.
    armed: bool,
    done: bool,
}

impl State {
    /// Whether a packet is copied, and under which stamp.
    fn take(&mut self, at: usize, buffer: &gst::BufferRef) -> Option<gst::ClockTime> {
        let track = &self.tracks[at];
        if track.done || self.waits(at) {
            return None;
        }
        let time = self.clock.time(&track.segment, buffer.pts().or(buffer.dts())?);
        let video = track.video;
        let wanted = if video { self.picture(at, time, buffer) } else { self.sound(at, time) };
        if !wanted {
            return None;
        }
        self.packets += 1;
        self.begins.get_or_insert(time);
        let shifted = time + MediaTime::new(SHIFT, 1).unwrap_or(MediaTime::ZERO);
        (!shifted.is_negative()).then(|| clock(shifted))
    }

    fn picture(&mut self, at: usize, time: MediaTime, buffer: &gst::BufferRef) -> bool {
        let is_key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        match (self.key, self.behind) {
            (None, _) if !is_key => return false,
            (None, _) if self.sought && time > self.need => {
                self.too_late = true;
                return false;
            }
            (None, _) => {
                self.key = Some(time);
                // Sound that came first does not say where it begins.
                self.begins = None;
            }
            // They belong to the group before, which is not copied.
            (Some(key), _) if time < key => return false,
            (_, None) if is_key && time >= self.end => self.behind = Some(time),
            // Pictures that are shown before a key frame follow it at once (H.264 and H.265 alike).
            (_, Some(behind)) if time > behind => {
                self.tracks[at].done = true;
                return false;
            }
            _ => {}
        }
        true
    }

    fn sound(&mut self, at: usize, time: MediaTime) -> bool {
        if time >= self.end + ms(SOUND_BEHIND_MS) {
            self.tracks[at].done = true;
        }
        !self.tracks[at].done
    }
}

/// One way through the source.
struct Attempt<'a> {
    run: &'a CopyRun<'a>,
    from: Option<MediaTime>,
    pipeline: gst::Pipeline,
    demuxer: gst::Element,
    /// By track: the demuxer's pad, and what it is linked to.
    inputs: Vec<(String, gst::Pad)>,
    out: gst_app::AppSink,
    source: Arc<Watched>,
    state: Arc<Mutex<State>>,
    /// All pads of the demuxer are there.
    complete: Arc<Mutex<bool>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Attempt<'a> {
    fn build(run: &'a CopyRun<'a>, from: Option<MediaTime>, begin: MediaTime) -> Result<Self, Error> {
        let (plan, platform) = (run.plan, run.platform);
        let wrong = |reason: &str| platform_error(platform, reason);
        let pipeline = gst::Pipeline::new();
        let add = |factory: &str, name: &str| {
            let element = make(&platform.name, factory)?;
            element.set_property("name", name);
            pipeline.add(&element).map_err(|_| wrong(&format!("`{factory}` cannot be added")))?;
            Ok::<_, Error>(element)
        };
        let source = Watched::new(run.source.clone());
        let element = source_element(source.clone(), run.cancel.child())?;
        pipeline.add(&element).map_err(|_| wrong("the source cannot be added"))?;
        let container = match serde_json::to_value(plan.input.container) {
            Ok(serde_json::Value::String(key)) => key,
            _ => String::new(),
        };
        let factory = platform.demux.get(&container).ok_or_else(|| Error::Input {
            uri: plan.source.uri.clone(),
            reason: format!("a stream without a container ({container}) is not split: it has no key frames"),
        })?;
        let demuxer = add(factory, &format!("{INPUT}demux"))?;
        element.link(&demuxer).map_err(|_| wrong("the demuxer cannot be linked"))?;
        let muxer = add("matroskamux", "mux")?;
        muxer.set_property("streamable", true);
        muxer.set_property("timecodescale", TICK_NANOS);
        muxer.set_property("max-cluster-duration", CLUSTER_NANOS);
        let out = gst_app::AppSink::builder().sync(false).max_buffers(64).build();
        pipeline.add(&out).map_err(|_| wrong("the output cannot be added"))?;
        muxer.link(&out).map_err(|_| wrong("the muxer cannot be linked"))?;

        let last = run.chunk.end.0.saturating_sub(1);
        let end = plan.timeline.slots_of(crate::units::SegmentIndex(last)).end;
        let state = Arc::new(Mutex::new(State {
            clock: Clock::of(plan.input.container),
            sought: from.is_some(),
            need: begin - plan.timeline.rate.time_of(1),
            // The picture of the last slot may stand half a slot late.
            end: plan.timeline.rate.time_of(end.saturating_add(1)) + plan.timeline.start,
            tracks: Vec::new(),
            key: None,
            behind: None,
            too_late: false,
            packets: 0,
            begins: None,
        }));
        let video = plan.input.video.as_ref().map(|input| (&input.pad, &input.codec, true));
        let audio = plan.input.audio.as_ref().map(|input| (&input.pad, &input.codec, false));
        let mut inputs = Vec::new();
        for (pad, codec, video) in video.into_iter().chain(audio) {
            let kind = if video { "video" } else { "audio" };
            let decoder = if video { platform.decode.get(codec) } else { platform.decode_audio.get(codec) };
            let queue = add("queue", &format!("{INPUT}{kind}-queue"))?;
            queue.set_property("max-size-buffers", 0u32);
            queue.set_property("max-size-bytes", WAITING);
            queue.set_property("max-size-time", 0u64);
            let mut last = queue.clone();
            if let Some(parse) = decoder.and_then(|decoder| decoder.parse.as_ref()) {
                let parse = add(parse, &format!("{INPUT}{kind}-parse"))?;
                last.link(&parse).map_err(|_| wrong("a parser cannot be linked"))?;
                last = parse;
            }
            let refused = || wrong(&format!("codec {codec} cannot be put into Matroska"));
            let entry = muxer.request_pad_simple(&format!("{kind}_%u")).ok_or_else(refused)?;
            let exit = last.static_pad("src").ok_or_else(refused)?;
            watch(&exit, &state, video);
            exit.link(&entry).map_err(|_| refused())?;
            let first = queue.static_pad("sink").ok_or_else(refused)?;
            inputs.push((pad.clone(), first));
        }
        let complete = Arc::new(Mutex::new(false));
        let attempt = Self { run, from, pipeline, demuxer, inputs, out, source, state, complete };
        attempt.connect();
        Ok(attempt)
    }

    /// Link the demuxer's pads as they appear.
    fn connect(&self) {
        let targets: Vec<_> = self.inputs.iter().map(|(name, pad)| (name.clone(), pad.downgrade())).collect();
        self.demuxer.connect_pad_added(move |_, pad| {
            let target = targets.iter().find(|(name, _)| *name == pad.name());
            let target = target.and_then(|(_, target)| target.upgrade()).filter(|target| !target.is_linked());
            if let Some(Err(error)) = target.map(|target| pad.link(&target)) {
                log::error!("pad {} does not link: {error}", pad.name());
            }
        });
        let complete = self.complete.clone();
        self.demuxer.connect_no_more_pads(move |_| *lock(&complete) = true);
    }

    /// Run to the end of the copy; `None` where the key frame came too late.
    fn drive(&self, write: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<Option<Copied>, Error> {
        let result = self.until_the_end(write);
        let pipeline = self.pipeline.clone();
        let (done, wait) = std::sync::mpsc::channel();
        // On a thread of its own: it waits for every streaming thread, whatever that waits for.
        let thread = std::thread::Builder::new().name("teardown".to_owned()).spawn(move || {
            let _already_down = pipeline.set_state(gst::State::Null);
            let _gave_up_waiting = done.send(());
        });
        if thread.is_err() || wait.recv_timeout(Duration::from_secs(2)).is_err() {
            log::warn!("the pipeline does not go down; its threads are left behind");
        }
        result
    }

    fn until_the_end(
        &self,
        write: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<Option<Copied>, Error> {
        let input = |reason: String| Error::Input { uri: self.run.plan.source.uri.clone(), reason };
        let bus = self.pipeline.bus().ok_or_else(|| platform_error(self.run.platform, "no bus"))?;
        // What it says is on the bus.
        let _started = self.pipeline.set_state(gst::State::Playing);
        let mut sought = self.from.is_none();
        let (mut moved, mut reads) = (Instant::now(), 0);
        loop {
            if self.run.cancel.is_cancelled() {
                return Err(Error::Interrupted);
            }
            if let Some(sample) = self.out.try_pull_sample(gst::ClockTime::from_mseconds(TICK)) {
                moved = Instant::now();
                let map = sample.buffer().and_then(|buffer| buffer.map_readable().ok());
                let map = map.ok_or_else(|| platform_error(self.run.platform, "a buffer cannot be read"))?;
                write(map.as_slice())?;
                continue;
            }
            if let Some(error) = bus.pop_filtered(&[gst::MessageType::Error]) {
                if let Some(failure) = self.source.failure() {
                    return Err(Error::Source(failure));
                }
                let gst::MessageView::Error(error) = error.view() else { continue };
                return Err(input(error.error().message().replace('\n', " ")));
            }
            if !sought && *lock(&self.complete) && self.is_flowing() {
                sought = true;
                self.seek();
            }
            {
                let state = lock(&self.state);
                if state.too_late {
                    return Ok(None);
                }
                if self.out.is_eos() {
                    let begins = state.begins.filter(|_| state.key.is_some() || !state.has_pictures());
                    let nothing =
                        || input(format!("nothing is there for segments from {} on", self.run.chunk.first));
                    return Ok(Some(Copied { begins: begins.ok_or_else(nothing)?, packets: state.packets }));
                }
            }
            let now = self.source.reads();
            if now != reads || self.source.is_reading() {
                (reads, moved) = (now, Instant::now());
            }
            if moved.elapsed() >= STALL {
                return Err(Error::Stalled {
                    reason: format!(
                        "nothing was copied for {} s; is one track far behind the other?",
                        STALL.as_secs()
                    ),
                });
            }
        }
    }

    fn is_flowing(&self) -> bool {
        self.inputs.iter().any(|(_, pad)| pad.sticky_event::<gst::event::Segment>(0).is_some())
    }

    /// To the key frame before; where the source cannot be entered there, it is read from its start.
    fn seek(&self) {
        let Some(from) = self.from else { return };
        let pad = self.inputs.iter().find_map(|(_, pad)| pad.peer());
        // matroskademux takes its first stamp off every time, and wants to be asked so.
        let first = matches!(self.run.plan.input.container, Container::Matroska | Container::WebM);
        let segment = self.inputs.first().and_then(|(_, pad)| pad.sticky_event::<gst::event::Segment>(0));
        let segment = segment.as_ref().and_then(|event| event.segment().downcast_ref::<gst::ClockTime>());
        let taken =
            segment.and_then(|segment| segment.start()?.checked_sub(segment.time()?)).filter(|_| first);
        let to = clock(from).saturating_sub(taken.unwrap_or(gst::ClockTime::ZERO));
        let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT | gst::SeekFlags::SNAP_BEFORE;
        let none = gst::ClockTime::NONE;
        let seek = gst::event::Seek::new(1.0, flags, gst::SeekType::Set, to, gst::SeekType::None, none);
        if !pad.is_some_and(|pad| pad.send_event(seek)) {
            lock(&self.state).too_late = true;
        }
    }
}

impl State {
    /// The seek is still to come.
    fn waits(&self, at: usize) -> bool {
        self.sought && !self.tracks[at].armed
    }

    fn has_pictures(&self) -> bool {
        self.tracks.iter().any(|track| track.video)
    }
}

/// It goes no further. (`Drop` would have it released twice.)
fn handled(info: &mut gst::PadProbeInfo<'_>) -> gst::PadProbeReturn {
    info.data = None;
    gst::PadProbeReturn::Handled
}

/// Let through what is wanted, under its new stamp.
fn watch(pad: &gst::Pad, state: &Arc<Mutex<State>>, video: bool) {
    let at = {
        let mut state = lock(state);
        let segment = gst::FormattedSegment::new();
        state.tracks.push(Track { video, segment, armed: false, done: false });
        state.tracks.len() - 1
    };
    let state = state.clone();
    let kinds =
        gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::EVENT_FLUSH;
    pad.add_probe(kinds, move |pad, info| {
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => {
                let (stamp, over) = {
                    let mut state = lock(&state);
                    let before = state.tracks[at].done;
                    (state.take(at, buffer), !before && state.tracks[at].done)
                };
                if let Some(stamp) = stamp {
                    let buffer = buffer.make_mut();
                    buffer.set_pts(stamp);
                    buffer.set_dts(gst::ClockTime::NONE);
                    return gst::PadProbeReturn::Ok;
                }
                // The muxer is not to wait for more of this track.
                if let Some(muxer) = pad.peer().filter(|_| over) {
                    muxer.send_event(gst::event::Eos::new());
                }
                return handled(info);
            }
            Some(gst::PadProbeData::Event(event)) => match event.view() {
                // Nothing has come to the muxer yet that it would have to forget.
                gst::EventView::FlushStart(_) => return handled(info),
                gst::EventView::FlushStop(_) => {
                    lock(&state).tracks[at].armed = true;
                    return handled(info);
                }
                // The end of a short source, met before the seek.
                gst::EventView::Eos(_) if lock(&state).waits(at) => return handled(info),
                gst::EventView::Eos(_) => lock(&state).tracks[at].done = true,
                // Its time is not the copy's.
                gst::EventView::Gap(_) => return handled(info),
                gst::EventView::Segment(segment) => {
                    if let Some(segment) = segment.segment().downcast_ref::<gst::ClockTime>() {
                        lock(&state).tracks[at].segment = segment.clone();
                    }
                    let plain = gst::FormattedSegment::<gst::ClockTime>::new();
                    info.data = Some(gst::PadProbeData::Event(gst::event::Segment::new(&plain)));
                }
                _ => {}
            },
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}
