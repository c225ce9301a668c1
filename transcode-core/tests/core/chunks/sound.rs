//! How far two decoded sounds are from each other.

/// Samples of an AAC packet.
const PACKET: usize = 1_024;

/// Some packets' samples, all channels.
pub(crate) fn stretch(sound: &[f32], first: u64, packets: usize, channels: usize) -> &[f32] {
    let begin = (first as usize * PACKET * channels).min(sound.len());
    &sound[begin..(begin + packets * PACKET * channels).min(sound.len())]
}

/// The energy of `wanted`, and that of what `found` differs by.
pub(crate) fn compare(wanted: &[f32], found: &[f32]) -> (f64, f64) {
    let energy = wanted.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    let noise = wanted.iter().zip(found).map(|(left, right)| f64::from(left - right).powi(2)).sum();
    (energy, noise)
}
