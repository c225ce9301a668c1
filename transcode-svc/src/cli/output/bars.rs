//! On a terminal: a bar for every rung on stderr, log lines above them, the summary on stdout.

use super::lines::opening;
use super::{End, Output, Snapshot, Start, Watch, to_go, to_stdout};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::io::{self, Write};
use std::sync::{Mutex, OnceLock, PoisonError};
use transcode_core::event::SegmentFacts;

/// Steps of a bar: finer than any terminal.
const STEPS: u64 = 1_000;

const BAR: &str = "{prefix:>10} [{bar:40.cyan/blue}] {msg}";

/// The bars that are drawn, if any; the log must not write into them.
static DRAWN: OnceLock<MultiProgress> = OnceLock::new();

/// All bars of this process, so that the log stays out of their way.
pub(crate) fn all() -> MultiProgress {
    DRAWN.get_or_init(MultiProgress::new).clone()
}

/// Where the log goes: stderr, with the bars out of the way for a moment.
pub(crate) struct StderrBesideBars;

impl Write for StderrBesideBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match DRAWN.get() {
            Some(bars) => bars.suspend(|| io::stderr().write_all(bytes))?,
            None => io::stderr().write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Progress bars.
pub(crate) struct Bars {
    all: MultiProgress,
    rungs: Mutex<Vec<ProgressBar>>,
}

impl Bars {
    /// Bars on stderr; nothing is drawn yet.
    pub(crate) fn new() -> Self {
        Self { all: all(), rungs: Mutex::default() }
    }

    fn clear(&self) {
        for bar in self.rungs.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            bar.finish_and_clear();
        }
        if let Err(error) = self.all.clear() {
            log::debug!("the bars cannot be cleared: {error}");
        }
    }
}

/// Whatever ends the run, the terminal is left clean for the line that says so.
impl Drop for Bars {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Watch for Bars {
    fn planned(&self, start: &Start<'_>) {
        if start.missing.is_empty() {
            return;
        }
        for line in opening(start) {
            let _unseen = self.all.println(line);
        }
        let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
        let mut rungs = self.rungs.lock().unwrap_or_else(PoisonError::into_inner);
        for rung in &start.plan.rungs {
            let bar = self.all.add(ProgressBar::new(STEPS).with_style(style.clone()));
            bar.set_prefix(rung.name.clone());
            bar.set_message("starts");
            bar.tick();
            rungs.push(bar);
        }
    }

    fn progress(&self, snapshot: &Snapshot) {
        let (speed, to_go) = (snapshot.speed, to_go(snapshot));
        let rungs = self.rungs.lock().unwrap_or_else(PoisonError::into_inner);
        for (bar, rung) in rungs.iter().zip(&snapshot.rungs) {
            let whole = snapshot.duration.filter(|duration| *duration > 0.0);
            let part = whole.map_or(0.0, |duration| rung.encoded / duration);
            bar.set_position((part * STEPS as f64) as u64);
            bar.set_message(format!("{} segments playable, {speed:.2}×{to_go}", rung.of_all()));
        }
    }

    fn segment(&self, key: &str, facts: &SegmentFacts) {
        log::debug!("{key} is stored: {} bytes, {}", facts.bytes, facts.duration);
    }

    fn warning(&self, text: &str) {
        log::warn!("{text}");
    }
}

impl Output for Bars {
    fn done(&self, end: &End<'_>) {
        self.clear();
        to_stdout(&end.summary());
    }
}
