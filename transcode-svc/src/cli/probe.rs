//! `transcode probe`, and the look at a source that the other commands begin with.

use super::Context;
use super::args::{Input, Probe};
use super::output::to_stdout;
use super::platforms::{self, Candidate, Chosen, SOFTWARE};
use crate::child::Session;
use crate::machine::Key;
use std::sync::Arc;
use transcode_core::event::Fallback;
use transcode_core::media::MediaInfo;
use transcode_core::plan::Plan;
use transcode_core::platform::Platform;
use transcode_core::source::Source;
use transcode_core::spec::JobSpec;
use transcode_core::{Cancel, Error, ErrorKind};

/// A source that was looked at, and the child that did, ready for more.
pub(super) struct Looked {
    /// What it is.
    pub(super) info: MediaInfo,
    /// How this machine may do things, best first; never empty.
    pub(super) platforms: Vec<Platform>,
    /// Platforms that would have come before, and why they do not.
    pub(super) fallbacks: Vec<Fallback>,
    /// Under what circumstances things are found out here.
    pub(super) key: Key,
    /// Where it is read.
    pub(super) source: Arc<dyn Source>,
    /// The child.
    pub(super) session: Session,
}

/// Open the input and have a child look at it. The child stops when `cancel` is set.
pub(super) fn look(context: &Context, input: &Input, cancel: &Cancel) -> Result<Looked, Error> {
    look_with(context, input, platforms::load(&input.platform)?, cancel)
}

fn look_with(
    context: &Context,
    input: &Input,
    candidates: Vec<Candidate>,
    cancel: &Cancel,
) -> Result<Looked, Error> {
    let source: Arc<dyn Source> = context.stores()?.open_source(&input.input, cancel)?;
    let child = context.child(input)?;
    let mut session = Session::start(&child, source.clone(), cancel)?;
    let named = candidates.iter().filter(|candidate| !candidate.auto);
    let named: Vec<String> = named.map(|candidate| candidate.platform.name.clone()).collect();
    let (chosen, key, memory) = platforms::choose(candidates, &mut session, &child, cancel)?;
    let Chosen { mut platforms, mut fallbacks } = chosen;
    let info = loop {
        match session.probe(&platforms[0]) {
            Ok(info) => break info,
            // A decoder that crashes says nothing about the next platform's.
            Err(error) if error.kind() == ErrorKind::Machine && platforms.len() > 1 => {
                let failed = platforms.remove(0);
                platforms::note_failure(&failed.name, &key);
                fallbacks.push(instead(&failed, &platforms[0], error.chain()));
                session = Session::start(&child, source.clone(), cancel)?;
            }
            Err(error) => return Err(error),
        }
    };
    // A trial may have shown that it cannot do this kind of source.
    let codec = info.video.first().map(|track| track.codec.clone());
    let against = |platform: &Platform| {
        let verdict = memory.verdict(platform).filter(|_| !named.contains(&platform.name))?;
        Some(verdict.against(codec.as_deref()?)?.to_owned())
    };
    while let Some(why) = against(&platforms[0]).filter(|_| platforms.len() > 1) {
        let failed = platforms.remove(0);
        fallbacks.push(instead(&failed, &platforms[0], format!("its trial of such sources failed: {why}")));
    }
    Ok(Looked { info, platforms, fallbacks, key, source, session })
}

fn instead(from: &Platform, to: &Platform, why: String) -> Fallback {
    Fallback { from: from.name.clone(), to: to.name.clone(), why, segment: None }
}

impl Looked {
    /// The plan, for the first platform that it can be made on; the platforms that cannot make it are
    /// left out.
    pub(super) fn plan(&mut self, spec: &JobSpec) -> Result<Plan, Error> {
        let (mut plan, mut kept, mut failed) = (None, Vec::new(), Vec::new());
        for platform in std::mem::take(&mut self.platforms) {
            match transcode_core::plan::plan(&self.info, spec, &platform) {
                Ok(planned) => {
                    plan.get_or_insert(planned);
                    kept.push(platform);
                }
                Err(error) => {
                    failed.push((platform, error, plan.is_none()));
                }
            }
        }
        self.platforms = kept;
        let Some(plan) = plan else {
            // The last one can do the most.
            return Err(failed.pop().map_or(Error::Interrupted, |(_, error, _)| error));
        };
        let to = &self.platforms[0];
        let before = failed.iter().filter(|(_, _, before)| *before);
        self.fallbacks.extend(before.map(|(from, error, _)| instead(from, to, error.chain())));
        Ok(plan)
    }
}

/// Say what a video is.
pub(super) fn probe(context: &Context, probe: &Probe) -> Result<(), Error> {
    // What it is does not depend on who decodes it: nothing is tried for that.
    let mut candidates = platforms::load(&probe.input.platform)?;
    candidates.retain(|candidate| !candidate.auto || candidate.platform.name == SOFTWARE);
    let info = look_with(context, &probe.input, candidates, &context.cancel)?.info;
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
