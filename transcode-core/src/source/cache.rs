//! Stub.
/// Stub.
pub struct CacheOptions;
/// Stub.
pub struct CachedSource;
