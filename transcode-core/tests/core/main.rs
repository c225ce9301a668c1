//! t
#![allow(clippy::unwrap_used)]

mod plan;
mod plan_rules;
mod probe;
mod run;
mod segment;
mod support;
