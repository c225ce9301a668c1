//! Reads caps: what GStreamer says of a stream, in the words of `media`.
//!
//! Owns the names of codecs as platform files key them. Knows nothing of containers and pipelines.

use crate::media::{Colour, DynamicRange, Rotation, Scan};
use crate::segment::Sps;
use crate::units::{FrameRate, Resolution};
use gstreamer as gst;
use gstreamer_audio as gst_audio;
use gstreamer_video as gst_video;

/// What a stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Facts {
    Video(VideoFacts),
    Audio(AudioFacts),
    /// Neither: what the caps call it.
    Other(String),
}

/// What caps say of pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VideoFacts {
    pub(crate) codec: String,
    pub(crate) profile: Option<String>,
    /// `None` until a parser has found it.
    pub(crate) coded: Option<Resolution>,
    pub(crate) pixel_aspect: (u32, u32),
    /// What a header states, kept or not; `None` for none and for "variable".
    pub(crate) rate: Option<FrameRate>,
    pub(crate) bit_depth: u8,
    pub(crate) chroma: String,
    pub(crate) colour: Colour,
    pub(crate) scan: Scan,
}

/// What caps say of samples; zero until a parser has found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AudioFacts {
    pub(crate) codec: String,
    pub(crate) sample_rate: u32,
    pub(crate) channels: u32,
    pub(crate) layout: String,
}

/// Understand the first structure of some caps.
pub(crate) fn facts(caps: &gst::CapsRef) -> Facts {
    let Some(structure) = caps.structure(0) else { return Facts::Other("unknown".to_owned()) };
    let name = structure.name().as_str();
    // Protected media carry their real type in a field.
    let (name, encrypted) = match structure.get::<&str>("original-media-type") {
        Ok(original) => (original, true),
        Err(_) => (name, false),
    };
    let known = |codec: &str| if encrypted { "encrypted".to_owned() } else { codec.to_owned() };
    if let Some(codec) = video_codec(name, structure) {
        return Facts::Video(video(structure, known(&codec)));
    }
    if let Some(codec) = audio_codec(name, structure) {
        return Facts::Audio(audio(structure, known(&codec)));
    }
    Facts::Other(name.rsplit('/').next().unwrap_or(name).trim_start_matches("x-").to_owned())
}

fn int(structure: &gst::StructureRef, field: &str) -> Option<u32> {
    let signed = structure.get::<i32>(field).ok().and_then(|value| u32::try_from(value).ok());
    signed.or_else(|| structure.get::<u32>(field).ok())
}

/// The codec's name as platform files key it; `None` where it is no video.
fn video_codec(name: &str, structure: &gst::StructureRef) -> Option<String> {
    let version = |field: &str| int(structure, field).unwrap_or(0);
    let codec = match name {
        "video/x-h265" => "hevc",
        "video/mpeg" => match version("mpegversion") {
            4 => "mpeg4",
            // Decoders take MPEG-1 as the part of MPEG-2 that it is.
            _ => "mpeg2",
        },
        "video/x-divx" | "video/x-xvid" | "video/x-3ivx" => match version("divxversion") {
            3 => "msmpeg4",
            _ => "mpeg4",
        },
        "video/x-msmpeg" => match version("msmpegversion") {
            41 => "msmpeg4v1",
            42 => "msmpeg4v2",
            _ => "msmpeg4",
        },
        "video/x-wmv" => return Some(format!("wmv{}", version("wmvversion"))),
        "video/x-flash-video" => "flv1",
        "image/jpeg" => "mjpeg",
        "image/png" => "png",
        _ => {
            let rest = name.strip_prefix("video/")?;
            return Some(rest.trim_start_matches("x-").to_owned());
        }
    };
    Some(codec.to_owned())
}

/// The codec's name as platform files key it; `None` where it is no audio.
fn audio_codec(name: &str, structure: &gst::StructureRef) -> Option<String> {
    let codec = match name {
        "audio/mpeg" => match int(structure, "mpegversion") {
            // Layers I and II go to the same decoder as III.
            Some(1) => "mp3",
            _ => "aac",
        },
        "audio/x-raw" => "pcm",
        _ => {
            let rest = name.strip_prefix("audio/")?;
            return Some(rest.trim_start_matches("x-").to_owned());
        }
    };
    Some(codec.to_owned())
}

fn video(structure: &gst::StructureRef, codec: String) -> VideoFacts {
    let size = int(structure, "width").zip(int(structure, "height"));
    let aspect = structure.get::<gst::Fraction>("pixel-aspect-ratio").ok();
    let aspect = aspect.and_then(|f| u32::try_from(f.numer()).ok().zip(u32::try_from(f.denom()).ok()));
    let rate = structure.get::<gst::Fraction>("framerate").ok();
    let rate =
        rate.and_then(|f| FrameRate::new(u32::try_from(f.numer()).ok()?, u32::try_from(f.denom()).ok()?));
    let (bit_depth, chroma) = sampling(structure, &codec);
    VideoFacts {
        profile: structure.get::<String>("profile").ok(),
        coded: size.and_then(|(width, height)| Resolution::new(width, height)),
        pixel_aspect: aspect.filter(|(num, den)| *num > 0 && *den > 0).unwrap_or((1, 1)),
        rate,
        bit_depth,
        chroma,
        colour: colour(structure),
        scan: match structure.get::<&str>("interlace-mode") {
            Ok("interleaved" | "fields" | "alternate") => Scan::Interlaced,
            Ok("mixed") => Scan::Mixed,
            Err(_) if codec == "h264" && allows_fields(structure) => Scan::Mixed,
            _ => Scan::Progressive,
        },
        codec,
    }
}

/// Whether an H.264 header leaves it to each picture to consist of fields (`frame_mbs_only_flag`,
/// ISO/IEC 14496-10 §7.4.2.1.1), which the parser does not tell before 1.24. The header is the first
/// in the decoder configuration (ISO/IEC 14496-15 §5.3.3.1).
fn allows_fields(structure: &gst::StructureRef) -> bool {
    let Ok(data) = structure.get::<gst::Buffer>("codec_data") else { return false };
    let Ok(data) = data.map_readable() else { return false };
    let [_, _, _, _, _, count, high, low, _, sps @ ..] = data.as_slice() else { return false };
    let length = usize::from(*high) << 8 | usize::from(*low);
    let sps = sps.get(..length.saturating_sub(1)).filter(|_| count & 31 > 0);
    sps.and_then(Sps::read).is_some_and(|sps| !sps.progressive)
}

/// Bits a sample and chroma subsampling: what the parser found, or what the codec cannot but have.
fn sampling(structure: &gst::StructureRef, codec: &str) -> (u8, String) {
    let text = |field: &str| structure.get::<&str>(field).ok();
    let depth = int(structure, "bit-depth-luma").and_then(|depth| u8::try_from(depth).ok());
    if codec == "raw" {
        let format = text("format").map(gst_video::VideoFormat::from_string);
        if let Some(format) = format.filter(|format| *format != gst_video::VideoFormat::Unknown) {
            let info = gst_video::VideoFormatInfo::from_format(format);
            let sub = if info.is_yuv() { (info.w_sub().get(1), info.h_sub().get(1)) } else { (None, None) };
            let chroma = match sub {
                (Some(1), Some(1)) => "4:2:0",
                (Some(1), Some(0)) => "4:2:2",
                (Some(2), Some(0)) => "4:1:1",
                _ => "4:4:4",
            };
            let depth = info.depth().first().and_then(|depth| u8::try_from(*depth).ok());
            return (depth.unwrap_or(8), chroma.to_owned());
        }
    }
    if codec == "prores" {
        return match text("variant") {
            Some("4444" | "4444xq") => (12, "4:4:4".to_owned()),
            _ => (10, "4:2:2".to_owned()),
        };
    }
    let chroma = match (text("chroma-format"), text("sampling"), text("profile")) {
        (Some(chroma), ..) => chroma,
        // `YCbCr-4:2:2` of a JPEG.
        (None, Some(sampling), _) => sampling.rsplit('-').next().unwrap_or(sampling),
        (None, None, Some("4:2:2")) => "4:2:2",
        _ => "4:2:0",
    };
    (depth.unwrap_or(8), chroma.to_owned())
}

fn colour(structure: &gst::StructureRef) -> Colour {
    let colorimetry = structure.get::<&str>("colorimetry").unwrap_or_default();
    // The names of these transfer functions came after the oldest GStreamer that this is built for;
    // the texts are understood wherever they are known.
    let transfer =
        |text: &str| text.parse::<gst_video::VideoColorimetry>().ok().map(|found| found.transfer());
    let range_kind = match transfer(colorimetry) {
        None => DynamicRange::Sdr,
        told if told == transfer("bt2100-hlg") => DynamicRange::Hlg,
        told if told == transfer("bt2100-pq") => DynamicRange::Pq,
        Some(_) => DynamicRange::Sdr,
    };
    Colour { range_kind, colorimetry: colorimetry.to_owned() }
}

fn audio(structure: &gst::StructureRef, codec: String) -> AudioFacts {
    let channels = int(structure, "channels").unwrap_or(0);
    let mask = structure.get::<gst::Bitmask>("channel-mask").map(|mask| *mask).unwrap_or(0);
    // Opus is always decoded at its own clock, whatever the header says was recorded.
    let sample_rate = int(structure, "rate").unwrap_or(if codec == "opus" { 48_000 } else { 0 });
    AudioFacts { sample_rate, layout: layout(channels, mask), channels, codec }
}

/// A name for the loudspeakers: by their places where these are told, by their number otherwise.
fn layout(channels: u32, mask: u64) -> String {
    use gst_audio::AudioChannelPosition as At;
    let bit = |position: At| position.to_mask();
    let front = bit(At::FrontLeft) | bit(At::FrontRight);
    let centre = bit(At::FrontCenter);
    let low = bit(At::Lfe1);
    let rear = bit(At::RearLeft) | bit(At::RearRight);
    let side = bit(At::SideLeft) | bit(At::SideRight);
    let back = bit(At::RearCenter);
    let named = [
        (centre, "mono"),
        (front, "stereo"),
        (front | low, "2.1"),
        (front | centre, "3.0"),
        (front | centre | low, "3.1"),
        (front | rear, "quad"),
        (front | side, "quad"),
        (front | centre | back, "4.0"),
        (front | centre | rear, "5.0"),
        (front | centre | side, "5.0"),
        (front | centre | low | rear, "5.1"),
        (front | centre | low | side, "5.1"),
        (front | centre | low | side | back, "6.1"),
        (front | centre | low | side | rear, "7.1"),
    ];
    let by_place = named.iter().find(|(places, _)| *places == mask && mask.count_ones() == channels);
    if let Some((_, name)) = by_place {
        return (*name).to_owned();
    }
    match channels {
        1 => "mono",
        2 => "stereo",
        3 => "3.0",
        4 => "4.0",
        5 => "5.0",
        6 => "5.1",
        7 => "6.1",
        8 => "7.1",
        _ => return format!("{channels} channels"),
    }
    .to_owned()
}

/// The tag `image-orientation`: turned clockwise, and with `flip-` mirrored *before* that, where ours
/// are mirrored after it.
pub(super) fn orientation(tag: &str) -> Rotation {
    match tag {
        "rotate-90" => Rotation::Clockwise90,
        "rotate-180" => Rotation::Half,
        "rotate-270" => Rotation::Clockwise270,
        "flip-rotate-0" => Rotation::Mirror,
        "flip-rotate-90" => Rotation::MirrorClockwise270,
        "flip-rotate-180" => Rotation::MirrorHalf,
        "flip-rotate-270" => Rotation::MirrorClockwise90,
        _ => Rotation::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    fn of(text: &str) -> Facts {
        crate::graph::init().unwrap();
        facts(&gst::Caps::from_str(text).unwrap())
    }

    #[test]
    fn video_caps_are_read_in_our_words() {
        let text = "video/x-h265, width=1920, height=1080, framerate=30000/1001, profile=main-10, \
                    chroma-format=(string)4:2:0, bit-depth-luma=(uint)10, colorimetry=bt2100-hlg, \
                    pixel-aspect-ratio=4/3, interlace-mode=mixed";
        let Facts::Video(video) = of(text) else { panic!("no video") };
        assert_eq!((video.codec.as_str(), video.profile.as_deref()), ("hevc", Some("main-10")));
        assert_eq!(video.coded, Resolution::new(1920, 1080));
        assert_eq!(video.rate, FrameRate::new(30_000, 1_001));
        assert_eq!((video.bit_depth, video.chroma.as_str()), (10, "4:2:0"));
        assert_eq!(video.colour.range_kind, DynamicRange::Hlg);
        assert_eq!((video.pixel_aspect, video.scan), ((4, 3), Scan::Mixed));
    }

    #[test]
    fn codecs_have_the_names_that_platform_files_use() {
        for (caps, codec) in [
            ("video/mpeg, mpegversion=2, systemstream=false", "mpeg2"),
            ("video/mpeg, mpegversion=1, systemstream=false", "mpeg2"),
            ("video/mpeg, mpegversion=4, systemstream=false", "mpeg4"),
            ("video/x-msmpeg, msmpegversion=43", "msmpeg4"),
            ("video/x-vp9", "vp9"),
            ("video/x-av1", "av1"),
            ("image/jpeg", "mjpeg"),
            ("video/x-prores, variant=hq", "prores"),
            ("video/x-wmv, wmvversion=3", "wmv3"),
            ("video/x-unheard-of", "unheard-of"),
            ("application/x-cenc, original-media-type=video/x-h264", "encrypted"),
        ] {
            let Facts::Video(video) = of(caps) else { panic!("{caps} is no video") };
            assert_eq!(video.codec, codec, "{caps}");
        }
        for (caps, codec) in [
            ("audio/mpeg, mpegversion=4", "aac"),
            ("audio/mpeg, mpegversion=1, layer=3", "mp3"),
            ("audio/x-raw, format=S16LE", "pcm"),
            ("audio/x-eac3", "eac3"),
            ("audio/x-opus", "opus"),
        ] {
            let Facts::Audio(audio) = of(caps) else { panic!("{caps} is no audio") };
            assert_eq!(audio.codec, codec, "{caps}");
        }
        assert_eq!(of("text/x-raw, format=utf8"), Facts::Other("raw".to_owned()));
    }

    #[test]
    fn loudspeakers_are_named_by_their_places_then_by_their_number() {
        for (caps, name) in [
            ("audio/x-raw, rate=48000, channels=6, channel-mask=(bitmask)0x3f", "5.1"),
            ("audio/x-raw, rate=48000, channels=6, channel-mask=(bitmask)0xc0f", "5.1"),
            ("audio/x-raw, rate=48000, channels=4, channel-mask=(bitmask)0x33", "quad"),
            ("audio/x-raw, rate=48000, channels=3, channel-mask=(bitmask)0xb", "2.1"),
            ("audio/x-raw, rate=48000, channels=2", "stereo"),
            ("audio/x-raw, rate=48000, channels=16", "16 channels"),
        ] {
            let Facts::Audio(audio) = of(caps) else { panic!("{caps} is no audio") };
            assert_eq!(audio.layout, name, "{caps}");
        }
    }
}
