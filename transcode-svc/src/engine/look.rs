//! The look at a source that everything begins with: what it is, and which platforms may make it.

use super::Places;
use super::platforms::{self, Candidate, Chosen};
use crate::child::{Session, Settings};
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
pub(crate) struct Looked {
    /// What it is.
    pub(crate) info: MediaInfo,
    /// How this machine may do things, best first; never empty.
    pub(crate) platforms: Vec<Platform>,
    /// Platforms that would have come before, and why they do not.
    pub(crate) fallbacks: Vec<Fallback>,
    /// Under what circumstances things are found out here.
    pub(crate) key: Key,
    /// Where it is read.
    pub(crate) source: Arc<dyn Source>,
    /// The child.
    pub(crate) session: Session,
}

/// Open `input` and have a child look at it. The child stops when `cancel` is set.
pub(crate) fn look(
    places: &dyn Places,
    input: &str,
    child: &Settings,
    candidates: Vec<Candidate>,
    cancel: &Cancel,
) -> Result<Looked, Error> {
    let source: Arc<dyn Source> = places.source(input, cancel)?;
    let mut session = Session::start(child, source.clone(), cancel)?;
    let named = candidates.iter().filter(|candidate| !candidate.auto);
    let named: Vec<String> = named.map(|candidate| candidate.platform.name.clone()).collect();
    let (chosen, key, memory) = platforms::choose(candidates, &mut session, child, cancel)?;
    let Chosen { mut platforms, mut fallbacks } = chosen;
    let info = loop {
        match session.probe(&platforms[0]) {
            Ok(info) => break info,
            // A decoder that crashes says nothing about the next platform's.
            Err(error) if error.kind() == ErrorKind::Machine && platforms.len() > 1 => {
                let failed = platforms.remove(0);
                platforms::note_failure(&failed.name, &key);
                fallbacks.push(instead(&failed, &platforms[0], error.chain()));
                session = Session::start(child, source.clone(), cancel)?;
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
    pub(crate) fn plan(&mut self, spec: &JobSpec) -> Result<Plan, Error> {
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
