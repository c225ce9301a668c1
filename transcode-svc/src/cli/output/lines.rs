//! Without a terminal: a line in the log now and then, and the summary on stdout.

use super::{End, Output, Snapshot, Start, Watch, clock, to_go, to_stdout};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use transcode_core::event::SegmentFacts;
use transcode_core::plan::Reason;

/// A line at least so often, by the run's clock.
const EVERY: Duration = Duration::from_secs(10);

/// And whenever so much more of it is done.
const PERCENT: f64 = 10.0;

/// Log lines.
#[derive(Default)]
pub(crate) struct Lines {
    last: Mutex<Option<(f64, f64)>>,
}

/// Whether a line is due, after the last one at (elapsed, percent).
fn is_due(last: Option<(f64, f64)>, elapsed: f64, percent: Option<f64>) -> bool {
    let (at, done) = last.unwrap_or((0.0, 0.0));
    elapsed - at >= EVERY.as_secs_f64() || percent.is_some_and(|percent| percent - done >= PERCENT)
}

impl Watch for Lines {
    fn planned(&self, start: &Start<'_>) {
        if !start.missing.is_empty() {
            opening(start).iter().for_each(|line| log::info!("{line}"));
        }
    }

    fn progress(&self, snapshot: &Snapshot) {
        let percent = snapshot.percent();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_due(*last, snapshot.elapsed, percent) {
            return;
        }
        *last = Some((snapshot.elapsed, percent.unwrap_or(0.0)));
        let done = percent.map_or_else(|| clock(snapshot.encoded), |percent| format!("{percent:.0} %"));
        let rungs = snapshot.rungs.iter().map(|rung| format!("{} {}", rung.rung, rung.of_all()));
        let (speed, to_go, rungs) = (snapshot.speed, to_go(snapshot), rungs.collect::<Vec<_>>().join(", "));
        log::info!("{done}, {speed:.2}× realtime{to_go}; playable segments: {rungs}");
    }

    fn segment(&self, key: &str, facts: &SegmentFacts) {
        log::debug!("{key} is stored: {} bytes, {}", facts.bytes, facts.duration);
    }

    fn warning(&self, text: &str) {
        log::warn!("{text}");
    }
}

impl Output for Lines {
    fn done(&self, end: &End<'_>) {
        to_stdout(&end.summary());
    }
}

/// The first lines: what is made, where to, what of it is there already, and what is not as asked for.
pub(super) fn opening(start: &Start<'_>) -> Vec<String> {
    let plan = start.plan;
    let rungs: Vec<&str> = plan.rungs.iter().map(|rung| rung.name.as_str()).collect();
    let timeline = &plan.timeline;
    let length = match (timeline.expected_duration(), timeline.expected_segments()) {
        (Some(length), Some(1)) => format!("{} in one segment", clock(length.as_secs_f64())),
        (Some(length), Some(count)) => format!("{} in {count} segments", clock(length.as_secs_f64())),
        _ => "a source that does not tell its length".to_owned(),
    };
    let first = start.missing.first().map_or(0, |run| run.first.0);
    let missing: usize = start.missing.iter().map(|run| run.segments().len()).sum();
    let behind = timeline.segment_count().saturating_sub(first) as usize;
    let resumed = match (first, behind > missing) {
        (0, false) => String::new(),
        (_, false) => format!("; the first {first} are there already"),
        (_, true) => format!("; {missing} are missing there, the first of them is {first}"),
    };
    let side_by_side =
        if start.jobs > 1 { format!(", {} graphs side by side", start.jobs) } else { String::new() };
    let rungs = rungs.join(", ");
    let first = format!(
        "{}: {rungs} of {length}, profile {}{side_by_side}{resumed}",
        start.destination, plan.profile
    );
    let notes = plan.report.notes.iter().filter(|note| note.reason != Reason::Kept);
    std::iter::once(first).chain(notes.map(ToString::to_string)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_due_after_ten_seconds_or_ten_percent() {
        assert!(!is_due(None, 9.0, Some(9.0)));
        assert!(is_due(None, 10.0, None));
        assert!(is_due(None, 1.0, Some(10.0)));
        assert!(!is_due(Some((10.0, 50.0)), 19.0, Some(59.0)));
        assert!(is_due(Some((10.0, 50.0)), 20.0, Some(50.0)));
    }
}
