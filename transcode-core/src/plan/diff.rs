//! Differences between two plans, value by value.
//!
//! Both are compared as the JSON that is stored, so nothing can differ unseen. The order is that of
//! the first plan's JSON, with what only the second has behind it.

use super::Plan;
use serde_json::Value;
use std::fmt;

/// One value that differs between two plans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where: `rungs.720p.video.bitrate`; entries of a list by name where they have one, else by
    /// number from 0.
    pub path: String,
    /// The value in the first plan, as text; `None` where it has none.
    pub left: Option<String>,
    /// The value in the second plan.
    pub right: Option<String>,
}

/// `rungs.720p.video.bitrate: 4M, not 2M`.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(f, "{}: {}, not {}", self.path, text(&self.left), text(&self.right))
    }
}

impl Plan {
    /// Every value that is not the same in `other`; empty for equal plans.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let tree = |plan: &Self| serde_json::to_value(plan).unwrap_or(Value::Null);
        let mut found = Vec::new();
        compare("", Some(&tree(self)), Some(&tree(other)), &mut found);
        found
    }
}

fn compare(path: &str, left: Option<&Value>, right: Option<&Value>, found: &mut Vec<Difference>) {
    if left == right {
        return;
    }
    match (left, right) {
        (Some(Value::Object(_) | Value::Array(_)), Some(Value::Object(_) | Value::Array(_))) => {
            let (left, right) =
                (left.map(entries).unwrap_or_default(), right.map(entries).unwrap_or_default());
            let get = |entries: &[(String, &Value)], key: &str| {
                entries.iter().find(|(name, _)| name == key).map(|(_, value)| *value).cloned()
            };
            for (key, value) in &left {
                compare(&join(path, key), Some(value), get(&right, key).as_ref(), found);
            }
            for (key, value) in right.iter().filter(|(key, _)| get(&left, key).is_none()) {
                compare(&join(path, key), None, Some(value), found);
            }
            // The same entries in another order.
            let order = |entries: &[(String, &Value)]| {
                let names: Vec<String> = entries.iter().map(|(key, _)| key.clone()).collect();
                names.join(", ")
            };
            if left.len() == right.len() && order(&left) != order(&right) && same_keys(&left, &right) {
                found.push(Difference {
                    path: path.to_owned(),
                    left: Some(order(&left)),
                    right: Some(order(&right)),
                });
            }
        }
        _ => found.push(Difference { path: path.to_owned(), left: left.map(text), right: right.map(text) }),
    }
}

fn same_keys(left: &[(String, &Value)], right: &[(String, &Value)]) -> bool {
    left.iter().all(|(key, _)| right.iter().any(|(other, _)| other == key))
}

/// What is in an object or a list, by name.
fn entries(value: &Value) -> Vec<(String, &Value)> {
    match value {
        Value::Object(object) => object.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(list) => {
            let name = |(at, value): (usize, &Value)| match value.get("name").and_then(Value::as_str) {
                Some(name) => name.to_owned(),
                None => at.to_string(),
            };
            list.iter().enumerate().map(|(at, value)| (name((at, value)), value)).collect()
        }
        _ => Vec::new(),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "nothing".to_owned(),
        other => other.to_string(),
    }
}
