//! The `transcode` binary: the command line of `transcode-svc`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    transcode_svc::cli::main()
}
