//! `transcode play`: a directory over HTTP, with a player page.
//!
//! For looking at what a run makes, also while it makes it. Everything is asked for again each time
//! (`Cache-Control: no-cache`): playlists grow, and a directory may hold another job tomorrow. The
//! only room of the command line with an async runtime.

use super::args::Play;
use super::output::to_stdout;
use crate::http::player;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tower_http::services::ServeDir;
use transcode_core::plan::keys;
use transcode_core::sink::ObjectKind;
use transcode_core::{Cancel, Error};

/// Where `scripts/media` puts hls.js.
const HLS_JS: &str = ".cache/player/hls.min.js";

/// How often the server looks whether it shall end.
const LOOK: Duration = Duration::from_millis(100);

/// Serve until interrupted, which is the way to end it and no failure.
pub(super) fn play(play: &Play, cancel: &Cancel) -> Result<(), Error> {
    if !play.dir.is_dir() {
        return Err(Error::Config {
            what: play.dir.display().to_string(),
            reason: "there is no such directory; give the one that `transcode run --output` wrote".to_owned(),
        });
    }
    let hls_js = hls_js(play.hls_js.as_deref())?;
    let cannot = |error: std::io::Error| Error::Config {
        what: format!("--listen {}", play.listen),
        reason: format!("{error}; give another address or port, port 0 takes a free one"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(play.listen).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        to_stdout(&format!("{}\n", opening(&play.dir, &format!("http://{address}/"), hls_js.is_some())));
        tokio::select! {
            served = async { axum::serve(listener, router(&play.dir, hls_js)).await } => served.map_err(cannot),
            () = cancelled(cancel) => Ok(()),
        }
    })
}

async fn cancelled(cancel: &Cancel) {
    while !cancel.is_cancelled() {
        tokio::time::sleep(LOOK).await;
    }
}

/// The first line names the page, so that scripts find it; the others what is there.
fn opening(dir: &Path, url: &str, hls_js: bool) -> String {
    let mut text = format!("{url}\n  {}", dir.display());
    for key in [keys::MASTER, keys::PLAN, keys::REPORT, keys::THUMBNAIL] {
        let there = if dir.join(key).exists() { "" } else { " (not there yet)" };
        text.push_str(&format!("\n  {url}{key}{there}"));
    }
    if !hls_js {
        text.push_str(
            "\n  without hls.js: the page plays where the browser itself can, or give --hls-js FILE",
        );
    }
    text.push_str("\n  Ctrl-C ends it");
    text
}

/// The file that was named, or the one that lies in its usual place.
pub(super) fn hls_js(named: Option<&Path>) -> Result<Option<String>, Error> {
    let path = match named {
        Some(path) => path.to_owned(),
        None if Path::new(HLS_JS).exists() => PathBuf::from(HLS_JS),
        None => return Ok(None),
    };
    std::fs::read_to_string(&path).map(Some).map_err(|error| Error::Config {
        what: format!("--hls-js {}", path.display()),
        reason: error.to_string(),
    })
}

fn router(dir: &Path, hls_js: Option<String>) -> Router {
    let part = |name: &'static str| {
        let hls_js = hls_js.clone();
        get(async move || player::part(name, hls_js.as_deref()).ok_or(StatusCode::NOT_FOUND))
    };
    Router::new()
        .route("/", part(""))
        .route("/player.js", part("player.js"))
        .route("/style.css", part("style.css"))
        .route("/hls.min.js", part("hls.min.js"))
        .fallback_service(ServeDir::new(dir).append_index_html_on_directories(false))
        .layer(middleware::from_fn(label))
}

/// The content type that the object would have in a store, and no caching.
async fn label(request: Request, next: Next) -> Response {
    let kind = player::kind(request.uri().path()).map(ObjectKind::content_type);
    let mut response = next.run(request).await;
    let good = response.status().is_success();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Some(kind) = kind.filter(|_| good) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    response
}
