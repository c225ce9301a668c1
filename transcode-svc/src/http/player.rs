//! The player page, and how files are labelled for players: for `transcode play` and for `/play`.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use transcode_core::sink::ObjectKind;

const PAGE: &str = include_str!("../cli/player/index.html");
const SCRIPT: &str = include_str!("../cli/player/player.js");
const STYLE: &str = include_str!("../cli/player/style.css");

/// The part of the page that is called `name`, empty for the page itself; `hls_js` is the text of hls.js where
/// there is one. `None` where the page has no such part.
pub(crate) fn part(name: &str, hls_js: Option<&str>) -> Option<Response> {
    let text = |kind: &'static str, text: String| ([(header::CONTENT_TYPE, kind)], text).into_response();
    Some(match name {
        "" => text("text/html; charset=utf-8", PAGE.to_owned()),
        "player.js" => text("text/javascript", SCRIPT.to_owned()),
        "style.css" => text("text/css", STYLE.to_owned()),
        "hls.min.js" => match hls_js {
            Some(script) => text("text/javascript", script.to_owned()),
            None => StatusCode::NOT_FOUND.into_response(),
        },
        _ => return None,
    })
}

/// What an object is, by the end of its name.
pub(crate) fn kind(path: &str) -> Option<ObjectKind> {
    Some(match path.rsplit_once('.')?.1 {
        "m3u8" => ObjectKind::LivePlaylist,
        "ts" => ObjectKind::Segment,
        "jpg" => ObjectKind::Image,
        "mp4" => ObjectKind::Movie,
        "json" => ObjectKind::Document,
        _ => return None,
    })
}
