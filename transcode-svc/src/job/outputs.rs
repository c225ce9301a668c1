//! What a job makes, by the names under which its consumers look it up.
//!
//! Owns the names of outputs and their keys below the destination; the keys are the plan's own.

use super::Unreadable;
use super::own::{FORMAT, Job, Mp4};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use transcode_core::plan::keys;
use transcode_core::spec::{Clip, EncodingOverride, JobSpec, Layout, Profile, Rendition};

/// One output, as status and webhooks show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The name it is looked up by: a rung's, or `hls` for the master playlist.
    pub profile: String,
    /// Its key in the destination's bucket, or in the configured store.
    pub key: String,
}

/// The output of that name.
pub fn find<'a>(outputs: &'a [Output], name: &str) -> Option<&'a Output> {
    outputs.iter().find(|output| output.profile == name)
}

impl Job {
    /// What the core is asked for: the profile with the job's ladder and clip window.
    ///
    /// # Errors
    /// [`Unreadable::Wrong`] with the rung or profile and what is allowed.
    pub fn spec(&self) -> Result<JobSpec, Unreadable> {
        spec(self).map_err(|reason| Unreadable::Wrong { format: FORMAT, reason })
    }

    /// All that the job makes and somebody may look up, rungs first, `hls` last. A name that was asked
    /// for is here whatever the size of the source.
    ///
    /// # Errors
    /// As [`spec`](Self::spec).
    pub fn outputs(&self) -> Result<Vec<Output>, Unreadable> {
        let profile = self.spec()?.profile;
        let prefix = self.key_prefix();
        let below = |name: String| if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let rung = |name: &str| match (self.packages(), profile.layout) {
            (Mp4::All, _) => format!("{name}.mp4"),
            (Mp4::None, Layout::Folders) => format!("{name}/playlist.m3u8"),
            (Mp4::None, Layout::Flat) => "output.m3u8".to_owned(),
        };
        let rungs = profile
            .renditions
            .iter()
            .map(|rendition| Output { profile: rendition.name.clone(), key: below(rung(&rendition.name)) });
        // The match workers' players open `output.m3u8`.
        let entry = match profile.layout {
            Layout::Folders => keys::MASTER.to_owned(),
            Layout::Flat => "output.m3u8".to_owned(),
        };
        let hls = Output { profile: "hls".to_owned(), key: below(entry) };
        Ok(rungs.chain([hls]).collect())
    }

    /// The MP4 files that are made: those asked for, and those that the profile's name promises.
    pub fn packages(&self) -> Mp4 {
        if self.profile == ROKU { Mp4::All } else { self.mp4 }
    }

    /// The destination within its bucket, without a slash at the end.
    pub(crate) fn key_prefix(&self) -> &str {
        let prefix = match self.destination.strip_prefix("s3://") {
            Some(rest) => rest.split_once('/').map_or("", |(_, key)| key),
            None => &self.destination,
        };
        prefix.trim_end_matches('/')
    }
}

/// The profile of the Redis workers' API: their four rungs, which are those of `abr`, an MP4 file each.
pub(super) const ROKU: &str = "roku-hls";

pub(super) fn spec(job: &Job) -> Result<JobSpec, String> {
    let name = if job.profile == ROKU { "abr" } else { &job.profile };
    // By name only: a path would let a message read files of the worker.
    let mut profile = Profile::builtin(name).map_err(|_| {
        let known: Vec<_> = transcode_core::spec::builtin_profiles().chain([ROKU]).collect();
        let shown: String = job.profile.chars().take(40).collect();
        format!("`profile`: there is no `{}`; known are {}", shown.escape_debug(), known.join(", "))
    })?;
    if !job.ladder.is_empty() {
        // What a rung of the same name is tuned by stays; the figures are the job's.
        let tuned = |name: &str| profile.renditions.iter().find(|rendition| rendition.name == name);
        let ladder = job.ladder.iter().map(|rung| Rendition {
            name: rung.name.clone(),
            height: rung.height,
            video: rung.video,
            audio: rung.audio,
            encoding: tuned(&rung.name)
                .map_or_else(EncodingOverride::default, |rendition| rendition.encoding.clone()),
        });
        profile.renditions = ladder.collect();
    }
    if job.ladder.iter().any(|rung| rung.name == "hls") {
        return Err("`ladder`: no rung may be called `hls`, the master playlist is".to_owned());
    }
    profile.check().map_err(|reason| format!("`ladder`: {reason}"))?;
    let clip = job.clip.map_or_else(Clip::default, |window| Clip { start: window.start, end: window.end });
    let (every_name, base_url) = (job.every_name, job.base_url.clone());
    Ok(JobSpec { clip, every_name, base_url, ..JobSpec::new(profile) })
}
