//! One piece: packets in, a Matroska file out.
//!
//! Owns the small pipeline that writes it. Matroska takes every codec that we decode; its clock is set to
//! ticks of 0.1 ms.

use super::{Copied, CopyRun, Kind, Packet, Part, STALL, TICK, WAITING, platform_error, refused};
use crate::error::Error;
use crate::graph::clock::clock;
use crate::graph::init::make;
use crate::units::MediaTime;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use std::time::{Duration, Instant};

/// Nanoseconds of a tick of the file's clock, and of the longest cluster: what is in one is counted from
/// its beginning in 16 bits (RFC 9559 §10).
const TICK_NANOS: i64 = 100_000;
const CLUSTER_NANOS: i64 = 2_000_000_000;

/// With so many bytes waiting for the muxer it is given time.
const ENOUGH: u64 = 16 << 20;

/// What a track's caps say about its packets; the rest may change from packet to packet.
const ESSENTIAL: [&str; 8] =
    ["codec_data", "streamheader", "width", "height", "format", "rate", "channels", "stream-format"];

struct Entry {
    kind: Kind,
    source: gst_app::AppSrc,
    caps: gst::Caps,
    packets: u64,
    last: MediaTime,
}

/// A piece under way; taken down when dropped.
pub(super) struct Muxer<'a> {
    run: &'a CopyRun<'a>,
    pub(super) begins: MediaTime,
    pipeline: gst::Pipeline,
    out: gst_app::AppSink,
    entries: Vec<Entry>,
}

impl<'a> Muxer<'a> {
    /// Begin a piece whose 0 is the source's `begins`, with these tracks.
    pub(super) fn begin(
        run: &'a CopyRun<'a>,
        begins: MediaTime,
        tracks: &[(Kind, gst::Caps)],
    ) -> Result<Self, Error> {
        let wrong = |reason: &str| platform_error(run.platform, reason);
        let pipeline = gst::Pipeline::new();
        let muxer = make(run.platform, "matroskamux")?;
        muxer.set_property("streamable", true);
        muxer.set_property("timecodescale", TICK_NANOS);
        muxer.set_property("max-cluster-duration", CLUSTER_NANOS);
        let out = gst_app::AppSink::builder().sync(false).async_(false).build();
        pipeline.add(&muxer).map_err(|_| wrong("the muxer cannot be added"))?;
        pipeline.add(&out).map_err(|_| wrong("the output cannot be added"))?;
        muxer.link(&out).map_err(|_| wrong("the muxer cannot be linked"))?;
        let mut entries = Vec::new();
        for (kind, caps) in tracks {
            let template = match kind {
                Kind::Video => "video_%u",
                Kind::Audio => "audio_%u",
            };
            let source = gst_app::AppSrc::builder().format(gst::Format::Time).caps(caps).build();
            source.set_max_bytes(0);
            pipeline.add(&source).map_err(|_| wrong("an input cannot be added"))?;
            let entry = muxer.request_pad_simple(template).ok_or_else(|| wrong("the muxer has no pad"))?;
            let exit = source.static_pad("src").ok_or_else(|| wrong("an input has no pad"))?;
            exit.link(&entry)
                .map_err(|_| refused(run.plan, format!("{caps} cannot be put into Matroska")))?;
            entries.push(Entry { kind: *kind, source, caps: caps.clone(), packets: 0, last: begins });
        }
        // What it says is on the bus.
        let _started = pipeline.set_state(gst::State::Playing);
        Ok(Self { run, begins, pipeline, out, entries })
    }

    /// The time of the last packet of that kind.
    pub(super) fn last(&self, kind: Kind) -> Option<MediaTime> {
        self.entries.iter().find(|entry| entry.kind == kind && entry.packets > 0).map(|entry| entry.last)
    }

    /// Add a packet, the track's last or not, and give out what is finished.
    pub(super) fn push(
        &mut self,
        packet: Packet,
        is_last: bool,
        give: &mut dyn FnMut(Part<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Packet { kind, time, mut buffer, caps, .. } = packet;
        let plan = self.run.plan;
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.kind == kind) else {
            let reason = format!("its sound begins at {time} s, and is not there before the pictures are");
            return Err(refused(plan, reason));
        };
        if let Some(field) = ESSENTIAL.iter().find(|field| !same(&entry.caps, &caps, field)) {
            let reason = format!("its coding changes at {time} s ({field}), which a piece cannot say");
            return Err(refused(plan, reason));
        }
        let own = buffer.make_mut();
        own.set_pts(clock(time - self.begins));
        own.set_dts(gst::ClockTime::NONE);
        entry.packets += 1;
        entry.last = entry.last.max(time);
        // What went wrong is on the bus.
        let _pushed = entry.source.push_buffer(buffer);
        if is_last {
            // The muxer is not to wait for more.
            let _ended = entry.source.end_of_stream();
        }
        self.drain(give)
    }

    fn waiting(&self) -> u64 {
        self.entries.iter().map(|entry| entry.source.current_level_bytes()).sum()
    }

    /// Give out what is finished, and wait while too much is not.
    fn drain(&self, give: &mut dyn FnMut(Part<'_>) -> Result<(), Error>) -> Result<(), Error> {
        loop {
            let full = self.waiting() > ENOUGH;
            let patience = if full { TICK } else { Duration::ZERO };
            match self.pull(patience)? {
                Some(sample) => self.hand_out(&sample, give)?,
                // It waits for a packet of the other track.
                None if self.waiting() > WAITING => {
                    let reason =
                        format!("one of its tracks has nothing for {} MiB of the other", WAITING >> 20);
                    return Err(refused(self.run.plan, reason));
                }
                None => return Ok(()),
            }
        }
    }

    fn pull(&self, patience: Duration) -> Result<Option<gst::Sample>, Error> {
        let timeout = gst::ClockTime::from_nseconds(u64::try_from(patience.as_nanos()).unwrap_or(0));
        let sample = self.out.try_pull_sample(timeout);
        let message = self.pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => {
                let text = error.error().message().replace('\n', " ");
                Err(platform_error(self.run.platform, &format!("`matroskamux`: {text}")))
            }
            _ => Ok(sample),
        }
    }

    fn hand_out(
        &self,
        sample: &gst::Sample,
        give: &mut dyn FnMut(Part<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let map = sample.buffer().and_then(|buffer| buffer.map_readable().ok());
        let map = map.ok_or_else(|| platform_error(self.run.platform, "a buffer cannot be read"))?;
        give(Part::Bytes(map.as_slice()))
    }

    /// End the piece.
    pub(super) fn finish(self, give: &mut dyn FnMut(Part<'_>) -> Result<(), Error>) -> Result<(), Error> {
        for entry in &self.entries {
            // What went wrong is on the bus.
            let _ended = entry.source.end_of_stream();
        }
        let mut moved = Instant::now();
        while !self.out.is_eos() {
            if self.run.cancel.is_cancelled() {
                return Err(Error::Interrupted);
            }
            if let Some(sample) = self.pull(TICK)? {
                moved = Instant::now();
                self.hand_out(&sample, give)?;
            }
            if moved.elapsed() >= STALL {
                let reason = format!("`matroskamux` does not end a piece within {} s", STALL.as_secs());
                return Err(Error::Stalled { reason });
            }
        }
        let count = |kind| {
            let entries = self.entries.iter().filter(|entry| entry.kind == kind);
            entries.map(|entry| entry.packets).sum()
        };
        let (pictures, audio_packets) = (count(Kind::Video), count(Kind::Audio));
        give(Part::End(Copied { begins: self.begins, pictures, audio_packets }))
    }
}

impl Drop for Muxer<'_> {
    fn drop(&mut self) {
        take_down(self.pipeline.clone());
    }
}

fn same(one: &gst::Caps, other: &gst::Caps, field: &str) -> bool {
    let value = |caps: &gst::Caps| {
        let value = caps.structure(0)?.value(field).ok()?.to_owned();
        // Buffers are compared by what is in them.
        Some(value.serialize().map_or_else(|_| format!("{value:?}"), |text| text.to_string()))
    };
    value(one) == value(other)
}

/// Take a pipeline down on a thread of its own: that waits for every streaming thread, whatever it waits for.
pub(super) fn take_down(pipeline: gst::Pipeline) {
    let (done, wait) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().name("teardown".to_owned()).spawn(move || {
        let _already_down = pipeline.set_state(gst::State::Null);
        let _gave_up_waiting = done.send(());
    });
    if thread.is_err() || wait.recv_timeout(Duration::from_secs(2)).is_err() {
        log::warn!("a pipeline does not go down; its threads are left behind");
    }
}
