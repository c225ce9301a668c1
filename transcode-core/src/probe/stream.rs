//! Streams without a container: MP3, AAC in ADTS, FLAC; and how long they, and a WAV, say to be.
//!
//! Owns which lengths may be believed: a parser that finds none makes one up from the first frames'
//! bit rate, and that is no length to plan by.

use super::boxes::be64;
use super::sniff::{id3_length, read_up_to};
use crate::cancel::Cancel;
use crate::media::Container;
use crate::source::{Source, SourceError};
use crate::units::MediaTime;

/// The codec of a stream that comes without a container.
pub(super) fn codec(container: Container) -> Option<&'static str> {
    match container {
        Container::Mp3 => Some("mp3"),
        Container::Adts => Some("aac"),
        Container::Flac => Some("flac"),
        _ => None,
    }
}

/// One stream whose header counts samples.
pub(super) fn is_bare(container: Container) -> bool {
    codec(container).is_some() || container == Container::Wav
}

/// The length that a header states, or that the demuxer found and did not guess.
pub(super) fn stated_length(
    container: Container,
    source: &dyn Source,
    found: Option<MediaTime>,
    cancel: &Cancel,
) -> Result<Option<MediaTime>, SourceError> {
    if codec(container).is_none() {
        return Ok(found);
    }
    let head = read_up_to(source, 0, 16, cancel)?;
    let first = read_up_to(source, id3_length(&head).unwrap_or(0), 4096, cancel)?;
    Ok(match container {
        Container::Mp3 => found.filter(|_| counts_frames(&first)),
        Container::Flac => flac_length(&first),
        _ => None,
    })
}

/// Whether an MP3's first frame is one of those that say how many follow.
fn counts_frames(first: &[u8]) -> bool {
    let names: [&[u8]; 3] = [b"Xing", b"Info", b"VBRI"];
    first.windows(4).any(|window| names.contains(&window))
}

/// Samples and rate of a FLAC's first block (RFC 9639 §8.2); zero samples are "unknown".
fn flac_length(first: &[u8]) -> Option<MediaTime> {
    let start = first.iter().position(|byte| *byte != 0)?;
    let block = first.get(start..)?.strip_prefix(b"fLaC")?;
    // Behind the block's header: sizes of blocks and frames, ten bytes; then 20 bits of rate, 8 of
    // channels and depth, 36 of samples.
    let packed = be64(block, 14)?;
    let rate = u32::try_from(packed >> 44).ok()?;
    let samples = i64::try_from(packed & 0xf_ffff_ffff).ok()?;
    MediaTime::new(samples, rate).filter(|length| *length > MediaTime::ZERO)
}

#[cfg(test)]
mod tests {
    use super::super::sniff::tests::{Bytes, id3, mp3_frames};
    use super::*;

    fn told(container: Container, bytes: Vec<u8>) -> Option<MediaTime> {
        stated_length(container, &Bytes(bytes), MediaTime::new(7, 1), &Cancel::new()).unwrap()
    }

    #[test]
    fn a_guessed_length_is_not_believed() {
        assert_eq!(told(Container::Mp3, mp3_frames()), None);
        assert_eq!(told(Container::Adts, mp3_frames()), None);
        let mut frames = mp3_frames();
        frames[36..40].copy_from_slice(b"Xing");
        assert_eq!(told(Container::Mp3, [id3(60), frames].concat()), MediaTime::new(7, 1));
        assert_eq!(told(Container::Ogg, Vec::new()), MediaTime::new(7, 1));
    }

    #[test]
    fn a_flac_counts_its_samples() {
        let packed: u64 = 44_100 << 44 | 1 << 41 | 15 << 36 | 176_401;
        let head = [&b"fLaC\0\0\0\x22\x10\0\x10\0\0\0\0\0\0\0"[..], &packed.to_be_bytes()].concat();
        assert_eq!(told(Container::Flac, head.clone()), MediaTime::new(176_401, 44_100));
        assert_eq!(told(Container::Flac, [id3(3), head.clone()].concat()), MediaTime::new(176_401, 44_100));
        assert_eq!(told(Container::Flac, head[..20].to_vec()), None);
        let unknown = [&head[..18], &(44_100u64 << 44).to_be_bytes()].concat();
        assert_eq!(told(Container::Flac, unknown), None);
    }
}
