//! Which container a source is, told from its first bytes alone.
//!
//! Owns the list of what is let in and the words for what is not. A name, an extension or a content
//! type is never looked at: a playlist named `upload.mp4` once made a demuxer fetch what it named.
//! Knows nothing of GStreamer. Units: bytes.

use crate::cancel::Cancel;
use crate::error::Error;
use crate::media::Container;
use crate::source::{Source, SourceError};

/// Bytes that are looked at: enough for the longest tag of a playlist's first lines and for five
/// packets of an MPEG transport stream.
const HEAD: usize = 16 * 1024;

/// Names of the containers that are let in, for error texts.
const ALLOWED: &str =
    "MP4, QuickTime, Matroska, WebM, MPEG-TS, MPEG-PS, AVI, FLV, Ogg, WAV, MP3, AAC (ADTS) and FLAC";

/// The container of `source`.
///
/// # Errors
/// [`Error::Input`] with what the bytes look like and what is allowed; [`Error::Source`] where they
/// cannot be read.
pub(super) fn sniff(source: &dyn Source, cancel: &Cancel) -> Result<Container, Error> {
    let refuse = |what: String| Error::Input { uri: source.identity().uri, reason: what };
    if source.size() == 0 {
        return Err(refuse("the file is empty (0 bytes); was the upload finished?".to_owned()));
    }
    let head = read_up_to(source, 0, HEAD, cancel)?;
    let result = match id3_length(&head) {
        // What an ID3v2 tag stands before is told from the bytes behind it.
        Some(length) => {
            let behind = read_up_to(source, length, HEAD, cancel)?;
            recognise_behind_id3(&behind)
        }
        None => recognise(&head),
    };
    result.map_err(|found| {
        refuse(format!("this is {}, not a video that is let in; {}", found.what, found.advice_line()))
    })
}

/// Read `length` bytes from `offset`; fewer where the source ends before.
pub(super) fn read_up_to(
    source: &dyn Source,
    offset: u64,
    length: usize,
    cancel: &Cancel,
) -> Result<Vec<u8>, SourceError> {
    let left = usize::try_from(source.size().saturating_sub(offset)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length.min(left)];
    let mut have = 0;
    while have < bytes.len() {
        if cancel.is_cancelled() {
            return Err(SourceError::Cancelled);
        }
        match source.read_at(offset + have as u64, &mut bytes[have..], cancel)? {
            0 => break,
            read => have += read.min(bytes.len() - have),
        }
    }
    bytes.truncate(have);
    Ok(bytes)
}

/// What bytes look like that are not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    /// With its article: `an HLS playlist (#EXTM3U)`.
    what: String,
    /// What to do, where there is something better to say than the list.
    advice: Option<&'static str>,
}

impl Found {
    fn advice_line(&self) -> String {
        match self.advice {
            Some(advice) => format!("{advice}; allowed are {ALLOWED}"),
            None => format!("allowed are {ALLOWED}"),
        }
    }
}

fn found(what: &str) -> Found {
    Found { what: what.to_owned(), advice: None }
}

/// Something that only names videos.
fn names_others(what: &str) -> Found {
    Found { what: what.to_owned(), advice: Some("give the video itself, what it names is never fetched") }
}

/// Something that holds one stream and no clock.
fn bare(what: &str) -> Found {
    Found { what: what.to_owned(), advice: Some("put it into a container first, MP4 for example") }
}

fn recognise(head: &[u8]) -> Result<Container, Found> {
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    if let Some(result) = iso_media(head) {
        return result;
    }
    match head {
        _ if at(0, &[0x1a, 0x45, 0xdf, 0xa3]) => ebml(head),
        _ if at(0, b"RIFF") || at(0, b"RF64") => riff(head),
        _ if at(0, b"FLV\x01") => Ok(Container::Flv),
        _ if at(0, b"OggS") => Ok(Container::Ogg),
        _ if at(0, b"fLaC") => Ok(Container::Flac),
        _ if at(0, &[0, 0, 1, 0xba]) => Ok(Container::MpegPs),
        _ if is_transport_stream(head) => Ok(Container::MpegTs),
        _ => match elementary(head) {
            Some(container) => Ok(container),
            None => Err(known_other(head).unwrap_or_else(|| text_or_binary(head))),
        },
    }
}

fn recognise_behind_id3(behind: &[u8]) -> Result<Container, Found> {
    // Some writers pad the tag with zeros that its length does not count.
    let start = behind.iter().position(|byte| *byte != 0).unwrap_or(behind.len());
    let behind = &behind[start..];
    if behind.starts_with(b"fLaC") {
        return Ok(Container::Flac);
    }
    // A damaged first frame is no reason to refuse: look a little further for one that is followed
    // by another.
    (0..behind.len().min(4096))
        .find_map(|at| elementary(&behind[at..]))
        .ok_or_else(|| found("an ID3 tag without MP3, AAC or FLAC data behind it"))
}

/// The length of an ID3v2 tag at the beginning, header and footer included (ID3v2.4 §3.1).
pub(super) fn id3_length(head: &[u8]) -> Option<u64> {
    let header = head.first_chunk::<10>()?;
    let sized = header[6..].iter().all(|byte| *byte < 0x80);
    if !header.starts_with(b"ID3") || header[3] == 0xff || !sized {
        return None;
    }
    let size = header[6..].iter().fold(0u64, |size, byte| size << 7 | u64::from(*byte));
    let footer = if header[5] & 0x10 != 0 { 10 } else { 0 };
    Some(10 + size + footer)
}

/// ISO base media files and QuickTime (ISO/IEC 14496-12 §4.3); `None` where the bytes are no box.
fn iso_media(head: &[u8]) -> Option<Result<Container, Found>> {
    let size = u32::from_be_bytes(*head.first_chunk()?);
    let name = head.get(4..8)?;
    if name == b"ftyp" {
        if size < 16 {
            return Some(Err(found("an MP4 with a damaged first box (ftyp)")));
        }
        let brand = head.get(8..12)?;
        let picture: [&[u8]; 9] =
            [b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"avif", b"avis"];
        return Some(match brand {
            b"qt  " => Ok(Container::QuickTime),
            _ if picture.contains(&brand) => Err(found("a still picture (HEIF or AVIF)")),
            b"crx " => Err(found("a camera's raw picture (CR3)")),
            b"jp2 " | b"jpx " => Err(found("a JPEG 2000 picture")),
            _ => Ok(Container::Mp4),
        });
    }
    // "set free": four letters before the name are a text, not a size.
    let text = head[..4].iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    if text || (2..8).contains(&size) {
        return None;
    }
    match name {
        b"moov" | b"mdat" | b"wide" | b"free" | b"skip" | b"pnot" => Some(Ok(Container::QuickTime)),
        b"styp" | b"moof" | b"sidx" => Some(Err(Found {
            what: "a piece of a fragmented MP4 without its header".to_owned(),
            advice: Some("join it with its initialisation segment (moov) first"),
        })),
        _ => None,
    }
}

/// Matroska or WebM, by the document type in the EBML header (RFC 8794 §11.2).
fn ebml(head: &[u8]) -> Result<Container, Found> {
    let doc_type = || -> Option<&[u8]> {
        let (length, used) = ebml_number(head.get(4..)?)?;
        let header = head.get(4 + used..)?;
        let mut header = header.get(..usize::try_from(length).ok()?).unwrap_or(header);
        while let [first, second, ..] = *header {
            // Elements of this header have identifiers of one byte (void, CRC) or of two.
            let id_bytes = if first & 0x80 != 0 { 1 } else { 2 };
            let (length, used) = ebml_number(header.get(id_bytes..)?)?;
            let body = header.get(id_bytes + used..)?;
            let length = usize::try_from(length).ok()?;
            if (first, second) == (0x42, 0x82) {
                let text = body.get(..length)?;
                return Some(text.split(|byte| *byte == 0).next().unwrap_or(text));
            }
            header = body.get(length..)?;
        }
        None
    };
    match doc_type() {
        Some(b"webm") => Ok(Container::WebM),
        Some(b"matroska") => Ok(Container::Matroska),
        Some(other) => Err(found(&format!("an EBML file of type `{}`", printable(other)))),
        None => Err(found("a damaged Matroska file: its header does not say what it is")),
    }
}

/// A variable-length EBML number and the bytes it takes (RFC 8794 §4).
pub(super) fn ebml_number(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = first.leading_zeros() as usize + 1;
    if length > 8 {
        return None;
    }
    let start = u64::from(first) & ((1u64 << (8 - length)) - 1);
    let rest = bytes.get(1..length)?;
    Some((rest.iter().fold(start, |number, byte| number << 8 | u64::from(*byte)), length))
}

fn riff(head: &[u8]) -> Result<Container, Found> {
    match head.get(8..12) {
        Some(b"AVI ") => Ok(Container::Avi),
        Some(b"WAVE") => Ok(Container::Wav),
        Some(b"WEBP") => Err(found("a WebP picture")),
        Some(kind) => Err(found(&format!("a RIFF file of kind `{}`", printable(kind)))),
        None => Err(found("the first bytes of a RIFF file and nothing more")),
    }
}

/// Packets of 188 bytes, or of 192 or 204 with what recorders add: the sync byte (ISO/IEC 13818-1
/// §2.4.3.2) five times in step, or as often as the file is long.
fn is_transport_stream(head: &[u8]) -> bool {
    [188usize, 192, 204].into_iter().any(|packet| {
        (0..packet.min(head.len())).any(|start| {
            let mut syncs = (start..head.len()).step_by(packet).take(5).map(|at| head[at] == 0x47);
            let wanted = ((head.len() - start) / packet).min(5);
            // A recording may be cut anywhere, but short files are taken only where they begin well.
            let enough = wanted == 5 || (wanted >= 1 && start <= 4);
            enough && syncs.all(|sync| sync)
        })
    })
}

/// MPEG audio or AAC in ADTS: a frame header with another where the first says it ends.
fn elementary(head: &[u8]) -> Option<Container> {
    if let Some(length) = adts_frame(head) {
        let next = head.get(length..)?;
        return (next.is_empty() || adts_frame(next).is_some()).then_some(Container::Adts);
    }
    let length = mpeg_audio_frame(head)?;
    let next = head.get(length..)?;
    (next.is_empty() || mpeg_audio_frame(next).is_some()).then_some(Container::Mp3)
}

/// The length of an ADTS frame (ISO/IEC 14496-3 §1.A.2.2).
fn adts_frame(head: &[u8]) -> Option<usize> {
    let header = head.first_chunk::<7>()?;
    let sync = header[0] == 0xff && header[1] & 0xf6 == 0xf0;
    let rate_index = header[2] >> 2 & 0xf;
    let length = usize::from(header[3] & 3) << 11 | usize::from(header[4]) << 3 | usize::from(header[5] >> 5);
    (sync && rate_index < 13 && length > 7).then_some(length)
}

/// The length of an MPEG audio frame of layer I to III (ISO/IEC 11172-3 §2.4.2.3).
fn mpeg_audio_frame(head: &[u8]) -> Option<usize> {
    const MPEG1: [[usize; 15]; 3] = [
        [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
        [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
        [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    ];
    const MPEG2: [[usize; 15]; 2] = [
        [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
        [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ];
    let header = head.first_chunk::<4>()?;
    let version = header[1] >> 3 & 3;
    let layer = 4 - usize::from(header[1] >> 1 & 3);
    let rate_index = usize::from(header[2] >> 2 & 3);
    if header[0] != 0xff || header[1] & 0xe0 != 0xe0 || version == 1 || layer == 4 || rate_index == 3 {
        return None;
    }
    let index = usize::from(header[2] >> 4);
    let table = if version == 3 { MPEG1.get(layer - 1)? } else { MPEG2.get(usize::from(layer != 1))? };
    let kbits = *table.get(index).filter(|rate| **rate > 0)?;
    let rate = [44_100, 48_000, 32_000][rate_index]
        >> (if version == 3 { 0 } else { usize::from(version == 2) + usize::from(version == 0) * 2 });
    let padding = usize::from(header[2] >> 1 & 1);
    Some(match layer {
        1 => (12 * kbits * 1000 / rate + padding) * 4,
        3 if version != 3 => 72 * kbits * 1000 / rate + padding,
        _ => 144 * kbits * 1000 / rate + padding,
    })
}

/// Well-known files that are not let in, by their magic bytes.
fn known_other(head: &[u8]) -> Option<Found> {
    let magic: [(&[u8], &str); 20] = [
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media file (ASF)"),
        (b".RMF", "a RealMedia file"),
        (b"\x06\x0e\x2b\x34\x02\x05\x01\x01", "an MXF file"),
        (b"\x89PNG", "a PNG picture"),
        (b"\xff\xd8\xff", "a JPEG picture"),
        (b"GIF8", "a GIF picture"),
        (b"BM", "a BMP picture"),
        (b"II*\0", "a TIFF picture"),
        (b"MM\0*", "a TIFF picture"),
        (b"%PDF", "a PDF document"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"7z\xbc\xaf", "a 7z archive"),
        (b"Rar!", "a RAR archive"),
        (b"\x7fELF", "a program (ELF)"),
        (b"MZ", "a program (PE)"),
        (b"FORM", "an AIFF or IFF file"),
        (b"#!AMR", "an AMR recording"),
        (b"wvpk", "a WavPack file"),
        (b"caff", "an Apple CAF file"),
    ];
    if let Some((_, what)) = magic.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Some(found(what));
    }
    if head.starts_with(&[0, 0, 1, 0xb3]) {
        return Some(bare("a bare MPEG video stream"));
    }
    let after_start = head.strip_prefix(&[0, 0, 0, 1]).or(head.strip_prefix(&[0, 0, 1]));
    match after_start.and_then(|rest| rest.first()) {
        Some(byte) if byte & 0x80 == 0 && matches!(byte & 0x1f, 7 | 9) => Some(bare("a bare H.264 stream")),
        Some(byte) if byte & 0x80 == 0 && matches!(byte >> 1 & 0x3f, 32 | 33 | 35) => {
            Some(bare("a bare HEVC stream"))
        }
        _ => None,
    }
}

fn text_or_binary(head: &[u8]) -> Found {
    if head.iter().all(|byte| *byte == 0) {
        return Found {
            what: "nothing but zero bytes".to_owned(),
            advice: Some("the upload or the copy was not finished, do it again"),
        };
    }
    if let Some(text) = as_text(head) {
        return text_kind(&text);
    }
    let first: Vec<String> = head.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    found(&format!("of an unknown kind (it begins with {})", first.join(" ")))
}

/// The head as text, where it is one: UTF-8 or UTF-16 without control characters.
fn as_text(head: &[u8]) -> Option<String> {
    let text = match head {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes)?,
        _ => match std::str::from_utf8(head) {
            Ok(text) => text.to_owned(),
            // The last character may be cut by the length that is looked at.
            Err(error) if error.error_len().is_none() => {
                String::from_utf8_lossy(head.get(..error.valid_up_to())?).into_owned()
            }
            Err(_) => return None,
        },
    };
    let text = text.trim_start_matches('\u{feff}');
    let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\x0c' | '\x1a');
    (!text.is_empty() && !text.contains(odd)).then(|| text.trim_start().to_owned())
}

fn utf16(bytes: &[u8], read: fn([u8; 2]) -> u16) -> Option<String> {
    let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| read([pair[0], pair[1]])).collect();
    String::from_utf16(&units).ok()
}

fn text_kind(text: &str) -> Found {
    let lower: String = text.chars().take(4096).collect::<String>().to_ascii_lowercase();
    if text.starts_with("#EXTM3U") {
        return names_others("an HLS playlist (#EXTM3U)");
    }
    if lower.starts_with('<') {
        let kinds = [
            ("<smil", "a SMIL presentation (XML)"),
            ("<mpd", "a DASH manifest (MPD)"),
            ("<smoothstreamingmedia", "a Smooth Streaming manifest (XML)"),
            ("<asx", "an ASX playlist (XML)"),
            ("<playlist", "an XSPF playlist (XML)"),
        ];
        if let Some((_, what)) = kinds.iter().find(|(tag, _)| lower.contains(tag)) {
            return names_others(what);
        }
        if lower.contains("<!doctype html") || lower.contains("<html") {
            return Found {
                what: "a web page (HTML)".to_owned(),
                advice: Some("a log-in or error page may have been saved in place of the video"),
            };
        }
        // What S3 answers to a request that it refuses.
        if lower.contains("<error>") && lower.contains("<code>") {
            return Found {
                what: "a store's error answer (XML)".to_owned(),
                advice: Some("it was saved in place of the video, fetch that again"),
            };
        }
        return found("an XML text");
    }
    if lower.starts_with("v=0") && lower.contains("o=") {
        return names_others("a session description (SDP)");
    }
    if lower.starts_with("[playlist]") || lower.starts_with("[reference]") {
        return names_others("a playlist text");
    }
    if lower.starts_with("rtsptext") || lower.starts_with("rtsp://") || lower.starts_with("http") {
        return names_others("a text with an address");
    }
    if lower.starts_with("webvtt") {
        return found("a subtitle text (WebVTT)");
    }
    if lower.starts_with('{') || lower.starts_with('[') {
        return found("a JSON or similar text");
    }
    found("a text")
}

fn printable(bytes: &[u8]) -> String {
    bytes.iter().take(16).map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' }).collect()
}

#[cfg(test)]
pub(super) mod tests;
