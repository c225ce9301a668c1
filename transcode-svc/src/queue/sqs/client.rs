//! The client under the SQS queue: its runtime, its keys, and what SQS says when it says no.
//!
//! Owns the connection settings and the translation of refusals; knows no messages. A call blocks its
//! thread and waits on the runtime's; none may be made from a task of an async runtime.

use super::SqsSettings;
use crate::config::is_loopback;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{BehaviorVersion, IdentityCache, Region, StalledStreamProtectionConfig};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredentialProvider};
use std::error::Error as StdError;
use std::fmt::Debug;
use std::time::{Duration, SystemTime};
use tokio::runtime::Runtime;
use url::Url;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long an answer may take: a long poll, and some.
const ANSWER: Duration = Duration::from_secs(35);

/// The client and the thread that waits for the network.
pub(super) struct Api {
    /// Builds requests; nothing is sent before [`call`](Self::call).
    pub(super) client: Client,
    runtime: Option<Runtime>,
}

impl Api {
    /// A client as `settings` say; asks nothing yet.
    pub(super) fn new(settings: &SqsSettings) -> Result<Self, String> {
        let url = Url::parse(&settings.queue_url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or("this is no queue URL; write it like https://sqs.eu-central-1.amazonaws.com/123456789012/jobs")?;
        let endpoint = match &settings.endpoint {
            Some(endpoint) => {
                Url::parse(endpoint).map_err(|error| format!("its endpoint is no URL: {error}"))?
            }
            None => url.join("/").map_err(|error| format!("its URL names no server: {error}"))?,
        };
        if endpoint.scheme() == "http" && !is_loopback(&endpoint) && !settings.allow_http {
            return Err(
                "plain HTTP beyond this machine has to be allowed; write https:// or allow HTTP".to_owned()
            );
        }
        // Keys of a machine's own are fetched with the program's TLS.
        let _chosen = rustls::crypto::ring::default_provider().install_default();
        let local = is_loopback(&endpoint);
        let http = Builder::new().build_with_connector_fn(move |settings, _| {
            let proxy = if local { ProxyConfig::disabled() } else { ProxyConfig::from_env() };
            let mut builder = Connector::builder().proxy_config(proxy);
            builder.set_connector_settings(settings.cloned());
            builder.tls_provider(Provider::Rustls(CryptoMode::Ring)).build()
        });
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(ANSWER).build();
        let told = region_of(&url);
        let ours = settings.endpoint.is_some() || told.is_none();
        let region = told.unwrap_or_else(|| settings.region.clone());
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http)
            .endpoint_url(endpoint.as_str())
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            // A long poll is silent for longer than this would let through.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        let config = match &settings.credentials {
            Some(keys) => {
                let token = keys.session_token.as_ref().map(|token| token.expose().to_owned());
                let secret = keys.secret_access_key.expose();
                config.credentials_provider(Credentials::new(
                    &keys.access_key_id,
                    secret,
                    token,
                    None,
                    "settings",
                ))
            }
            // Only AWS' own machines tell keys, and only AWS takes them.
            None if ours && settings.ambient.is_empty() => {
                return Err(
                    "there are no keys for it; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".to_owned()
                );
            }
            None => config
                .credentials_provider(Ambient::new(&region, settings)?)
                // The provider below has a cache of its own, which knows when keys end.
                .identity_cache(IdentityCache::no_cache()),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(2)
            .thread_name("sqs")
            .enable_all()
            .build()
            .map_err(|error| format!("its network thread cannot be started: {error}"))?;
        let client = Client::from_conf(config.region(Region::new(region)).build());
        Ok(Self { client, runtime: Some(runtime) })
    }

    /// Wait for a request.
    pub(super) fn call<T, E, R>(
        &self,
        sent: impl Future<Output = Result<T, SdkError<E, R>>>,
    ) -> Result<T, Refusal>
    where
        E: ProvideErrorMetadata + StdError + 'static,
        R: Debug,
    {
        match &self.runtime {
            Some(runtime) => runtime.block_on(sent).map_err(|error| Refusal::of(&error)),
            // It is taken only when this value ends.
            None => Err(Refusal { code: String::new(), text: "the queue was closed".to_owned() }),
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not waiting: a name look-up cannot be ended.
            runtime.shutdown_background();
        }
    }
}

/// The region that a queue's URL names: that is the one to sign for, whatever else is set.
fn region_of(url: &Url) -> Option<String> {
    let mut labels = url.host_str()?.split('.');
    let region = match (labels.next()?, labels.next()?) {
        ("sqs" | "sqs-fips", region) => region,
        (region, "queue") => region,
        _ => return None,
    };
    url.host_str()?.contains(".amazonaws.").then(|| region.to_owned())
}

/// The machine's own keys, as `object_store` finds them: web identity, container, instance.
#[derive(Debug)]
struct Ambient(AwsCredentialProvider);

impl Ambient {
    fn new(region: &str, settings: &SqsSettings) -> Result<Self, String> {
        // A bucket is never asked: only the builder knows the way to the keys.
        let builder = AmazonS3Builder::new().with_region(region).with_bucket_name("none");
        let builder = settings.ambient.iter().fold(builder, |builder, (name, value)| match name
            .parse::<AmazonS3ConfigKey>(
        ) {
            Ok(key) => builder.with_config(key, value),
            Err(_) => builder,
        });
        let store = builder.build().map_err(|error| format!("its keys: {error}"))?;
        Ok(Self(store.credentials().clone()))
    }
}

impl ProvideCredentials for Ambient {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let keys = self.0.get_credential().await.map_err(CredentialsError::provider_error)?;
            let soon = SystemTime::now() + Duration::from_secs(60);
            let (id, secret) = (keys.key_id.clone(), keys.secret_key.clone());
            Ok(Credentials::new(id, secret, keys.token.clone(), Some(soon), "machine"))
        })
    }
}

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct Refusal {
    /// SQS' own code; empty where no answer came.
    code: String,
    text: String,
}

impl Refusal {
    fn of<E, R>(error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
        R: Debug,
    {
        let code = error.code().unwrap_or_default().to_owned();
        let text = match error.message() {
            Some(message) => format!("{code}: {message}"),
            None if !code.is_empty() => code.clone(),
            None => {
                let mut deepest: &(dyn StdError + 'static) = match error {
                    SdkError::TimeoutError(_) => return Self { code, text: "no answer in time".to_owned() },
                    SdkError::DispatchFailure(failure) => match failure.as_connector_error() {
                        Some(error) => error,
                        None => return Self { code, text: "the request could not be sent".to_owned() },
                    },
                    SdkError::ServiceError(answer) => answer.err(),
                    _ => return Self { code, text: "the answer cannot be read".to_owned() },
                };
                while let Some(source) = deepest.source() {
                    deepest = source;
                }
                deepest.to_string()
            }
        };
        Self { code, text }
    }

    /// The receipt is old: another one has the message, or it is gone.
    pub(super) fn is_stale(&self) -> bool {
        let code = |name: &str| self.code.ends_with(name);
        code("ReceiptHandleIsInvalid")
            || code("MessageNotInflight")
            // What AWS says of a message that is not in these hands any more.
            || (code("InvalidParameterValue") && self.text.contains("not available for visibility timeout change"))
    }

    /// There is no such queue.
    pub(super) fn is_absent(&self) -> bool {
        ["QueueDoesNotExist", "NonExistentQueue"].iter().any(|code| self.code.ends_with(code))
    }

    /// These keys may not do it.
    pub(super) fn is_forbidden(&self) -> bool {
        ["AccessDenied", "AccessDeniedException", "AuthorizationError"]
            .iter()
            .any(|code| self.code.ends_with(code))
    }

    /// What a person can do about it; `None` where it may pass by itself.
    pub(super) fn advice(&self) -> Option<&'static str> {
        match self.code.rsplit(['.', '#']).next().unwrap_or_default() {
            "QueueDoesNotExist" | "NonExistentQueue" | "InvalidAddress" => {
                Some("make it, or look at its URL and its region")
            }
            "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "MissingAuthenticationToken"
            | "InvalidAccessKeyId" => Some("look at the access key: SQS does not know it"),
            "SignatureDoesNotMatch" | "InvalidSecurity" => {
                Some("look at the secret access key and the region")
            }
            "ExpiredToken" | "ExpiredTokenException" => Some("the session token is too old; get new keys"),
            _ if self.is_forbidden() => Some(
                "let these keys ReceiveMessage, DeleteMessage, ChangeMessageVisibility, SendMessage and \
                 GetQueueAttributes",
            ),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queues_own_url_tells_the_region() {
        let region = |url: &str| region_of(&Url::parse(url).expect("a URL"));
        let some = |region: &str| Some(region.to_owned());
        assert_eq!(region("https://sqs.eu-central-1.amazonaws.com/123456789012/jobs"), some("eu-central-1"));
        assert_eq!(region("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/jobs"), some("cn-north-1"));
        assert_eq!(region("https://eu-west-1.queue.amazonaws.com/123456789012/jobs"), some("eu-west-1"));
        assert_eq!(region("http://127.0.0.1:9324/000000000000/jobs"), None);
        assert_eq!(region("https://sqs.example.org/jobs"), None);
    }
}
