//! Our own media playlists, read back: what a run that died had published.

use super::media::{Checked, Entry};
use crate::units::MediaTime;

/// A text that is not one of our media playlists, or not a whole one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaylistError {
    /// A line that our writer would not have put there.
    #[error("line {line} is `{text}`, expected {expected}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// The line; its first 80 characters.
        text: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// The text stops in the middle.
    #[error("the playlist ends after line {line}, expected {expected}")]
    CutShort {
        /// Whole lines read.
        line: usize,
        /// What is missing.
        expected: &'static str,
    },
}

/// The segments that one of our media playlists names, each with its URI and what is said of it.
///
/// Lengths are to the microsecond, rounded as [`media`](super::media()) rounds them: rendering from
/// them again gives the same text. The exact ones are the plan's.
///
/// # Errors
/// [`PlaylistError`] where any line is not as [`media`](super::media()) writes it, or the text is cut.
pub fn read_media(text: &str) -> Result<Vec<(String, Entry)>, PlaylistError> {
    let mut lines = Lines { rest: text, line: 0 };
    lines.tag("#EXTM3U", |rest| rest.is_empty(), "#EXTM3U")?;
    lines.tag("#EXT-X-VERSION:", |rest| rest == super::VERSION.to_string(), "#EXT-X-VERSION:3")?;
    lines.tag("#EXT-X-TARGETDURATION:", is_number, "#EXT-X-TARGETDURATION with seconds")?;
    lines.tag("#EXT-X-MEDIA-SEQUENCE:", |rest| rest == "0", "#EXT-X-MEDIA-SEQUENCE:0")?;
    let kind = lines.tag(
        "#EXT-X-PLAYLIST-TYPE:",
        |rest| matches!(rest, "EVENT" | "VOD"),
        "#EXT-X-PLAYLIST-TYPE:EVENT or VOD",
    )?;
    lines.tag("#EXT-X-INDEPENDENT-SEGMENTS", str::is_empty, "#EXT-X-INDEPENDENT-SEGMENTS")?;
    let mut segments = Vec::new();
    while !lines.rest.is_empty() {
        let mut line = lines.next("a segment or #EXT-X-ENDLIST")?;
        if line == "#EXT-X-ENDLIST" && kind == "VOD" {
            return match lines.rest.lines().next() {
                None => Ok(segments),
                Some(text) => Err(wrong(lines.line + 1, text, "nothing behind #EXT-X-ENDLIST")),
            };
        }
        let discontinuity = line == "#EXT-X-DISCONTINUITY";
        if discontinuity {
            line = lines.next("a segment")?;
        }
        let checked = Checked::read(line).filter(|_| kind == "EVENT");
        if checked.is_some() {
            line = lines.next("#EXTINF with six decimals")?;
        }
        let length = line.strip_prefix("#EXTINF:").and_then(|rest| rest.strip_suffix(',')).and_then(seconds);
        let duration = length.ok_or_else(|| {
            wrong(
                lines.line,
                line,
                "#EXTINF with six decimals, or #EXT-X-ENDLIST at the end of a VOD playlist",
            )
        })?;
        let uri = lines.next("a segment's URI")?;
        if uri.is_empty() || uri.starts_with('#') || uri.chars().any(char::is_whitespace) {
            return Err(wrong(lines.line, uri, "a segment's URI"));
        }
        segments.push((uri.to_owned(), Entry { duration, discontinuity, checked }));
    }
    if kind == "VOD" {
        return Err(PlaylistError::CutShort { line: lines.line, expected: "#EXT-X-ENDLIST" });
    }
    Ok(segments)
}

struct Lines<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Lines<'a> {
    /// The next whole line; a last one without its end is cut short.
    fn next(&mut self, expected: &'static str) -> Result<&'a str, PlaylistError> {
        let cut = PlaylistError::CutShort { line: self.line, expected };
        let (line, rest) = self.rest.split_once('\n').ok_or(cut)?;
        self.rest = rest;
        self.line += 1;
        Ok(line)
    }

    /// The next line, which must begin with `name`; gives the rest of it where that is as it should be.
    fn tag(
        &mut self,
        name: &str,
        fits: impl Fn(&str) -> bool,
        expected: &'static str,
    ) -> Result<&'a str, PlaylistError> {
        let line = self.next(expected)?;
        line.strip_prefix(name).filter(|rest| fits(rest)).ok_or_else(|| wrong(self.line, line, expected))
    }
}

fn wrong(line: usize, text: &str, expected: &'static str) -> PlaylistError {
    PlaylistError::Line { line, text: text.chars().take(80).collect(), expected }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() < 10 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `6.006000`, exactly.
fn seconds(text: &str) -> Option<MediaTime> {
    let (whole, decimals) = text.split_once('.')?;
    if !is_number(whole) || decimals.len() != 6 || !is_number(decimals) {
        return None;
    }
    let micros = whole.parse::<i64>().ok()? * 1_000_000 + decimals.parse::<i64>().ok()?;
    MediaTime::new(micros, 1_000_000)
}
