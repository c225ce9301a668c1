//! A video behind an HTTP or HTTPS URL as a source.
//!
//! Owns ranged GETs (a signed URL often refuses HEAD), the rule for redirects and plain HTTP, and the
//! check that the bytes stay the same. `object_store`'s HTTP store is not used: it speaks WebDAV and
//! has no place for the query of a signed URL. The query and the user never leave this module.

use super::Runtime;
use super::client::{client, transport, wished_pause};
use super::retry::{Failure, GaveUp, persist};
use super::s3::within;
use crate::config::{StoreConfig, is_loopback};
use crate::guard::{Guard, Refused};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use transcode_core::media::SourceIdentity;
use transcode_core::source::{Source, SourceError};
use transcode_core::{Cancel, Error};
use url::Url;

/// How often a request may be sent on to another URL.
const REDIRECTS: usize = 10;

/// One URL.
pub(super) struct HttpSource {
    runtime: Arc<Runtime>,
    client: Client,
    url: Url,
    config: StoreConfig,
    identity: SourceIdentity,
}

/// Why a request failed for good.
enum No {
    /// It cannot be read, or not by ranges.
    Unreadable(String),
    /// It is not what it was.
    Changed(String),
}

impl HttpSource {
    /// Look at `url`: the first byte tells the size, the version, and whether ranges are honoured. With a guard, neither
    /// it nor what it redirects to may lead where that does not let it.
    pub(super) fn open(
        runtime: Arc<Runtime>,
        url: Url,
        config: &StoreConfig,
        guard: Option<&Guard>,
        bound: Duration,
        cancel: &Cancel,
    ) -> Result<Self, Error> {
        let uri = shown(&url);
        if let Some(reason) = not_let_through(&url, config.allow_http) {
            return Err(Error::Config { what: uri, reason });
        }
        if let Some(Err(refused)) = guard.map(|guard| guard.check(&url)) {
            return Err(SourceError::Unreadable { uri, reason: refused.to_string() }.into());
        }
        let (allow_http, hops) = (config.allow_http, guard.cloned());
        let redirects = Policy::custom(move |attempt| {
            if attempt.previous().len() > REDIRECTS {
                attempt.error(format!("sent on more than {REDIRECTS} times"))
            } else if let Some(reason) = not_let_through(attempt.url(), allow_http) {
                let place = shown(attempt.url());
                attempt.error(format!("sent on to {place}: {reason}"))
            } else if let Some(Err(refused)) = hops.as_ref().map(|guard| guard.check(attempt.url())) {
                attempt.error(refused)
            } else {
                attempt.follow()
            }
        });
        let client = client(config, &url, redirects, guard)?;
        let identity = SourceIdentity { uri, size: 0, version: None };
        let mut source = Self { runtime, client, url, config: config.clone(), identity };
        let looked = persist(source.runtime.handle(), bound, cancel, &source.identity.uri, async |_| {
            let response = source.ask(0, 0).await?;
            let version = version(response.headers());
            if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
                // The one range that is always there is not: nothing is.
                return Ok((0, version));
            }
            let (_, size) = range(&response)?;
            Ok((size, version))
        });
        let (size, version) = looked.map_err(|error| source.lost(error, 0))?;
        source.identity.size = size;
        source.identity.version = version;
        Ok(source)
    }

    /// Ask for the bytes `first..=last`; what comes back is 206, or 416.
    async fn ask(&self, first: u64, last: u64) -> Result<Response, Failure<No>> {
        let request = self
            .client
            .get(self.url.clone())
            .header(RANGE, format!("bytes={first}-{last}"))
            // Ranges are of the bytes as they are stored.
            .header(ACCEPT_ENCODING, "identity")
            .send();
        let silence = self.config.request_timeout;
        let response = within(silence, request).await.map_err(still_passing)?.map_err(|error| {
            if let Some(refused) = Refused::find(&error) {
                return Failure::Final(No::Unreadable(refused.to_string()));
            }
            if error.is_redirect() {
                let reason = super::client::innermost(&error.without_url());
                return Failure::Final(No::Unreadable(format!("{reason}; give the URL it ends at")));
            }
            Failure::passing(transport(error))
        })?;
        let status = response.status();
        let told = format!("[{status}]");
        let unreadable = |reason: &str| Err(Failure::Final(No::Unreadable(format!("{reason} {told}"))));
        match status.as_u16() {
            206 | 416 => Ok(response),
            200 => unreadable(
                "this server does not honour range requests, and a video is read at many places; \
                 save it as a file first, or serve it from another server",
            ),
            401 | 403 => unreadable(
                "this may not be read; a signed URL may be too old or meant for another method than GET",
            ),
            404 | 410 => unreadable("there is nothing there; look at the URL"),
            408 | 425 | 429 => {
                Err(Failure::Passing { reason: status.to_string(), pause: wished_pause(response.headers()) })
            }
            501 | 505 => unreadable("this server cannot do that; look at the URL"),
            500.. => {
                Err(Failure::Passing { reason: status.to_string(), pause: wished_pause(response.headers()) })
            }
            _ => unreadable("this server does not give the file; look at the URL"),
        }
    }

    async fn read(&self, first: u64, buffer: &mut [u8], done: &mut usize) -> Result<(), Failure<No>> {
        let wanted = buffer.len();
        let start = first + *done as u64;
        let mut response = self.ask(start, first + wanted as u64 - 1).await?;
        let changed = |what: String| Err(Failure::Final(No::Changed(what)));
        let now = version(response.headers());
        if now != self.identity.version {
            let told = |version: Option<&String>| version.map_or("none", String::as_str).to_owned();
            let (before, now) = (told(self.identity.version.as_ref()), told(now.as_ref()));
            return changed(format!(
                "its version was {before} and is {now}; start again when it is complete"
            ));
        }
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            return changed(format!("it does not reach to byte {start} any more"));
        }
        let (begins, size) = range(&response)?;
        if size != self.identity.size {
            return changed(format!("it had {} bytes and has {size}", self.identity.size));
        }
        if begins != start {
            let reason = format!("the server was asked for byte {start} and answered with byte {begins}");
            return Err(Failure::Final(No::Unreadable(reason)));
        }
        let silence = self.config.request_timeout;
        loop {
            let piece = within(silence, response.chunk()).await.map_err(still_passing)?;
            let Some(piece) = piece.map_err(|error| Failure::passing(transport(error)))? else { break };
            let room = &mut buffer[*done..];
            let fits = piece.len().min(room.len());
            room[..fits].copy_from_slice(&piece[..fits]);
            *done += fits;
        }
        if *done < wanted {
            return Err(Failure::passing(format!("the answer ended {} bytes early", wanted - *done)));
        }
        Ok(())
    }

    fn lost(&self, error: GaveUp<No>, offset: u64) -> SourceError {
        let uri = self.identity.uri.clone();
        match error {
            GaveUp::Cancelled => SourceError::Cancelled,
            GaveUp::Unavailable(reason) => SourceError::Unavailable { uri, offset, reason },
            GaveUp::Final(No::Unreadable(reason)) => SourceError::Unreadable { uri, reason },
            GaveUp::Final(No::Changed(reason)) => SourceError::Changed { uri, reason },
        }
    }
}

impl Source for HttpSource {
    fn identity(&self) -> SourceIdentity {
        self.identity.clone()
    }

    fn size(&self) -> u64 {
        self.identity.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8], cancel: &Cancel) -> Result<usize, SourceError> {
        if cancel.is_cancelled() {
            return Err(SourceError::Cancelled);
        }
        let left = usize::try_from(self.identity.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        if wanted == 0 {
            return Ok(0);
        }
        let what = format!("reading {} at byte {offset}", self.identity.uri);
        let mut done = 0;
        persist(self.runtime.handle(), self.config.retry_time, cancel, &what, async |_| {
            self.read(offset, &mut buffer[..wanted], &mut done).await
        })
        .map_err(|error| self.lost(error, offset))?;
        Ok(wanted)
    }
}

/// The URL without user, query and fragment: what may be stored and shown.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Both only fail on URLs that have no host, and then there is no user either.
    let _user = url.set_username("");
    let _password = url.set_password(None);
    url.into()
}

/// Why a request may not go to `url`.
fn not_let_through(url: &Url, allow_http: bool) -> Option<String> {
    match url.scheme() {
        "https" => None,
        "http" if allow_http || is_loopback(url) => None,
        "http" => Some(
            "plain HTTP can be read and changed by everyone on the way; use https, or set source.allow-http = true"
                .to_owned(),
        ),
        other => Some(format!("{other} is not known; use https")),
    }
}

/// The entity tag, else the time of the last change.
fn version(headers: &HeaderMap) -> Option<String> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    text(ETAG).or_else(|| text(LAST_MODIFIED))
}

/// The first byte and the size of the whole, from `Content-Range: bytes 0-0/1234`.
fn range(response: &Response) -> Result<(u64, u64), Failure<No>> {
    let value =
        response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let parsed = value.trim().strip_prefix("bytes").and_then(|rest| {
        let (range, size) = rest.trim().split_once('/')?;
        let (first, _) = range.split_once('-')?;
        Some((first.trim().parse().ok()?, size.trim().parse().ok()?))
    });
    parsed.ok_or_else(|| {
        let reason = format!("the server does not tell the size of the file (Content-Range: {value:?})");
        Failure::Final(No::Unreadable(reason))
    })
}

fn still_passing<E>(failure: Failure<E>) -> Failure<No> {
    match failure {
        Failure::Passing { reason, pause } => Failure::Passing { reason, pause },
        Failure::Final(_) => Failure::passing("no answer in time"),
    }
}
