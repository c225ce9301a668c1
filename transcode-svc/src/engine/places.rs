//! Where sources and destinations are opened: by the stores alone, or under the rules of a service.

use crate::store::Stores;
use std::sync::Arc;
use transcode_core::sink::StreamSink;
use transcode_core::source::Source;
use transcode_core::{Cancel, Error};

/// Opens what a job names.
pub(crate) trait Places: Sync {
    /// The video that is read.
    ///
    /// # Errors
    /// As [`Stores::open_source`].
    fn source(&self, input: &str, cancel: &Cancel) -> Result<Arc<dyn Source>, Error>;

    /// Where the output goes.
    ///
    /// # Errors
    /// As [`Stores::open_stream_sink`].
    fn destination(&self, destination: &str, cancel: &Cancel) -> Result<Arc<dyn StreamSink>, Error>;
}

/// Whatever the command line names.
impl Places for Stores {
    fn source(&self, input: &str, cancel: &Cancel) -> Result<Arc<dyn Source>, Error> {
        self.open_source(input, cancel)
    }

    fn destination(&self, destination: &str, cancel: &Cancel) -> Result<Arc<dyn StreamSink>, Error> {
        self.open_stream_sink(destination, cancel)
    }
}
