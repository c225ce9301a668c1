//! The one way to say "stop": a flag that every wait in the library wakes for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A cancellation handle; clones share one flag. Once set it stays set.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    set: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
}

impl Cancel {
    /// A handle that nobody has cancelled yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ask everything that holds a clone of this handle to stop.
    pub fn cancel(&self) {
        self.0.set.store(true, Ordering::SeqCst);
        drop(self.0.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.wake.notify_all();
    }

    /// Whether somebody asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.set.load(Ordering::SeqCst)
    }

    /// Sleep for `time`, or less if cancelled; says whether it was cancelled.
    pub fn sleep(&self, time: Duration) -> bool {
        let guard = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.wake.wait_timeout_while(guard, time, |()| !self.is_cancelled());
        drop(waited);
        self.is_cancelled()
    }
}
