//! Stub.
/// Stub.
pub struct MemorySink;
