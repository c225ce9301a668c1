//! AAC frames in ADTS (ISO/IEC 13818-7 §6.2, ISO/IEC 14496-3 §1.A.2.2).

/// Samples a second by `sampling_frequency_index` (ISO/IEC 14496-3 table 1.18).
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// What a decoder needs to know of the frames; the same in all of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioFormat {
    /// MPEG-4 audio object type: 2 is AAC-LC.
    pub object_type: u8,
    /// Samples a second.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u32,
}

/// One frame: its format and how many bytes it has, header included.
pub(super) fn frame(bytes: &[u8]) -> Result<(AudioFormat, usize), &'static str> {
    let head = bytes.get(..7).ok_or("ends within the ADTS header")?;
    // Twelve ones, then the MPEG version (either), then the layer, always 0.
    if head[0] != 0xFF || head[1] & 0xF6 != 0xF0 {
        return Err("no ADTS syncword where a frame should begin");
    }
    let sample_rate =
        RATES.get(usize::from(head[2] >> 2 & 0xF)).ok_or("sampling_frequency_index is reserved")?;
    let channels = match (head[2] & 1) << 2 | head[3] >> 6 {
        0 => return Err("channel_configuration is 0: the channels are told elsewhere"),
        7 => 8,
        count => u32::from(count),
    };
    let length = usize::from(head[3] & 3) << 11 | usize::from(head[4]) << 3 | usize::from(head[5] >> 5);
    let header = if head[1] & 1 == 1 { 7 } else { 9 };
    if head[6] & 3 != 0 {
        return Err("an ADTS frame holds more than one block of samples");
    }
    if length <= header {
        return Err("aac_frame_length leaves nothing for the frame");
    }
    if length > bytes.len() {
        return Err("the frame ends before its aac_frame_length");
    }
    Ok((AudioFormat { object_type: (head[2] >> 6) + 1, sample_rate: *sample_rate, channels }, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_says_its_format_and_length() {
        // AAC-LC, 48 kHz, stereo, 12 bytes, no CRC.
        let mut bytes = [0xFF, 0xF1, 0x4C, 0x80, 0x01, 0x9F, 0xFC, 0, 0, 0, 0, 0];
        let format = AudioFormat { object_type: 2, sample_rate: 48_000, channels: 2 };
        assert_eq!(frame(&bytes), Ok((format, 12)));
        assert_eq!(frame(&bytes[..11]), Err("the frame ends before its aac_frame_length"));
        bytes[1] = 0xE1;
        assert_eq!(frame(&bytes), Err("no ADTS syncword where a frame should begin"));
    }
}
