//! One MP4 of one rung, from the look at the segments to the stored object.
//!
//! Owns the order: published? read, lay out, write, count, look at what is stored. What is written
//! is counted against the job's report before the object becomes visible.

use super::aac::PRIMING;
use super::avc::Avc;
use super::compare::Comparing;
use super::header::{AUDIO, Clocks, Head, Pictures, Sound, VIDEO};
use super::job::FinishedJob;
use super::ordered::in_order;
use super::samples::{Coded, Samples, samples};
use super::tables::{self, Run, Tables};
use super::{Format, Packaged, Progress, Request, Step, aac, fragmented, progressive};
use crate::cancel::Cancel;
use crate::error::Error;
use crate::plan::{AudioRung, Rung};
use crate::run::SegmentRow;
use crate::segment::AudioFormat;
use crate::sink::{Created, ObjectKind, ObjectWriter, SinkError, StreamSink, Writing};
use crate::units::{FrameRate, MediaTime, SegmentIndex};

/// Make the MP4 that is asked for of a finished job, and store it in `to`.
///
/// Blocks until it is stored. Where it is there already and is what these segments make, nothing is
/// written. `progress` is called on this thread after each segment.
///
/// # Errors
/// - [`Error::Config`] where the job has no such rung, [`Error::Sink`] (a conflict) where something
///   else is stored under the key and it is not to be replaced;
/// - [`Error::Input`] where the rung is not published, a segment is missing, damaged or foreign, or
///   made by an encoder with other parameters than the first;
/// - [`Error::Sink`] where a segment cannot be read or the MP4 not stored;
/// - [`Error::Verification`] where what was written is not what the report says;
/// - [`Error::Interrupted`] soon after `cancel` is set.
pub fn package(
    job: &FinishedJob,
    request: &Request,
    to: &dyn StreamSink,
    progress: &(dyn Fn(Progress) + Sync),
    cancel: &Cancel,
) -> Result<Packaged, Error> {
    let (rung, rows) = job.rung(&request.rung)?;
    job.is_published(rung, rows, cancel)?;
    let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    let making = Making { job, rung, rows, count, request, to, progress, cancel };
    let done = match request.format {
        Format::Progressive => making.progressive(),
        Format::Fragmented => making.fragmented(),
    };
    // Whatever broke while somebody asked to stop broke because of that.
    done.map_err(|error| if cancel.is_cancelled() { Error::Interrupted } else { error })
}

/// What all steps need.
struct Making<'a> {
    job: &'a FinishedJob,
    rung: &'a Rung,
    rows: &'a [SegmentRow],
    count: u32,
    request: &'a Request,
    to: &'a dyn StreamSink,
    progress: &'a (dyn Fn(Progress) + Sync),
    cancel: &'a Cancel,
}

/// What was written.
#[derive(Debug, Default)]
struct Written {
    bytes: u64,
    pictures: u64,
    packets: u64,
    delay: u32,
}

/// Counts what goes through.
struct Counting<'a> {
    writer: Box<dyn ObjectWriter + 'a>,
    bytes: u64,
}

impl Counting<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.bytes += bytes.len() as u64;
        self.writer.write(bytes)
    }
}

impl Making<'_> {
    fn gop(&self) -> u32 {
        self.rung.video.as_ref().map_or(1, |video| video.gop.max(1))
    }

    fn bad(&self, at: usize, reason: &str) -> Error {
        self.job.bad_segment(&self.rung.name, index(at), reason)
    }

    /// Read a segment and take it apart.
    fn segment(&self, at: usize) -> Result<Samples, Error> {
        let bytes = self.job.segment(&self.rung.name, index(at), self.cancel)?;
        samples(&bytes, self.job.plan(), &self.rung.name, &self.rows[at])
            .map_err(|reason| self.bad(at, &reason))
    }

    fn tell(&self, step: Step, at: usize, bytes: u64) {
        let segments = u32::try_from(at + 1).unwrap_or(u32::MAX);
        (self.progress)(Progress { step, segments, of: self.count, bytes });
    }

    fn head<'h>(&'h self, avc: Option<&'h Avc>, format: Option<AudioFormat>, written: &Written) -> Head<'h> {
        Head {
            clocks: Clocks::new(self.job.plan(), self.rung),
            video: avc.map(|avc| Pictures { avc, count: written.pictures, delay: written.delay }),
            audio: format.zip(self.rung.audio.as_ref()).map(|(format, rung)| Sound {
                format,
                rung,
                count: written.packets,
                priming: if self.request.format == Format::Progressive { PRIMING } else { 0 },
            }),
        }
    }

    /// Two passes: tables, then bytes.
    fn progressive(&self) -> Result<Packaged, Error> {
        let plan = self.job.plan();
        let mut tables = Tables::new(plan, self.rung, self.count);
        let sizes = |at| {
            let mut samples = self.segment(at)?;
            samples.video.data = Vec::new();
            samples.audio.data = Vec::new();
            Ok(samples)
        };
        in_order(self.rows.len(), sizes, |at, samples: Samples| {
            tables.add(index(at), &samples).map_err(|reason| self.bad(at, &reason))?;
            self.tell(Step::Read, at, 0);
            Ok(())
        })?;
        let mut written = Written {
            bytes: 0,
            pictures: tables.pictures.len() as u64,
            packets: tables.packets.len() as u64,
            delay: tables.delay(),
        };
        let head = self.head(tables.avc.as_ref(), tables.format, &written);
        let layout = progressive::layout(&head, &tables, self.gop());
        let layout = layout.map_err(|reason| Error::Config { what: self.request.key.clone(), reason })?;
        written.bytes = layout.total;
        self.check(&written, &head)?;
        let priming = tables.format.map(|format| aac::silence(format.channels)).unwrap_or_default();
        let found = self.store(layout.total, Some(layout.total), |step, out| {
            out.write(&layout.head)?;
            in_order(
                self.rows.len(),
                |at| self.segment(at),
                |at, samples: Samples| {
                    self.write_runs(at, &tables, &samples, &priming, out)?;
                    self.tell(step, at, out.bytes);
                    Ok(())
                },
            )?;
            Ok(())
        })?;
        self.packaged(&written, &head, found)
    }

    /// A segment's samples in the order of the file.
    fn write_runs(
        &self,
        at: usize,
        tables: &Tables<'_>,
        samples: &Samples,
        priming: &[u8],
        out: &mut Counting<'_>,
    ) -> Result<(), Error> {
        let changed = || self.bad(at, "it changed while it was read");
        let (mut pictures, mut packets) = (Rest::of(&samples.video), Rest::of(&samples.audio));
        for (number, Run { video, audio }) in tables.runs(index(at)).enumerate() {
            out.write(pictures.take(&tables.pictures, &video).ok_or_else(changed)?)?;
            if at == 0 && number == 0 {
                out.write(priming)?;
            }
            out.write(packets.take(&tables.packets, &audio).ok_or_else(changed)?)?;
        }
        if pictures.is_empty() && packets.is_empty() { Ok(()) } else { Err(changed()) }
    }

    /// One pass. The header says what the first segment does; every other one must agree.
    fn fragmented(&self) -> Result<Packaged, Error> {
        let plan = self.job.plan();
        let rate = plan.timeline.rate;
        let slots = u64::try_from(rate.nearest(self.job.report().duration)).unwrap_or(0);
        let first = self.segment(0)?;
        // What the report says; counted below.
        let packets = match (&self.rung.video, &self.rung.audio) {
            (Some(_), Some(audio)) => audio.packets_before(&plan.timeline, slots),
            (None, Some(_)) => slots,
            (_, None) => 0,
        };
        let foreseen = Written {
            bytes: 0,
            pictures: self.rung.video.as_ref().map_or(0, |_| slots),
            packets,
            delay: tables::delay(&first.shifts),
        };
        let head = self.head(first.avc.as_ref(), first.format, &foreseen);
        let about = self.rows.iter().filter_map(|row| row.bytes).sum();
        let mut written = Written::default();
        let found = self.store(about, None, |step, out| {
            written = Written { delay: foreseen.delay, ..Written::default() };
            let mut entries = Vec::with_capacity(self.rows.len());
            out.write(&fragmented::header(&head))?;
            in_order(
                self.rows.len(),
                |at| self.segment(at),
                |at, samples: Samples| {
                    tables::fits(plan, self.rung, index(at), self.count, &samples)
                        .and_then(|()| tables::same_encoder(&first.avc, &samples))
                        .map_err(|reason| self.bad(at, &reason))?;
                    entries.push(self.write_fragment(at, &samples, &head, &mut written, out)?);
                    self.tell(step, at, out.bytes);
                    Ok(())
                },
            )?;
            let track = if head.video.is_some() { VIDEO } else { AUDIO };
            out.write(&fragmented::index(track, &entries))?;
            written.bytes = out.bytes;
            self.check(&written, &head)
        })?;
        self.packaged(&written, &head, found)
    }

    /// A segment as a fragment; its entry in the index.
    fn write_fragment(
        &self,
        at: usize,
        samples: &Samples,
        head: &Head<'_>,
        written: &mut Written,
        out: &mut Counting<'_>,
    ) -> Result<(u64, u64), Error> {
        let place = fragmented::Place {
            sequence: u32::try_from(at + 1).unwrap_or(u32::MAX),
            picture: written.pictures,
            packet: written.packets,
            gop: self.gop(),
            delay: written.delay,
        };
        let time = match &head.video {
            Some(_) => place.picture * u64::from(head.clocks.picture),
            None => place.packet * u64::from(AudioRung::PACKET),
        };
        let entry = (time, out.bytes);
        out.write(&fragmented::fragment(samples, place, head.clocks))?;
        out.write(&samples.video.data)?;
        out.write(&samples.audio.data)?;
        written.pictures += samples.video.sizes.len() as u64;
        written.packets += samples.audio.sizes.len() as u64;
        Ok(entry)
    }

    /// Have `write` write the object, or, where it is there, compare; says whether it was there.
    fn store(
        &self,
        about: u64,
        exactly: Option<u64>,
        mut write: impl FnMut(Step, &mut Counting<'_>) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        let (to, key, cancel) = (self.to, self.request.key.as_str(), self.cancel);
        let replace = self.request.overwrite;
        let mut there = !replace && to.read_at(key, 0, &mut [0], cancel)?.is_some();
        loop {
            let step = if there { Step::Compare } else { Step::Write };
            let writer: Box<dyn ObjectWriter + '_> = if there {
                let size = to.size_of(key, cancel)?;
                if let Some((size, exactly)) = size.zip(exactly).filter(|(size, exactly)| size != exactly) {
                    let reason = format!("it has {size} bytes, these segments make {exactly}");
                    return Err(Comparing::new(to, key, cancel).conflict(&reason).into());
                }
                Box::new(Comparing::new(to, key, cancel))
            } else {
                let writing = if replace { Writing::Replace } else { Writing::Once };
                to.begin(key, ObjectKind::Movie, about, writing, cancel)?
            };
            let mut out = Counting { writer, bytes: 0 };
            write(step, &mut out)?;
            let bytes = out.bytes;
            match out.writer.finish()? {
                // Somebody else made it at the same time: it has to be the same.
                Created::Existed if !there => there = true,
                Created::Existed => return Ok(true),
                Created::New => {
                    let stored = to.size_of(key, cancel)?.filter(|stored| *stored != bytes);
                    return match stored {
                        Some(stored) => Err(Error::Verification {
                            reason: format!("{bytes} bytes of {key} were written, {stored} are stored"),
                        }),
                        None => Ok(false),
                    };
                }
            }
        }
    }

    /// What was counted against the job's report: pictures, packets, lengths, and how far sound and
    /// picture end apart.
    fn check(&self, written: &Written, head: &Head<'_>) -> Result<(), Error> {
        let plan = self.job.plan();
        let rate = plan.timeline.rate;
        let wrong =
            |reason: String| Err(Error::Verification { reason: format!("{}: {reason}", self.request.key) });
        let reported = self.job.report().duration;
        let slots = if self.rung.video.is_some() { written.pictures } else { written.packets };
        if rate.time_of(slots) != reported {
            return wrong(format!("{slots} slots last {}, the report says {reported}", rate.time_of(slots)));
        }
        if let (Some(audio), Some(_)) = (&self.rung.audio, &self.rung.video) {
            let planned = audio.packets_before(&plan.timeline, slots);
            let free_end = plan.timeline.open_ended || plan.allow_truncated;
            if written.packets > planned || (written.packets < planned && !free_end) {
                return wrong(format!("{} of {planned} audio packets are there", written.packets));
            }
        }
        let shown = duration(head);
        if shown < reported {
            return wrong(format!("it lasts {shown}, the report says {reported}"));
        }
        Ok(())
    }

    fn packaged(&self, written: &Written, head: &Head<'_>, found: bool) -> Result<Packaged, Error> {
        let place = self.to.location();
        Ok(Packaged {
            rung: self.rung.name.clone(),
            format: self.request.format,
            location: format!("{}/{}", place.trim_end_matches('/'), self.request.key),
            found,
            bytes: written.bytes,
            duration: duration(head),
            segments: self.count,
            pictures: written.pictures,
            audio_packets: written.packets,
            reordering_delay: written.delay,
            priming: head.audio.as_ref().map_or(0, |audio| audio.priming),
        })
    }
}

/// How long the longer track is shown.
fn duration(head: &Head<'_>) -> MediaTime {
    let movie = FrameRate::new(head.clocks.movie, 1);
    movie.map_or(MediaTime::ZERO, |movie| movie.time_of(head.duration()))
}

fn index(at: usize) -> SegmentIndex {
    SegmentIndex(u32::try_from(at).unwrap_or(u32::MAX))
}

/// Samples that are not written yet.
struct Rest<'a> {
    coded: &'a Coded,
    samples: usize,
    bytes: usize,
}

impl<'a> Rest<'a> {
    fn of(coded: &'a Coded) -> Self {
        Self { coded, samples: 0, bytes: 0 }
    }

    /// The next ones, which must have the sizes that the tables have.
    fn take(&mut self, table: &[u32], range: &std::ops::Range<u64>) -> Option<&'a [u8]> {
        let at = |place: u64| usize::try_from(place).ok();
        let expected = table.get(at(range.start)?..at(range.end)?)?;
        let behind = self.samples + expected.len();
        if self.coded.sizes.get(self.samples..behind)? != expected {
            return None;
        }
        let bytes = self.bytes + expected.iter().map(|size| *size as usize).sum::<usize>();
        let taken = self.coded.data.get(self.bytes..bytes)?;
        (self.samples, self.bytes) = (behind, bytes);
        Some(taken)
    }

    fn is_empty(&self) -> bool {
        self.samples == self.coded.sizes.len()
    }
}
