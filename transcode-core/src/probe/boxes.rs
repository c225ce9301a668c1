//! Walks the boxes of an MP4 (ISO/IEC 14496-12 §4.2) inside bytes that were read already.
//!
//! Owns bounded reading: every length is checked against what is there, nothing is allocated by a
//! number out of the file, nothing recurses. Knows no box but by its name. Units: bytes.

/// A box's four letters.
pub(super) type Name = [u8; 4];

/// The boxes of some bytes, in order; ends at the first that is not whole.
#[derive(Clone)]
pub(super) struct Boxes<'a> {
    rest: &'a [u8],
}

/// The boxes in `bytes`.
pub(super) fn boxes(bytes: &[u8]) -> Boxes<'_> {
    Boxes { rest: bytes }
}

impl<'a> Iterator for Boxes<'a> {
    type Item = (Name, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let header = Header::parse(self.rest)?;
        // Size 0 is allowed at the top of a file only; here it ends the list, as zero bytes of
        // padding do.
        let end = usize::try_from(header.size?).ok()?;
        let payload = self.rest.get(header.length..end)?;
        self.rest = &self.rest[end..];
        Some((header.name, payload))
    }
}

/// The payload of the first box of that name in `bytes`.
pub(super) fn find<'a>(bytes: &'a [u8], name: &Name) -> Option<&'a [u8]> {
    boxes(bytes).find(|(found, _)| found == name).map(|(_, payload)| payload)
}

/// The payload of the box at the end of a path of names.
pub(super) fn find_path<'a>(bytes: &'a [u8], path: &[&Name]) -> Option<&'a [u8]> {
    path.iter().try_fold(bytes, |inside, name| find(inside, name))
}

/// A box's first bytes, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: Name,
    /// Bytes of this header.
    pub(super) length: usize,
    /// Bytes of the whole box; `None` for "to the end of the file".
    pub(super) size: Option<u64>,
}

impl Header {
    /// Bytes that suffice for any header.
    pub(super) const MOST: usize = 16;

    /// `None` where the bytes are too few or the size is less than the header.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let name = *bytes.get(4..8)?.first_chunk()?;
        let (length, size) = match be32(bytes, 0)? {
            0 => (8, None),
            1 => (16, Some(be64(bytes, 8)?)),
            size => (8, Some(u64::from(size))),
        };
        let whole = size.is_none_or(|size| size >= length as u64);
        whole.then_some(Self { name, length, size })
    }
}

/// A big-endian number of 16 bits.
pub(super) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// A big-endian number of 32 bits.
pub(super) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// A big-endian number of 64 bits.
pub(super) fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// Write a box's header and its payload behind `out`; sizes are those of payloads in memory.
pub(super) fn put(out: &mut Vec<u8>, name: &Name, payload: &[u8]) {
    let size = u32::try_from(payload.len() + 8).unwrap_or(0);
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(name);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_that_runs_past_its_parent_ends_the_list() {
        let mut bytes = Vec::new();
        put(&mut bytes, b"free", &[1, 2, 3]);
        put(&mut bytes, b"trak", &[4]);
        assert_eq!(boxes(&bytes).count(), 2);
        assert_eq!(find(&bytes, b"trak"), Some(&[4u8][..]));
        bytes.pop();
        assert_eq!(boxes(&bytes).count(), 1);
        bytes[3] = 4;
        assert_eq!(boxes(&bytes).count(), 0, "a size below the header's");
    }

    #[test]
    fn large_sizes_are_read_and_bounded() {
        let mut bytes = vec![0, 0, 0, 1, b'm', b'd', b'a', b't', 0, 0, 0, 0, 0, 0, 0, 17, 9];
        assert_eq!(find(&bytes, b"mdat"), Some(&[9u8][..]));
        bytes[8] = 0xff;
        assert_eq!(find(&bytes, b"mdat"), None);
        assert_eq!(Header::parse(&bytes).and_then(|header| header.size), Some(0xff00_0000_0000_0011));
    }
}
