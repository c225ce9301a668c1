//! The header of an MP4 or QuickTime file (ISO/IEC 14496-12): what a discoverer does not tell.
//!
//! Owns finding and reading the header (`moov`), and what is said of each track besides its samples:
//! handler, edit list, rotation, language. Sample tables are framed here, read by `mp4parse`, and
//! understood in [`super::samples`]. Hostile files: at most [`MOST_HEADER`] bytes are read, counts
//! are held against the bytes that are there, sums are checked. Times: each track's own clock until
//! they become stream times.

use super::boxes::{Header, Name, be16, be32, be64, boxes, find, find_path, put};
use super::samples::{Presentation, Samples, Sizes};
use super::sniff::read_up_to;
use crate::cancel::Cancel;
use crate::error::Error;
use crate::media::{Edit, Rotation};
use crate::source::Source;
use crate::units::MediaTime;

/// The longest header that is read. Ten hours of 60 pictures a second with audio need about 40 MiB.
const MOST_HEADER: u64 = 256 << 20;

/// Boxes at the top of a file that are stepped over in search of the header.
const MOST_BOXES: usize = 10_000;

/// Rows of an edit list that are taken; more are a damaged or a hostile file.
const MOST_EDITS: usize = 1_000;

/// What the header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Movie {
    /// In the header's order.
    pub(super) tracks: Vec<Track>,
    /// The samples are listed in fragments (`moof`) behind the header, not in it.
    pub(super) fragmented: bool,
    /// The length that a fragmented file's header states (`mehd`), where it does.
    pub(super) stated: Option<MediaTime>,
    /// What a person should know.
    pub(super) remarks: Vec<String>,
}

/// What the header says of one track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Track {
    /// The track's number in the file.
    pub(super) id: u32,
    /// What it is: `vide`, `soun`, `tmcd`, `meta`, `text`, …
    pub(super) handler: Name,
    /// The first sample entry's name: `avc1`, `mp4a`, `gpmd`.
    pub(super) format: Name,
    /// ISO 639-2 code; `None` for `und`.
    pub(super) language: Option<String>,
    /// `None` where the matrix is no quarter turn.
    pub(super) rotation: Option<Rotation>,
    /// The edit list, empty where there is none.
    pub(super) edits: Vec<Edit>,
    /// The sample tables; `None` where they are damaged.
    pub(super) samples: Option<Samples>,
}

impl Track {
    /// Pictures that are seen.
    pub(super) fn is_video(&self) -> bool {
        &self.handler == b"vide"
    }

    /// Samples that are heard.
    pub(super) fn is_audio(&self) -> bool {
        &self.handler == b"soun"
    }
}

/// Read the header of `source`.
///
/// # Errors
/// [`Error::Input`] where there is none, or only a part of it; [`Error::Source`].
pub(super) fn read(source: &dyn Source, cancel: &Cancel) -> Result<Movie, Error> {
    let wrong = |reason: String| Error::Input { uri: source.identity().uri, reason };
    let (offset, length) = find_header(source, cancel)?;
    if length > MOST_HEADER {
        return Err(wrong(format!(
            "the header (moov) claims {} MiB, at most {} MiB are read; the file is damaged",
            length >> 20,
            MOST_HEADER >> 20
        )));
    }
    let missing = (offset + length).saturating_sub(source.size());
    if missing > 0 {
        return Err(wrong(format!(
            "the header (moov) is cut off: {missing} of its {length} bytes are missing; \
             the recording or the upload was not finished"
        )));
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let bytes = read_up_to(source, offset, length, cancel)?;
    if bytes.len() < length {
        return Err(wrong(format!(
            "the file ends at byte {} although its size says more",
            offset + bytes.len() as u64
        )));
    }
    parse(&bytes, source.size()).map_err(wrong)
}

/// Where the header's payload is, and its length, found by stepping from box to box.
fn find_header(source: &dyn Source, cancel: &Cancel) -> Result<(u64, u64), Error> {
    let wrong = |reason: String| Error::Input { uri: source.identity().uri, reason };
    let size = source.size();
    let mut offset = 0u64;
    let mut media_end = None;
    for _ in 0..MOST_BOXES {
        if offset >= size {
            break;
        }
        let bytes = read_up_to(source, offset, Header::MOST, cancel)?;
        let Some(header) = Header::parse(&bytes) else {
            // Some recorders leave a few bytes behind the last box.
            if offset + 8 > size {
                break;
            }
            return Err(wrong(format!(
                "byte {offset} should begin a box and does not; the header (moov) was not found before it, \
                 the file is damaged"
            )));
        };
        let length = header.size.unwrap_or(size - offset);
        let behind_header = header.length as u64;
        match &header.name {
            b"moov" => return Ok((offset + behind_header, length.saturating_sub(behind_header))),
            b"moof" => {
                return Err(wrong(
                    "this is a piece of a fragmented MP4 without its header (moov); join it with its \
                     initialisation segment first"
                        .to_owned(),
                ));
            }
            b"mdat" => media_end = offset.checked_add(length),
            _ => {}
        }
        offset = offset.checked_add(length).ok_or_else(|| {
            wrong(format!("the box at byte {offset} claims an impossible length; the file is damaged"))
        })?;
    }
    let mut reason = "the header (moov) is missing: the recording was not finished".to_owned();
    match media_end {
        Some(end) if end > size => reason.push_str(&format!(
            ", or the file was cut off (its media should go on to byte {end}, the file ends at {size})"
        )),
        Some(_) => reason.push_str(" (there is media, but nothing says what and where)"),
        None => reason.push_str(" (there is no media in it either)"),
    }
    reason.push_str("; copy it again, or repair it with the recorder's own tool");
    Err(wrong(reason))
}

/// Understand the payload of a `moov` box of a file of `file` bytes.
fn parse(moov: &[u8], file: u64) -> Result<Movie, String> {
    let mut movie = Movie { tracks: Vec::new(), fragmented: false, stated: None, remarks: Vec::new() };
    if find(moov, b"cmov").is_some() {
        movie.remarks.push("the header is compressed (cmov), its tables are not looked at".to_owned());
        return Ok(movie);
    }
    let mvhd = find(moov, b"mvhd").ok_or("the header (moov) has no mvhd box; the file is damaged")?;
    let clock_at = if mvhd.first() == Some(&1) { 20 } else { 12 };
    let clock = be32(mvhd, clock_at).filter(|clock| *clock > 0);
    let clock = clock.ok_or("the header (mvhd) has no clock; the file is damaged")?;
    if let Some(mvex) = find(moov, b"mvex") {
        movie.fragmented = true;
        let stated = find(mvex, b"mehd").and_then(|mehd| match mehd.first()? {
            1 => be64(mehd, 4),
            _ => be32(mehd, 4).map(u64::from),
        });
        movie.stated = stated.filter(|ticks| *ticks > 0).map(|ticks| time(i128::from(ticks), clock));
    }
    for (_, trak) in boxes(moov).filter(|(name, _)| name == b"trak") {
        match track(trak, mvhd, clock, file, movie.fragmented, &mut movie.remarks) {
            Some(track) => movie.tracks.push(track),
            None => movie
                .remarks
                .push(format!("track {} of the header is damaged and left out", movie.tracks.len() + 1)),
        }
    }
    if movie.tracks.is_empty() {
        return Err("the header (moov) names no track".to_owned());
    }
    Ok(movie)
}

/// `None` where a part that every track has is missing.
fn track(
    trak: &[u8],
    mvhd: &[u8],
    movie_clock: u32,
    file: u64,
    fragmented: bool,
    remarks: &mut Vec<String>,
) -> Option<Track> {
    let tkhd = find(trak, b"tkhd")?;
    let mdia = find(trak, b"mdia")?;
    let mdhd = find(mdia, b"mdhd")?;
    let handler = *find(mdia, b"hdlr")?.get(8..12)?.first_chunk()?;
    let stbl = find_path(mdia, &[b"minf", b"stbl"])?;
    let long = tkhd.first() == Some(&1);
    let id = be32(tkhd, if long { 20 } else { 12 })?;
    let format =
        find(stbl, b"stsd").and_then(|stsd| stsd.get(12..16)?.first_chunk()).copied().unwrap_or(*b"\0\0\0\0");
    let edits = find_path(trak, &[b"edts", b"elst"]).map(|elst| edits(elst, remarks)).unwrap_or_default();
    let mdhd_long = mdhd.first() == Some(&1);
    let clock = be32(mdhd, if mdhd_long { 20 } else { 12 }).filter(|clock| *clock > 0)?;
    let language = be16(mdhd, if mdhd_long { 32 } else { 20 }).and_then(language);
    let rotation = rotation(tkhd.get(if long { 52 } else { 40 }..)?);

    let presentation = Presentation::new(&edits, movie_clock, clock);
    let tables = framed(stbl, mvhd, tkhd, mdhd).and_then(|framed| {
        let media = mp4parse::read_mp4(&mut framed.as_slice()).ok()?;
        let mut tracks = media.tracks.into_iter();
        tracks.next()
    });
    let samples = tables.and_then(|tables| {
        let sizes = Sizes::read(stbl)?;
        Samples::understand(&tables, &sizes, &presentation, file, remarks, id)
    });
    if samples.is_none() && !fragmented && matches!(&handler, b"vide" | b"soun") {
        remarks.push(format!("the sample tables of track {id} are damaged; what they would tell is missing"));
    }
    let edits = edits
        .iter()
        .map(|row| Edit {
            duration: time(i128::from(row.duration), movie_clock),
            media_time: row.media_time.map(|ticks| time(i128::from(ticks), clock)),
        })
        .collect();
    Some(Track { id, handler, format, language, rotation, edits, samples })
}

/// One row of an edit list as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// On the movie's clock; zero is "to the end".
    pub(super) duration: u64,
    /// On the track's clock; `None` is a pause.
    pub(super) media_time: Option<i64>,
}

fn edits(elst: &[u8], remarks: &mut Vec<String>) -> Vec<Row> {
    let long = elst.first() == Some(&1);
    let row = if long { 20 } else { 12 };
    let count = be32(elst, 4).map_or(0, |count| usize::try_from(count).unwrap_or(usize::MAX));
    if count > MOST_EDITS {
        remarks.push(format!("an edit list has {count} rows, the first {MOST_EDITS} are taken"));
    }
    let rows = elst.get(8..).unwrap_or_default().chunks_exact(row).take(count.min(MOST_EDITS));
    rows.filter_map(|row| {
        let (duration, media_time) = if long {
            (be64(row, 0)?, be64(row, 8)?.cast_signed())
        } else {
            (u64::from(be32(row, 0)?), i64::from(be32(row, 4)?.cast_signed()))
        };
        Some(Row { duration, media_time: (media_time >= 0).then_some(media_time) })
    })
    .collect()
}

/// Three letters of five bits, each counted from 0x60 (ISO/IEC 14496-12 §8.4.2.3). QuickTime's own
/// numbers (below 0x400) are left alone but for English.
fn language(code: u16) -> Option<String> {
    if code < 0x400 {
        return (code == 0).then(|| "eng".to_owned());
    }
    let letters = [code >> 10 & 31, code >> 5 & 31, code & 31];
    let text: String =
        letters.iter().filter_map(|letter| char::from_u32(u32::from(*letter) + 0x60)).collect();
    (text.chars().all(|letter| letter.is_ascii_lowercase()) && text != "und").then_some(text)
}

/// Which way the matrix in a track header turns pictures; `None` where it is no quarter turn.
/// Rows are `a b u`, `c d v`, `x y w`; only the signs of the first two by two count.
fn rotation(matrix: &[u8]) -> Option<Rotation> {
    let sign = |at: usize| be32(matrix, at).map(|value| value.cast_signed().signum());
    Some(match (sign(0)?, sign(4)?, sign(12)?, sign(16)?) {
        // All zero is what some recorders write for "none".
        (1, 0, 0, 1) | (0, 0, 0, 0) => Rotation::None,
        (0, 1, -1, 0) => Rotation::Clockwise90,
        (-1, 0, 0, -1) => Rotation::Half,
        (0, -1, 1, 0) => Rotation::Clockwise270,
        (-1, 0, 0, 1) => Rotation::Mirror,
        (0, 1, 1, 0) => Rotation::MirrorClockwise90,
        (1, 0, 0, -1) => Rotation::MirrorHalf,
        (0, -1, -1, 0) => Rotation::MirrorClockwise270,
        _ => return None,
    })
}

/// A header with nothing but one track's sample tables, in the order and form that `mp4parse` takes.
/// What it is strict about and we do not need from it (sample entries of every recorder, handler
/// names, user data) is left out, and a count beyond its box ends here, before it reserves memory.
fn framed(stbl: &[u8], mvhd: &[u8], tkhd: &[u8], mdhd: &[u8]) -> Option<Vec<u8>> {
    let tables: [(&Name, usize); 6] =
        [(b"stts", 8), (b"ctts", 8), (b"stss", 4), (b"stsc", 12), (b"stco", 4), (b"co64", 8)];
    let mut inner = Vec::new();
    for (name, row) in tables {
        let Some(table) = find(stbl, name) else { continue };
        let count = usize::try_from(be32(table, 4)?).ok()?;
        let length = count.checked_mul(row)?.checked_add(8)?;
        // Padding behind the last row is cut off.
        put(&mut inner, name, table.get(..length)?);
    }
    let wrap = |name: &Name, payload: &[u8]| {
        let mut out = Vec::with_capacity(payload.len() + 8);
        put(&mut out, name, payload);
        out
    };
    let minf = wrap(b"minf", &wrap(b"stbl", &inner));
    let mdia = wrap(b"mdia", &[wrap(b"mdhd", mdhd), minf].concat());
    let trak = wrap(b"trak", &[wrap(b"tkhd", tkhd), mdia].concat());
    Some(wrap(b"moov", &[wrap(b"mvhd", mvhd), trak].concat()))
}

/// `ticks` of a clock with `clock` ticks a second, held within what a time can say.
pub(super) fn time(ticks: i128, clock: u32) -> MediaTime {
    const BOUND: i128 = i64::MAX as i128 / 4;
    let ticks = i64::try_from(ticks.clamp(-BOUND, BOUND)).unwrap_or(0);
    MediaTime::new(ticks, clock.max(1)).unwrap_or(MediaTime::ZERO)
}

#[cfg(test)]
mod tests;
