//! x264's habits: everything but the rate goes through one option string, which is applied before the
//! element's own properties; its default is CBR with 600 ms of VBV, so the rate control has to be
//! spelt out; and ABR is CBR with the buffer taken away.

use super::joints::{Joints, vbv};
use super::{rate_in, set, set_in_unit};
use crate::error::Error;
use crate::plan::VideoRung;
use crate::platform::Platform;
use crate::spec::{RateControl, Tune};
use gstreamer as gst;

pub(super) fn adapt(
    platform: &Platform,
    encoder: &gst::Element,
    rung: &VideoRung,
    joints: Joints,
) -> Result<(), Error> {
    // Key frames stand on the plan's grid and nowhere else, and nothing refers across them.
    let mut options = vec!["scenecut=0".to_owned(), "open-gop=0".to_owned()];
    options.push(format!("level={}.{}", rung.level / 10, rung.level % 10));
    match rung.tune {
        // The element has two properties for x264's two groups of tunes.
        Tune::Film => set(platform, encoder, "psy-tune", "film")?,
        Tune::Animation => set(platform, encoder, "psy-tune", "animation")?,
        Tune::Grain => set(platform, encoder, "psy-tune", "grain")?,
        _ => super::tune(platform, encoder, rung)?,
    }
    if let Some(property) = &platform.encode.vbv {
        if rung.rate_control == RateControl::Abr {
            set_in_unit(platform, encoder, property, 0)?;
        } else {
            let (rate, size, filled) = vbv(rung, joints);
            let bitrate = &platform.encode.bitrate;
            set_in_unit(platform, encoder, bitrate, rate_in(bitrate.unit, rate))?;
            // In ms, the property's unit.
            set_in_unit(platform, encoder, property, size.unsigned_abs())?;
            options.extend(filled.map(|kbits| format!("vbv-init={kbits}")));
        }
    }
    if let Some(tuning) = rung.tuning.get(platform.encode.family.name()) {
        options.push(tuning.clone());
    }
    set(platform, encoder, "option-string", &options.join(":"))
}
