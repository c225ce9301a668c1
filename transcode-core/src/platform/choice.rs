//! Which of a platform's decoders takes a stream: the first whose limits it fits.

use super::schema::{Limits, Platform, VideoDecoder};
use crate::units::Resolution;

/// What a decoder has to cope with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodedVideo<'a> {
    /// The codec's name, as platform files key it.
    pub codec: &'a str,
    /// The codec's profile where it is told: `high-10`.
    pub profile: Option<&'a str>,
    /// Stored size in pixels, before rotation.
    pub coded: Resolution,
    /// Chroma subsampling: `4:2:0`; empty where untold.
    pub chroma: &'a str,
    /// Bits a sample.
    pub bit_depth: u8,
    /// Two fields a picture, in some of them at least.
    pub interlaced: bool,
}

/// A decoder that does not take the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// The decoder.
    pub element: String,
    /// What it does not take: `4:2:2`, `10 bits a sample`, `8192x4320`.
    pub why: String,
}

/// Which decoder, and why none before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice<'a> {
    /// Decoders that take the stream, best first; never empty. All but the last may be missing.
    pub decoders: Vec<&'a VideoDecoder>,
    /// Those before the first of `decoders`.
    pub passed_over: Vec<PassedOver>,
}

impl Choice<'_> {
    /// The decoder's name; `none` for raw pictures.
    pub fn element(&self) -> &str {
        self.decoders.first().and_then(|decoder| decoder.element.as_deref()).unwrap_or("none")
    }
}

impl Platform {
    /// The decoders for a stream: those whose limits it fits.
    ///
    /// # Errors
    /// One sentence: the codec is not decoded here, or every decoder's limits are exceeded.
    pub fn decoder_for(&self, video: &CodedVideo<'_>) -> Result<Choice<'_>, String> {
        let candidates = self.decode.get(video.codec).ok_or_else(|| {
            let known: Vec<&str> = self.decode.keys().map(String::as_str).collect();
            format!("platform {} does not decode {}, only {}", self.name, video.codec, known.join(", "))
        })?;
        let mut choice = Choice { decoders: Vec::new(), passed_over: Vec::new() };
        for decoder in candidates {
            match decoder.limits.exceeded(video) {
                None => choice.decoders.push(decoder),
                Some(why) if choice.decoders.is_empty() => {
                    let element = decoder.element.clone().unwrap_or_default();
                    choice.passed_over.push(PassedOver { element, why });
                }
                Some(_) => {}
            }
        }
        if choice.decoders.is_empty() {
            let why: Vec<String> =
                choice.passed_over.iter().map(|over| format!("{}: {}", over.element, over.why)).collect();
            return Err(format!(
                "no decoder of platform {} takes this {} stream ({})",
                self.name,
                video.codec,
                why.join("; ")
            ));
        }
        Ok(choice)
    }

    /// The parser of a codec: that of its first decoder.
    pub fn parser_of(&self, codec: &str) -> Option<&str> {
        self.decode.get(codec)?.first()?.parse.as_deref()
    }
}

impl Limits {
    /// What of the stream is beyond them; `None` where it fits.
    fn exceeded(&self, video: &CodedVideo<'_>) -> Option<String> {
        let (width, height) = (video.coded.width(), video.coded.height());
        let outside = |value: u32, min: Option<u32>, max: Option<u32>| {
            min.is_some_and(|min| value < min) || max.is_some_and(|max| value > max)
        };
        let mut beyond = Vec::new();
        if outside(width, self.min_width, self.max_width) || outside(height, self.min_height, self.max_height)
        {
            beyond.push(video.coded.to_string());
        }
        if self.chroma.as_ref().is_some_and(|known| {
            !video.chroma.is_empty() && !known.iter().any(|chroma| video.chroma.starts_with(chroma.as_str()))
        }) {
            beyond.push(video.chroma.to_owned());
        }
        if self.max_bit_depth.is_some_and(|max| video.bit_depth > max) {
            beyond.push(format!("{} bits a sample", video.bit_depth));
        }
        if self.progressive && video.interlaced {
            beyond.push("interlaced pictures".to_owned());
        }
        (!beyond.is_empty()).then(|| beyond.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform() -> Platform {
        let mut platform = Platform::builtin("software").expect("built in");
        let device = VideoDecoder {
            element: Some("device".into()),
            limits: Limits {
                max_width: Some(4096),
                max_height: Some(4096),
                min_width: Some(48),
                chroma: Some(super::super::OneOrMany::one("4:2:0".into())),
                max_bit_depth: Some(8),
                progressive: true,
                ..Limits::default()
            },
            ..VideoDecoder::default()
        };
        platform.decode.get_mut("h264").expect("h264").insert(0, device);
        platform
    }

    fn stream() -> CodedVideo<'static> {
        CodedVideo {
            codec: "h264",
            profile: None,
            coded: Resolution::new(1920, 1080).expect("size"),
            chroma: "4:2:0",
            bit_depth: 8,
            interlaced: false,
        }
    }

    #[test]
    fn the_first_decoder_whose_limits_fit_is_taken_and_earlier_ones_say_why_not() {
        let platform = platform();
        let whys = |video: CodedVideo<'_>| {
            let choice = platform.decoder_for(&video).expect("libav takes all");
            let why = choice.passed_over.first().map(|over| over.why.clone());
            (choice.element().to_owned(), why)
        };
        assert_eq!(whys(stream()), ("device".to_owned(), None));
        let odd = CodedVideo { chroma: "4:2:2", bit_depth: 10, ..stream() };
        assert_eq!(whys(odd), ("avdec_h264".to_owned(), Some("4:2:2, 10 bits a sample".to_owned())));
        for (width, height) in [(8192, 1080), (1920, 4320), (32, 32)] {
            let coded = Resolution::new(width, height).expect("size");
            let (element, why) = whys(CodedVideo { coded, ..stream() });
            assert_eq!((element.as_str(), why), ("avdec_h264", Some(coded.to_string())));
        }
        let fields = whys(CodedVideo { interlaced: true, ..stream() });
        assert_eq!(fields.1.as_deref(), Some("interlaced pictures"));
        assert_eq!(whys(CodedVideo { chroma: "", ..stream() }).0, "device", "untold is no reason");
    }

    #[test]
    fn a_stream_that_no_decoder_takes_is_refused_with_each_ones_reason() {
        let mut platform = platform();
        platform.decode.get_mut("h264").expect("h264").truncate(1);
        let error = platform.decoder_for(&CodedVideo { bit_depth: 10, ..stream() }).expect_err("refused");
        assert!(error.contains("device: 10 bits a sample"), "{error}");
        let error = platform.decoder_for(&CodedVideo { codec: "none", ..stream() }).expect_err("refused");
        assert!(error.contains("does not decode none") && error.contains("hevc"), "{error}");
    }
}
