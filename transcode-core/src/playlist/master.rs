//! The master playlist (RFC 8216 §4.3.4), and what it declares before there is anything to measure.

use super::measure::{Bandwidth, bitrate};
use super::{VERSION, codecs};
use crate::plan::{AudioRung, Plan, Rung, Timeline, VideoRung};
use crate::spec::RateControl;
use crate::units::FrameRate;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The master playlist: a variant stream for every rung, in the plan's order, best first.
///
/// `measured` holds the bandwidths of finished rungs by name (see [`measure`](super::measure())); a
/// rung that is not in it is stated as [`declared`].
///
/// The first variant is the one that many players begin with; Apple's authoring guide would have a
/// middling one there. Best first is kept: it is what users of the ladder know, and players that
/// matter measure before they choose.
///
/// `CLOSED-CAPTIONS=NONE`: no captions are carried, and without the word Apple's players offer
/// a track that is empty. FRAME-RATE is the timeline's, which all rungs share.
pub fn master(plan: &Plan, measured: Option<&BTreeMap<String, Bandwidth>>) -> String {
    let mut text = format!("#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    for rung in &plan.rungs {
        let known = measured.and_then(|measured| measured.get(&rung.name)).copied();
        let bandwidth = known.unwrap_or_else(|| declared(plan, rung));
        let (peak, average) = (bandwidth.peak.bits_per_second(), bandwidth.average.bits_per_second());
        // Writing to a String cannot fail.
        let _infallible = write!(
            text,
            "#EXT-X-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={average},CODECS=\"{}\"",
            codecs(rung)
        );
        if let Some(video) = &rung.video {
            let rate = thousandths(plan.timeline.rate);
            let _infallible = write!(
                text,
                ",RESOLUTION={},FRAME-RATE={}.{:03},CLOSED-CAPTIONS=NONE",
                video.size,
                rate / 1_000,
                rate % 1_000
            );
        }
        let _infallible = write!(text, "\n{}\n", plan.address("", &plan.playlist_key(&rung.name)));
    }
    text
}

/// A frame rate in thousandths, to the nearest (RFC 8216: three decimals).
fn thousandths(rate: FrameRate) -> u64 {
    let (num, den) = (u64::from(rate.num()), u64::from(rate.den()));
    (num * 2_000 + den) / (den * 2)
}

/// Bytes of payload in a TS packet, and of the packet.
const PAYLOAD: u128 = 184;
const PACKET: u128 = 188;

/// Bytes that the muxer puts around a picture: PES header with PTS and DTS 19, access unit delimiter
/// 6, adaptation field with a clock reference 8.
const AROUND_PICTURE: u128 = 33;

/// Bytes around an AAC frame: PES header with PTS 14, ADTS header 7.
const AROUND_AUDIO: u128 = 21;

/// PAT and PMT, ten times a second each (mpegtsmux's `pat-interval` and `pmt-interval`).
const TABLES: u128 = 20 * PACKET;

/// Bits a second are reckoned in thousandths of a unit, so that nothing is lost before the end.
const FINE: u128 = 1_000;

/// The bandwidth of a rung before anything is made, from the plan alone.
///
/// Average: the plan's bit rates and what the transport stream costs: 4 bytes of header to 184, the
/// PES headers, the tables, and the stuffing behind every picture and AAC frame (audio of 64 kbit/s
/// needs twice that as packets: its frames are a little longer than one).
///
/// Peak: CBR and capped CRF can spend a whole VBV buffer beyond the rate within a segment, and no
/// more. Plain ABR has no bound: half as much again is allowed for. The liveliest 6 s of animation
/// and of filmed motion took 1.42 and 1.06 of the rate (854×480 at 2 Mbit/s, veryfast). The final
/// playlist states what was measured.
pub fn declared(plan: &Plan, rung: &Rung) -> Bandwidth {
    let timeline = &plan.timeline;
    let audio = rung.audio.as_ref().map_or(0, muxed_audio);
    let around = audio + TABLES * 8 * FINE;
    let (average, peak) = rung.video.as_ref().map_or((0, 0), |video| {
        let rate = u128::from(video.bitrate.bits_per_second());
        (muxed_video(rate, timeline), muxed_video(peak(video, timeline), timeline))
    });
    let bandwidth = |video: u128| bitrate((video + around).div_ceil(FINE));
    Bandwidth { peak: bandwidth(peak), average: bandwidth(average) }
}

/// Bits a second that a segment's pictures may need.
fn peak(video: &VideoRung, timeline: &Timeline) -> u128 {
    let rate = u128::from(video.bitrate.bits_per_second());
    match video.rate_control {
        RateControl::Abr => rate * 3 / 2,
        RateControl::Cbr | RateControl::CappedCrf { .. } => {
            let length = timeline.rate.time_of(u64::from(timeline.segment_slots)).nanos();
            let buffer = u128::try_from(video.vbv.nanos()).unwrap_or(0);
            rate + (rate * buffer).div_ceil(u128::try_from(length).unwrap_or(0).max(1))
        }
    }
}

/// Thousandths of bits a second, as TS packets.
fn muxed_video(bits: u128, timeline: &Timeline) -> u128 {
    let (num, den) = (u128::from(timeline.rate.num()), u128::from(timeline.rate.den()));
    muxed(bits, num * FINE / den, AROUND_PICTURE)
}

fn muxed_audio(audio: &AudioRung) -> u128 {
    let frames = u128::from(audio.sample_rate) * FINE / u128::from(AudioRung::PACKET);
    muxed(u128::from(audio.bitrate.bits_per_second()), frames, AROUND_AUDIO)
}

/// Thousandths of bits a second of `units` thousandths of PES packets a second: each whole TS packets,
/// half a packet more than its bytes need in the mean, and as many as its mean size needs at least.
fn muxed(bits: u128, units: u128, around: u128) -> u128 {
    let payload = bits * FINE + units * around * 8;
    let mean = payload.div_ceil(PAYLOAD) * PACKET + units * (PACKET / 2) * 8;
    let whole = payload.div_ceil(units.max(1) * PAYLOAD * 8) * units * PACKET * 8;
    mean.max(whole)
}
