//! Inside the decoders: a software decoder, the vendor's pixel format, and for L4T a bounded pool of surfaces.
//!
//! Owns: which decoder is inside for which stream, which format comes out for which bit depth, the pool.
//! Must not know: encoding, boards.

use std::sync::{Arc, Mutex, PoisonError};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_video as gst_video;

use crate::Error;
use crate::convert::system;
use crate::element::{Inside, Settings, chain, make, pad, show};
use crate::fault::Fault;
use crate::gate::{Gate, Permit};
use crate::mischief;
use crate::relabel::Relabel;
use crate::table::Entry;

/// Surfaces that an L4T decoder lends downstream beyond `num-extra-surfaces`. NVIDIA's driver tells its minimum
/// at run time and keeps most of it as references; this small number is a model on the strict side.
pub(crate) const LENT_SURFACES: u32 = 2;

/// A device does not fail at once: what it has given before is encoded and written by then, on a machine
/// that is busy with other things too.
const TIME_TO_FAIL: std::time::Duration = std::time::Duration::from_millis(300);

/// What the streaming thread needs to know.
#[derive(Debug, Default)]
struct Run {
    faults: Vec<Fault>,
    frame: u64,
    /// The size of the pool, for decoders that have one.
    surfaces: Option<u32>,
}

/// The software decoder for a stream.
fn software(stream: &gst::StructureRef) -> Option<&'static str> {
    match stream.name().as_str() {
        "video/x-h264" => Some("avdec_h264"),
        "video/x-h265" => Some("avdec_h265"),
        "video/x-vp8" => Some("vp8dec"),
        "video/x-vp9" => Some("vp9dec"),
        "video/x-av1" => Some("av1dec"),
        "image/jpeg" => Some("jpegdec"),
        "video/mpeg" => match stream.get::<i32>("mpegversion") {
            Ok(4) => Some("avdec_mpeg4"),
            _ => Some("avdec_mpeg2video"),
        },
        _ => None,
    }
}

/// What the hardware writes for what the software decoder writes: semi-planar 4:2:0, planar 4:4:4. Neither NVDEC
/// nor the L4T decoder has 4:2:2.
fn hardware_format(format: gst_video::VideoFormat) -> Option<gst_video::VideoFormat> {
    use gst_video::VideoFormat as F;
    match format {
        F::I420 | F::Nv12 | F::Yv12 => Some(F::Nv12),
        F::I42010le | F::P01010le => Some(F::P01010le),
        // By name: the bindings know those two from GStreamer 1.18 on alone.
        F::I42012le => Some(F::from_string("P016_LE")),
        F::Y444 => Some(F::Y444),
        F::Y44410le | F::Y44412le => Some(F::from_string("Y444_16LE")),
        _ => None,
    }
}

/// Filter, decoder (made when the stream is known), conversion to the hardware's format, relabel.
pub(crate) fn build(bin: &gst::Bin, entry: &Entry, gate: &Arc<Gate>) -> Result<Inside, Error> {
    let (sink, src) = (entry.caps("sink")?, entry.caps("src")?);
    let filter = make("capsfilter", "stream")?;
    filter.set_property("caps", &sink);
    let convert = make("videoconvert", "convert")?;
    let format = make("capsfilter", "format")?;
    let leaving: gst::Element = Relabel::new("leaving", &system(), &src).upcast();
    bin.add(&filter).map_err(|err| Error::Gst(err.to_string()))?;
    chain(bin, &[convert.clone(), format.clone(), leaving.clone()])?;
    show(bin, "sink", &pad(&filter, "sink")?)?;
    show(bin, "src", &pad(&leaving, "src")?)?;

    let weak = bin.downgrade();
    let given = src;
    let (convert_weak, format_weak) = (convert.downgrade(), format.downgrade());
    pad(&filter, "src")?.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |from, info| {
        let (Some(bin), Some(convert), Some(format)) =
            (weak.upgrade(), convert_weak.upgrade(), format_weak.upgrade())
        else {
            return gst::PadProbeReturn::Ok;
        };
        if let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view())
            && !from.is_linked()
            && let Err(err) = put_in(&bin, from, caps.caps(), (&convert, &format), &given)
        {
            gst::element_error!(bin, gst::StreamError::CodecNotFound, ["{err}"]);
        }
        gst::PadProbeReturn::Ok
    });

    // A seek before the stream is known has to come through all the same.
    let behind = convert.downgrade();
    pad(&filter, "src")?.add_probe(gst::PadProbeType::EVENT_FLUSH, move |from, info| {
        let to =
            behind.upgrade().filter(|_| !from.is_linked()).and_then(|convert| convert.static_pad("sink"));
        if let (Some(to), Some(event)) = (to, info.event()) {
            to.send_event(event.to_owned());
        }
        gst::PadProbeReturn::Ok
    });

    let run = Arc::new(Mutex::new(Run::default()));
    let (streaming, gate, weak) = (Arc::clone(&run), Arc::clone(gate), bin.downgrade());
    pad(&leaving, "src")?.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let Some(bin) = weak.upgrade() else { return gst::PadProbeReturn::Ok };
        handle(&streaming, &gate, &bin, pad, info)
    });

    let configure = move |settings: &Settings| {
        let mut run = run.lock().unwrap_or_else(PoisonError::into_inner);
        *run = Run {
            faults: settings.faults.clone(),
            frame: 0,
            surfaces: settings
                .number("num-extra-surfaces")
                .and_then(|extra| u32::try_from(extra).ok())
                .map(|extra| LENT_SURFACES + extra),
        };
    };
    Ok(Inside { configure: Box::new(configure), session: false })
}

/// Puts the software decoder for these caps behind the filter.
fn put_in(
    bin: &gst::Bin,
    from: &gst::Pad,
    caps: &gst::CapsRef,
    (convert, format): (&gst::Element, &gst::Element),
    given: &gst::Caps,
) -> Result<(), Error> {
    let failed = |err: glib::BoolError| Error::Gst(err.to_string());
    let stream = caps.structure(0).ok_or_else(|| Error::Gst("empty caps".into()))?;
    let factory = software(stream).ok_or_else(|| Error::Gst(format!("no decoder for {stream}")))?;
    let decoder = make(factory, "decoder")?;
    bin.add(&decoder).map_err(failed)?;
    decoder.link(convert).map_err(failed)?;
    let (weak, filter, given) = (bin.downgrade(), format.downgrade(), given.clone());
    pad(&decoder, "src")?.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        let (Some(bin), Some(filter)) = (weak.upgrade(), filter.upgrade()) else {
            return gst::PadProbeReturn::Ok;
        };
        if let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view()) {
            let made = gst_video::VideoInfo::from_caps(caps.caps()).ok().map(|info| info.format());
            match made.and_then(hardware_format) {
                Some(wanted) => {
                    let of = |format| gst_video::VideoCapsBuilder::new().format(format).build();
                    // Whether a pad has the format; in which memory says `leaving`.
                    let has = |caps: &gst::CapsRef| {
                        let mut given = given.clone();
                        let size = given.size();
                        (0..size).for_each(|at| given.make_mut().set_features(at, None));
                        given.can_intersect(caps)
                    };
                    let caps = of(wanted);
                    // A decoder without surfaces of more bits gives 8.
                    filter.set_property(
                        "caps",
                        if has(&caps) { caps } else { of(gst_video::VideoFormat::Nv12) },
                    );
                }
                None => {
                    gst::element_error!(
                        bin,
                        gst::StreamError::Format,
                        ["the decoder has no surface for {made:?}: 4:2:0 and 4:4:4 only"]
                    );
                    // Not Drop: the bindings take a dropped event and GStreamer 1.22 gives it back once more.
                    return gst::PadProbeReturn::Handled;
                }
            }
        }
        gst::PadProbeReturn::Ok
    });
    let to = pad(&decoder, "sink")?;
    from.link(&to).map_err(|err| Error::Gst(err.to_string()))?;
    decoder.sync_state_with_parent().map_err(failed)?;
    // The stream's start went by before there was a decoder.
    if let Some(start) = from.sticky_event::<gst::event::StreamStart>(0) {
        to.send_event(start);
    }
    Ok(())
}

/// A picture leaves: faults, then the pool.
fn handle(
    run: &Mutex<Run>,
    gate: &Arc<Gate>,
    bin: &gst::Bin,
    pad: &gst::Pad,
    info: &mut gst::PadProbeInfo,
) -> gst::PadProbeReturn {
    let (frame, faults, surfaces) = {
        let mut run = run.lock().unwrap_or_else(PoisonError::into_inner);
        run.frame += 1;
        (run.frame - 1, run.faults.clone(), run.surfaces)
    };
    if let Some(done) = misbehave(&faults, frame, gate, bin, pad, info) {
        return done;
    }
    let Some(surfaces) = surfaces else { return gst::PadProbeReturn::Ok };
    let Some(permit) = gate.take(surfaces) else {
        info.flow_res = Err(gst::FlowError::Flushing);
        return gst::PadProbeReturn::Drop;
    };
    let caps = pad.current_caps();
    if let Some(gst::PadProbeData::Buffer(buffer)) = info.data.take() {
        let buffer = lend(buffer, permit, caps.as_deref());
        info.data = Some(gst::PadProbeData::Buffer(buffer));
    }
    gst::PadProbeReturn::Ok
}

/// Does what the faults say for this frame; none: go on.
pub(crate) fn misbehave(
    faults: &[Fault],
    frame: u64,
    gate: &Gate,
    bin: &gst::Bin,
    pad: &gst::Pad,
    info: &mut gst::PadProbeInfo,
) -> Option<gst::PadProbeReturn> {
    for fault in faults {
        match *fault {
            Fault::Error { at } if frame >= at => {
                if frame == at {
                    std::thread::sleep(TIME_TO_FAIL);
                    gst::element_error!(
                        bin,
                        gst::LibraryError::Failed,
                        ["{}: the device failed at frame {frame}", bin.name()]
                    );
                }
                info.flow_res = Err(gst::FlowError::Error);
                return Some(gst::PadProbeReturn::Drop);
            }
            Fault::Stall { at } if frame >= at => {
                gate.stall();
                info.flow_res = Err(gst::FlowError::Flushing);
                return Some(gst::PadProbeReturn::Drop);
            }
            Fault::Mischief { at } if frame == at => mischief::all(),
            Fault::Hog { at } if frame == at => mischief::hog(),
            Fault::Green { at } if frame >= at => {
                if let Some(gst::PadProbeData::Buffer(buffer)) = info.data.as_mut() {
                    *buffer = like(buffer, vec![0u8; buffer.size()]);
                }
            }
            Fault::Grey { at } if frame >= at => {
                let caps = pad.current_caps();
                let video = caps.and_then(|caps| gst_video::VideoInfo::from_caps(&caps).ok());
                // Where chroma begins: behind the luma plane of NV12, I420 and their kind.
                let chroma = video.and_then(|video| video.offset().get(1).copied());
                if let Some(gst::PadProbeData::Buffer(buffer)) = info.data.as_mut() {
                    let bytes = buffer.map_readable().map(|map| map.to_vec()).unwrap_or_default();
                    let luma = chroma.unwrap_or(bytes.len());
                    let grey =
                        bytes.into_iter().enumerate().map(|(at, byte)| if at < luma { byte } else { 128 });
                    *buffer = like(buffer, grey.collect());
                }
            }
            _ => {}
        }
    }
    None
}

/// A picture with the times and the layout of another.
fn like(buffer: &gst::Buffer, bytes: Vec<u8>) -> gst::Buffer {
    let mut out = gst::Buffer::from_mut_slice(bytes);
    if let Some(out) = out.get_mut() {
        let flags =
            gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS | gst::BufferCopyFlags::META;
        // Copying flags, times and metas of a whole buffer has nothing to fail on.
        let _ = buffer.copy_into(out, flags, ..);
    }
    out
}

/// The bytes of a picture for as long as the surface is held.
struct Surface {
    map: gst::MappedBuffer<gst::buffer::Readable>,
    _permit: Permit,
}

impl AsRef<[u8]> for Surface {
    fn as_ref(&self) -> &[u8] {
        self.map.as_slice()
    }
}

/// The same picture, in memory that gives its surface back when the last who holds it lets go.
fn lend(buffer: gst::Buffer, permit: Permit, caps: Option<&gst::CapsRef>) -> gst::Buffer {
    let map = match buffer.into_mapped_buffer_readable() {
        Ok(map) => map,
        Err(buffer) => return buffer,
    };
    let from = map.buffer().to_owned();
    let mut out = gst::Buffer::from_slice(Surface { map, _permit: permit });
    if let Some(target) = out.get_mut() {
        let flags =
            gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS | gst::BufferCopyFlags::META;
        let _ = from.copy_into(target, flags, ..);
        let laid_out = target.meta::<gst_video::VideoMeta>().is_some();
        if let (false, Some(Ok(info))) = (laid_out, caps.map(gst_video::VideoInfo::from_caps)) {
            let frame = gst_video::VideoFrameFlags::empty();
            let _ = gst_video::VideoMeta::add_full(
                target,
                frame,
                info.format(),
                info.width(),
                info.height(),
                info.offset(),
                info.stride(),
            );
        }
    }
    out
}
