//! Jobs as they arrive: our own format, and those of the systems whose producers stay as they are.
//!
//! Owns what a message may look like, what it means, and why one means nothing. Pure: text in, jobs or
//! a reason out; knows no queue, no store, no clock. Times in a job are media times.
//!
//! | a message has | it is | read by |
//! |---|---|---|
//! | `"version": 1` and `sources` | our own job | `own` |
//! | `input_key` | the job of the Redis and SQS workers | `worker` |
//! | `inputKey` | what their HTTP API takes (only there) | `worker` |
//! | `Records` | an S3 event notification | `event` |
//! | `detail-type` | the same by EventBridge | `event` |
//!
//! What is none of these is an error that says so: it belongs to the dead letters and blocks nothing.
//!
//! ```
//! use transcode_svc::job::{self, Message, Rules};
//! let text = r#"{"id":"a1","input_bucket":"in","input_key":"game.mp4",
//!                "output_bucket":"out","output_prefix":"games/a1"}"#;
//! let Message::Jobs(jobs) = job::read(text, &Rules::default())? else { panic!("one job") };
//! assert_eq!(jobs[0].sources, ["s3://in/game.mp4"]);
//! let outputs = jobs[0].outputs()?;
//! assert_eq!(job::find(&outputs, "720p").map(|output| output.key.as_str()), Some("games/a1/720p.mp4"));
//! assert_eq!(job::find(&outputs, "hls").map(|output| output.key.as_str()), Some("games/a1/master.m3u8"));
//! # Ok::<(), job::Unreadable>(())
//! ```

mod event;
mod id;
mod outputs;
mod own;
mod rules;
mod schema;
#[cfg(test)]
mod tests;
mod worker;

pub use id::{InvalidId, JobId};
pub use outputs::{Output, find};
pub use own::{Job, Mp4, Priority, Rung, Webhook, WebhookShape, Window};
pub use rules::{Action, Rule, Rules};
pub use schema::job_schema;

use serde_json::{Map, Value};

/// What a message of a queue means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Work. Every job has its [`id`](Job::id), which is the same whenever the message is read again.
    Jobs(Vec<Job>),
    /// Well understood, and nothing to do: an object was removed, a queue was tried out.
    Nothing {
        /// Why, for the log.
        why: String,
    },
}

/// Why a text is no job. For the dead letter and for whoever sent it: what is wrong, where, what is
/// allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// Not JSON at all.
    #[error("this is no JSON: {reason}")]
    NotJson {
        /// Line, column and what stands there.
        reason: String,
    },
    /// JSON that no adapter knows.
    #[error("no known job format: {found}; known are {KNOWN}")]
    Unknown {
        /// What was found instead.
        found: String,
    },
    /// A known format with something in it that cannot be.
    #[error("{format}: {reason}")]
    Wrong {
        /// Which format it was read as.
        format: &'static str,
        /// The field, its value, what is allowed.
        reason: String,
    },
    /// An object was created for which no rule says what to make of it.
    #[error(
        "no rule says what to make of s3://{bucket}/{key}; write one for its prefix, with `action = \"ignore\"` where \
         there is nothing to make"
    )]
    NoRule {
        /// The bucket of the object.
        bucket: String,
        /// Its key, decoded.
        key: String,
    },
}

const KNOWN: &str = "our own jobs (`version` and `sources`), the workers' jobs (`id` and `input_key`), S3 events \
                     (`Records`) and EventBridge events (`detail-type`)";

/// The jobs that a message of a queue asks for.
///
/// # Errors
/// [`Unreadable`]: the message belongs to the dead letters, with this as the reason.
pub fn read(text: &str, rules: &Rules) -> Result<Message, Unreadable> {
    let object = object(text)?;
    if object.contains_key("Records") {
        return event::notification(object, rules);
    }
    if object.contains_key("detail-type") {
        return event::bridge(object, rules);
    }
    if object.get("Event").and_then(Value::as_str) == Some("s3:TestEvent") {
        return Ok(Message::Nothing { why: "the store tried out its notifications".to_owned() });
    }
    let job = if object.contains_key("input_key") {
        worker::message(object, rules)?
    } else if object.contains_key("version") {
        own::read(object)?
    } else {
        return Err(unknown(&object));
    };
    if job.id.is_none() {
        return Err(Unreadable::Wrong {
            format: own::FORMAT,
            reason: "`id` is missing: a queue may deliver twice, and without it the job would run twice"
                .to_owned(),
        });
    }
    Ok(Message::Jobs(vec![job]))
}

/// The job that somebody submits by HTTP or on the command line: our own format, or what the Redis
/// workers' API takes. It may lack an `id`; whoever takes it in makes one.
///
/// # Errors
/// [`Unreadable`], for whoever submitted it.
pub fn read_submission(text: &str, rules: &Rules) -> Result<Job, Unreadable> {
    let object = object(text)?;
    if object.contains_key("inputKey") {
        return worker::submission(object, rules);
    }
    if object.contains_key("version") {
        return own::read(object);
    }
    Err(unknown(&object))
}

fn object(text: &str) -> Result<Map<String, Value>, Unreadable> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => {
            let found = match other {
                Value::Array(_) => "an array",
                Value::String(_) => "a text",
                Value::Number(_) => "a number",
                _ => "neither an object nor anything near",
            };
            Err(Unreadable::Unknown { found: found.to_owned() })
        }
        Err(error) => Err(Unreadable::NotJson { reason: error.to_string() }),
    }
}

fn unknown(object: &Map<String, Value>) -> Unreadable {
    // Names only: values may be long, or secret.
    let names: Vec<String> = object
        .keys()
        .take(8)
        .map(|name| format!("`{}`", name.chars().take(40).collect::<String>()))
        .collect();
    let found = if names.is_empty() {
        "an empty object".to_owned()
    } else {
        format!("an object with {}", names.join(", "))
    };
    Unreadable::Unknown { found }
}
