//! hlssink2 loses the end of the stream at times; here it is lost every time.

use super::*;
use crate::graph::tests::support::{Clip, Objects, small};

/// Remedy: where every fragment is finished the run is over, whatever the bus says. Without (the test of
/// `everything_finished` in the driver's loop): nothing moved for 20 s at 12.0 s of the source.
#[test]
fn a_run_ends_though_the_end_of_the_stream_is_lost() {
    crate::graph::init().unwrap();
    let plan = small();
    let (chunk, platform, cancel) = (plan.whole(), Platform::builtin("software").unwrap(), Cancel::new());
    let run = ChunkRun {
        plan: &plan,
        chunk: &chunk,
        platform: &platform,
        source: Clip::open("gopro-karma.mp4"),
        sink: Arc::new(Objects::default()),
        events: &|_| (),
        cancel: &cancel,
        stall: Duration::from_secs(20),
    };
    let driver = Driver::build(&run, true).unwrap();
    driver.assembly.pipeline.bus().unwrap().set_sync_handler(|_, message| match message.type_() {
        gst::MessageType::Eos => gst::BusSyncReply::Drop,
        _ => gst::BusSyncReply::Pass,
    });
    let report = driver.drive().unwrap().expect("it can be entered");
    assert_eq!(report.rungs[0].segments.len(), 6);
}
