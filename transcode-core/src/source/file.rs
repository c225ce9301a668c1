//! Stub.
/// Stub.
pub struct FileSource;
