//! Pages for people: what goes on, and what the API can do. One file each, nothing from elsewhere.

use super::Shared;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};

const START: &str = include_str!("pages/start.html");
const REFERENCE: &str = include_str!("pages/reference.html");

/// Our own scripts and styles stand in the page; nothing may be fetched from anywhere else.
const POLICY: &str = "default-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn page(text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, text).into_response()
}

/// What goes on, for people
#[utoipa::path(
    get, path = "/",
    responses((status = 200, description = "A page", content_type = "text/html", body = String))
)]
pub(super) async fn start() -> Response {
    page(START)
}

/// This description, for people
#[utoipa::path(
    get, path = "/api",
    responses((status = 200, description = "A page", content_type = "text/html", body = String))
)]
pub(super) async fn reference() -> Response {
    page(REFERENCE)
}

/// This description, for programs
#[utoipa::path(
    get, path = "/api/v1/openapi.json",
    responses((status = 200, description = "OpenAPI 3.1", body = Value))
)]
pub(super) async fn openapi(State(api): State<Shared>) -> Response {
    let document = api.document.get().cloned().unwrap_or_default();
    ([(header::CACHE_CONTROL, "no-cache")], Json(document)).into_response()
}
