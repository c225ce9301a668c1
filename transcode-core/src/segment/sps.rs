//! The sequence parameter set of H.264 (ITU-T H.264 §7.3.2.1.1 and annex E), as far as a plan speaks
//! of it: profile, level, size, colour, timing.

use super::bits::Bits;
use crate::playlist::Avc;
use crate::units::{FrameRate, Resolution};

/// A sequence parameter set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sps {
    /// Profile, constraint flags and level.
    pub avc: Avc,
    /// `chroma_format_idc`: 1 is 4:2:0.
    pub chroma: u32,
    /// Bits a luma sample.
    pub bit_depth: u32,
    /// Pictures that a decoder keeps to refer to.
    pub reference_frames: u32,
    /// Only whole pictures, no fields.
    pub progressive: bool,
    /// Size as shown, after cropping.
    pub size: Resolution,
    /// Sample aspect ratio; absent where untold.
    pub pixel_aspect: Option<(u32, u32)>,
    /// Colour; absent where untold.
    pub colour: Option<SpsColour>,
    /// Pictures a second; absent where untold.
    pub rate: Option<FrameRate>,
    /// `fixed_frame_rate_flag`: all pictures keep `rate`.
    pub fixed_rate: bool,
}

/// The colour description of an SPS, in the numbers of ITU-T H.273.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpsColour {
    /// 0–255 instead of 16–235.
    pub full_range: bool,
    /// `colour_primaries`; 2 is untold.
    pub primaries: u8,
    /// `transfer_characteristics`; 2 is untold.
    pub transfer: u8,
    /// `matrix_coefficients`; 2 is untold.
    pub matrix: u8,
}

/// The profiles that write `chroma_format_idc` and what follows it (§7.3.2.1.1).
const HIGH_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// Sample aspect ratios by `aspect_ratio_idc`, from 1 (table E-1).
const ASPECTS: [(u32, u32); 16] = [
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];

impl Sps {
    /// From the NAL unit's bytes behind its header; `None` where it ends too early or cannot be.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let [profile, constraints, level, ..] = *bytes else { return None };
        let mut bits = Bits::new(bytes);
        bits.bits(24)?;
        bits.unsigned()?; // seq_parameter_set_id
        let (mut chroma, mut bit_depth) = (1, 8);
        if HIGH_PROFILES.contains(&profile) {
            chroma = bits.unsigned()?;
            if chroma == 3 {
                bits.bit()?; // separate_colour_plane_flag
            }
            bit_depth = bits.unsigned()?.checked_add(8)?;
            bits.unsigned()?; // bit_depth_chroma_minus8
            bits.bit()?; // qpprime_y_zero_transform_bypass_flag
            if bits.bit()? {
                scaling_lists(&mut bits, if chroma == 3 { 12 } else { 8 })?;
            }
        }
        bits.unsigned()?; // log2_max_frame_num_minus4
        match bits.unsigned()? {
            0 => {
                bits.unsigned()?; // log2_max_pic_order_cnt_lsb_minus4
            }
            1 => {
                bits.bit()?; // delta_pic_order_always_zero_flag
                bits.signed()?; // offset_for_non_ref_pic
                bits.signed()?; // offset_for_top_to_bottom_field
                for _ in 0..bits.unsigned()? {
                    bits.signed()?; // offset_for_ref_frame
                }
            }
            _ => {}
        }
        let reference_frames = bits.unsigned()?;
        bits.bit()?; // gaps_in_frame_num_value_allowed_flag
        let columns = bits.unsigned()?.checked_add(1)?.checked_mul(16)?;
        let map_rows = bits.unsigned()?.checked_add(1)?.checked_mul(16)?;
        let progressive = bits.bit()?;
        let rows = if progressive { map_rows } else { map_rows.checked_mul(2)? };
        if !progressive {
            bits.bit()?; // mb_adaptive_frame_field_flag
        }
        bits.bit()?; // direct_8x8_inference_flag
        let size = cropped(&mut bits, columns, rows, chroma, progressive)?;
        let mut sps = Self {
            avc: Avc { profile, constraints, level },
            chroma,
            bit_depth,
            reference_frames,
            progressive,
            size,
            pixel_aspect: None,
            colour: None,
            rate: None,
            fixed_rate: false,
        };
        if bits.bit()? {
            sps.usability(&mut bits)?;
        }
        Some(sps)
    }

    /// The VUI up to its timing (§E.1.1).
    fn usability(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        if bits.bit()? {
            self.pixel_aspect = match bits.bits(8)? {
                255 => Some((bits.bits(16)?, bits.bits(16)?)),
                id => usize::try_from(id).ok().and_then(|id| ASPECTS.get(id.checked_sub(1)?)).copied(),
            };
        }
        if bits.bit()? {
            bits.bit()?; // overscan_appropriate_flag
        }
        if bits.bit()? {
            bits.bits(3)?; // video_format
            let full_range = bits.bit()?;
            let told = bits.bit()?;
            let mut number = || if told { u8::try_from(bits.bits(8)?).ok() } else { Some(2) };
            let (primaries, transfer, matrix) = (number()?, number()?, number()?);
            self.colour = Some(SpsColour { full_range, primaries, transfer, matrix });
        }
        if bits.bit()? {
            bits.unsigned()?; // chroma_sample_loc_type_top_field
            bits.unsigned()?; // chroma_sample_loc_type_bottom_field
        }
        if bits.bit()? {
            let (units, scale) = (bits.bits(32)?, bits.bits(32)?);
            self.fixed_rate = bits.bit()?;
            // A tick is a field: two make a picture (§E.2.1).
            self.rate = units.checked_mul(2).and_then(|units| FrameRate::new(scale, units));
        }
        Some(())
    }
}

fn scaling_lists(bits: &mut Bits<'_>, count: usize) -> Option<()> {
    for list in 0..count {
        if bits.bit()? {
            let (mut last, mut next) = (8i32, 8i32);
            for _ in 0..if list < 6 { 16 } else { 64 } {
                if next != 0 {
                    next = last.wrapping_add(bits.signed()?).rem_euclid(256);
                }
                last = if next == 0 { last } else { next };
            }
        }
    }
    Some(())
}

fn cropped(
    bits: &mut Bits<'_>,
    columns: u32,
    rows: u32,
    chroma: u32,
    progressive: bool,
) -> Option<Resolution> {
    if !bits.bit()? {
        return Resolution::new(columns, rows);
    }
    // Crop units in luma samples (§7.4.2.1.1, table 6-1).
    let (across, down) = match chroma {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    let down = if progressive { down } else { down * 2 };
    let mut taken = |unit: u32| bits.unsigned()?.checked_add(bits.unsigned()?)?.checked_mul(unit);
    let (sides, ends) = (taken(across)?, taken(down)?);
    Resolution::new(columns.checked_sub(sides)?, rows.checked_sub(ends)?)
}
