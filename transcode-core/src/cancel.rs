//! The one way to say "stop": a flag that every wait in the library wakes for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

/// A cancellation handle; clones share one flag. Once set it stays set.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<Inner>);

#[derive(Default)]
struct Inner {
    set: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
    children: Mutex<Vec<Weak<Inner>>>,
    callbacks: Mutex<Callbacks>,
}

#[derive(Default)]
struct Callbacks {
    next: u64,
    waiting: BTreeMap<u64, Box<dyn FnOnce() + Send>>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancel").field("set", &self.set).finish_non_exhaustive()
    }
}

impl Inner {
    fn cancel(&self) {
        self.set.store(true, Ordering::SeqCst);
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_all();
        let children = std::mem::take(&mut *self.children.lock().unwrap_or_else(PoisonError::into_inner));
        for child in children.iter().filter_map(Weak::upgrade) {
            child.cancel();
        }
        let callbacks =
            std::mem::take(&mut self.callbacks.lock().unwrap_or_else(PoisonError::into_inner).waiting);
        for callback in callbacks.into_values() {
            callback();
        }
    }
}

/// Keeps a callback of [`Cancel::on_cancel`] registered; dropping it takes the callback back.
#[derive(Debug)]
#[must_use = "the callback is taken back when this is dropped"]
pub struct OnCancel {
    inner: Weak<Inner>,
    id: u64,
}

impl Drop for OnCancel {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.upgrade() {
            let callback =
                inner.callbacks.lock().unwrap_or_else(PoisonError::into_inner).waiting.remove(&self.id);
            drop(callback);
        }
    }
}

impl Cancel {
    /// A handle that nobody has cancelled yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ask everything that holds a clone of this handle to stop.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// A handle of its own that is cancelled with this one, but not the other way round: what stops
    /// one part of a job without stopping the job.
    pub fn child(&self) -> Self {
        let child = Self::new();
        {
            let mut children = self.0.children.lock().unwrap_or_else(PoisonError::into_inner);
            children.retain(|known| known.strong_count() > 0);
            children.push(Arc::downgrade(&child.0));
        }
        // Whoever cancelled before the child was listed did not tell it; whoever does so later will.
        if self.is_cancelled() {
            child.cancel();
        }
        child
    }

    /// Whether somebody asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.set.load(Ordering::SeqCst)
    }

    /// Call `callback` once, on the thread that cancels, as soon as this handle is cancelled: for
    /// waits that a flag cannot end (another lock, a future). It is called at once where the handle
    /// is cancelled already, and must be short: other callbacks wait behind it.
    pub fn on_cancel(&self, callback: impl FnOnce() + Send + 'static) -> OnCancel {
        let id = {
            let mut callbacks = self.0.callbacks.lock().unwrap_or_else(PoisonError::into_inner);
            let id = callbacks.next;
            callbacks.next += 1;
            callbacks.waiting.insert(id, Box::new(callback));
            id
        };
        // Whoever cancelled before the callback was listed did not call it; it is called here then.
        if self.is_cancelled() {
            let callback =
                self.0.callbacks.lock().unwrap_or_else(PoisonError::into_inner).waiting.remove(&id);
            if let Some(callback) = callback {
                callback();
            }
        }
        OnCancel { inner: Arc::downgrade(&self.0), id }
    }

    /// Sleep for `time`, or less if cancelled; says whether it was cancelled.
    pub fn sleep(&self, time: Duration) -> bool {
        let guard = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.wake.wait_timeout_while(guard, time, |()| !self.is_cancelled());
        drop(waited);
        self.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_stops_with_its_parent_and_not_the_other_way_round() {
        let parent = Cancel::new();
        let (first, second) = (parent.child(), parent.child());
        first.cancel();
        assert!(first.is_cancelled() && !parent.is_cancelled() && !second.is_cancelled());
        parent.cancel();
        assert!(second.is_cancelled());
        assert!(parent.child().is_cancelled(), "born after the fact");
    }

    #[test]
    fn a_callback_runs_once_and_not_after_its_guard_is_gone() {
        let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = |by: usize| {
            let calls = Arc::clone(&calls);
            move || {
                calls.fetch_add(by, Ordering::SeqCst);
            }
        };
        let cancel = Cancel::new();
        let kept = cancel.child().on_cancel(count(1000));
        drop(kept);
        let child = cancel.child();
        let _kept = child.on_cancel(count(1));
        drop(cancel.on_cancel(count(100)));
        cancel.cancel();
        cancel.cancel();
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        let _late = cancel.on_cancel(count(10));
        assert_eq!(calls.load(Ordering::SeqCst), 11, "cancelled already: called at once");
    }
}
