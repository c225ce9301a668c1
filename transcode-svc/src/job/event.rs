//! "Object created", as a store tells it: S3 event notifications, and the same by EventBridge.
//!
//! A rule says what to make of an object. S3's notifications have the key encoded as in a form
//! (`a+b%28c%29.mp4`); EventBridge has it plain. Notifications come at least once, so a job's name is made
//! of what tells one creation from another: the object's version or sequencer, else its ETag.

use super::id::JobId;
use super::own::{Job, Mp4, Priority};
use super::{Message, Rules, Unreadable};
use chrono::DateTime;
use serde::Deserialize;
use serde_json::{Map, Value};

const NOTIFICATION: &str = "an S3 event";
const BRIDGE: &str = "an EventBridge event";

#[derive(Deserialize)]
struct Notification {
    #[serde(rename = "Records")]
    records: Vec<Record>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    event_name: String,
    #[serde(default)]
    event_time: Option<String>,
    s3: Place,
}

/// The same in both shapes, but for `etag` and `version-id`.
#[derive(Deserialize)]
struct Place {
    bucket: Bucket,
    object: Object,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
struct Object {
    key: String,
    #[serde(default, alias = "eTag")]
    etag: Option<String>,
    #[serde(default, rename = "version-id", alias = "versionId")]
    version: Option<String>,
    #[serde(default)]
    sequencer: Option<String>,
}

#[derive(Deserialize)]
struct Bridge {
    #[serde(rename = "detail-type")]
    kind: String,
    #[serde(default)]
    time: Option<String>,
    detail: Place,
}

/// S3's own shape; one message may tell of several objects.
pub(super) fn notification(object: Map<String, Value>, rules: &Rules) -> Result<Message, Unreadable> {
    let wrong = |reason: String| Unreadable::Wrong { format: NOTIFICATION, reason };
    let Notification { records } =
        serde_json::from_value(Value::Object(object)).map_err(|error| wrong(error.to_string()))?;
    let mut jobs = Vec::new();
    let mut nothing = Vec::new();
    for Record { event_name, event_time, mut s3 } in records {
        // AWS writes `ObjectCreated:Put`, MinIO and others `s3:ObjectCreated:Put`.
        let name = event_name.strip_prefix("s3:").unwrap_or(&event_name);
        if !name.starts_with("ObjectCreated:") {
            nothing.push(format!("{} is no creation of an object", shown(&event_name)));
            continue;
        }
        s3.object.key = decoded(&s3.object.key).ok_or_else(|| {
            wrong(format!("`key` {} is no UTF-8 when its %XX are decoded", shown(&s3.object.key)))
        })?;
        match job(NOTIFICATION, &s3, event_time.as_deref(), rules)? {
            Ok(job) => jobs.push(job),
            Err(why) => nothing.push(why),
        }
    }
    if jobs.is_empty() {
        let why =
            if nothing.is_empty() { "the event tells of no object".to_owned() } else { nothing.join("; ") };
        return Ok(Message::Nothing { why });
    }
    Ok(Message::Jobs(jobs))
}

/// EventBridge's shape: one object, its key as it is.
pub(super) fn bridge(object: Map<String, Value>, rules: &Rules) -> Result<Message, Unreadable> {
    // Other events have other details: look before reading them as these.
    let kind = object.get("detail-type").and_then(Value::as_str).unwrap_or_default();
    if kind != "Object Created" && object.get("source").and_then(Value::as_str) == Some("aws.s3") {
        return Ok(Message::Nothing { why: format!("{} is no creation of an object", shown(kind)) });
    }
    let wrong = |reason: String| Unreadable::Wrong { format: BRIDGE, reason };
    let Bridge { kind, time, detail } =
        serde_json::from_value(Value::Object(object)).map_err(|error| wrong(error.to_string()))?;
    if kind != "Object Created" {
        return Err(wrong(format!("`detail-type` is {}; known is \"Object Created\"", shown(&kind))));
    }
    Ok(match job(BRIDGE, &detail, time.as_deref(), rules)? {
        Ok(job) => Message::Jobs(vec![job]),
        Err(why) => Message::Nothing { why },
    })
}

/// The job for an object, or why there is nothing to do.
fn job(
    format: &'static str,
    Place { bucket: Bucket { name: bucket }, object }: &Place,
    time: Option<&str>,
    rules: &Rules,
) -> Result<Result<Job, String>, Unreadable> {
    let wrong = |reason: String| Unreadable::Wrong { format, reason };
    let key = &object.key;
    if key.ends_with('/') {
        return Ok(Err(format!("s3://{bucket}/{} is a folder's placeholder", shown(key))));
    }
    let (profile, destination) = match rules.apply(bucket, key)? {
        super::rules::Verdict::Make { profile, destination } => (profile, destination),
        super::rules::Verdict::Leave { why } => return Ok(Err(why)),
    };
    // Without a time the name begins with zeros; what makes it one of its kind stands behind them.
    let seconds = match time.filter(|time| !time.is_empty()) {
        Some(time) => {
            let read =
                DateTime::parse_from_rfc3339(time).ok().and_then(|time| u64::try_from(time.timestamp()).ok());
            read.ok_or_else(|| {
                wrong(format!("the event's time is {}; write it as RFC 3339 has it", shown(time)))
            })?
        }
        None => 0,
    };
    let which = [&object.version, &object.sequencer, &object.etag]
        .into_iter()
        .find_map(|text| text.as_deref().filter(|text| !text.is_empty() && *text != "null"))
        .unwrap_or_default();
    let job = Job {
        version: 1,
        id: Some(JobId::derived(seconds, &[bucket, key, which])),
        sources: vec![format!("s3://{bucket}/{key}")],
        clip: None,
        mp4: Mp4::None,
        profile,
        ladder: Vec::new(),
        destination,
        base_url: None,
        every_name: true,
        priority: Priority::default(),
        webhook: rules.webhook(),
        idempotency_key: None,
    };
    job.check().map_err(wrong)?;
    Ok(Ok(job))
}

/// A key out of a notification: `+` is a space, `%XX` a byte, as in an HTML form.
fn decoded(key: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn shown(text: &str) -> String {
    format!("`{}`", text.chars().take(80).collect::<String>().escape_debug())
}
