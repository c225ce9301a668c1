//! The sound of the rungs: AAC-LC, mono or stereo, at 44.1 or 48 kHz.
//!
//! Every rung has the same channels and sample rate, so that a player may change the level without
//! a new decoder; they differ in bit rate alone. Rates in bit/s.

use super::AudioRung;
use super::report::{PlanReport, Reason};
use crate::media::AudioTrack;
use crate::spec::Rendition;
use crate::units::Bitrate;

/// One channel gets no more: what each of two has at the best rung's 192 kbit/s.
const MONO: u64 = 96_000;

/// An AAC packet holds at most 6144 bits a channel (ISO/IEC 14496-3 §4.5.3.2), for 1024 samples.
const BITS_PER_SAMPLE: u64 = 6;

/// What all rungs share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    /// 44.1 and 48 kHz stay; everything else becomes 48 kHz.
    pub(super) sample_rate: u32,
    /// Mono stays mono; more than two are mixed down.
    pub(super) channels: u32,
}

impl Format {
    /// For a source's track.
    pub(super) fn of(track: &AudioTrack, report: &mut PlanReport) -> Self {
        let sample_rate = if track.sample_rate == 44_100 { 44_100 } else { 48_000 };
        if sample_rate != track.sample_rate {
            report.add(Reason::Resampled { source: track.sample_rate, rate: sample_rate });
        }
        if track.channels > 2 {
            report.add(Reason::MixedDown { channels: track.channels, layout: track.layout.clone() });
        }
        Self { sample_rate, channels: track.channels.clamp(1, 2) }
    }

    /// The sound of one rendition.
    pub(super) fn rung(self, rendition: &Rendition, report: &mut PlanReport) -> AudioRung {
        let asked = rendition.audio;
        let most = BITS_PER_SAMPLE * u64::from(self.sample_rate) * u64::from(self.channels);
        let most = if self.channels == 1 { MONO.min(most) } else { most };
        let bitrate = Bitrate::new(asked.bits_per_second().min(most)).unwrap_or(asked);
        if bitrate != asked {
            report
                .about(&rendition.name, Reason::AudioRateCapped { asked, bitrate, channels: self.channels });
        }
        AudioRung { bitrate, sample_rate: self.sample_rate, channels: self.channels }
    }
}
