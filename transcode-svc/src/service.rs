//! A service put together: queue, ledger, stores and workers, as the configuration says.
//!
//! Owns which queue and ledger a URL stands for, what goes with what where nothing is said, and what runs beside the
//! workers: the sweep for jobs that nobody put into the queue, and systemd's notices. Knows no HTTP.
//!
//! | `queue.url` | queue | ledger, unless `ledger.url` says another |
//! |---|---|---|
//! | nothing, or `sqlite:PATH` | a table in `transcode.sqlite` | the same file |
//! | `redis://…`, `rediss://…` | lists in Redis | the same server |
//! | `https://sqs.…` | SQS | small objects in the store |

use crate::child;
use crate::config::{Config, Secret, Service as Settings};
use crate::database::Database;
use crate::dispatch::Dispatch;
use crate::events::Hub;
use crate::guard::{Allow, Guard};
use crate::http;
use crate::job::Rules;
use crate::ledger::{Ledger, Policy, Records, SqliteRecords};
use crate::machine;
use crate::metrics::Metrics;
use crate::queue::{Queue, SqliteQueue};
use crate::store::Stores;
use crate::time::{Clock, SystemClock};
use crate::webhook::{self, Counts, Sender};
use crate::words::chain;
use crate::worker::{self, Kit, Stop, Worker, host};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use transcode_core::{Cancel, Error};

/// How often it is looked for jobs that stand in no queue.
const SWEEP: Duration = Duration::from_secs(30);

/// Everything that `serve` and `worker` have in common.
pub struct Service {
    /// What the workers share.
    pub kit: Kit,
    /// How jobs of others are read.
    pub rules: Rules,
    /// Queue and ledger in words, without credentials.
    pub backend: String,
    settings: Settings,
    poll: Duration,
}

/// A queue and a ledger, opened.
struct Backend {
    queue: Arc<dyn Queue>,
    ledger: Ledger,
    shown: String,
    /// How long a look at the queue waits: a queue on the spot can be asked often.
    poll: Duration,
}

impl Service {
    /// Open what the configuration names. `store` is where keys without an address are.
    ///
    /// # Errors
    /// [`Error::Config`] with the key; [`Error::Sink`] where a server does not answer.
    pub fn open(config: &Config, store: Option<String>, child: child::Settings) -> Result<Self, Error> {
        let settings = config.service.clone();
        let rules = Rules {
            bucket: settings.get("jobs.bucket").map(ToOwned::to_owned),
            webhook_url: settings.get("webhook.url").map(ToOwned::to_owned),
            objects: settings.rules.clone(),
        };
        rules.check().map_err(|reason| Error::Config { what: "rule".to_owned(), reason })?;
        let stores = Arc::new(Stores::new(config)?.guarded(guard(&config.source_allow, "source.allow")?));
        let Backend { queue, ledger, shown, poll } = Backend::open(config, store.as_deref(), &stores)?;
        let dispatch = Dispatch::new(queue, ledger, rules.clone());
        let (hub, metrics) = (Hub::default(), Metrics::new());
        // A graph may not take what the worker beside it and the system need.
        let child = child.for_service(machine::memory().map(|memory| memory / 4 * 3));
        let kit = Kit { dispatch, stores, store, child, hub, metrics };
        Ok(Self { kit, rules, backend: shown, settings, poll })
    }

    /// Have `count` workers work until `stop` says otherwise. `alone`: this process is the only one that uses this data,
    /// so whoever had the workers' names before is dead, and its jobs are gone on with at once.
    ///
    /// # Errors
    /// [`Error::Config`] where a setting cannot be.
    pub fn work(&self, count: usize, alone: bool, stop: &Stop) -> Result<(), Error> {
        let own =
            if alone { format!("{}-serve", host()) } else { format!("{}-{}", host(), std::process::id()) };
        let base = self.settings.get("worker.name").map_or(own, ToOwned::to_owned);
        let jobs = self.settings.number("worker.jobs")?;
        let lease = self.settings.period("worker.lease")?;
        let workers: Vec<Worker> = (1..=count)
            .map(|number| {
                let name = if count == 1 { base.clone() } else { format!("{base}-{number}") };
                let settings = worker::Settings {
                    name,
                    lease,
                    poll: self.poll,
                    platforms: self.settings.list("worker.platform"),
                    jobs,
                    base_url: self.settings.get("jobs.base-url").map(ToOwned::to_owned),
                };
                Worker::new(self.kit.clone(), settings)
            })
            .collect();
        if alone {
            for worker in &workers {
                match self.kit.dispatch.orphaned(worker.name()) {
                    Ok(0) => {}
                    Ok(count) => log::info!("{count} jobs of the process before this one are gone on with"),
                    Err(error) => log::warn!("jobs of the process before this one: {}", chain(&error)),
                }
            }
        }
        std::thread::scope(|scope| {
            for worker in &workers {
                scope.spawn(|| worker.run(stop));
            }
        });
        Ok(())
    }

    /// What sends webhooks.
    ///
    /// # Errors
    /// [`Error::Config`] for a secret or an address that cannot be.
    pub fn sender(&self) -> Result<Sender, Error> {
        let guard = guard(&self.settings.list("webhook.allow"), "webhook.allow")?;
        Sender::new(&webhook::Settings {
            secrets: self.settings.list("webhook.secret").iter().map(Secret::new).collect(),
            timeout: self.settings.period("webhook.timeout")?,
            ..webhook::Settings::new(guard)
        })
    }

    /// How the API behaves; `hls_js` is the player page's library.
    ///
    /// # Errors
    /// [`Error::Config`] with the key.
    pub fn api_settings(&self, hls_js: Option<String>) -> Result<http::Settings, Error> {
        let settings = &self.settings;
        let secret = match settings.get("api.play-secret") {
            None => http::Secret::random(),
            Some(text) => {
                http::Secret::new(text.as_bytes()).map_err(|reason| unusable("api.play-secret", reason))?
            }
        };
        let lifetime = settings.period("api.play-lifetime")?;
        let public = settings.get("api.play") == Some("public");
        let rate = settings.number("api.rate")?.filter(|rate| *rate > 0);
        Ok(http::Settings {
            auth: if settings.get("api.auth") == Some("none") {
                http::Auth::None
            } else {
                http::Auth::Tokens
            },
            tokens: settings.tokens.clone(),
            rate: rate.map(|per_second| http::Rate { per_second, burst: per_second.saturating_mul(10) }),
            origins: settings.list("api.origins"),
            play: if public { http::Play::Public } else { http::Play::Signed { secret, lifetime } },
            base_url: settings.get("api.base-url").map(ToOwned::to_owned),
            hls_js: hls_js.map(Into::into),
            ..http::Settings::default()
        })
    }

    /// What the API speaks for; none where there is no store.
    pub fn api_parts(&self) -> Option<http::Parts> {
        let kit = &self.kit;
        Some(http::Parts {
            dispatch: kit.dispatch.clone(),
            rules: Arc::new(self.rules.clone()),
            hub: kit.hub.clone(),
            metrics: kit.metrics.clone(),
            objects: Arc::new(http::Objects::new(kit.stores.clone(), kit.store.as_deref()?)),
        })
    }

    /// Put forgotten jobs into the queue, and count webhooks, until `over`.
    pub fn sweep(&self, sender: &Sender, over: &Cancel) {
        let mut before = Counts::default();
        loop {
            let now = sender.counts();
            let metrics = &self.kit.metrics;
            (before.delivered..now.delivered).for_each(|_| metrics.webhook("delivered"));
            (before.failed..now.failed).for_each(|_| metrics.webhook("failed"));
            (before.given_up..now.given_up).for_each(|_| metrics.webhook("given-up"));
            before = now;
            match self.kit.dispatch.sweep() {
                Ok(0) => {}
                Ok(count) => log::info!("{count} jobs stood in no queue and were put there"),
                Err(error) => log::debug!("the sweep for forgotten jobs: {}", chain(&error)),
            }
            if over.sleep(SWEEP) {
                return;
            }
        }
    }
}

impl Backend {
    fn open(config: &Config, store: Option<&str>, stores: &Stores) -> Result<Self, Error> {
        let settings = &config.service;
        let policy = Policy {
            failures: settings.number("worker.retries")?.map_or(3, |count| count.max(1) as usize),
            deaths: settings.number("worker.deaths")?.map_or(3, |count| count.max(1) as usize),
            ..Policy::default()
        };
        let default = format!("sqlite:{}", settings.data().join("transcode.sqlite").display());
        let url = settings.get("queue.url").unwrap_or(&default);
        let poll = settings.period("queue.poll")?;
        let own_poll = Duration::from_secs(2).min(poll);
        let kind = Kind::of(url, "queue.url")?;
        let beside = match (settings.get("ledger.url"), &kind) {
            (Some(url), _) => url.to_owned(),
            (None, Kind::Sqs) => match store {
                Some(store) if store.starts_with("s3://") => {
                    format!("{}/transcode/ledger", store.trim_end_matches('/'))
                }
                _ => {
                    return Err(Error::Config {
                        what: "ledger.url".to_owned(),
                        reason: "an SQS queue needs a ledger: set service.store = \"s3://bucket\", whose objects it \
                                 then is, or name one (s3://bucket/prefix, redis://…, sqlite:PATH)"
                            .to_owned(),
                    });
                }
            },
            (None, _) => url.to_owned(),
        };
        let opened = Opened::new(url, &beside)?;
        let (queue, clock) = opened.queue(settings, kind, url)?;
        let records = opened.records(stores, &beside)?;
        let ledger = Ledger::new(records, clock, policy);
        let shown = format!("queue {}, ledger {}", shown(url), shown(&beside));
        let poll = if matches!(Kind::of(url, "queue.url")?, Kind::Sqs) { poll } else { own_poll };
        Ok(Self { queue, ledger, shown, poll })
    }
}

fn guard(allow: &[String], setting: &'static str) -> Result<Guard, Error> {
    let allow = Allow::new(allow).map_err(|reason| unusable(setting, reason))?;
    Ok(Guard::new(allow, setting))
}

/// What a URL stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Redis,
    Sqs,
    Objects,
}

impl Kind {
    fn of(url: &str, key: &str) -> Result<Self, Error> {
        match url.split_once(':') {
            Some(("sqlite", _)) => Ok(Self::Sqlite),
            Some(("redis" | "rediss", _)) => Ok(Self::Redis),
            Some(("http" | "https", _)) if key == "queue.url" => Ok(Self::Sqs),
            Some(("s3", _)) if key == "ledger.url" => Ok(Self::Objects),
            _ => Err(Error::Config {
                what: key.to_owned(),
                reason: format!(
                    "this is not known; allowed are sqlite:PATH, redis://host:6379, rediss://…, and {}",
                    if key == "queue.url" {
                        "the https:// URL of an SQS queue"
                    } else {
                        "s3://bucket/prefix"
                    }
                ),
            }),
        }
    }
}

/// A queue, and whose time it goes by.
type Timed = (Arc<dyn Queue>, Arc<dyn Clock>);

/// Servers and files that queue and ledger may share.
struct Opened {
    database: Option<(PathBuf, Arc<Database>)>,
    #[cfg(feature = "redis")]
    redis: Option<(String, Arc<crate::broker::Redis>)>,
}

fn unusable(key: &str, reason: impl Into<String>) -> Error {
    Error::Config { what: key.to_owned(), reason: reason.into() }
}

impl Opened {
    fn new(queue: &str, ledger: &str) -> Result<Self, Error> {
        let mut opened = Self {
            database: None,
            #[cfg(feature = "redis")]
            redis: None,
        };
        for (url, key) in [(queue, "queue.url"), (ledger, "ledger.url")] {
            match Kind::of(url, key)? {
                Kind::Sqlite if opened.database.is_none() => {
                    let path = PathBuf::from(url.trim_start_matches("sqlite:").trim_start_matches("//"));
                    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                        std::fs::create_dir_all(parent)
                            .map_err(|error| unusable(key, format!("{}: {error}", parent.display())))?;
                    }
                    let database = Database::open(&path).map_err(|error| unusable(key, chain(&error)))?;
                    opened.database = Some((path, Arc::new(database)));
                }
                #[cfg(feature = "redis")]
                Kind::Redis if opened.redis.is_none() => {
                    let redis = crate::broker::Redis::new(url).map_err(|reason| unusable(key, reason))?;
                    match redis.weaknesses() {
                        Ok(weak) => weak.iter().for_each(|text| log::warn!("{}: {text}", redis.name())),
                        Err(error) => log::warn!("{} does not answer yet: {error}", redis.name()),
                    }
                    opened.redis = Some((url.to_owned(), Arc::new(redis)));
                }
                _ => {}
            }
        }
        Ok(opened)
    }

    fn queue(&self, settings: &Settings, kind: Kind, url: &str) -> Result<Timed, Error> {
        let system: Arc<dyn Clock> = Arc::new(SystemClock);
        match (kind, &self.database) {
            (Kind::Sqlite, Some((_, database))) => {
                if settings.get("queue.name").is_some() {
                    log::warn!("queue.name: a queue in SQLite has one name only; this is of no effect");
                }
                Ok((Arc::new(SqliteQueue::new(database.clone(), system.clone())), system))
            }
            #[cfg(feature = "redis")]
            (Kind::Redis, _) => {
                use crate::queue::{Lines, RedisQueue};
                let Some((_, redis)) = &self.redis else { return Err(unusable("queue.url", "no Redis")) };
                let lines = settings
                    .get("queue.name")
                    .map_or_else(Lines::default, |name| Lines::One(name.to_owned()));
                Ok((Arc::new(RedisQueue::new(redis.clone(), redis.clone(), lines)), redis.clone()))
            }
            #[cfg(feature = "sqs")]
            (Kind::Sqs, _) => {
                let queue = crate::queue::SqsQueue::new(sqs(settings, url)?)
                    .map_err(|error| unusable("queue.url", chain(&error)))?;
                match queue.weaknesses() {
                    Ok(weak) => weak.iter().for_each(|text| log::warn!("{text}")),
                    Err(error) => log::warn!("{}", chain(&error)),
                }
                Ok((Arc::new(queue), system))
            }
            _ => Err(unusable(
                "queue.url",
                format!("{} cannot be used: this program was built without it", shown(url)),
            )),
        }
    }

    fn records(&self, stores: &Stores, url: &str) -> Result<Arc<dyn Records>, Error> {
        match Kind::of(url, "ledger.url").unwrap_or(Kind::Sqs) {
            Kind::Sqlite => match &self.database {
                Some((_, database)) => Ok(Arc::new(SqliteRecords::new(database.clone()))),
                None => Err(unusable("ledger.url", "no database")),
            },
            #[cfg(feature = "redis")]
            Kind::Redis => match &self.redis {
                Some((_, redis)) => Ok(Arc::new(crate::ledger::RedisRecords::new(redis.clone()))),
                None => Err(unusable("ledger.url", "no Redis")),
            },
            Kind::Objects => {
                let records = crate::ledger::ObjectRecords::open(stores, url)
                    .map_err(|error| unusable("ledger.url", chain(&error)))?;
                records.weaknesses().iter().for_each(|text| log::warn!("{text}"));
                Ok(Arc::new(records))
            }
            _ => Err(unusable(
                "ledger.url",
                format!("{} cannot be used: this program was built without it", shown(url)),
            )),
        }
    }
}

/// An SQS queue as configured: its keys are its own, the store may lie elsewhere.
#[cfg(feature = "sqs")]
fn sqs(settings: &Settings, url: &str) -> Result<crate::queue::SqsSettings, Error> {
    let plain = crate::queue::SqsSettings::new(url);
    Ok(crate::queue::SqsSettings {
        endpoint: settings.get("queue.endpoint").map(ToOwned::to_owned),
        region: settings.get("queue.region").map_or(plain.region.clone(), ToOwned::to_owned),
        credentials: settings.queue_credentials(),
        ambient: settings.ambient().clone(),
        siblings: settings.get("queue.name").is_none(),
        heartbeat: settings.flag("queue.heartbeat")?,
        allow_http: settings.flag("queue.allow-http")?,
        poll: settings.period("queue.poll")?,
        ..plain
    })
}

/// An address without user and password.
fn shown(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut parsed) if parsed.has_host() => {
            let _no_host = parsed.set_username("").and_then(|()| parsed.set_password(None));
            parsed.to_string()
        }
        _ => url.to_owned(),
    }
}
