//! H.264 from a byte stream (ITU-T H.264 annex B) into the samples of an MP4 (ISO/IEC 14496-15 §5).
//!
//! Owns the change from start codes to lengths, and the decoder configuration (`avcC`). Delimiters,
//! filler and parameter sets are left out of the samples: the first two say nothing in an MP4, the
//! sets stand once in the header (`avc1`).

use super::boxes::Boxes;
use crate::segment::{Sps, SpsColour, nal_units};
use crate::units::Resolution;

// NAL unit types (ITU-T H.264 table 7-1).
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
const FILLER: u8 = 12;

/// The profiles whose configuration states chroma format and bit depths (ISO/IEC 14496-15 §5.3.3.1.2).
const HIGH: [u8; 4] = [100, 110, 122, 144];

/// The parameter sets of a stream, as NAL units with their headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ParameterSets {
    /// The sequence parameter set.
    pub(super) sps: Vec<u8>,
    /// The picture parameter sets in their order.
    pub(super) pps: Vec<Vec<u8>>,
}

/// Append an access unit to `samples`: each NAL unit behind its length in four bytes. `sets` takes
/// the parameter sets of the first access unit; those of later ones must be among them.
///
/// Says how many bytes were appended.
pub(super) fn append(
    unit: &[u8],
    first: bool,
    sets: &mut ParameterSets,
    samples: &mut Vec<u8>,
) -> Result<u32, &'static str> {
    let before = samples.len();
    for nal in nal_units(unit)? {
        match nal.first().map(|header| header & 0x1F) {
            None | Some(DELIMITER | FILLER) => {}
            Some(SPS) if first => sets.sps = nal.to_vec(),
            Some(PPS) if first && !sets.pps.iter().any(|known| known == nal) => sets.pps.push(nal.to_vec()),
            Some(SPS) if sets.sps != nal => return Err("its SPS changes within the segment"),
            Some(PPS) if !sets.pps.iter().any(|known| known == nal) => {
                return Err("its PPS change within the segment");
            }
            Some(SPS | PPS) => {}
            Some(_) => {
                let length = u32::try_from(nal.len()).map_err(|_| "a NAL unit of 4 GiB")?;
                samples.extend_from_slice(&length.to_be_bytes());
                samples.extend_from_slice(nal);
            }
        }
    }
    u32::try_from(samples.len() - before).map_err(|_| "a picture of 4 GiB")
}

/// What the header of an MP4 says of the pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Avc {
    pub(super) sets: ParameterSets,
    pub(super) sps: Sps,
}

impl Avc {
    pub(super) fn size(&self) -> Resolution {
        self.sps.size
    }

    /// `avc1` with its configuration, colour and square pixels.
    pub(super) fn write(&self, boxes: &mut Boxes) {
        boxes.boxed(b"avc1", |boxes| {
            boxes.zeros(6);
            boxes.u16(1); // data_reference_index
            boxes.zeros(16);
            boxes.u16(u16::try_from(self.size().width()).unwrap_or(u16::MAX));
            boxes.u16(u16::try_from(self.size().height()).unwrap_or(u16::MAX));
            boxes.u32(0x0048_0000); // 72 dpi across
            boxes.u32(0x0048_0000); // and down
            boxes.u32(0);
            boxes.u16(1); // frame_count
            boxes.zeros(32); // compressorname
            boxes.u16(0x0018); // depth: colour without alpha
            boxes.u16(0xFFFF); // pre_defined
            boxes.boxed(b"avcC", |boxes| self.configuration(boxes));
            if let Some(SpsColour { full_range, primaries, transfer, matrix }) = self.sps.colour {
                boxes.boxed(b"colr", |boxes| {
                    boxes.bytes(b"nclx");
                    for number in [primaries, transfer, matrix] {
                        boxes.u16(u16::from(number));
                    }
                    boxes.u8(u8::from(full_range) << 7);
                });
            }
            boxes.boxed(b"pasp", |boxes| {
                boxes.u32(1);
                boxes.u32(1);
            });
        });
    }

    /// AVCDecoderConfigurationRecord.
    fn configuration(&self, boxes: &mut Boxes) {
        let ParameterSets { sps, pps } = &self.sets;
        let profile = self.sps.avc.profile;
        boxes.bytes(&[1, profile, self.sps.avc.constraints, self.sps.avc.level]);
        boxes.u8(0xFC | 3); // lengths in four bytes
        boxes.u8(0xE0 | 1); // one SPS
        set(boxes, sps);
        boxes.u8(u8::try_from(pps.len()).unwrap_or(u8::MAX));
        for pps in pps {
            set(boxes, pps);
        }
        if HIGH.contains(&profile) {
            boxes.u8(0xFC | (self.sps.chroma & 3) as u8);
            let depth = 0xF8 | (self.sps.bit_depth.saturating_sub(8) & 7) as u8;
            boxes.bytes(&[depth, depth, 0]); // luma, chroma; no SPS extensions
        }
    }
}

fn set(boxes: &mut Boxes, nal: &[u8]) {
    boxes.u16(u16::try_from(nal.len()).unwrap_or(u16::MAX));
    boxes.bytes(nal);
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &[u8] = &[
        0, 0, 0, 1, 9, 0x10, 0, 0, 0, 1, 0x67, 1, 2, 3, 0, 0, 1, 0x68, 4, 0, 0, 1, 6, 5, 0x80, 0, 0, 1, 0x65,
        0xAA, 0xBB,
    ];

    #[test]
    fn start_codes_become_lengths_and_only_what_is_decoded_stays() {
        let (mut sets, mut samples) = (ParameterSets::default(), Vec::new());
        let count = append(FIRST, true, &mut sets, &mut samples);
        assert_eq!(samples, [0, 0, 0, 3, 6, 5, 0x80, 0, 0, 0, 3, 0x65, 0xAA, 0xBB]);
        assert_eq!(count, Ok(14));
        assert_eq!(sets, ParameterSets { sps: vec![0x67, 1, 2, 3], pps: vec![vec![0x68, 4]] });
        let slice = [0, 0, 0, 1, 9, 0x30, 0, 0, 1, 0x41, 7, 0, 0, 1, 12, 0xFF, 0x80];
        assert_eq!(append(&slice, false, &mut sets, &mut samples), Ok(6), "filler is left out");
    }

    #[test]
    fn parameter_sets_that_change_are_refused() {
        let (mut sets, mut samples) = (ParameterSets::default(), Vec::new());
        append(FIRST, true, &mut sets, &mut samples).expect("good");
        assert!(append(FIRST, false, &mut sets, &mut samples).is_ok(), "repeated");
        for (at, what) in [(13, "SPS"), (18, "PPS")] {
            let mut other = FIRST.to_vec();
            other[at] ^= 0x40;
            let refused = append(&other, false, &mut sets, &mut samples).expect_err("other sets");
            assert!(refused.contains(what), "{refused}");
        }
    }
}
