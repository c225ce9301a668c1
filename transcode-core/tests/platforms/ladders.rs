//! Every platform makes every kind of source into a ladder that passes its verification, with the
//! boundaries that the CPU's has.

use super::clips::{CLIPS, job};
use super::{child, on_every_board};
use std::sync::Arc;
use transcode_core::run::{JobEvent, JobReport, Options, start};
use transcode_core::sink::MemorySink;
use transcode_core::{Plan, Platform};

/// Make all of it; the report, and what was said on the way.
fn make(name: &str, platform: &Platform) -> (Plan, JobReport, Vec<String>) {
    let (source, plan) = job(name, platform);
    let sink = Arc::new(MemorySink::new());
    let job = start(plan.clone(), platform.clone(), source, sink, Options::default()).unwrap();
    let mut warnings = Vec::new();
    for event in job {
        match event {
            JobEvent::Warning { text } => warnings.push(text),
            JobEvent::Done(report) => return (plan, *report, warnings),
            JobEvent::Failed(error) => panic!("{name} on {}: {}", platform.name, error.chain()),
            _ => {}
        }
    }
    panic!("{name} on {}: no last event", platform.name);
}

/// Everything that players and other machines see of the boundaries.
fn boundaries(report: &JobReport) -> Vec<String> {
    let rows = report.rungs.iter().flat_map(|rung| rung.segments.iter().map(move |row| (rung, row)));
    rows.map(|(rung, row)| format!("{} {} {}", rung.rung, row.index, row.duration)).collect()
}

#[test]
fn every_platform_makes_every_kind_of_source_into_the_same_segments() {
    // Made here once, before the children all want them.
    CLIPS.iter().for_each(|(name, ..)| drop(super::clips::file(name)));
    on_every_board("ladders::child_makes_ladders");
}

#[test]
#[ignore = "run by its parent, on a board"]
fn child_makes_ladders() {
    let platform = child();
    let software = Platform::builtin("software").unwrap();
    for (name, ..) in CLIPS {
        let (plan, report, warnings) = make(name, &platform);
        let (_, planned) = job(name, &software);
        assert_eq!((&plan.timeline, &plan.rungs), (&planned.timeline, &planned.rungs), "{name}");
        let mut expected = Vec::new();
        for rung in &plan.rungs {
            for index in 0..plan.timeline.segment_count() {
                let index = transcode_core::units::SegmentIndex(index);
                let slots = plan.timeline.slots_of(index);
                let duration = plan.timeline.rate.time_of(slots.end - slots.start);
                expected.push(format!("{} {index} {duration}", rung.name));
            }
        }
        assert_eq!(boundaries(&report), expected, "{name}");
        let board = std::env::var(transcode_standins::BOARDS_VARIABLE).unwrap();
        let told = warnings.iter().any(|text| text.contains("NVRTC"));
        assert_eq!(told, board == "nvidia-no-nvrtc", "{name}: {warnings:?}");
    }
}
