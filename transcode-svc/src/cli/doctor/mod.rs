//! `transcode doctor`: what this machine is good for.
//!
//! Owns the order of the examination and its one result, [`Findings`], which is shown as a table or
//! printed as JSON. Everything is found out elsewhere: what the system says by `machine`, what is
//! installed by a child, what works by trials.

mod findings;
mod table;

use super::Context;
use super::args::Doctor;
use super::output::to_stdout;
use crate::child::Session;
use crate::engine::platforms::{self, Candidate, SOFTWARE};
use crate::machine::trials::{self, Depth};
use crate::machine::{Devices, Health, Keeper, Key, Memory, now};
use findings::{Findings, MachineFindings, PlatformFindings, Registry, StoreFindings};
use std::io::IsTerminal;
use transcode_core::platform::Platform;
use transcode_core::{Error, trial};

/// Examine the machine, and tell.
pub(super) fn doctor(context: &Context, doctor: &Doctor) -> Result<(), Error> {
    let candidates = if doctor.platform.is_empty() {
        let all = platforms::every()?.into_iter();
        all.map(|platform| Candidate { platform, auto: true }).collect()
    } else {
        platforms::load(&doctor.platform)?
    };
    let store = match &doctor.store {
        Some(address) => {
            // An address that cannot be is the caller's; a store that does not answer is a finding.
            match context.stores()?.clock_skew(address) {
                Err(error @ Error::Config { .. }) => return Err(error),
                skew => Some(StoreFindings::new(address, skew)),
            }
        }
        None => None,
    };
    let child = context.children()?;
    let all: Vec<Platform> = candidates.iter().map(|candidate| candidate.platform.clone()).collect();
    let mut session = Session::start(&child, trial::speed_clip().source(), &context.cancel)?;
    let examined = session.examine(&all)?;
    drop(session);
    let (keeper, devices) = (Keeper::here(), Devices::here());
    let key = Key::here(&examined.gstreamer);
    let mut memory = keeper.recall(&key);
    if doctor.retry {
        forget(&all, &keeper, &key, &mut memory);
    }
    let mut found = Vec::new();
    for (platform, missing) in all.iter().zip(examined.missing) {
        let depth = if platform.name == SOFTWARE { Depth::Speed } else { Depth::Limits };
        let kept = memory.verdict(platform).filter(|verdict| verdict.depth >= depth).cloned();
        let (verdict, tried) = match kept {
            _ if !missing.is_empty() => (None, false),
            Some(verdict) => (Some(verdict), false),
            None => {
                let tell = |what: &str| progress(context, &platform.name, what);
                let verdict = trials::verdict(platform, depth, &child, &tell, &context.cancel)?;
                platforms::keep(&keeper, &key, &mut memory, platform, verdict.clone());
                (Some(verdict), true)
            }
        };
        let aside = memory.health.get(&platform.name).and_then(|health| health.aside(now()));
        found.push(PlatformFindings::new(platform, missing, verdict, tried, aside));
    }
    let findings = Findings::new(
        MachineFindings::here(&devices, &keeper),
        examined.gstreamer,
        Registry::new(&keeper, &devices),
        store,
        found,
    );
    if doctor.json {
        let text = serde_json::to_string_pretty(&findings)
            .map_err(|error| Error::Config { what: "--json".to_owned(), reason: error.to_string() })?;
        to_stdout(&format!("{text}\n"));
    } else {
        to_stdout(&table::table(&findings));
    }
    asked_for(doctor, &findings)
}

/// One line that is written over on a terminal; trials take a while.
fn progress(context: &Context, platform: &str, what: &str) {
    log::debug!("trial of {platform}: {what}");
    if std::io::stderr().is_terminal() && !context.quiet {
        eprint!("\r\x1b[Ktrying {platform}: {what} …\r");
    }
}

/// Whatever was found out before does not count.
fn forget(platforms: &[Platform], keeper: &Keeper, key: &Key, memory: &mut Memory) {
    let forget = |memory: &mut Memory| {
        for platform in platforms {
            memory.verdicts.remove(&platform.name);
            memory.health.insert(platform.name.clone(), Health::default());
        }
    };
    forget(memory);
    keeper.change(key, forget);
}

/// A platform that was asked for by name and does not work is a failure.
fn asked_for(doctor: &Doctor, findings: &Findings) -> Result<(), Error> {
    if doctor.platform.is_empty() || doctor.platform.iter().any(|name| name == "auto") {
        return Ok(());
    }
    let bad = findings.platforms.iter().find(|found| !found.passed);
    bad.map_or(Ok(()), |found| Err(Error::Platform { platform: found.name.clone(), reason: found.why_not() }))
}
