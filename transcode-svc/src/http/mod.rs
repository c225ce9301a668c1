//! The HTTP API: what producers, people, players and monitors ask of a fleet.
//!
//! Owns routes, their JSON, who may call them, and the pages. Knows no encoder: jobs go to the
//! [`Dispatch`], what is shown comes from its ledger and queue, videos go through [`Objects`]. Everything that
//! blocks runs on threads for that. Times in answers are RFC 3339 in UTC.
//!
//! ```no_run
//! # async fn example(parts: transcode_svc::http::Parts) -> Result<(), Box<dyn std::error::Error>> {
//! use transcode_svc::http::{Api, Settings, serve};
//! let settings = Settings::default();
//! let address = "127.0.0.1:8000".parse()?;
//! settings.check(address)?;
//! let listener = tokio::net::TcpListener::bind(address).await?;
//! let router = Api::new(parts, settings).router();
//! serve(listener, router, async { let _asked = tokio::signal::ctrl_c().await; }).await?;
//! # Ok(()) }
//! ```

mod contract;
mod events;
mod fleet;
mod guard;
mod health;
mod hooks;
mod input;
mod jobs;
mod objects;
mod pages;
mod play;
pub(crate) mod player;
mod problem;
mod routes;
mod settings;
mod sources;
mod view;

pub use objects::Objects;
pub use settings::{Auth, Hash, Play, Rate, Scope, Secret, Settings, Token};

use crate::dispatch::Dispatch;
use crate::events::Hub;
use crate::job::{JobId, Rules};
use crate::ledger::Record;
use crate::metrics::Metrics;
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use problem::{PROBLEM, Problem};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// How long requests that run may go on after the server was asked to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// What the API speaks for.
#[derive(Clone)]
pub struct Parts {
    /// Takes jobs in, and has the ledger and the queue.
    pub dispatch: Dispatch,
    /// What submissions leave open.
    pub rules: Arc<Rules>,
    /// What happens in this process.
    pub hub: Hub,
    /// What is counted.
    pub metrics: Metrics,
    /// The store.
    pub objects: Arc<Objects>,
}

/// The API.
pub struct Api {
    shared: Shared,
}

/// What all handlers share.
type Shared = Arc<Inner>;

struct Inner {
    parts: Parts,
    settings: Settings,
    rates: guard::Rates,
    places: play::Places,
    watch: events::Watch,
    /// The description of all routes, which is made of them.
    document: OnceLock<Value>,
}

impl Api {
    /// An API for these parts. [`Settings::check`] says whether one may listen like that.
    pub fn new(parts: Parts, settings: Settings) -> Self {
        let rates = guard::Rates::new(settings.rate);
        let watch = events::Watch::new(settings.watchers);
        let (places, document) = (play::Places::default(), OnceLock::new());
        Self { shared: Arc::new(Inner { parts, settings, rates, places, watch, document }) }
    }

    /// All routes, guarded.
    pub fn router(&self) -> Router {
        let (router, document) = routes::routes(&self.shared);
        let _the_same = self.shared.document.set(document);
        let router = router.layer(middleware::from_fn_with_state(self.shared.clone(), dress));
        let router = match cors(&self.shared.settings) {
            Some(cors) => router.layer(cors),
            None => router,
        };
        router.with_state(self.shared.clone())
    }

    /// The description of all routes: OpenAPI 3.1.
    pub fn description(&self) -> Value {
        routes::routes(&self.shared).1
    }
}

/// Answer on `listener` until `shutdown` ends. Requests that run then have five seconds; whoever watches events is
/// told at once.
///
/// # Errors
/// That of the listener.
pub async fn serve(
    listener: tokio::net::TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let (tell, told) = tokio::sync::watch::channel(false);
    let router = router.layer(axum::Extension(Closing(told.clone())));
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let ending = async move {
        shutdown.await;
        let _nobody_watches = tell.send(true);
    };
    let mut late = told;
    let served = axum::serve(listener, service).with_graceful_shutdown(ending);
    tokio::select! {
        served = async { served.await } => served,
        () = async {
            drop(late.wait_for(|closing| *closing).await);
            tokio::time::sleep(FAREWELL).await;
        } => {
            log::warn!("some requests did not end within {} s and are broken off", FAREWELL.as_secs());
            Ok(())
        }
    }
}

/// Whether the server was asked to end.
#[derive(Clone)]
struct Closing(tokio::sync::watch::Receiver<bool>);

impl Inner {
    /// Do what blocks, on a thread for that.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Parts) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let parts = self.parts.clone();
        tokio::task::spawn_blocking(move || work(&parts)).await.map_err(|error| Problem::ours(&error))
    }

    /// The record of a job.
    async fn record(&self, id: &JobId) -> Result<Record, Problem> {
        let name = id.clone();
        let record = self.blocking(move |parts| parts.dispatch.ledger().get(&name)).await??;
        record.ok_or_else(|| Problem::unknown_job(id))
    }

    /// A path of this server, as clients have to write it.
    fn address(&self, path: &str) -> String {
        let base = self.settings.base_url.as_deref().unwrap_or_default();
        format!("{}{path}", base.trim_end_matches('/'))
    }
}

/// Pages of other origins, where some were named.
fn cors(settings: &Settings) -> Option<CorsLayer> {
    if settings.origins.is_empty() {
        return None;
    }
    let origins = settings.origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    let layer = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers(
            ["authorization", "content-type", "idempotency-key", "tus-resumable", "upload-length"]
                .into_iter()
                .chain(["upload-metadata", "upload-offset"])
                .map(HeaderName::from_static)
                .collect::<Vec<_>>(),
        )
        .expose_headers(
            ["location", "retry-after", "upload-offset", "upload-length", "tus-resumable"]
                .map(HeaderName::from_static),
        )
        .max_age(Duration::from_secs(600));
    Some(layer)
}

/// Around every answer: errors that some layer made become problems, answers are counted, and browsers are told
/// to guess nothing.
async fn dress(State(api): State<Shared>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let mut response = next.run(request).await;
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let described = kind.is_some_and(|kind| kind == PROBLEM || kind.starts_with("application/json"));
    if (status.is_client_error() || status.is_server_error()) && !described {
        let allow = response.headers().get(header::ALLOW).cloned();
        let range = response.headers().get(header::CONTENT_RANGE).cloned();
        response = Problem::of_status(status).into_response();
        response.headers_mut().extend(allow.map(|allow| (header::ALLOW, allow)));
        response.headers_mut().extend(range.map(|range| (header::CONTENT_RANGE, range)));
    }
    let headers = response.headers_mut();
    // What is not said to be for keeping is for this answer alone.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let route = route.as_deref().unwrap_or("none");
    api.parts.metrics.answered(route, method.as_str(), status.as_u16(), started.elapsed());
    response
}

/// A part of a path, encoded: names of jobs may hold what separates parts.
fn encoded(part: &str) -> String {
    let mut text = String::with_capacity(part.len());
    for byte in part.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                text.push(char::from(byte))
            }
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}
