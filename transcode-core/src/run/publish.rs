//! Who writes playlists, and in which order, so that a crash anywhere leaves a destination that
//! plays and that the next attempt can finish.
//!
//! Owns everything under a destination but the segments and the preview picture. The order:
//!
//! 1. `plan.json`, created once: from here on the destination belongs to this plan.
//! 2. Media playlists (EVENT) as segments are stored, naming only what is stored; the master when
//!    every rung has its first segment.
//! 3. The verification, then `report.json`: the proof that only publishing is left.
//! 4. Media playlists (VOD), then the master with measured bit rates, last of all.
//!
//! Every step may be repeated. [`Publisher::open`] finds out which is the next.

use super::report::{JobReport, SegmentRow};
use super::resume::{Found, Rows, each, look};
use super::verify;
use crate::cancel::Cancel;
use crate::error::Error;
use crate::event::{ChunkReport, Event};
use crate::plan::{Chunk, Plan, keys};
use crate::playlist::{self, State};
use crate::sink::{Created, ObjectKind, Sink};
use crate::units::{MediaTime, SegmentIndex};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Differences named when a destination holds another plan.
const DIFFERENCES: usize = 3;

/// Warnings kept for the report; a damaged file can give one a picture.
const WARNINGS: usize = 100;

/// Segments of a rung that may be stored and not yet named: those on the wire and those that wait
/// for a rung that is behind, many times over.
const UNNAMED: u32 = 64;

/// What [`Publisher::open`] found.
#[derive(Debug)]
pub enum Opened {
    /// Nothing was there; everything is to be made.
    Fresh(Publisher),
    /// A part of this plan's output is there; [`Publisher::missing`] says what is to be made.
    Resume(Publisher),
    /// This plan's output is there, whole and verified. What was left to publish was published.
    Finished(Box<JobReport>),
}

/// Writes the playlists and documents of one job. One at a time for a destination.
pub struct Publisher {
    plan: Plan,
    sink: Arc<dyn Sink>,
    cancel: Cancel,
    missing: Chunk,
    /// What an earlier attempt left, by rung.
    resumed: Rows,
    /// Every segment that is stored, by rung and number.
    stored: BTreeMap<String, BTreeMap<u32, SegmentRow>>,
    /// Rungs whose stored playlist is behind.
    behind: BTreeSet<String>,
    /// The master names all rungs already.
    master: bool,
    warnings: Vec<String>,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Publisher");
        out.field("location", &self.sink.location()).field("missing", &self.missing).finish_non_exhaustive()
    }
}

impl Publisher {
    /// Take a destination for a plan, or find out what is left to do there.
    ///
    /// `overwrite` removes another job's output first: the master and the playlists, so that nobody
    /// plays a mixture, then everything else that its plan names. It also makes a finished job anew.
    ///
    /// # Errors
    /// [`Error::Occupied`] where the destination holds something else and `overwrite` is not set,
    /// [`Error::Sink`] where it cannot be read or written, [`Error::Interrupted`].
    pub fn open(plan: Plan, sink: Arc<dyn Sink>, overwrite: bool, cancel: &Cancel) -> Result<Opened, Error> {
        let mut stored = sink.read(keys::PLAN, cancel)?;
        if overwrite {
            clear(&plan, stored.as_deref(), &*sink, cancel)?;
            stored = None;
        } else if stored.is_none() {
            refuse_strangers(&plan, &*sink, cancel)?;
        }
        if stored.is_none() {
            let text = plan.to_json();
            match sink.create(keys::PLAN, ObjectKind::Document, text.as_bytes(), cancel)? {
                Created::New => {
                    let missing = plan.whole();
                    let resumed = Rows::new();
                    return Ok(Opened::Fresh(Self::new(plan, sink, cancel, missing, resumed)));
                }
                // Somebody was faster by a moment.
                Created::Existed => stored = sink.read(keys::PLAN, cancel)?,
            }
        }
        refuse_other_plan(&plan, stored.as_deref().unwrap_or_default(), &*sink)?;
        match look(&plan, &*sink, cancel)? {
            Found::Unfinished { rows, chunk } => {
                let mut publisher = Self::new(plan, sink, cancel, chunk, rows);
                publisher.restore()?;
                Ok(Opened::Resume(publisher))
            }
            Found::Verified(report) => {
                publish_finished(&plan, &report, &*sink, cancel, true)?;
                Ok(Opened::Finished(report))
            }
        }
    }

    fn new(plan: Plan, sink: Arc<dyn Sink>, cancel: &Cancel, missing: Chunk, resumed: Rows) -> Self {
        let by_number = |rung: &crate::plan::Rung| {
            let rows = resumed.get(&rung.name).map(Vec::as_slice).unwrap_or_default();
            (rung.name.clone(), rows.iter().map(|row| (row.index.0, row.clone())).collect())
        };
        let stored = plan.rungs.iter().map(by_number).collect();
        Self {
            plan,
            sink,
            cancel: cancel.clone(),
            missing,
            resumed,
            stored,
            behind: BTreeSet::new(),
            master: false,
            warnings: Vec::new(),
        }
    }

    /// The plan whose output this is.
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What is to be made: all rungs from the smallest missing segment on. Never empty.
    pub fn missing(&self) -> Chunk {
        self.missing.clone()
    }

    /// Take note of an event of a run, and publish what it makes playable.
    ///
    /// # Errors
    /// [`Error::Sink`]; the next call tries again.
    pub fn on_event(&mut self, event: &Event) -> Result<(), Error> {
        self.note(event);
        self.publish()
    }

    /// Take note of an event without writing anything: for those who gather what comes while a slow
    /// store still writes, and call [`Self::publish`] once for all of it.
    pub fn note(&mut self, event: &Event) {
        match event {
            Event::Segment(facts) => {
                let Some(rows) = self.stored.get_mut(&facts.rung) else { return };
                let before = whole(rows);
                rows.insert(facts.index.0, SegmentRow::of(facts));
                if whole(rows) > before {
                    self.behind.insert(facts.rung.clone());
                }
            }
            Event::Warning { text } if self.warnings.len() < WARNINGS && !self.warnings.contains(text) => {
                self.warnings.push(text.clone());
            }
            _ => {}
        }
    }

    /// Write the playlists that are behind, and the master when every rung has its first segment.
    ///
    /// # Errors
    /// [`Error::Sink`]; the next call tries again.
    pub fn publish(&mut self) -> Result<(), Error> {
        while let Some(rung) = self.behind.first().cloned() {
            let text = self.event_playlist(&rung);
            self.replace(&self.plan.playlist_key(&rung), ObjectKind::LivePlaylist, &text)?;
            self.behind.remove(&rung);
        }
        if !self.master && self.stored.values().all(|rows| whole(rows) > 0) {
            self.replace(keys::MASTER, ObjectKind::LivePlaylist, &playlist::master(&self.plan, None))?;
            self.master = true;
        }
        Ok(())
    }

    /// Verify what the runs of the missing chunk counted, together with what was there; then publish
    /// it as finished.
    ///
    /// # Errors
    /// [`Error::Verification`] with the figures, or [`Error::Input`] where the source was cut short:
    /// the EVENT playlists stay as they are. [`Error::Sink`]: call again, or open again.
    pub fn finish(&mut self, reports: &[ChunkReport]) -> Result<JobReport, Error> {
        let verified = verify::verify(&self.plan, reports, &self.resumed)?;
        let warnings = std::mem::take(&mut self.warnings);
        let report = JobReport::new(&self.plan, reports, verified, self.missing.first, warnings.clone());
        self.warnings = warnings;
        self.replace(keys::REPORT, ObjectKind::Document, &report.to_json())?;
        publish_finished(&self.plan, &report, &*self.sink, &self.cancel, false)?;
        Ok(report)
    }

    fn event_playlist(&self, rung: &str) -> String {
        let rows = self.stored.get(rung);
        let durations: Vec<MediaTime> = rows.map(run_of).unwrap_or_default();
        playlist::media(&self.plan, rung, &durations, State::Event)
    }

    fn replace(&self, key: &str, kind: ObjectKind, text: &str) -> Result<(), Error> {
        Ok(self.sink.replace(key, kind, text.as_bytes(), &self.cancel)?)
    }

    /// Bring stored playlists in line with what is really there: an attempt that broke off may have
    /// stored more than it named, and somebody may have removed segments.
    fn restore(&mut self) -> Result<(), Error> {
        // A report on segments that are not all there any more proves nothing.
        self.sink.remove(keys::REPORT, &self.cancel)?;
        if self.stored.values().any(|rows| whole(rows) == 0) {
            self.sink.remove(keys::MASTER, &self.cancel)?;
        }
        for rung in &self.plan.rungs {
            let key = self.plan.playlist_key(&rung.name);
            if self.stored.get(&rung.name).is_none_or(BTreeMap::is_empty) {
                self.sink.remove(&key, &self.cancel)?;
                continue;
            }
            let text = self.event_playlist(&rung.name);
            if self.sink.read(&key, &self.cancel)?.as_deref() != Some(text.as_bytes()) {
                self.replace(&key, ObjectKind::LivePlaylist, &text)?;
            }
        }
        self.publish()
    }
}

/// How many segments there are from 0 without a gap.
fn whole(rows: &BTreeMap<u32, SegmentRow>) -> usize {
    rows.keys().zip(0u32..).take_while(|(index, expected)| *index == expected).count()
}

/// The lengths of the segments from 0 without a gap.
fn run_of(rows: &BTreeMap<u32, SegmentRow>) -> Vec<MediaTime> {
    rows.values().take(whole(rows)).map(|row| row.duration).collect()
}

/// The last step; `compare` leaves alone what is there already.
fn publish_finished(
    plan: &Plan,
    report: &JobReport,
    sink: &dyn Sink,
    cancel: &Cancel,
    compare: bool,
) -> Result<(), Error> {
    let store = |key: &str, text: &str| -> Result<(), Error> {
        if compare && sink.read(key, cancel)?.as_deref() == Some(text.as_bytes()) {
            return Ok(());
        }
        Ok(sink.replace(key, ObjectKind::FinalPlaylist, text.as_bytes(), cancel)?)
    };
    for rung in &report.rungs {
        let durations: Vec<MediaTime> = rung.segments.iter().map(|row| row.duration).collect();
        store(&plan.playlist_key(&rung.rung), &playlist::media(plan, &rung.rung, &durations, State::Vod))?;
    }
    store(keys::MASTER, &playlist::master(plan, Some(&report.bandwidths())))
}

/// Somebody else's objects under our keys.
fn refuse_strangers(plan: &Plan, sink: &dyn Sink, cancel: &Cancel) -> Result<(), Error> {
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

fn refuse_other_plan(plan: &Plan, stored: &[u8], sink: &dyn Sink) -> Result<(), Error> {
    let advice = "choose another destination, or give --overwrite to replace it";
    let occupied =
        |what: String| Error::Occupied { location: sink.location(), reason: format!("{what}; {advice}") };
    let stored = Plan::from_json(stored)
        .map_err(|error| occupied(format!("its plan.json cannot be used ({})", error.chain())))?;
    if stored == *plan {
        return Ok(());
    }
    let differences = stored.differences(plan);
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
fn clear(plan: &Plan, stored: Option<&[u8]>, sink: &dyn Sink, cancel: &Cancel) -> Result<(), Error> {
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
