//! The graph, run for real on the clips of `tests/media`, and its traps one by one.

mod closing;
mod grid;
mod ladder;
mod pictures;
pub(super) mod support;
mod teardown;
mod traps;
mod witness;
