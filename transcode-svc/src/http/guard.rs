//! Who comes in: tokens, rates, and pages of other origins.
//!
//! Owns every reason to turn a request away before its handler sees it. A token is compared in constant time,
//! and by its hash alone. Rates are counted by the monotonic clock.

use super::Shared;
use super::problem::Problem;
use super::settings::{Hash, Rate, Scope, Settings, Token};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use subtle::ConstantTimeEq as _;

/// What a route asks of who calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: pages without contents, health.
    Nothing,
    /// A token of that scope.
    Scope(Scope),
    /// The handler decides: signed addresses.
    Ticket,
}

/// So many clients are counted at the same time; those who have been silent are forgotten first.
const CLIENTS: usize = 10_000;

/// What is left to each client.
pub(super) struct Rates {
    rate: Option<Rate>,
    buckets: Mutex<HashMap<Client, (f64, Instant)>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Client {
    Token(String),
    Address(IpAddr),
}

impl Rates {
    pub(super) fn new(rate: Option<Rate>) -> Self {
        Self { rate, buckets: Mutex::default() }
    }

    /// Count a request; the seconds to wait where it is one too many.
    fn take(&self, client: Client, now: Instant) -> Result<(), u64> {
        let Some(rate) = self.rate else { return Ok(()) };
        let (full, pace) = (f64::from(rate.burst.max(1)), f64::from(rate.per_second.max(1)));
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= CLIENTS && !buckets.contains_key(&client) {
            let left = |(level, at): &(f64, Instant)| level + now.duration_since(*at).as_secs_f64() * pace;
            buckets.retain(|_, bucket| left(bucket) < full);
            if buckets.len() >= CLIENTS {
                return Err(1);
            }
        }
        let (level, at) = buckets.entry(client).or_insert((full, now));
        *level = (*level + now.duration_since(*at).as_secs_f64() * pace).min(full);
        *at = now;
        if *level < 1.0 {
            // Whole seconds, as Retry-After has them.
            return Err((((1.0 - *level) / pace).ceil() as u64).max(1));
        }
        *level -= 1.0;
        Ok(())
    }
}

/// Turn away who may not come in.
pub(super) async fn guard(
    State((api, needs)): State<(Shared, Needs)>,
    request: Request,
    next: Next,
) -> Response {
    match admitted(&api, needs, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn admitted(api: &Shared, needs: Needs, request: &Request) -> Result<(), Problem> {
    let settings = &api.settings;
    from_here(settings, request.method(), request.headers())?;
    if needs == Needs::Nothing {
        return Ok(());
    }
    let presented = bearer(request.headers());
    let token = presented.and_then(|text| known(settings, text));
    if let Needs::Scope(scope) = needs {
        let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let client = match token {
            Some(token) => Client::Token(token.name.clone()),
            None => Client::Address(network(address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)))),
        };
        api.rates.take(client, Instant::now()).map_err(|wait| {
            let detail = format!("this client sends too many requests; wait {wait} s");
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate", detail)
                .header(header::RETRY_AFTER, &wait.to_string())
        })?;
        allowed(settings, scope, presented, token)?;
    }
    Ok(())
}

/// Whether these headers hold a token of that scope, or none is needed.
pub(super) fn may(settings: &Settings, scope: Scope, headers: &HeaderMap) -> Result<(), Problem> {
    let presented = bearer(headers);
    allowed(settings, scope, presented, presented.and_then(|text| known(settings, text)))
}

fn allowed(
    settings: &Settings,
    scope: Scope,
    presented: Option<&str>,
    token: Option<&Token>,
) -> Result<(), Problem> {
    if settings.open() {
        return Ok(());
    }
    let name = scope.name();
    match token {
        Some(token) if token.may(scope) => Ok(()),
        Some(token) => {
            let detail = format!("the token `{}` has not the scope `{name}`", token.name);
            let challenge =
                format!("Bearer realm=\"transcode\", error=\"insufficient_scope\", scope=\"{name}\"");
            Err(Problem::new(StatusCode::FORBIDDEN, "scope", detail)
                .header(header::WWW_AUTHENTICATE, &challenge))
        }
        None => {
            let (detail, error) = match presented {
                Some(_) => ("this token is not known here", ", error=\"invalid_token\""),
                None => ("send a token: Authorization: Bearer …", ""),
            };
            Err(Problem::new(StatusCode::UNAUTHORIZED, "token", detail)
                .header(header::WWW_AUTHENTICATE, &format!("Bearer realm=\"transcode\"{error}")))
        }
    }
}

/// The token that was sent (RFC 6750 §2.1); never in the address, which ends up in logs.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, text) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| text.trim())
}

/// The token of that text. All are looked at, whichever fits.
fn known<'a>(settings: &'a Settings, text: &str) -> Option<&'a Token> {
    let hash = Hash::of(text);
    settings.tokens.iter().fold(None, |found, token| {
        if bool::from(token.sha256.0.ct_eq(&hash.0)) { Some(token) } else { found }
    })
}

/// Browsers send requests for whatever page is open. What changes something may come from our own pages and from the
/// configured origins only; and where no token protects us, a name that is not ours in `Host` is a page
/// that had its own name lead here.
fn from_here(settings: &Settings, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    let ours = settings.base_url.as_deref().and_then(|url| url::Url::parse(url).ok());
    if settings.local_only() {
        let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        let name = name.map_or(host, |(name, _)| name);
        let own = ours.as_ref().and_then(|url| url.host_str()) == Some(name);
        let address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        if !(name.is_empty() || address || name == "localhost" || name.ends_with(".localhost") || own) {
            let detail = format!(
                "without tokens this server answers at addresses of this machine only, not as `{}`",
                name.chars().take(80).collect::<String>().escape_debug()
            );
            return Err(Problem::new(StatusCode::FORBIDDEN, "origin", detail));
        }
    }
    if method.is_safe() {
        return Ok(());
    }
    let Some(origin) = text(header::ORIGIN) else { return Ok(()) };
    let same = url::Url::parse(origin).is_ok_and(|url| {
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        url.host_str().is_some_and(|name| format!("{name}{port}") == host)
            || ours.as_ref().is_some_and(|ours| ours.origin() == url.origin())
    });
    if same || settings.origins.iter().any(|known| known == origin) {
        return Ok(());
    }
    let detail = "pages of this origin may not change anything here; add it to the origins where they shall";
    Err(Problem::new(StatusCode::FORBIDDEN, "origin", detail))
}

/// The client behind an address: a household has many of IPv6, in one /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => match six.to_ipv4_mapped() {
            Some(four) => IpAddr::V4(four),
            None => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_client_has_a_burst_and_then_its_pace_and_others_are_not_in_its_way() {
        let rates = Rates::new(Some(Rate { per_second: 2, burst: 3 }));
        let client = |last| Client::Address(IpAddr::from([10, 0, 0, last]));
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(rates.take(client(1), start), Ok(()));
        }
        assert_eq!(rates.take(client(1), start), Err(1));
        assert_eq!(rates.take(client(2), start), Ok(()));
        assert_eq!(rates.take(client(1), start + Duration::from_millis(500)), Ok(()));
        assert_eq!(rates.take(client(1), start + Duration::from_millis(500)), Err(1));
        assert_eq!(Rates::new(None).take(client(1), start), Ok(()));
    }

    #[test]
    fn one_household_is_one_client() {
        let of = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2::9"));
        assert_ne!(of("2001:db8:1:2::9"), of("2001:db8:1:3::9"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
