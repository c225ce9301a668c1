//! Scales I420 pictures: one rung's size out of another's.
//!
//! An element around the crate `fast_image_resize` (Catmull-Rom, separable, SIMD), because
//! GStreamer 1.22's own catrom costs about three times as much for the same picture
//! (`docs/performance.md`). Chroma is taken as left-sited, as H.264 and MPEG-2 have it: its planes
//! are resampled with the offset that this asks for, so that colour does not wander off the luma.
//! Sizes come from the caps on both sides; equal sizes pass through untouched.

use fast_image_resize::images::{TypedCroppedImage, TypedCroppedImageMut, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
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

/// Columns repeated on each side of a chroma plane before it is resampled: half of Catmull-Rom's
/// support at the strongest reduction in a ladder (4 : 1), and the siting offset.
const MARGIN: u32 = 12;

const FILTER: ResizeAlg = ResizeAlg::Convolution(FilterType::CatmullRom);

mod imp {
    use super::*;

    #[derive(Default)]
    pub(in crate::graph) struct Scaler {
        work: Mutex<Work>,
    }

    #[derive(Default)]
    struct Work {
        resizer: Resizer,
        /// A chroma plane with its margins.
        padded: Vec<u8>,
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
                    "Catmull-Rom with left-sited chroma",
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
                work.plane(plane, input, output).ok_or(gst::FlowError::Error)?;
            }
            Ok(gst::FlowSuccess::Ok)
        }
    }

    impl Work {
        fn plane(
            &mut self,
            plane: u32,
            input: &gst_video::VideoFrameRef<&gst::BufferRef>,
            output: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
        ) -> Option<()> {
            let (width, height) = (input.comp_width(plane), input.comp_height(plane));
            let (out_width, out_height) = (output.comp_width(plane), output.comp_height(plane));
            let stride = u32::try_from(*input.plane_stride().get(plane as usize)?).ok()?;
            let out_stride = u32::try_from(*output.plane_stride().get(plane as usize)?).ok()?;
            let bytes = input.plane_data(plane).ok()?;

            let target = rows(output.plane_data_mut(plane).ok()?, out_stride, out_height)?;
            let target = TypedImage::<U8>::from_buffer(out_stride, out_height, target).ok()?;
            let mut target = TypedCroppedImageMut::new(target, 0, 0, out_width, out_height).ok()?;
            let options = ResizeOptions::new().resize_alg(FILTER);
            if plane == 0 {
                let source =
                    TypedImageRef::<U8>::from_buffer(stride, height, rows_of(bytes, stride, height)?).ok()?;
                let source = TypedCroppedImage::new(source, 0, 0, width, height).ok()?;
                return self.resizer.resize_typed(&source, &mut target, &options).ok();
            }
            self.pad(bytes, stride as usize, width as usize, height as usize);
            let padded = width + 2 * MARGIN;
            let source = TypedImageRef::<U8>::from_buffer(padded, height, &self.padded).ok()?;
            let offset = 0.25 * (1.0 - f64::from(width) / f64::from(out_width));
            let options = options.crop(f64::from(MARGIN) + offset, 0.0, f64::from(width), f64::from(height));
            self.resizer.resize_typed(&source, &mut target, &options).ok()
        }

        /// The plane with its first and last column repeated on either side.
        fn pad(&mut self, bytes: &[u8], stride: usize, width: usize, height: usize) {
            let margin = MARGIN as usize;
            let padded = width + 2 * margin;
            self.padded.resize(padded * height, 0);
            for (row, line) in self.padded.chunks_exact_mut(padded).zip(bytes.chunks(stride)) {
                if let (Some(first), Some(last)) = (line.first(), line.get(width - 1)) {
                    row[..margin].fill(*first);
                    row[margin + width..].fill(*last);
                    row[margin..margin + width].copy_from_slice(&line[..width]);
                }
            }
        }
    }

    fn rows(data: &mut [u8], stride: u32, height: u32) -> Option<&mut [u8]> {
        data.get_mut(..stride as usize * height as usize)
    }

    fn rows_of(data: &[u8], stride: u32, height: u32) -> Option<&[u8]> {
        data.get(..stride as usize * height as usize)
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
