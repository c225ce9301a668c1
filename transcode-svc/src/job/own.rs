//! Our own job: the format that everything else is read into, and the one we publish a schema of.
//!
//! Unknown fields are errors here: what is not understood must not be dropped in silence.

use super::id::JobId;
use super::{Unreadable, outputs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use transcode_core::units::{Bitrate, MediaTime};

pub(super) const FORMAT: &str = "a job of our own";

/// One request. As JSON it is what `transcode schema job` describes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Transcode job", extend("$id" = "urn:transcode:job:1"))]
pub struct Job {
    /// The version of this format: 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// The job's name, unique in its ledger: 1 to 200 bytes without control characters. A message of
    /// a queue must have one; where a job is submitted, one is made if it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<JobId>,
    /// What is read: `s3://bucket/key`, `https://…`, or a key of the configured store. Several are
    /// chapters of one recording, in this order.
    #[schemars(length(min = 1))]
    pub sources: Vec<String>,
    /// The part of the source that is wanted; absent = all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<Window>,
    /// What is asked for, by name: a built-in profile (`abr`, `match`), or `roku-hls`, which is `abr` with
    /// an MP4 file a rung.
    #[serde(default = "default_profile")]
    pub profile: String,
    /// The rungs wanted, best first, in place of the profile's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ladder: Vec<Rung>,
    /// The MP4 files wanted beside HLS, packaged from the finished segments.
    #[serde(default)]
    pub mp4: Mp4,
    /// Where the output goes: `s3://bucket/prefix`, or a prefix of the configured store.
    pub destination: String,
    /// Where players fetch the destination from: with it, playlists hold absolute URLs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Whether every rung is made under its name, at the source's size where it asks for more. Without it, rungs
    /// above the source are left out as far as another has its size. The formats of others have it: their
    /// consumers look outputs up by name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub every_name: bool,
    /// Which line the job waits in.
    #[serde(default)]
    pub priority: Priority,
    /// Who is told of the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// A second submission with the same key is the first one again. 1 to 200 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

fn default_profile() -> String {
    "abr".to_owned()
}

/// A part of the source, by its own clock; absent ends are the source's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Of the first picture wanted: `90s`, `1:30`, `1001/30000s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub start: Option<MediaTime>,
    /// Of the end, itself not shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub end: Option<MediaTime>,
}

/// One rung of the ladder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rung {
    /// Names the output: `720p`. 1 to 32 letters, digits, `-` and `_`.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]{1,32}$"))]
    pub name: String,
    /// The shorter side of the picture, in lines, 2 to 4320; absent = the source's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 4320))]
    pub height: Option<u32>,
    /// Video bit rate: `4M`, `800k`; 10k to 240M bit/s.
    #[schemars(with = "String")]
    pub video: Bitrate,
    /// Audio bit rate: `128k`; 8k to 640k bit/s.
    #[schemars(with = "String")]
    pub audio: Bitrate,
}

/// The MP4 files that a job wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mp4 {
    /// HLS alone.
    #[default]
    None,
    /// A progressive file for every rung: `720p.mp4`.
    All,
}

/// Which of the three lines a job waits in.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before the others.
    High,
    /// In between.
    #[default]
    Normal,
    /// Behind the others, but with a quota of its own.
    Low,
}

impl Priority {
    /// All of them, most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// As JSON has it: `high`, `normal`, `low`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

/// Who is told when a job has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Gets a POST: `https://…` or `http://…`.
    pub url: String,
    /// What the body looks like.
    #[serde(default)]
    pub shape: WebhookShape,
}

/// What the body of a webhook looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WebhookShape {
    /// Ours: type, time, and the job with its outputs.
    #[default]
    Transcode,
    /// That of the Redis workers: `{"job_id","status","outputs","error"}`.
    RedisWorker,
}

pub(super) fn read(object: Map<String, Value>) -> Result<Job, Unreadable> {
    let version = object.get("version");
    if version.and_then(Value::as_u64) != Some(1) {
        let found = version.map(ToString::to_string).unwrap_or_default().chars().take(40).collect::<String>();
        return Err(wrong(format!("`version` is {found}; this program knows 1")));
    }
    let job: Job = serde_json::from_value(Value::Object(object)).map_err(|error| wrong(error.to_string()))?;
    job.check().map_err(wrong)?;
    Ok(job)
}

fn wrong(reason: String) -> Unreadable {
    Unreadable::Wrong { format: FORMAT, reason }
}

impl Job {
    /// What no type can say.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.sources.is_empty() {
            return Err("`sources` is empty; at least one is needed".to_owned());
        }
        for source in &self.sources {
            address("sources", source, &["s3", "https", "http"])?;
            if source.ends_with('/') || source.strip_prefix("s3://").is_some_and(|rest| !rest.contains('/')) {
                return Err(format!("`sources`: `{source}` names no object"));
            }
        }
        address("destination", &self.destination, &["s3"])?;
        if let Some(Window { start, end: Some(end) }) = self.clip {
            let start = start.unwrap_or(MediaTime::ZERO);
            if end <= start {
                return Err(format!(
                    "`clip` ends at {end} and begins at {start}; it must end later than it begins"
                ));
            }
        }
        for (field, url) in [
            ("base_url", self.base_url.as_deref()),
            ("webhook.url", self.webhook.as_ref().map(|webhook| webhook.url.as_str())),
        ] {
            let Some(url) = url else { continue };
            let fits = url::Url::parse(url)
                .is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
            if !fits {
                return Err(format!("`{field}` is no https:// or http:// URL"));
            }
        }
        if let Some(key) = self.idempotency_key.as_ref().filter(|key| !(1..=200).contains(&key.len())) {
            return Err(format!("`idempotency_key` has {} bytes; allowed are 1 to 200", key.len()));
        }
        outputs::spec(self).map(drop)
    }
}

/// Keys are names, never paths of this machine: no scheme but those allowed, nothing that climbs out.
fn address(field: &str, text: &str, schemes: &[&str]) -> Result<(), String> {
    let shown: String = text.chars().take(80).collect();
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(format!("`{field}`: `{}` is empty or has control characters", shown.escape_debug()));
    }
    let allowed = schemes.iter().map(|scheme| format!("{scheme}://")).collect::<Vec<_>>().join(", ");
    let key = match text.split_once("://") {
        Some((scheme, _)) if !schemes.contains(&scheme) => {
            return Err(format!(
                "`{field}`: `{scheme}://` is not allowed; allowed are {allowed} and keys of the store"
            ));
        }
        Some(("s3", rest)) => {
            let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() {
                return Err(format!("`{field}`: `{shown}` names no bucket"));
            }
            key
        }
        Some(_) => return Ok(()),
        None if text.starts_with('/') => {
            return Err(format!(
                "`{field}`: `{shown}` is a path of a machine; allowed are {allowed} and keys of the store"
            ));
        }
        None => text,
    };
    if key.split('/').any(|part| part == "..") {
        return Err(format!("`{field}`: `{shown}` has `..` in it"));
    }
    Ok(())
}
