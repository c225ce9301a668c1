//! For programs: one JSON object a line on stdout, told apart by `event`.
//!
//! The shapes are part of the command's interface: fields are added, never renamed or removed.
//! Seconds and bit/s are plain numbers; exact times are texts such as `6s` or `1001/30000s`. What
//! depends on the length of a source that does not tell it is null.
//!
//! | event | fields |
//! |---|---|
//! | `planned` | `destination`, `source`, `profile`, `duration` (s), `segments`, `missing` (`{first, end}` or null), `runs` (of segments to make, each `{first, end}`), `jobs` (graphs side by side), `rungs` (`{name, width, height, frame_rate, video, audio}`), `notes` |
//! | `progress` | `elapsed`, `encoded`, `wanted`, `duration`, `eta` (s), `speed`, `rungs` (`{rung, encoded, playable, segments}`); about once a second |
//! | `segment` | `key`, `rung`, `index`, `bytes`, `duration`, and what else was counted of it |
//! | `warning` | `text` |
//! | `fallback` | `from`, `to` (platforms), `why`, `segment` (the first that `to` makes; absent where nothing was planned yet) |
//! | `done` | `destination`, `master`, `found_finished`, `elapsed` (s), `speed`, `bytes`, `report` (as `report.json`) |
//! | `packaged` | of `package`: a finished MP4, as [`Packaged`](transcode_core::package::Packaged) has it |
//! | `failed` | `exit_code`, `kind`, `message`, `chain` (the error and its causes) |

use super::super::exit;
use super::{End, Output, Snapshot, Start, Watch, to_stdout};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::{Mutex, PoisonError};
use transcode_core::Error;
use transcode_core::event::{Fallback, SegmentFacts};
use transcode_core::plan::Chunk;

/// Seconds between two `progress` objects, at least.
const EVERY: f64 = 1.0;

/// JSON lines.
#[derive(Default)]
pub(crate) struct Json {
    last: Mutex<f64>,
}

/// The object of a failure; also for commands that show nothing else this way.
pub(crate) fn failed(error: &Error) {
    let chain = exit::chain(error);
    write(&json!({
        "event": "failed",
        "exit_code": exit::code(error.kind()),
        "kind": crate::words::kind_name(error.kind()),
        "message": chain.join(": "),
        "chain": chain,
    }));
}

pub(crate) fn write(object: &Value) {
    to_stdout(&format!("{object}\n"));
}

/// `{"event": name, …}` with the fields of `data`.
pub(super) fn event(name: &str, data: &impl Serialize) {
    let mut object =
        serde_json::to_value(data).unwrap_or_else(|error| json!({ "unwritable": error.to_string() }));
    if let Value::Object(fields) = &mut object {
        fields.insert("event".to_owned(), name.into());
    }
    write(&object);
}

impl Watch for Json {
    fn planned(&self, start: &Start<'_>) {
        let plan = start.plan;
        let rungs = plan.rungs.iter().map(|rung| {
            json!({
                "name": rung.name,
                "width": rung.video.as_ref().map(|video| video.size.width()),
                "height": rung.video.as_ref().map(|video| video.size.height()),
                "frame_rate": rung.video.as_ref().map(|_| plan.timeline.rate.to_string()),
                "video": rung.video.as_ref().map(|video| video.bitrate.bits_per_second()),
                "audio": rung.audio.as_ref().map(|audio| audio.bitrate.bits_per_second()),
            })
        });
        // Nobody knows where an open end is.
        let end = |run: &Chunk| Some(run.end).filter(|_| !plan.timeline.open_ended);
        write(&json!({
            "event": "planned",
            "destination": start.destination,
            "source": plan.source.uri,
            "profile": plan.profile,
            "duration": plan.timeline.expected_duration().map(|duration| duration.as_secs_f64()),
            "segments": plan.timeline.expected_segments(),
            "missing": start.missing.first().zip(start.missing.last()).map(|(first, last)| {
                json!({ "first": first.first, "end": end(last) })
            }),
            "runs": start.missing.iter().map(|run| {
                json!({ "first": run.first, "end": end(run) })
            }).collect::<Vec<_>>(),
            "jobs": start.jobs,
            "rungs": rungs.collect::<Vec<_>>(),
            "notes": plan.report.notes,
        }));
    }

    fn progress(&self, snapshot: &Snapshot) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if snapshot.elapsed - *last >= EVERY
            || snapshot.wanted.is_some_and(|wanted| snapshot.encoded >= wanted)
        {
            *last = snapshot.elapsed;
            event("progress", snapshot);
        }
    }

    fn segment(&self, key: &str, facts: &SegmentFacts) {
        #[derive(Serialize)]
        struct Segment<'a> {
            key: &'a str,
            #[serde(flatten)]
            facts: &'a SegmentFacts,
        }
        event("segment", &Segment { key, facts });
    }

    fn warning(&self, text: &str) {
        write(&json!({ "event": "warning", "text": text }));
    }

    fn fallback(&self, fallback: &Fallback) {
        event("fallback", fallback);
    }
}

impl Output for Json {
    fn done(&self, end: &End<'_>) {
        write(&json!({
            "event": "done",
            "destination": end.destination,
            "master": end.master,
            "found_finished": end.found_finished,
            "elapsed": end.elapsed.as_secs_f64(),
            "speed": end.speed(),
            "bytes": end.bytes(),
            "report": end.report,
        }));
    }
}
