//! What an encoder that misbehaves ends in: an error that is the machine's, so that another platform may
//! take over, and no segment that is wrong.

use super::clips::job;
use super::{child, on_board};
use std::sync::Arc;
use std::time::Duration;
use transcode_core::run::{ChunkRequest, run_within};
use transcode_core::sink::MemorySink;
use transcode_core::{Cancel, ErrorKind};

/// Each platform with an encoder that is not believed, its board and its encoder.
const ENCODERS: [(&str, &str, &str); 3] = [
    ("nvidia", "nvidia-t4", "nvh264enc"),
    ("jetson-nvenc", "jetson-nvenc:6", "nvv4l2h264enc"),
    ("va", "va", "vah264enc"),
];

/// A fault, and what the error must say.
const FAULTS: [(&str, &str); 6] = [
    ("error@30", "platform"),
    ("stall@30", "stands still"),
    ("green@24", "not the one that went in"),
    ("sessions@1", "platform"),
    ("ignore-gop", "verification failed"),
    ("die-at-ready", "platform"),
];

#[test]
fn every_fault_of_an_encoder_is_the_machines_and_stores_nothing_wrong() {
    drop(super::clips::file("h264-1080p"));
    let mut wrong = Vec::new();
    for (at, (fault, expected)) in FAULTS.iter().enumerate() {
        // Each fault on one platform, and green, which no count can find, on all.
        for (number, (platform, board, encoder)) in ENCODERS.iter().enumerate() {
            if *fault == "green@24" || number == at % ENCODERS.len() {
                let test = format!("faults::child_{}", fault.split('@').next().unwrap().replace('-', "_"));
                if let Err(said) = on_board(&test, platform, board, &format!("{encoder}:{fault}")) {
                    wrong.push(format!("{fault} ({expected}): {said}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn fails_with(fault: &str) {
    let expected =
        FAULTS.iter().find(|(name, _)| name.starts_with(fault)).map(|(_, expected)| *expected).unwrap();
    let platform = child();
    let (source, plan) = job("h264-1080p", &platform);
    let sink = Arc::new(MemorySink::new());
    let request = ChunkRequest { plan: &plan, chunk: &plan.whole(), platform: &platform };
    // Short where standing still is what is waited for.
    let patience = Duration::from_secs(if fault == "stall" { 4 } else { 60 });
    let error =
        run_within(request, source, sink.clone(), &|_| {}, &Cancel::new(), patience).expect_err("it fails");
    assert_eq!(error.kind(), ErrorKind::Machine, "{}", error.chain());
    assert!(error.chain().contains(expected), "{expected}: {}", error.chain());
    let stored = |index: u32| {
        let index = transcode_core::units::SegmentIndex(index);
        plan.rungs.iter().any(|rung| sink.get(&plan.segment_key(&rung.name, index)).is_some())
    };
    if fault == "green" {
        assert!(!stored(1), "a green segment is stored");
        assert!(error.chain().contains("segment 1"), "{}", error.chain());
    }
}

#[test]
#[ignore = "run by its parent, on a board"]
fn child_error() {
    fails_with("error");
}

#[test]
#[ignore = "run by its parent, on a board"]
fn child_stall() {
    fails_with("stall");
}

#[test]
#[ignore = "run by its parent, on a board"]
fn child_green() {
    fails_with("green");
}

#[test]
#[ignore = "run by its parent, on a board"]
fn child_sessions() {
    fails_with("sessions");
}

#[test]
#[ignore = "run by its parent, on a board"]
fn child_ignore_gop() {
    fails_with("ignore-gop");
}

#[test]
#[ignore = "run by its parent, on a board"]
fn child_die_at_ready() {
    fails_with("die-at-ready");
}
