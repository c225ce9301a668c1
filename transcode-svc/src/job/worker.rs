//! The job of the Redis workers, which the SQS workers' producers send as well, and what the Redis
//! workers' HTTP API takes.
//!
//! Fields that we do not know are let through: these producers are not ours, and may say more to others.
//! What the contract leaves open is decided here:
//! - `output_bucket` absent: the input's bucket. `input_bucket` absent: the configured one.
//! - `audio_bitrate` absent: 128k, the contract's own value for 720p.
//! - `profile` beside a `ladder`: the profile says how, the ladder says what.
//! - MP4 files are made where a `ladder` or no `profile` is given, because those producers look up
//!   `720p.mp4`; with a `profile` other than `roku-hls` HLS alone is, as the match workers do.
//! - `webhook_url` absent: the configured one. The body has these workers' shape in any case.
//! - `priority`: `high`, `normal` or `low`; absent: normal. A message waits in the line that it was put into.

use super::id::JobId;
use super::outputs::ROKU;
use super::own::{Job, Mp4, Priority, Rung, Webhook, WebhookShape};
use super::{Rules, Unreadable};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use transcode_core::units::Bitrate;

const MESSAGE: &str = "a worker's job";
const SUBMISSION: &str = "a submission";

#[derive(Deserialize)]
struct WorkerJob {
    id: JobId,
    #[serde(default)]
    input_bucket: Option<String>,
    input_key: String,
    #[serde(default)]
    output_bucket: Option<String>,
    output_prefix: String,
    #[serde(default)]
    ladder: Vec<WorkerRung>,
    #[serde(default)]
    profile: Option<String>,
    #[serde(default)]
    webhook_url: Option<String>,
    #[serde(default)]
    priority: Option<Priority>,
}

#[derive(Deserialize)]
struct WorkerRung {
    name: String,
    #[serde(default)]
    height: Option<u32>,
    bitrate: Bitrate,
    #[serde(default)]
    audio_bitrate: Option<Bitrate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Submission {
    input_key: String,
    #[serde(default)]
    profile: Option<String>,
    output_prefix: String,
}

/// What a producer pushes into `transcode_jobs`, or sends to the SQS queue.
pub(super) fn message(object: Map<String, Value>, rules: &Rules) -> Result<Job, Unreadable> {
    let read: WorkerJob = parse(MESSAGE, object)?;
    let ladder: Vec<Rung> = read.ladder.into_iter().map(WorkerRung::ours).collect::<Result<_, _>>()?;
    let input = read.input_bucket.as_deref().filter(|bucket| !bucket.is_empty()).or(rules.bucket.as_deref());
    let output = read.output_bucket.as_deref().filter(|bucket| !bucket.is_empty()).or(input);
    let packaged = !ladder.is_empty() || read.profile.as_deref().is_none_or(|profile| profile == ROKU);
    let url = read.webhook_url.filter(|url| !url.is_empty()).or_else(|| rules.webhook_url.clone());
    let job = Job {
        version: 1,
        id: Some(read.id),
        sources: vec![within(input, &read.input_key)],
        clip: None,
        profile: read.profile.unwrap_or_else(|| "abr".to_owned()),
        ladder,
        mp4: if packaged { Mp4::All } else { Mp4::None },
        destination: within(output, &read.output_prefix),
        base_url: None,
        every_name: true,
        priority: read.priority.unwrap_or_default(),
        webhook: url.map(|url| Webhook { url, shape: WebhookShape::RedisWorker }),
        idempotency_key: None,
    };
    checked(MESSAGE, job)
}

/// What `POST /api/transcode/submit` takes.
pub(super) fn submission(object: Map<String, Value>, rules: &Rules) -> Result<Job, Unreadable> {
    let read: Submission = parse(SUBMISSION, object)?;
    let bucket = rules.bucket.as_deref();
    let profile = read.profile.unwrap_or_else(|| ROKU.to_owned());
    let job = Job {
        version: 1,
        id: None,
        sources: vec![within(bucket, &read.input_key)],
        clip: None,
        mp4: if profile == ROKU { Mp4::All } else { Mp4::None },
        profile,
        ladder: Vec::new(),
        destination: within(bucket, &read.output_prefix),
        base_url: None,
        every_name: true,
        priority: Priority::default(),
        webhook: rules.webhook_url.clone().map(|url| Webhook { url, shape: WebhookShape::RedisWorker }),
        idempotency_key: None,
    };
    checked(SUBMISSION, job)
}

/// `s3://bucket/key`; without a bucket, the key of the configured store.
fn within(bucket: Option<&str>, key: &str) -> String {
    match bucket {
        Some(bucket) => format!("s3://{bucket}/{key}"),
        None => key.to_owned(),
    }
}

fn parse<T: DeserializeOwned>(format: &'static str, object: Map<String, Value>) -> Result<T, Unreadable> {
    serde_json::from_value(Value::Object(object))
        .map_err(|error| Unreadable::Wrong { format, reason: error.to_string() })
}

fn checked(format: &'static str, job: Job) -> Result<Job, Unreadable> {
    job.check().map_err(|reason| Unreadable::Wrong { format, reason })?;
    Ok(job)
}

impl WorkerRung {
    fn ours(self) -> Result<Rung, Unreadable> {
        let audio = match self.audio_bitrate {
            Some(rate) => rate,
            None => "128k".parse().map_err(|error: transcode_core::units::UnitError| Unreadable::Wrong {
                format: MESSAGE,
                reason: error.to_string(),
            })?,
        };
        Ok(Rung { name: self.name, height: self.height, video: self.bitrate, audio })
    }
}
