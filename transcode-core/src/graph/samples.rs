//! Which sample goes where on the timeline: the audio gate's decisions, without GStreamer.
//!
//! Positions are sample numbers on the plan's clock (0 = slot 0). Buffers are taken as one unbroken
//! run as long as their times agree with the count of samples to within [`TOLERANCE_MS`]; beyond
//! that a gap becomes silence and an overlap is dropped. Before the first sample that is wanted every
//! buffer's own time counts: a decoder clips the first buffer after a seek at a time that no sample
//! has, and counts on from there.

/// Containers round times (Matroska to 1 ms, FLV to 1 ms, MPEG-TS to 11 µs) and cheap recorders
/// wander; below this an offset cannot be heard against the picture (EBU R 37: −40 ms … +60 ms).
const TOLERANCE_MS: u64 = 40;

/// One piece of output.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// So many samples of silence.
    Silence(u64),
    /// These samples of the buffer at hand, as an index range into it.
    Input(std::ops::Range<usize>),
}

/// The samples of one chunk, and how far they are filled.
#[derive(Debug)]
pub(super) struct Samples {
    rate: u32,
    next: u64,
    end: u64,
    /// Where the next buffer is expected to begin, if it goes on without a break.
    expected: Option<i64>,
    /// Where the last of the source's samples ended.
    source_end: Option<i64>,
    silence: u64,
    /// A sample has been taken since the last restart.
    running: bool,
}

impl Samples {
    /// For output positions `range`, at `rate` samples a second.
    pub(super) fn new(rate: u32, range: std::ops::Range<u64>) -> Self {
        Self {
            rate,
            next: range.start,
            end: range.end,
            expected: None,
            source_end: None,
            silence: 0,
            running: false,
        }
    }

    /// The next position to be filled.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn is_full(&self) -> bool {
        self.next >= self.end
    }

    /// Right after the furthest sample that came from the source.
    pub(super) fn source_end(&self) -> Option<i64> {
        self.source_end
    }

    /// Samples of silence put in so far.
    pub(super) fn silence(&self) -> u64 {
        self.silence
    }

    /// A seek or a new segment: the next buffer's own time counts.
    pub(super) fn restart(&mut self) {
        self.expected = None;
        self.running = false;
    }

    /// A buffer of `length` samples whose time says `position`.
    pub(super) fn buffer(&mut self, position: Option<i64>, length: usize) -> Vec<Piece> {
        let tolerance = (u64::from(self.rate) * TOLERANCE_MS / 1_000) as i64;
        let begin = match (position, self.expected) {
            (Some(told), Some(expected)) if self.running && (told - expected).abs() <= tolerance => expected,
            (Some(told), _) => told,
            (None, Some(expected)) => expected,
            (None, None) => 0,
        };
        let end = begin + length as i64;
        self.expected = Some(end);
        self.source_end = self.source_end.max(Some(end));
        let mut pieces = Vec::new();
        if self.is_full() || end <= self.next as i64 {
            return pieces;
        }
        if begin > self.next as i64 {
            pieces.extend(self.silence_to(begin as u64));
        }
        let from = (self.next as i64 - begin).max(0) as usize;
        let to = (self.end as i64 - begin).clamp(0, length as i64) as usize;
        if to > from {
            self.running = true;
            self.next += (to - from) as u64;
            pieces.push(Piece::Input(from..to));
        }
        pieces
    }

    /// Fill with silence up to `position` (or the end, if that comes first).
    pub(super) fn silence_to(&mut self, position: u64) -> Option<Piece> {
        let length = position.min(self.end).saturating_sub(self.next);
        self.next += length;
        self.silence += length;
        (length > 0).then_some(Piece::Silence(length))
    }

    /// Fill with silence to the end.
    pub(super) fn finish(&mut self) -> Option<Piece> {
        self.silence_to(self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_below_the_tolerance_is_one_unbroken_run() {
        let mut samples = Samples::new(48_000, 0..4_096);
        assert_eq!(samples.buffer(Some(0), 1_024), [Piece::Input(0..1_024)]);
        assert_eq!(samples.buffer(Some(1_000), 1_024), [Piece::Input(0..1_024)]);
        assert_eq!(samples.buffer(None, 1_024), [Piece::Input(0..1_024)]);
        assert_eq!(samples.next(), 3_072);
    }

    #[test]
    fn what_a_seek_clipped_does_not_count_for_the_place_of_what_follows() {
        let mut samples = Samples::new(48_000, 5_000..96_000);
        samples.restart();
        assert_eq!(samples.buffer(Some(1_001), 1_000), [], "clipped, and a sample off");
        assert_eq!(samples.buffer(Some(2_000), 1_024), []);
        assert_eq!(samples.buffer(Some(4_096), 1_024), [Piece::Input(904..1_024)]);
    }

    #[test]
    fn late_audio_is_preceded_by_silence_and_short_audio_followed_by_it() {
        let mut samples = Samples::new(48_000, 0..10_000);
        assert_eq!(samples.buffer(Some(4_000), 1_000), [Piece::Silence(4_000), Piece::Input(0..1_000)]);
        assert_eq!(samples.finish(), Some(Piece::Silence(5_000)));
        assert_eq!((samples.silence(), samples.is_full()), (9_000, true));
    }

    #[test]
    fn samples_outside_the_chunk_are_cut_to_the_sample() {
        let mut samples = Samples::new(48_000, 500..1_500);
        assert_eq!(samples.buffer(Some(-200), 600), []);
        assert_eq!(samples.buffer(Some(400), 600), [Piece::Input(100..600)]);
        assert_eq!(samples.buffer(Some(1_000), 1_024), [Piece::Input(0..500)]);
        assert!(samples.is_full());
        assert_eq!(samples.buffer(Some(2_024), 1_024), []);
    }

    #[test]
    fn an_overlap_beyond_the_tolerance_is_dropped() {
        let mut samples = Samples::new(48_000, 0..96_000);
        samples.buffer(Some(0), 48_000);
        assert_eq!(samples.buffer(Some(24_000), 48_000), [Piece::Input(24_000..48_000)]);
    }
}
