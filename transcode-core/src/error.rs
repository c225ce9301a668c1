//! What can go wrong, told apart by who has to act.

use crate::sink::SinkError;
use crate::source::SourceError;

/// Who has to act. The command line's exit code and the service's retry rule follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request, the configuration, or a destination that holds something else.
    Usage,
    /// The video: missing, not a video, damaged, cut short.
    Input,
    /// The store of the output, or of the input once it had been opened.
    Store,
    /// This machine, a platform's elements, or output that failed its verification.
    Machine,
    /// Somebody asked to stop.
    Interrupted,
}

/// Any failure of the library. `Display` is one line for a person and never repeats its source;
/// print the chain.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A profile, platform or request that cannot be.
    #[error("{what}: {reason}")]
    Config {
        /// The file, key or option.
        what: String,
        /// Which value, what is allowed, what to do.
        reason: String,
    },
    /// The bytes are not a video that is let in, or end too early.
    #[error("{uri}: {reason}")]
    Input {
        /// Which source, without credentials.
        uri: String,
        /// What is wrong, where, and what to do.
        reason: String,
    },
    /// Reading the source failed.
    #[error("the source cannot be read")]
    Source(#[from] SourceError),
    /// Storing the output failed.
    #[error("the output cannot be stored")]
    Sink(#[from] SinkError),
    /// An element is missing or failed, and the input is not to blame.
    #[error("platform {platform}: {reason}")]
    Platform {
        /// Which platform file.
        platform: String,
        /// The element, its domain and text, and what to install or do.
        reason: String,
    },
    /// Nothing moved for too long.
    #[error("the graph stands still: {reason}")]
    Stalled {
        /// For how long, where each branch stood.
        reason: String,
    },
    /// The output is not what the plan says, so it was not published as finished.
    #[error("verification failed: {reason}")]
    Verification {
        /// The figures that do not fit.
        reason: String,
    },
    /// The destination holds another job's output.
    #[error("{location} holds something else: {reason}")]
    Occupied {
        /// Where.
        location: String,
        /// The difference, and what to do.
        reason: String,
    },
    /// Somebody asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Who has to act.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Config { .. } | Self::Occupied { .. } => ErrorKind::Usage,
            Self::Input { .. } => ErrorKind::Input,
            Self::Source(SourceError::Unreadable { .. } | SourceError::Changed { .. }) => ErrorKind::Input,
            Self::Source(SourceError::Cancelled) | Self::Sink(SinkError::Cancelled) => ErrorKind::Interrupted,
            Self::Source(_) => ErrorKind::Store,
            Self::Sink(SinkError::Conflict { .. }) => ErrorKind::Usage,
            Self::Sink(_) => ErrorKind::Store,
            Self::Platform { .. } | Self::Stalled { .. } | Self::Verification { .. } => ErrorKind::Machine,
            Self::Interrupted => ErrorKind::Interrupted,
        }
    }

    /// The whole chain on one line, outermost first, each part once.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(error) = next {
            text.push_str(": ");
            text.push_str(&error.to_string());
            next = error.source();
        }
        text
    }
}
