//! How far this machine's clock is from a store's.
//!
//! Owns one question, a HEAD of the store's address, and the reading of its Date header. A clock that is
//! off by more than a few minutes makes a store refuse signed requests (S3 allows a quarter of an hour).

use super::client::client;
use super::{Stores, s3};
use reqwest::header::DATE;
use reqwest::redirect::Policy;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use transcode_core::Error;
use transcode_core::sink::SinkError;
use url::Url;

/// For one small question.
const PATIENCE: Duration = Duration::from_secs(10);

impl Stores {
    /// Seconds by which this machine's clock is ahead of the store's at `s3://bucket` or `https://…`.
    /// Dates have whole seconds: one either way is none.
    ///
    /// # Errors
    /// [`Error::Config`] for an address that cannot be, [`Error::Sink`] where the store does not answer
    /// or tells no date.
    pub fn clock_skew(&self, address: &str) -> Result<i64, Error> {
        let config = &self.config.store;
        let wrong = |reason: String| Error::Config { what: address.to_owned(), reason };
        let text = if address.starts_with("s3://") {
            s3::address(address)?;
            match &config.endpoint {
                Some(endpoint) => endpoint.as_str().to_owned(),
                None => format!("https://s3.{}.amazonaws.com", config.region),
            }
        } else {
            address.to_owned()
        };
        let url = Url::parse(&text).map_err(|error| wrong(format!("this is no address: {error}")))?;
        let mut location = url.clone();
        location.set_query(None);
        let _no_user = location.set_username("").and_then(|()| location.set_password(None));
        let silent =
            |reason: String| Error::Sink(SinkError::Unavailable { location: location.to_string(), reason });
        let client = client(config, &url, Policy::none(), None)?;
        let asked = async { tokio::time::timeout(PATIENCE, client.head(url).send()).await };
        let response = self.runtime.handle().block_on(asked);
        let response = response
            .map_err(|_| silent(format!("no answer within {} s", PATIENCE.as_secs())))?
            .map_err(|error| silent(error.without_url().to_string()))?;
        let here = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok()).and_then(seconds);
        let there = date.ok_or_else(|| silent("it tells no date".to_owned()))?;
        Ok(i64::try_from(here).unwrap_or(i64::MAX) - there)
    }
}

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
fn seconds(date: &str) -> Option<i64> {
    let since = httpdate::parse_http_date(date).ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_http_are_read() {
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(seconds("Thu, 29 Feb 2024 12:00:00 GMT"), Some(1_709_208_000));
        assert_eq!(seconds("yesterday"), None);
    }
}
