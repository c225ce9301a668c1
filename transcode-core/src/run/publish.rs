//! Who writes playlists, and in which order, so that a crash anywhere leaves a destination that
//! plays and that the next attempt can finish.
//!
//! Owns everything under a destination but the segments and the preview picture. The order:
//!
//! 1. `plan.json`, created once: from here on the destination belongs to this plan.
//! 2. Media playlists (EVENT) as segments are stored, naming only what is stored without a gap in
//!    every rung, each with its size and checksum; the master when there is a first segment.
//! 3. The verification, then `report.json`: the proof that only publishing is left.
//! 4. Media playlists (VOD), then the master with measured bit rates, last of all.
//!
//! Every step may be repeated. [`Publisher::open`] finds out which is the next. Chunks may finish in
//! any order; playlists grow in order. A second publisher at the same destination does no harm: a
//! playlist is never replaced by a shorter one, nor a finished one by one that still grows.

use super::destination::{clear, discard, refuse_other_plan, refuse_strangers};
use super::report::{JobReport, SegmentRow};
use super::resume::{Found, Looked, Rows, look, look_again};
use super::verify;
use crate::cancel::Cancel;
use crate::error::Error;
use crate::event::{ChunkReport, Event, Fallback, SegmentFacts};
use crate::plan::{Chunk, Plan, keys};
use crate::playlist::{self, Checked, Entry, State};
use crate::sink::{Created, ObjectKind, Sink};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Warnings kept for the report; a damaged file can give one a picture.
const WARNINGS: usize = 100;

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

/// Writes the playlists and documents of one job.
pub struct Publisher {
    plan: Plan,
    sink: Arc<dyn Sink>,
    cancel: Cancel,
    missing: Vec<Chunk>,
    /// Every segment that is stored.
    stored: Rows,
    /// By rung: how many segments its stored playlist names.
    named: BTreeMap<String, usize>,
    /// The master is there, or somebody else has finished.
    master: bool,
    warnings: Vec<String>,
    fallbacks: Vec<Fallback>,
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
                    let missing = plan.chunks.clone();
                    return Ok(Opened::Fresh(Self::new(plan, sink, cancel, missing, Rows::new())));
                }
                // Somebody was faster by a moment.
                Created::Existed => stored = sink.read(keys::PLAN, cancel)?,
            }
        }
        refuse_other_plan(&plan, stored.as_deref().unwrap_or_default(), &*sink)?;
        match look(&plan, &*sink, cancel)? {
            Found::Unfinished(Looked { rows, missing, named, warnings }) => {
                let mut publisher = Self::new(plan, sink, cancel, missing, rows);
                publisher.warnings = warnings;
                publisher.restore(named)?;
                Ok(Opened::Resume(publisher))
            }
            Found::Verified(report) => {
                publish_finished(&plan, &report, &*sink, cancel, true)?;
                Ok(Opened::Finished(report))
            }
        }
    }

    fn new(plan: Plan, sink: Arc<dyn Sink>, cancel: &Cancel, missing: Vec<Chunk>, resumed: Rows) -> Self {
        let mut stored = resumed;
        let named = plan.rungs.iter().map(|rung| (rung.name.clone(), 0)).collect();
        for rung in &plan.rungs {
            stored.entry(rung.name.clone()).or_default();
        }
        let (warnings, fallbacks, cancel) = (Vec::new(), Vec::new(), cancel.clone());
        Self { plan, sink, cancel, missing, stored, named, master: false, warnings, fallbacks }
    }

    /// The plan whose output this is.
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What is to be made, in order, each within one of the plan's chunks: every segment that some
    /// rung lacks, of all rungs. Never empty.
    pub fn missing(&self) -> &[Chunk] {
        &self.missing
    }

    /// What has been found wrong so far, here and in the events.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
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
                rows.insert(facts.index.0, SegmentRow::of(facts));
            }
            Event::Warning { text } if self.warnings.len() < WARNINGS && !self.warnings.contains(text) => {
                self.warnings.push(text.clone());
            }
            Event::Fallback(fallback) if self.fallbacks.len() < WARNINGS => {
                self.fallbacks.push(fallback.clone());
            }
            _ => {}
        }
    }

    /// Segments that every rung has, from 0 without a gap. All playlists grow together, so that a
    /// discontinuity stands at the same place in each.
    fn common(&self) -> usize {
        self.stored.values().map(whole).min().unwrap_or(0)
    }

    /// Write the playlists that are behind, and the master when there is a first segment.
    ///
    /// # Errors
    /// [`Error::Sink`]; the next call tries again.
    pub fn publish(&mut self) -> Result<(), Error> {
        let common = self.common();
        let behind: Vec<String> =
            self.named.iter().filter(|(_, named)| **named < common).map(|(rung, _)| rung.clone()).collect();
        for rung in behind {
            let others = self.stored_playlist(&rung)?;
            match others {
                Others::Finished => self.master = true,
                Others::Named(count) if count >= common => {}
                Others::Named(_) => {
                    let text = self.event_playlist(&rung, common);
                    self.replace(&self.plan.playlist_key(&rung), ObjectKind::LivePlaylist, &text)?;
                }
            }
            self.named.insert(rung, common);
        }
        if !self.master && common > 0 {
            self.replace(keys::MASTER, ObjectKind::LivePlaylist, &playlist::master(&self.plan, None))?;
            self.master = true;
        }
        Ok(())
    }

    /// Verify what the runs counted, together with what was there; then publish it as finished.
    ///
    /// # Errors
    /// [`Error::Verification`] with the figures, or [`Error::Input`] where the source was cut short:
    /// the EVENT playlists stay as they are. [`Error::Sink`]: call again, or open again.
    pub fn finish(&mut self, reports: &[ChunkReport]) -> Result<JobReport, Error> {
        let report = self.verify(reports)?;
        self.publish_finished(&report)?;
        Ok(report)
    }

    /// The first half of [`finish`](Self::finish): the proof. Whoever must ask for the right to publish asks
    /// between the two.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn verify(&mut self, reports: &[ChunkReport]) -> Result<JobReport, Error> {
        let rows = |rows: &BTreeMap<u32, SegmentRow>| rows.values().cloned().collect();
        let there = self.stored.iter().map(|(rung, there)| (rung.clone(), rows(there))).collect();
        let verified = verify::verify(&self.plan, reports, &there)?;
        let first = self.missing.first().map_or(self.plan.whole().end, |run| run.first);
        let mut report = JobReport::new(&self.plan, reports, verified, first, self.warnings.clone());
        report.fallbacks.clone_from(&self.fallbacks);
        self.replace(keys::REPORT, ObjectKind::Document, &report.to_json())?;
        Ok(report)
    }

    /// The second half: the media playlists as finished ones, the master last. May be repeated.
    ///
    /// # Errors
    /// [`Error::Sink`]: call again, or open again.
    pub fn publish_finished(&self, report: &JobReport) -> Result<(), Error> {
        publish_finished(&self.plan, report, &*self.sink, &self.cancel, false)
    }

    /// What somebody else has stored of a run meanwhile, and what of it is still to be made: asked
    /// right before a run begins, so that what one has made the other adopts.
    ///
    /// # Errors
    /// [`Error::Sink`], [`Error::Interrupted`].
    pub fn look_again(
        plan: &Plan,
        run: &Chunk,
        sink: &dyn Sink,
        cancel: &Cancel,
    ) -> Result<(Vec<SegmentFacts>, Vec<Chunk>), Error> {
        look_again(plan, run, sink, cancel)
    }

    fn event_playlist(&self, rung: &str, count: usize) -> String {
        let breaks = discontinuities(self.stored.values().map(|rows| rows.values()));
        let rows = self.stored.get(rung).map(BTreeMap::values).into_iter().flatten();
        let entries: Vec<Entry> = rows.take(count).map(|row| entry(row, &breaks)).collect();
        playlist::media(&self.plan, rung, &entries, State::Event)
    }

    /// What stands in the store under a playlist's key.
    fn stored_playlist(&self, rung: &str) -> Result<Others, Error> {
        let bytes = self.sink.read(&self.plan.playlist_key(rung), &self.cancel)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        Ok(match playlist::read_media(&text) {
            Ok(_) if text.ends_with("#EXT-X-ENDLIST\n") => Others::Finished,
            Ok(named) => Others::Named(named.len()),
            Err(_) => Others::Named(0),
        })
    }

    fn replace(&self, key: &str, kind: ObjectKind, text: &str) -> Result<(), Error> {
        Ok(self.sink.replace(key, kind, text.as_bytes(), &self.cancel)?)
    }

    /// Bring stored playlists in line with what is really there: an attempt that broke off may have
    /// stored more than it named, and somebody may have removed or damaged segments. `named` are the
    /// playlists that name good segments only.
    fn restore(&mut self, named: BTreeMap<String, usize>) -> Result<(), Error> {
        let common = self.common();
        // A report on segments that are not all there any more proves nothing.
        discard(keys::REPORT, ObjectKind::Document, &*self.sink, &self.cancel)?;
        if common == 0 {
            discard(keys::MASTER, ObjectKind::LivePlaylist, &*self.sink, &self.cancel)?;
        }
        for rung in &self.plan.rungs {
            let key = self.plan.playlist_key(&rung.name);
            // What is named stays named: a playlist only grows (RFC 8216 §6.2.1).
            if let Some(count) = named.get(&rung.name).filter(|count| **count > 0) {
                let as_found = self.event_playlist(&rung.name, *count);
                let stored = self.sink.read(&key, &self.cancel)?;
                if stored.as_deref() != Some(as_found.as_bytes()) {
                    self.replace(&key, ObjectKind::LivePlaylist, &as_found)?;
                }
                self.named.insert(rung.name.clone(), *count);
            } else if common == 0 {
                discard(&key, ObjectKind::LivePlaylist, &*self.sink, &self.cancel)?;
            } else {
                self.replace(&key, ObjectKind::LivePlaylist, &self.event_playlist(&rung.name, common))?;
                self.named.insert(rung.name.clone(), common);
            }
        }
        self.publish()
    }
}

/// What a stored playlist is.
enum Others {
    /// Somebody has finished the job.
    Finished,
    /// It names so many segments.
    Named(usize),
}

/// How many segments there are from 0 without a gap.
fn whole(rows: &BTreeMap<u32, SegmentRow>) -> usize {
    rows.keys().zip(0u32..).take_while(|(index, expected)| *index == expected).count()
}

/// The numbers of the segments where, in any rung, the parameter sets are others than right before.
fn discontinuities<'a, Rung: Iterator<Item = &'a SegmentRow>>(
    rungs: impl Iterator<Item = Rung>,
) -> BTreeSet<u32> {
    let mut breaks = BTreeSet::new();
    for rows in rungs {
        let mut before: Option<(u32, u32)> = None;
        for row in rows {
            let Some(sets) = row.parameter_sets else { continue };
            if before.is_some_and(|(index, other)| index + 1 == row.index.0 && other != sets) {
                breaks.insert(row.index.0);
            }
            before = Some((row.index.0, sets));
        }
    }
    breaks
}

fn entry(row: &SegmentRow, breaks: &BTreeSet<u32>) -> Entry {
    let parameter_sets = row.parameter_sets;
    let checked = row.bytes.zip(row.crc32).map(|(bytes, crc32)| Checked { bytes, crc32, parameter_sets });
    Entry { duration: row.duration, discontinuity: breaks.contains(&row.index.0), checked }
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
    let breaks = discontinuities(report.rungs.iter().map(|rung| rung.segments.iter()));
    for rung in &report.rungs {
        let entries: Vec<Entry> = rung.segments.iter().map(|row| entry(row, &breaks)).collect();
        store(&plan.playlist_key(&rung.rung), &playlist::media(plan, &rung.rung, &entries, State::Vod))?;
    }
    store(keys::MASTER, &playlist::master(plan, Some(&report.bandwidths())))
}

/// Runs that touch, as one: for those who make one after the other anyway. A graph over all of them
/// costs one start and makes the same segments.
pub fn joined(runs: &[Chunk]) -> Vec<Chunk> {
    let mut all: Vec<Chunk> = Vec::new();
    for run in runs {
        match all.last_mut().filter(|last| last.end == run.first) {
            Some(last) => last.end = run.end,
            None => all.push(run.clone()),
        }
    }
    all
}
