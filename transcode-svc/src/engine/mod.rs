//! Engines: what makes a job.
//!
//! Owns the way from a source to a finished output (`Order`), the engine that uses this machine's processes
//! ([`Local`]), which platforms it may use, and how many graphs side by side are worth it (`jobs`). Knows
//! plans, children and stores; neither profiles nor terminals nor queues: who watches (`Watch`) shows or
//! reports what happens.

mod fallback;
mod jobs;
mod local;
pub(crate) mod look;
mod making;
mod movies;
mod order;
mod places;
pub(crate) mod platforms;
mod tracker;
mod watch;

pub(crate) use jobs::bytes;
pub use jobs::{Machine, divided, jobs};
pub use local::{Local, Told};
pub(crate) use order::{Made, Order};
pub(crate) use places::Places;
pub(crate) use tracker::{Snapshot, Tracker};
pub(crate) use watch::{Start, Watch};
