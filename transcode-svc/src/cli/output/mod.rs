//! How a run shows itself: bars on a terminal, lines in a log, JSON for programs.
//!
//! Owns what is shown and how often; the figures come from the engine's tracker, which turns the graph's
//! events into a person's terms. Media times are seconds on the plan's clock, elapsed times are wall time.
//! Floats are for showing only.

mod bars;
pub(super) mod json;
mod lines;
mod logging;
mod packaging;
mod shown;

pub(super) use bars::{Bars, StderrBesideBars, all as all_bars};
pub(super) use json::{Json, failed};
pub(super) use lines::Lines;
pub(super) use logging::{log_as_json, log_as_text};
pub(super) use packaging::Packaging;
pub(super) use shown::Shown;

use crate::engine::{Snapshot, Start, Watch};
use std::io::{self, Write};
use std::time::Duration;
use transcode_core::plan::Reason;
use transcode_core::run::{JobReport, Origin};

/// A way to show a run; called from two threads.
pub(super) trait Output: Watch {
    /// It is finished.
    fn done(&self, end: &End<'_>);
}

/// A finished job.
pub(super) struct End<'a> {
    /// Where it is.
    pub(super) destination: &'a str,
    /// The master playlist, as a path or address.
    pub(super) master: &'a str,
    /// Everything that was counted.
    pub(super) report: &'a JobReport,
    /// All of it was there before.
    pub(super) found_finished: bool,
    /// From the command's start to its end.
    pub(super) elapsed: Duration,
    /// The command that plays it, where there is one.
    pub(super) play: Option<String>,
}

impl End<'_> {
    /// Bytes of all segments whose size is known.
    fn bytes(&self) -> u64 {
        let segments = self.report.rungs.iter().flat_map(|rung| &rung.segments);
        segments.filter_map(|segment| segment.bytes).sum()
    }

    /// Seconds of output made in this run, over seconds of wall time; `None` where nothing was made.
    fn speed(&self) -> Option<f64> {
        let made = self.report.rungs.iter().map(|rung| {
            let own = rung.segments.iter().filter(|segment| segment.origin == Origin::Made);
            own.map(|segment| segment.duration.as_secs_f64()).sum::<f64>()
        });
        let made = made.fold(0.0, f64::max);
        (!self.found_finished && made > 0.0).then(|| made / self.elapsed.as_secs_f64().max(0.001))
    }

    /// For a person: where, how long, how fast, how large, and how to see it.
    fn summary(&self) -> String {
        let duration = clock(self.report.duration.as_secs_f64());
        let mut text = if self.found_finished {
            format!("{}: finished before; verified, nothing made again\n", self.destination)
        } else {
            let speed = self.speed().map(|speed| format!(", {speed:.2}× realtime")).unwrap_or_default();
            let took = seconds(self.elapsed.as_secs_f64());
            format!("{}: {duration} in {took}{speed}, {}\n", self.destination, size(self.bytes()))
        };
        if let Some(cut) = &self.report.truncated {
            let (there, all) = (clock(cut.decoded.as_secs_f64()), clock(cut.planned.as_secs_f64()));
            text.push_str(&format!(
                "  the source ends after {there} of {all}; published as far as it goes\n"
            ));
        }
        // Of sources whose own tables tell that they were cut off, the plan knows how much is there.
        let is_cut =
            |reason: &Reason| matches!(reason, Reason::Truncated { .. } | Reason::TruncatedLater { .. });
        for note in self.report.planning.notes.iter().filter(|note| is_cut(&note.reason)) {
            text.push_str(&format!("  {note}\n"));
        }
        let width = self.report.rungs.iter().map(|rung| rung.rung.len()).max().unwrap_or(0);
        for rung in &self.report.rungs {
            let measured = rung.bandwidth.map_or_else(
                || "bit rate unknown: the store tells no sizes".to_owned(),
                |measured| {
                    let (average, peak) =
                        (measured.average.bits_per_second(), measured.peak.bits_per_second());
                    format!("{:>12} on average, {} at most", bit_rate(average), bit_rate(peak))
                },
            );
            text.push_str(&format!(
                "  {:<width$}  {:>5} {}  {measured}\n",
                rung.rung,
                rung.segments.len(),
                if rung.segments.len() == 1 { "segment " } else { "segments" },
            ));
        }
        for fallback in &self.report.fallbacks {
            text.push_str(&format!("  {fallback}\n"));
        }
        text.push_str(&format!("  {}\n", self.master));
        if let Some(play) = &self.play {
            text.push_str(&format!("  play it with: {play}\n"));
        }
        text
    }
}

/// Write to stdout; whoever reads it may stop reading, which ends the showing and not the job.
pub(super) fn to_stdout(text: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        log::debug!("nobody reads stdout: {error}");
    }
}

/// `1:02:03`, `2:03`, `3.5 s`.
pub(super) fn clock(seconds: f64) -> String {
    if seconds < 60.0 {
        return self::seconds(seconds);
    }
    let whole = seconds.round() as u64;
    let (hours, minutes, rest) = (whole / 3_600, whole / 60 % 60, whole % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{rest:02}") } else { format!("{minutes}:{rest:02}") }
}

/// `, 1:30 to go`; nothing where that is not known or next to nothing.
fn to_go(snapshot: &Snapshot) -> String {
    let eta = snapshot.eta.filter(|eta| *eta >= 0.1);
    eta.map(|eta| format!(", {} to go", clock(eta))).unwrap_or_default()
}

/// `12.3 s`; a clock from a minute on.
fn seconds(value: f64) -> String {
    if value < 60.0 { format!("{value:.1} s") } else { clock(value) }
}

/// `12.3 MB`, decimal.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// `1.23 Mbit/s`.
fn bit_rate(bits: u64) -> String {
    if bits < 1_000_000 {
        format!("{:.0} kbit/s", bits as f64 / 1e3)
    } else {
        format!("{:.2} Mbit/s", bits as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_people_read_them() {
        assert_eq!(clock(3.46), "3.5 s");
        assert_eq!(clock(125.0), "2:05");
        assert_eq!(clock(3_723.4), "1:02:03");
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1_500_000), "1.5 MB");
        assert_eq!(bit_rate(128_000), "128 kbit/s");
        assert_eq!(bit_rate(4_250_000), "4.25 Mbit/s");
    }
}
