//! What a destination already holds of a plan.
//!
//! State is the plan and what is stored: this file looks, it changes nothing. Segments are created
//! whole or not at all, so what a playlist of this plan names and the store confirms is done. A
//! store that tells no sizes (keys that allow GET and PUT only) is taken at its playlists' word.

use super::report::{JobReport, Origin, SegmentRow};
use crate::cancel::Cancel;
use crate::error::Error;
use crate::plan::{Chunk, Plan, keys};
use crate::playlist;
use crate::sink::{Sink, SinkError};
use crate::units::{MediaTime, SegmentIndex};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Questions to the store that are under way at once: a two-hour ladder has some 5,000 segments, a
/// store answers in some 20 ms.
const AT_ONCE: usize = 16;

/// By rung: the segments that are there, from 0 without a gap.
pub(super) type Rows = BTreeMap<String, Vec<SegmentRow>>;

/// What is stored of a job whose `plan.json` is there.
#[derive(Debug)]
pub(super) enum Found {
    /// These segments, and `chunk` is to be made; never empty.
    Unfinished { rows: Rows, chunk: Chunk },
    /// A job that passed its verification, all of whose segments are there.
    Verified(Box<JobReport>),
}

/// Look at what is stored under the plan's keys.
pub(super) fn look(plan: &Plan, sink: &dyn Sink, cancel: &Cancel) -> Result<Found, Error> {
    // The plan was read a moment ago: a store that does not know its size tells no sizes.
    let tells = sink.size_of(keys::PLAN, cancel)?.is_some();
    let report = sink.read(keys::REPORT, cancel)?.and_then(|bytes| JobReport::read(&bytes, plan));
    let Some(report) = report else {
        let mut rows = Rows::new();
        for rung in &plan.rungs {
            rows.insert(rung.name.clone(), named(plan, &rung.name, sink, cancel)?);
        }
        if tells {
            confirm(plan, &mut rows, sink, cancel)?;
        }
        let chunk = missing(plan, &rows, thumbnail_is_missing(plan, tells, sink, cancel)?);
        return Ok(Found::Unfinished { rows, chunk });
    };
    let mut rows: Rows = report.rungs.iter().map(|rung| (rung.rung.clone(), rung.segments.clone())).collect();
    if tells {
        let all = |rows: &Rows| rows.values().map(Vec::len).sum::<usize>();
        let before = all(&rows);
        confirm(plan, &mut rows, sink, cancel)?;
        if all(&rows) < before {
            rows.values_mut().flatten().for_each(|row| row.origin = Origin::Resumed);
            let chunk = missing(plan, &rows, false);
            return Ok(Found::Unfinished { rows, chunk });
        }
    }
    Ok(Found::Verified(Box::new(report)))
}

/// The segments that a rung's stored playlist names, as far as they are this plan's.
fn named(plan: &Plan, rung: &str, sink: &dyn Sink, cancel: &Cancel) -> Result<Vec<SegmentRow>, Error> {
    let Some(bytes) = sink.read(&plan.playlist_key(rung), cancel)? else { return Ok(Vec::new()) };
    let listed = std::str::from_utf8(&bytes).ok().and_then(|text| playlist::read_media(text).ok());
    let listed = listed.unwrap_or_default();
    let free_end = plan.timeline.open_ended || plan.allow_truncated;
    let mut rows = Vec::new();
    for (index, (uri, told)) in (0u32..plan.timeline.segment_count()).zip(&listed) {
        let index = SegmentIndex(index);
        let planned = plan.timeline.length(index);
        // Playlists round to the microsecond or so; a slot is never shorter than a millisecond.
        let (shorter, longer) = (planned - *told, *told - planned);
        let as_planned = shorter.max(longer) < MediaTime::new(1, 1_000).unwrap_or(MediaTime::ZERO);
        let cut = free_end && rows.len() + 1 == listed.len() && shorter > MediaTime::ZERO;
        if !is_of(plan, rung, index, uri) || !(as_planned || cut) {
            break;
        }
        let duration = if as_planned { planned } else { *told };
        rows.push(SegmentRow { index, duration, bytes: None, crc32: None, origin: Origin::Resumed });
    }
    Ok(rows)
}

/// Whether a playlist's address (relative to the playlist) is that of a segment's key.
fn is_of(plan: &Plan, rung: &str, index: SegmentIndex, uri: &str) -> bool {
    let key = plan.segment_key(rung, index);
    let folder = plan.playlist_key(rung);
    let folder = folder.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    key == format!("{folder}{uri}")
}

/// Ask the store for every segment's size: what is not there, or of another size than known, and
/// everything behind it, is taken off the list.
fn confirm(plan: &Plan, rows: &mut Rows, sink: &dyn Sink, cancel: &Cancel) -> Result<(), Error> {
    for (rung, rows) in rows.iter_mut() {
        let all: Vec<String> = rows.iter().map(|row| plan.segment_key(rung, row.index)).collect();
        let sizes = each(&all, |key| sink.size_of(key, cancel))?;
        let good = |(row, size): &(&mut SegmentRow, Option<u64>)| {
            size.is_some_and(|size| size > 0 && row.bytes.is_none_or(|known| known == size))
        };
        let confirmed =
            rows.iter_mut().zip(sizes).take_while(good).map(|(row, size)| row.bytes = size).count();
        rows.truncate(confirmed);
    }
    Ok(())
}

/// What is to be made: all rungs from the smallest missing number on. Never nothing: where all
/// segments are there and no report says that they were verified, the last is made once more, for
/// the sake of the figures about the end of the source.
fn missing(plan: &Plan, rows: &Rows, thumbnail: bool) -> Chunk {
    let whole = plan.whole();
    let there = rows.values().map(Vec::len).min().unwrap_or(0);
    let there = u32::try_from(there).unwrap_or(0).min(whole.end.0);
    let free_end = plan.timeline.open_ended || plan.allow_truncated;
    // Where the plan does not know the end, the last segment that is there may be the last of all.
    let mut first = if there == whole.end.0 || free_end { there.saturating_sub(1) } else { there };
    if let (Some(wanted), true) = (&plan.thumbnail, thumbnail) {
        first = first.min(plan.timeline.segment_of(wanted.frame).0);
    }
    Chunk { first: SegmentIndex(first), ..whole }
}

fn thumbnail_is_missing(plan: &Plan, tells: bool, sink: &dyn Sink, cancel: &Cancel) -> Result<bool, Error> {
    if plan.thumbnail.is_none() {
        return Ok(false);
    }
    if tells {
        return Ok(sink.size_of(keys::THUMBNAIL, cancel)?.is_none());
    }
    Ok(sink.read(keys::THUMBNAIL, cancel)?.is_none())
}

/// Put one question to the store for each key, several at once; the answers in the keys' order.
pub(super) fn each<T: Send + Default + Clone>(
    all: &[String],
    ask: impl Fn(&str) -> Result<T, SinkError> + Sync,
) -> Result<Vec<T>, Error> {
    let answers = Mutex::new(vec![T::default(); all.len()]);
    let failed: Mutex<Option<SinkError>> = Mutex::new(None);
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(key) = all.get(at) else { return };
            match ask(key) {
                Ok(answer) => {
                    if let Some(place) = answers.lock().unwrap_or_else(PoisonError::into_inner).get_mut(at) {
                        *place = answer;
                    }
                }
                Err(error) => {
                    failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    next.store(all.len(), Ordering::Relaxed);
                    return;
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..AT_ONCE.min(all.len()) {
            scope.spawn(work);
        }
        work();
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error.into()),
        None => Ok(answers.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}
