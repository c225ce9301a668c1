//! The element that says where pictures live: it rewrites the memory feature of raw caps and hands buffers on as
//! they are.
//!
//! Owns: the translation of caps between a vendor's pad (device memory, as its template says) and the software
//! inside (system memory). Must not know: which vendor, which element.

use std::sync::{Mutex, PoisonError};

use gst::prelude::*;
use gst::subclass::prelude::*;
use gstreamer as gst;

glib::wrapper! {
    /// Changes memory features, nothing else.
    pub(crate) struct Relabel(ObjectSubclass<imp::Relabel>) @extends gst::Element, gst::Object;
}

impl Relabel {
    /// Takes what `sink` allows and gives it out as what `src` allows: of two features that downstream takes, the
    /// one it came in with, else the first of `src`.
    pub(crate) fn new(name: &str, sink: &gst::Caps, src: &gst::Caps) -> Self {
        let relabel: Self = glib::Object::builder().property("name", name).build();
        relabel.imp().set(sink.clone(), src.clone());
        relabel
    }
}

/// The caps with other memory features.
fn with_features(caps: &gst::CapsRef, features: &gst::CapsFeaturesRef) -> gst::Caps {
    let mut out = gst::Caps::new_empty();
    let target = out.make_mut();
    for structure in caps.iter() {
        target.append_structure_full(structure.to_owned(), Some(features.to_owned()));
    }
    out
}

/// `caps` under each feature that `allowed` knows, within `allowed`.
fn translated(caps: &gst::Caps, allowed: &gst::Caps) -> gst::Caps {
    if caps.is_any() {
        return allowed.clone();
    }
    let mut seen: Vec<gst::CapsFeatures> = Vec::new();
    let mut out = gst::Caps::new_empty();
    for (_, features) in allowed.iter_with_features() {
        if seen.iter().any(|known| known.is_equal(features)) {
            continue;
        }
        seen.push(features.to_owned());
        let part = with_features(caps, features).intersect_with_mode(allowed, gst::CapsIntersectMode::First);
        out.merge(part);
    }
    out
}

mod imp {
    use super::*;

    #[derive(Default)]
    struct Allowed {
        sink: Option<gst::Caps>,
        src: Option<gst::Caps>,
    }

    pub(crate) struct Relabel {
        sink: gst::Pad,
        src: gst::Pad,
        allowed: Mutex<Allowed>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Relabel {
        const NAME: &'static str = "TranscodeStandinRelabel";
        type Type = super::Relabel;
        type ParentType = gst::Element;

        fn with_class(klass: &Self::Class) -> Self {
            let template = |name| klass.pad_template(name).expect("pad_templates() has both");
            let sink = gst::Pad::builder_from_template(&template("sink"))
                .chain_function(|_, parent, buffer| {
                    Relabel::catch_panic_pad_function(
                        parent,
                        || Err(gst::FlowError::Error),
                        |relabel| relabel.src.push(buffer),
                    )
                })
                .event_function(|pad, parent, event| {
                    Relabel::catch_panic_pad_function(
                        parent,
                        || false,
                        |relabel| relabel.sink_event(pad, event),
                    )
                })
                .query_function(|pad, parent, query| {
                    Relabel::catch_panic_pad_function(parent, || false, |relabel| relabel.query(pad, query))
                })
                .build();
            let src = gst::Pad::builder_from_template(&template("src"))
                .query_function(|pad, parent, query| {
                    Relabel::catch_panic_pad_function(parent, || false, |relabel| relabel.query(pad, query))
                })
                .build();
            Self { sink, src, allowed: Mutex::default() }
        }
    }

    impl Relabel {
        pub(super) fn set(&self, sink: gst::Caps, src: gst::Caps) {
            *self.allowed.lock().unwrap_or_else(PoisonError::into_inner) =
                Allowed { sink: Some(sink), src: Some(src) };
        }

        /// What this pad allows.
        fn allowed(&self, pad: &gst::Pad) -> gst::Caps {
            let allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
            let caps = if *pad == self.sink { &allowed.sink } else { &allowed.src };
            caps.clone().unwrap_or_else(gst::Caps::new_any)
        }

        /// What this pad can do now: what it allows of what the other side can do.
        fn possible(&self, pad: &gst::Pad) -> gst::Caps {
            let other = if *pad == self.sink { &self.src } else { &self.sink };
            let beyond = other.peer_query_caps(Some(&self.allowed(other)));
            translated(&beyond, &self.allowed(pad))
        }

        fn query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
            match query.view_mut() {
                gst::QueryViewMut::Caps(caps) => {
                    let mut possible = self.possible(pad);
                    if let Some(filter) = caps.filter_owned() {
                        possible = filter.intersect_with_mode(&possible, gst::CapsIntersectMode::First);
                    }
                    caps.set_result(&possible);
                    true
                }
                gst::QueryViewMut::AcceptCaps(accept) => {
                    let accepted = accept.caps().can_intersect(&self.possible(pad));
                    accept.set_result(accepted);
                    true
                }
                // Memory of the other side is another's business.
                gst::QueryViewMut::Allocation(_) => false,
                _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
            }
        }

        fn sink_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
            let gst::EventView::Caps(caps) = event.view() else {
                return gst::Pad::event_default(pad, Some(&*self.obj()), event);
            };
            let caps = caps.caps_owned();
            if !caps.can_intersect(&self.allowed(&self.sink)) {
                gst::warning!(gst::CAT_RUST, obj = self.obj(), "refused {caps}");
                return false;
            }
            let came = caps.features(0).map(ToOwned::to_owned);
            let mut options = translated(&caps, &self.allowed(&self.src));
            if let Some(came) = came {
                let same = with_features(&caps, &came)
                    .intersect_with_mode(&self.allowed(&self.src), gst::CapsIntersectMode::First);
                let mut first = same;
                first.merge(options);
                options = first;
            }
            let taken = match self.src.peer() {
                Some(peer) => options
                    .intersect_with_mode(&peer.query_caps(Some(&options)), gst::CapsIntersectMode::First),
                None => options,
            };
            match taken.structure(0).zip(taken.features(0)) {
                Some((_, features)) => {
                    let out = with_features(&caps, features);
                    self.src.push_event(gst::event::Caps::builder(&out).seqnum(event.seqnum()).build())
                }
                None => {
                    gst::warning!(gst::CAT_RUST, obj = self.obj(), "nothing downstream takes {caps}");
                    false
                }
            }
        }
    }

    impl ObjectImpl for Relabel {
        fn constructed(&self) {
            self.parent_constructed();
            let obj = self.obj();
            obj.add_pad(&self.sink).expect("a new element has no pads");
            obj.add_pad(&self.src).expect("a new element has no pads");
        }
    }

    impl GstObjectImpl for Relabel {}

    impl ElementImpl for Relabel {
        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: std::sync::OnceLock<Vec<gst::PadTemplate>> = std::sync::OnceLock::new();
            TEMPLATES.get_or_init(|| {
                [("sink", gst::PadDirection::Sink), ("src", gst::PadDirection::Src)]
                    .into_iter()
                    .map(|(name, direction)| {
                        let any = gst::Caps::new_any();
                        gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &any)
                            .expect("name and caps are fixed and valid")
                    })
                    .collect()
            })
        }
    }
}
