//! What an operator decides about the API: who may do what, how much, from where.
//!
//! Owns the limits and the rule that nothing listens to a network without a token unless that was written
//! down. Sizes are bytes.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How the API behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether clients need a token.
    pub auth: Auth,
    /// The tokens that are known.
    pub tokens: Vec<Token>,
    /// The largest body but for uploads.
    pub json_limit: usize,
    /// The largest upload.
    pub upload_limit: u64,
    /// How many requests a client may send; `None`: as many as it likes.
    pub rate: Option<Rate>,
    /// Origins (`https://club.example.org`) whose pages may call the API; none unless written down.
    pub origins: Vec<String>,
    /// Who may watch.
    pub play: Play,
    /// Where clients reach this server (`https://transcode.example.org`); with it, addresses in answers are
    /// whole ones.
    pub base_url: Option<String>,
    /// How many connections may watch events at the same time.
    pub watchers: usize,
    /// The text of hls.js for the player page; without it the page plays where the browser itself can.
    pub hls_js: Option<Arc<str>>,
}

impl Default for Settings {
    /// For one machine: no token, loopback only.
    fn default() -> Self {
        Self {
            auth: Auth::Tokens,
            tokens: Vec::new(),
            json_limit: 1 << 20,
            // S3's largest object, and more than a camera's card holds.
            upload_limit: 5 << 40,
            rate: Some(Rate { per_second: 100, burst: 1_000 }),
            origins: Vec::new(),
            play: Play::Signed { secret: Secret::random(), lifetime: Duration::from_secs(12 * 3_600) },
            base_url: None,
            watchers: 64,
            hls_js: None,
        }
    }
}

impl Settings {
    /// Whether one may listen at `address` like this.
    ///
    /// # Errors
    /// What is missing, and what to do.
    pub fn check(&self, address: SocketAddr) -> Result<(), String> {
        if let Some(origin) = self.origins.iter().find(|origin| origin.parse::<Origin>().is_err()) {
            return Err(format!(
                "`{}` is no origin; write scheme and host, and the port where it is not the usual one: \
                 https://club.example.org",
                origin.escape_debug()
            ));
        }
        let twice = self.tokens.iter().enumerate().find(|(at, token)| {
            self.tokens[..*at].iter().any(|other| other.name == token.name || other.sha256 == token.sha256)
        });
        if let Some((_, token)) = twice {
            return Err(format!("the token `{}` is there twice, by its name or its hash", token.name));
        }
        if address.ip().is_loopback() || self.auth == Auth::None || !self.tokens.is_empty() {
            return Ok(());
        }
        Err(format!(
            "{address} can be reached by others, and no token is configured: whoever finds it could submit jobs and read \
             everything. Configure a token, listen on 127.0.0.1, or write auth = \"none\" where the network itself \
             keeps strangers out"
        ))
    }

    /// Whether everybody may do everything.
    pub(super) fn open(&self) -> bool {
        self.auth == Auth::None || self.tokens.is_empty()
    }

    /// Whether only programs of this machine are meant, and nobody said that others are welcome.
    pub(super) fn local_only(&self) -> bool {
        self.auth == Auth::Tokens && self.tokens.is_empty()
    }
}

/// Whether clients need a token. JSON and TOML: `"tokens"`, `"none"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// They do, where one is configured; where none is, only this machine's own programs are let in.
    #[default]
    Tokens,
    /// They do not: for producers that send none, in a network that keeps strangers out.
    None,
}

/// What a token is good for. JSON and TOML: lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// To upload, submit, cancel, try again and hurry jobs.
    Submit,
    /// To see jobs, workers, the queue, events and metrics, and to watch what was made.
    Read,
    /// All of this, and to revive dead letters and send webhooks again.
    Admin,
}

impl Scope {
    /// As configuration has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

/// A token, of which only the hash is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Whose it is; shown in the log.
    pub name: String,
    /// SHA-256 of the token's text. Tokens are random, so nothing slower is needed.
    pub sha256: Hash,
    /// What it is good for.
    pub scopes: Vec<Scope>,
}

impl Token {
    /// A new token of 256 random bits: its text, which is shown once, and what is kept.
    pub fn make(name: &str, scopes: &[Scope]) -> (String, Self) {
        let text = format!("tc_{}", hex(Secret::random().0.as_slice()));
        let token = Self { name: name.to_owned(), sha256: Hash::of(&text), scopes: scopes.to_vec() };
        (text, token)
    }

    /// Whether it is good for that.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }
}

/// A SHA-256. As text: 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hash(pub(super) [u8; 32]);

impl Hash {
    /// Of a token's text.
    pub fn of(text: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref());
        Self(hash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = from_hex(&text).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        bytes.map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "this is no SHA-256 ({} characters; wanted are 64 hexadecimal digits): it is made by \
                 `printf %s TOKEN | sha256sum`",
                text.chars().count()
            ))
        })
    }
}

/// Bytes that sign; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub(super) Vec<u8>);

impl Secret {
    /// From what is configured; 16 bytes at least.
    ///
    /// # Errors
    /// That it is too short.
    pub fn new(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() < 16 {
            return Err(format!("the secret has {} bytes; at least 16 are needed", bytes.len()));
        }
        Ok(Self(bytes.to_vec()))
    }

    /// 256 random bits. What they sign is not valid any more after the process has ended.
    pub fn random() -> Self {
        let mut bytes = vec![0; 32];
        // The system's source of randomness does not fail after it was seeded, which is long before this runs.
        if ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes).is_err() {
            log::error!("the system has no random numbers; nothing that was signed is accepted");
            bytes.clear();
        }
        Self(bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// How many requests a client may send: a client is a token, or an address without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rate {
    /// So many a second for as long as it likes.
    pub per_second: u32,
    /// So many at once.
    pub burst: u32,
}

/// Who may watch what was made.
#[derive(Debug, Clone)]
pub enum Play {
    /// Whoever has an address that was signed here, until it expires.
    Signed {
        /// Signs them.
        secret: Secret,
        /// How long an address is good.
        lifetime: Duration,
    },
    /// Everybody who knows the job's name.
    Public,
}

/// An origin, checked: `scheme://host[:port]` and nothing after it.
pub(super) struct Origin;

impl std::str::FromStr for Origin {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let url = url::Url::parse(text).map_err(|_| ())?;
        let fits = matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text;
        if fits { Ok(Self) } else { Err(()) }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_loopback_is_listened_at_without_a_token_unless_that_is_written() {
        let everywhere: SocketAddr = "0.0.0.0:8000".parse().expect("an address");
        let here: SocketAddr = "[::1]:8000".parse().expect("an address");
        let plain = Settings::default();
        assert!(plain.check(here).is_ok());
        let said = plain.check(everywhere).expect_err("no token");
        assert!(said.contains("auth = \"none\"") && said.contains("0.0.0.0:8000"), "{said}");
        assert!(Settings { auth: Auth::None, ..plain.clone() }.check(everywhere).is_ok());
        let (_, token) = Token::make("club", &[Scope::Read]);
        assert!(Settings { tokens: vec![token.clone()], ..plain.clone() }.check(everywhere).is_ok());
        let twice = Settings { tokens: vec![token.clone(), token], ..plain.clone() };
        assert!(twice.check(here).expect_err("twice").contains("`club` is there twice"));
        for wrong in ["club.example.org", "https://club.example.org/", "https://club.example.org/x", "*"] {
            assert!(
                Settings { origins: vec![wrong.to_owned()], ..plain.clone() }.check(here).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_token_is_kept_as_its_hash() {
        let (text, token) = Token::make("club", &[Scope::Submit]);
        assert_eq!(token.sha256, Hash::of(&text));
        assert!(!format!("{token:?}").contains(&text));
        assert!(token.may(Scope::Submit) && !token.may(Scope::Read) && !token.may(Scope::Admin));
        let written = format!("name = \"club\"\nsha256 = \"{}\"\nscopes = [\"submit\"]", token.sha256);
        assert_eq!(toml::from_str::<Token>(&written).expect("it is read back"), token);
        let wrong =
            toml::from_str::<Token>("name = \"a\"\nsha256 = \"abc\"\nscopes = []").expect_err("short");
        assert!(wrong.to_string().contains("sha256sum"), "{wrong}");
    }
}
