//! The graph's entry: an element that reads a [`Source`] at any offset.
//!
//! Owns the bridge from GStreamer's pull and push scheduling to `Source::read_at`. Knows nothing of
//! containers. Units: bytes. A demuxer that works by random access (all that we use can) pulls from
//! here in its own thread; `unlock` ends a read in flight, so a stop never waits for a slow store.

use crate::cancel::Cancel;
use crate::error::Error;
use crate::source::{Source, SourceError};
use gstreamer as gst;
use gstreamer::glib;
use gstreamer::subclass::prelude::*;
use gstreamer_base as gst_base;
use gstreamer_base::prelude::*;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes a buffer where a demuxer is fed in order instead of pulling: large enough that the cost a
/// buffer does not count, small enough for a bounded queue.
const PUSH_BLOCK: u32 = 64 * 1024;

/// An element with one source pad over the bytes of `source`. Reads end soon after `cancel` is set.
///
/// What the graph reports of a failed read is only a line on the bus; wrap the source in
/// [`Watched`] to get the [`SourceError`] itself.
///
/// # Errors
/// None today; the signature leaves room for elements that need a plugin.
pub(crate) fn source_element(source: Arc<dyn Source>, cancel: Cancel) -> Result<gst::Element, Error> {
    let element: SourceElement = glib::Object::new();
    *element.imp().lock() = Some(State { size: source.size(), reading: cancel.child(), source, cancel });
    element.set_format(gst::Format::Bytes);
    element.set_blocksize(PUSH_BLOCK);
    Ok(element.upcast())
}

/// A source that counts its reads and remembers why it failed first, so that an error of the store
/// is not taken for a fault of the video, nor a slow store for a standstill.
pub(crate) struct Watched {
    source: Arc<dyn Source>,
    failure: Mutex<Option<SourceError>>,
    reads: AtomicU64,
    bytes: AtomicU64,
    reading: AtomicU32,
}

impl Watched {
    pub(crate) fn new(source: Arc<dyn Source>) -> Arc<Self> {
        Arc::new(Self {
            source,
            failure: Mutex::new(None),
            reads: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            reading: AtomicU32::new(0),
        })
    }

    /// The first failure that was not a cancellation.
    pub(crate) fn failure(&self) -> Option<SourceError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads that have been answered.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Bytes that have been read.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether a read is under way at this moment.
    pub(crate) fn is_reading(&self) -> bool {
        self.reading.load(Ordering::SeqCst) > 0
    }
}

impl Source for Watched {
    fn identity(&self) -> crate::media::SourceIdentity {
        self.source.identity()
    }

    fn size(&self) -> u64 {
        self.source.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8], cancel: &Cancel) -> Result<usize, SourceError> {
        self.reading.fetch_add(1, Ordering::SeqCst);
        let result = self.source.read_at(offset, buffer, cancel);
        self.reading.fetch_sub(1, Ordering::SeqCst);
        self.reads.fetch_add(1, Ordering::Relaxed);
        match &result {
            Ok(length) => {
                self.bytes.fetch_add(*length as u64, Ordering::Relaxed);
            }
            Err(SourceError::Cancelled) => {}
            Err(error) => {
                let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                failure.get_or_insert_with(|| error.clone());
            }
        }
        result
    }
}

/// What the element holds once it has been made.
struct State {
    source: Arc<dyn Source>,
    size: u64,
    /// The job's handle.
    cancel: Cancel,
    /// The handle of the reads in flight, a child of `cancel`: set by `unlock`, replaced by
    /// `unlock_stop`.
    reading: Cancel,
}

glib::wrapper! {
    pub(crate) struct SourceElement(ObjectSubclass<imp::Element>)
        @extends gst_base::BaseSrc, gst::Element, gst::Object;
}

mod imp {
    use super::*;
    use gst_base::subclass::base_src::CreateSuccess;
    use gst_base::subclass::prelude::*;
    use std::sync::LazyLock;

    #[derive(Default)]
    pub(crate) struct Element(Mutex<Option<State>>);

    impl Element {
        pub(super) fn lock(&self) -> MutexGuard<'_, Option<State>> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        /// Fill `buffer` from `offset`: fewer bytes only at the end, `Eos` past it.
        fn fill(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, gst::FlowError> {
            let (source, size, reading) = match &*self.lock() {
                Some(state) => (state.source.clone(), state.size, state.reading.clone()),
                None => return Err(gst::FlowError::NotNegotiated),
            };
            let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
            if left == 0 {
                return Err(gst::FlowError::Eos);
            }
            let wanted = buffer.len().min(left);
            let mut have = 0;
            while have < wanted {
                if reading.is_cancelled() {
                    return Err(gst::FlowError::Flushing);
                }
                match source.read_at(offset + have as u64, &mut buffer[have..wanted], &reading) {
                    Ok(0) => break,
                    Ok(read) => have += read.min(wanted - have),
                    Err(SourceError::Cancelled) => return Err(gst::FlowError::Flushing),
                    Err(error) => {
                        gst::element_imp_error!(self, gst::ResourceError::Read, ["{error}"]);
                        return Err(gst::FlowError::Error);
                    }
                }
            }
            if have == 0 { Err(gst::FlowError::Eos) } else { Ok(have) }
        }
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Element {
        const NAME: &'static str = "TranscodeSource";
        type Type = super::SourceElement;
        type ParentType = gst_base::BaseSrc;
    }

    impl ObjectImpl for Element {}
    impl GstObjectImpl for Element {}

    impl ElementImpl for Element {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
                gst::subclass::ElementMetadata::new(
                    "Transcode source",
                    "Source",
                    "Reads the bytes of a transcode_core Source at any offset",
                    "Transcode",
                )
            });
            Some(&*METADATA)
        }

        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
                let any = gst::Caps::new_any();
                gst::PadTemplate::new("src", gst::PadDirection::Src, gst::PadPresence::Always, &any)
                    .into_iter()
                    .collect()
            });
            &TEMPLATES
        }
    }

    impl BaseSrcImpl for Element {
        fn start(&self) -> Result<(), gst::ErrorMessage> {
            match &mut *self.lock() {
                Some(state) => {
                    state.reading = state.cancel.child();
                    Ok(())
                }
                None => Err(gst::error_msg!(gst::ResourceError::NotFound, ["no source was given"])),
            }
        }

        fn is_seekable(&self) -> bool {
            true
        }

        fn size(&self) -> Option<u64> {
            self.lock().as_ref().map(|state| state.size)
        }

        fn unlock(&self) -> Result<(), gst::ErrorMessage> {
            if let Some(state) = &*self.lock() {
                state.reading.cancel();
            }
            Ok(())
        }

        fn unlock_stop(&self) -> Result<(), gst::ErrorMessage> {
            if let Some(state) = &mut *self.lock() {
                state.reading = state.cancel.child();
            }
            Ok(())
        }

        fn create(
            &self,
            offset: u64,
            buffer: Option<&mut gst::BufferRef>,
            length: u32,
        ) -> Result<CreateSuccess, gst::FlowError> {
            if let Some(buffer) = buffer {
                let read = {
                    let mut map = buffer.map_writable().map_err(|_| gst::FlowError::Error)?;
                    let wanted = map.len().min(length as usize);
                    self.fill(offset, &mut map[..wanted])?
                };
                buffer.set_size(read);
                return Ok(CreateSuccess::FilledBuffer);
            }
            let mut made = gst::Buffer::with_size(length as usize).map_err(|_| gst::FlowError::Error)?;
            {
                let buffer = made.get_mut().expect("a buffer just made has one owner");
                let read = {
                    let mut map = buffer.map_writable().map_err(|_| gst::FlowError::Error)?;
                    self.fill(offset, &mut map)?
                };
                buffer.set_size(read);
                buffer.set_offset(offset);
                buffer.set_offset_end(offset + read as u64);
            }
            Ok(CreateSuccess::NewBuffer(made))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::SourceIdentity;

    struct Bytes(Vec<u8>);

    impl Source for Bytes {
        fn identity(&self) -> SourceIdentity {
            SourceIdentity { uri: "memory:".into(), size: self.size(), version: None }
        }
        fn size(&self) -> u64 {
            self.0.len() as u64
        }
        /// Reads that stop short, as a network's may.
        fn read_at(&self, offset: u64, buffer: &mut [u8], _: &Cancel) -> Result<usize, SourceError> {
            let from = self.0.len().min(offset as usize);
            let read = buffer.len().min(self.0.len() - from).min(1000);
            buffer[..read].copy_from_slice(&self.0[from..from + read]);
            Ok(read)
        }
    }

    /// A read that never ends by itself.
    struct Stuck;

    impl Source for Stuck {
        fn identity(&self) -> SourceIdentity {
            SourceIdentity { uri: "memory:".into(), size: self.size(), version: None }
        }
        fn size(&self) -> u64 {
            1 << 20
        }
        fn read_at(&self, _: u64, _: &mut [u8], cancel: &Cancel) -> Result<usize, SourceError> {
            while !cancel.sleep(std::time::Duration::from_secs(60)) {}
            Err(SourceError::Cancelled)
        }
    }

    #[test]
    fn pulls_fill_whole_requests_and_end_at_the_end() {
        crate::graph::init().unwrap();
        let bytes: Vec<u8> = (0..5000u32).map(|n| (n % 251) as u8).collect();
        let element = source_element(Arc::new(Bytes(bytes.clone())), Cancel::new()).unwrap();
        let pad = element.static_pad("src").unwrap();
        pad.activate_mode(gst::PadMode::Pull, true).unwrap();
        element.set_state(gst::State::Paused).unwrap();
        let buffer = pad.range(1234, 3000).unwrap();
        assert_eq!(buffer.map_readable().unwrap().as_slice(), &bytes[1234..4234]);
        let buffer = pad.range(4990, 100).unwrap();
        assert_eq!(buffer.map_readable().unwrap().as_slice(), &bytes[4990..]);
        assert_eq!(pad.range(5000, 1), Err(gst::FlowError::Eos));
        element.set_state(gst::State::Null).unwrap();
    }

    #[test]
    fn a_read_in_flight_does_not_hold_up_a_stop() {
        crate::graph::init().unwrap();
        let cancel = Cancel::new();
        let pipeline = gst::Pipeline::new();
        let source = source_element(Arc::new(Stuck), cancel.clone()).unwrap();
        let sink = gst::ElementFactory::make("fakesink").build().unwrap();
        pipeline.add_many([&source, &sink]).unwrap();
        source.link(&sink).unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        pipeline.set_state(gst::State::Null).unwrap();
        assert!(!cancel.is_cancelled(), "the job's own handle is not touched");
    }
}
