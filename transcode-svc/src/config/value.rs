//! The kinds of values that a configuration holds, and how each is written.
//!
//! Owns their spelling and their limits; an error says what is allowed and repeats no secret.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Unexpected, Visitor};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use url::{Host, Url};

/// Text that is never shown: `Debug` and `Display` print `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hide `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for whoever signs with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Text {
            fn refuse<E: serde::de::Error>(&self) -> Result<Secret, E> {
                // serde's own words would repeat the value.
                Err(E::invalid_type(Unexpected::Other("something else"), self))
            }
        }
        impl Visitor<'_> for Text {
            type Value = Secret;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text in quotes")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret::new(text))
            }
            fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Secret, E> {
                self.refuse()
            }
            fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Secret, E> {
                self.refuse()
            }
            fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Secret, E> {
                self.refuse()
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// Which checksum goes with an upload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Checksum {
    /// None: Wasabi, Lyve Cloud, older MinIO and Ceph refuse or ignore the header.
    #[default]
    None,
    /// `x-amz-checksum-sha256`.
    Sha256,
}

impl FromStr for Checksum {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "sha256" => Ok(Self::Sha256),
            _ => Err(format!("`{text}` is no checksum; allowed are none and sha256")),
        }
    }
}

/// A length of time: a whole number with `ms`, `s`, `m` or `h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period(Duration);

impl Period {
    /// As a duration.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split(text);
        let unit = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            _ => 0,
        };
        match number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)) {
            Some(millis) if unit > 0 => Ok(Self(Duration::from_millis(millis))),
            _ => Err(format!("`{text}` is no time; write a whole number with ms, s, m or h, like 30s")),
        }
    }
}

/// A number of bytes: a whole number with `KiB`, `MiB` or `GiB`; 1 MiB to 4 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(usize);

impl ByteSize {
    /// As bytes.
    pub fn bytes(self) -> usize {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split(text);
        let shift = match unit {
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            _ => {
                return Err(format!(
                    "`{text}` is no size; write a whole number with KiB, MiB or GiB, like 32MiB"
                ));
            }
        };
        let bytes = number.parse::<usize>().ok().and_then(|number| number.checked_mul(1 << shift));
        bytes
            .filter(|bytes| (1 << 20..=4 << 30).contains(bytes))
            .map(Self)
            .ok_or_else(|| format!("`{text}` is out of range; allowed are 1MiB to 4GiB"))
    }
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// Where an S3-compatible store answers: `https://host[:port][/path]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Without a slash at the end.
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// The URL.
    pub fn url(&self) -> &Url {
        &self.0
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = "write it like https://s3.example.com or http://127.0.0.1:9000";
        // The text is not repeated: a user may have put keys into it.
        let url = Url::parse(text).map_err(|error| format!("this is no URL ({error}); {allowed}"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(format!("only http and https endpoints can be used; {allowed}"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!("keys do not belong into the endpoint but under their own names; {allowed}"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!("an endpoint has neither ? nor #; {allowed}"));
        }
        Ok(Self(url))
    }
}

/// Whether `url` leads to this very machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => {
            address.is_loopback() || address.to_ipv4_mapped().is_some_and(|address| address.is_loopback())
        }
        None => false,
    }
}

macro_rules! deserialize_as_text {
    ($($kind:ty),*) => {$(
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

deserialize_as_text!(Period, ByteSize, Endpoint);
