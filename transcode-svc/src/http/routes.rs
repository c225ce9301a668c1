//! Routes and their description, made by one call each: what is not described cannot be routed.
//!
//! Owns how a handler gets its path, its guard and its place in the OpenAPI document.

use super::Shared;
use super::guard::{self, Needs};
use super::problem::{PROBLEM, Problem, ProblemBody};
use super::settings::Scope;
use axum::Router;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse as _;
use axum::routing::{MethodFilter, on};
use serde_json::{Value, json};
use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, ResponseBuilder};
use utoipa::{OpenApi as _, ToSchema as _};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Transcode",
        description = "Jobs, sources, workers and the queue of a transcode fleet. Errors are problem details (RFC 9457). \
                       Times are RFC 3339 in UTC."
    ),
    tags(
        (name = "jobs", description = "What is to be made, and how far it is"),
        (name = "sources", description = "Getting videos into the store"),
        (name = "events", description = "Server-sent events"),
        (name = "fleet", description = "Workers, the queue, dead letters"),
        (name = "play", description = "Watching what was made, also while it is made"),
        (name = "redis-workers", description = "The API of the Redis workers, as their clients know it"),
        (name = "server", description = "Health, metrics, and this description"),
    ),
    components(schemas(
        ProblemBody,
        super::view::JobView,
        super::view::JobList,
        super::contract::Submitted,
        super::contract::StatusView,
        super::contract::JobPage,
        super::hooks::WebhookList,
        super::fleet::WorkerList,
        super::fleet::QueueView,
        super::fleet::DeadList,
        super::jobs::Change,
        super::sources::SourceView,
        super::sources::Presign,
        super::sources::Presigned,
        super::health::Ready,
    ))
)]
struct Described;

/// Routes that are described.
pub(super) struct Routes {
    api: Shared,
    router: Router<Shared>,
    document: OpenApi,
    tag: &'static str,
}

impl Routes {
    pub(super) fn new(api: Shared) -> Self {
        let mut document = Described::openapi();
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
        Self { api, router: Router::new(), document, tag: "server" }
    }

    /// What follows is about `tag`.
    fn about(mut self, tag: &'static str) -> Self {
        self.tag = tag;
        self
    }

    /// A route: `path` is what `#[utoipa::path]` says of `handler`.
    pub(super) fn at<P, H, T>(mut self, path: P, needs: Needs, handler: H) -> Self
    where
        P: utoipa::Path,
        H: Handler<T, Shared>,
        T: 'static,
    {
        let _only_its_type = path;
        let (address, methods, mut operation) = (P::path(), P::methods(), P::operation());
        let problem = ResponseBuilder::new()
            .description("What went wrong: problem details (RFC 9457)")
            .content(
                PROBLEM,
                ContentBuilder::new().schema(Some(Ref::from_schema_name(ProblemBody::name()))).build(),
            )
            .build();
        operation.tags = Some(vec![self.tag.to_owned()]);
        operation.responses.responses.insert("default".to_owned(), problem.into());
        if let Needs::Scope(scope) = needs {
            operation.security = Some(vec![SecurityRequirement::new("token", Vec::<String>::new())]);
            let line = format!("Needs the scope `{}`.", scope.name());
            let said = operation.description.take().unwrap_or_default();
            operation.description = Some(format!("{said}\n\n{line}").trim().to_owned());
        }
        for method in &methods {
            let route = on(filter(method), handler.clone())
                .route_layer(from_fn_with_state((self.api.clone(), needs), guard::guard));
            self.router = self.router.route(&address, route);
        }
        // Axum's `{*rest}` is OpenAPI's `{rest}`.
        self.document.paths.add_path_operation(address.replace("{*", "{"), methods, operation);
        self
    }

    /// The routes, and the document that describes them.
    pub(super) fn finish(self) -> (Router<Shared>, Value) {
        let mut document = serde_json::to_value(&self.document).unwrap_or_default();
        document["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
        let mut job = crate::job::job_schema();
        if let Some(base) = &self.api.settings.base_url {
            document["servers"] = json!([{ "url": base.trim_end_matches('/') }]);
        }
        // The job's schema has parts of its own; in this document they stand beside it.
        let parts = job.as_object_mut().and_then(|job| {
            job.remove("$schema");
            job.remove("$id");
            job.remove("$defs")
        });
        let schemas = &mut document["components"]["schemas"];
        for (name, mut part) in parts.and_then(|parts| parts.as_object().cloned()).unwrap_or_default() {
            relocate(&mut part);
            schemas[name] = part;
        }
        relocate(&mut job);
        schemas["Job"] = job;
        (self.router, document)
    }
}

/// Let references lead to the document's own schemas.
fn relocate(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::String(to)) = object.get_mut("$ref") {
                *to = to.replace("#/$defs/", "#/components/schemas/");
            }
            object.values_mut().for_each(relocate);
        }
        Value::Array(list) => list.iter_mut().for_each(relocate),
        _ => {}
    }
}

fn filter(method: &HttpMethod) -> MethodFilter {
    match method {
        HttpMethod::Get => MethodFilter::GET,
        HttpMethod::Put => MethodFilter::PUT,
        HttpMethod::Post => MethodFilter::POST,
        HttpMethod::Delete => MethodFilter::DELETE,
        HttpMethod::Options => MethodFilter::OPTIONS,
        HttpMethod::Head => MethodFilter::HEAD,
        HttpMethod::Patch => MethodFilter::PATCH,
        HttpMethod::Trace => MethodFilter::TRACE,
    }
}

/// All routes.
pub(super) fn routes(api: &Shared) -> (Router<Shared>, Value) {
    use super::{contract, events, fleet, health, hooks, jobs, pages, play, sources};
    const READ: Needs = Needs::Scope(Scope::Read);
    const SUBMIT: Needs = Needs::Scope(Scope::Submit);
    const ADMIN: Needs = Needs::Scope(Scope::Admin);
    let (router, document) = Routes::new(api.clone())
        .about("redis-workers")
        .at(contract::__path_submit, SUBMIT, contract::submit)
        .at(contract::__path_status, READ, contract::status)
        .at(contract::__path_page_of_jobs, READ, contract::page_of_jobs)
        .about("jobs")
        .at(jobs::__path_create_job, SUBMIT, jobs::create_job)
        .at(jobs::__path_list_jobs, READ, jobs::list_jobs)
        .at(jobs::__path_get_job, READ, jobs::get_job)
        .at(jobs::__path_cancel_job, SUBMIT, jobs::cancel_job)
        .at(jobs::__path_retry_job, SUBMIT, jobs::retry_job)
        .at(jobs::__path_change_job, SUBMIT, jobs::change_job)
        .at(hooks::__path_list_webhooks, READ, hooks::list_webhooks)
        .at(hooks::__path_redeliver_webhook, ADMIN, hooks::redeliver_webhook)
        .about("events")
        .at(events::__path_watch_job, READ, events::watch_job)
        .at(events::__path_watch_fleet, READ, events::watch_fleet)
        .about("sources")
        .at(sources::__path_create_source, SUBMIT, sources::create_source)
        .at(sources::__path_presign_source, SUBMIT, sources::presign_source)
        .at(sources::__path_get_source, SUBMIT, sources::get_source)
        .at(sources::__path_append_source, SUBMIT, sources::append_source)
        .at(sources::__path_delete_source, SUBMIT, sources::delete_source)
        .about("play")
        .at(play::__path_play_job, Needs::Nothing, play::play_job)
        .at(play::__path_play_page, Needs::Ticket, play::play_page)
        .at(play::__path_play_object, Needs::Ticket, play::play_object)
        .about("fleet")
        .at(fleet::__path_list_workers, READ, fleet::list_workers)
        .at(fleet::__path_get_queue, READ, fleet::get_queue)
        .at(fleet::__path_list_dead, READ, fleet::list_dead)
        .at(fleet::__path_get_dead, READ, fleet::get_dead)
        .at(fleet::__path_requeue_dead, ADMIN, fleet::requeue_dead)
        .about("server")
        .at(health::__path_healthz, Needs::Nothing, health::healthz)
        .at(health::__path_readyz, Needs::Nothing, health::readyz)
        .at(health::__path_metrics, READ, health::metrics)
        .at(pages::__path_start, Needs::Nothing, pages::start)
        .at(pages::__path_reference, Needs::Nothing, pages::reference)
        .at(pages::__path_openapi, Needs::Nothing, pages::openapi)
        .finish();
    let router =
        router.fallback(async || Problem::of_status(axum::http::StatusCode::NOT_FOUND).into_response());
    (router, document)
}
