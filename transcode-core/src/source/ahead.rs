//! Where to read ahead: which places of a source are being read in sequence.
//!
//! Owns the few places that are followed and how far ahead of each to read. Pure: block numbers in,
//! block numbers out; no bytes, no threads, no clock ("recent" is a counter of reads).

use std::ops::Range;

/// How many places are followed at once: video, audio, tables, and one to spare.
const PLACES: usize = 4;

/// The places that are read in sequence.
#[derive(Debug)]
pub(super) struct Ahead {
    places: Vec<Place>,
    /// Blocks ahead of one place at the most.
    wanted: u64,
    /// Blocks ahead of all places together at the most.
    together: u64,
    /// Blocks in the whole source.
    end: u64,
    tick: u64,
}

#[derive(Debug)]
struct Place {
    /// The block read last.
    at: u64,
    /// Blocks to have ready after it; doubles with each step forward, 0 until the first.
    window: u64,
    used: u64,
}

impl Ahead {
    /// Read up to `wanted` blocks ahead of each place, with room for `capacity` blocks in memory and
    /// `end` blocks in the source.
    pub(super) fn new(wanted: usize, capacity: usize, end: u64) -> Self {
        // All windows together take half of the memory, so that what is read ahead does not push
        // out what was read ahead, nor what a backward jump comes back for.
        Self { places: Vec::new(), wanted: wanted as u64, together: capacity as u64 / 2, end, tick: 0 }
    }

    /// Blocks ahead of one place, with as many places as there are now.
    fn limit(&self) -> u64 {
        self.wanted.min((self.together / self.places.len().max(1) as u64).max(1))
    }

    /// Block `index` is being read. The blocks that should be on their way now; `None` where nothing
    /// changed.
    pub(super) fn read(&mut self, index: u64) -> Option<Range<u64>> {
        self.tick += 1;
        let tick = self.tick;
        let limit = self.limit();
        // Within its window a place may skip: a demuxer jumps over the other track's samples.
        let reach = limit.max(1);
        let known = self.places.iter_mut().find(|place| (place.at..=place.at + reach).contains(&index));
        if let Some(place) = known {
            place.used = tick;
            if place.at == index {
                return None;
            }
            place.at = index;
            place.window = (place.window * 2).max(1).min(limit);
            return Some(index + 1..(index + 1 + place.window).min(self.end));
        }
        // A step back within reach (a demuxer's rule, not its exception) is the same place: it keeps
        // its window, and what it had asked for stays asked for.
        if let Some(place) =
            self.places.iter_mut().find(|place| (place.at.saturating_sub(reach)..place.at).contains(&index))
        {
            place.used = tick;
            return None;
        }
        if self.places.len() >= PLACES {
            let oldest = self.places.iter().enumerate().min_by_key(|(_, place)| place.used);
            if let Some((oldest, _)) = oldest {
                self.places.swap_remove(oldest);
            }
        }
        self.places.push(Place { at: index, window: 0, used: tick });
        Some(index..index)
    }

    /// Whether some place still has `index` ahead of it.
    pub(super) fn wants(&self, index: u64) -> bool {
        self.places.iter().any(|place| (place.at + 1..=place.at + place.window).contains(&index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_grows_with_a_sequence_and_ends_with_the_source() {
        let mut ahead = Ahead::new(8, 64, 10);
        assert_eq!(ahead.read(0), Some(0..0), "one read is not a sequence");
        assert_eq!(ahead.read(0), None);
        assert_eq!(ahead.read(1), Some(2..3));
        assert_eq!(ahead.read(2), Some(3..5));
        assert_eq!(ahead.read(3), Some(4..8));
        assert_eq!(ahead.read(4), Some(5..10));
        assert!(ahead.wants(9) && !ahead.wants(4));
    }

    #[test]
    fn two_places_read_by_turns_are_both_followed_and_a_table_at_the_end_disturbs_neither() {
        let mut ahead = Ahead::new(4, 64, 10_000);
        for step in 0..20 {
            ahead.read(step);
            ahead.read(5_000 + step);
            ahead.read(9_999);
        }
        assert!((20..24).chain(5_020..5_024).all(|index| ahead.wants(index)));
    }

    #[test]
    fn jumps_all_over_the_place_ask_for_nothing() {
        let mut ahead = Ahead::new(8, 64, 1_000_000);
        let asked: u64 = (0..1000u64)
            .filter_map(|step| ahead.read(step * 7919 % 99_991))
            .map(|next| next.end - next.start)
            .sum();
        assert!(asked < 50, "{asked}");
    }

    #[test]
    fn all_windows_together_leave_half_of_the_memory() {
        let mut ahead = Ahead::new(100, 32, 1000);
        assert_eq!(ahead.limit(), 16);
        for place in 0..2 * PLACES as u64 {
            ahead.read(place * 200);
        }
        assert_eq!(ahead.limit(), 4);
        assert_eq!(Ahead::new(100, 4, 1000).limit(), 2);
        assert_eq!(Ahead::new(0, 32, 1000).limit(), 0);
    }
}
