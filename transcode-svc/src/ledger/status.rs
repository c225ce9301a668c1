//! The status of a job as the readers of the Redis workers expect it.

use super::record::Record;

/// The fields of the hash `job:{id}`. Times are RFC 3339, `progress` is per cent without a sign, `outputs`
/// is JSON; `attempts` counts the running one; `error` and `worker` are empty where there is none. The contract names the fields and is
/// silent on their spelling.
pub fn status_fields(record: &Record) -> [(&'static str, String); 9] {
    let outputs = serde_json::Value::from_iter(
        record.outputs.iter().map(|output| serde_json::json!({"profile": output.profile, "key": output.key})),
    );
    let worker = record.lease.as_ref().map(|holder| holder.worker.clone());
    [
        ("id", record.id.to_string()),
        ("status", record.state.contract().to_owned()),
        ("created", record.created.to_string()),
        ("updated", record.updated.to_string()),
        ("progress", record.percent.to_string()),
        ("outputs", outputs.to_string()),
        ("error", record.error.clone().unwrap_or_default()),
        ("attempts", (record.attempts + u32::from(record.lease.is_some())).to_string()),
        ("worker", worker.unwrap_or_default()),
    ]
}
