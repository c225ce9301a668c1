//! Bits of an H.264 NAL unit: fixed lengths and Exp-Golomb codes (ITU-T H.264 §9.1), with the
//! emulation prevention bytes (§7.3.1) left out.

/// Reads from the first bit on; `None` past the end.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bits of the current byte already read.
    used: u8,
    /// Zero bytes in a row before the current byte.
    zeros: u8,
}

impl<'a> Bits<'a> {
    /// Of a NAL unit's payload: what follows its one-byte header.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, used: 0, zeros: 0 }
    }

    pub(super) fn bit(&mut self) -> Option<bool> {
        if self.used == 0 && self.zeros >= 2 && *self.bytes.get(self.at)? == 3 {
            self.at += 1;
            self.zeros = 0;
        }
        let byte = *self.bytes.get(self.at)?;
        let bit = byte >> (7 - self.used) & 1 == 1;
        self.used += 1;
        if self.used == 8 {
            self.used = 0;
            self.at += 1;
            self.zeros = if byte == 0 { self.zeros.saturating_add(1) } else { 0 };
        }
        Some(bit)
    }

    /// `count` bits, at most 32, the first the highest.
    pub(super) fn bits(&mut self, count: u8) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u32::from(self.bit()?);
        }
        Some(value)
    }

    /// ue(v): an unsigned Exp-Golomb code.
    pub(super) fn unsigned(&mut self) -> Option<u32> {
        let mut zeros = 0u8;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1u32 << zeros) - 1 + self.bits(zeros)?)
    }

    /// se(v): a signed Exp-Golomb code.
    pub(super) fn signed(&mut self) -> Option<i32> {
        let code = i64::from(self.unsigned()?);
        let magnitude = (code + 1) / 2;
        i32::try_from(if code % 2 == 0 { -magnitude } else { magnitude }).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_codes_read_as_the_standards_table() {
        // 1 010 011 00100 00101 00110: 0 1 2 3 4 5 (H.264 table 9-2).
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0010, 0b1001_1000]);
        let values: Vec<_> = (0..6).map(|_| bits.unsigned()).collect();
        assert_eq!(values, (0..6).map(Some).collect::<Vec<_>>());
        // 010 011 00100: 1 −1 2 (table 9-3).
        let mut bits = Bits::new(&[0b0100_1100, 0b1000_0000]);
        assert_eq!([bits.signed(), bits.signed(), bits.signed()], [Some(1), Some(-1), Some(2)]);
        assert_eq!(Bits::new(&[]).unsigned(), None);
    }

    #[test]
    fn emulation_prevention_bytes_are_left_out() {
        let mut bits = Bits::new(&[0, 0, 3, 1, 0, 0, 3, 0]);
        assert_eq!(bits.bits(24), Some(1));
        assert_eq!(bits.bits(24), Some(0));
        assert_eq!(bits.bit(), None);
    }
}
