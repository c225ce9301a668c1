//! The HTTP client under all remote stores, and S3's answers in a form that can be told apart.
//!
//! Owns the client's settings (time-outs, proxies, redirects, the cryptography behind TLS) and
//! [`Answer`]: what a store says when it says no. `object_store` hides an answer's status and code
//! inside its own retry errors; the connector here catches them before that.

use super::retry::Failure;
use crate::config::{StoreConfig, is_loopback};
use crate::guard::{Guard, Refused};
use futures::StreamExt as _;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use transcode_core::Error;
use url::Url;

/// Bytes of an error's body that are looked at.
const LONGEST_ANSWER: usize = 64 << 10;

/// A client for requests to `url` and what it redirects to. With a guard, names lead only where it lets them;
/// addresses in URLs are the caller's to check.
///
/// # Errors
/// [`Error::Config`] where this machine has no certificates to trust.
pub(super) fn client(
    config: &StoreConfig,
    url: &Url,
    redirects: Policy,
    guard: Option<&Guard>,
) -> Result<reqwest::Client, Error> {
    // Somebody else in this process may have chosen already; then theirs stands.
    let _chosen = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("transcode/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(config.connect_timeout)
        .tcp_keepalive(Duration::from_secs(30))
        .pool_max_idle_per_host(16)
        // Requests in parallel should be connections in parallel: one HTTP/2 connection has one
        // congestion window.
        .http1_only()
        .redirect(redirects);
    if is_loopback(url) {
        builder = builder.no_proxy();
    }
    if let Some(guard) = guard {
        builder = guard.protect(builder);
    }
    builder.build().map_err(|error| Error::Config {
        what: "the HTTP client".to_owned(),
        reason: format!("it cannot be set up: {}; are the ca-certificates installed?", innermost(&error)),
    })
}

/// What a store answered instead of doing what was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", self.told())]
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: u16,
    /// S3's error code; empty where there was none (a HEAD has no body).
    pub(super) code: String,
    /// S3's words for people.
    pub(super) message: String,
    /// The pause it asks for.
    pub(super) pause: Option<Duration>,
}

impl Answer {
    fn told(&self) -> String {
        let reason = reqwest::StatusCode::from_u16(self.status).ok();
        let reason = reason.and_then(|status| status.canonical_reason()).unwrap_or_default();
        let mut told = format!("{} {reason}", self.status);
        if !self.code.is_empty() {
            told.push_str(&format!(", {}", self.code));
        }
        if !self.message.is_empty() {
            told.push_str(&format!(" ({})", self.message.trim_end_matches('.')));
        }
        told
    }

    /// Whether the same request may succeed a little later.
    pub(super) fn is_passing(&self) -> bool {
        let code = self.code.as_str();
        matches!(
            code,
            "SlowDown" | "RequestTimeout" | "InternalError" | "ServiceUnavailable" | "OperationAborted"
        ) || matches!(self.status, 408 | 425 | 429)
            || (self.status >= 500 && !matches!(self.status, 501 | 505 | 507))
    }

    /// What a person can do about it; `place` is the bucket, `action` what was not possible.
    pub(super) fn advice(&self, bucket: &str, action: &str) -> String {
        let advice = match (self.code.as_str(), self.status) {
            ("NoSuchBucket", _) => {
                format!("there is no bucket `{bucket}` there; make it, or look at the name and the endpoint")
            }
            ("InvalidAccessKeyId" | "XAdminUserNotFound", _) => {
                "this store does not know the access key; look at access-key-id".to_owned()
            }
            ("SignatureDoesNotMatch", _) => {
                "the secret access key is wrong; look at secret-access-key".to_owned()
            }
            ("InvalidToken" | "ExpiredToken" | "TokenRefreshRequired", _) => {
                "the session token is wrong or too old; get new keys".to_owned()
            }
            ("RequestTimeTooSkewed", _) => "this machine's clock is wrong; set it".to_owned(),
            (
                "AuthorizationHeaderMalformed" | "PermanentRedirect" | "IllegalLocationConstraintException",
                _,
            )
            | (_, 301 | 307) => "the bucket is in another region; set region".to_owned(),
            ("XMinioStorageFull" | "QuotaExceeded" | "XMinioAdminBucketQuotaExceeded", _) | (_, 507) => {
                "the store is full; make room and run again".to_owned()
            }
            (_, 401 | 403) => {
                format!("these credentials may not {action}; look at the keys and the bucket's policy")
            }
            (_, 404) => "there is no such object; look at the name".to_owned(),
            _ => "look at the endpoint and at the store's log".to_owned(),
        };
        format!("{advice} [{self}]")
    }

    /// Whether it says that these keys, not this object, are at fault.
    pub(super) fn blames_keys(&self) -> bool {
        self.status == 401
            || matches!(
                self.code.as_str(),
                "InvalidAccessKeyId"
                    | "XAdminUserNotFound"
                    | "SignatureDoesNotMatch"
                    | "InvalidToken"
                    | "ExpiredToken"
                    | "TokenRefreshRequired"
                    | "RequestTimeTooSkewed"
                    | "AuthorizationHeaderMalformed"
            )
    }
}

/// The answer inside an error of `object_store`, or a failure that is worth another try where no
/// answer came at all. What is neither is given back as text.
pub(super) fn told(error: &object_store::Error) -> Failure<Told> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    let mut transport = None;
    while let Some(error) = next {
        if let Some(answer) = error.downcast_ref::<Answer>() {
            return if answer.is_passing() {
                Failure::Passing { reason: answer.to_string(), pause: answer.pause }
            } else {
                Failure::Final(Told::Answer(answer.clone()))
            };
        }
        if let Some(refused) = Refused::find(error) {
            return Failure::Final(Told::Text(refused.to_string()));
        }
        if let Some(error) = error.downcast_ref::<HttpError>() {
            transport = Some(error);
        }
        next = error.source();
    }
    match transport {
        Some(error) => Failure::passing(unanswered(error.kind(), error)),
        None => Failure::Final(Told::Text(innermost(error))),
    }
}

/// What came of a request that failed for good.
#[derive(Debug)]
pub(super) enum Told {
    /// The store's own answer.
    Answer(Answer),
    /// Anything else.
    Text(String),
}

fn unanswered(kind: HttpErrorKind, error: &(dyn StdError + 'static)) -> String {
    let what = match kind {
        HttpErrorKind::Connect => "cannot connect",
        HttpErrorKind::Timeout => "no answer in time",
        _ => "the connection was lost",
    };
    format!("{what}: {}", innermost(error))
}

/// The words of a failed request without its URL (which may be signed).
pub(super) fn transport(error: reqwest::Error) -> String {
    let error = error.without_url();
    let kind = if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_timeout() {
        HttpErrorKind::Timeout
    } else {
        HttpErrorKind::Interrupted
    };
    unanswered(kind, &error)
}

/// The error at the bottom of the chain: what the system or the peer said.
pub(super) fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// The pause that `Retry-After` asks for, in whole seconds; dates are not read.
pub(super) fn wished_pause(headers: &HeaderMap) -> Option<Duration> {
    headers.get("retry-after")?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Gives `object_store` our client, and takes answers out of its sight.
#[derive(Debug, Clone)]
pub(super) struct Connector(pub(super) reqwest::Client);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

impl HttpService for Connector {
    fn call<'life, 'future>(
        &'life self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'future>>
    where
        'life: 'future,
        Self: 'future,
    {
        Box::pin(async move {
            let response = HttpService::call(&self.0, request).await?;
            if response.status().is_success() {
                return Ok(response);
            }
            let (parts, body) = response.into_parts();
            let mut text = Vec::new();
            let mut body = body.bytes_stream();
            while let Some(Ok(bytes)) = body.next().await {
                text.extend_from_slice(&bytes);
                if text.len() > LONGEST_ANSWER {
                    break;
                }
            }
            let text = String::from_utf8_lossy(&text);
            let answer = Answer {
                status: parts.status.as_u16(),
                code: element(&text, "Code"),
                message: element(&text, "Message"),
                pause: wished_pause(&parts.headers),
            };
            // A kind that `object_store` does not retry, but for uploads in parts: for all others, we do.
            let kind = if answer.is_passing() { HttpErrorKind::Interrupted } else { HttpErrorKind::Unknown };
            Err(HttpError::new(kind, answer))
        })
    }
}

/// The text of the first `<name>` in an answer's XML; at most 200 characters, on one line.
fn element(xml: &str, name: &str) -> String {
    let found = xml
        .split_once(&format!("<{name}>"))
        .and_then(|(_, rest)| rest.split_once(&format!("</{name}>")))
        .map_or("", |(text, _)| text);
    let one_line = found.split_whitespace().collect::<Vec<_>>().join(" ");
    one_line.chars().take(200).collect()
}
