//! Whose turn it is: the order in which the three lines are looked at.
//!
//! High comes first, but every fourth take looks at normal first, and every sixteenth at low: whatever
//! waits behind, normal gets at least 3 takes of 16 and low at least 1. So the last of a hundred low jobs
//! begins after at most 1,600 takes, however many high ones come. Sixteen is small enough for a day's work
//! of one machine (at two minutes a job a low one starts every half hour) and large enough that
//! high ones hardly notice. A pure function of a counter that the queue keeps, so every queue
//! has the same order.

use crate::job::Priority;

/// After so many takes it begins anew.
pub const PERIOD: u64 = 16;

/// The lines in the order in which take number `turn` (from 0) looks at them.
pub const fn order(turn: u64) -> [Priority; 3] {
    use Priority::{High, Low, Normal};
    match turn % PERIOD {
        15 => [Low, High, Normal],
        3 | 7 | 11 => [Normal, High, Low],
        _ => [High, Normal, Low],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_comes_first_as_often_as_its_quota_says() {
        let first = |priority| (0..PERIOD).filter(|turn| order(*turn)[0] == priority).count();
        assert_eq!(Priority::ALL.map(first), [12, 3, 1]);
        for turn in 0..2 * PERIOD {
            let mut lines = order(turn);
            lines.sort();
            assert_eq!(lines, Priority::ALL, "every take looks at every line");
        }
    }
}
