//! Who is told what happens to a job while it is made.

use super::Snapshot;
use transcode_core::Error;
use transcode_core::event::{Fallback, SegmentFacts};
use transcode_core::package::{Packaged, Progress};
use transcode_core::plan::{Chunk, Plan};
use transcode_core::platform::Platform;

/// Watches a job; called from several threads.
pub(crate) trait Watch: Sync {
    /// What is going to be made.
    fn planned(&self, start: &Start<'_>);
    /// How far it is; several times a second.
    fn progress(&self, snapshot: &Snapshot);
    /// A segment is stored, and its playlist names it.
    fn segment(&self, key: &str, facts: &SegmentFacts);
    /// Something a person should know.
    fn warning(&self, text: &str);
    /// A platform has failed and another goes on.
    fn fallback(&self, fallback: &Fallback) {
        self.warning(&fallback.to_string());
    }
    /// All is made and verified, and is published next: whoever may not publish any more says so here.
    fn committing(&self) -> Result<(), Error> {
        Ok(())
    }
    /// How far an MP4 file is.
    fn packaging(&self, _location: &str, _progress: Progress) {}
    /// An MP4 file is there.
    fn packaged(&self, _file: &Packaged) {}
}

/// What is going to be made.
pub(crate) struct Start<'a> {
    /// Where to.
    pub(crate) destination: &'a str,
    /// Of what, in what way.
    pub(crate) plan: &'a Plan,
    /// The runs of segments that are missing there, in order; none where all is there.
    pub(crate) missing: &'a [Chunk],
    /// Graphs side by side.
    pub(crate) jobs: usize,
    /// The platform that begins.
    pub(crate) platform: &'a Platform,
}
