//! Work on numbered things side by side, results in order.
//!
//! Owns the threads and the bound on what is ready and not yet taken. Knows nothing of what is done.

use crate::error::Error;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Things under way or waiting to be taken, at most: enough to hide a store's latency of some 20 ms
/// behind the work on segments of some megabytes; memory is so many segments.
const AT_ONCE: usize = 4;

struct State<T> {
    next: usize,
    taken: usize,
    ready: BTreeMap<usize, Result<T, Error>>,
    stop: bool,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, guard: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever leaves, by whatever way, wakes the others up.
struct Leaving<'a, T>(&'a Shared<T>, bool);

impl<T> Drop for Leaving<'_, T> {
    fn drop(&mut self) {
        if self.1 || std::thread::panicking() {
            self.0.lock().stop = true;
        }
        self.0.changed.notify_all();
    }
}

/// `make` every number below `count` on a few threads, and hand the results to `take` in order, on
/// this thread. The first error of either ends it.
///
/// # Errors
/// That error.
pub(super) fn in_order<T: Send>(
    count: usize,
    make: impl Fn(usize) -> Result<T, Error> + Sync,
    mut take: impl FnMut(usize, T) -> Result<(), Error>,
) -> Result<(), Error> {
    let state = State { next: 0, taken: 0, ready: BTreeMap::new(), stop: false };
    let shared = Shared { state: Mutex::new(state), changed: Condvar::new() };
    let work = || {
        let _leaving = Leaving(&shared, false);
        loop {
            let mut state = shared.lock();
            while !state.stop && state.next < count && state.next >= state.taken + AT_ONCE {
                state = shared.wait(state);
            }
            if state.stop || state.next >= count {
                return;
            }
            let number = state.next;
            state.next += 1;
            drop(state);
            let made = make(number);
            shared.lock().ready.insert(number, made);
            shared.changed.notify_all();
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(count) {
            scope.spawn(work);
        }
        let _leaving = Leaving(&shared, true);
        for number in 0..count {
            let mut state = shared.lock();
            let made = loop {
                if let Some(made) = state.ready.remove(&number) {
                    break made;
                }
                if state.stop {
                    return Err(Error::Stalled {
                        reason: "a thread that reads segments panicked".to_owned(),
                    });
                }
                state = shared.wait(state);
            };
            drop(state);
            take(number, made?)?;
            shared.lock().taken = number + 1;
            shared.changed.notify_all();
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn results_come_in_order_and_no_more_wait_than_the_bound() {
        let (made, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let make = |number: usize| {
            let ahead = made.fetch_add(1, Ordering::SeqCst) + 1 - taken.load(Ordering::SeqCst);
            assert!(ahead <= AT_ONCE + 1, "{ahead} are under way");
            // Later numbers are ready first.
            std::thread::sleep(std::time::Duration::from_millis(3 - number as u64 % 4));
            Ok(number * 2)
        };
        let mut seen = Vec::new();
        let result = in_order(40, make, |number, twice| {
            assert_eq!(twice, number * 2);
            seen.push(number);
            taken.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        assert!(result.is_ok());
        assert_eq!(seen, (0..40).collect::<Vec<_>>());
    }

    #[test]
    fn the_first_error_in_order_ends_it() {
        let fails = |number: usize| if number >= 7 { Err(Error::Interrupted) } else { Ok(number) };
        let mut taken = 0;
        let result = in_order(100, fails, |_, _| {
            taken += 1;
            Ok(())
        });
        assert!(matches!(result, Err(Error::Interrupted)));
        assert_eq!(taken, 7);
        let result =
            in_order(100, Ok, |number, _| if number == 3 { Err(Error::Interrupted) } else { Ok(()) });
        assert!(matches!(result, Err(Error::Interrupted)));
    }
}
