//! The JSON Schema of our own job, made of the type itself.

use super::own::Job;

/// The schema (draft 2020-12) that `transcode schema job` prints.
pub fn job_schema() -> serde_json::Value {
    schemars::schema_for!(Job).to_value()
}
