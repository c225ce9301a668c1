//! Which queues belong together: the one that is named, its `…_high` and `…_low`, and where its dead letters go.
//!
//! Owns their names and how they are found. Nothing is made: what is missing is done without.

use super::client::{Api, Refusal};
use crate::job::Priority;
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::Value;

/// The queues of one name, by URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lines {
    high: Option<String>,
    normal: String,
    low: Option<String>,
    /// Where dead letters go.
    pub(super) dead: Option<String>,
    /// After so many receives SQS itself moves a message there (`maxReceiveCount`).
    pub(super) receives: Option<u64>,
}

impl Lines {
    /// Ask which there are.
    pub(super) fn find(api: &Api, normal: &str, siblings: bool) -> Result<Self, Refusal> {
        let policy = match redrive(api, normal) {
            Ok(policy) => policy,
            // An older worker's keys may receive and delete, and no more: good enough.
            Err(refusal) if refusal.is_forbidden() => None,
            Err(refusal) => return Err(refusal),
        };
        let there = |url: String| match redrive(api, &url) {
            Ok(_) => Ok(Some(url)),
            // Without a right to it, AWS does not say whether a queue is there.
            Err(refusal) if refusal.is_absent() || refusal.is_forbidden() => Ok(None),
            Err(refusal) => Err(refusal),
        };
        let sibling = |name: &str| if siblings { there(format!("{normal}_{name}")) } else { Ok(None) };
        let policy = policy.and_then(|text| serde_json::from_str::<Value>(&text).ok()).unwrap_or_default();
        let receives = &policy["maxReceiveCount"];
        let receives = receives.as_u64().or_else(|| receives.as_str().and_then(|text| text.parse().ok()));
        let dead = match policy["deadLetterTargetArn"].as_str().and_then(|arn| named(normal, arn)) {
            Some(url) => Some(url),
            None => there(format!("{normal}_dead"))?,
        };
        Ok(Self { high: sibling("high")?, normal: normal.to_owned(), low: sibling("low")?, dead, receives })
    }

    /// The queue of a priority, where there is one of its own.
    pub(super) fn own(&self, priority: Priority) -> Option<&str> {
        match priority {
            Priority::High => self.high.as_deref(),
            Priority::Normal => Some(&self.normal),
            Priority::Low => self.low.as_deref(),
        }
    }

    /// The queue into which a message of that priority goes.
    pub(super) fn queue(&self, priority: Priority) -> &str {
        self.own(priority).unwrap_or(&self.normal)
    }

    /// Whether there is one queue for all.
    pub(super) fn is_one(&self) -> bool {
        self.high.is_none() && self.low.is_none()
    }
}

fn redrive(api: &Api, url: &str) -> Result<Option<String>, Refusal> {
    let name = QueueAttributeName::RedrivePolicy;
    let request = api.client.get_queue_attributes().queue_url(url).attribute_names(name.clone());
    let found = api.call(request.send())?;
    Ok(found.attributes.and_then(|mut attributes| attributes.remove(&name)))
}

/// The URL of the queue with that ARN (`arn:aws:sqs:region:account:name`), beside the queue at `url`: the same
/// server, and the account in its place where URLs have one.
fn named(url: &str, arn: &str) -> Option<String> {
    let mut parts = arn.rsplit(':');
    let (name, account) = (parts.next()?, parts.next()?);
    let (before, _) = url.rsplit_once('/')?;
    match before.rsplit_once('/') {
        Some((server, last)) if !last.is_empty() && last.chars().all(|c| c.is_ascii_digit()) => {
            Some(format!("{server}/{account}/{name}"))
        }
        _ => Some(format!("{before}/{name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_queue_is_found_beside_its_queue() {
        let arn = "arn:aws:sqs:eu-central-1:999999999999:buried";
        let url = "https://sqs.eu-central-1.amazonaws.com/123456789012/jobs";
        let dead = "https://sqs.eu-central-1.amazonaws.com/999999999999/buried";
        assert_eq!(named(url, arn).as_deref(), Some(dead), "it may be another account's");
        let local = named("http://127.0.0.1:9324/queue/jobs", "arn:aws:sqs:elasticmq:000000000000:buried");
        assert_eq!(local.as_deref(), Some("http://127.0.0.1:9324/queue/buried"));
        assert_eq!(named(url, "buried"), None);
    }
}
