//! How large a file says it is: what tells that one without tables was cut off.
//!
//! Owns the outermost length of RIFF files (AVI, WAV) and of Matroska's segment. Writers that could
//! not go back to fill it in leave a mark for "unknown", which says nothing. Units: bytes.

use super::sniff::{ebml_number, read_up_to};
use crate::cancel::Cancel;
use crate::media::Container;
use crate::source::{Source, SourceError};

/// Where the file should end by its own header, where that is beyond its end.
pub(super) fn beyond_the_end(
    container: Container,
    source: &dyn Source,
    cancel: &Cancel,
) -> Result<Option<u64>, SourceError> {
    let end = match container {
        Container::Avi | Container::Wav => riff_end(&read_up_to(source, 0, 64, cancel)?),
        Container::Matroska | Container::WebM => segment_end(&read_up_to(source, 0, 4096, cancel)?),
        _ => None,
    };
    // A last byte of padding is often left out.
    Ok(end.filter(|end| *end > source.size() + 1))
}

fn riff_end(head: &[u8]) -> Option<u64> {
    let size = u32::from_le_bytes(*head.get(4..)?.first_chunk()?);
    match (head.get(..4)?, size) {
        // The real size is in the chunk that follows (EBU Tech 3306).
        (b"RF64", _) if head.get(12..16) == Some(b"ds64") => {
            u64::from_le_bytes(*head.get(20..)?.first_chunk()?).checked_add(8)
        }
        (_, 0 | u32::MAX) => None,
        _ => Some(u64::from(size) + 8),
    }
}

fn segment_end(head: &[u8]) -> Option<u64> {
    let mut at = 0;
    // The EBML header, perhaps something void, the segment: identifiers of four bytes and of one.
    for _ in 0..4 {
        let id = head.get(at..)?;
        let length_of_id = match id.first()? {
            0x10..=0x1f => 4,
            0x80.. => 1,
            _ => return None,
        };
        let is_segment = id.starts_with(&[0x18, 0x53, 0x80, 0x67]);
        let (length, used) = ebml_number(head.get(at + length_of_id..)?)?;
        let body = at + length_of_id + used;
        if is_segment {
            let unknown = length == (1u64 << (7 * used)) - 1;
            return if unknown { None } else { length.checked_add(body as u64) };
        }
        at = body.checked_add(usize::try_from(length).ok()?)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::sniff::tests::Bytes;
    use super::*;

    fn beyond(container: Container, bytes: &[u8]) -> Option<u64> {
        beyond_the_end(container, &Bytes(bytes.to_vec()), &Cancel::new()).unwrap()
    }

    #[test]
    fn a_riff_that_ends_early_is_noticed() {
        assert_eq!(beyond(Container::Avi, b"RIFF\x64\0\0\0AVI LIST"), Some(108));
        assert_eq!(beyond(Container::Avi, b"RIFF\x08\0\0\0AVI LIST"), None);
        assert_eq!(beyond(Container::Wav, b"RIFF\xff\xff\xff\xffWAVEfmt "), None);
        assert_eq!(beyond(Container::Wav, b"RIFF\0\0\0\0WAVEfmt "), None);
        let large = b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0\0\0\0\0\x02\0\0\0";
        assert_eq!(beyond(Container::Wav, large), Some((2 << 32) + 8));
    }

    #[test]
    fn a_segment_that_ends_early_is_noticed() {
        let head = b"\x1a\x45\xdf\xa3\x83\x42\x86\x80\xec\x81\0\x18\x53\x80\x67";
        let with = |size: &[u8]| beyond(Container::Matroska, &[&head[..], size].concat());
        assert_eq!(with(&[0x41, 0]), Some(head.len() as u64 + 2 + 256));
        assert_eq!(with(&[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(with(&[0xff]), None);
        assert_eq!(with(&[0x80]), None);
    }
}
