//! How long and how often a request is tried, and how a wait ends early.
//!
//! Owns back-off with jitter, the bound on the whole, and the bridge from a synchronous
//! [`Cancel`] to a future. Knows no store. The clock is the monotonic one.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use transcode_core::Cancel;

/// The first pause; it doubles with each try, up to [`LONGEST_PAUSE`], and a random half is taken off.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Why one try failed.
#[derive(Debug)]
pub(super) enum Failure<E> {
    /// For a reason that may pass; the store may have asked for a pause.
    Passing {
        /// What was answered, for people.
        reason: String,
        /// What the store asked for (`Retry-After`).
        pause: Option<Duration>,
    },
    /// For a reason that stays.
    Final(E),
}

impl<E> Failure<E> {
    /// A passing failure without a wish for a pause.
    pub(super) fn passing(reason: impl Into<String>) -> Self {
        Self::Passing { reason: reason.into(), pause: None }
    }

    /// The same failure with another final error.
    pub(super) fn map<F>(self, change: impl FnOnce(E) -> F) -> Failure<F> {
        match self {
            Self::Passing { reason, pause } => Failure::Passing { reason, pause },
            Self::Final(error) => Failure::Final(change(error)),
        }
    }
}

/// Why the whole failed.
#[derive(Debug)]
pub(super) enum GaveUp<E> {
    /// Somebody asked to stop.
    Cancelled,
    /// Every try failed for a passing reason; says how many, how long, and the last one.
    Unavailable(String),
    /// One failed for a reason that stays.
    Final(E),
}

/// Try until it succeeds, fails for good, `bound` has passed, or somebody cancels. The first try is
/// made in any case; `attempt` is told how many were made before.
///
/// Blocks: not to be called from a task of a runtime.
pub(super) fn persist<T, E>(
    runtime: &Handle,
    bound: Duration,
    cancel: &Cancel,
    what: &str,
    mut attempt: impl AsyncFnMut(u32) -> Result<T, Failure<E>>,
) -> Result<T, GaveUp<E>> {
    if cancel.is_cancelled() {
        return Err(GaveUp::Cancelled);
    }
    let trying = async {
        let started = Instant::now();
        let mut tries = 0;
        loop {
            let (reason, wish) = match attempt(tries).await {
                Ok(value) => {
                    if tries > 0 {
                        log::info!("{what}: succeeded after {tries} failed tries");
                    }
                    return Ok(value);
                }
                Err(Failure::Final(error)) => return Err(GaveUp::Final(error)),
                Err(Failure::Passing { reason, pause }) => (reason, pause),
            };
            tries += 1;
            let left = bound.saturating_sub(started.elapsed());
            if left.is_zero() {
                let took = started.elapsed().as_secs_f64();
                let times = if tries == 1 { "time" } else { "times" };
                return Err(GaveUp::Unavailable(format!(
                    "tried {tries} {times} in {took:.1} s, at last: {reason}"
                )));
            }
            // What is left is used up by one last try rather than thrown away.
            let pause = wish.unwrap_or_else(|| jitter(back_off(tries))).min(left);
            log::warn!("{what}: {reason}; trying again in {:.1} s", pause.as_secs_f64());
            tokio::time::sleep(pause).await;
        }
    };
    runtime.block_on(async {
        tokio::select! {
            biased;
            () = cancelled(cancel) => Err(GaveUp::Cancelled),
            result = trying => result,
        }
    })
}

/// Ends when `cancel` is cancelled.
pub(super) async fn cancelled(cancel: &Cancel) {
    let (tell, told) = tokio::sync::oneshot::channel();
    let _registered = cancel.on_cancel(move || {
        let _sent = tell.send(());
    });
    // The sender lives as long as the registration, so this ends by being told.
    let _told = told.await;
}

fn back_off(tries: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(LONGEST_PAUSE)
}

/// Half to all of `pause`: many clients of one store that failed together do not come back together.
fn jitter(pause: Duration) -> Duration {
    // A hasher with fresh random keys is a random number; nothing here has to be unpredictable.
    let random = RandomState::new().build_hasher().finish() % 1000;
    pause / 2 + pause.mul_f64(random as f64 / 2000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_keep_at_least_their_half() {
        let pauses: Vec<u128> = (1..9).map(|tries| back_off(tries).as_millis()).collect();
        assert_eq!(pauses, [200, 400, 800, 1600, 3200, 6400, 8000, 8000]);
        assert_eq!(back_off(u32::MAX), LONGEST_PAUSE);
        for _ in 0..100 {
            let pause = jitter(Duration::from_secs(1));
            assert!((Duration::from_millis(500)..=Duration::from_secs(1)).contains(&pause), "{pause:?}");
        }
    }

    #[test]
    fn the_first_try_is_made_even_without_time_and_the_last_reason_is_told() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let result: Result<(), GaveUp<()>> =
            persist(runtime.handle(), Duration::ZERO, &Cancel::new(), "test", async |tries| {
                assert_eq!(tries, 0, "no second try");
                Err(Failure::passing("busy"))
            });
        match result {
            Err(GaveUp::Unavailable(reason)) => assert_eq!(reason, "tried 1 time in 0.0 s, at last: busy"),
            other => panic!("{other:?}"),
        }
    }
}
