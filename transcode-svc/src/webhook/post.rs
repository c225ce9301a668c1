//! One webhook as a request, and its answer as the ledger wants to know it.

use super::Signer;
use crate::guard::{Guard, Refused};
use crate::ledger::{Delivered, Outgoing};
use crate::time::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, StatusCode};
use std::error::Error as StdError;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Runtime;
use transcode_core::{Cancel, Error};
use url::Url;

/// What an answer's Retry-After is taken for at most: a receiver may not put a message off for ever.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3_600);

/// Sends requests; blocks.
pub(super) struct Post {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    client: Client,
    signer: Signer,
    guard: Guard,
    timeout: Duration,
}

impl Post {
    pub(super) fn new(signer: Signer, guard: Guard, timeout: Duration) -> Result<Self, Error> {
        let cannot = |what: &str, reason: String| Error::Config { what: what.to_owned(), reason };
        // Somebody else in this process may have chosen already; then theirs stands.
        let _chosen = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder()
            .user_agent(concat!("transcode/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .timeout(timeout);
        let client = guard.protect(builder).build().map_err(|error| {
            let reason =
                format!("it cannot be set up: {}; are the ca-certificates installed?", innermost(&error));
            cannot("the webhooks' HTTP client", reason)
        })?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("webhook-net")
            .enable_all()
            .build()
            .map_err(|error| {
                cannot("the webhooks' network thread", format!("it cannot be started: {error}"))
            })?;
        Ok(Self { runtime: Some(runtime), client, signer, guard, timeout })
    }

    /// Send it; `None` where that was cancelled.
    pub(super) fn send(&self, outgoing: &Outgoing, now: Timestamp, cancel: &Cancel) -> Option<Delivered> {
        let request = match self.request(outgoing, now) {
            Ok(request) => request,
            Err(reason) => return Some(Delivered::No { reason, retry_after: None }),
        };
        let runtime = self.runtime.as_ref()?;
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let _registered = cancel.on_cancel(move || {
            let _sent: Result<(), ()> = stop.send(());
        });
        runtime.block_on(async {
            tokio::select! {
                biased;
                _ = stopped => None,
                answered = request.send() => Some(match answered {
                    Ok(response) => meaning(response.status(), response.headers(), now),
                    Err(error) => Delivered::No { reason: self.unanswered(error), retry_after: None },
                }),
            }
        })
    }

    fn request(&self, outgoing: &Outgoing, now: Timestamp) -> Result<RequestBuilder, String> {
        let Outgoing { id, url, body, .. } = outgoing;
        let url = Url::parse(url).map_err(|error| format!("its address is no URL: {error}"))?;
        self.guard.check(&url).map_err(|refused| refused.to_string())?;
        let request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", now.seconds().to_string())
            .body(body.clone());
        Ok(match self.signer.sign(id, now.seconds(), body) {
            Some(signature) => request.header("webhook-signature", signature),
            None => request,
        })
    }

    /// Why there was no answer, without the URL, which may be a secret.
    fn unanswered(&self, error: reqwest::Error) -> String {
        let error = error.without_url();
        if let Some(refused) = Refused::find(&error) {
            return refused.to_string();
        }
        if error.is_timeout() {
            return format!("no answer within {} s", self.timeout.as_secs_f64());
        }
        let what = if error.is_connect() { "cannot connect" } else { "the connection was lost" };
        format!("{what}: {}", innermost(&error))
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not waiting: the look-up of a name cannot be ended.
            runtime.shutdown_background();
        }
    }
}

/// What an answer says.
fn meaning(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Delivered {
    let reason = match status.as_u16() {
        200..300 => return Delivered::Yes,
        410 => return Delivered::Gone,
        300..400 => format!("{status}: a webhook is not sent on to another address; give the one it ends at"),
        _ => status.to_string(),
    };
    let wait = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = wait.and_then(|wait| wished_wait(wait, now)).map(|wait| wait.min(LONGEST_WAIT));
    Delivered::No { reason, retry_after }
}

/// `Retry-After` (RFC 9110 §10.2.3): seconds, or a date.
fn wished_wait(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date: SystemTime = httpdate::parse_http_date(value).ok()?;
    let millis = date.duration_since(UNIX_EPOCH).ok()?.as_millis();
    Some(Timestamp::from_millis(u64::try_from(millis).ok()?).since(now))
}

/// The error at the bottom of the chain: what the system or the peer said.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    /// 2026-10-03T14:05:09Z.
    const NOW: Timestamp = Timestamp::from_millis(1_791_036_309_000);

    fn answer(status: u16, retry_after: Option<&'static str>) -> Delivered {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
        }
        meaning(StatusCode::from_u16(status).expect("a status"), &headers, NOW)
    }

    #[test]
    fn only_2xx_is_taken_and_only_410_is_gone() {
        for status in 200..300 {
            assert_eq!(answer(status, None), Delivered::Yes, "{status}");
        }
        for status in (100..200).chain(300..600) {
            let found = answer(status, None);
            match status {
                410 => assert_eq!(found, Delivered::Gone),
                _ => assert!(
                    matches!(&found, Delivered::No { reason, retry_after: None }
                    if reason.contains(&status.to_string())),
                    "{found:?}"
                ),
            }
        }
        assert!(matches!(answer(302, None), Delivered::No { reason, .. } if reason.contains("not sent on")));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_a_day_at_most() {
        let seconds = Duration::from_secs;
        for (value, wait) in [
            ("120", Some(seconds(120))),
            (" 0 ", Some(seconds(0))),
            ("Sat, 03 Oct 2026 14:07:09 GMT", Some(seconds(120))),
            ("Sat, 03 Oct 2026 14:00:00 GMT", Some(seconds(0))),
            ("Sat, 03 Oct 2037 14:00:00 GMT", Some(LONGEST_WAIT)),
            ("99999999999", Some(LONGEST_WAIT)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            for status in [429, 503, 500, 301] {
                let found = answer(status, Some(value));
                assert!(matches!(found, Delivered::No { retry_after, .. } if retry_after == wait), "{value}");
            }
        }
    }
}
