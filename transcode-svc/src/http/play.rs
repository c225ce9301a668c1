//! Watching what was made, also while it is made: playlists and segments of the store, as players want them.
//!
//! Owns signed addresses, which of a destination's objects are shown, ranges (RFC 9110 §14, one a request), types
//! and caching. The ticket is a part of the path, so that what playlists name beside them is reached
//! with it. Serves what jobs make and nothing else of a store.

use super::guard;
use super::input::{At, job_id};
use super::objects::Object;
use super::player;
use super::problem::Problem;
use super::settings::{Play, Scope, from_hex, hex};
use super::{Inner, Shared, encoded, view};
use crate::job::JobId;
use crate::time::{Clock as _, SystemClock, Timestamp};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use ring::hmac;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use transcode_core::sink::{ObjectKind, SinkError};

/// Bytes read from the store at once: all that a slow player keeps in memory.
const BLOCK: usize = 1 << 20;

/// Jobs whose destination is remembered.
const REMEMBERED: usize = 1_024;

/// Where jobs put their output: asked once and not for each segment. A job's destination never changes.
#[derive(Default)]
pub(super) struct Places(Mutex<HashMap<JobId, Place>>);

/// Where a job's output is, and the playlist that players open.
#[derive(Clone)]
struct Place {
    destination: Arc<str>,
    entry: Arc<str>,
}

impl Inner {
    /// Where to watch a job.
    pub(super) fn play_view(&self, id: &JobId, entry: &str) -> view::PlayView {
        let name = encoded(id.as_str());
        let (page, expires) = match &self.settings.play {
            Play::Public => (format!("/play/{name}/"), None),
            Play::Signed { secret, lifetime } => {
                // Whole minutes: the same address for a while, which caches like.
                let until = (SystemClock.now() + *lifetime).seconds() / 60 * 60 + 60;
                let ticket = hex(sign(&secret.0, id, until).as_ref());
                let expires = Timestamp::from_millis(until * 1_000);
                (format!("/play/{name}/{until}.{ticket}/"), Some(expires.to_string()))
            }
        };
        let page = self.address(&page);
        view::PlayView { hls: format!("{page}{entry}"), page, expires }
    }

    async fn place_of(&self, id: &JobId) -> Result<Place, Problem> {
        let known = self.places.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let record = self.record(id).await?;
        let place = Place {
            destination: record.job.destination.as_str().into(),
            entry: view::entry(&record.job).into(),
        };
        let mut places = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= REMEMBERED {
            places.clear();
        }
        places.insert(id.clone(), place.clone());
        Ok(place)
    }
}

fn sign(secret: &[u8], id: &JobId, until: u64) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), format!("play\n{id}\n{until}").as_bytes())
}

/// The ticket at the beginning of a path, and what follows it.
fn ticket(path: &str) -> Option<(u64, Vec<u8>, &str)> {
    let (ticket, rest) = path.split_once('/').unwrap_or((path, ""));
    let (until, signature) = ticket.split_once('.')?;
    let signature = from_hex(signature).filter(|signature| signature.len() == 32)?;
    let digits = until.len() <= 12 && until.bytes().all(|byte| byte.is_ascii_digit());
    Some((until.parse().ok().filter(|_| digits)?, signature, rest))
}

/// What follows the ticket, if this request may watch.
fn admitted<'a>(api: &Shared, id: &JobId, path: &'a str, headers: &HeaderMap) -> Result<&'a str, Problem> {
    let Some((until, signature, rest)) = ticket(path) else {
        if matches!(api.settings.play, Play::Public) {
            return Ok(path);
        }
        guard::may(&api.settings, Scope::Read, headers)?;
        return Ok(path);
    };
    let Play::Signed { secret, .. } = &api.settings.play else { return Ok(rest) };
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret.0);
    let said = format!("play\n{id}\n{until}");
    // An empty secret is one that could not be made.
    if secret.0.is_empty() || hmac::verify(&key, said.as_bytes(), &signature).is_err() {
        return Err(Problem::new(StatusCode::FORBIDDEN, "ticket", "this address was not signed here"));
    }
    if SystemClock.now().seconds() >= until {
        let detail = "this address has expired; ask for the job again, it comes with a new one";
        return Err(Problem::new(StatusCode::FORBIDDEN, "expired", detail));
    }
    Ok(rest)
}

/// Whether `key` is something that a job makes: a file of its own folder or of a rung's. Nothing else of a store is shown,
/// whatever lies in a destination.
fn made(key: &str) -> Option<ObjectKind> {
    let kind = player::kind(key)?;
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let fits = match (key.split_once('/'), kind) {
        (None, ObjectKind::Document) => matches!(key, "plan.json" | "report.json"),
        (None, _) => plain(key),
        (Some((rung, file)), ObjectKind::Segment | ObjectKind::LivePlaylist) => plain(rung) && plain(file),
        _ => false,
    };
    fits.then_some(kind)
}

/// To the player's page
#[utoipa::path(
    get, path = "/play/{job}",
    params(("job" = String, Path, description = "The job's name")),
    responses((status = 308, description = "To the same with a slash at its end"))
)]
pub(super) async fn play_job(At(job): At<String>) -> Redirect {
    Redirect::permanent(&format!("/play/{}/", encoded(&job)))
}

/// The player's page
#[utoipa::path(
    get, path = "/play/{job}/",
    params(("job" = String, Path, description = "The job's name")),
    responses((status = 200, description = "A page with a player", content_type = "text/html", body = String))
)]
pub(super) async fn play_page(state: State<Shared>, At(job): At<String>, headers: HeaderMap) -> Response {
    play_object(state, At((job, String::new())), headers).await
}

/// A playlist, a segment, a file
///
/// `rest` begins with a ticket, `{expiry}.{signature}`, unless everybody may watch or a token is sent; a job says its
/// whole address under `play`. Then the file: `master.m3u8`, `720p/playlist.m3u8`, `720p.mp4`, or nothing for the
/// player's page.
#[utoipa::path(
    get, path = "/play/{job}/{*rest}",
    params(
        ("job" = String, Path, description = "The job's name"),
        ("rest" = String, Path, description = "Ticket and file"),
        ("Range" = Option<String>, Header, description = "One range of bytes"),
    ),
    responses(
        (status = 200, description = "All of it", content_type = "application/x-mpegURL", body = Vec<u8>),
        (status = 206, description = "The range", content_type = "video/mp2t", body = Vec<u8>),
        (status = 403, description = "The address has expired, or was not signed here"),
        (status = 416, description = "It has no such bytes"),
    )
)]
pub(super) async fn play_object(
    State(api): State<Shared>,
    At((job, rest)): At<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let mut response = match show(&api, &job, &rest, &headers).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    // Players run in pages of anybody; the ticket decides.
    let names = "Content-Length, Content-Range, Accept-Ranges";
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response.headers_mut().insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(names));
    response
}

async fn show(api: &Shared, job: &str, rest: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let id = job_id(job)?;
    let key = admitted(api, &id, rest, headers)?;
    let place = api.place_of(&id).await?;
    if let Some(mut part) = player::part(key, api.settings.hls_js.as_deref()) {
        if key.is_empty() && !rest.is_empty() && !rest.ends_with('/') {
            // What the page names beside it would be looked for one level too high.
            return Ok(Redirect::permanent(&format!("/play/{}/{rest}/", encoded(job))).into_response());
        }
        part.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        return Ok(part);
    }
    let missing = || Problem::nothing("there is no such file of this job, or not yet");
    let kind = made(key).ok_or_else(missing)?;
    // The page asks for the master playlist; jobs of one rendition call it otherwise.
    let key = if key == "master.m3u8" { place.entry.to_string() } else { key.to_owned() };
    let found = api.blocking(move |parts| parts.objects.find(&place.destination, &key)).await?;
    let object = found.map_err(|error| Problem::away("store", &error))?.ok_or_else(missing)?;
    if matches!(kind, ObjectKind::LivePlaylist | ObjectKind::Document) {
        // In one go: it may be another one a moment later.
        let read = tokio::task::spawn_blocking(move || object.whole()).await;
        let bytes = read.map_err(|error| Problem::ours(&error))??.ok_or_else(missing)?;
        return label(kind, headers, bytes.len() as u64, api, |from, to| {
            let end = usize::try_from(to).unwrap_or(usize::MAX).min(bytes.len());
            let from = usize::try_from(from).unwrap_or(usize::MAX).min(end);
            Body::from(Bytes::from(bytes).slice(from..end))
        });
    }
    let size = object.size;
    label(kind, headers, size, api, |from, to| stream(object, from, to))
}

/// An answer with the right headers; `body` gives the bytes from one offset to another.
fn label(
    kind: ObjectKind,
    headers: &HeaderMap,
    size: u64,
    api: &Shared,
    body: impl FnOnce(u64, u64) -> Body,
) -> Result<Response, Problem> {
    let (status, from, to) = match range(headers, size) {
        Wanted::All => (StatusCode::OK, 0, size),
        Wanted::Part(from, to) => (StatusCode::PARTIAL_CONTENT, from, to),
        Wanted::Nothing => {
            let detail = format!("the file has {size} bytes");
            return Err(Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range", detail)
                .header(header::CONTENT_RANGE, &format!("bytes */{size}")));
        }
    };
    let mut response = (status, body(from, to)).into_response();
    let caching = match (&api.settings.play, kind.cache_control()) {
        // A shared cache would go on after the ticket has expired.
        (Play::Signed { .. }, caching) => caching.replace("public", "private"),
        (Play::Public, caching) => caching.to_owned(),
    };
    let mut set = |name, value: &str| {
        response.headers_mut().extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
    };
    set(header::CONTENT_TYPE, kind.content_type());
    set(header::CACHE_CONTROL, &caching);
    set(header::ACCEPT_RANGES, "bytes");
    set(header::CONTENT_LENGTH, &(to - from).to_string());
    if status == StatusCode::PARTIAL_CONTENT {
        set(header::CONTENT_RANGE, &format!("bytes {from}-{}/{size}", to - 1));
    }
    Ok(response)
}

/// The bytes of an object, read as the player takes them: no thread waits for a slow one.
fn stream(object: Object, from: u64, to: u64) -> Body {
    let object = Arc::new(object);
    let blocks = futures::stream::try_unfold(from, move |at| {
        let object = Arc::clone(&object);
        async move {
            if at >= to {
                return Ok(None);
            }
            let length = usize::try_from(to - at).unwrap_or(usize::MAX).min(BLOCK);
            let read = tokio::task::spawn_blocking(move || object.read(at, length)).await;
            let bytes = read.map_err(std::io::Error::other)?.map_err(|error: SinkError| {
                log::warn!("a file broke off while it was shown: {error}");
                std::io::Error::other(error)
            })?;
            if bytes.is_empty() {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
            }
            let next = at + bytes.len() as u64;
            Ok(Some((bytes, next)))
        }
    });
    Body::from_stream(blocks)
}

/// What a request wants of an object.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    /// From the first offset, up to the second without it.
    Part(u64, u64),
    Nothing,
}

/// What the headers ask for. Several ranges, other units and what cannot be read are passed over, as RFC 9110 §14.2
/// lets a server do; so is a range that holds for another version only: we name none.
fn range(headers: &HeaderMap, size: u64) -> Wanted {
    let Some(text) = headers.get(header::RANGE).and_then(|range| range.to_str().ok()) else {
        return Wanted::All;
    };
    if headers.contains_key(header::IF_RANGE) {
        return Wanted::All;
    }
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|set| set.trim().split_once('-')) else {
        return Wanted::All;
    };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => Wanted::All,
        (Some(first), _) if first >= size && (last.is_empty() || number(last).is_some()) => Wanted::Nothing,
        (Some(first), Some(last)) => Wanted::Part(first, last.saturating_add(1).min(size)),
        (Some(first), None) if last.is_empty() => Wanted::Part(first, size),
        (None, Some(0)) if first.is_empty() => Wanted::Nothing,
        (None, Some(_)) if first.is_empty() && size == 0 => Wanted::Nothing,
        (None, Some(count)) if first.is_empty() => Wanted::Part(size.saturating_sub(count), size),
        _ => Wanted::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_has_them() {
        let of = |text: &str| {
            let value = text.parse().expect("a header's value");
            range(&HeaderMap::from_iter([(header::RANGE, value)]), 1_000)
        };
        assert_eq!(of("bytes=0-0"), Wanted::Part(0, 1));
        assert_eq!(of("bytes=10-"), Wanted::Part(10, 1_000));
        assert_eq!(of("bytes=990-5000"), Wanted::Part(990, 1_000));
        assert_eq!(of("bytes=-10"), Wanted::Part(990, 1_000));
        assert_eq!(of("bytes=-5000"), Wanted::Part(0, 1_000));
        for nothing in ["bytes=1000-", "bytes=1000-2000", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(of(nothing), Wanted::Nothing, "{nothing}");
        }
        for all in ["bytes=5-4", "bytes=0-1,5-6", "lines=1-2", "bytes=", "bytes=-", "bytes=a-b", "bytes=+1-2"]
        {
            assert_eq!(of(all), Wanted::All, "{all}");
        }
        assert_eq!(range(&HeaderMap::new(), 0), Wanted::All);
    }

    #[test]
    fn only_what_jobs_make_is_shown() {
        for shown in [
            "master.m3u8",
            "output.m3u8",
            "720p/playlist.m3u8",
            "720p/00003.ts",
            "720p.mp4",
            "thumbnail.jpg",
            "plan.json",
        ] {
            assert!(made(shown).is_some(), "{shown}");
        }
        for hidden in [
            "",
            "..",
            "../x.ts",
            "720p/../x.ts",
            "a/b/c.ts",
            ".uploads/x.json",
            "720p/game.mp4",
            "secret.json",
            ".x.ts",
            "720p/.x.ts",
            "transcode.sqlite",
            "720p\\x.ts",
            "a b.ts",
            "720p/",
            "/x.ts",
        ] {
            assert!(made(hidden).is_none(), "{hidden}");
        }
    }
}
