//! The timeline gate on raw pictures: an element that holds the plan's grid.
//!
//! In: decoded pictures with any segment, any rate, after any seek. Out: one stream that begins at
//! the chunk's first slot and has one picture a slot, stamped exactly, with running time = time on
//! the plan's clock. Flushes and segments end here, so that a seek is never seen behind the gate.
//! The decisions are [`Slots`]'; this file only moves buffers.

use super::clock::{Clock, clock};
use super::slots::{Slots, Step};
use crate::event::ChunkReport;
use crate::units::{FrameRate, MediaTime};
use gstreamer as gst;
use gstreamer::buffer::BufferMetaForeachAction as Action;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer::subclass::prelude::*;
use std::ops::ControlFlow;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Sees every picture that leaves the gate: its slot, the buffer, its caps.
pub(super) type Watcher = Box<dyn Fn(u64, &gst::Buffer, &gst::Caps) + Send + Sync>;

/// What a gate is made for.
pub(super) struct Settings {
    pub(super) rate: FrameRate,
    pub(super) start: MediaTime,
    /// How pictures are stamped.
    pub(super) clock: Clock,
    pub(super) slots: std::ops::Range<u64>,
    /// A seek has to come before any picture counts.
    pub(super) wait_for_seek: bool,
    /// Called when a seek has to go further back.
    pub(super) need_earlier: Box<dyn Fn() + Send + Sync>,
    pub(super) watcher: Watcher,
}

mod imp {
    use super::*;

    pub(in crate::graph) struct VideoGate {
        pub(super) sinkpad: gst::Pad,
        pub(super) srcpad: gst::Pad,
        pub(super) settings: OnceLock<Settings>,
        pub(super) state: Mutex<Option<State>>,
    }

    pub(super) struct State {
        pub(super) slots: Slots,
        pub(super) armed: bool,
        /// A seek is on its way: the flush that it brings arms the gate, with this.
        pub(super) arm_at_flush: Option<bool>,
        /// The last picture has been sent on.
        pub(super) done: bool,
        segment: gst::FormattedSegment<gst::ClockTime>,
        caps: Option<gst::Caps>,
        caps_sent: bool,
        segment_sent: bool,
        held: Option<gst::Buffer>,
    }

    impl State {
        pub(super) fn new(slots: Slots, armed: bool) -> Self {
            Self {
                slots,
                armed,
                arm_at_flush: None,
                done: false,
                segment: gst::FormattedSegment::new(),
                caps: None,
                caps_sent: false,
                segment_sent: false,
                held: None,
            }
        }
    }

    #[glib::object_subclass]
    impl ObjectSubclass for VideoGate {
        const NAME: &'static str = "TranscodeVideoGate";
        type Type = super::VideoGate;
        type ParentType = gst::Element;

        fn with_class(class: &Self::Class) -> Self {
            let template =
                |name: &str| class.pad_template(name).expect("both templates are registered below");
            let sinkpad = gst::Pad::builder_from_template(&template("sink"))
                .chain_function(|pad, parent, buffer| {
                    Self::catch_panic_pad_function(
                        parent,
                        || Err(gst::FlowError::Error),
                        |gate| gate.chain(pad, buffer),
                    )
                })
                .event_function(|_, parent, event| {
                    Self::catch_panic_pad_function(parent, || false, |gate| gate.sink_event(event))
                })
                .query_function(|pad, parent, query| {
                    Self::catch_panic_pad_function(parent, || false, |gate| gate.sink_query(pad, query))
                })
                .build();
            let srcpad = gst::Pad::builder_from_template(&template("src")).build();
            Self { sinkpad, srcpad, settings: OnceLock::new(), state: Mutex::new(None) }
        }
    }

    impl ObjectImpl for VideoGate {
        fn constructed(&self) {
            self.parent_constructed();
            let gate = self.obj();
            gate.add_pad(&self.sinkpad).expect("a new element has no pads yet");
            gate.add_pad(&self.srcpad).expect("a new element has no pads yet");
        }
    }

    impl GstObjectImpl for VideoGate {}

    impl ElementImpl for VideoGate {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            static METADATA: OnceLock<gst::subclass::ElementMetadata> = OnceLock::new();
            Some(METADATA.get_or_init(|| {
                gst::subclass::ElementMetadata::new(
                    "Timeline gate (video)",
                    "Filter/Video",
                    "One picture a slot of the plan's timeline",
                    "Transcode",
                )
            }))
        }

        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: OnceLock<Vec<gst::PadTemplate>> = OnceLock::new();
            TEMPLATES.get_or_init(|| {
                let caps = gst::Caps::builder("video/x-raw").any_features().build();
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

    impl VideoGate {
        fn settings(&self) -> &Settings {
            self.settings.get().expect("the gate is only made by VideoGate::make, which sets them")
        }

        pub(super) fn with_state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let state = state.get_or_insert_with(|| {
                let settings = self.settings();
                let slots = Slots::new(settings.rate, settings.start, settings.slots.clone());
                State::new(slots, !settings.wait_for_seek)
            });
            act(state)
        }

        fn chain(
            &self,
            _pad: &gst::Pad,
            mut buffer: gst::Buffer,
        ) -> Result<gst::FlowSuccess, gst::FlowError> {
            enum Act {
                Nothing,
                Push(Vec<(u64, gst::Buffer)>, bool),
                Earlier,
            }
            let act = self.with_state(|state| {
                if !state.armed {
                    return Act::Nothing;
                }
                if state.slots.is_full() {
                    return Act::Push(Vec::new(), true);
                }
                let time = buffer.pts().map(|pts| self.settings().clock.time(&state.segment, pts));
                let duration = buffer.duration().and_then(|length| i64::try_from(length.nseconds()).ok());
                match state.slots.picture(time, duration.map(MediaTime::from_nanos)) {
                    Step::Hold => {
                        state.held = Some(buffer);
                        Act::Nothing
                    }
                    Step::NeedEarlier => {
                        state.armed = false;
                        state.held = None;
                        Act::Earlier
                    }
                    Step::Show { fill, slot } => {
                        // Stamped before it is held: a second owner would make of the stamping a
                        // copy that shares the memory, and a decoder's pool throws away a buffer
                        // whose memory is shared. Every picture would be allocated anew.
                        self.stamp(slot, &mut buffer);
                        let held = state.held.replace(buffer.clone());
                        let filler = held.as_ref().unwrap_or(&buffer);
                        let mut out: Vec<_> = fill.map(|at| (at, self.repeat(at, filler))).collect();
                        out.push((slot, buffer));
                        Act::Push(out, state.slots.is_full())
                    }
                    Step::End { fill } => {
                        let filler = state.held.take().unwrap_or(buffer);
                        Act::Push(fill.map(|at| (at, self.repeat(at, &filler))).collect(), true)
                    }
                }
            });
            match act {
                Act::Nothing => Ok(gst::FlowSuccess::Ok),
                Act::Earlier => {
                    (self.settings().need_earlier)();
                    Ok(gst::FlowSuccess::Ok)
                }
                Act::Push(pictures, last) => {
                    for (slot, picture) in pictures {
                        self.push(slot, picture)?;
                    }
                    if last {
                        self.with_state(|state| {
                            state.held = None;
                            state.done = true;
                        });
                        self.srcpad.push_event(gst::event::Eos::new());
                        return Err(gst::FlowError::Eos);
                    }
                    Ok(gst::FlowSuccess::Ok)
                }
            }
        }

        fn stamp(&self, slot: u64, picture: &mut gst::Buffer) {
            let rate = self.settings().rate;
            let (begin, end) = (clock(rate.time_of(slot)), clock(rate.time_of(slot + 1)));
            let picture = picture.make_mut();
            picture.set_pts(begin);
            picture.set_dts(gst::ClockTime::NONE);
            picture.set_duration(end - begin);
            without_captions(picture);
        }

        /// The same picture once more, stamped for another slot.
        fn repeat(&self, slot: u64, picture: &gst::Buffer) -> gst::Buffer {
            let mut again = picture.copy();
            self.stamp(slot, &mut again);
            again
        }

        /// Send a stamped picture on, after the events that must precede it.
        fn push(&self, slot: u64, picture: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
            let (caps, segment) = self.with_state(|state| {
                let caps = (!state.caps_sent).then(|| state.caps.clone()).flatten();
                state.caps_sent = true;
                (caps, !std::mem::replace(&mut state.segment_sent, true))
            });
            if let Some(caps) = caps {
                self.srcpad.push_event(gst::event::Caps::new(&caps));
            }
            if segment {
                let segment = gst::FormattedSegment::<gst::ClockTime>::new();
                self.srcpad.push_event(gst::event::Segment::new(&segment));
            }
            if let Some(caps) = self.srcpad.current_caps() {
                (self.settings().watcher)(slot, &picture, &caps);
            }
            self.srcpad.push(picture)
        }

        fn sink_event(&self, event: gst::Event) -> bool {
            match event.view() {
                gst::EventView::Caps(caps) => {
                    let caps = self.output_caps(caps.caps());
                    self.with_state(|state| {
                        if state.caps.as_ref() != Some(&caps) {
                            state.caps = Some(caps);
                            state.caps_sent = false;
                        }
                    });
                    true
                }
                gst::EventView::Segment(segment) => {
                    if let Ok(segment) = segment.segment().clone().downcast::<gst::ClockTime>() {
                        self.with_state(|state| state.segment = segment);
                    }
                    true
                }
                gst::EventView::Eos(_) => {
                    if self.with_state(|state| state.done) {
                        return true;
                    }
                    let (pictures, armed) = self.with_state(|state| {
                        if !state.armed || state.slots.is_full() {
                            return (Vec::new(), state.armed);
                        }
                        let fill = state.slots.finish();
                        let held = state.held.take();
                        let out = held.map(|held| fill.map(|at| (at, self.repeat(at, &held))).collect());
                        (out.unwrap_or_default(), true)
                    });
                    for (slot, picture) in pictures {
                        if self.push(slot, picture).is_err() {
                            return false;
                        }
                    }
                    self.with_state(|state| state.done = armed);
                    // Unarmed, the end belongs to a pass that a seek is about to replace.
                    !armed || self.srcpad.push_event(gst::event::Eos::new())
                }
                gst::EventView::StreamStart(_) => self.srcpad.push_event(event),
                gst::EventView::FlushStop(_) => {
                    self.with_state(|state| {
                        if let Some(from_start) = state.arm_at_flush.take() {
                            state.slots.restart(from_start);
                            state.armed = true;
                        }
                    });
                    true
                }
                // Tags, gaps and flushes end here: nothing behind the gate may see a seek.
                _ => true,
            }
        }

        /// The decoder's caps at the plan's rate, in square pixels (the plan has the shown size).
        fn output_caps(&self, caps: &gst::CapsRef) -> gst::Caps {
            let rate = self.settings().rate;
            let fraction = |num: u32, den: u32| {
                gst::Fraction::new(i32::try_from(num).unwrap_or(i32::MAX), i32::try_from(den).unwrap_or(1))
            };
            let mut caps = caps.to_owned();
            for structure in caps.make_mut().iter_mut() {
                structure.set("framerate", fraction(rate.num(), rate.den()));
                structure.set("pixel-aspect-ratio", gst::Fraction::new(1, 1));
                structure.set("interlace-mode", "progressive");
                structure.remove_fields(["field-order", "max-framerate"]);
            }
            caps
        }

        fn sink_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
            match query.view_mut() {
                // Everything behind maps frames by their meta, so a decoder may hand out its own
                // padded pictures. libav's does not where the coded height is not the shown one (1088
                // for 1080): it copies into a second pool. It must not be offered a pool here: it would
                // decode into that, still have it mapped when GStreamer 1.22's base class makes the
                // buffer its own, and that copies too, into memory that is allocated anew every time
                // (measured: a copy of 3 MB and 750 page faults a picture).
                gst::QueryViewMut::Allocation(query) => {
                    query.add_allocation_meta::<gstreamer_video::VideoMeta>(None);
                    true
                }
                // What is behind is fixed by the plan; before, a capsfilter says the format.
                gst::QueryViewMut::Caps(query) => {
                    let caps = pad.pad_template_caps();
                    let caps = match query.filter() {
                        Some(filter) => filter.intersect_with_mode(&caps, gst::CapsIntersectMode::First),
                        None => caps,
                    };
                    query.set_result(&caps);
                    true
                }
                gst::QueryViewMut::AcceptCaps(query) => {
                    query.set_result(true);
                    true
                }
                _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
            }
        }
    }
}

glib::wrapper! {
    /// The element; see the module.
    pub(super) struct VideoGate(ObjectSubclass<imp::VideoGate>) @extends gst::Element, gst::Object;
}

impl VideoGate {
    pub(super) fn make(settings: Settings) -> Self {
        let gate: Self = glib::Object::new();
        let fresh = gate.imp().settings.set(settings).is_ok();
        debug_assert!(fresh, "a gate is made once");
        gate
    }

    /// Pictures count from the flush that the coming seek brings; `from_start` where it goes to the
    /// start of the source.
    pub(super) fn arm_after_seek(&self, from_start: bool) {
        self.imp().with_state(|state| {
            state.armed = false;
            state.arm_at_flush = Some(from_start);
        });
    }

    /// From now on pictures count.
    pub(super) fn arm(&self, from_start: bool) {
        self.imp().with_state(|state| {
            state.arm_at_flush = None;
            state.slots.restart(from_start);
            state.armed = true;
        });
    }

    /// The slot that comes next.
    pub(super) fn position(&self) -> u64 {
        self.imp().with_state(|state| state.slots.next())
    }

    /// No more pictures come, and all that came have been sent on.
    pub(super) fn is_done(&self) -> bool {
        self.imp().with_state(|state| state.done)
    }

    /// Fill in the gate's figures.
    pub(super) fn report(&self, into: &mut ChunkReport) {
        self.imp().with_state(|state| state.slots.report(into));
    }
}

/// Encoders write the captions that they find on a picture into the stream; on a repeated picture
/// twice, and past a master playlist that says there are none.
fn without_captions(picture: &mut gst::BufferRef) {
    picture.foreach_meta_mut(|meta| {
        // By name, because the type is younger than the oldest GStreamer that this is built for.
        let is_caption = meta.api().name() == "GstVideoCaptionMetaAPI";
        ControlFlow::Continue(if is_caption { Action::Remove } else { Action::Keep })
    });
}
