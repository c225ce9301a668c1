//! Boxes of ISO/IEC 14496-12 written into memory: nesting, sizes, big-endian fields.
//!
//! Knows no box but its frame. Sizes are 32 bits: what is written here are headers and tables; the
//! one box that may be larger, `mdat`, is framed by its caller.

/// A box's name.
pub(super) type Name = &'static [u8; 4];

/// Bytes under construction.
#[derive(Debug, Default)]
pub(super) struct Boxes(Vec<u8>);

impl Boxes {
    /// None yet.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// A box with what `fill` puts into it.
    pub(super) fn boxed(&mut self, name: Name, fill: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.u32(0);
        self.0.extend_from_slice(name);
        fill(self);
        let size = self.0.len() - start;
        // Tables of 2³² bytes are a thousand hours; `too_long` refuses them before.
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        self.0[start..start + 4].copy_from_slice(&size.to_be_bytes());
    }

    /// A box with a version and 24 flags.
    pub(super) fn full(&mut self, name: Name, version: u8, flags: u32, fill: impl FnOnce(&mut Self)) {
        self.boxed(name, |boxes| {
            boxes.u32(u32::from(version) << 24 | flags & 0xFF_FFFF);
            fill(boxes);
        });
    }

    /// A descriptor of ISO/IEC 14496-1 §8.3.3: tag, length in four groups of seven bits, content.
    pub(super) fn descriptor(&mut self, tag: u8, fill: impl FnOnce(&mut Self)) {
        self.u8(tag);
        let start = self.0.len();
        self.u32(0);
        fill(self);
        let length = self.0.len() - start - 4;
        for (place, shift) in (start..).zip([21, 14, 7, 0]) {
            let more = if shift == 0 { 0 } else { 0x80 };
            self.0[place] = (length >> shift & 0x7F) as u8 | more;
        }
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn zeros(&mut self, count: usize) {
        self.0.resize(self.0.len() + count, 0);
    }

    /// A time or length of a box that has a 64-bit form: version 1 has it.
    pub(super) fn time(&mut self, version: u8, value: u64) {
        if version == 1 {
            self.u64(value);
        } else {
            self.u32(u32::try_from(value).unwrap_or(u32::MAX));
        }
    }

    /// Room for a number that is known later: where it is.
    pub(super) fn later(&mut self) -> usize {
        self.u32(0);
        self.0.len() - 4
    }

    /// The number for that room.
    pub(super) fn set(&mut self, place: usize, value: u32) {
        self.0[place..place + 4].copy_from_slice(&value.to_be_bytes());
    }

    /// Bytes written so far.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Version 1 where a value does not fit into 32 bits.
pub(super) fn version_for(value: u64) -> u8 {
    u8::from(u32::try_from(value).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn boxes_nest_and_state_their_sizes() {
        let mut boxes = Boxes::new();
        boxes.boxed(b"moov", |boxes| {
            boxes.full(b"abcd", 1, 0x03_0201, |boxes| boxes.u16(7));
            boxes.boxed(b"free", |_| {});
        });
        let expected = b"\0\0\0\x1emoov\0\0\0\x0eabcd\x01\x03\x02\x01\0\x07\0\0\0\x08free";
        assert_eq!(boxes.into_bytes(), expected);
    }

    proptest! {
        #[test]
        fn a_descriptor_states_its_length(count in 0usize..40_000) {
            let mut boxes = Boxes::new();
            boxes.descriptor(3, |boxes| boxes.zeros(count));
            let bytes = boxes.into_bytes();
            let groups = &bytes[1..5];
            prop_assert!(groups[..3].iter().all(|group| group & 0x80 != 0) && groups[3] & 0x80 == 0);
            let stated = groups.iter().fold(0usize, |sum, group| sum << 7 | usize::from(group & 0x7F));
            prop_assert_eq!((stated, bytes.len()), (count, count + 5));
        }

        #[test]
        fn a_time_is_as_wide_as_it_has_to_be(value: u64) {
            let mut boxes = Boxes::new();
            let version = version_for(value);
            boxes.time(version, value);
            let bytes = boxes.into_bytes();
            let back = bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
            prop_assert_eq!(back, value);
            prop_assert_eq!(bytes.len(), if value > u64::from(u32::MAX) { 8 } else { 4 });
        }
    }
}
