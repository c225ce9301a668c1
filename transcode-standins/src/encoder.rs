//! Inside the encoders: x264enc, set as the vendor's properties say, in the vendor's units.
//!
//! Owns: the meaning of each vendor's rate, GOP, profile and header properties. Must not know: decoding, boards.

use std::sync::{Arc, Mutex, PoisonError};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_video as gst_video;

use crate::Error;
use crate::convert::system;
use crate::decoder::misbehave;
use crate::element::{Inside, Settings, chain, make, pad, show};
use crate::fault::Fault;
use crate::gate::Gate;
use crate::nal;
use crate::relabel::Relabel;
use crate::table::Entry;

/// How often IDR pictures and parameter sets come, and what goes wrong.
#[derive(Debug, Default, Clone)]
struct Run {
    faults: Vec<Fault>,
    /// Frames from one IDR picture to the next, where the encoder inside is told frame by frame.
    idr: Option<u64>,
    /// Parameter sets with every IDR picture, else with the first alone.
    repeat_headers: bool,
    frame_in: u64,
    unit_out: u64,
}

/// Relabel, conversion, x264enc, byte stream.
pub(crate) fn build(bin: &gst::Bin, entry: &Entry, gate: &Arc<Gate>) -> Result<Inside, Error> {
    let (sink, src) = (entry.caps("sink")?, entry.caps("src")?);
    let entering: gst::Element = Relabel::new("entering", &sink, &system()).upcast();
    let convert = make("videoconvert", "convert")?;
    let encoder = make("x264enc", "encoder")?;
    let stream = make("capsfilter", "stream")?;
    stream.set_property("caps", &src);
    chain(bin, &[entering.clone(), convert.clone(), encoder.clone(), stream.clone()])?;
    show(bin, "sink", &pad(&entering, "sink")?)?;
    show(bin, "src", &pad(&stream, "src")?)?;

    let run = Arc::new(Mutex::new(Run::default()));
    let (streaming, waiting, weak) = (Arc::clone(&run), Arc::clone(gate), bin.downgrade());
    pad(&entering, "src")?.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let Some(bin) = weak.upgrade() else { return gst::PadProbeReturn::Ok };
        picture(&streaming, &waiting, &bin, pad, info)
    });
    let asks = bin.has_property("idrinterval");
    pad(&entering, "sink")?.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, refuse_key_units(&run, asks));
    pad(&stream, "src")?.add_probe(gst::PadProbeType::EVENT_UPSTREAM, refuse_key_units(&run, asks));
    let streaming = Arc::clone(&run);
    pad(&encoder, "src")?.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let avc = pad.current_caps().is_some_and(|caps| {
            caps.structure(0).is_some_and(|s| s.get::<&str>("stream-format") == Ok("avc"))
        });
        // In AVC the parameter sets are in the caps.
        if avc { gst::PadProbeReturn::Ok } else { unit(&streaming, info) }
    });

    let l4t = asks;
    let configure = move |settings: &Settings| {
        let made = if l4t { l4t_settings(&encoder, settings) } else { settings_in_kbit(&encoder, settings) };
        *run.lock().unwrap_or_else(PoisonError::into_inner) = made;
    };
    Ok(Inside { configure: Box::new(configure), session: true })
}

/// Requests for key pictures: NVIDIA's L4T encoder has no handling of them that its source shows, and a broken
/// driver ignores them.
fn refuse_key_units(
    run: &Arc<Mutex<Run>>,
    always: bool,
) -> impl Fn(&gst::Pad, &mut gst::PadProbeInfo) -> gst::PadProbeReturn + Send + Sync + use<> {
    let run = Arc::clone(run);
    move |_, info| {
        let ignores =
            always || run.lock().unwrap_or_else(PoisonError::into_inner).faults.contains(&Fault::IgnoreGop);
        match info.event() {
            Some(event) if ignores && gst_video::ForceKeyUnitEvent::is(event) => gst::PadProbeReturn::Handled,
            _ => gst::PadProbeReturn::Ok,
        }
    }
}

/// A picture comes in: faults, then the IDR interval.
fn picture(
    run: &Mutex<Run>,
    gate: &Gate,
    bin: &gst::Bin,
    pad: &gst::Pad,
    info: &mut gst::PadProbeInfo,
) -> gst::PadProbeReturn {
    let (frame, faults, idr) = {
        let mut run = run.lock().unwrap_or_else(PoisonError::into_inner);
        run.frame_in += 1;
        (run.frame_in - 1, run.faults.clone(), run.idr)
    };
    if let Some(done) = misbehave(&faults, frame, gate, bin, pad, info) {
        return done;
    }
    if idr.is_some_and(|every| frame > 0 && frame.is_multiple_of(every)) {
        // Without a running time it is the next picture's.
        pad.push_event(gst_video::DownstreamForceKeyUnitEvent::builder().all_headers(true).build());
    }
    gst::PadProbeReturn::Ok
}

/// An access unit goes out: parameter sets where the vendor writes them.
fn unit(run: &Mutex<Run>, info: &mut gst::PadProbeInfo) -> gst::PadProbeReturn {
    let (first, repeats) = {
        let mut run = run.lock().unwrap_or_else(PoisonError::into_inner);
        run.unit_out += 1;
        (run.unit_out == 1, run.repeat_headers)
    };
    let Some(gst::PadProbeData::Buffer(buffer)) = info.data.as_mut() else { return gst::PadProbeReturn::Ok };
    let stripped = buffer.map_readable().ok().and_then(|map| {
        let idr = nal::units(&map).into_iter().any(|unit| nal::kind(unit) == nal::IDR);
        if first || (repeats && idr) { None } else { nal::without(&map, &[nal::SPS, nal::PPS]) }
    });
    if let Some(bytes) = stripped {
        let mut out = gst::Buffer::from_mut_slice(bytes);
        if let Some(target) = out.get_mut() {
            let flags =
                gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS | gst::BufferCopyFlags::META;
            let _ = buffer.copy_into(target, flags, ..);
        }
        *buffer = out;
    }
    gst::PadProbeReturn::Ok
}

/// x264enc takes kbit/s from 1 to 2048000.
fn set_bitrate(encoder: &gst::Element, kbit: i64) {
    encoder.set_property("bitrate", u32::try_from(kbit.clamp(1, 2_048_000)).unwrap_or(2048));
}

/// What all of them do the same way.
fn common(encoder: &gst::Element) {
    encoder.set_property_from_str("speed-preset", "ultrafast");
    encoder.set_property("threads", 1u32);
}

/// The tools of a profile: x264 writes the profile that its tools need.
fn set_profile(encoder: &gst::Element, cabac: bool, dct8x8: bool) {
    encoder.set_property("cabac", cabac);
    encoder.set_property("dct8x8", dct8x8);
}

/// The keys of x264's own options that every encoder here needs: cuts where asked, nowhere else.
fn set_gop(encoder: &gst::Element, frames: u32, more: &str) {
    encoder.set_property("key-int-max", frames);
    encoder.set_property("option-string", format!("scenecut=0{more}"));
}

/// nvv4l2h264enc: bit/s; IDR pictures every `idrinterval` alone. The I pictures between them that `iframeinterval`
/// would make are left out: x264 makes none without B-frames.
fn l4t_settings(encoder: &gst::Element, settings: &Settings) -> Run {
    common(encoder);
    set_bitrate(encoder, settings.number("bitrate").unwrap_or(4_000_000) / 1000);
    encoder.set_property("aud", settings.truth("insert-aud").unwrap_or(false));
    let bframes = settings.number("num-B-Frames").and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    encoder.set_property("bframes", bframes);
    match settings.nick("control-rate").as_deref() {
        Some("variable_bitrate") => encoder.set_property("vbv-buf-capacity", 0u32),
        _ => {
            // vbv-size is in bits, x264enc's buffer in milliseconds at the bit rate.
            let rate = settings.number("bitrate").unwrap_or(4_000_000).max(1);
            let ms = settings.number("vbv-size").unwrap_or(4_000_000).saturating_mul(1000) / rate;
            encoder.set_property("vbv-buf-capacity", u32::try_from(ms.clamp(40, 10_000)).unwrap_or(1000));
        }
    }
    match settings.nick("profile").as_deref() {
        Some("Main") => set_profile(encoder, true, false),
        Some("High" | "High444") => set_profile(encoder, true, true),
        _ => set_profile(encoder, false, false),
    }
    // 0 is the driver's own choice, here: one at the start.
    let endless = u32::try_from(i32::MAX).unwrap_or(u32::MAX);
    let asked = settings.number("idrinterval").and_then(|n| u32::try_from(n).ok()).unwrap_or(256);
    let idr = if asked == 0 { endless } else { asked.min(endless) };
    if settings.faults.contains(&Fault::IgnoreGop) {
        set_gop(encoder, endless, "");
        return Run { faults: settings.faults.clone(), repeat_headers: false, ..Run::default() };
    }
    set_gop(encoder, idr, "");
    Run {
        faults: settings.faults.clone(),
        idr: Some(u64::from(idr)),
        repeat_headers: settings.truth("insert-sps-pps").unwrap_or(false),
        ..Run::default()
    }
}

/// All others: kbit/s; every key picture is an IDR picture.
fn settings_in_kbit(encoder: &gst::Element, settings: &Settings) -> Run {
    common(encoder);
    let bitrate = match settings.number("bitrate") {
        // The encoder's own choice.
        None | Some(0) => 2048,
        Some(kbit) => kbit,
    };
    set_bitrate(encoder, bitrate);
    encoder.set_property("aud", settings.truth("aud").unwrap_or(false));
    let bframes = settings.number("bframes").or_else(|| settings.number("b-frames")).unwrap_or(0);
    let zero =
        settings.truth("zerolatency").or_else(|| settings.truth("zero-reorder-delay")).unwrap_or(false);
    encoder.set_property("bframes", if zero { 0 } else { u32::try_from(bframes).unwrap_or(0) });
    set_profile(encoder, settings.truth("cabac").unwrap_or(true), settings.truth("dct8x8").unwrap_or(true));
    let mode = settings.nick("rc-mode").or_else(|| settings.nick("rate-control")).unwrap_or_default();
    match mode.as_str() {
        "constqp" | "cqp" => {
            let qp = settings
                .number("qp-const")
                .filter(|qp| *qp >= 0)
                .or_else(|| settings.number("qp-i").filter(|qp| *qp >= 0))
                .or_else(|| settings.number("qpi"))
                .unwrap_or(26);
            encoder.set_property_from_str("pass", "quant");
            encoder.set_property("quantizer", u32::try_from(qp.clamp(0, 50)).unwrap_or(26));
        }
        "vbr" | "vbr-hq" | "vbr-minqp" | "default" | "vcm" => {
            let quality = settings.real("const-quality").unwrap_or(0.0);
            if quality > 0.0 {
                // Constant quality under a ceiling.
                encoder.set_property_from_str("pass", "qual");
                let whole = settings.real("const-quality").map_or(23, |q| q.clamp(0.0, 50.0).round() as u32);
                encoder.set_property("quantizer", whole);
                let most = settings.number("max-bitrate").filter(|kbit| *kbit > 0).unwrap_or(bitrate);
                set_bitrate(encoder, most);
            } else {
                encoder.set_property_from_str("pass", "cbr");
                encoder.set_property("vbv-buf-capacity", 0u32);
            }
        }
        _ => {
            encoder.set_property_from_str("pass", "cbr");
            let kbit =
                settings.number("vbv-buffer-size").or_else(|| settings.number("cpb-size")).unwrap_or(0);
            let ms = if kbit > 0 { kbit * 1000 / bitrate.max(1) } else { 1000 };
            encoder.set_property("vbv-buf-capacity", u32::try_from(ms.clamp(40, 10_000)).unwrap_or(1000));
        }
    }
    let endless = u32::try_from(i32::MAX).unwrap_or(u32::MAX);
    let asked = ["gop-size", "key-int-max", "max-keyframe-interval"]
        .iter()
        .find_map(|name| settings.number(name))
        .unwrap_or(0);
    let gop = match asked {
        _ if settings.faults.contains(&Fault::IgnoreGop) => endless,
        // gop-size -1 is endless; key-int-max 0 the encoder's choice.
        n if n < 0 => endless,
        0 => 30,
        n => u32::try_from(n).unwrap_or(endless),
    };
    set_gop(encoder, gop, ":open-gop=0");
    Run {
        faults: settings.faults.clone(),
        idr: None,
        // libva's encoders write them with every IDR picture, the older NVENC element with the first alone.
        repeat_headers: settings
            .truth("repeat-sequence-header")
            .unwrap_or_else(|| settings.number("key-int-max").is_some()),
        ..Run::default()
    }
}
