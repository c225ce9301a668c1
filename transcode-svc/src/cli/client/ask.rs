//! Requests to the API, one after the other.
//!
//! Owns the connection and what is told when something goes wrong. Answers are JSON.

use crate::cli::args::Client;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use transcode_core::Error;
use url::Url;

/// How long an answer may take; uploads as long as they like.
const PATIENCE: Duration = Duration::from_secs(60);

/// An API.
pub(super) struct Api {
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    base: Url,
    token: Option<String>,
}

impl Api {
    /// The one that the options name. Asks nothing yet.
    pub(super) fn new(options: &Client) -> Result<Self, Error> {
        let _chosen = rustls::crypto::ring::default_provider().install_default();
        let wrong = |reason: String| Error::Config { what: format!("--api {}", options.api), reason };
        let base =
            Url::parse(&options.api).ok().filter(|url| matches!(url.scheme(), "http" | "https")).ok_or_else(
                || wrong("this is no address of an API; write it like http://127.0.0.1:8000".to_owned()),
            )?;
        let mut builder = reqwest::Client::builder().connect_timeout(Duration::from_secs(5));
        if crate::config::is_loopback(&base) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| wrong(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        Ok(Self { client, runtime, base, token: options.token.clone() })
    }

    pub(super) fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, Error> {
        let mut url = self.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.answer(self.request(Method::GET, url).timeout(PATIENCE))
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Error> {
        let request = self.request(Method::POST, self.url(path)).timeout(PATIENCE);
        self.answer(if body.is_null() {
            request.header(CONTENT_LENGTH, 0)
        } else {
            request.header("content-type", "application/json").body(body.to_string())
        })
    }

    /// Send a file of this machine to the store; its key there.
    pub(super) fn upload(&self, file: &str) -> Result<String, Error> {
        let cannot = |error: std::io::Error| Error::Input { uri: file.to_owned(), reason: error.to_string() };
        let name =
            Path::new(file).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut url = self.url("/api/v1/sources");
        url.query_pairs_mut().append_pair("name", &name);
        let source = std::fs::File::open(file).map_err(cannot)?;
        let size = source.metadata().map_err(cannot)?.len();
        log::info!("{file}: {} are sent", crate::cli::output::size(size));
        let pieces = futures::stream::unfold(source, |mut source| async {
            let mut piece = vec![0; 1 << 20];
            match std::io::Read::read(&mut source, &mut piece) {
                Ok(0) => None,
                Ok(count) => {
                    piece.truncate(count);
                    Some((Ok::<_, std::io::Error>(piece), source))
                }
                Err(error) => Some((Err(error), source)),
            }
        });
        let request = self
            .request(Method::POST, url)
            .header(CONTENT_LENGTH, size)
            .header("content-type", "application/octet-stream")
            .body(reqwest::Body::wrap_stream(pieces));
        let view = self.answer(request)?;
        view["key"].as_str().map(ToOwned::to_owned).ok_or_else(|| Error::Config {
            what: "the upload".to_owned(),
            reason: format!("the API names no key: {view}"),
        })
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.client.request(method, url);
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }

    fn answer(&self, request: RequestBuilder) -> Result<Value, Error> {
        let wrong = |reason: String| Error::Config { what: self.base.to_string(), reason };
        let (status, text) = self
            .runtime
            .block_on(async {
                let answer = request.send().await?;
                let status = answer.status();
                Ok::<_, reqwest::Error>((status, answer.text().await?))
            })
            .map_err(|error| {
                let why = crate::words::chain(&error);
                wrong(format!("the API does not answer ({why}); does `transcode serve` run there?"))
            })?;
        let value: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(value);
        }
        let detail = value["detail"].as_str().or(value["title"].as_str()).unwrap_or(&text);
        let hint = if status.as_u16() == 401 { "; give a token with --token or TRANSCODE_TOKEN" } else { "" };
        Err(wrong(format!("{detail} ({}){hint}", status.as_u16())))
    }
}
