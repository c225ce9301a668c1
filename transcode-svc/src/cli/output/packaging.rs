//! How a packaging shows itself: a bar on a terminal, lines in a log, JSON for programs.
//!
//! | event | fields |
//! |---|---|
//! | `planned` | `source` (the job), `files` (`{rung, format, location}`) |
//! | `progress` | `location`, `step` (`read`, `write`, `compare`), `segments`, `of`, `bytes`; about once a second |
//! | `packaged` | a finished file: `rung`, `format`, `location`, `found`, `bytes`, `duration`, `segments`, `pictures`, `audio_packets`, `reordering_delay`, `priming` |
//! | `done` | `files` (how many), `bytes`, `elapsed` (s) |
//!
//! Elapsed times are wall time; floats are for showing only.

use super::{json, size, to_stdout};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use transcode_core::package::{Format, Packaged, Progress, Step};

/// Between two lines or objects of progress, at least.
const EVERY: Duration = Duration::from_secs(1);

/// Between two lines of the log.
const EVERY_LINE: Duration = Duration::from_secs(10);

/// Shows the making of some files.
pub(crate) struct Packaging {
    json: bool,
    bar: Option<ProgressBar>,
    last: Mutex<Instant>,
    begun: Instant,
    bytes: Mutex<(u64, usize)>,
}

impl Packaging {
    /// For a program, or for a person.
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        let bar = (!json && !quiet && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{prefix} [{bar:40.cyan/blue}] {msg}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            super::bars::all().add(ProgressBar::new(1).with_style(style))
        });
        let now = Instant::now();
        Self { json, bar, last: Mutex::new(now), begun: now, bytes: Mutex::default() }
    }

    /// What is going to be made.
    pub(crate) fn planned(&self, source: &str, files: &[(String, Format, String)]) {
        if self.json {
            let files: Vec<_> = files
                .iter()
                .map(|(rung, format, location)| json!({ "rung": rung, "format": format, "location": location }))
                .collect();
            json::write(&json!({ "event": "planned", "source": source, "files": files }));
        }
    }

    /// How far a file is.
    pub(crate) fn progress(&self, location: &str, progress: Progress) {
        let Progress { step, segments, of, bytes } = progress;
        let doing = match step {
            Step::Read => "reads",
            Step::Write => "writes",
            Step::Compare => "compares",
        };
        if let Some(bar) = &self.bar {
            if bar.is_finished() {
                bar.reset();
            }
            bar.set_prefix(location.to_owned());
            bar.set_length(u64::from(of));
            bar.set_position(u64::from(segments));
            bar.set_message(format!("{doing} segment {segments}/{of}, {}", size(bytes)));
            return;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() < if self.json { EVERY } else { EVERY_LINE } {
            return;
        }
        *last = Instant::now();
        if self.json {
            let object = json!({
                "event": "progress", "location": location, "step": step, "segments": segments, "of": of,
                "bytes": bytes,
            });
            json::write(&object);
        } else {
            log::info!("{location}: {doing} segment {segments}/{of}, {}", size(bytes));
        }
    }

    /// A file is there.
    pub(crate) fn packaged(&self, file: &Packaged) {
        {
            let mut sum = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
            *sum = (sum.0 + file.bytes, sum.1 + 1);
        }
        if self.json {
            return json::event("packaged", file);
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let length = super::clock(file.duration.as_secs_f64());
        let found = if file.found { "; there before, verified, not made again" } else { "" };
        to_stdout(&format!("{}: {length}, {}{found}\n", file.location, size(file.bytes)));
    }

    /// All files are there.
    pub(crate) fn done(&self) {
        let (bytes, files) = *self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if self.json {
            let elapsed = self.begun.elapsed().as_secs_f64();
            json::write(&json!({ "event": "done", "files": files, "bytes": bytes, "elapsed": elapsed }));
        }
    }
}

/// Whatever ends it, the terminal is left clean.
impl Drop for Packaging {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
