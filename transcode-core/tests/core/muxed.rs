//! Real segments to read: x264, libav's AAC and hlssink2, in this process, from test pictures.
//!
//! And the means to damage them: TS packets and the time stamps in them, by hand.

use gstreamer as gst;
use gstreamer::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};
use transcode_core::plan::{Plan, VideoRung};
use transcode_core::spec::{Preset, Tune};
use transcode_core::units::FrameRate;

/// Bytes of a TS packet.
pub(crate) const PACKET: usize = 188;

/// The PIDs that mpegtsmux gives.
pub(crate) const PAT: u16 = 0;
pub(crate) const PMT: u16 = 0x20;
pub(crate) const VIDEO: u16 = 0x41;
pub(crate) const AUDIO: u16 = 0x42;

/// The segments of the plan's only rung, made once for each plan.
pub(crate) fn segments(plan: &Plan) -> Vec<Vec<u8>> {
    static MADE: OnceLock<Mutex<BTreeMap<String, Vec<Vec<u8>>>>> = OnceLock::new();
    let key = serde_json::to_string(&(&plan.timeline, &plan.rungs)).unwrap();
    let mut made = MADE.get_or_init(Mutex::default).lock().unwrap();
    made.entry(key).or_insert_with(|| make(plan)).clone()
}

fn make(plan: &Plan) -> Vec<Vec<u8>> {
    gst::init().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let rung = &plan.rungs[0];
    let mut text = format!(
        "hlssink2 name=hls playlist-length=0 max-files=0 send-keyframe-requests=false \
         location={0}/%05d.ts playlist-location={0}/playlist.m3u8 ",
        folder.path().display()
    );
    if let Some(video) = &rung.video {
        text.push_str(&pictures(video, plan));
    }
    let mut packets = 0;
    if let Some(audio) = &rung.audio {
        packets = audio.packets_before(&plan.timeline, plan.timeline.slots);
        text.push_str(&format!(
            "audiotestsrc wave=pink-noise volume=0.3 samplesperbuffer=1024 num-buffers={packets} \
             ! audio/x-raw,format=F32LE,rate={},channels={} ! avenc_aac name=aac bitrate={} \
             ! queue max-size-time=0 max-size-buffers=0 ! hls.audio ",
            audio.sample_rate,
            audio.channels,
            audio.bitrate.bits_per_second()
        ));
    }
    let pipeline = gst::parse::launch(&text).unwrap().downcast::<gst::Pipeline>().unwrap();
    if let (Some(encoder), Some(audio)) = (pipeline.by_name("aac"), &rung.audio) {
        stamp_by_number(&encoder, FrameRate::new(audio.sample_rate, 1_024).unwrap(), packets);
    }
    // The splitter takes the plan's exact length, and half a slot against rounding.
    let splitter = pipeline
        .iterate_recurse()
        .into_iter()
        .flatten()
        .find(|element| element.factory().is_some_and(|factory| factory.name() == "splitmuxsink"));
    let slot = plan.timeline.rate.time_of(1).nanos() as u64;
    let length = plan.timeline.rate.time_of(u64::from(plan.timeline.segment_slots)).nanos() as u64;
    splitter.expect("hlssink2 has one").set_property("max-size-time", length + slot / 2);
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    let end = [gst::MessageType::Eos, gst::MessageType::Error];
    let message =
        bus.timed_pop_filtered(gst::ClockTime::from_seconds(120), &end).expect("an end within 120 s");
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    pipeline.set_state(gst::State::Null).unwrap();
    let mut names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|name| name.extension().is_some_and(|extension| extension == "ts"));
    names.sort();
    names.iter().map(|name| std::fs::read(name).unwrap()).collect()
}

fn pictures(video: &VideoRung, plan: &Plan) -> String {
    let preset = match video.preset {
        Preset::Ultrafast => "ultrafast",
        Preset::Superfast => "superfast",
        _ => "veryfast",
    };
    let tune = if video.tune == Tune::Zerolatency { "tune=zerolatency" } else { "" };
    format!(
        "videotestsrc pattern=ball num-buffers={} ! video/x-raw,format=I420,width={},height={},framerate={},\
         colorimetry={} ! x264enc speed-preset={preset} {tune} key-int-max={} bitrate={} vbv-buf-capacity=0 \
         option-string=scenecut=0:open-gop=0:keyint-min={}:level={}.{} \
         ! video/x-h264,profile={},stream-format=byte-stream,alignment=au ! h264parse config-interval=-1 \
         ! video/x-h264,stream-format=byte-stream,alignment=au ! queue max-size-time=0 max-size-buffers=0 ! hls.video ",
        plan.timeline.slots,
        video.size.width(),
        video.size.height(),
        format_args!("{}/{}", plan.timeline.rate.num(), plan.timeline.rate.den()),
        video.colorimetry,
        video.gop,
        video.bitrate.kbits_per_second(),
        video.gop,
        video.level / 10,
        video.level % 10,
        video.profile,
    )
}

/// The encoder's first packet is its delay; the others are stamped by their number.
fn stamp_by_number(encoder: &gst::Element, rate: FrameRate, packets: u64) {
    let number = std::sync::atomic::AtomicU64::new(0);
    let time = move |packet| gst::ClockTime::from_nseconds(rate.time_of(packet).nanos() as u64);
    encoder.static_pad("src").unwrap().add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        if number == 0 || number > packets {
            info.data = None;
            return gst::PadProbeReturn::Handled;
        }
        if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data {
            let buffer = buffer.make_mut();
            buffer.set_pts(time(number - 1));
            buffer.set_dts(time(number - 1));
            buffer.set_duration(time(number) - time(number - 1));
        }
        gst::PadProbeReturn::Ok
    });
}

/// A packet's stream.
pub(crate) fn pid(packet: &[u8]) -> u16 {
    u16::from(packet[1] & 0x1F) << 8 | u16::from(packet[2])
}

/// Whether a PES packet or section begins in a packet.
pub(crate) fn starts(packet: &[u8]) -> bool {
    packet[1] & 0x40 != 0
}

/// Where a packet's payload begins.
fn payload(packet: &[u8]) -> usize {
    if packet[3] & 0x20 == 0 { 4 } else { 5 + usize::from(packet[4]) }
}

/// The numbers of the packets of a stream, in the segment.
pub(crate) fn of(bytes: &[u8], stream: u16) -> Vec<usize> {
    (0..bytes.len() / PACKET).filter(|at| pid(&bytes[at * PACKET..]) == stream).collect()
}

/// The packets of the `number`th PES packet of a stream.
pub(crate) fn unit(bytes: &[u8], stream: u16, number: usize) -> Vec<usize> {
    let packets = of(bytes, stream);
    let begins: Vec<usize> =
        (0..packets.len()).filter(|at| starts(&bytes[packets[*at] * PACKET..])).collect();
    let end = begins.get(number + 1).copied().unwrap_or(packets.len());
    packets[begins[number]..end].to_vec()
}

/// Without some packets, as if they had been lost on the way.
pub(crate) fn without(bytes: &[u8], packets: &[usize]) -> Vec<u8> {
    let kept = bytes.chunks(PACKET).enumerate().filter(|(at, _)| !packets.contains(at));
    kept.flat_map(|(_, packet)| packet.to_vec()).collect()
}

/// Continuity counters from 0 on, as if what is not there had never been.
pub(crate) fn renumbered(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut counters: BTreeMap<u16, u8> = BTreeMap::new();
    for packet in bytes.chunks_mut(PACKET) {
        let counter = counters.entry(pid(packet)).or_default();
        packet[3] = packet[3] & 0xF0 | *counter & 0x0F;
        if packet[3] & 0x10 != 0 {
            *counter = counter.wrapping_add(1);
        }
    }
    bytes
}

/// Where `pattern` is in the payload of a PES packet, by its first TS packet.
pub(crate) fn find(bytes: &[u8], packet: usize, pattern: &[u8]) -> usize {
    let packet = &bytes[packet * PACKET..][..PACKET];
    let at = packet.windows(pattern.len()).position(|window| window == pattern).expect("the pattern");
    at + (packet.as_ptr() as usize - bytes.as_ptr() as usize)
}

/// With every PTS and DTS (and PCR) of the chosen PES packets changed, modulo 2³³.
pub(crate) fn restamped(mut bytes: Vec<u8>, mut change: impl FnMut(u16, usize, u64) -> u64) -> Vec<u8> {
    let mut numbers: BTreeMap<u16, usize> = BTreeMap::new();
    for packet in bytes.chunks_mut(PACKET) {
        let stream = pid(packet);
        if stream != VIDEO && stream != AUDIO {
            continue;
        }
        let number = numbers.entry(stream).or_default();
        if starts(packet) {
            *number += 1;
        }
        let number = *number - 1;
        if packet[3] & 0x20 != 0 && packet[4] > 0 && packet[5] & 0x10 != 0 {
            let field: [u8; 4] = packet[6..10].try_into().unwrap();
            let base = u64::from(u32::from_be_bytes(field)) << 1 | u64::from(packet[10] >> 7);
            let base = change(stream, number, base) & 0x1_FFFF_FFFF;
            packet[6..10].copy_from_slice(&((base >> 1) as u32).to_be_bytes());
            packet[10] = packet[10] & 0x7F | ((base & 1) as u8) << 7;
        }
        if starts(packet) {
            let head = payload(packet);
            let stamps = if packet[head + 7] & 0x40 == 0 { 1 } else { 2 };
            for field in packet[head + 9..].chunks_mut(5).take(stamps) {
                let old = u64::from(field[0] >> 1 & 7) << 30
                    | u64::from(field[1]) << 22
                    | u64::from(field[2] >> 1) << 15
                    | u64::from(field[3]) << 7
                    | u64::from(field[4] >> 1);
                let new = change(stream, number, old) & 0x1_FFFF_FFFF;
                field[0] = field[0] & 0xF1 | ((new >> 30) as u8) << 1;
                field[1] = (new >> 22) as u8;
                field[2] = ((new >> 15) as u8) << 1 | 1;
                field[3] = (new >> 7) as u8;
                field[4] = (new << 1) as u8 | 1;
            }
        }
    }
    bytes
}
