//! Access units of an H.264 byte stream (ITU-T H.264 annex B and §7.4.1.2.3): the NAL units in them,
//! and just enough of the slice headers to tell what kind of picture it is.

use super::bits::Bits;

/// What a picture refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PictureKind {
    /// Nothing but itself.
    Intra,
    /// Pictures before it.
    Predicted,
    /// Pictures on both sides.
    Bidirectional,
}

/// One access unit, taken apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct AccessUnit<'a> {
    /// An instantaneous decoding refresh: nothing after it refers to anything before it.
    pub(super) idr: bool,
    pub(super) kind: PictureKind,
    /// The SPS in it, behind its header.
    pub(super) sps: Option<&'a [u8]>,
    /// A PPS is in it.
    pub(super) pps: bool,
}

// NAL unit types (table 7-1).
const SLICE: u8 = 1;
const IDR_SLICE: u8 = 5;
const SEI: u8 = 6;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
const FILLER: u8 = 12;

/// The whole of a PES packet's bytes as one access unit, from its delimiter on.
pub(super) fn access_unit(bytes: &[u8]) -> Result<AccessUnit<'_>, &'static str> {
    let mut unit = AccessUnit { idr: false, kind: PictureKind::Intra, sps: None, pps: false };
    let (mut slices, mut first) = (0u32, true);
    for nal in nal_units(bytes)? {
        let (header, body) = nal.split_first().ok_or("an empty NAL unit")?;
        if header >> 7 != 0 {
            return Err("forbidden_zero_bit is set");
        }
        let kind = header & 0x1F;
        if (kind == DELIMITER) != first {
            return Err(if first {
                "the access unit does not begin with an access unit delimiter"
            } else {
                "two access units in one PES packet"
            });
        }
        first = false;
        match kind {
            DELIMITER | FILLER => {}
            SEI | SPS | PPS if slices > 0 => {
                return Err("a parameter set or SEI behind the picture it is for");
            }
            SEI => {}
            SPS if unit.sps.replace(body).is_some() => return Err("two SPS in an access unit"),
            SPS => {}
            PPS => unit.pps = true,
            SLICE | IDR_SLICE => {
                let idr = kind == IDR_SLICE;
                if slices > 0 && unit.idr != idr {
                    return Err("IDR slices and others in one picture");
                }
                let (place, picture) = slice(body).ok_or("a slice header that cannot be")?;
                if (place == 0) != (slices == 0) {
                    return Err("a picture whose first slice is missing or there twice");
                }
                if idr && picture != PictureKind::Intra {
                    return Err("an IDR picture that refers to others");
                }
                unit.idr = idr;
                unit.kind = unit.kind.max(picture);
                slices += 1;
            }
            _ => return Err("a NAL unit of a type that no encoder here writes"),
        }
    }
    if slices == 0 {
        return Err("an access unit without a picture");
    }
    Ok(unit)
}

/// `first_mb_in_slice` and what the slice refers to (§7.3.3).
fn slice(body: &[u8]) -> Option<(u32, PictureKind)> {
    let mut bits = Bits::new(body);
    let place = bits.unsigned()?;
    let kind = match bits.unsigned()? {
        0 | 5 => PictureKind::Predicted,
        1 | 6 => PictureKind::Bidirectional,
        2 | 7 => PictureKind::Intra,
        _ => return None,
    };
    Some((place, kind))
}

/// The NAL units of a byte stream, without start codes and trailing zeros.
pub(crate) fn nal_units(bytes: &[u8]) -> Result<impl Iterator<Item = &[u8]>, &'static str> {
    let first = start_code(bytes, 0).ok_or("no start code")?;
    if bytes.iter().take(first).any(|byte| *byte != 0) {
        return Err("bytes before the first start code");
    }
    let mut from = Some(first + 3);
    Ok(std::iter::from_fn(move || {
        let begin = from?;
        let next = start_code(bytes, begin);
        from = next.map(|next| next + 3);
        let mut nal = bytes.get(begin..next.unwrap_or(bytes.len()))?;
        while let [rest @ .., 0] = nal {
            nal = rest;
        }
        Some(nal)
    }))
}

/// The next `00 00 01` at or after `from`. Most bytes are above 1, and then none of the three can be
/// there: the search goes on three bytes further.
fn start_code(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from + 2;
    while let Some(byte) = bytes.get(at) {
        match byte {
            0 => at += 1,
            1 if bytes[at - 1] == 0 && bytes[at - 2] == 0 => return Some(at - 2),
            _ => at += 3,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A delimiter, and a slice with `first_mb_in_slice` 0 and the given type's code.
    fn unit(nal: u8, slice: u8) -> Vec<u8> {
        vec![0, 0, 0, 1, 9, 0x10, 0, 0, 1, nal, 0x80 | slice]
    }

    #[test]
    fn pictures_are_told_by_their_slices() {
        // 011 is slice type 2 (I), 1 is type 0 (P), 010 is type 1 (B).
        let kinds = [(0b011_0000, PictureKind::Intra), (0b100_0000, PictureKind::Predicted)];
        for (code, kind) in kinds.into_iter().chain([(0b010_0000, PictureKind::Bidirectional)]) {
            let bytes = unit(0x41, code);
            assert!(access_unit(&bytes).is_ok_and(|unit| unit.kind == kind && !unit.idr), "{kind:?}");
        }
        assert!(access_unit(&unit(0x65, 0b011_0000)).is_ok_and(|unit| unit.idr));
        assert_eq!(access_unit(&unit(0x65, 0b100_0000)).err(), Some("an IDR picture that refers to others"));
    }

    #[test]
    fn an_access_unit_is_one_picture() {
        let mut two = unit(0x41, 0b100_0000);
        two.extend(unit(0x41, 0b100_0000));
        assert_eq!(access_unit(&two).err(), Some("two access units in one PES packet"));
        let mut twice = unit(0x41, 0b100_0000);
        twice.extend([0, 0, 1, 0x41, 0xC0]);
        assert_eq!(access_unit(&twice).err(), Some("a picture whose first slice is missing or there twice"));
        assert_eq!(access_unit(&[0, 0, 1, 9, 0x10]).err(), Some("an access unit without a picture"));
        assert_eq!(access_unit(&[1, 2, 3]).err(), Some("no start code"));
    }

    #[test]
    fn start_codes_are_found_wherever_they_lie() {
        for before in 0..9 {
            for filler in [0xFFu8, 0, 1, 2] {
                let mut bytes = vec![filler; before];
                bytes.extend([5, 0, 0, 1, 7]);
                assert_eq!(start_code(&bytes, 0), Some(before + 1), "{before} {filler}");
            }
        }
        assert_eq!(start_code(&[0, 0], 0), None);
    }
}
