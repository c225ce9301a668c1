//! `transcode probe`, and the look at a source that the other commands begin with.

use super::args::{Input, Probe};
use super::output::to_stdout;
use super::{Context, platforms};
use crate::child::Session;
use std::sync::Arc;
use transcode_core::media::MediaInfo;
use transcode_core::platform::Platform;
use transcode_core::source::Source;
use transcode_core::{Cancel, Error};

/// A source that was looked at, and the child that did, ready for more.
pub(super) struct Looked {
    /// What it is.
    pub(super) info: MediaInfo,
    /// How this machine does things.
    pub(super) platform: Platform,
    /// Where it is read.
    pub(super) source: Arc<dyn Source>,
    /// The child.
    pub(super) session: Session,
}

/// Open the input and have a child look at it. The child stops when `cancel` is set.
pub(super) fn look(context: &Context, input: &Input, cancel: &Cancel) -> Result<Looked, Error> {
    let platform = platforms::first(&input.platform)?;
    let source: Arc<dyn Source> = context.stores()?.open_source(&input.input, cancel)?;
    let mut session = Session::start(&context.child(input)?, source.clone(), cancel)?;
    let info = session.probe(&platform)?;
    Ok(Looked { info, platform, source, session })
}

/// Say what a video is.
pub(super) fn probe(context: &Context, probe: &Probe) -> Result<(), Error> {
    let info = look(context, &probe.input, &context.cancel)?.info;
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
