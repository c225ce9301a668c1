//! `transcode config`: what is in force, and from where.

use super::Context;
use super::output::to_stdout;
use crate::config::Config;
use serde_json::{Map, Value, json};
use transcode_core::Error;

/// Print it, for a person or a program.
pub(super) fn show(context: &Context, json: bool) -> Result<(), Error> {
    let config = Config::load(context.config.as_deref())?;
    let rows = config.shown();
    if json {
        let object: Map<String, Value> = rows
            .into_iter()
            .map(|(key, value, origin)| (key, json!({ "value": value, "origin": origin })))
            .collect();
        to_stdout(&format!("{:#}\n", Value::Object(object)));
        return Ok(());
    }
    let file = config.file.as_ref().map_or("none".to_owned(), |file| file.display().to_string());
    let mut text = format!("# file: {file}\n");
    let wide = rows.iter().map(|(key, value, _)| key.len() + value.len() + 5).max().unwrap_or(0).min(72);
    for (key, value, origin) in rows {
        let line = format!("{key} = \"{value}\"");
        let origin = if origin.is_empty() { String::new() } else { format!("  # {origin}") };
        text.push_str(&format!("{line:<wide$}{origin}\n"));
    }
    for rule in &config.service.rules {
        text.push_str(&format!("# rule: objects under \"{}\" → profile {}\n", rule.prefix, rule.profile));
    }
    for token in &config.service.tokens {
        let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.name()).collect();
        text.push_str(&format!("# token \"{}\": {}\n", token.name, scopes.join(", ")));
    }
    to_stdout(&text);
    Ok(())
}
