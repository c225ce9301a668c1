//! What a run costs in CPU time, by stage, read off the process's own threads.
//!
//! GStreamer names a thread after the queue it empties, and threads that an encoder starts inherit
//! the name, so `/proc/self/task` tells the stages apart (Linux; elsewhere nothing is told). Read it
//! while the pipeline still stands: threads that have ended are gone from the list. In a process
//! that runs several graphs at once the figures are those of all of them.

use crate::event::StageCost;
use crate::plan::Plan;
use std::collections::BTreeMap;
use std::path::Path;

/// Clock ticks a second in `/proc/*/stat`; fixed at 100 in Linux's interface to programs.
const TICKS_A_SECOND: u64 = 100;

/// Bytes that a thread's name is cut to.
const NAME: usize = 15;

/// User and system time of the whole process, in milliseconds; 0 where it cannot be told.
pub(super) fn process_cpu_ms() -> u64 {
    cpu_ms(Path::new("/proc/self/stat")).unwrap_or(0)
}

/// CPU time by stage so far, dearest first.
pub(super) fn stages(plan: &Plan) -> Vec<StageCost> {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    let mut costs: BTreeMap<String, u64> = BTreeMap::new();
    for thread in threads.flatten() {
        let name = std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        let stage = stage_of(plan, name.trim_end());
        if let Some((stage, cpu)) = stage.zip(cpu_ms(&thread.path().join("stat"))) {
            *costs.entry(stage).or_default() += cpu;
        }
    }
    let mut costs: Vec<_> = costs.into_iter().map(|(stage, cpu_ms)| StageCost { stage, cpu_ms }).collect();
    costs.sort_by(|one, other| other.cpu_ms.cmp(&one.cpu_ms).then_with(|| one.stage.cmp(&other.stage)));
    costs
}

/// The fields behind the name, which is in brackets and may hold anything, are plain numbers.
fn cpu_ms(stat: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(stat).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(ticks * 1_000 / TICKS_A_SECOND)
}

/// The stage that a thread of this name works for.
fn stage_of(plan: &Plan, thread: &str) -> Option<String> {
    let is = |queue: &str| {
        let full = format!("{queue}:src");
        thread == full.get(..NAME).unwrap_or(&full)
    };
    for rung in &plan.rungs {
        let name = &rung.name;
        let feeds_others =
            plan.rungs.iter().any(|r| r.video.as_ref().and_then(|v| v.scale_from.as_ref()) == Some(name));
        if is(&format!("{name}-pictures")) {
            return Some(if feeds_others {
                format!("scale {name}")
            } else {
                format!("scale and encode {name}")
            });
        }
        if is(&format!("{name}-own")) {
            return Some(format!("encode {name}"));
        }
        if is(&format!("{name}-video")) || is(&format!("{name}-audio")) {
            return Some("mux".to_owned());
        }
    }
    let known = [
        ("input-video", "decode video"),
        ("input-audio", "decode audio"),
        ("input-demux", "demux"),
        ("audio-", "encode audio"),
        ("mpegtsmux", "mux"),
        ("queue_", "mux"),
        ("upload-", "upload"),
        ("thumbnail", "thumbnail"),
    ];
    known.iter().find(|(prefix, _)| thread.starts_with(prefix)).map(|(_, stage)| (*stage).to_owned())
}
