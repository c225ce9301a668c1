//! Jobs as clients see them.
//!
//! Owns the JSON of our own API: which of a record's fields are shown, under which names. Times are RFC 3339
//! in UTC. What is secret in a job (the query of a webhook's or a source's address) is not shown.

use super::Shared;
use crate::job::{Job, find};
use crate::ledger::{FailureCause, Playable, Progress, Record};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use utoipa::ToSchema;

/// Profiles whose entry is remembered.
const PROFILES: usize = 64;

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct JobView {
    /// Its name.
    #[schema(example = "job_1791036309_k3v9x1m4q7z0")]
    pub(super) id: String,
    /// `queued`, `processing`, `committing`, `complete`, `failed`, `dead` or `cancelled`.
    #[schema(example = "processing")]
    pub(super) state: String,
    /// `high`, `normal` or `low`.
    pub(super) priority: String,
    /// What is asked for, by name.
    pub(super) profile: String,
    /// What is read.
    pub(super) sources: Vec<String>,
    /// Where the output goes.
    pub(super) destination: String,
    /// When it was taken in.
    #[schema(example = "2026-10-03T14:05:09.123Z")]
    pub(super) created: String,
    /// When something last changed.
    pub(super) updated: String,
    /// Leases so far that ended with it, a failure or a death; the running one counts.
    pub(super) attempts: u32,
    /// The epoch of the latest lease.
    pub(super) epoch: u64,
    /// Who works on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) worker: Option<String>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<String>,
    /// It is not tried again before that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) not_before: Option<String>,
    /// How far it is.
    pub(super) progress: ProgressView,
    /// What came out, when it is complete.
    pub(super) outputs: Vec<OutputView>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    /// What went wrong so far, in order.
    pub(super) failures: Vec<FailureView>,
    /// Somebody wants it stopped, and its worker has not heard of it yet.
    pub(super) cancelling: bool,
    /// Messages about it that wait, were taken, or were given up.
    pub(super) webhooks: usize,
    /// Where to watch it.
    pub(super) play: PlayView,
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct ProgressView {
    /// In per cent of what this attempt has to do, 0 to 100.
    pub(super) percent: u8,
    /// `probe`, `encode`, `package` or `publish`; absent before a worker said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stage: Option<String>,
    /// Seconds of media a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) speed: Option<f64>,
    /// Seconds until the end at this speed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seconds_to_go: Option<u64>,
    /// The platform that makes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) platform: Option<String>,
    /// By rung, best first.
    pub(super) rungs: Vec<RungView>,
}

/// How much of a rung can be played.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct RungView {
    /// The rung.
    pub(super) rung: String,
    /// Segments from the beginning without a gap.
    pub(super) playable: u32,
    /// Segments in all, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) segments: Option<u32>,
}

/// One output.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct OutputView {
    /// The name it is looked up by: a rung's, or `hls`.
    #[schema(example = "720p")]
    pub(super) profile: String,
    /// Its key.
    pub(super) key: String,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct FailureView {
    /// When it was known.
    pub(super) at: String,
    /// Whose.
    pub(super) worker: String,
    /// Under which lease.
    pub(super) epoch: u64,
    /// `usage`, `input`, `store`, `machine`, `interrupted`, or `died`.
    pub(super) cause: String,
    /// In words.
    pub(super) reason: String,
}

/// Where to watch a job.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct PlayView {
    /// A page with a player.
    pub(super) page: String,
    /// The playlist to give to a player.
    pub(super) hls: String,
    /// Until when these addresses are good; absent where they always are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<String>,
}

/// A page of jobs.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct JobList {
    /// The newest first.
    pub(super) jobs: Vec<JobView>,
    /// For the next page; absent where this is the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cursor: Option<String>,
}

impl JobView {
    /// What clients see of a record.
    pub(super) fn of(record: &Record, api: &Shared) -> Self {
        let holder = record.lease.as_ref();
        Self {
            id: record.id.to_string(),
            state: record.state.to_string(),
            priority: record.job.priority.name().to_owned(),
            profile: record.job.profile.clone(),
            sources: record.job.sources.iter().map(|source| without_query(source)).collect(),
            destination: record.job.destination.clone(),
            created: record.created.to_string(),
            updated: record.updated.to_string(),
            attempts: record.attempts + u32::from(holder.is_some()),
            epoch: record.epoch,
            worker: holder.map(|holder| holder.worker.clone()),
            since: holder.map(|holder| holder.since.to_string()),
            not_before: record.not_before.map(|at| at.to_string()),
            progress: ProgressView::of(record.percent, record.progress.as_ref()),
            outputs: outputs(record),
            error: record.error.clone(),
            failures: record.failures.iter().map(FailureView::of).collect(),
            cancelling: record.cancel && !record.state.is_final(),
            webhooks: record.outbox.len(),
            play: api.play_view(&record.id, &entry(&record.job)),
        }
    }
}

impl ProgressView {
    pub(super) fn of(percent: u8, progress: Option<&Progress>) -> Self {
        Self {
            percent,
            stage: progress.map(|progress| progress.stage.name().to_owned()),
            speed: progress
                .filter(|progress| progress.speed_percent > 0)
                .map(|progress| f64::from(progress.speed_percent) / 100.0),
            seconds_to_go: progress.and_then(|progress| progress.seconds_to_go),
            platform: progress
                .filter(|progress| !progress.platform.is_empty())
                .map(|progress| progress.platform.clone()),
            rungs: progress
                .map(|progress| progress.rungs.iter().map(RungView::of).collect())
                .unwrap_or_default(),
        }
    }
}

impl RungView {
    fn of(rung: &Playable) -> Self {
        Self { rung: rung.rung.clone(), playable: rung.playable, segments: rung.segments }
    }
}

impl FailureView {
    fn of(failure: &crate::ledger::Failure) -> Self {
        let cause = match failure.cause {
            FailureCause::Died => "died".to_owned(),
            FailureCause::Error(kind) => format!("{kind:?}").to_lowercase(),
        };
        Self {
            at: failure.at.to_string(),
            worker: failure.worker.clone(),
            epoch: failure.epoch,
            cause,
            reason: failure.reason.clone(),
        }
    }
}

/// What came out of a job, as all our answers show it.
pub(super) fn outputs(record: &Record) -> Vec<OutputView> {
    let view =
        |output: &crate::job::Output| OutputView { profile: output.profile.clone(), key: output.key.clone() };
    record.outputs.iter().map(view).collect()
}

/// The playlist that players open, below the destination.
pub(super) fn entry(job: &Job) -> String {
    // Reading a profile takes longer than all else of an answer, and its name says enough: there are a few.
    static KNOWN: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(&job.profile).cloned();
    known.unwrap_or_else(|| {
        let outputs = job.outputs().unwrap_or_default();
        let key = find(&outputs, "hls").map_or("master.m3u8", |output| output.key.as_str());
        let entry = key.rsplit('/').next().unwrap_or(key).to_owned();
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < PROFILES {
            known.insert(job.profile.clone(), entry.clone());
        }
        entry
    })
}

/// An address without what may be secret in it: a presigned one has its signature in the query, others a password
/// before the host.
pub(super) fn without_query(source: &str) -> String {
    let Ok(mut url) = url::Url::parse(source) else { return source.to_owned() };
    if !matches!(url.scheme(), "http" | "https") {
        return source.to_owned();
    }
    url.set_query(None);
    url.set_fragment(None);
    let _no_host = url.set_username("").and_then(|()| url.set_password(None));
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_and_passwords_in_sources_are_not_shown() {
        let shown = without_query("https://me:secret@media.example.org/a%20b.mp4?X-Amz-Signature=abc#t");
        assert_eq!(shown, "https://media.example.org/a%20b.mp4");
        for plain in ["s3://in/a?b.mp4", "uploads/a?b.mp4", "Spiel 7/Süd.mp4"] {
            assert_eq!(without_query(plain), plain);
        }
    }
}
