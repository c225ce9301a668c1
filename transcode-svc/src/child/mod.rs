//! The child process: one graph in a process of its own, fed over a socket pair.
//!
//! Owns the wire format (`protocol`), the supervisor in the parent ([`Session`]), the threads that
//! serve the child's reads and writes, and the child's side of all this ([`work`]). A decoder that
//! crashes or hangs takes the child with it, never the job's state; the child has neither
//! credentials nor a store, only the socket, and a [`Sandbox`] where media come from others. Must not know the command line. Sizes are bytes; the
//! clock is wall time, and only for patience: nothing here decides what is made.

mod confine;
mod environment;
mod failure;
mod parent;
mod process;
mod protocol;
mod remote;
mod sandbox;
mod serve;
mod worker;

pub use parent::{About, Session, Settings};
pub use protocol::Examined;
pub use sandbox::{Bound, Sandbox};
pub use worker::work;
