//! One fault has several errors: what follows from the first is no fault of its own.

use super::*;
use crate::event::Event;
use crate::graph::tests::support::{Clip, Objects, made, small};
use crate::media::SourceIdentity;
use crate::platform::Value;
use crate::source::SourceError;

/// Its last bytes come only when they are let go.
struct Held {
    clip: Clip,
    from: u64,
    let_go: Arc<AtomicBool>,
}

impl Source for Held {
    fn identity(&self) -> SourceIdentity {
        self.clip.identity()
    }
    fn size(&self) -> u64 {
        self.clip.size()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8], cancel: &Cancel) -> Result<usize, SourceError> {
        while offset + buffer.len() as u64 > self.from && !self.let_go.load(Ordering::SeqCst) {
            if cancel.sleep(Duration::from_millis(5)) {
                return Err(SourceError::Cancelled);
            }
        }
        self.clip.read_at(offset, buffer, cancel)
    }
}

/// Sound runs ahead of the pictures, by far on a busy machine: its decoder gives up, and the demuxer
/// because of it, before the first picture has come. Here that one comes when both have been told of.
///
/// Remedy: `follows` in `end_before`. Without: "decoding failed after 0.0 s: Internal data stream error",
/// of the demuxer.
#[test]
fn where_sound_cannot_be_decoded_the_source_ends_however_late_the_pictures_are() {
    crate::graph::init().unwrap();
    let mut bytes = made(&["-c", "copy", "-movflags", "+faststart"], ".mp4").0.clone();
    let middle = bytes.len() * 6 / 10;
    bytes[middle..].fill(0);
    // The demuxer is still at work when the decoder gives up.
    let (from, let_go) = (bytes.len() as u64 * 8 / 10, Arc::new(AtomicBool::new(false)));
    let mut platform = Platform::builtin("software").unwrap();
    let aac = platform.decode_audio.get_mut("aac").unwrap();
    aac.properties.insert("max-errors".to_owned(), Value::Integer(0));
    let mut plan = small();
    plan.allow_truncated = true;
    let warnings = Mutex::new(Vec::new());
    let run = ChunkRun {
        plan: &plan,
        chunk: &plan.whole(),
        platform: &platform,
        source: Arc::new(Held { clip: Clip(bytes), from, let_go: let_go.clone() }),
        sink: Arc::new(Objects::default()),
        events: &|event| {
            if let Event::Warning { text } = event {
                warnings.lock().unwrap().push(text);
            }
        },
        cancel: &Cancel::new(),
        stall: Duration::from_secs(20),
    };
    let driver = Driver::build(&run, true).unwrap();
    let pipeline = driver.assembly.pipeline.clone();
    let decoder = pipeline.by_name("input-video-decode").unwrap();
    let pictures = Mutex::new(Hold::back(&decoder));
    assert!(pictures.lock().unwrap().is_some());
    pipeline.bus().unwrap().set_sync_handler(move |_, message| {
        let from = message.src().filter(|_| message.type_() == gst::MessageType::Error);
        let of = |name| from.is_some_and(|src| src.name() == name);
        if of("input-audio-decode") {
            let_go.store(true, Ordering::SeqCst);
        }
        if of("input-demux") {
            let held = pictures.lock().unwrap().take();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(500));
                held.map(Hold::let_go)
            });
        }
        gst::BusSyncReply::Pass
    });
    let report = driver.drive().unwrap().expect("it can be entered");
    // Of 12 s in segments of 2 s.
    assert!((3..5).contains(&report.rungs[0].segments.len()), "{}", report.rungs[0].segments.len());
    let warnings = warnings.into_inner().unwrap();
    assert_eq!(
        warnings.iter().filter(|text| text.contains("the end of the source")).count(),
        1,
        "{warnings:?}"
    );
}
