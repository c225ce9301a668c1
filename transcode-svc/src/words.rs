//! Errors in words, wherever they are told: in logs, records, metrics and answers.

use transcode_core::ErrorKind;

/// An error and its causes on one line, each once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// The kind as JSON, metrics and the documentation spell it.
pub(crate) const fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Usage => "usage",
        ErrorKind::Input => "input",
        ErrorKind::Store => "store",
        ErrorKind::Interrupted => "interrupted",
        _ => "machine",
    }
}
