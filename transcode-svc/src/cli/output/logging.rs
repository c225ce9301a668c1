//! The lines of the log: for people and journald, or an object a line for collectors.
//!
//! What a line is about (job, attempt, epoch) comes with it as fields; for people it stands in brackets in
//! front of the text.

use env_logger::fmt::Formatter;
use log::Record;
use log::kv::{Error, Key, Value, VisitSource};
use std::io::{self, Write};

/// `2026-10-03T14:05:09Z INFO  [job_17_ab attempt 2 epoch 3] complete`.
pub(crate) fn log_as_text(out: &mut Formatter, record: &Record<'_>, detailed: bool) -> io::Result<()> {
    let (time, level, text) = (out.timestamp_seconds(), record.level(), record.args());
    let mut fields = Fields::default();
    let _only_text = record.key_values().visit(&mut fields);
    let about = fields.brackets();
    if detailed {
        writeln!(out, "{time} {level:<5} {}: {about}{text}", record.target())
    } else {
        writeln!(out, "{time} {level:<5} {about}{text}")
    }
}

/// `{"time":"…","level":"info","target":"…","job":"…","attempt":2,"epoch":3,"message":"complete"}`.
pub(crate) fn log_as_json(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let mut fields = Fields::default();
    let _only_text = record.key_values().visit(&mut fields);
    let mut object = serde_json::Map::new();
    object.insert("time".to_owned(), out.timestamp_millis().to_string().into());
    object.insert("level".to_owned(), record.level().as_str().to_lowercase().into());
    object.insert("target".to_owned(), record.target().into());
    object.extend(fields.0);
    object.insert("message".to_owned(), record.args().to_string().into());
    writeln!(out, "{}", serde_json::Value::Object(object))
}

#[derive(Default)]
struct Fields(Vec<(String, serde_json::Value)>);

impl Fields {
    fn brackets(&self) -> String {
        let text =
            |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let parts = self.0.iter().map(|(key, value)| match key.as_str() {
            "job" => text(value),
            key => format!("{key} {}", text(value)),
        });
        let parts: Vec<String> = parts.collect();
        if parts.is_empty() { String::new() } else { format!("[{}] ", parts.join(" ")) }
    }
}

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let value = value.to_u64().map_or_else(|| value.to_string().into(), serde_json::Value::from);
        self.0.push((key.as_str().to_owned(), value));
        Ok(())
    }
}
