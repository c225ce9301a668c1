//! How long a message is held: what SQS allows, the fixed times of the older workers, and what this
//! process knows about each receipt. Knows no client; times are monotonic.

use aws_sdk_sqs::types::MessageAttributeValue;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// SQS holds no message for longer than 12 hours from its receipt.
pub(super) const LONGEST: Duration = Duration::from_secs(12 * 3_600);

/// Where heartbeats are off: for what is large or of unknown size.
pub(super) const FIXED_LARGE: Duration = Duration::from_secs(1_200);

/// Where heartbeats are off: for what is small.
const FIXED_SMALL: Duration = Duration::from_secs(300);

/// Where small ends: 100 MB.
const SMALL: u64 = 100_000_000;

/// The attributes of a message.
pub(super) type Attributes = HashMap<String, MessageAttributeValue>;

/// The text of an attribute.
pub(super) fn text<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a str> {
    attributes.get(name)?.string_value()
}

/// The time for a message where heartbeats are switched off: the attribute `VisibilityTimeout` in seconds
/// (1 to 43,200), else by size.
pub(super) fn fixed(attributes: &Attributes, body: &str) -> Duration {
    let wanted = text(attributes, "VisibilityTimeout").and_then(|text| text.trim().parse().ok());
    if let Some(seconds) = wanted.filter(|seconds| (1..=LONGEST.as_secs()).contains(seconds)) {
        return Duration::from_secs(seconds);
    }
    match serde_json::from_str(body).ok().and_then(|body| size(&body)) {
        Some(size) if size < SMALL => FIXED_SMALL,
        _ => FIXED_LARGE,
    }
}

/// The size of the input, in bytes: what a store's event tells (all of its objects), or a job's own `size`.
fn size(body: &Value) -> Option<u64> {
    if let Some(records) = body["Records"].as_array() {
        return records.iter().map(|record| record["s3"]["object"]["size"].as_u64()).sum();
    }
    body["detail"]["object"]["size"].as_u64().or_else(|| body["size"].as_u64())
}

/// Whole seconds, rounded up: SQS knows no smaller ones.
pub(super) fn whole_seconds(time: Duration) -> i32 {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    i32::try_from(seconds.min(LONGEST.as_secs())).unwrap_or(i32::MAX)
}

/// A message in this process's hands.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// When it was asked for.
    pub(super) received: Instant,
    /// When the hold ends, at the latest: counted from before the request that began it.
    pub(super) until: Instant,
    /// Its attributes, for copies of it.
    pub(super) attributes: Attributes,
}

/// What is known of a receipt.
pub(super) enum Known {
    /// It is held.
    Good(Held),
    /// It was ours, and the time ran out or it was given away.
    Over,
    /// Another process, or an earlier life of this one, received it: SQS has to be asked.
    Unknown,
}

/// The receipts of this process.
#[derive(Debug, Default)]
pub(super) struct Receipts(Mutex<HashMap<String, Held>>);

impl Receipts {
    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<String, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, receipt: &str, held: Held) {
        let mut table = self.table();
        // No receipt is good for longer.
        table.retain(|_, held| held.received.elapsed() < LONGEST);
        table.insert(receipt.to_owned(), held);
    }

    pub(super) fn known(&self, receipt: &str) -> Known {
        match self.table().get(receipt) {
            Some(held) if held.until > Instant::now() => Known::Good(held.clone()),
            Some(_) => Known::Over,
            None => Known::Unknown,
        }
    }

    pub(super) fn hold(&self, receipt: &str, until: Instant) {
        if let Some(held) = self.table().get_mut(receipt) {
            held.until = until;
        }
    }

    /// It is in these hands no longer. It stays known as that, because SQS may still take its receipt.
    pub(super) fn end(&self, receipt: &str) {
        let now = Instant::now();
        let mut table = self.table();
        let held = Held { received: now, until: now, attributes: Attributes::new() };
        let ended = table.entry(receipt.to_owned()).or_insert(held);
        (ended.until, ended.attributes) = (now, Attributes::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(text: &str) -> Attributes {
        let value = MessageAttributeValue::builder().data_type("Number").string_value(text).build();
        HashMap::from([("VisibilityTimeout".to_owned(), value.expect("it has a type"))])
    }

    #[test]
    fn without_heartbeats_the_attribute_decides_and_else_the_size() {
        let none = Attributes::new();
        let seconds = |attributes: &Attributes, body: &str| fixed(attributes, body).as_secs();
        assert_eq!(seconds(&attribute("900"), r#"{"size": 1}"#), 900);
        for wrong in ["0", "43201", "-1", "soon", ""] {
            assert_eq!(seconds(&attribute(wrong), r#"{"size": 1}"#), 300, "{wrong}");
        }
        assert_eq!(seconds(&none, r#"{"size": 99999999}"#), 300);
        assert_eq!(seconds(&none, r#"{"size": 100000000}"#), 1_200);
        assert_eq!(seconds(&none, r#"{"id": "a", "input_key": "a.mp4"}"#), 1_200, "unknown is large");
        assert_eq!(seconds(&none, "no JSON"), 1_200);
        let event = |sizes: &[u64]| {
            let objects = sizes.iter().map(|size| serde_json::json!({"s3": {"object": {"size": size}}}));
            serde_json::json!({"Records": objects.collect::<Vec<_>>()}).to_string()
        };
        assert_eq!(seconds(&none, &event(&[60_000_000])), 300);
        assert_eq!(seconds(&none, &event(&[60_000_000, 60_000_000])), 1_200, "all of its objects");
        assert_eq!(
            seconds(&none, r#"{"detail-type": "Object Created", "detail": {"object": {"size": 5}}}"#),
            300
        );
    }

    #[test]
    fn times_are_whole_seconds_and_never_shorter() {
        assert_eq!(whole_seconds(Duration::ZERO), 0);
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_millis(2_000)), 2);
        assert_eq!(whole_seconds(Duration::MAX - Duration::from_secs(1)), 43_200);
    }

    #[test]
    fn a_receipt_is_good_until_its_time_and_stays_known_after_it() {
        let receipts = Receipts::default();
        let now = Instant::now();
        let held = |until| Held { received: now, until, attributes: Attributes::new() };
        receipts.add("a", held(now + Duration::from_secs(60)));
        receipts.add("b", held(now));
        assert!(matches!(receipts.known("a"), Known::Good(_)));
        assert!(matches!(receipts.known("b"), Known::Over));
        assert!(matches!(receipts.known("c"), Known::Unknown));
        for ended in ["a", "c"] {
            receipts.end(ended);
            assert!(matches!(receipts.known(ended), Known::Over), "{ended}");
        }
    }
}
