//! stub
use crate::event::SegmentFacts;
use crate::plan::Plan;
use crate::units::SegmentIndex;
/// e
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct SegmentError;
/// f
pub fn facts(
    bytes: &[u8],
    plan: &Plan,
    rung: &str,
    index: SegmentIndex,
) -> Result<SegmentFacts, SegmentError> {
    Ok(SegmentFacts {
        rung: rung.to_owned(),
        index,
        bytes: bytes.len() as u64,
        pictures: 0,
        audio_packets: 0,
        video_start: None,
        audio_start: None,
        duration: plan.timeline.length(index),
        crc32: 0,
        adopted: false,
    })
}
