//! A sink that is slow on its way to PLAYING, as on a machine that is busy with other things.

use super::*;
use crate::graph::tests::support::{Clip, Objects, rate, small};
use gstreamer::glib;
use gstreamer::subclass::prelude::*;
use std::sync::OnceLock;

/// The rung's name, which no other test has: what slows it down is asked about every element of the
/// process.
const RUNG: &str = "slow-to-play";

/// What happens to the rung's sink, in this order, unless it gets no data before it plays.
#[derive(Default)]
struct Steps {
    /// It is to play, but has not begun to.
    asked: AtomicBool,
    /// Fragments that have come to it whole.
    finished: OnceLock<Arc<RungOutput>>,
}

static STEPS: OnceLock<Steps> = OnceLock::new();

fn steps() -> &'static Steps {
    STEPS.get_or_init(Steps::default)
}

/// Wait for at most half a second.
fn wait_for(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() && begun.elapsed() < Duration::from_millis(500) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

mod imp {
    use super::*;

    #[derive(Default)]
    pub(super) struct Slow;

    #[glib::object_subclass]
    impl ObjectSubclass for Slow {
        const NAME: &'static str = "TranscodeSlowToPlay";
        type Type = super::Slow;
        type ParentType = gst::Tracer;
    }

    impl ObjectImpl for Slow {
        fn constructed(&self) {
            self.parent_constructed();
            self.register_hook(TracerHook::ElementChangeStatePre);
        }
    }

    impl GstObjectImpl for Slow {}

    impl TracerImpl for Slow {
        fn element_change_state_pre(&self, _: u64, element: &gst::Element, change: gst::StateChange) {
            let to_play = change == gst::StateChange::PausedToPlaying;
            let is_sink = element.factory().is_some_and(|factory| factory.name() == "giostreamsink");
            if to_play && is_sink && element.path_string().contains(RUNG) {
                steps().asked.store(true, Ordering::SeqCst);
                let finished = || steps().finished.get().map(|output| output.finished.load(Ordering::SeqCst));
                wait_for(|| finished().is_some_and(|finished| finished > 0));
            }
        }
    }
}

glib::wrapper! {
    struct Slow(ObjectSubclass<imp::Slow>) @extends gst::Tracer, gst::Object;
}

/// Remedy: [`Hold`]. Without: "Could not open resource for writing. (… Fragment closed without knowing its
/// location)", because the first fragment has come and gone before the sink plays, and it says so twice.
#[test]
fn a_sink_gets_nothing_before_it_plays() {
    crate::graph::init().unwrap();
    let _tracer: Slow = glib::Object::new();
    let mut plan = small();
    plan.input.video = None;
    plan.thumbnail = None;
    plan.rungs[0].name = RUNG.to_owned();
    plan.rungs[0].video = None;
    plan.timeline.rate = rate(48_000, 1_024);
    plan.timeline.slots = 200;
    plan.timeline.segment_slots = 50;
    plan.chunks = vec![plan.whole()];
    let run = ChunkRun {
        plan: &plan,
        chunk: &plan.whole(),
        platform: &Platform::builtin("software").unwrap(),
        source: Clip::open("gopro-karma.mp4"),
        sink: Arc::new(Objects::default()),
        events: &|_| (),
        cancel: &Cancel::new(),
        stall: Duration::from_secs(20),
    };
    let driver = Driver::build(&run, true).unwrap();
    assert!(steps().finished.set(driver.outputs[0].clone()).is_ok());
    let all = driver.assembly.pipeline.iterate_recurse().into_iter().flatten();
    let splitter =
        all.into_iter().find(|element| element.factory().is_some_and(|f| f.name() == "splitmuxsink"));
    let sink = splitter.unwrap().property::<gst::Element>("sink");
    // Nor does it get anything before it is asked to play, when it would wait of itself.
    sink.static_pad("sink").unwrap().add_probe(gst::PadProbeType::DATA_DOWNSTREAM, |_, _| {
        wait_for(|| steps().asked.load(Ordering::SeqCst));
        gst::PadProbeReturn::Ok
    });
    let report = driver.drive().unwrap().expect("it can be entered");
    assert!(steps().asked.load(Ordering::SeqCst));
    assert_eq!(report.rungs[0].segments.len(), 4);
}
