//! The graph, run for real on the clips of `tests/media`, and its traps one by one.

mod closing;
mod ladder;
mod support;
mod traps;
