//! Sources into the store: streamed through this server, or straight to the store by a signed address.
//!
//! Owns the protocol of uploads: one request with the whole file, or tus 1.0.0 (core, creation, termination) for
//! uploads that go on after a broken connection. Memory is bounded by two parts an upload (16 MiB as a rule),
//! whatever its size; who sends faster than the store takes is slowed down.

use super::Shared;
use super::input::{Asked, At, Json as Body};
use super::objects::{NotOpen, Upload, Writing, is_id};
use super::problem::Problem;
use super::settings::hex;
use axum::Json;
use axum::body::{Body as Stream, BodyDataStream};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::task::JoinHandle;
use transcode_core::Error;
use utoipa::{IntoParams, ToSchema};

/// A sender that is silent for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);

/// The version of tus that is spoken.
const TUS: (HeaderName, &str) = (HeaderName::from_static("tus-resumable"), "1.0.0");
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const LENGTH: HeaderName = HeaderName::from_static("upload-length");

/// An upload.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SourceView {
    /// Its name.
    id: String,
    /// The key in the store: what a job takes as a source when the upload is complete.
    #[schema(example = "uploads/0c9b6ab8c9f14d0b8c6b1f6b7a0e4d21/game.mp4")]
    key: String,
    /// Bytes that are stored for good; an upload goes on from here.
    offset: u64,
    /// Bytes in all, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// Whether all are there.
    complete: bool,
}

impl SourceView {
    fn of(upload: &Upload) -> Self {
        Self {
            id: upload.id.clone(),
            key: upload.key.clone(),
            offset: if upload.complete { upload.size.unwrap_or_default() } else { upload.offset() },
            size: upload.size,
            complete: upload.complete,
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Name {
    /// What the file is called: `game.mp4`.
    name: Option<String>,
}

/// Upload a source
///
/// With the file as the body: it is stored when this is answered. Or, with `Upload-Length` and an empty body, begin an upload
/// that can go on after a broken connection: send the bytes with PATCH to what `Location` says (tus 1.0.0).
#[utoipa::path(
    post, path = "/api/v1/sources",
    params(
        Name,
        ("Upload-Length" = Option<u64>, Header, description = "Bytes in all, of an upload that is begun here"),
        ("Upload-Metadata" = Option<String>, Header, description = "As tus has it; `filename` is looked at"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 201, description = "It is stored, or begun", body = SourceView),
        (status = 413, description = "It is larger than this server takes"),
    )
)]
pub(super) async fn create_source(
    State(api): State<Shared>,
    Asked(Name { name }): Asked<Name>,
    headers: HeaderMap,
    body: Stream,
) -> Result<Response, Problem> {
    let begun = number(&headers, &LENGTH)?;
    let size = begun.or(number(&headers, &header::CONTENT_LENGTH)?);
    fits(&api, size.unwrap_or_default())?;
    let name = name.or_else(|| metadata_name(&headers));
    let (id, key) = fresh(name.as_deref().unwrap_or_default());
    let writing = api.blocking(move |parts| parts.objects.begin(&id, &key, size)).await?.map_err(store)?;
    let id = writing.upload.id.clone();
    // Nobody knows its name yet: what is broken off by then is thrown away.
    let keep = begun.is_some();
    let upload = receive(&api, writing, body, begun.is_none(), keep).await?;
    let location = api.address(&format!("/api/v1/sources/{id}"));
    let view = SourceView::of(&upload);
    let offset = view.offset.to_string();
    let headers = [(header::LOCATION, location.as_str()), (OFFSET, offset.as_str()), (TUS.0, TUS.1)];
    Ok((StatusCode::CREATED, headers, Json(view)).into_response())
}

/// Go on with an upload
///
/// `Upload-Offset` says where the body goes on, which has to be where the upload is; GET or HEAD tell.
#[utoipa::path(
    patch, path = "/api/v1/sources/{id}",
    params(
        ("id" = String, Path, description = "The upload's name"),
        ("Upload-Offset" = u64, Header, description = "Bytes that are there already"),
    ),
    request_body(content = Vec<u8>, content_type = "application/offset+octet-stream"),
    responses(
        (status = 204, description = "Stored; `Upload-Offset` says how much is there now"),
        (status = 409, description = "The upload is at another offset"),
        (status = 415, description = "The body is no `application/offset+octet-stream`"),
        (status = 423, description = "Another request is writing to it"),
    )
)]
pub(super) async fn append_source(
    State(api): State<Shared>,
    At(id): At<String>,
    headers: HeaderMap,
    body: Stream,
) -> Result<Response, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if kind != Some("application/offset+octet-stream") {
        let detail = "a part of an upload has to be application/offset+octet-stream";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail));
    }
    let at = number(&headers, &OFFSET)?.ok_or_else(|| Problem::wrong("`Upload-Offset` is missing"))?;
    let name = id.clone();
    let opened = api.blocking(move |parts| parts.objects.resume(&name)).await?;
    let writing = opened.map_err(|error| not_open(&id, error))?;
    let offset = SourceView::of(&writing.upload).offset;
    if offset != at {
        let detail = format!("the upload is at {offset}, not at {at}; go on from there");
        return Err(Problem::new(StatusCode::CONFLICT, "offset", detail)
            .header(OFFSET, &offset.to_string())
            .header(TUS.0, TUS.1)
            .with("offset", offset));
    }
    let upload = if writing.upload.complete {
        writing.upload.clone()
    } else {
        receive(&api, writing, body, false, true).await?
    };
    let offset = SourceView::of(&upload).offset.to_string();
    Ok((StatusCode::NO_CONTENT, [(OFFSET, offset.as_str()), (TUS.0, TUS.1)]).into_response())
}

/// Look at an upload
///
/// `Upload-Offset` and `Upload-Length` are in the headers as well, for HEAD.
#[utoipa::path(
    get, path = "/api/v1/sources/{id}",
    params(("id" = String, Path, description = "The upload's name")),
    responses((status = 200, description = "How far it is", body = SourceView))
)]
pub(super) async fn get_source(State(api): State<Shared>, At(id): At<String>) -> Result<Response, Problem> {
    let name = id.clone();
    let looked = api.blocking(move |parts| parts.objects.look(&name)).await?;
    let view = SourceView::of(&looked.map_err(|error| not_open(&id, error))?);
    let offset = view.offset.to_string();
    let mut response =
        ([(OFFSET, offset.as_str()), (TUS.0, TUS.1), (header::CACHE_CONTROL, "no-store")], Json(&view))
            .into_response();
    response.headers_mut().extend(view.size.map(|size| (LENGTH, size.into())));
    Ok(response)
}

/// Throw an upload away
///
/// One that is complete is only forgotten: the object stays, jobs may read it.
#[utoipa::path(
    delete, path = "/api/v1/sources/{id}",
    params(("id" = String, Path, description = "The upload's name")),
    responses((status = 204, description = "It is gone"))
)]
pub(super) async fn delete_source(
    State(api): State<Shared>,
    At(id): At<String>,
) -> Result<Response, Problem> {
    let name = id.clone();
    let opened = api.blocking(move |parts| parts.objects.resume(&name)).await?;
    let writing = opened.map_err(|error| not_open(&id, error))?;
    api.blocking(move |_| writing.abandon()).await?.map_err(store)?;
    Ok((StatusCode::NO_CONTENT, [TUS]).into_response())
}

/// What shall be uploaded straight to the store.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Presign {
    /// What the file is called: `game.mp4`.
    name: Option<String>,
    /// How long the address is good, in seconds: 60 to 604800 (a week, the limit of S3); an hour where it is absent.
    #[serde(default = "hour")]
    expires_in: u64,
}

fn hour() -> u64 {
    3_600
}

/// An address to upload to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Presigned {
    /// The key in the store: what a job takes as a source when the upload is there.
    key: String,
    /// `PUT`.
    method: &'static str,
    /// Where the file goes, as the body of one request (S3 takes 5 GiB).
    url: String,
    /// Until when.
    expires: String,
}

/// Get an address to upload straight to the store
#[utoipa::path(
    post, path = "/api/v1/sources/presign",
    request_body(content = Presign, content_type = "application/json"),
    responses(
        (status = 200, description = "PUT the file there", body = Presigned),
        (status = 501, description = "This store has no such thing; send the file to /api/v1/sources"),
    )
)]
pub(super) async fn presign_source(
    State(api): State<Shared>,
    Body(wanted): Body<Presign>,
) -> Result<Json<Presigned>, Problem> {
    if !(60..=604_800).contains(&wanted.expires_in) {
        let detail = format!("`expires_in` is {}; allowed are 60 to 604800 seconds", wanted.expires_in);
        return Err(Problem::wrong(detail));
    }
    let lifetime = Duration::from_secs(wanted.expires_in);
    let (_, key) = fresh(wanted.name.as_deref().unwrap_or_default());
    let name = key.clone();
    let expires = api.parts.dispatch.ledger().now() + lifetime;
    let url =
        api.blocking(move |parts| parts.objects.presigned_put(&name, lifetime)).await?.map_err(store)?;
    let url = url.ok_or_else(|| {
        let detail = "a directory has no addresses of its own; send the file to /api/v1/sources";
        Problem::new(StatusCode::NOT_IMPLEMENTED, "not-offered", detail)
    })?;
    Ok(Json(Presigned { key, method: "PUT", url, expires: expires.to_string() }))
}

/// A new upload's name, and the key of what it becomes.
fn fresh(name: &str) -> (String, String) {
    let id = hex(super::Secret::random().0.get(..16).unwrap_or_default());
    let name = file_name(name);
    let key = format!("uploads/{id}/{name}");
    debug_assert!(is_id(&id));
    (id, key)
}

/// What may stand in a key of what a person called a file: its last part, without what stores or shells stumble over.
fn file_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '(' | ')');
    let name: String = last.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    let mut name = name.trim_start_matches('.').to_owned();
    while name.len() > 120 {
        name.remove(0);
    }
    if name.is_empty() { "source".to_owned() } else { name }
}

/// The file's name in tus' metadata: pairs of a key and Base64, with commas in between.
fn metadata_name(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("upload-metadata")?.to_str().ok()?;
    let pairs = text.split(',').filter_map(|pair| pair.trim().split_once(' '));
    let (_, value) = pairs.into_iter().find(|(key, _)| matches!(*key, "filename" | "name"))?;
    String::from_utf8(from_base64(value.trim())?).ok()
}

/// Base64 of RFC 4648 §4.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let value = |symbol: u8| match symbol {
        b'A'..=b'Z' => Some(u32::from(symbol - b'A')),
        b'a'..=b'z' => Some(u32::from(symbol - b'a') + 26),
        b'0'..=b'9' => Some(u32::from(symbol - b'0') + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let symbols: Vec<u32> = text.trim_end_matches('=').bytes().map(value).collect::<Option<_>>()?;
    let group = |group: &[u32]| {
        let bits = group.iter().enumerate().fold(0, |bits, (at, value)| bits | value << (18 - 6 * at));
        let [_, bytes @ ..] = u32::to_be_bytes(bits);
        bytes.into_iter().take(group.len().saturating_sub(1)).collect::<Vec<_>>()
    };
    Some(symbols.chunks(4).flat_map(group).collect())
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let read = value.to_str().ok().and_then(|text| text.parse().ok());
    read.map(Some).ok_or_else(|| Problem::wrong(format!("`{name}` has to be a number of bytes")))
}

fn fits(api: &Shared, size: u64) -> Result<(), Problem> {
    let limit = api.settings.upload_limit;
    if size <= limit {
        return Ok(());
    }
    api.parts.metrics.upload("refused");
    let detail = format!("{size} bytes are more than the {limit} that are taken here");
    Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail))
}

fn not_open(id: &str, error: NotOpen) -> Problem {
    match error {
        NotOpen::Unknown => {
            let id: String = id.chars().take(40).collect();
            Problem::nothing(format!("there is no upload {}", id.escape_debug())).header(TUS.0, TUS.1)
        }
        NotOpen::Busy => {
            let detail = "another request is writing to this upload; try again in a moment";
            Problem::new(StatusCode::LOCKED, "busy", detail).header(header::RETRY_AFTER, "2")
        }
        NotOpen::Failed(why) => Problem::away("store", &why),
    }
}

fn store(error: Error) -> Problem {
    Problem::away("store", &error)
}

/// Take a body in. It goes on to its end when the request is dropped, so that what has arrived is stored.
async fn receive(
    api: &Shared,
    writing: Writing,
    body: Stream,
    whole: bool,
    keep: bool,
) -> Result<Upload, Problem> {
    let shared = api.clone();
    let task = tokio::spawn(async move {
        let limit = shared.settings.upload_limit;
        let metrics = shared.parts.metrics.clone();
        let done = Intake::new(writing, limit).await?.run(body.into_data_stream(), whole, keep).await;
        match &done {
            Ok((upload, bytes)) => {
                metrics.uploaded(*bytes);
                if upload.complete {
                    metrics.upload("complete");
                }
            }
            Err(_) => metrics.upload("broken"),
        }
        done.map(|(upload, _)| upload)
    });
    task.await.map_err(|error| Problem::ours(&error))?
}

/// A body on its way into the store.
struct Intake {
    /// In our hands, or with the thread that stores a part.
    writing: Option<Writing>,
    under_way: Option<JoinHandle<(Writing, Result<(), Error>)>>,
    buffer: BytesMut,
    part: usize,
    /// Bytes taken so far, with those of earlier requests.
    total: u64,
    size: Option<u64>,
    limit: u64,
}

impl Intake {
    async fn new(mut writing: Writing, limit: u64) -> Result<Self, Problem> {
        let (part, size, total) = (writing.part_size(), writing.upload.size, writing.upload.offset());
        let opened = tokio::task::spawn_blocking(move || {
            let rest = writing.take_rest();
            (writing, rest)
        });
        let (writing, rest) = opened.await.map_err(|error| Problem::ours(&error))?;
        let rest = rest.map_err(store)?;
        let buffer = BytesMut::from(rest.as_slice());
        Ok(Self { writing: Some(writing), under_way: None, buffer, part, total, size, limit })
    }

    /// Until the body ends: what is known of the upload then, and the bytes that came.
    async fn run(
        mut self,
        mut body: BodyDataStream,
        whole: bool,
        keep: bool,
    ) -> Result<(Upload, u64), Problem> {
        let before = self.total;
        let taken = self.take(&mut body).await;
        self.settle().await?;
        let Some(mut writing) = self.writing.take() else { return Err(Problem::ours(&"an upload was lost")) };
        let rest = std::mem::take(&mut self.buffer);
        if taken.is_err() && !keep {
            let _left = tokio::task::spawn_blocking(move || writing.abandon()).await;
            taken?;
            return Err(Problem::wrong("the body ended early"));
        }
        let all = taken.is_ok() && if whole { true } else { self.size == Some(self.total) };
        let stored = tokio::task::spawn_blocking(move || {
            let done = if all { writing.finish(rest.to_vec()) } else { writing.rest(&rest) };
            done.map(|()| writing.upload.clone())
        });
        let upload = stored.await.map_err(|error| Problem::ours(&error))?.map_err(store)?;
        taken?;
        Ok((upload, self.total - before))
    }

    async fn take(&mut self, body: &mut BodyDataStream) -> Result<(), Problem> {
        loop {
            let next = tokio::time::timeout(SILENCE, body.next()).await.map_err(|_| {
                let detail = format!("nothing came for {} s; go on later", SILENCE.as_secs());
                Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail)
            })?;
            let bytes = match next {
                None => break,
                Some(Ok(bytes)) => bytes,
                Some(Err(_)) => return Err(Problem::wrong("the body ended early; go on from the offset")),
            };
            let total = self.total + bytes.len() as u64;
            if self.size.is_some_and(|size| total > size) || total > self.limit {
                let most = self.size.unwrap_or(self.limit).min(self.limit);
                let detail = format!("more bytes came than the {most} that were to come, or are taken here");
                return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail));
            }
            self.total = total;
            self.fill(bytes).await?;
        }
        Ok(())
    }

    async fn fill(&mut self, mut bytes: Bytes) -> Result<(), Problem> {
        while !bytes.is_empty() {
            if self.buffer.capacity() == 0 {
                self.buffer.reserve(self.part);
            }
            let some = bytes.split_to(bytes.len().min(self.part - self.buffer.len()));
            self.buffer.extend_from_slice(&some);
            if self.buffer.len() == self.part {
                // One part is stored while the next one comes.
                self.settle().await?;
                let part = std::mem::take(&mut self.buffer).freeze();
                let Some(mut writing) = self.writing.take() else {
                    return Err(Problem::ours(&"an upload was lost"));
                };
                self.under_way = Some(tokio::task::spawn_blocking(move || {
                    let stored = writing.part(part);
                    (writing, stored)
                }));
            }
        }
        Ok(())
    }

    /// Wait for the part that is being stored.
    async fn settle(&mut self) -> Result<(), Problem> {
        let Some(under_way) = self.under_way.take() else { return Ok(()) };
        let (writing, stored) = under_way.await.map_err(|error| Problem::ours(&error))?;
        self.writing = Some(writing);
        stored.map_err(store)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_become_one_part_of_a_key() {
        for (given, wanted) in [
            ("game.mp4", "game.mp4"),
            ("C:\\Videos\\Spiel 7.mp4", "Spiel_7.mp4"),
            ("../../etc/passwd", "passwd"),
            ("..", "source"),
            ("", "source"),
            ("a\nb\"c?d#e%f.mp4", "a_b_c_d_e_f.mp4"),
            ("Süd (1).mp4", "Süd_(1).mp4"),
        ] {
            assert_eq!(file_name(given), wanted, "{given:?}");
        }
        let long = file_name(&format!("{}.mp4", "ü".repeat(300)));
        assert!(long.len() <= 120 && long.ends_with(".mp4"), "{long}");
    }

    #[test]
    fn the_name_in_the_metadata_is_read() {
        let with = |text: &str| {
            let value = text.parse().expect("a header's value");
            metadata_name(&HeaderMap::from_iter([(HeaderName::from_static("upload-metadata"), value)]))
        };
        assert_eq!(with("relativePath bnVsbA==,filename Z2FtZS5tcDQ=").as_deref(), Some("game.mp4"));
        assert_eq!(with("is_confidential"), None);
        assert_eq!(with("filename !!!"), None);
    }
}
