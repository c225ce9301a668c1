//! The preview picture, taken from the pictures that are decoded anyway.
//!
//! Watches the gate's output: the plan's slot first, then every so often while all were black. The
//! JPEG is made on a thread of its own, so that the encoders do not wait for it.

use super::upload::{Handle, Item};
use crate::error::Error;
use crate::plan::Thumbnail;
use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Mean luma (16 is black, 235 is white) below which a picture counts as black: fades and night
/// shots begin around 30, encoded black lies at 16 to 18.
const BLACK_BELOW: u64 = 28;

/// Every so many pixels in each direction are looked at: some 8,000 of 1080p's two million.
const SAMPLE_EVERY: usize = 16;

/// How long making one JPEG may take.
const TIMEOUT: gst::ClockTime = gst::ClockTime::from_seconds(10);

/// Chooses a picture among those that pass by.
pub(super) struct Chooser {
    wanted: Thumbnail,
    state: Mutex<State>,
}

struct State {
    best: Option<(u64, u64, gst::Sample)>,
    /// Gone once a picture is chosen.
    chosen: Option<Sender<(u64, gst::Sample)>>,
}

/// The thread that makes the JPEG.
pub(super) struct Maker(Option<JoinHandle<Result<(), Error>>>);

/// A chooser for the gate and the thread behind it.
pub(super) fn start(wanted: Thumbnail, uploader: Handle) -> (Arc<Chooser>, Maker) {
    let (sender, receiver) = channel::<(u64, gst::Sample)>();
    let size = wanted.size;
    let make = move || match receiver.recv() {
        Ok((slot, sample)) => {
            let bytes = jpeg(&sample, size)?;
            uploader.submit(Item::Thumbnail { slot, bytes });
            Ok(())
        }
        // Nothing was chosen: the run was stopped first.
        Err(_) => Ok(()),
    };
    let thread = std::thread::Builder::new().name("thumbnail".to_owned()).spawn(make).ok();
    let state = Mutex::new(State { best: None, chosen: Some(sender) });
    (Arc::new(Chooser { wanted, state }), Maker(thread))
}

impl Chooser {
    /// It is one to look at.
    pub(super) fn wants(&self, slot: u64) -> bool {
        let Thumbnail { frame, retry_every, .. } = self.wanted;
        slot >= frame
            && (slot - frame).is_multiple_of(retry_every.max(1))
            && self.state.lock().unwrap_or_else(PoisonError::into_inner).chosen.is_some()
    }

    /// One picture on its way to the encoders.
    pub(super) fn look(&self, slot: u64, picture: &gst::Buffer, caps: &gst::Caps) {
        let Thumbnail { retry_every, last, .. } = self.wanted;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.chosen.is_none() {
            return;
        }
        let Some(luma) = mean_luma(picture, caps) else { return };
        if state.best.as_ref().is_none_or(|(best, _, _)| luma > *best) {
            let sample = gst::Sample::builder().buffer(picture).caps(caps).build();
            state.best = Some((luma, slot, sample));
        }
        if luma >= BLACK_BELOW || slot + retry_every > last {
            state.choose();
        }
    }

    /// No more pictures: the brightest so far has to do.
    pub(super) fn finish(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).choose();
    }
}

impl State {
    fn choose(&mut self) {
        if let (Some(sender), Some((_, slot, sample))) = (self.chosen.take(), self.best.take()) {
            let _maker_is_gone = sender.send((slot, sample));
        }
    }
}

impl Maker {
    /// Wait until the JPEG is handed over. Call [`Chooser::finish`] first.
    pub(super) fn join(mut self) -> Result<(), Error> {
        match self.0.take().map(JoinHandle::join) {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(error),
            Some(Err(_)) => Err(failed("its thread panicked")),
        }
    }
}

fn failed(reason: &str) -> Error {
    Error::Platform {
        platform: "any".to_owned(),
        reason: format!("the thumbnail could not be made: {reason}"),
    }
}

/// Mean of the luma plane on a coarse grid; `None` where the picture cannot be mapped.
fn mean_luma(picture: &gst::Buffer, caps: &gst::Caps) -> Option<u64> {
    let info = gst_video::VideoInfo::from_caps(caps).ok()?;
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(picture, &info).ok()?;
    let stride = usize::try_from(*frame.plane_stride().first()?).ok()?;
    let width = usize::try_from(frame.width()).ok()?;
    let (mut sum, mut count) = (0u64, 0u64);
    for line in frame.plane_data(0).ok()?.chunks(stride).step_by(SAMPLE_EVERY) {
        for value in line.iter().take(width).step_by(SAMPLE_EVERY) {
            sum += u64::from(*value);
            count += 1;
        }
    }
    sum.checked_div(count)
}

fn jpeg(sample: &gst::Sample, size: crate::units::Resolution) -> Result<Vec<u8>, Error> {
    let side = |pixels: u32| i32::try_from(pixels).unwrap_or(i32::MAX);
    let caps = gst::Caps::builder("image/jpeg")
        .field("width", side(size.width()))
        .field("height", side(size.height()))
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        .build();
    let jpeg = gst_video::convert_sample(sample, &caps, TIMEOUT).map_err(|error| failed(error.message()))?;
    let buffer = jpeg.buffer().ok_or_else(|| failed("the encoder gave nothing"))?;
    let map = buffer.map_readable().map_err(|_| failed("the JPEG cannot be read"))?;
    Ok(map.to_vec())
}
