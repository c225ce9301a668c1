//! The core's errors as data, so that they cross the socket with kind and text unharmed.
//!
//! A mirror of [`transcode_core::Error`] and of the two traits' errors, variant by variant. A variant
//! that this program does not know yet crosses as its kind and its text.

use serde::{Deserialize, Serialize};
use transcode_core::sink::SinkError;
use transcode_core::source::SourceError;
use transcode_core::{Error, ErrorKind};

/// [`Error`] on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum WireError {
    Config { what: String, reason: String },
    Input { uri: String, reason: String },
    Source(SourceFailure),
    Sink(SinkFailure),
    Platform { platform: String, reason: String },
    Stalled { reason: String },
    Verification { reason: String },
    Occupied { location: String, reason: String },
    Interrupted,
    Other { kind: ErrorKind, text: String },
}

/// [`SourceError`] on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SourceFailure {
    Unreadable { uri: String, reason: String },
    Unavailable { uri: String, offset: u64, reason: String },
    Changed { uri: String, reason: String },
    Cancelled,
}

/// [`SinkError`] on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SinkFailure {
    Refused { location: String, reason: String },
    Unavailable { location: String, reason: String },
    Conflict { location: String, reason: String },
    Cancelled,
}

impl From<Error> for WireError {
    fn from(error: Error) -> Self {
        match error {
            Error::Config { what, reason } => Self::Config { what, reason },
            Error::Input { uri, reason } => Self::Input { uri, reason },
            Error::Source(error) => Self::Source(error.into()),
            Error::Sink(error) => Self::Sink(error.into()),
            Error::Platform { platform, reason } => Self::Platform { platform, reason },
            Error::Stalled { reason } => Self::Stalled { reason },
            Error::Verification { reason } => Self::Verification { reason },
            Error::Occupied { location, reason } => Self::Occupied { location, reason },
            Error::Interrupted => Self::Interrupted,
            other => Self::Other { kind: other.kind(), text: other.chain() },
        }
    }
}

impl From<WireError> for Error {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Config { what, reason } => Self::Config { what, reason },
            WireError::Input { uri, reason } => Self::Input { uri, reason },
            WireError::Source(error) => Self::Source(error.into()),
            WireError::Sink(error) => Self::Sink(error.into()),
            WireError::Platform { platform, reason } => Self::Platform { platform, reason },
            WireError::Stalled { reason } => Self::Stalled { reason },
            WireError::Verification { reason } => Self::Verification { reason },
            WireError::Occupied { location, reason } => Self::Occupied { location, reason },
            WireError::Interrupted => Self::Interrupted,
            WireError::Other { kind, text } => match kind {
                ErrorKind::Usage => Self::Config { what: "the request".to_owned(), reason: text },
                ErrorKind::Input => Self::Input { uri: "the input".to_owned(), reason: text },
                ErrorKind::Store => {
                    Self::Sink(SinkError::Unavailable { location: "the output".to_owned(), reason: text })
                }
                ErrorKind::Interrupted => Self::Interrupted,
                _ => Self::Platform { platform: "unknown".to_owned(), reason: text },
            },
        }
    }
}

impl From<SourceError> for SourceFailure {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Unreadable { uri, reason } => Self::Unreadable { uri, reason },
            SourceError::Unavailable { uri, offset, reason } => Self::Unavailable { uri, offset, reason },
            SourceError::Changed { uri, reason } => Self::Changed { uri, reason },
            SourceError::Cancelled => Self::Cancelled,
            other => Self::Unavailable { uri: "the source".to_owned(), offset: 0, reason: other.to_string() },
        }
    }
}

impl From<SourceFailure> for SourceError {
    fn from(error: SourceFailure) -> Self {
        match error {
            SourceFailure::Unreadable { uri, reason } => Self::Unreadable { uri, reason },
            SourceFailure::Unavailable { uri, offset, reason } => Self::Unavailable { uri, offset, reason },
            SourceFailure::Changed { uri, reason } => Self::Changed { uri, reason },
            SourceFailure::Cancelled => Self::Cancelled,
        }
    }
}

impl From<SinkError> for SinkFailure {
    fn from(error: SinkError) -> Self {
        match error {
            SinkError::Refused { location, reason } => Self::Refused { location, reason },
            SinkError::Unavailable { location, reason } => Self::Unavailable { location, reason },
            SinkError::Conflict { location, reason } => Self::Conflict { location, reason },
            SinkError::Cancelled => Self::Cancelled,
            other => Self::Unavailable { location: "the output".to_owned(), reason: other.to_string() },
        }
    }
}

impl From<SinkFailure> for SinkError {
    fn from(error: SinkFailure) -> Self {
        match error {
            SinkFailure::Refused { location, reason } => Self::Refused { location, reason },
            SinkFailure::Unavailable { location, reason } => Self::Unavailable { location, reason },
            SinkFailure::Conflict { location, reason } => Self::Conflict { location, reason },
            SinkFailure::Cancelled => Self::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn every_error_crosses_the_wire_with_its_kind_and_its_text() {
        let (uri, location, reason) = (text("s3://b/k"), text("./out/"), text("it rained: \"wet\"\nvery"));
        let errors = [
            Error::Config { what: text("--crf"), reason: reason.clone() },
            Error::Input { uri: uri.clone(), reason: reason.clone() },
            Error::Source(SourceError::Unreadable { uri: uri.clone(), reason: reason.clone() }),
            Error::Source(SourceError::Unavailable { uri: uri.clone(), offset: 7, reason: reason.clone() }),
            Error::Source(SourceError::Changed { uri, reason: reason.clone() }),
            Error::Source(SourceError::Cancelled),
            Error::Sink(SinkError::Refused { location: location.clone(), reason: reason.clone() }),
            Error::Sink(SinkError::Unavailable { location: location.clone(), reason: reason.clone() }),
            Error::Sink(SinkError::Conflict { location: location.clone(), reason: reason.clone() }),
            Error::Sink(SinkError::Cancelled),
            Error::Platform { platform: text("software"), reason: reason.clone() },
            Error::Stalled { reason: reason.clone() },
            Error::Verification { reason: reason.clone() },
            Error::Occupied { location, reason },
            Error::Interrupted,
        ];
        for error in errors {
            let wire = serde_json::to_string(&WireError::from(error.clone())).expect("to JSON");
            let back: Error = serde_json::from_str::<WireError>(&wire).expect("from JSON").into();
            assert_eq!(back.kind(), error.kind(), "{wire}");
            assert_eq!(back.chain(), error.chain(), "{wire}");
            assert_eq!(format!("{back:?}"), format!("{error:?}"));
        }
    }

    #[test]
    fn an_unknown_error_keeps_its_kind_and_its_text() {
        for kind in
            [ErrorKind::Usage, ErrorKind::Input, ErrorKind::Store, ErrorKind::Machine, ErrorKind::Interrupted]
        {
            let back: Error = WireError::Other { kind, text: text("news") }.into();
            assert_eq!(back.kind(), kind);
            assert!(kind == ErrorKind::Interrupted || back.chain().contains("news"), "{back}");
        }
    }
}
