//! One place where settings of a store may stand, and what comes of several on top of each other.
//!
//! Owns the keys' names, the order, and the defaults. Knows no file format but serde's.

use super::value::{Checksum, Endpoint, Period, Secret, is_loopback};
use super::{Credentials, StoreConfig, Variables};
use serde::Deserialize;
use std::time::Duration;
use transcode_core::Error;

/// What one place says; `None` where it says nothing.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Layer {
    pub(super) endpoint: Option<Endpoint>,
    pub(super) region: Option<String>,
    pub(super) access_key_id: Option<String>,
    pub(super) secret_access_key: Option<Secret>,
    pub(super) session_token: Option<Secret>,
    pub(super) anonymous: Option<bool>,
    pub(super) path_style: Option<bool>,
    pub(super) allow_http: Option<bool>,
    pub(super) checksum: Option<Checksum>,
    pub(super) connect_timeout: Option<Period>,
    pub(super) request_timeout: Option<Period>,
    pub(super) retry_time: Option<Period>,
    /// Only for sources.
    #[serde(default)]
    pub(super) allow: Option<Vec<String>>,
}

/// The keys as they are written in the file; a variable has them in capitals, with underscores.
const KEYS: [&str; 13] = [
    "endpoint",
    "region",
    "access-key-id",
    "secret-access-key",
    "session-token",
    "anonymous",
    "path-style",
    "allow-http",
    "checksum",
    "connect-timeout",
    "request-timeout",
    "retry-time",
    "allow",
];

impl Layer {
    /// What the variables that begin with `prefix` say; one that is empty says nothing, one that is
    /// not known is an error.
    pub(super) fn from_variables(prefix: &str, variables: &Variables) -> Result<Self, Error> {
        let mut layer = Self::default();
        let ours = variables.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix));
        for (name, value) in ours.filter(|(_, value)| !value.is_empty()) {
            let key = name[prefix.len()..].to_lowercase().replace('_', "-");
            layer.set(&key, value).map_err(|reason| Error::Config { what: name.clone(), reason })?;
        }
        Ok(layer)
    }

    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "endpoint" => self.endpoint = Some(value.parse()?),
            "region" => self.region = Some(value.to_owned()),
            "access-key-id" => self.access_key_id = Some(value.to_owned()),
            "secret-access-key" => self.secret_access_key = Some(Secret::new(value)),
            "session-token" => self.session_token = Some(Secret::new(value)),
            "anonymous" => self.anonymous = Some(yes_or_no(value)?),
            "path-style" => self.path_style = Some(yes_or_no(value)?),
            "allow-http" => self.allow_http = Some(yes_or_no(value)?),
            "checksum" => self.checksum = Some(value.parse()?),
            "connect-timeout" => self.connect_timeout = Some(value.parse()?),
            "request-timeout" => self.request_timeout = Some(value.parse()?),
            "retry-time" => self.retry_time = Some(value.parse()?),
            "allow" => {
                let parts = value.split(',').map(str::trim).filter(|part| !part.is_empty());
                self.allow = Some(parts.map(ToOwned::to_owned).collect());
            }
            _ => return Err(format!("there is no such setting; allowed are {}", KEYS.join(", "))),
        }
        Ok(())
    }

    /// What is wrong within this place alone.
    pub(super) fn check(&self, section: &str) -> Result<(), String> {
        let range =
            |key: &str, value: Option<Period>, least: Duration, most: Duration, allowed: &str| match value {
                Some(value) if !(least..=most).contains(&value.duration()) => {
                    Err(format!("{section}.{key} is out of range; allowed are {allowed}"))
                }
                _ => Ok(()),
            };
        if self.allow.is_some() && section != "source" {
            return Err(format!(
                "{section}.allow: there is no such setting; source.allow says what jobs may read"
            ));
        }
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        range("connect-timeout", self.connect_timeout, second / 10, second * 300, "100ms to 5m")?;
        range("request-timeout", self.request_timeout, second, hour, "1s to 1h")?;
        range("retry-time", self.retry_time, Duration::ZERO, hour, "0s (never) to 1h")?;
        if self.has_keys() && (self.access_key_id.is_none() || self.secret_access_key.is_none()) {
            let missing = if self.access_key_id.is_none() { "access-key-id" } else { "secret-access-key" };
            return Err(format!(
                "{section}.{missing} is missing where another of the keys is set; \
                 access-key-id and secret-access-key go together"
            ));
        }
        Ok(())
    }

    fn has_keys(&self) -> bool {
        self.access_key_id.is_some() || self.secret_access_key.is_some() || self.session_token.is_some()
    }

    /// This place's settings, and where it says nothing those of `below`.
    pub(super) fn over(self, below: Self) -> Self {
        let keys = if self.has_keys() { &self } else { &below };
        let (access_key_id, secret_access_key, session_token) =
            (keys.access_key_id.clone(), keys.secret_access_key.clone(), keys.session_token.clone());
        Self {
            endpoint: self.endpoint.or(below.endpoint),
            region: self.region.or(below.region),
            access_key_id,
            secret_access_key,
            session_token,
            anonymous: self.anonymous.or(below.anonymous),
            path_style: self.path_style.or(below.path_style),
            allow_http: self.allow_http.or(below.allow_http),
            checksum: self.checksum.or(below.checksum),
            connect_timeout: self.connect_timeout.or(below.connect_timeout),
            request_timeout: self.request_timeout.or(below.request_timeout),
            retry_time: self.retry_time.or(below.retry_time),
            allow: self.allow.or(below.allow),
        }
    }

    /// What this place says, ready to be shown.
    pub(super) fn shown(&self) -> Vec<(&'static str, String)> {
        let time = |period: Period| format!("{}ms", period.duration().as_millis());
        let hidden = |_: &Secret| "***".to_owned();
        let all = [
            ("endpoint", self.endpoint.as_ref().map(|endpoint| endpoint.as_str().to_owned())),
            ("region", self.region.clone()),
            ("access-key-id", self.access_key_id.clone()),
            ("secret-access-key", self.secret_access_key.as_ref().map(hidden)),
            ("session-token", self.session_token.as_ref().map(hidden)),
            ("anonymous", self.anonymous.map(|flag| flag.to_string())),
            ("path-style", self.path_style.map(|flag| flag.to_string())),
            ("allow-http", self.allow_http.map(|flag| flag.to_string())),
            ("checksum", self.checksum.map(|checksum| format!("{checksum:?}").to_lowercase())),
            ("connect-timeout", self.connect_timeout.map(time)),
            ("request-timeout", self.request_timeout.map(time)),
            ("retry-time", self.retry_time.map(time)),
            ("allow", self.allow.as_ref().map(|list| list.join(","))),
        ];
        all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }

    /// The settings in use: checked as a whole, defaults filled in.
    pub(super) fn finish(self, section: &str, ambient: &Variables) -> Result<StoreConfig, Error> {
        let wrong = |reason: String| Error::Config { what: format!("the settings of the {section}"), reason };
        self.check(section).map_err(wrong)?;
        let allow_http = self.allow_http.unwrap_or(false);
        if let Some(endpoint) = &self.endpoint {
            if endpoint.url().scheme() == "http" && !allow_http && !is_loopback(endpoint.url()) {
                return Err(wrong(format!(
                    "{section}.endpoint {} is plain HTTP, where everyone on the way can read and change what \
                     is sent; use https, or set {section}.allow-http = true",
                    endpoint.as_str()
                )));
            }
        }
        let credentials = match (self.access_key_id, self.secret_access_key) {
            (Some(access_key_id), Some(secret_access_key)) => {
                Some(Credentials { access_key_id, secret_access_key, session_token: self.session_token })
            }
            _ => None,
        };
        let or =
            |value: Option<Period>, seconds| value.map_or(Duration::from_secs(seconds), Period::duration);
        Ok(StoreConfig {
            path_style: self.path_style.unwrap_or(self.endpoint.is_some()),
            endpoint: self.endpoint,
            region: self.region.unwrap_or_else(|| "us-east-1".to_owned()),
            credentials,
            anonymous: self.anonymous.unwrap_or(false),
            allow_http,
            checksum: self.checksum.unwrap_or_default(),
            connect_timeout: or(self.connect_timeout, 5),
            request_timeout: or(self.request_timeout, 30),
            retry_time: or(self.retry_time, 60),
            ambient: ambient.clone(),
        })
    }
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}
