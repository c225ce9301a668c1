//! Which picture fills which slot of the timeline: the video gate's decisions, without GStreamer.
//!
//! A picture belongs to the slot that is nearest to its stream time. A slot that several pictures
//! claim shows the first of them; a slot that none claims shows the last picture before it once more,
//! be that one that was shown or one that had no slot of its own: a recording that comes to rest shows
//! what it came to rest at. All of it depends on stream times alone, so any two chunks agree on every
//! slot they share, as long as each has seen the picture before its first slot.

use super::clock::UNDECIDED;
use crate::event::ChunkReport;
use crate::units::{FrameRate, MediaTime};

/// How far a picture may be from the end that the plan expects before the gate stops filling up
/// with repeats and lets the chunk end short (which the verification then reports): containers
/// round their durations, and a sound track may be a little longer than its pictures.
const FILL_SECONDS: u64 = 1;

/// What to do with one decoded picture.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Not shown: before the chunk, or its slot has another picture already. Keep it in case the next
    /// slot has no picture of its own.
    Hold,
    /// The first picture does not lie before the first slot, and an earlier one may exist, which may
    /// have a better right to that slot: seek further back.
    NeedEarlier,
    /// Show the held picture on every slot of `fill`, then this one on `slot`.
    /// Where nothing is held yet, this one fills the gap as well.
    Show { fill: std::ops::Range<u64>, slot: u64 },
    /// Past the last slot: show the held picture on every slot of `fill`, then end.
    End { fill: std::ops::Range<u64> },
}

/// The slots of one chunk, and how far they are filled.
#[derive(Debug)]
pub(super) struct Slots {
    rate: FrameRate,
    /// Stream time of slot 0.
    start: MediaTime,
    first: u64,
    end: u64,
    next: u64,
    held: bool,
    /// Decoding began at the very start of the source, so nothing earlier exists.
    from_start: bool,
    last_time: Option<MediaTime>,
    counts: Counts,
}

#[derive(Debug, Default, Clone)]
struct Counts {
    decoded: u64,
    outside: u64,
    dropped: u64,
    repeated: u64,
    source_end: Option<MediaTime>,
}

impl Slots {
    pub(super) fn new(rate: FrameRate, start: MediaTime, slots: std::ops::Range<u64>) -> Self {
        Self {
            rate,
            start,
            first: slots.start,
            end: slots.end,
            next: slots.start,
            held: false,
            from_start: true,
            last_time: None,
            counts: Counts::default(),
        }
    }

    /// Begin again after a seek; `from_start` where it went to the start of the source.
    pub(super) fn restart(&mut self, from_start: bool) {
        self.next = self.first;
        self.held = false;
        self.from_start = from_start;
        self.last_time = None;
        self.counts = Counts::default();
    }

    /// The next slot to be filled; the chunk's end when all are.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn is_full(&self) -> bool {
        self.next >= self.end
    }

    /// One decoded picture, shown at stream time `time`; `None` continues the one before. Its
    /// duration counts for where the source ends only: the last picture of a screen recording may
    /// stand for a minute.
    pub(super) fn picture(&mut self, time: Option<MediaTime>, duration: Option<MediaTime>) -> Step {
        let time = time.unwrap_or_else(|| match self.last_time {
            Some(last) => last + self.rate.time_of(1),
            None => self.start,
        });
        self.last_time = Some(time);
        self.counts.decoded += 1;
        let slot = self.rate.time_of(1);
        self.counts.source_end = self.counts.source_end.max(Some(time + duration.unwrap_or(slot).max(slot)));
        let slot = self.rate.nearest(time - self.start + MediaTime::from_nanos(UNDECIDED));
        if slot < self.first as i64 {
            self.counts.outside += 1;
            self.held = true;
            return Step::Hold;
        }
        let slot = slot as u64;
        if slot < self.next {
            self.counts.dropped += 1;
            return Step::Hold;
        }
        if !self.held && !self.from_start {
            return Step::NeedEarlier;
        }
        if slot >= self.end {
            self.counts.outside += 1;
            return Step::End { fill: self.fill_to(self.end) };
        }
        let fill = self.fill_to(slot);
        self.next = slot + 1;
        self.held = true;
        Step::Show { fill, slot }
    }

    /// The source ended: which slots still show the held picture.
    pub(super) fn finish(&mut self) -> std::ops::Range<u64> {
        let allowed =
            u64::try_from(self.rate.ceil(MediaTime::new(FILL_SECONDS as i64, 1).unwrap_or(MediaTime::ZERO)))
                .unwrap_or(0);
        let shown_to = self.counts.source_end.map_or(0, |end| self.rate.nearest(end - self.start));
        let shown_to = u64::try_from(shown_to).unwrap_or(0).clamp(self.next, self.end);
        if !self.held {
            return self.next..self.next;
        }
        let fill_to = if self.end - shown_to <= allowed { self.end } else { shown_to };
        self.fill_to(fill_to)
    }

    fn fill_to(&mut self, slot: u64) -> std::ops::Range<u64> {
        let fill = self.next..slot;
        self.counts.repeated += fill.end - fill.start;
        self.next = slot;
        fill
    }

    /// The figures of the verification.
    pub(super) fn report(&self, into: &mut ChunkReport) {
        into.decoded = self.counts.decoded;
        into.outside = self.counts.outside;
        into.dropped = self.counts.dropped;
        into.repeated = self.counts.repeated;
        into.emitted = self.next - self.first;
        into.source_end = self.counts.source_end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate() -> FrameRate {
        FrameRate::new(30_000, 1_001).expect("29.97")
    }

    fn at(slot: u64) -> Option<MediaTime> {
        Some(rate().time_of(slot))
    }

    #[test]
    fn a_constant_rate_passes_through() {
        let mut slots = Slots::new(rate(), MediaTime::ZERO, 0..3);
        for slot in 0..3 {
            assert_eq!(slots.picture(at(slot), None), Step::Show { fill: slot..slot, slot });
        }
        assert!(slots.is_full());
    }

    #[test]
    fn a_chunk_agrees_with_the_whole_on_every_slot_of_a_variable_rate() {
        // Pictures at odd distances: some slots are claimed twice, some never.
        let times: Vec<MediaTime> = (0..200u64)
            .map(|n| MediaTime::from_nanos((n * 41_000_000 + (n * n * 7_919) % 30_000_000) as i64))
            .collect();
        let shown = |first: u64, end: u64| {
            let mut slots = Slots::new(rate(), MediaTime::ZERO, first..end);
            let (mut out, mut held) = (vec![usize::MAX; (end - first) as usize], usize::MAX);
            for (number, time) in times.iter().enumerate() {
                match slots.picture(Some(*time), None) {
                    Step::Hold => held = number,
                    Step::NeedEarlier => panic!("decoded from the start"),
                    Step::Show { fill, slot } => {
                        for at in fill {
                            out[(at - first) as usize] = if held == usize::MAX { number } else { held };
                        }
                        out[(slot - first) as usize] = number;
                        held = number;
                    }
                    Step::End { fill } => {
                        fill.for_each(|at| out[(at - first) as usize] = held);
                        break;
                    }
                }
            }
            out
        };
        let whole = shown(0, 200);
        for cut in [1, 7, 60, 61, 62, 63, 150] {
            assert_eq!(shown(cut, 200), whole[cut as usize..], "from {cut}");
        }
        assert!(whole.iter().all(|number| *number != usize::MAX));
    }

    #[test]
    fn a_picture_without_a_slot_of_its_own_stands_where_none_follows() {
        let mut slots = Slots::new(rate(), MediaTime::ZERO, 0..10);
        assert_eq!(slots.picture(at(0), None), Step::Show { fill: 0..0, slot: 0 });
        let a_little_later = rate().time_of(0) + MediaTime::from_nanos(5_000_000);
        assert_eq!(slots.picture(Some(a_little_later), None), Step::Hold);
        assert_eq!(slots.picture(at(4), None), Step::Show { fill: 1..4, slot: 4 });
    }

    #[test]
    fn a_late_first_picture_fills_the_slots_before_it() {
        let mut slots = Slots::new(rate(), MediaTime::ZERO, 0..10);
        assert_eq!(slots.picture(at(4), None), Step::Show { fill: 0..4, slot: 4 });
    }

    #[test]
    fn a_seek_that_lands_late_asks_for_an_earlier_one() {
        let mut slots = Slots::new(rate(), MediaTime::ZERO, 100..110);
        slots.restart(false);
        assert_eq!(slots.picture(at(101), None), Step::NeedEarlier);
        slots.restart(false);
        assert_eq!(slots.picture(at(100), None), Step::NeedEarlier, "one before may claim the slot");
        slots.restart(false);
        assert_eq!(slots.picture(at(98), None), Step::Hold);
        assert_eq!(slots.picture(at(101), None), Step::Show { fill: 100..101, slot: 101 });
    }

    #[test]
    fn an_early_end_is_filled_for_a_second_and_no_longer() {
        let mut slots = Slots::new(rate(), MediaTime::ZERO, 0..100);
        for slot in 0..80 {
            slots.picture(at(slot), None);
        }
        assert_eq!(slots.finish(), 80..100);
        let mut slots = Slots::new(rate(), MediaTime::ZERO, 0..100);
        slots.picture(at(0), None);
        assert_eq!(slots.finish(), 1..1);
    }

    #[test]
    fn a_last_picture_stands_as_long_as_it_says() {
        let mut slots = Slots::new(rate(), MediaTime::ZERO, 0..100);
        slots.picture(at(0), Some(rate().time_of(50)));
        assert_eq!(slots.finish(), 1..50);
        let mut slots = Slots::new(rate(), MediaTime::ZERO, 0..100);
        slots.picture(at(0), Some(rate().time_of(99)));
        assert_eq!(slots.finish(), 1..100);
    }
}
