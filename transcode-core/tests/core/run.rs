//! Running a plan: what is proved, what is published when, and a whole job from file to ladder.

mod job;
mod publisher;
mod resume;
pub(crate) mod support;
mod trouble;
mod verify;
