//! Scales I420 pictures: one rung's size out of another's.
//!
//! The element around `transcode_scale`, because GStreamer 1.22's own catrom costs several times as much for
//! the same picture (`docs/performance.md`). Chroma is taken as left-sited, as H.264 and MPEG-2 have it.
//! Knows formats and caps, nothing of filters. Sizes are pixels and come from the caps on both sides;
//! equal sizes pass through untouched.

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer::subclass::prelude::*;
use gstreamer_base as gst_base;
use gstreamer_base::subclass::prelude::*;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;
use gstreamer_video::subclass::prelude::*;
use std::sync::{Mutex, OnceLock, PoisonError};
use transcode_scale::{Plane, Resampler, Siting};

mod imp {
    use super::*;

    #[derive(Default)]
    pub(in crate::graph) struct Scaler {
        work: Mutex<Resampler>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Scaler {
        const NAME: &'static str = "TranscodeScaler";
        type Type = super::Scaler;
        type ParentType = gst_video::VideoFilter;
    }

    impl ObjectImpl for Scaler {}
    impl GstObjectImpl for Scaler {}

    impl ElementImpl for Scaler {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            static METADATA: OnceLock<gst::subclass::ElementMetadata> = OnceLock::new();
            Some(METADATA.get_or_init(|| {
                gst::subclass::ElementMetadata::new(
                    "I420 scaler",
                    "Filter/Converter/Video/Scaler",
                    "Bicubic (C = 0.6) with left-sited chroma",
                    "Transcode",
                )
            }))
        }

        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: OnceLock<Vec<gst::PadTemplate>> = OnceLock::new();
            TEMPLATES.get_or_init(|| {
                let caps = gst_video::VideoCapsBuilder::new().format(gst_video::VideoFormat::I420).build();
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

    impl BaseTransformImpl for Scaler {
        const MODE: gst_base::subclass::BaseTransformMode =
            gst_base::subclass::BaseTransformMode::NeverInPlace;
        const PASSTHROUGH_ON_SAME_CAPS: bool = true;
        const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

        /// Anything of the same format and colour, at any size.
        fn transform_caps(
            &self,
            _direction: gst::PadDirection,
            caps: &gst::Caps,
            filter: Option<&gst::Caps>,
        ) -> Option<gst::Caps> {
            let mut any = caps.clone();
            for structure in any.make_mut().iter_mut() {
                structure.set("width", gst::IntRange::new(1, i32::MAX));
                structure.set("height", gst::IntRange::new(1, i32::MAX));
            }
            Some(match filter {
                Some(filter) => filter.intersect_with_mode(&any, gst::CapsIntersectMode::First),
                None => any,
            })
        }
    }

    impl VideoFilterImpl for Scaler {
        fn transform_frame(
            &self,
            input: &gst_video::VideoFrameRef<&gst::BufferRef>,
            output: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
        ) -> Result<gst::FlowSuccess, gst::FlowError> {
            let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
            for plane in 0..3u32 {
                scale(&mut work, plane, input, output).ok_or(gst::FlowError::Error)?;
            }
            Ok(gst::FlowSuccess::Ok)
        }
    }

    fn scale(
        work: &mut Resampler,
        plane: u32,
        input: &gst_video::VideoFrameRef<&gst::BufferRef>,
        output: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
    ) -> Option<()> {
        let number = plane as usize;
        let from = Plane {
            width: input.comp_width(plane) as usize,
            height: input.comp_height(plane) as usize,
            stride: usize::try_from(*input.plane_stride().get(number)?).ok()?,
        };
        let to = Plane {
            width: output.comp_width(plane) as usize,
            height: output.comp_height(plane) as usize,
            stride: usize::try_from(*output.plane_stride().get(number)?).ok()?,
        };
        let siting = if plane == 0 { Siting::Centre } else { Siting::Left };
        let bytes = input.plane_data(plane).ok()?;
        work.plane(bytes, &from, output.plane_data_mut(plane).ok()?, &to, siting)
    }
}

glib::wrapper! {
    /// The element; see the module.
    pub(super) struct Scaler(ObjectSubclass<imp::Scaler>)
        @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
}

impl Scaler {
    pub(super) fn make() -> gst::Element {
        glib::Object::new::<Self>().upcast()
    }
}
