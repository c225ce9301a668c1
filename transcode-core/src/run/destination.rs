//! Whose a destination is: taking it for a plan, refusing another's, clearing it.
//!
//! A destination belongs to the plan that is stored there. Nothing is ever mixed: what another plan
//! left is refused with the difference, or removed as a whole first.

use super::resume::{UNNAMED, each};
use crate::cancel::Cancel;
use crate::error::Error;
use crate::plan::{Plan, keys};
use crate::sink::{ObjectKind, Sink, SinkError};
use crate::units::SegmentIndex;
use std::collections::BTreeSet;

/// Differences named when a destination holds another plan.
const DIFFERENCES: usize = 3;

/// Somebody else's objects under our keys.
pub(super) fn refuse_strangers(plan: &Plan, sink: &dyn Sink, cancel: &Cancel) -> Result<(), Error> {
    match stranger(plan, sink, cancel)? {
        Some(key) => Err(Error::Occupied {
            location: sink.location(),
            reason: format!(
                "{key} is there without a plan.json; choose another destination, or give --overwrite \
                 to replace it"
            ),
        }),
        None => Ok(()),
    }
}

/// The first of our keys that is taken, `plan.json` aside.
fn stranger(plan: &Plan, sink: &dyn Sink, cancel: &Cancel) -> Result<Option<String>, Error> {
    let playlists = plan.rungs.iter().map(|rung| plan.playlist_key(&rung.name));
    for key in std::iter::once(keys::MASTER.to_owned()).chain(playlists) {
        if sink.read(&key, cancel)?.is_some() {
            return Ok(Some(key));
        }
    }
    for rung in &plan.rungs {
        let key = plan.segment_key(&rung.name, SegmentIndex(0));
        if sink.size_of(&key, cancel)?.is_some() {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

pub(super) fn refuse_other_plan(plan: &Plan, stored: &[u8], sink: &dyn Sink) -> Result<(), Error> {
    let advice = "choose another destination, or give --overwrite to replace it";
    let occupied =
        |what: String| Error::Occupied { location: sink.location(), reason: format!("{what}; {advice}") };
    let stored = Plan::from_json(stored)
        .map_err(|error| occupied(format!("its plan.json cannot be used ({})", error.chain())))?;
    if stored == *plan {
        return Ok(());
    }
    let mut differences = stored.differences(plan);
    // What a person must know first: another source; last: what the report makes of it.
    differences.sort_by_key(|difference| match difference.path.split('.').next() {
        Some("source") => 0,
        Some("report") => 2,
        _ => 1,
    });
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
    let mut named: Vec<String> = differences
        .iter()
        .take(DIFFERENCES)
        .map(|difference| {
            format!(
                "{} is {} there and {} here",
                difference.path,
                text(&difference.left),
                text(&difference.right)
            )
        })
        .collect();
    if differences.len() > DIFFERENCES {
        named.push(format!("and {} more differ", differences.len() - DIFFERENCES));
    }
    Err(occupied(format!("the output of another job ({})", named.join(", "))))
}

/// Remove another job's output: first what players load, last `plan.json`, so that a half-cleared
/// destination still says whose it was. Segments go from the last to the first, so that those that a
/// half-cleared destination still has begin at 0.
pub(super) fn clear(
    plan: &Plan,
    stored: Option<&[u8]>,
    sink: &dyn Sink,
    cancel: &Cancel,
) -> Result<(), Error> {
    let other = stored.and_then(|bytes| Plan::from_json(bytes).ok());
    if stored.is_none() && stranger(plan, sink, cancel)?.is_none() {
        return Ok(());
    }
    let rungs: Vec<(&Plan, &str)> = other
        .iter()
        .chain([plan])
        .flat_map(|plan| plan.rungs.iter().map(move |rung| (plan, rung.name.as_str())))
        .collect();
    let mut segments = BTreeSet::new();
    for (plan, rung) in &rungs {
        let end = known_end(plan, rung, sink, cancel)?;
        segments.extend((0..end).map(|index| plan.segment_key(rung, SegmentIndex(index))));
    }
    let remove = |all: Vec<String>| each(&all, |key| sink.remove(key, cancel)).map(drop);
    remove(vec![keys::MASTER.to_owned()])?;
    let playlists: BTreeSet<String> = rungs.iter().map(|(plan, rung)| plan.playlist_key(rung)).collect();
    remove(playlists.into_iter().collect())?;
    remove(vec![keys::REPORT.to_owned()])?;
    // What was packaged of the segments goes before them.
    let movies: BTreeSet<String> = rungs.iter().flat_map(|(_, rung)| Plan::movie_keys(rung)).collect();
    remove(movies.into_iter().collect())?;
    remove(segments.into_iter().rev().collect())?;
    remove(vec![keys::THUMBNAIL.to_owned()])?;
    remove(vec![keys::PLAN.to_owned()])
}

/// The end of a rung's segments that may be there. A timeline with an open end has a bound that no
/// source reaches: what counts there is what was expected, what is named, and what the store tells.
fn known_end(plan: &Plan, rung: &str, sink: &dyn Sink, cancel: &Cancel) -> Result<u32, Error> {
    let count = plan.timeline.segment_count();
    if !plan.timeline.open_ended {
        return Ok(count);
    }
    let text = sink.read(&plan.playlist_key(rung), cancel)?.unwrap_or_default();
    let named = String::from_utf8_lossy(&text).lines().filter(|line| line.ends_with(".ts")).count();
    let named = u32::try_from(named).unwrap_or(count).max(plan.timeline.expected_segments().unwrap_or(0));
    let mut end = named.saturating_add(UNNAMED).min(count);
    while end < count {
        let further = end..end.saturating_add(UNNAMED).min(count);
        let all: Vec<String> =
            further.clone().map(|index| plan.segment_key(rung, SegmentIndex(index))).collect();
        if each(&all, |key| sink.size_of(key, cancel))?.iter().all(Option::is_none) {
            break;
        }
        end = further.end;
    }
    Ok(end)
}

/// Remove a document of ours. Some keys may GET and PUT only: what they may not remove is emptied.
pub(super) fn discard(key: &str, kind: ObjectKind, sink: &dyn Sink, cancel: &Cancel) -> Result<(), Error> {
    if sink.read(key, cancel)?.is_none_or(|bytes| bytes.is_empty()) {
        return Ok(());
    }
    match sink.remove(key, cancel) {
        Err(SinkError::Refused { .. }) => Ok(sink.replace(key, kind, b"", cancel)?),
        other => Ok(other?),
    }
}
