//! Has an encoder's parameter sets say what the playlists say.
//!
//! The plan chooses profile and level from what a stream needs (ITU-T H.264 Table A-1), and playlists
//! declare them before there is a stream. x264 is told both. Hardware encoders take a profile, and most
//! choose a level of their own, a step above or below, by tables that differ with driver and card; a
//! segment made by one would not be what the master declares, nor what another machine makes. So behind
//! such an encoder the sequence parameter set is rewritten: `level_idc` to the plan's, and of Baseline
//! the flags that say "constrained", since no hardware encoder has the tools that those exclude
//! (§A.2.1.1: slice groups, arbitrary slice order, redundant slices).
//!
//! Not where the plan's level would not hold what the stream keeps for reference: then it stays as it is,
//! and the check of the segment says so. Rate and size are the plan's own, so its level holds them.

use crate::plan::VideoRung;
use crate::playlist::Avc;
use crate::segment::{Sps, nal_units};
use gstreamer as gst;
use gstreamer::prelude::*;

/// Rewrite the parameter sets that go out of `pad`: byte stream, whole access units.
pub(super) fn keep_to_plan(pad: &gst::Pad, rung: &VideoRung) {
    let declared = Avc::of(rung);
    let rung = rung.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let Some(gst::PadProbeData::Buffer(buffer)) = info.data.as_mut() else {
            return gst::PadProbeReturn::Ok;
        };
        if buffer.flags().contains(gst::BufferFlags::DELTA_UNIT) {
            return gst::PadProbeReturn::Ok;
        }
        let changes = buffer.map_readable().map(|map| changes(&map, declared, &rung)).unwrap_or_default();
        if !changes.is_empty() {
            if let Ok(mut map) = buffer.make_mut().map_writable() {
                for (at, byte) in changes {
                    map[at] = byte;
                }
            }
        }
        gst::PadProbeReturn::Ok
    });
}

/// Which bytes of an access unit become what. None of them can make a start code: a profile and a level
/// are never 0.
fn changes(unit: &[u8], declared: Avc, rung: &VideoRung) -> Vec<(usize, u8)> {
    let mut changes = Vec::new();
    for nal in nal_units(unit).into_iter().flatten() {
        let Some((header, body)) = nal.split_first().filter(|(header, _)| *header & 0x1F == 7) else {
            continue;
        };
        debug_assert_eq!(header & 0x1F, 7);
        let Some(sps) = Sps::read(body).filter(|sps| rung.level_holds(sps.size, sps.reference_frames)) else {
            continue;
        };
        // Where the body lies in the unit.
        let at = body.as_ptr() as usize - unit.as_ptr() as usize;
        if sps.avc.profile == declared.profile
            && sps.avc.constraints & declared.constraints != declared.constraints
        {
            changes.push((at + 1, sps.avc.constraints | declared.constraints));
        }
        if sps.avc.level != declared.level {
            changes.push((at + 2, declared.level));
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Preset, RateControl, Tune};
    use crate::units::{Bitrate, MediaTime, Resolution};

    fn rung(level: u8) -> VideoRung {
        VideoRung {
            size: Resolution::new(320, 180).unwrap(),
            scale_from: None,
            profile: "constrained-baseline".to_owned(),
            level,
            bitrate: Bitrate::new(300_000).unwrap(),
            rate_control: RateControl::Abr,
            vbv: MediaTime::ZERO,
            gop: 24,
            threads: 1,
            preset: Preset::Ultrafast,
            tune: Tune::None,
            tuning: std::collections::BTreeMap::new(),
            colorimetry: "bt709".to_owned(),
        }
    }

    /// 320×180 in Baseline, with `max_num_ref_frames` of 1 or 31.
    fn unit(references: u8) -> Vec<u8> {
        // seq_parameter_set_id 0, log2_max_frame_num 4, pic_order_cnt_type 2, references, 20×12
        // macroblocks, whole pictures, cropped by 6 pairs of rows, no VUI.
        let references = if references == 1 { "010" } else { "00000100000" };
        let bits = format!("1 1 011 {references} 0 000010100 0001100 1 1 1 1 1 1 00111 0 1");
        let bits: Vec<u8> = bits.bytes().filter(|byte| *byte != b' ').map(|byte| byte - b'0').collect();
        let body = bits.chunks(8).map(|byte| (0..8).fold(0, |sum, at| sum << 1 | byte.get(at).unwrap_or(&0)));
        [0, 0, 0, 1, 9, 0xF0, 0, 0, 0, 1, 0x67, 66, 0, 40]
            .into_iter()
            .chain(body)
            .chain([0, 0, 1, 0x65, 1])
            .collect()
    }

    #[test]
    fn a_parameter_set_is_made_to_say_the_plans_level_where_that_holds_the_stream() {
        let rung = rung(12);
        let unit = unit(1);
        let mut kept = unit.clone();
        for (at, byte) in changes(&unit, Avc::of(&rung), &rung) {
            kept[at] = byte;
        }
        assert_eq!(kept[..11], unit[..11]);
        assert_eq!(kept[11..14], [66, 0xC0, 12]);
        assert_eq!(kept[14..], unit[14..]);
        assert!(changes(&kept, Avc::of(&rung), &rung).is_empty(), "it says so already");
    }

    #[test]
    fn a_stream_that_keeps_more_than_the_level_allows_is_left_to_the_check() {
        // 240 macroblocks times 31 are more than level 1.2's 2376 (Table A-1, MaxDpbMbs).
        let rung = rung(12);
        assert!(changes(&unit(31), Avc::of(&rung), &rung).is_empty());
    }
}
