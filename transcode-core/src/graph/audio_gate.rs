//! The timeline gate on samples: the twin of the video gate.
//!
//! In: decoded interleaved PCM with any segment, after any seek. Out: one unbroken run of samples
//! in whole AAC frames, from the chunk's first position to its last, stamped on the plan's clock.
//! Late, missing or short audio becomes silence, so that the muxer behind never waits for a track
//! that has nothing to say. The decisions are [`Samples`]'; this file only moves bytes.

use super::clock::{Clock, UNDECIDED, clock};
use super::samples::{Piece, Samples};

use crate::event::ChunkReport;
use crate::units::MediaTime;
use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer::subclass::prelude::*;
use std::sync::{Mutex, OnceLock, PoisonError, TryLockError};

/// Samples in an AAC-LC frame (ISO/IEC 14496-3).
pub(super) const AAC_FRAME: u64 = 1_024;

/// Frames sent on in one buffer: 8 × 21 ms keeps the number of pushes small.
const FRAMES_A_BUFFER: u64 = 8;

/// What a gate is made for.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) rate: u32,
    pub(super) channels: u32,
    /// Stream time of position 0.
    pub(super) start: MediaTime,
    /// How samples are stamped.
    pub(super) clock: Clock,
    /// Positions to send on; whole AAC frames.
    pub(super) samples: std::ops::Range<u64>,
    /// A seek has to come before any sample counts.
    pub(super) wait_for_seek: bool,
    /// What to do when the source ends before the last position.
    pub(super) at_its_end: AtItsEnd,
}

/// What follows the last sample of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtItsEnd {
    /// Nothing: the source ends where it ends.
    End,
    /// Silence to the last position.
    Fill,
    /// Silence as far as the driver says, who knows how far the pictures go.
    Wait,
}

mod imp {
    use super::*;

    pub(in crate::graph) struct AudioGate {
        pub(super) sinkpad: gst::Pad,
        pub(super) srcpad: gst::Pad,
        pub(super) settings: OnceLock<Settings>,
        pub(super) state: Mutex<Option<State>>,
    }

    pub(super) struct State {
        pub(super) samples: Samples,
        pub(super) armed: bool,
        /// A seek is on its way: the flush that it brings arms the gate.
        pub(super) arm_at_flush: bool,
        segment: gst::FormattedSegment<gst::ClockTime>,
        begun: bool,
        /// The source has ended, and the driver says what follows.
        pub(super) waiting: bool,
        ended: bool,
        /// Position of the first sample in `pending`.
        pending_at: u64,
        pending: Vec<u8>,
    }

    impl State {
        /// The end of the stream has been sent.
        pub(super) const fn ended(&self) -> bool {
            self.ended
        }
    }

    #[glib::object_subclass]
    impl ObjectSubclass for AudioGate {
        const NAME: &'static str = "TranscodeAudioGate";
        type Type = super::AudioGate;
        type ParentType = gst::Element;

        fn with_class(class: &Self::Class) -> Self {
            let template =
                |name: &str| class.pad_template(name).expect("both templates are registered below");
            let sinkpad = gst::Pad::builder_from_template(&template("sink"))
                .chain_function(|_, parent, buffer| {
                    Self::catch_panic_pad_function(
                        parent,
                        || Err(gst::FlowError::Error),
                        |gate| gate.chain(buffer),
                    )
                })
                .event_function(|_, parent, event| {
                    Self::catch_panic_pad_function(parent, || false, |gate| gate.sink_event(event))
                })
                .build();
            let srcpad = gst::Pad::builder_from_template(&template("src")).build();
            Self { sinkpad, srcpad, settings: OnceLock::new(), state: Mutex::new(None) }
        }
    }

    impl ObjectImpl for AudioGate {
        fn constructed(&self) {
            self.parent_constructed();
            let gate = self.obj();
            gate.add_pad(&self.sinkpad).expect("a new element has no pads yet");
            gate.add_pad(&self.srcpad).expect("a new element has no pads yet");
        }
    }

    impl GstObjectImpl for AudioGate {}

    impl ElementImpl for AudioGate {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            static METADATA: OnceLock<gst::subclass::ElementMetadata> = OnceLock::new();
            Some(METADATA.get_or_init(|| {
                gst::subclass::ElementMetadata::new(
                    "Timeline gate (audio)",
                    "Filter/Audio",
                    "An unbroken run of samples on the plan's timeline",
                    "Transcode",
                )
            }))
        }

        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: OnceLock<Vec<gst::PadTemplate>> = OnceLock::new();
            TEMPLATES.get_or_init(|| {
                let caps = gst::Caps::builder("audio/x-raw").field("layout", "interleaved").build();
                [("sink", gst::PadDirection::Sink), ("src", gst::PadDirection::Src)]
                    .into_iter()
                    .map(|(name, direction)| {
                        gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps)
                            .expect("name and caps are fixed and valid")
                    })
                    .collect()
            })
        }
    }

    impl AudioGate {
        fn settings(&self) -> &Settings {
            self.settings.get().expect("the gate is only made by AudioGate::make, which sets them")
        }

        /// Bytes of one sample of all channels (32-bit float).
        fn frame_bytes(&self) -> usize {
            self.settings().channels as usize * 4
        }

        fn fresh(&self) -> State {
            let settings = self.settings();
            State {
                samples: Samples::new(settings.rate, settings.samples.clone()),
                armed: !settings.wait_for_seek,
                arm_at_flush: false,
                segment: gst::FormattedSegment::new(),
                begun: false,
                waiting: false,
                ended: false,
                pending_at: settings.samples.start,
                pending: Vec::new(),
            }
        }

        pub(super) fn with_state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            act(state.get_or_insert_with(|| self.fresh()))
        }

        fn chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
            let settings = self.settings();
            let map = buffer.map_readable().map_err(|_| gst::FlowError::Error)?;
            self.with_state(|state| {
                if !state.armed {
                    return Ok(gst::FlowSuccess::Ok);
                }
                if state.ended {
                    return Err(gst::FlowError::Eos);
                }
                let position = buffer.pts().map(|pts| {
                    let time = settings.clock.time(&state.segment, pts);
                    (time - settings.start + MediaTime::from_nanos(UNDECIDED)).ticks(settings.rate)
                });
                let pieces = state.samples.buffer(position, map.len() / self.frame_bytes());
                self.take(state, &pieces, &map)?;
                if state.samples.is_full() { self.end(state) } else { Ok(gst::FlowSuccess::Ok) }
            })
        }

        fn take(&self, state: &mut State, pieces: &[Piece], input: &[u8]) -> Result<(), gst::FlowError> {
            let bytes = self.frame_bytes();
            for piece in pieces {
                match piece {
                    Piece::Input(range) => {
                        state.pending.extend_from_slice(&input[range.start * bytes..range.end * bytes]);
                        self.send(state, false)?;
                    }
                    Piece::Silence(length) => {
                        // In steps, so that an hour of silence is never held at once.
                        let mut left = *length;
                        while left > 0 {
                            let step = left.min(FRAMES_A_BUFFER * AAC_FRAME);
                            state.pending.resize(state.pending.len() + step as usize * bytes, 0);
                            left -= step;
                            self.send(state, false)?;
                        }
                    }
                }
            }
            Ok(())
        }

        /// Send on what is pending in whole buffers; all of it at the end.
        fn send(&self, state: &mut State, all: bool) -> Result<(), gst::FlowError> {
            let settings = self.settings();
            let block = (FRAMES_A_BUFFER * AAC_FRAME) as usize * self.frame_bytes();
            while state.pending.len() >= block || (all && !state.pending.is_empty()) {
                let rest = state.pending.split_off(block.min(state.pending.len()));
                let bytes = std::mem::replace(&mut state.pending, rest);
                let samples = (bytes.len() / self.frame_bytes()) as u64;
                let mut buffer = gst::Buffer::from_slice(bytes);
                let time = |position| clock(position_time(position, settings.rate));
                {
                    let buffer = buffer.make_mut();
                    let (begin, end) = (time(state.pending_at), time(state.pending_at + samples));
                    buffer.set_pts(begin);
                    buffer.set_duration(end - begin);
                }
                state.pending_at += samples;
                if !std::mem::replace(&mut state.begun, true) {
                    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
                    self.srcpad.push_event(gst::event::Segment::new(&segment));
                }
                self.srcpad.push(buffer)?;
            }
            Ok(())
        }

        /// Everything is filled: send the rest and the end of the stream.
        fn end(&self, state: &mut State) -> Result<gst::FlowSuccess, gst::FlowError> {
            if !state.ended {
                // An encoder fills its last packet up anyway; here it is counted.
                let whole = state.samples.next().next_multiple_of(AAC_FRAME);
                let rest: Vec<Piece> = state.samples.silence_to(whole).into_iter().collect();
                self.take(state, &rest, &[])?;
                self.send(state, true)?;
                state.ended = true;
                self.srcpad.push_event(gst::event::Eos::new());
            }
            Err(gst::FlowError::Eos)
        }

        fn sink_event(&self, event: gst::Event) -> bool {
            match event.view() {
                gst::EventView::Segment(segment) => {
                    if let Ok(segment) = segment.segment().clone().downcast::<gst::ClockTime>() {
                        self.with_state(|state| {
                            state.segment = segment;
                            state.samples.restart();
                        });
                    }
                    true
                }
                gst::EventView::Eos(_) => {
                    self.with_state(|state| {
                        if state.armed && !state.ended {
                            let silence = match self.settings().at_its_end {
                                AtItsEnd::End => None,
                                AtItsEnd::Fill => state.samples.finish(),
                                AtItsEnd::Wait if !state.samples.is_full() => {
                                    state.waiting = true;
                                    return;
                                }
                                AtItsEnd::Wait => None,
                            };
                            let pieces: Vec<Piece> = silence.into_iter().collect();
                            if self.take(state, &pieces, &[]).is_ok() {
                                let _end_of_stream = self.end(state);
                            }
                        }
                    });
                    true
                }
                // Not by the default handler, which keeps caps to itself.
                gst::EventView::StreamStart(_) | gst::EventView::Caps(_) => self.srcpad.push_event(event),
                gst::EventView::FlushStop(_) => {
                    self.with_state(|state| {
                        if std::mem::take(&mut state.arm_at_flush) {
                            state.waiting = false;
                            state.samples.restart();
                            state.armed = true;
                        }
                    });
                    true
                }
                // Tags, gaps and flushes end here: nothing behind the gate may see a seek.
                _ => true,
            }
        }

        /// A track that has not said a word yet has not sent the events that begin a stream either.
        fn introduce(&self) {
            if self.srcpad.current_caps().is_some() {
                return;
            }
            let settings = self.settings();
            let side = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
            let mut caps = gst::Caps::builder("audio/x-raw")
                .field("format", "F32LE")
                .field("layout", "interleaved")
                .field("rate", side(settings.rate))
                .field("channels", side(settings.channels));
            if settings.channels == 2 {
                caps = caps.field("channel-mask", gst::Bitmask::new(0x3));
            }
            self.srcpad.push_event(gst::event::StreamStart::new("transcode-silence"));
            self.srcpad.push_event(gst::event::Caps::new(&caps.build()));
        }

        /// Silence up to `position`, unless audio is moving at this very moment.
        pub(super) fn fill(&self, position: u64) -> bool {
            let mut state = match self.state.try_lock() {
                Ok(state) => state,
                Err(TryLockError::Poisoned(state)) => state.into_inner(),
                Err(TryLockError::WouldBlock) => return false,
            };
            let state = state.get_or_insert_with(|| self.fresh());
            if !state.armed || state.ended {
                return false;
            }
            self.introduce();
            let pieces: Vec<Piece> = state.samples.silence_to(position).into_iter().collect();
            let filled = !pieces.is_empty();
            if self.take(state, &pieces, &[]).is_ok() && state.samples.is_full() {
                let _end_of_stream = self.end(state);
            }
            filled
        }

        /// Nothing more comes: send on what there is, and the end of the stream.
        pub(super) fn end_here(&self) {
            self.with_state(|state| {
                if state.armed && !state.ended {
                    self.introduce();
                    let _end_of_stream = self.end(state);
                }
            });
        }
    }
}

/// A sample's time on the plan's clock.
pub(super) fn position_time(position: u64, rate: u32) -> MediaTime {
    let whole = i64::try_from(position / u64::from(rate)).unwrap_or(i64::MAX);
    let rest = i64::try_from(position % u64::from(rate)).unwrap_or(0);
    let seconds = MediaTime::new(whole, 1).unwrap_or(MediaTime::ZERO);
    seconds + MediaTime::new(rest, rate).unwrap_or(MediaTime::ZERO)
}

glib::wrapper! {
    /// The element; see the module.
    pub(super) struct AudioGate(ObjectSubclass<imp::AudioGate>) @extends gst::Element, gst::Object;
}

impl AudioGate {
    pub(super) fn make(settings: Settings) -> Self {
        let gate: Self = glib::Object::new();
        let fresh = gate.imp().settings.set(settings).is_ok();
        debug_assert!(fresh, "a gate is made once");
        gate
    }

    /// Samples count from the flush that the coming seek brings.
    pub(super) fn arm_after_seek(&self) {
        self.imp().with_state(|state| {
            state.armed = false;
            state.arm_at_flush = true;
        });
    }

    /// From now on samples count.
    pub(super) fn arm(&self) {
        self.imp().with_state(|state| {
            state.arm_at_flush = false;
            state.samples.restart();
            state.armed = true;
        });
    }

    /// Fill with silence up to `position` where no audio is coming; says whether it did.
    pub(super) fn fill(&self, position: u64) -> bool {
        self.imp().fill(position)
    }

    /// The source has ended before the last position: [`Self::fill`] and [`Self::end`] go on.
    pub(super) fn is_waiting(&self) -> bool {
        let state = self.imp().state.try_lock();
        state.is_ok_and(|state| state.as_ref().is_some_and(|state| state.waiting && !state.ended()))
    }

    /// Send the end of the stream, here.
    pub(super) fn end(&self) {
        self.imp().end_here();
    }

    /// Fill in the gate's figures; `None` of them while a buffer is on its way out.
    pub(super) fn report(&self, into: &mut ChunkReport) {
        self.imp().with_state(|state| {
            into.silence = state.samples.silence();
            let end = state.samples.source_end().and_then(|end| u64::try_from(end).ok());
            into.audio_end = self
                .imp()
                .settings
                .get()
                .and_then(|settings| Some(settings.start + position_time(end?, settings.rate)));
            into.samples = state.samples.next() - self.imp().settings.get().map_or(0, |s| s.samples.start);
        });
    }

    /// Samples have come from the source.
    pub(super) fn has_begun(&self) -> bool {
        self.imp().with_state(|state| state.samples.source_end().is_some())
    }

    /// The next position, where it can be told without waiting.
    pub(super) fn position(&self) -> Option<u64> {
        self.imp().state.try_lock().ok().and_then(|state| state.as_ref().map(|state| state.samples.next()))
    }
}
