//! What `serve` and `worker` are told: queue, ledger, jobs, webhooks, the API.
//!
//! Owns the keys, the variables that stand for each, which wins, and where a value came from. Knows no
//! queue and no server: they take what stands here.
//!
//! A key `[worker] lease` is the variable `TRANSCODE_WORKER_LEASE`, too. Which wins: 1. that variable; 2. the
//! file; 3. the variables of the systems before this one, where a key has some; 4. the default. Lists are
//! written with commas in a variable; `rule` and `token`, which are tables, as JSON in `TRANSCODE_RULES` and
//! `TRANSCODE_TOKENS`.

use super::value::{Period, Secret};
use super::{Credentials, Variables};
use crate::http::Token;
use crate::job::Rule;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use transcode_core::Error;

/// One key.
pub(super) struct Key {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    /// Variables that count before the file: short names of our own.
    short: &'static [&'static str],
    /// Variables that count after the file: those of the systems before.
    others: &'static [&'static str],
    /// What stands without any; empty: nothing.
    default: &'static str,
    secret: bool,
}

const fn key(section: &'static str, name: &'static str, default: &'static str) -> Key {
    Key { section, name, short: &[], others: &[], default, secret: false }
}

impl Key {
    const fn short(self, short: &'static [&'static str]) -> Self {
        Self { short, ..self }
    }

    const fn or(self, others: &'static [&'static str]) -> Self {
        Self { others, ..self }
    }

    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    pub(super) fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    fn variable(&self) -> String {
        format!("TRANSCODE_{}_{}", self.section, self.name).to_uppercase().replace('-', "_")
    }
}

/// Every key, in the order in which `transcode config` shows them.
pub(super) const KEYS: &[Key] = &[
    key("service", "data", "transcode-data").short(&["TRANSCODE_DATA"]),
    key("service", "store", "").short(&["TRANSCODE_STORE"]),
    key("service", "workers", "1").short(&["TRANSCODE_WORKERS"]),
    key("queue", "url", "").or(&["SQS_TRANSCODE_QUEUE_URL", "REDIS_URL", "UPSTASH_REDIS_URL"]).secret(),
    key("queue", "name", "").or(&["QUEUE_NAME"]),
    key("queue", "poll", "20s"),
    key("queue", "heartbeat", "true"),
    key("queue", "endpoint", "").or(&["AWS_ENDPOINT_URL_SQS"]),
    key("queue", "allow-http", "false"),
    key("queue", "region", "").or(&["AWS_REGION", "AWS_DEFAULT_REGION"]),
    key("queue", "access-key-id", "").or(&["AWS_ACCESS_KEY_ID"]),
    key("queue", "secret-access-key", "").or(&["AWS_SECRET_ACCESS_KEY"]).secret(),
    key("queue", "session-token", "").or(&["AWS_SESSION_TOKEN"]).secret(),
    key("ledger", "url", "").secret(),
    key("worker", "name", ""),
    key("worker", "lease", "60s").short(&["TRANSCODE_LEASE"]),
    key("worker", "grace", "25s"),
    key("worker", "spot-notices", ""),
    key("worker", "platform", "auto"),
    key("worker", "jobs", ""),
    key("worker", "retries", "3").or(&["MAX_RETRIES"]),
    key("worker", "deaths", "3"),
    key("jobs", "bucket", "").or(&["LYVE_BUCKET"]),
    key("jobs", "base-url", ""),
    key("webhook", "url", "").or(&["WEBHOOK_URL"]),
    key("webhook", "secret", "").secret(),
    key("webhook", "allow", ""),
    key("webhook", "timeout", "20s"),
    key("api", "listen", "127.0.0.1:8000").short(&["TRANSCODE_LISTEN"]),
    key("api", "auth", "tokens"),
    key("api", "origins", ""),
    key("api", "base-url", ""),
    key("api", "play", "signed"),
    key("api", "play-secret", "").secret(),
    key("api", "play-lifetime", "12h"),
    key("api", "rate", "100"),
];

/// A value as text, and where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) value: String,
    pub(super) origin: String,
}

/// A table of the file.
pub(super) type Table = BTreeMap<String, Raw>;

/// The tables of the file that hold these keys.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// By section.
    pub(super) tables: BTreeMap<&'static str, Table>,
    pub(super) rules: Vec<Rule>,
    pub(super) tokens: Vec<Token>,
}

/// What may stand behind a key: text, a number, yes or no, or a list of texts.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Raw {
    Text(String),
    Number(i64),
    Flag(bool),
    List(Vec<String>),
}

impl Raw {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::List(list) => list.join(","),
        }
    }
}

/// The settings of the service, read but not yet put to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    settings: BTreeMap<String, Setting>,
    /// What is made of created objects.
    pub rules: Vec<Rule>,
    /// Who may use the API.
    pub tokens: Vec<Token>,
    ambient: Variables,
}

impl Tables {
    /// The keys that nobody knows.
    pub(super) fn check(&self) -> Result<(), String> {
        for (section, table) in &self.tables {
            let known = || KEYS.iter().filter(|key| key.section == *section).map(|key| key.name);
            if let Some(unknown) = table.keys().find(|name| !known().any(|known| known == name.as_str())) {
                let known = known().collect::<Vec<_>>().join(", ");
                return Err(format!("unknown key `{unknown}` in [{section}]; allowed are {known}"));
            }
        }
        Ok(())
    }

    /// What is in force under these variables; `file` is where the tables stood.
    pub(super) fn finish(
        self,
        file: &str,
        variables: &Variables,
        ambient: &Variables,
    ) -> Result<Service, Error> {
        strangers(variables)?;
        let set = |name: &str| variables.get(name).filter(|value| !value.is_empty()).cloned();
        let mut settings = BTreeMap::new();
        for key in KEYS {
            let variable = key.variable();
            let own = [variable.as_str()].into_iter().chain(key.short.iter().copied());
            let by_variable = |mut names: Box<dyn Iterator<Item = &str> + '_>| {
                names.find_map(|name| set(name).map(|value| Setting { value, origin: name.to_owned() }))
            };
            let in_file = || {
                let value = self.tables.get(key.section)?.get(key.name)?.text();
                Some(Setting { value, origin: file.to_owned() })
            };
            let default = || {
                let value = key.default.to_owned();
                (!value.is_empty()).then(|| Setting { value, origin: "default".to_owned() })
            };
            let found = by_variable(Box::new(own))
                .or_else(in_file)
                .or_else(|| by_variable(Box::new(key.others.iter().copied())))
                .or_else(default);
            settings.extend(found.map(|setting| (key.path(), setting)));
        }
        let rules = listed(set("TRANSCODE_RULES"), "TRANSCODE_RULES", self.rules)?;
        let tokens = listed(set("TRANSCODE_TOKENS"), "TRANSCODE_TOKENS", self.tokens)?;
        let service = Service { settings, rules, tokens, ambient: ambient.clone() };
        service.check()?;
        Ok(service)
    }
}

/// Variables of our sections that are no key's: a setting that was mistyped must not be dropped in silence.
fn strangers(variables: &Variables) -> Result<(), Error> {
    for (name, _) in
        variables.range("TRANSCODE_".to_owned()..).take_while(|(name, _)| name.starts_with("TRANSCODE_"))
    {
        let rest = name["TRANSCODE_".len()..].to_lowercase();
        let Some((section, _)) = rest.split_once('_') else { continue };
        let ours = || KEYS.iter().filter(|key| key.section == section);
        if ours().next().is_some() && !ours().any(|key| key.variable() == *name) {
            let known: Vec<String> = ours().map(Key::variable).collect();
            return Err(Error::Config {
                what: name.clone(),
                reason: format!("there is no such setting; allowed are {}", known.join(", ")),
            });
        }
    }
    Ok(())
}

fn listed<T: serde::de::DeserializeOwned>(
    text: Option<String>,
    name: &str,
    file: Vec<T>,
) -> Result<Vec<T>, Error> {
    match text {
        None => Ok(file),
        Some(text) => serde_json::from_str(&text).map_err(|error| Error::Config {
            what: name.to_owned(),
            reason: format!("this is no JSON list of such tables: {error}"),
        }),
    }
}

impl Service {
    /// Not even the defaults.
    pub(super) fn nothing() -> Self {
        Self { settings: BTreeMap::new(), rules: Vec::new(), tokens: Vec::new(), ambient: Variables::new() }
    }

    /// The text of a key; `None` where nothing is set.
    pub fn get(&self, path: &str) -> Option<&str> {
        self.settings.get(path).map(|setting| setting.value.as_str())
    }

    /// Set a key, as an option of the command line does.
    pub fn set(&mut self, path: &str, value: &str, option: &str) {
        self.settings.insert(path.to_owned(), Setting { value: value.to_owned(), origin: option.to_owned() });
    }

    fn read<T: FromStr>(&self, path: &str, what: &str) -> Result<Option<T>, Error> {
        let Some(setting) = self.settings.get(path) else { return Ok(None) };
        setting.value.parse().map(Some).map_err(|_| Error::Config {
            what: format!("{path} (from {})", setting.origin),
            reason: format!("this is no {what}"),
        })
    }

    /// A length of time.
    ///
    /// # Errors
    /// [`Error::Config`] with the key and where it stood.
    pub fn period(&self, path: &str) -> Result<Duration, Error> {
        let period: Option<Period> =
            self.read(path, "time; write a whole number with ms, s, m or h, like 30s")?;
        Ok(period.map_or(Duration::ZERO, Period::duration))
    }

    /// A whole number; `None` where nothing is set.
    ///
    /// # Errors
    /// As [`period`](Self::period).
    pub fn number(&self, path: &str) -> Result<Option<u32>, Error> {
        self.read(path, "whole number")
    }

    /// Yes or no.
    ///
    /// # Errors
    /// As [`period`](Self::period).
    pub fn flag(&self, path: &str) -> Result<bool, Error> {
        Ok(self.read(path, "flag; write true or false")?.unwrap_or(false))
    }

    /// An address to listen on.
    ///
    /// # Errors
    /// As [`period`](Self::period).
    pub fn address(&self, path: &str) -> Result<Option<SocketAddr>, Error> {
        self.read(path, "address; write it like 127.0.0.1:8000 or [::1]:8000")
    }

    /// A list; empty where nothing is set.
    pub fn list(&self, path: &str) -> Vec<String> {
        let text = self.get(path).unwrap_or_default();
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(ToOwned::to_owned).collect()
    }

    /// The directory of the database and of a store without another place.
    pub fn data(&self) -> PathBuf {
        PathBuf::from(self.get("service.data").unwrap_or("transcode-data"))
    }

    /// The keys of an SQS queue; `None`: the machine's own.
    pub fn queue_credentials(&self) -> Option<Credentials> {
        let secret = |path: &str| self.get(path).map(Secret::new);
        Some(Credentials {
            access_key_id: self.get("queue.access-key-id")?.to_owned(),
            secret_access_key: secret("queue.secret-access-key")?,
            session_token: secret("queue.session-token"),
        })
    }

    /// The variables that point to a machine's own credentials, lower case.
    pub fn ambient(&self) -> &Variables {
        &self.ambient
    }

    /// Every value is one of its kind, and within its range.
    fn check(&self) -> Result<(), Error> {
        let between = |path: &str, least: u64, most: u64, allowed: &str| {
            let seconds = self.period(path)?;
            let fits = (Duration::from_secs(least)..=Duration::from_secs(most)).contains(&seconds);
            if fits {
                return Ok(());
            }
            let reason = format!("this is out of range; allowed are {allowed}");
            Err(Error::Config { what: path.to_owned(), reason })
        };
        between("worker.lease", 1, 3_600, "1s to 1h")?;
        between("worker.grace", 1, 3_600, "1s to 1h")?;
        between("queue.poll", 1, 20, "1s to 20s")?;
        between("webhook.timeout", 1, 60, "1s to 60s")?;
        between("api.play-lifetime", 60, 365 * 86_400, "1m to 8760h")?;
        for path in ["service.workers", "worker.jobs", "worker.retries", "worker.deaths", "api.rate"] {
            self.number(path)?;
        }
        self.flag("queue.heartbeat")?;
        self.flag("queue.allow-http")?;
        self.address("api.listen")?;
        let one_of = |path: &str, allowed: &[&str]| match self.get(path) {
            Some(value) if !allowed.contains(&value) => Err(Error::Config {
                what: path.to_owned(),
                reason: format!("`{value}` is not known; allowed are {}", allowed.join(", ")),
            }),
            _ => Ok(()),
        };
        one_of("api.auth", &["tokens", "none"])?;
        one_of("api.play", &["signed", "public"])
    }

    /// Each key in force, as lines of a file with the place where it stood; what is secret is masked.
    pub(super) fn shown(&self) -> Vec<(String, String, String)> {
        let row = |key: &Key| {
            let setting = self.settings.get(&key.path())?;
            let value = if key.secret { masked(&setting.value) } else { setting.value.clone() };
            Some((key.path(), value, setting.origin.clone()))
        };
        KEYS.iter().filter_map(row).collect()
    }
}

/// An address shows its host, anything else nothing.
fn masked(value: &str) -> String {
    match url::Url::parse(value) {
        Ok(mut url) if url.has_host() => {
            if url.password().is_some() || !url.username().is_empty() {
                let _no_host = url.set_username("***").and_then(|()| url.set_password(None));
            }
            url.to_string()
        }
        _ => "***".to_owned(),
    }
}
