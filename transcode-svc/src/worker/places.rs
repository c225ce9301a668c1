//! What a job may name, and what that means here: keys of the configured store, `s3://…`, `https://…`.
//!
//! A job comes from outside: it names no file of this machine, and no key that leads out of the store. Its
//! destination lies behind the lease's fence.

use super::fence::{Fence, Fenced};
use crate::engine::Places;
use crate::store::Stores;
use std::sync::Arc;
use transcode_core::sink::StreamSink;
use transcode_core::source::Source;
use transcode_core::{Cancel, Error};

/// Opens what one job names.
pub(super) struct JobPlaces<'a> {
    pub(super) stores: &'a Stores,
    /// The configured store: a directory or `s3://bucket[/prefix]`; keys are resolved below it.
    pub(super) base: Option<&'a str>,
    pub(super) fence: Arc<Fence>,
}

impl Places for JobPlaces<'_> {
    fn source(&self, input: &str, cancel: &Cancel) -> Result<Arc<dyn Source>, Error> {
        match input.split_once("://") {
            Some(("s3" | "https" | "http", _)) => self.stores.open_source(input, cancel),
            Some((other, _)) => Err(refused(input, &format!("a job may not read {other}://"))),
            // The service's own store, with the store's credentials and not the source's.
            None => self.stores.open_source(&within(self.base, input)?, cancel),
        }
    }

    fn destination(&self, destination: &str, cancel: &Cancel) -> Result<Arc<dyn StreamSink>, Error> {
        let place = match destination.split_once("://") {
            Some(("s3", _)) => destination.to_owned(),
            Some((other, _)) => {
                return Err(refused(destination, &format!("a job may not write to {other}://")));
            }
            None => within(self.base, destination)?,
        };
        Ok(Arc::new(Fenced::new(self.stores.open_stream_sink(&place, cancel)?, self.fence.clone())))
    }
}

/// The place of a key of the configured store.
///
/// # Errors
/// [`Error::Config`] where there is no store, or the key leads out of it.
fn within(base: Option<&str>, key: &str) -> Result<String, Error> {
    let Some(base) = base else {
        return Err(refused(
            key,
            "this is a key of the configured store, and none is configured; give `--store`, set `store.url`, or \
             write s3://bucket/key",
        ));
    };
    let clean = key.trim_start_matches('/').trim_end_matches('/');
    let bad = |part: &str| part.is_empty() || part == "." || part == "..";
    if clean.is_empty() || clean.split('/').any(bad) || clean.chars().any(char::is_control) {
        return Err(refused(
            key,
            "this is no key of the store: its parts are neither empty nor `.` nor `..`",
        ));
    }
    Ok(format!("{}/{clean}", base.trim_end_matches('/')))
}

fn refused(what: &str, reason: &str) -> Error {
    Error::Config {
        what: what.to_owned(),
        reason: format!(
            "{reason}; allowed are s3://bucket/key, https:// for sources, and keys of the configured store"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_below_the_store() {
        assert_eq!(within(Some("data/store/"), "/in/a.mp4").expect("a key"), "data/store/in/a.mp4");
        assert_eq!(within(Some("s3://b"), "out/7/").expect("a key"), "s3://b/out/7");
        for key in ["", "/", "../a", "a/../../b", "a//b", "./a", "a/..", "a\u{0}b", "a\nb"] {
            assert!(within(Some("store"), key).is_err(), "{key:?}");
        }
        assert!(within(None, "a").is_err());
    }
}
