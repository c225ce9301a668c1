//! A writer that writes nothing: it holds what would be written against what is stored.
//!
//! The same segments always give the same bytes, so an MP4 that is there is whole and right exactly
//! if it equals the one that would be made. Memory: two blocks.

use crate::cancel::Cancel;
use crate::sink::{Created, ObjectWriter, SinkError, StreamSink};

/// Bytes compared at once: large enough that a store's latency does not count.
const BLOCK: usize = 4 << 20;

/// Compares with the object under a key.
pub(super) struct Comparing<'a> {
    sink: &'a dyn StreamSink,
    key: &'a str,
    cancel: &'a Cancel,
    offset: u64,
    expected: Vec<u8>,
    found: Vec<u8>,
}

impl<'a> Comparing<'a> {
    pub(super) fn new(sink: &'a dyn StreamSink, key: &'a str, cancel: &'a Cancel) -> Self {
        Self { sink, key, cancel, offset: 0, expected: Vec::with_capacity(BLOCK), found: Vec::new() }
    }

    /// Something else is stored there.
    pub(super) fn conflict(&self, reason: &str) -> SinkError {
        SinkError::Conflict {
            location: format!("{}/{}", self.sink.location().trim_end_matches('/'), self.key),
            reason: format!("{reason}; replace it with --overwrite, or choose another name with --output"),
        }
    }

    fn compare(&mut self) -> Result<(), SinkError> {
        self.found.resize(self.expected.len(), 0);
        let there = self.sink.read_at(self.key, self.offset, &mut self.found, self.cancel)?;
        let there = there.ok_or_else(|| self.conflict("it was there a moment ago and is gone"))?;
        let same = self.expected.iter().zip(&self.found[..there]).take_while(|(a, b)| a == b).count();
        if same < self.expected.len() {
            let at = self.offset + same as u64;
            return Err(self.conflict(&format!("it is not what these segments make, from byte {at} on")));
        }
        self.offset += self.expected.len() as u64;
        self.expected.clear();
        Ok(())
    }
}

impl ObjectWriter for Comparing<'_> {
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), SinkError> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.expected.len()));
            self.expected.extend_from_slice(now);
            bytes = later;
            if self.expected.len() == BLOCK {
                self.compare()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Created, SinkError> {
        self.compare()?;
        match self.sink.read_at(self.key, self.offset, &mut [0], self.cancel)? {
            Some(0) => Ok(Created::Existed),
            _ => Err(self.conflict(&format!("it goes on behind byte {}", self.offset))),
        }
    }
}
