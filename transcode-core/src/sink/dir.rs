//! Stub.
/// Stub.
pub struct DirSink;
