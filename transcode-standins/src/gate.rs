//! Waiting that a state change can end: a stalled stand-in and a full pool of surfaces.
//!
//! Owns: the one lock of an element's waiting and its shutdown. Must not know: GStreamer.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

#[derive(Debug, Default)]
struct State {
    stopping: bool,
    taken: u32,
}

/// Surfaces in use and whether the element is stopping.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

/// A surface in use; giving it back is dropping it.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Gate>);

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.taken = state.taken.saturating_sub(1);
        self.0.changed.notify_all();
    }
}

impl Gate {
    /// Waits until fewer than `of` surfaces are in use and takes one; none when the element stops.
    pub(crate) fn take(self: &Arc<Self>, of: u32) -> Option<Permit> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.stopping && state.taken >= of {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.stopping {
            return None;
        }
        state.taken += 1;
        Some(Permit(Arc::clone(self)))
    }

    /// Waits until the element stops.
    pub(crate) fn stall(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.stopping {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends all waiting, or allows it again.
    pub(crate) fn set_stopping(&self, stopping: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.stopping = stopping;
        self.changed.notify_all();
    }
}
