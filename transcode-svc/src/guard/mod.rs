//! The guard: where a request may go whose address came from outside.
//!
//! Owns the answer for webhooks, for `https://` sources of jobs and for S3 endpoints that a job names:
//! whoever may send a job must not be able to make this machine ask its own network, its neighbours or a cloud's
//! metadata service. Knows no HTTP but the way in which [`reqwest`] asks for addresses. No clock.
//!
//! # How it holds
//! - An address that stands in a URL is looked at by [`Guard::check`], before the request and at each redirect.
//! - A name is looked up by the client's own resolver ([`Guard::protect`]), which keeps to itself the addresses
//!   that are refused. The connection goes to an address that was looked at: a name that changes its mind
//!   between the look and the connection (DNS rebinding) gains nothing.
//! - There is no proxy between: it would look names up by itself.
//!
//! What has to be reached all the same is written down: [`Allow`].

mod allow;
mod range;
#[cfg(test)]
mod tests;

pub use allow::Allow;
pub use range::refused_because;

use reqwest::ClientBuilder;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use url::{Host, Url};

/// Looks names up; blocks.
pub trait Names: Send + Sync {
    /// Every address that `host` has now.
    ///
    /// # Errors
    /// What the system says where it finds none.
    fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The names that this machine knows: its `hosts` file and its DNS servers.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemNames;

impl Names for SystemNames {
    fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
    }
}

/// Decides where requests may go; clones are one guard.
#[derive(Clone)]
pub struct Guard {
    allow: Arc<Allow>,
    setting: &'static str,
    names: Arc<dyn Names>,
}

/// An address that is not let through, for whoever has to act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.told())]
pub struct Refused {
    /// The name that leads there; `None` where the address was given as such.
    pub host: Option<String>,
    /// The address.
    pub address: IpAddr,
    /// What it is: `a private address (RFC 1918)`.
    pub what: &'static str,
    /// The setting that lets it through: `webhook.allow`.
    pub setting: &'static str,
}

impl Refused {
    fn told(&self) -> String {
        let Self { host, address, what, setting } = self;
        let (way, or) = match host {
            Some(host) => (format!("{host} leads to {address}, "), format!(", or = [\"{host}\"]")),
            None => (format!("{address} is "), String::new()),
        };
        format!(
            "{way}{what}, where requests from outside may not lead; if this one may, set \
             {setting} = [\"{address}\"]{or}"
        )
    }

    /// The refusal that is the reason of `error`, if one is.
    pub fn find<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            // An I/O error does not name what it was made of as its source, but what that was made of.
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            let inner = inner.and_then(|inner| inner.downcast_ref::<Self>());
            if let Some(refused) = inner.or_else(|| error.downcast_ref::<Self>()) {
                return Some(refused);
            }
            next = error.source();
        }
        None
    }
}

impl Guard {
    /// A guard that lets the public Internet through, and what is in `allow`. `setting` is where a person writes
    /// that down: `webhook.allow`.
    pub fn new(allow: Allow, setting: &'static str) -> Self {
        Self { allow: Arc::new(allow), setting, names: Arc::new(SystemNames) }
    }

    /// The same, with names looked up by `names`.
    #[must_use]
    pub fn with_names(mut self, names: Arc<dyn Names>) -> Self {
        self.names = names;
        self
    }

    /// Whether a request may go to `url`, as far as the URL tells: a name's addresses are looked at when the
    /// client asks for them.
    ///
    /// # Errors
    /// The address, and what would let it through.
    pub fn check(&self, url: &Url) -> Result<(), Refused> {
        match url.host() {
            Some(Host::Ipv4(address)) => self.look_at(None, address.into()),
            Some(Host::Ipv6(address)) => self.look_at(None, address.into()),
            // Without a host there is nothing to connect to.
            Some(Host::Domain(_)) | None => Ok(()),
        }
    }

    /// The addresses of `host` that requests may go to; blocks. At least one.
    ///
    /// # Errors
    /// What the look-up says; [`Refused`] inside of it where there are only others.
    pub fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = self.names.addresses(host)?;
        let mut refused = None;
        let mut good = Vec::new();
        for address in found {
            match self.look_at(Some(host), address) {
                Ok(()) => good.push(address),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        match (good.is_empty(), refused) {
            (false, _) => Ok(good),
            (true, Some(refused)) => Err(io::Error::new(io::ErrorKind::PermissionDenied, refused)),
            (true, None) => Err(io::Error::new(io::ErrorKind::NotFound, "this name has no address")),
        }
    }

    /// Have a client ask this guard for the addresses of names, and no proxy. An address in a URL never
    /// comes by here: [`check`](Self::check) every URL, those of redirects too.
    pub fn protect(&self, builder: ClientBuilder) -> ClientBuilder {
        builder.no_proxy().dns_resolver(Resolver(self.clone()))
    }

    fn look_at(&self, host: Option<&str>, address: IpAddr) -> Result<(), Refused> {
        match refused_because(address) {
            Some(what) if !self.allow.lets_through(host, address) => {
                Err(Refused { host: host.map(str::to_owned), address, what, setting: self.setting })
            }
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard")
            .field("allow", &self.allow)
            .field("setting", &self.setting)
            .finish_non_exhaustive()
    }
}

/// The guard as [`reqwest`] asks for addresses.
struct Resolver(Guard);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.0.clone();
        Box::pin(async move {
            let looked = tokio::task::spawn_blocking(move || guard.look_up(name.as_str()));
            match looked.await? {
                // Port 0 stands for the URL's.
                Ok(found) => {
                    let found = found.into_iter().map(|address| SocketAddr::new(address, 0));
                    Ok(Box::new(found) as Addrs)
                }
                Err(error) => Err(error.into()),
            }
        })
    }
}
