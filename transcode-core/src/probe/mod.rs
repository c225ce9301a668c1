//! What is in a source.
