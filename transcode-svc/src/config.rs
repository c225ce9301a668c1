//! The configuration: `transcode.toml`, its environment variables, and what AWS's tools read.
//!
//! Owns which file is read, which setting wins, and what is told about a wrong one. Knows no store:
//! `store` takes what stands here. Durations are [`Duration`]s, sizes are bytes.
//!
//! # Which file
//! The first of: the path given with `--config`; the path in `TRANSCODE_CONFIG`; `transcode.toml` in
//! the working directory; `transcode/transcode.toml` in the user's configuration directory
//! (`$XDG_CONFIG_HOME`, else `~/.config`). Without any, the defaults and the environment stand.
//!
//! # Which setting wins
//! The more specific one: 1. `TRANSCODE_STORE_*`; 2. `[store]` in the file; 3. `LYVE_*`; 4. `AWS_*`; 5. the AWS
//! profile (`AWS_PROFILE`, else `default`, in AWS's shared files); 6. the default. `[source]` has its own
//! `TRANSCODE_SOURCE_*` and section before these; what it does not say is taken from the store.
//! Access key, secret and session token go together: all come from the first place that has one of
//! them.
//!
//! ```toml
//! [store]
//! endpoint = "https://s3.eu-central-1.wasabisys.com"  # default: AWS
//! region = "eu-central-1"          # default: us-east-1
//! access-key-id = "…"
//! secret-access-key = "…"
//! session-token = "…"
//! anonymous = false                # true: requests are not signed (public buckets)
//! path-style = true                # default: true where an endpoint is given
//! allow-http = false               # plain HTTP beyond loopback
//! checksum = "none"                # or "sha256"; not every store takes it
//! connect-timeout = "5s"
//! request-timeout = "30s"          # how long a store may stay silent
//! retry-time = "60s"               # how long a failing request is tried again
//!
//! [source]                         # the same keys, for inputs
//! allow = ["192.168.1.7"]          # neighbours that jobs may name; private addresses are refused else
//!
//! [cache]
//! size = "32MiB"                   # blocks of one remote input in memory
//! ```
//!
//! The keys of `serve` and `worker`, and what else they go by: [`Service`].

mod aws;
mod layer;
mod service;
#[cfg(test)]
mod tests;
mod value;

pub use service::Service;
pub(crate) use value::is_loopback;
pub use value::{ByteSize, Checksum, Endpoint, Period, Secret};

use crate::http::Token;
use crate::job::Rule;
use layer::Layer;
use serde::Deserialize;
use service::{Table, Tables};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use transcode_core::Error;

/// The environment of a process, or a test's idea of it.
pub type Variables = BTreeMap<String, String>;

/// All settings, ready to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// Where outputs go.
    pub store: StoreConfig,
    /// Where inputs come from.
    pub source: StoreConfig,
    /// Bytes of a remote input that are kept in memory; 1 MiB to 4 GiB.
    pub cache_size: usize,
    /// What `serve` and `worker` are told.
    pub service: Service,
    /// Networks and hosts that jobs may name although they are this machine's neighbours.
    pub source_allow: Vec<String>,
    /// By key of a store: what is shown of it, and where it stood.
    rows: Vec<(String, String, String)>,
}

/// How to reach one kind of store. `Debug` masks what is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// An S3-compatible endpoint; `None` is AWS.
    pub endpoint: Option<Endpoint>,
    /// The region that requests are signed for.
    pub region: String,
    /// The keys; `None` where none are set.
    pub credentials: Option<Credentials>,
    /// Whether to send requests unsigned.
    pub anonymous: bool,
    /// Whether the bucket stands in the path (`https://host/bucket/key`) or in the host's name.
    pub path_style: bool,
    /// Whether plain HTTP is let through beyond loopback.
    pub allow_http: bool,
    /// Which checksum goes with an upload.
    pub checksum: Checksum,
    /// How long connecting may take; 100 ms to 5 min.
    pub connect_timeout: Duration,
    /// How long a store may stay silent in a request; 1 s to 1 h. An upload may take a second more
    /// for every 64 KiB.
    pub request_timeout: Duration,
    /// How long a request that fails for a passing reason is tried again; 0 (never) to 1 h.
    pub retry_time: Duration,
    /// The variables that point to a machine's own credentials (web identity, container), lower
    /// case, as they were found.
    pub ambient: Variables,
}

/// A pair of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The access key's name.
    pub access_key_id: String,
    /// The key itself.
    pub secret_access_key: Secret,
    /// The token that goes with temporary keys.
    pub session_token: Option<Secret>,
}

/// The variables with which a machine tells where its own credentials are.
const AMBIENT: [&str; 6] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    store: Layer,
    source: Layer,
    cache: Cache,
    service: Table,
    queue: Table,
    ledger: Table,
    worker: Table,
    jobs: Table,
    webhook: Table,
    api: Table,
    rule: Vec<Rule>,
    token: Vec<Token>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Cache {
    size: Option<ByteSize>,
}

impl Config {
    /// The configuration of this process; `path` is what `--config` said.
    ///
    /// # Errors
    /// [`Error::Config`] with the file, line and key or the variable, what is wrong and what is
    /// allowed; never with a secret.
    pub fn load(path: Option<&Path>) -> Result<Self, Error> {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self::from_parts(path, &variables, Path::new(""))
    }

    /// The configuration for these `variables`, with `directory` as the working directory.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_parts(path: Option<&Path>, variables: &Variables, directory: &Path) -> Result<Self, Error> {
        let found = find(path, variables, directory)?;
        let (file, text) = found.map_or((None, String::new()), |(path, text)| (Some(path), text));
        let shown = file.as_ref().map_or_else(String::new, |path| path.display().to_string());
        let file_says = parse(&shown, &text)?;
        let (cache, tables) = (
            file_says.cache,
            Tables {
                tables: [
                    ("service", file_says.service),
                    ("queue", file_says.queue),
                    ("ledger", file_says.ledger),
                    ("worker", file_says.worker),
                    ("jobs", file_says.jobs),
                    ("webhook", file_says.webhook),
                    ("api", file_says.api),
                ]
                .into(),
                rules: file_says.rule,
                tokens: file_says.token,
            },
        );
        let named = |error: String| Error::Config { what: shown.clone(), reason: error };
        file_says.store.check("store").map_err(named)?;
        file_says.source.check("source").map_err(named)?;
        tables.check().map_err(named)?;

        let store = Places(vec![
            ("TRANSCODE_STORE_*".to_owned(), Layer::from_variables("TRANSCODE_STORE_", variables)?),
            (shown.clone(), file_says.store),
            ("LYVE_*".to_owned(), aws::lyve(variables)?),
            ("AWS_*".to_owned(), aws::layer(variables)?),
            ("the AWS profile".to_owned(), aws::profile(variables, directory)?),
        ]);
        let mut source = Places(vec![
            ("TRANSCODE_SOURCE_*".to_owned(), Layer::from_variables("TRANSCODE_SOURCE_", variables)?),
            (shown.clone(), file_says.source),
        ]);
        source.0.extend(store.0.iter().cloned());

        let cache_size = match variables.get("TRANSCODE_CACHE_SIZE").filter(|value| !value.is_empty()) {
            Some(value) => Some(
                value
                    .parse::<ByteSize>()
                    .map_err(|reason| Error::Config { what: "TRANSCODE_CACHE_SIZE".to_owned(), reason })?,
            ),
            None => cache.size,
        };
        let ambient: Variables = AMBIENT
            .iter()
            .filter_map(|name| Some((name.to_lowercase(), variables.get(*name)?.clone())))
            .collect();
        let layers = [("store", store), ("source", source)].map(|(section, places)| {
            let rows = places.shown(section);
            (rows, places.merged())
        });
        let [(mut rows, store), (more, source)] = layers;
        rows.extend(more);
        let source_allow = source.allow.clone().unwrap_or_default();
        Ok(Self {
            store: store.finish("store", &ambient)?,
            source: source.finish("source", &ambient)?,
            cache_size: cache_size.map_or(32 << 20, ByteSize::bytes),
            service: tables.finish(&shown, variables, &ambient)?,
            source_allow,
            rows,
            file,
        })
    }

    /// What is in force: the key, its value with secrets masked, and where it stood.
    pub fn shown(&self) -> Vec<(String, String, String)> {
        let size = ("cache.size".to_owned(), format!("{}MiB", self.cache_size >> 20), String::new());
        self.rows.iter().cloned().chain([size]).chain(self.service.shown()).collect()
    }
}

/// The places where a store's settings may stand, the strongest first.
struct Places(Vec<(String, Layer)>);

impl Places {
    fn merged(self) -> Layer {
        self.0.into_iter().map(|(_, layer)| layer).reduce(Layer::over).unwrap_or_default()
    }

    /// What stands where, as far as it counts.
    fn shown(&self, section: &str) -> Vec<(String, String, String)> {
        let mut rows: Vec<(String, String, String)> = Vec::new();
        let mut keys_from: Option<&str> = None;
        for (origin, layer) in &self.0 {
            for (key, value) in layer.shown() {
                // Keys go together: all are from the first place that has one.
                let is_key = matches!(key, "access-key-id" | "secret-access-key" | "session-token");
                if is_key && *keys_from.get_or_insert(origin) != origin.as_str() {
                    continue;
                }
                let path = format!("{section}.{key}");
                if !rows.iter().any(|(known, _, _)| *known == path) {
                    rows.push((path, value, origin.clone()));
                }
            }
        }
        rows
    }
}

impl Default for Config {
    /// What stands without a file and without any variable.
    fn default() -> Self {
        let plain = || StoreConfig {
            endpoint: None,
            region: "us-east-1".to_owned(),
            credentials: None,
            anonymous: false,
            path_style: false,
            allow_http: false,
            checksum: Checksum::None,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            retry_time: Duration::from_secs(60),
            ambient: Variables::new(),
        };
        let service = Tables::default()
            .finish("", &Variables::new(), &Variables::new())
            .unwrap_or_else(|_| Service::nothing());
        let (file, cache_size, source_allow, rows) = (None, 32 << 20, Vec::new(), Vec::new());
        Self { file, store: plain(), source: plain(), cache_size, service, source_allow, rows }
    }
}

/// The file to read, and its text.
fn find(
    path: Option<&Path>,
    variables: &Variables,
    directory: &Path,
) -> Result<Option<(PathBuf, String)>, Error> {
    let set = |name: &str| variables.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // A file that was asked for has to be there; one that merely could be there has not.
    let asked = path
        .map(|path| (path.to_path_buf(), "--config"))
        .or_else(|| set("TRANSCODE_CONFIG").map(|path| (path, "TRANSCODE_CONFIG")));
    if let Some((path, by)) = asked {
        return match std::fs::read_to_string(directory.join(&path)) {
            Ok(text) => Ok(Some((path, text))),
            Err(error) => Err(Error::Config {
                what: path.display().to_string(),
                reason: format!("the configuration named by {by} cannot be read: {error}"),
            }),
        };
    }
    let home = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    let places =
        [Some(PathBuf::from("transcode.toml")), home.map(|home| home.join("transcode/transcode.toml"))];
    for path in places.into_iter().flatten() {
        match std::fs::read_to_string(directory.join(&path)) {
            Ok(text) => return Ok(Some((path, text))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                let reason = format!("the configuration cannot be read: {error}");
                return Err(Error::Config { what: path.display().to_string(), reason });
            }
        }
    }
    Ok(None)
}

fn parse(file: &str, text: &str) -> Result<File, Error> {
    toml::from_str(text).map_err(|error| {
        let mut what = file.to_owned();
        if let Some(span) = error.span() {
            let before = text.get(..span.start).unwrap_or_default();
            what.push_str(&format!(":{}", before.matches('\n').count() + 1));
            // The key of that line, without its value: that may be a secret.
            let line = before.rsplit('\n').next().unwrap_or_default();
            if let Some((key, _)) = line.split_once('=') {
                what.push_str(&format!(": {}", key.trim()));
            }
        }
        Error::Config { what, reason: error.message().replace('\n', " ") }
    })
}
