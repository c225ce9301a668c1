//! AAC from ADTS (ISO/IEC 13818-7 §6.2) into the samples of an MP4 (ISO/IEC 14496-3 §1.6).
//!
//! Owns the sample entry (`mp4a` with `esds`) and the priming packet. A decoder needs the packet
//! before the first one that it plays; the segments have none, because MPEG-TS cannot say that a
//! packet is not heard. A progressive MP4 can, in its edit list: so a packet of silence stands in
//! front there, which is decoded and skipped. Times: samples.

use super::boxes::Boxes;
use crate::segment::AudioFormat;

/// Samples of the priming packet, which the edit list skips: one packet.
pub(super) const PRIMING: u32 = 1_024;

/// Samples a second by `samplingFrequencyIndex` (ISO/IEC 14496-3 table 1.18).
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// An ADTS frame without its header: seven bytes, nine where there is a checksum.
pub(super) fn payload(frame: &[u8]) -> &[u8] {
    let header = if frame.get(1).is_some_and(|flags| flags & 1 == 0) { 9 } else { 7 };
    frame.get(header..).unwrap_or_default()
}

/// An AAC-LC packet of silence for one or two channels (`raw_data_block`, ISO/IEC 14496-3 §4.4.2.1):
/// one element whose highest scale factor band is 0, so that nothing follows but its flags.
pub(super) fn silence(channels: u32) -> Vec<u8> {
    let mut bits = Bits::default();
    // Global gain, and then: no pulses, no noise shaping, no gain control.
    let channel = |bits: &mut Bits, shared: bool| {
        bits.put(8, 0);
        if !shared {
            ics_info(bits);
        }
        bits.put(3, 0);
    };
    if channels == 1 {
        bits.put(3, 0); // ID_SCE
        bits.put(4, 0); // element_instance_tag
        channel(&mut bits, false);
    } else {
        bits.put(3, 1); // ID_CPE
        bits.put(4, 0);
        bits.put(1, 1); // common_window
        ics_info(&mut bits);
        bits.put(2, 0); // ms_mask_present
        channel(&mut bits, true);
        channel(&mut bits, true);
    }
    bits.put(3, 7); // ID_END
    bits.bytes
}

/// One long window, no scale factor bands, no prediction.
fn ics_info(bits: &mut Bits) {
    bits.put(1, 0); // reserved
    bits.put(2, 0); // ONLY_LONG_SEQUENCE
    bits.put(1, 0); // sine window
    bits.put(6, 0); // max_sfb
    bits.put(1, 0); // predictor_data_present
}

/// Bits, the first the highest; the last byte is filled with zeros.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u8,
}

impl Bits {
    fn put(&mut self, count: u8, value: u8) {
        for bit in (0..count).rev() {
            if self.used == 0 {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= (value >> bit & 1) << (7 - self.used);
            }
            self.used = (self.used + 1) % 8;
        }
    }
}

/// `mp4a`, with an average bit rate in bit/s.
pub(super) fn write(format: AudioFormat, bit_rate: u32, boxes: &mut Boxes) {
    boxes.boxed(b"mp4a", |boxes| {
        boxes.zeros(6);
        boxes.u16(1); // data_reference_index
        boxes.zeros(8);
        boxes.u16(u16::try_from(format.channels).unwrap_or(2));
        boxes.u16(16); // bits a sample, as the standard's template has it
        boxes.u32(0);
        // 16.16; what does not fit is told by the configuration alone.
        boxes.u32(u16::try_from(format.sample_rate).map_or(0, |rate| u32::from(rate) << 16));
        boxes.full(b"esds", 0, 0, |boxes| {
            boxes.descriptor(3, |boxes| {
                boxes.u16(0); // ES_ID: the track has it
                boxes.u8(0);
                boxes.descriptor(4, |boxes| {
                    boxes.u8(0x40); // MPEG-4 audio
                    boxes.u8(5 << 2 | 1); // an audio stream
                    boxes.bytes(&[0, 0, 0]); // bufferSizeDB is not told
                    boxes.u32(0); // nor the highest rate
                    boxes.u32(bit_rate);
                    boxes.descriptor(5, |boxes| boxes.bytes(&configuration(format)));
                });
                boxes.descriptor(6, |boxes| boxes.u8(2)); // as MP4 wants it
            });
        });
    });
}

/// AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1): object type, rate, channels.
fn configuration(format: AudioFormat) -> [u8; 2] {
    let index = RATES.iter().position(|rate| *rate == format.sample_rate).unwrap_or(3) as u16;
    let channels = if format.channels == 8 { 7 } else { format.channels as u16 };
    (u16::from(format.object_type) << 11 | index << 7 | channels << 3).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_says_type_rate_and_channels() {
        let format = AudioFormat { object_type: 2, sample_rate: 48_000, channels: 2 };
        assert_eq!(configuration(format), [0x11, 0x90]);
        let format = AudioFormat { object_type: 2, sample_rate: 44_100, channels: 1 };
        assert_eq!(configuration(format), [0x12, 0x08]);
    }

    #[test]
    fn the_adts_header_is_taken_off_whole() {
        assert_eq!(payload(&[0xFF, 0xF1, 0, 0, 0, 0, 0, 1, 2]), [1, 2]);
        assert_eq!(payload(&[0xFF, 0xF0, 0, 0, 0, 0, 0, 9, 9, 1, 2]), [1, 2]);
        assert_eq!(payload(&[0xFF]), [0u8; 0]);
    }

    #[test]
    fn silence_is_a_few_bytes_that_end_with_the_end_element() {
        // SCE: 3 + 4 + 8 + 11 + 3, and END.
        assert_eq!(silence(1), [0, 0, 0, 0b0000_0111]);
        // CPE: 3 + 4 + 1 + 11 + 2 + 2 × (8 + 3), and END.
        assert_eq!(silence(2), [0b0010_0001, 0, 0, 0, 0, 0b0001_1100]);
    }
}
