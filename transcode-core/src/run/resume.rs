//! What a destination already holds of a plan.
//!
//! State is the plan and what is stored: this file looks, it changes nothing. Segments are created
//! whole or not at all. A segment that an EVENT playlist of this plan names is known by the size and
//! checksum that stand beside it there; one that is stored and not named (made behind a gap, or right
//! before a crash) is read back and held against the plan. What is of another size, damaged or
//! foreign counts as missing, and that is said. A store that tells no sizes (keys that allow GET and
//! PUT only, in front of a store that hides HEAD too) is taken at its playlists' word.

use super::report::{JobReport, Origin, SegmentRow};
use crate::cancel::Cancel;
use crate::error::Error;
use crate::event::SegmentFacts;
use crate::plan::{Chunk, Plan, keys};
use crate::playlist::{self, Checked, Entry};
use crate::segment;
use crate::sink::{Sink, SinkError};
use crate::units::{MediaTime, SegmentIndex};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Questions to the store that are under way at once: a two-hour ladder has some 5,000 segments, a
/// store answers in some 20 ms.
const AT_ONCE: usize = 16;

/// Bytes of named segments whose checksum is looked at, the newest first; those before are known by
/// their size alone. Reading back a two-hour ladder would take a thin line longer than its encode.
const READ_BACK: u64 = 1 << 30;

/// Segments of a rung that may be stored and not yet named where the plan does not know the end:
/// those on the wire and those that wait for a rung that is behind, many times over.
pub(super) const UNNAMED: u32 = 64;

/// By rung and number: the segments that are there.
pub(super) type Rows = BTreeMap<String, BTreeMap<u32, SegmentRow>>;

/// What is stored of a job whose `plan.json` is there.
#[derive(Debug)]
pub(super) enum Found {
    /// A part, or all of it without a verification.
    Unfinished(Looked),
    /// A job that passed its verification, all of whose segments are there.
    Verified(Box<JobReport>),
}

/// An unfinished destination.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) rows: Rows,
    /// What is to be made, in order; never empty.
    pub(super) missing: Vec<Chunk>,
    /// By rung: how many segments its playlist names, all of which are good; absent where some of
    /// them are not.
    pub(super) named: BTreeMap<String, usize>,
    /// What was found damaged.
    pub(super) warnings: Vec<String>,
}

/// Look at what is stored under the plan's keys.
pub(super) fn look(plan: &Plan, sink: &dyn Sink, cancel: &Cancel) -> Result<Found, Error> {
    let sizes = Sizes::of(sink, cancel)?;
    let report = sink.read(keys::REPORT, cancel)?.and_then(|bytes| JobReport::read(&bytes, plan));
    if let Some(report) = report {
        let (rows, warnings) = confirm(plan, &report, &sizes)?;
        let there: usize = rows.values().map(BTreeMap::len).sum();
        if there == report.rungs.iter().map(|rung| rung.segments.len()).sum::<usize>() {
            return Ok(Found::Verified(Box::new(report)));
        }
        let missing = missing(plan, &rows, false);
        return Ok(Found::Unfinished(Looked { rows, missing, named: BTreeMap::new(), warnings }));
    }
    let mut looked =
        Looked { rows: Rows::new(), missing: Vec::new(), named: BTreeMap::new(), warnings: Vec::new() };
    for rung in &plan.rungs {
        rung_of(plan, &rung.name, &sizes, &mut looked)?;
    }
    looked.missing = missing(plan, &looked.rows, thumbnail_is_missing(plan, &sizes)?);
    Ok(Found::Unfinished(looked))
}

/// The segments of a run that somebody else has stored meanwhile, and what of it is still to be made.
pub(super) fn look_again(
    plan: &Plan,
    chunk: &Chunk,
    sink: &dyn Sink,
    cancel: &Cancel,
) -> Result<(Vec<SegmentFacts>, Vec<Chunk>), Error> {
    let places = |rung: &crate::plan::Rung| {
        chunk.segments().map(SegmentIndex).map(|index| Place::new(plan, &rung.name, index, None)).collect()
    };
    let places: Vec<Vec<Place>> = plan.rungs.iter().map(places).collect();
    let mut found = Vec::new();
    let mut rows = Rows::new();
    for places in &places {
        let all: Vec<String> = places.iter().map(|place| place.key.clone()).collect();
        let sizes = each(&all, |key| sink.size_of(key, cancel))?;
        let there: Vec<&Place> =
            places.iter().zip(sizes).filter(|(_, size)| size.is_some()).map(|(place, _)| place).collect();
        for (_, read) in read_back(plan, &there, sink, cancel)? {
            // What is damaged is made again, and said then.
            if let Ok(Some(facts)) = read {
                let row = SegmentRow { origin: Origin::Adopted, ..SegmentRow::of(&facts) };
                rows.entry(facts.rung.clone()).or_default().insert(facts.index.0, row);
                found.push(SegmentFacts { adopted: true, ..facts });
            }
        }
    }
    let lacks = |index: &u32| {
        plan.rungs.iter().any(|rung| rows.get(&rung.name).is_none_or(|rows| !rows.contains_key(index)))
    };
    let wanted: BTreeSet<u32> = chunk.segments().filter(lacks).collect();
    Ok((found, runs(std::slice::from_ref(chunk), &wanted)))
}

/// What the store says of its objects' sizes.
struct Sizes<'a> {
    sink: &'a dyn Sink,
    cancel: &'a Cancel,
    /// All of them, where these credentials may list.
    listed: Option<BTreeMap<String, u64>>,
    /// It tells sizes at all.
    tells: bool,
}

impl<'a> Sizes<'a> {
    /// For a destination whose plan was read a moment ago: a store that does not know its size tells
    /// no sizes.
    fn of(sink: &'a dyn Sink, cancel: &'a Cancel) -> Result<Self, Error> {
        let listed = sink.list(cancel)?.filter(|listed| listed.contains_key(keys::PLAN));
        let tells = listed.is_some() || sink.size_of(keys::PLAN, cancel)?.is_some();
        Ok(Self { sink, cancel, listed, tells })
    }

    fn get(&self, all: &[String]) -> Result<Vec<Option<u64>>, Error> {
        match &self.listed {
            Some(listed) => Ok(all.iter().map(|key| listed.get(key).copied()).collect()),
            None => each(all, |key| self.sink.size_of(key, self.cancel)),
        }
    }
}

/// Where a segment belongs, and what is known of it.
#[derive(Clone)]
struct Place {
    key: String,
    rung: String,
    index: SegmentIndex,
    named: Option<Entry>,
}

impl Place {
    fn new(plan: &Plan, rung: &str, index: SegmentIndex, named: Option<Entry>) -> Self {
        Self { key: plan.segment_key(rung, index), rung: rung.to_owned(), index, named }
    }

    fn checked(&self) -> Option<Checked> {
        self.named.and_then(|entry| entry.checked)
    }

    /// The row of a named segment, as its playlist has it.
    fn row(&self, bytes: Option<u64>) -> SegmentRow {
        let checked = self.checked();
        SegmentRow {
            index: self.index,
            duration: self.named.map_or(MediaTime::ZERO, |entry| entry.duration),
            bytes: bytes.or(checked.map(|checked| checked.bytes)),
            crc32: checked.map(|checked| checked.crc32),
            parameter_sets: checked.and_then(|checked| checked.parameter_sets),
            origin: Origin::Resumed,
        }
    }
}

/// What is there of one rung.
fn rung_of(plan: &Plan, rung: &str, sizes: &Sizes<'_>, into: &mut Looked) -> Result<(), Error> {
    let named = named(plan, rung, sizes.sink, sizes.cancel)?;
    let mut rows = BTreeMap::new();
    if !sizes.tells {
        rows.extend(named.iter().map(|place| (place.index.0, place.row(None))));
        into.named.insert(rung.to_owned(), named.len());
        into.rows.insert(rung.to_owned(), rows);
        return Ok(());
    }
    let mut places = named.clone();
    let first = u32::try_from(places.len()).unwrap_or(u32::MAX);
    let count = plan.timeline.segment_count();
    let end = if plan.timeline.open_ended { first.saturating_add(UNNAMED).min(count) } else { count };
    places.extend((first..end).map(|index| Place::new(plan, rung, SegmentIndex(index), None)));
    let all: Vec<String> = places.iter().map(|place| place.key.clone()).collect();
    let there = sizes.get(&all)?;

    let (mut bad, mut budget) = (Vec::new(), READ_BACK);
    let mut to_read = Vec::new();
    for (place, size) in places.iter().zip(there).rev() {
        let damaged = |what: String| format!("{}: {what}; it is made again", place.key);
        match (size, place.checked()) {
            (None | Some(0), _) if place.named.is_some() => {
                bad.push(damaged("it is not there any more".into()))
            }
            (None | Some(0), _) => {}
            (Some(size), Some(checked)) if size != checked.bytes => {
                bad.push(damaged(format!("it has {size} bytes, it was stored with {}", checked.bytes)));
            }
            (Some(size), Some(_)) if budget < size => {
                budget = 0;
                rows.insert(place.index.0, place.row(Some(size)));
            }
            (Some(size), Some(_)) => {
                budget -= size;
                to_read.push(place);
            }
            (Some(_), None) => to_read.push(place),
        }
    }
    for (place, read) in read_back(plan, &to_read, sizes.sink, sizes.cancel)? {
        match read {
            Ok(facts) => {
                let row = facts.map_or_else(|| place.row(None), |facts| SegmentRow::of(&facts));
                rows.insert(place.index.0, SegmentRow { origin: Origin::Resumed, ..row });
            }
            Err(reason) => bad.push(format!("{}: {reason}; it is made again", place.key)),
        }
    }
    if named.iter().all(|place| rows.contains_key(&place.index.0)) {
        into.named.insert(rung.to_owned(), named.len());
    }
    bad.sort();
    into.warnings.append(&mut bad);
    into.rows.insert(rung.to_owned(), rows);
    Ok(())
}

/// What reading a segment back told: what is in it (nothing where it is as was written down), or what
/// is wrong with it.
type Read = Result<Option<SegmentFacts>, String>;

/// Read segments back and hold each against what was written down of it, or against the plan.
fn read_back<'p>(
    plan: &Plan,
    places: &[&'p Place],
    sink: &dyn Sink,
    cancel: &Cancel,
) -> Result<Vec<(&'p Place, Read)>, Error> {
    let by_key: BTreeMap<&str, &Place> = places.iter().map(|place| (place.key.as_str(), *place)).collect();
    let all: Vec<String> = places.iter().map(|place| place.key.clone()).collect();
    let read = each(&all, |key| {
        let Some(place) = by_key.get(key) else { return Ok(None) };
        let Some(bytes) = sink.read(key, cancel)? else {
            return Ok(Some(Err("it is not there any more".to_owned())));
        };
        if let Some(checked) = place.checked() {
            let found = segment::crc32(&bytes);
            return Ok(Some(if found == checked.crc32 {
                Ok(None)
            } else {
                Err(format!("its checksum is {found:08x}, it was stored with {:08x}", checked.crc32))
            }));
        }
        let facts = segment::facts(&bytes, plan, &place.rung, place.index);
        Ok(Some(facts.map(Some).map_err(|error| format!("it is not this plan's segment ({error})"))))
    })?;
    Ok(places.iter().copied().zip(read).filter_map(|(place, read)| Some((place, read?))).collect())
}

/// The segments that a rung's stored playlist names, as far as they are this plan's.
fn named(plan: &Plan, rung: &str, sink: &dyn Sink, cancel: &Cancel) -> Result<Vec<Place>, Error> {
    let Some(bytes) = sink.read(&plan.playlist_key(rung), cancel)? else { return Ok(Vec::new()) };
    let listed = std::str::from_utf8(&bytes).ok().and_then(|text| playlist::read_media(text).ok());
    let listed = listed.unwrap_or_default();
    let free_end = plan.timeline.open_ended || plan.allow_truncated;
    let mut places = Vec::new();
    for (index, (uri, entry)) in (0u32..plan.timeline.segment_count()).zip(&listed) {
        let index = SegmentIndex(index);
        let (planned, told) = (plan.timeline.length(index), entry.duration);
        // Playlists round to the microsecond or so; a slot is never shorter than a millisecond.
        let (shorter, longer) = (planned - told, told - planned);
        let as_planned = shorter.max(longer) < MediaTime::new(1, 1_000).unwrap_or(MediaTime::ZERO);
        let cut = free_end && places.len() + 1 == listed.len() && shorter > MediaTime::ZERO;
        if !is_of(plan, rung, index, uri) || !(as_planned || cut) {
            break;
        }
        let duration = if as_planned { planned } else { told };
        places.push(Place::new(plan, rung, index, Some(Entry { duration, ..*entry })));
    }
    Ok(places)
}

/// Whether a playlist's address is that of a segment.
fn is_of(plan: &Plan, rung: &str, index: SegmentIndex, uri: &str) -> bool {
    let playlist = plan.playlist_key(rung);
    let folder = playlist.rsplit_once('/').map_or("", |(folder, _)| folder);
    uri == plan.address(folder, &plan.segment_key(rung, index))
}

/// The segments of a verified job that are still there, with the size that they had.
fn confirm(plan: &Plan, report: &JobReport, sizes: &Sizes<'_>) -> Result<(Rows, Vec<String>), Error> {
    let (mut rows, mut warnings) = (Rows::new(), Vec::new());
    for rung in &report.rungs {
        let all: Vec<String> =
            rung.segments.iter().map(|row| plan.segment_key(&rung.rung, row.index)).collect();
        let there = if sizes.tells { Some(sizes.get(&all)?) } else { None };
        let mut kept = BTreeMap::new();
        for (at, row) in rung.segments.iter().enumerate() {
            let mut row = SegmentRow { origin: Origin::Resumed, ..row.clone() };
            if let Some(size) = there.as_ref().map(|there| there.get(at).copied().flatten()) {
                let known = row.bytes;
                if size.is_none_or(|size| size == 0 || known.is_some_and(|known| known != size)) {
                    let (key, size) = (&all[at], size.unwrap_or(0));
                    let known = known.map_or_else(String::new, |known| format!(" of {known}"));
                    warnings.push(format!("{key}: {size}{known} bytes are there; it is made again"));
                    continue;
                }
                row.bytes = size;
            }
            kept.insert(row.index.0, row);
        }
        rows.insert(rung.rung.clone(), kept);
    }
    Ok((rows, warnings))
}

/// What is to be made: every segment that some rung lacks, of all rungs. Never nothing: where all
/// segments are there and no report says that they were verified, the last is made once more, for
/// the sake of the figures about the end of the source.
fn missing(plan: &Plan, rows: &Rows, thumbnail: bool) -> Vec<Chunk> {
    let whole = plan.whole();
    let lacks = |index: &u32| {
        plan.rungs.iter().any(|rung| rows.get(&rung.name).is_none_or(|rows| !rows.contains_key(index)))
    };
    let wanted_for_thumbnail =
        plan.thumbnail.as_ref().filter(|_| thumbnail).map(|wanted| plan.timeline.segment_of(wanted.frame).0);
    if plan.timeline.open_ended || plan.allow_truncated {
        // Where the plan does not know the end, the last segment that is there may be the last of all.
        let there = whole.segments().take_while(|index| !lacks(index)).count();
        let first = u32::try_from(there).unwrap_or(0).saturating_sub(1);
        let first = wanted_for_thumbnail.map_or(first, |wanted| wanted.min(first));
        return vec![Chunk { first: SegmentIndex(first), ..whole }];
    }
    let mut wanted: BTreeSet<u32> = whole.segments().filter(lacks).collect();
    wanted.extend(wanted_for_thumbnail);
    if wanted.is_empty() {
        wanted.extend(whole.end.0.checked_sub(1));
    }
    runs(&plan.chunks, &wanted)
}

/// Runs of wanted segments within each chunk, in order.
fn runs(chunks: &[Chunk], wanted: &BTreeSet<u32>) -> Vec<Chunk> {
    let mut runs: Vec<Chunk> = Vec::new();
    for chunk in chunks {
        for index in wanted.range(chunk.segments()) {
            match runs.last_mut().filter(|run| run.index == chunk.index && run.end.0 == *index) {
                Some(run) => run.end = SegmentIndex(index + 1),
                None => runs.push(Chunk {
                    index: chunk.index,
                    first: SegmentIndex(*index),
                    end: SegmentIndex(index + 1),
                }),
            }
        }
    }
    runs
}

fn thumbnail_is_missing(plan: &Plan, sizes: &Sizes<'_>) -> Result<bool, Error> {
    if plan.thumbnail.is_none() {
        return Ok(false);
    }
    if sizes.tells {
        return Ok(sizes.get(&[keys::THUMBNAIL.to_owned()])?.iter().all(Option::is_none));
    }
    Ok(sizes.sink.read(keys::THUMBNAIL, sizes.cancel)?.is_none())
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
