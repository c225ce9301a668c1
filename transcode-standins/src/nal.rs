//! H.264 byte streams: which NAL units an access unit has, and taking some out.
//!
//! Owns: start codes and NAL unit types (ITU-T H.264, Annex B and Table 7-1). Must not know: GStreamer.

/// Slice of an IDR picture.
pub(crate) const IDR: u8 = 5;
/// Sequence parameter set.
pub(crate) const SPS: u8 = 7;
/// Picture parameter set.
pub(crate) const PPS: u8 = 8;

/// The NAL units of a byte stream, each without its start code.
pub(crate) fn units(data: &[u8]) -> Vec<&[u8]> {
    let mut starts = Vec::new();
    let mut at = 0;
    while at + 3 <= data.len() {
        if data.get(at..at + 3) == Some(&[0, 0, 1]) {
            starts.push(at + 3);
            at += 3;
        } else {
            at += 1;
        }
    }
    let mut units = Vec::new();
    for (n, start) in starts.iter().enumerate() {
        let end = starts.get(n + 1).map_or(data.len(), |next| next - 3);
        let unit = data.get(*start..end).unwrap_or_default();
        // Zero bytes before the next start code belong to that code.
        let length = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        units.push(unit.get(..length).unwrap_or_default());
    }
    units
}

/// The type of a NAL unit.
pub(crate) fn kind(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |byte| byte & 0x1f)
}

/// The byte stream without the units of these types; none where nothing has to go.
pub(crate) fn without(data: &[u8], kinds: &[u8]) -> Option<Vec<u8>> {
    let units = units(data);
    if !units.iter().any(|unit| kinds.contains(&kind(unit))) {
        return None;
    }
    let mut out = Vec::with_capacity(data.len());
    for unit in units.into_iter().filter(|unit| !kinds.contains(&kind(unit))) {
        out.extend_from_slice(&[0, 0, 0, 1]);
        out.extend_from_slice(unit);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_sets_are_taken_out_and_slices_stay() {
        let stream = [0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3, 0, 0, 0, 1, 0x65, 9, 9];
        assert_eq!(units(&stream).into_iter().map(kind).collect::<Vec<_>>(), [SPS, PPS, IDR]);
        assert_eq!(without(&stream, &[SPS, PPS]).as_deref(), Some(&[0, 0, 0, 1, 0x65, 9, 9][..]));
        assert_eq!(without(&[0, 0, 1, 0x41, 7], &[SPS, PPS]), None);
    }
}
