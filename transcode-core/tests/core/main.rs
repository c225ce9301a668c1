//! Tests of the library through its public face, in one binary.
#![allow(clippy::unwrap_used)]

mod plan;
mod plan_rules;
