//! t
#![allow(clippy::unwrap_used)]
mod probe;
mod support;
