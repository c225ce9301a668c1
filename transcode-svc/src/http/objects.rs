//! The store as the API uses it: what players read and what people upload.
//!
//! Owns which place a job's destination is. All calls block. Sizes and offsets are bytes.

use crate::store::Stores;
use std::sync::Arc;
use transcode_core::Cancel;

/// The store.
pub struct Objects {
    stores: Arc<Stores>,
    home: String,
}

impl Objects {
    /// The store at `home`: a directory, or `s3://bucket/prefix`. Nothing is asked yet.
    pub fn new(stores: Arc<Stores>, home: &str) -> Self {
        Self { stores, home: home.trim_end_matches('/').to_owned() }
    }

    /// Whether it can be reached.
    pub(super) fn check(&self) -> Result<(), transcode_core::Error> {
        self.stores.open_job(&self.home, &Cancel::new()).map(drop)
    }
}
