//! Exit codes, and how a failure is told.
//!
//! Owns the table that every command's help shows, and the one line on stderr. Knows the core's kinds
//! of errors: who has to act decides the code.

use std::io::Write;
use std::process::ExitCode;
use transcode_core::{Error, ErrorKind};

/// The table, for `--help`.
macro_rules! exit_codes {
    () => {
        "\
Exit codes:
  0    done; also where the destination already holds this job's finished output
  2    the command line, the configuration, or a destination that holds something else
  3    the input is at fault: missing, not a video, damaged, cut short
  4    the store is at fault: no such bucket, not writable, wrong credentials, gone
  5    the machine, the platform, or output that failed its verification
  130  interrupted (Ctrl-C, SIGTERM)"
    };
}
pub(super) use exit_codes;

/// The exit code of a kind of failure.
pub(super) const fn code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Usage => 2,
        ErrorKind::Input => 3,
        ErrorKind::Store => 4,
        ErrorKind::Interrupted => 130,
        _ => 5,
    }
}

/// The error and its causes, outermost first, each on one line.
pub(super) fn chain(error: &Error) -> Vec<String> {
    let mut parts = vec![one_line(&error.to_string())];
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        parts.push(one_line(&cause.to_string()));
        next = cause.source();
    }
    parts
}

/// Tell the failure in one line on stderr, with what can be done next; the exit code.
pub(super) fn fail(error: &Error, hint: &str) -> ExitCode {
    // Whoever closed stderr does not want to know.
    let _closed = writeln!(std::io::stderr().lock(), "error: {}{hint}", chain(error).join(": "));
    ExitCode::from(code(error.kind()))
}

/// Parsers like to draw their errors over several lines.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use transcode_core::sink::SinkError;

    #[test]
    fn the_help_names_every_code_that_can_be_returned() {
        for kind in
            [ErrorKind::Usage, ErrorKind::Input, ErrorKind::Store, ErrorKind::Machine, ErrorKind::Interrupted]
        {
            let line = format!("\n  {:<5}", code(kind));
            assert!(exit_codes!().contains(&line), "{kind:?}");
        }
    }

    #[test]
    fn a_failure_is_one_line_with_its_causes_once() {
        let error = Error::Sink(SinkError::Refused {
            location: "s3://b/p".to_owned(),
            reason: "no such bucket\n  create it".to_owned(),
        });
        assert_eq!(
            chain(&error).join(": "),
            "the output cannot be stored: s3://b/p: no such bucket create it"
        );
    }
}
