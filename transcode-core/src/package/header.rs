//! The header of an MP4: `ftyp` and `moov` (ISO/IEC 14496-12 §4.3, §8), for both formats.
//!
//! Owns clocks, durations and edit lists. The pictures' clock has a whole number of ticks a picture,
//! the sound's one tick a sample, the movie's both: nothing is rounded. The edit list of the pictures
//! begins at the reordering delay, so that the first one is shown at 0; that of the sound behind the
//! priming packet, where there is one. Every field of 32 bits that a long film outgrows is written in its 64-bit form
//! then. Creation times are 0: the same segments always give the same bytes.

use super::aac;
use super::avc::Avc;
use super::boxes::{Boxes, Name, version_for};
use crate::plan::{AudioRung, Plan, Rung};
use crate::segment::AudioFormat;
use crate::units::FrameRate;

/// Track numbers; the video's where there is one.
pub(super) const VIDEO: u32 = 1;
pub(super) const AUDIO: u32 = 2;

/// Ticks a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clocks {
    pub(super) video: u32,
    /// Ticks of the video's clock a picture.
    pub(super) picture: u32,
    pub(super) audio: u32,
    pub(super) movie: u32,
}

impl Clocks {
    pub(super) fn new(plan: &Plan, rung: &Rung) -> Self {
        let rate: FrameRate = plan.timeline.rate;
        // Below 1000 ticks a second some players round what they show.
        let factor = if rate.num() < 1_000 { 1_000 } else { 1 };
        let (video, picture) = match (rate.num().checked_mul(factor), rate.den().checked_mul(factor)) {
            (Some(video), Some(picture)) => (video, picture),
            _ => (rate.num(), rate.den()),
        };
        let audio = rung.audio.as_ref().map_or(0, |audio| audio.sample_rate);
        let movie = match (&rung.video, audio) {
            (Some(_), 0) => video,
            (Some(_), _) => common_multiple(video, audio).unwrap_or(audio),
            (None, _) => audio.max(1),
        };
        Self { video, picture, audio, movie }
    }
}

fn common_multiple(a: u32, b: u32) -> Option<u32> {
    let (mut divisor, mut rest) = (a, b);
    while rest != 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    (a / divisor.max(1)).checked_mul(b)
}

/// What the header says of a rung.
#[derive(Debug)]
pub(super) struct Head<'a> {
    pub(super) clocks: Clocks,
    pub(super) video: Option<Pictures<'a>>,
    pub(super) audio: Option<Sound<'a>>,
}

#[derive(Debug)]
pub(super) struct Pictures<'a> {
    pub(super) avc: &'a Avc,
    pub(super) count: u64,
    /// In pictures.
    pub(super) delay: u32,
}

#[derive(Debug)]
pub(super) struct Sound<'a> {
    pub(super) format: AudioFormat,
    pub(super) rung: &'a AudioRung,
    /// Packets, priming left out.
    pub(super) count: u64,
    /// Samples before the first packet that is heard.
    pub(super) priming: u32,
}

/// One track, in its own clock but for what is shown.
struct Track {
    id: u32,
    handler: Name,
    name: &'static [u8],
    scale: u32,
    /// Where the media is entered.
    enter: u64,
    /// What is shown, in the movie's clock.
    shown: u64,
    /// All of the media.
    media: u64,
    volume: u16,
    size: (u32, u32),
}

impl Head<'_> {
    /// What is shown of the longer track, in the movie's clock.
    pub(super) fn duration(&self) -> u64 {
        self.video_track().map_or(0, |t| t.shown).max(self.audio_track().map_or(0, |t| t.shown))
    }

    fn in_movie(&self, ticks: u64, scale: u32) -> u64 {
        let exact = u128::from(ticks) * u128::from(self.clocks.movie);
        // Rounded up where there is no common clock: an end is never cut.
        u64::try_from(exact.div_ceil(u128::from(scale.max(1)))).unwrap_or(u64::MAX)
    }

    fn video_track(&self) -> Option<Track> {
        let Clocks { video: scale, picture, .. } = self.clocks;
        self.video.as_ref().map(|video| {
            let media = video.count * u64::from(picture);
            Track {
                id: VIDEO,
                handler: b"vide",
                name: b"Video\0",
                scale,
                enter: u64::from(video.delay) * u64::from(picture),
                shown: self.in_movie(media, scale),
                media,
                volume: 0,
                size: (video.avc.size().width(), video.avc.size().height()),
            }
        })
    }

    fn audio_track(&self) -> Option<Track> {
        let scale = self.clocks.audio;
        self.audio.as_ref().map(|audio| {
            let heard = audio.count * u64::from(AudioRung::PACKET);
            Track {
                id: AUDIO,
                handler: b"soun",
                name: b"Sound\0",
                scale,
                enter: u64::from(audio.priming),
                shown: self.in_movie(heard, scale),
                media: heard + u64::from(audio.priming),
                volume: 0x0100,
                size: (0, 0),
            }
        })
    }

    /// `moov`. `tables` writes the sample tables of a track behind its description; `fragments` says
    /// that samples are listed in fragments instead, all of them known to last as long as said here.
    pub(super) fn moov(&self, fragments: bool, mut tables: impl FnMut(u32, &mut Boxes), boxes: &mut Boxes) {
        let duration = self.duration();
        boxes.boxed(b"moov", |boxes| {
            let version = version_for(duration);
            boxes.full(b"mvhd", version, 0, |boxes| {
                boxes.time(version, 0);
                boxes.time(version, 0);
                boxes.u32(self.clocks.movie);
                boxes.time(version, duration);
                boxes.u32(0x0001_0000); // rate 1
                boxes.u16(0x0100); // volume 1
                boxes.zeros(10);
                matrix(boxes);
                boxes.zeros(24);
                boxes.u32(AUDIO + 1); // next_track_ID
            });
            if let (Some(track), Some(video)) = (self.video_track(), &self.video) {
                track.write(b"vmhd", |boxes| video.avc.write(boxes), &mut tables, fragments, boxes);
            }
            if let (Some(track), Some(audio)) = (self.audio_track(), &self.audio) {
                let rate = u32::try_from(audio.rung.bitrate.bits_per_second()).unwrap_or(0);
                let entry = |boxes: &mut Boxes| aac::write(audio.format, rate, boxes);
                track.write(b"smhd", entry, &mut tables, fragments, boxes);
            }
            if fragments {
                boxes.boxed(b"mvex", |boxes| {
                    boxes.full(b"mehd", version, 0, |boxes| boxes.time(version, duration));
                    let ids = [self.video.as_ref().map(|_| VIDEO), self.audio.as_ref().map(|_| AUDIO)];
                    for id in ids.into_iter().flatten() {
                        boxes.full(b"trex", 0, 0, |boxes| {
                            boxes.u32(id);
                            boxes.u32(1); // sample description
                            boxes.zeros(12); // each fragment says the rest
                        });
                    }
                });
            }
        });
    }
}

impl Track {
    fn write(
        &self,
        media_header: Name,
        entry: impl FnOnce(&mut Boxes),
        tables: &mut impl FnMut(u32, &mut Boxes),
        fragments: bool,
        boxes: &mut Boxes,
    ) {
        boxes.boxed(b"trak", |boxes| {
            let version = version_for(self.shown);
            // Enabled, in the movie, in the preview.
            boxes.full(b"tkhd", version, 7, |boxes| {
                boxes.time(version, 0);
                boxes.time(version, 0);
                boxes.u32(self.id);
                boxes.u32(0);
                boxes.time(version, self.shown);
                boxes.zeros(8);
                boxes.u16(0); // layer
                boxes.u16(0); // alternate_group
                boxes.u16(self.volume);
                boxes.u16(0);
                matrix(boxes);
                boxes.u32(self.size.0 << 16);
                boxes.u32(self.size.1 << 16);
            });
            boxes.boxed(b"edts", |boxes| self.edit_list(boxes));
            boxes.boxed(b"mdia", |boxes| {
                // Fragments add their samples to the media's length.
                let media = if fragments { 0 } else { self.media };
                let version = version_for(media);
                boxes.full(b"mdhd", version, 0, |boxes| {
                    boxes.time(version, 0);
                    boxes.time(version, 0);
                    boxes.u32(self.scale);
                    boxes.time(version, media);
                    boxes.u16(0x55C4); // und
                    boxes.u16(0);
                });
                boxes.full(b"hdlr", 0, 0, |boxes| {
                    boxes.u32(0);
                    boxes.bytes(self.handler);
                    boxes.zeros(12);
                    boxes.bytes(self.name);
                });
                boxes.boxed(b"minf", |boxes| {
                    // Graphics mode and colours, or balance.
                    let (flags, fields) = if self.id == VIDEO { (1, 8) } else { (0, 4) };
                    boxes.full(media_header, 0, flags, |boxes| boxes.zeros(fields));
                    boxes.boxed(b"dinf", |boxes| {
                        boxes.full(b"dref", 0, 0, |boxes| {
                            boxes.u32(1);
                            boxes.full(b"url ", 0, 1, |_| {}); // in this file
                        });
                    });
                    boxes.boxed(b"stbl", |boxes| {
                        boxes.full(b"stsd", 0, 0, |boxes| {
                            boxes.u32(1);
                            entry(boxes);
                        });
                        tables(self.id, boxes);
                    });
                });
            });
        });
    }

    /// One edit: from where the media is entered to its end, at normal speed.
    fn edit_list(&self, boxes: &mut Boxes) {
        let version = version_for(self.shown.max(self.enter << 1));
        boxes.full(b"elst", version, 0, |boxes| {
            boxes.u32(1);
            boxes.time(version, self.shown);
            boxes.time(version, self.enter);
            boxes.u32(0x0001_0000);
        });
    }
}

/// No turn, no scaling.
fn matrix(boxes: &mut Boxes) {
    for number in [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000] {
        boxes.u32(number);
    }
}

/// `ftyp`: the first brand is the one that it is written after.
pub(super) fn file_type(brands: &[Name], boxes: &mut Boxes) {
    boxes.boxed(b"ftyp", |boxes| {
        boxes.bytes(brands.first().copied().unwrap_or(b"isom"));
        boxes.u32(0);
        for brand in brands {
            boxes.bytes(*brand);
        }
    });
}
