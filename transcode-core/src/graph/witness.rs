//! The witness: what an encoder made, held against what went into it.
//!
//! Hardware is tried, not believed. Of every segment the first picture is seen twice: on its way to
//! the encoders, and decoded again, in software, out of the finished segment. Both are shrunk to a few
//! averages, which coding hardly changes and a wrong picture does. Boundaries and counts are for the
//! segment's check to say; this is about green, frozen and foreign pictures.

use super::init::make;
use super::pictures::{faded, psnr};
use crate::error::Error;
use crate::plan::{Chunk, Plan};
use crate::platform::Platform;
use crate::segment;
use crate::units::SegmentIndex;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Averages in a row and in a column of the luma plane; half as many of each chroma plane.
const WIDTH: usize = 64;
const HEIGHT: usize = 36;

/// Peak signal to noise below which a plane is another picture, in dB. An average over a block keeps
/// little of what coding does: filmed motion at 480 lines and 60 kbit/s by x264, a thirtieth of a usual
/// bit rate, has 33 dB and more in luma, 41 in chroma; at usual rates it is above 40. A picture of one
/// colour, or that of another scene, lies below 20, one without its colours at 25. Chroma planes count
/// as well, each by itself: a picture of zeros is green by them alone. Of pale pictures this does not see
/// that their colours are gone; [`faded`] does.
const BOUND: f64 = 30.0;

/// The same of a chroma plane, which has a quarter of the averages: the colour bars of a test pattern, woven
/// out of fields and scaled to 180 lines, keep 29.8 dB.
const CHROMA_BOUND: f64 = 27.0;

/// How long a picture may take from the device to here, and one picture to be decoded.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sees pictures, and compares.
pub(super) struct Witness {
    platform: Platform,
    plan: Arc<Plan>,
    chunk: Chunk,
    /// By slot: what went in.
    seen: Mutex<BTreeMap<u64, Small>>,
    changed: Condvar,
}

/// A picture, shrunk.
type Small = [Vec<u8>; 3];

impl Witness {
    /// One for a chunk, where the platform's encoder is not believed.
    pub(super) fn wanted(platform: &Platform, plan: &Arc<Plan>, chunk: &Chunk) -> Option<Arc<Self>> {
        let one = || Self {
            platform: platform.clone(),
            plan: plan.clone(),
            chunk: chunk.clone(),
            seen: Mutex::default(),
            changed: Condvar::new(),
        };
        platform.encode.check_pictures.then(|| Arc::new(one()))
    }

    /// It is the first picture of a segment.
    pub(super) fn wants(&self, slot: u64) -> bool {
        slot.is_multiple_of(u64::from(self.plan.timeline.segment_slots.max(1)))
    }

    /// A picture on its way to the encoders.
    pub(super) fn look(&self, slot: u64, picture: &gst::Buffer, caps: &gst::Caps) {
        match shrink(picture, caps) {
            Some(small) => {
                self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(slot, small);
                self.changed.notify_all();
            }
            None => log::warn!("the picture of slot {slot} cannot be looked at"),
        }
    }

    /// Compare a finished segment's first picture with what went in.
    ///
    /// # Errors
    /// [`Error::Platform`] with rung, segment and figure.
    pub(super) fn check(&self, rung: &str, index: SegmentIndex, bytes: &[u8]) -> Result<(), Error> {
        let wrong = |reason: String| Error::Platform {
            platform: self.platform.name.clone(),
            reason: format!("rung {rung} segment {index}: {reason}"),
        };
        let slot = self.plan.timeline.slots_of(index).start;
        let went_in = self
            .went_in(slot)
            .ok_or_else(|| wrong("its first picture was never seen on the way to the encoders".to_owned()))?;
        let coded = segment::first_picture(bytes).ok_or_else(|| wrong("it has no picture".to_owned()))?;
        let came_out = self.decode(&coded).map_err(|reason| {
            wrong(format!("the first picture that `{}` made cannot be decoded: {reason}", self.encoder()))
        })?;
        for (plane, (before, after)) in ["luma", "blue", "red"].iter().zip(went_in.iter().zip(&came_out)) {
            let psnr = psnr(before, after);
            log::debug!("{rung} segment {index}: the first picture's {plane}: {psnr:.1} dB");
            if plane != &"luma" && faded(before, after) {
                return Err(wrong(format!(
                    "the first picture that `{}` made is not the one that went in: its {plane} is gone",
                    self.encoder()
                )));
            }
            let bound = if plane == &"luma" { BOUND } else { CHROMA_BOUND };
            if psnr < bound {
                return Err(wrong(format!(
                    "the first picture that `{}` made is not the one that went in: {psnr:.1} dB of signal to \
                     noise in {plane}, at least {bound:.0} are expected",
                    self.encoder()
                )));
            }
        }
        Ok(())
    }

    fn encoder(&self) -> &str {
        &self.platform.encode.element
    }

    /// What went in at that slot. Segments before it are forgotten once every rung is past them.
    fn went_in(&self, slot: u64) -> Option<Small> {
        let until = Instant::now() + PATIENCE;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(small) = seen.get(&slot) {
                let small = small.clone();
                // Rungs are at most a few segments apart.
                let kept = u64::from(self.plan.timeline.segment_slots) * 16;
                seen.retain(|at, _| at + kept >= slot);
                return Some(small);
            }
            let left = until.checked_duration_since(Instant::now())?;
            seen = self.changed.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Decode one picture by the CPU.
    fn decode(&self, coded: &[u8]) -> Result<Small, String> {
        let decoder = self.platform.decode.get("h264").and_then(|list| list.last());
        let decoder = decoder.and_then(|decoder| decoder.element.as_deref()).ok_or("no decoder is named")?;
        let make = |factory: &str| make(&self.platform, factory).map_err(|error| error.chain());
        let elements = [make("appsrc")?, make("h264parse")?, make(decoder)?, make("appsink")?];
        let pipeline = gst::Pipeline::new();
        pipeline.add_many(&elements).map_err(|error| error.to_string())?;
        gst::Element::link_many(&elements).map_err(|error| error.to_string())?;
        let result = self.decode_in(&pipeline, &elements, coded);
        let _goes_down = pipeline.set_state(gst::State::Null);
        result
    }

    fn decode_in(
        &self,
        pipeline: &gst::Pipeline,
        elements: &[gst::Element; 4],
        coded: &[u8],
    ) -> Result<Small, String> {
        let source = elements[0].downcast_ref::<gst_app::AppSrc>().ok_or("appsrc is none")?;
        let sink = elements[3].downcast_ref::<gst_app::AppSink>().ok_or("appsink is none")?;
        let caps =
            gst::Caps::builder("video/x-h264").field("stream-format", "byte-stream").field("alignment", "au");
        source.set_caps(Some(&caps.build()));
        source.set_format(gst::Format::Time);
        sink.set_property("sync", false);
        pipeline.set_state(gst::State::Playing).map_err(|error| error.to_string())?;
        let mut buffer = gst::Buffer::from_slice(coded.to_vec());
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(gst::ClockTime::ZERO);
        }
        source.push_buffer(buffer).map_err(|error| error.to_string())?;
        source.end_of_stream().map_err(|error| error.to_string())?;
        let sample = sink
            .try_pull_sample(gst::ClockTime::from_mseconds(PATIENCE.as_millis() as u64))
            .ok_or("no picture came out")?;
        let (buffer, caps) =
            sample.buffer_owned().zip(sample.caps_owned()).ok_or("an empty picture came out")?;
        shrink(&buffer, &caps).ok_or_else(|| "what came out is no 8-bit picture".to_owned())
    }
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Witness").field("chunk", &self.chunk).finish_non_exhaustive()
    }
}

/// A picture's planes as averages of blocks; `None` where it cannot be mapped, or has no 8-bit YUV.
fn shrink(picture: &gst::Buffer, caps: &gst::Caps) -> Option<Small> {
    let info = gst_video::VideoInfo::from_caps(caps).ok()?;
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(picture, &info).ok()?;
    let format = frame.format_info();
    if !format.is_yuv() || format.n_components() < 3 || format.bits() != 8 {
        return None;
    }
    let plane = |component: u8| {
        let (columns, rows) = if component == 0 { (WIDTH, HEIGHT) } else { (WIDTH / 2, HEIGHT / 2) };
        let at = usize::from(component);
        let data = frame.plane_data(*format.plane().get(at)?).ok()?;
        let stride =
            usize::try_from(*frame.plane_stride().get(usize::try_from(format.plane()[at]).ok()?)?).ok()?;
        let step = usize::try_from(*format.pixel_stride().get(at)?).ok()?;
        let offset = usize::try_from(*format.poffset().get(at)?).ok()?;
        let width = usize::try_from(frame.comp_width(u32::from(component))).ok()?;
        let height = usize::try_from(frame.comp_height(u32::from(component))).ok()?;
        let mut small = Vec::with_capacity(columns * rows);
        for row in 0..rows {
            let lines = span(row, rows, height);
            for column in 0..columns {
                let pixels = span(column, columns, width);
                let (mut sum, mut count) = (0u64, 0u64);
                for line in lines.clone() {
                    for pixel in pixels.clone() {
                        sum += u64::from(*data.get(line * stride + pixel * step + offset)?);
                        count += 1;
                    }
                }
                small.push(u8::try_from((sum + count / 2).checked_div(count)?).ok()?);
            }
        }
        Some(small)
    };
    Some([plane(0)?, plane(1)?, plane(2)?])
}

/// Which of `length` pixels block `at` of `blocks` stands for; at least one.
fn span(at: usize, blocks: usize, length: usize) -> std::ops::Range<usize> {
    let begin = at * length / blocks;
    begin..((at + 1) * length / blocks).max(begin + 1).min(length.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture from a function of its place (0 to 1 each way), in I420 or NV12.
    fn picture(format: gst_video::VideoFormat, size: (u32, u32), colour: fn(f64, f64) -> [u8; 3]) -> Small {
        crate::graph::init().unwrap();
        let info = gst_video::VideoInfo::builder(format, size.0, size.1).build().unwrap();
        let buffer = gst::Buffer::with_size(info.size()).unwrap();
        let mut frame = gst_video::VideoFrame::from_buffer_writable(buffer, &info).unwrap();
        for component in 0..3usize {
            let described = frame.format_info();
            let plane = described.plane()[component];
            let step = usize::try_from(described.pixel_stride()[component]).unwrap();
            let offset = usize::try_from(described.poffset()[component]).unwrap();
            let stride = usize::try_from(frame.plane_stride()[plane as usize]).unwrap();
            let number = u32::try_from(component).unwrap();
            let (width, height) = (frame.comp_width(number), frame.comp_height(number));
            let data = frame.plane_data_mut(plane).unwrap();
            for row in 0..height {
                for column in 0..width {
                    let at = row as usize * stride + column as usize * step + offset;
                    data[at] = colour(
                        (f64::from(column) + 0.5) / f64::from(width),
                        (f64::from(row) + 0.5) / f64::from(height),
                    )[component];
                }
            }
        }
        shrink(&frame.into_buffer(), &info.to_caps().unwrap()).unwrap()
    }

    fn worst(left: &Small, right: &Small) -> f64 {
        left.iter().zip(right).map(|(left, right)| psnr(left, right)).fold(100.0, f64::min)
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn scene(x: f64, y: f64) -> [u8; 3] {
        let luma = 60.0 + 120.0 * x + 30.0 * (y * 20.0).sin();
        [luma as u8, (100.0 + 40.0 * y) as u8, (150.0 - 30.0 * x) as u8]
    }

    use gst_video::VideoFormat::{I420, Nv12};

    #[test]
    fn one_picture_in_two_formats_and_sizes_is_one_picture() {
        let large = picture(I420, (1280, 720), scene);
        assert!(worst(&large, &picture(Nv12, (1280, 720), scene)) > 99.0);
        for size in [(640, 360), (426, 240), (854, 480)] {
            let psnr = worst(&large, &picture(Nv12, size, scene));
            assert!(psnr > 35.0, "{size:?}: {psnr}");
        }
    }

    #[test]
    fn green_black_and_foreign_pictures_are_other_pictures() {
        let seen = picture(I420, (640, 360), scene);
        let others: [fn(f64, f64) -> [u8; 3]; 4] = [
            |_, _| [0, 0, 0],
            |_, _| [16, 128, 128],
            |x, y| scene(1.0 - x, y),
            |x, y| [scene(x, y)[0], 128, 128],
        ];
        for (number, other) in others.into_iter().enumerate() {
            let psnr = worst(&seen, &picture(I420, (640, 360), other));
            assert!(psnr < BOUND, "{number}: {psnr}");
        }
        // A dark scene that comes out as zeros differs in its colours alone.
        let dark = picture(I420, (640, 360), |_, _| [17, 128, 128]);
        assert!(worst(&dark, &picture(I420, (640, 360), |_, _| [0, 0, 0])) < BOUND);
        assert!(worst(&dark, &picture(I420, (640, 360), |_, _| [16, 128, 128])) > BOUND);
    }
}
