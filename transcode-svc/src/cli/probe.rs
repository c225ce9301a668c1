//! `transcode probe`: what a video is.

use super::Context;
use super::args::Probe;
use super::output::to_stdout;
use crate::engine::platforms::{self, SOFTWARE};
use transcode_core::Error;
use transcode_core::media::MediaInfo;

/// Say what a video is.
pub(super) fn probe(context: &Context, probe: &Probe) -> Result<(), Error> {
    // What it is does not depend on who decodes it: nothing is tried for that.
    let mut candidates = platforms::load(&probe.input.platform)?;
    candidates.retain(|candidate| !candidate.auto || candidate.platform.name == SOFTWARE);
    let info = context.look(&probe.input, candidates)?.info;
    if probe.input.json {
        to_stdout(&format!("{}\n", json(&info)?));
    } else {
        to_stdout(transcode_core::probe::describe(&info).trim_end());
        to_stdout("\n");
    }
    Ok(())
}

fn json(info: &MediaInfo) -> Result<String, Error> {
    serde_json::to_string(info)
        .map_err(|error| Error::Config { what: "--json".to_owned(), reason: error.to_string() })
}
