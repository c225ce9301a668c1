//! A run and the packaging after it, shown by one value.

use super::{End, Output, Packaging, Snapshot, Start, Watch};
use std::sync::OnceLock;
use transcode_core::event::{Fallback, SegmentFacts};
use transcode_core::package::{Packaged, Progress};

/// Shows a run by one of the [`Output`]s, and its MP4 files as `transcode package` does.
pub(crate) struct Shown {
    output: Box<dyn Output>,
    json: bool,
    quiet: bool,
    /// Begun with the first file.
    packaging: OnceLock<Packaging>,
}

impl Shown {
    /// For a program (`json`) or a person.
    pub(crate) fn new(output: Box<dyn Output>, json: bool, quiet: bool) -> Self {
        Self { output, json, quiet, packaging: OnceLock::new() }
    }

    /// It is finished.
    pub(crate) fn done(&self, end: &End<'_>) {
        self.output.done(end);
    }

    fn files(&self) -> &Packaging {
        self.packaging.get_or_init(|| Packaging::new(self.json, self.quiet))
    }
}

impl Watch for Shown {
    fn planned(&self, start: &Start<'_>) {
        self.output.planned(start);
    }

    fn progress(&self, snapshot: &Snapshot) {
        self.output.progress(snapshot);
    }

    fn segment(&self, key: &str, facts: &SegmentFacts) {
        self.output.segment(key, facts);
    }

    fn warning(&self, text: &str) {
        self.output.warning(text);
    }

    fn fallback(&self, fallback: &Fallback) {
        self.output.fallback(fallback);
    }

    fn packaging(&self, location: &str, progress: Progress) {
        // For programs, `progress` is that of the run.
        if !self.json {
            self.files().progress(location, progress);
        }
    }

    fn packaged(&self, file: &Packaged) {
        self.files().packaged(file);
    }
}
