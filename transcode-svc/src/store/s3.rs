//! One S3 bucket: the client for it, and what is known about it.
//!
//! Owns addresses (`s3://bucket/key`), credentials, path style, and the memory of whether the store
//! honours If-None-Match. Reading is `source`'s, writing `sink`'s affair.

use super::client::{Connector, Told, client, told};
use super::retry::Failure;
use crate::config::{Checksum as Wanted, StoreConfig};
use crate::guard::Guard;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::path::Path;
use object_store::{BackoffConfig, RetryConfig};
use reqwest::redirect::Policy;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use transcode_core::Error;
use url::Url;

/// A bucket name and what stands after it in `s3://bucket/key`; the key as it is, not decoded.
pub(super) fn address(text: &str) -> Result<(&str, &str), Error> {
    let rest = text.strip_prefix("s3://").unwrap_or(text);
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if bucket.is_empty() || !bucket.chars().all(fits) {
        return Err(Error::Config {
            what: format!("s3://{bucket}"),
            reason:
                "this names no bucket; write s3://bucket/key with letters, digits, `.`, `-` and `_` in the \
                     bucket's name"
                    .to_owned(),
        });
    }
    Ok((bucket, key))
}

/// What is known about creating objects once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Once {
    /// Nothing yet.
    Unknown,
    /// If-None-Match was seen to be honoured.
    Honoured,
    /// If-None-Match is refused or ignored.
    Ignored,
}

/// One bucket of one store.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) name: String,
    pub(super) store: AmazonS3,
    /// The same, trying again by itself: for uploads in parts, whose parts cannot be sent again
    /// from outside.
    pub(super) uploads: AmazonS3,
    pub(super) config: StoreConfig,
    once: AtomicU8,
}

impl Bucket {
    /// The bucket called `name`, reached as `config` says, where `guard` lets it be reached. Asks nothing yet.
    pub(super) fn new(
        name: &str,
        config: &StoreConfig,
        section: &str,
        guard: Option<&Guard>,
    ) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Config { what: format!("s3://{name}"), reason };
        let endpoint = match &config.endpoint {
            Some(endpoint) => endpoint.as_str().to_owned(),
            None => format!("https://s3.{}.amazonaws.com", config.region),
        };
        let url = Url::parse(&endpoint).map_err(|error| wrong(format!("region: {error}")))?;
        if let Some(guard) = guard {
            guard.check(&url).map_err(|refused| wrong(refused.to_string()))?;
        }
        let connector = Connector(client(config, &url, Policy::none(), guard)?);
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(name)
            .with_region(&config.region)
            .with_virtual_hosted_style_request(!config.path_style)
            .with_http_connector(connector)
            // The client is ours and refuses plain HTTP by the configuration's own rule.
            .with_allow_http(true)
            // One object a request: not every store has the bulk one, and we remove single objects.
            .with_disable_bulk_delete(true)
            // `retry` tries again: it can be cancelled and says what it does.
            .with_retry(RetryConfig {
                max_retries: 0,
                retry_timeout: Duration::ZERO,
                backoff: BackoffConfig::default(),
            });
        if let Some(given) = &config.endpoint {
            builder = builder.with_endpoint(match (config.path_style, given.url().host_str()) {
                (true, _) | (_, None) => endpoint,
                (false, Some(host)) => endpoint.replacen(host, &format!("{name}.{host}"), 1),
            });
        }
        if config.checksum == Wanted::Sha256 {
            builder = builder.with_checksum_algorithm(Checksum::SHA256);
        }
        builder = match (&config.credentials, config.anonymous) {
            (_, true) => builder.with_skip_signature(true),
            (Some(keys), false) => {
                let builder = builder
                    .with_access_key_id(&keys.access_key_id)
                    .with_secret_access_key(keys.secret_access_key.expose());
                match &keys.session_token {
                    Some(token) => builder.with_token(token.expose()),
                    None => builder,
                }
            }
            (None, false) if config.endpoint.is_some() && config.ambient.is_empty() => {
                return Err(wrong(format!(
                    "there are no keys for {}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
                     {section}.access-key-id and {section}.secret-access-key in transcode.toml, or \
                     {section}.anonymous = true for a public bucket",
                    config.endpoint.as_ref().map_or("AWS", |endpoint| endpoint.as_str())
                )));
            }
            // A machine of AWS's own tells its keys itself.
            (None, false) => config.ambient.iter().fold(builder, |builder, (name, value)| {
                match name.parse::<AmazonS3ConfigKey>() {
                    Ok(key) => builder.with_config(key, value),
                    Err(_) => builder,
                }
            }),
        };
        let built = |builder: AmazonS3Builder| {
            builder.build().map_err(|error| wrong(super::client::innermost(&error)))
        };
        let uploads = built(builder.clone().with_retry(RetryConfig {
            max_retries: 1_000,
            retry_timeout: config.retry_time,
            backoff: BackoffConfig::default(),
        }))?;
        let store = built(builder)?;
        Ok(Self { name: name.to_owned(), store, uploads, config: config.clone(), once: AtomicU8::new(0) })
    }

    /// Fetch the keys, where they have to be fetched, so that a machine without any says so.
    ///
    /// # Errors
    /// Why there are none, and what to do.
    pub(super) async fn keys(&self) -> Result<(), Failure<String>> {
        if self.config.anonymous || self.config.credentials.is_some() {
            return Ok(());
        }
        let wait = self.config.request_timeout;
        let why = match tokio::time::timeout(wait, self.store.credentials().get_credential()).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => super::client::innermost(&error),
            Err(_) => "no answer in time".to_owned(),
        };
        Err(Failure::Final(format!(
            "no keys are set, and this machine has none of its own ({why}); set AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY"
        )))
    }

    /// What is known about creating once.
    pub(super) fn once(&self) -> Once {
        match self.once.load(Ordering::Relaxed) {
            1 => Once::Honoured,
            2 => Once::Ignored,
            _ => Once::Unknown,
        }
    }

    /// Remember that If-None-Match is honoured.
    pub(super) fn honours(&self) {
        self.once.store(1, Ordering::Relaxed);
    }

    /// Remember that it is not, and say so, once for each bucket.
    pub(super) fn ignores(&self, how: &str) {
        if self.once.swap(2, Ordering::Relaxed) != 2 {
            log::warn!(
                "s3://{}: this store {how}; objects are looked up before they are made, and two jobs that make \
                 the same one at the same moment will both believe that it was theirs",
                self.name
            );
        }
    }
}

/// The path of an object; keys with empty parts, `.` or `..` cannot be asked for.
pub(super) fn path(key: &str) -> Result<Path, String> {
    Path::parse(key).ok().filter(|path| path.as_ref() == key).ok_or_else(|| {
        "a key with empty parts, `.`, `..` or control characters cannot be asked for".to_owned()
    })
}

/// An error of `object_store`, told apart.
pub(super) fn failed<T>(result: object_store::Result<T>) -> Result<T, Failure<Told>> {
    result.map_err(|error| told(&error))
}

/// `work`, or a passing failure where the store stays silent for `silence`.
pub(super) async fn within<T>(silence: Duration, work: impl Future<Output = T>) -> Result<T, Failure<Told>> {
    tokio::time::timeout(silence, work)
        .await
        .map_err(|_| Failure::passing(format!("no answer within {:.0} s", silence.as_secs_f64())))
}
