//! Names of jobs: what others may call theirs, and how ours are made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;

/// Bytes of a name: it becomes part of a Redis key and of an object's key (at most 1024 bytes with its
/// prefix, the limit of S3).
const LONGEST: usize = 200;

/// A job's name, unique in its ledger. Those we make look like `job_1234567890_abc123def456`: the
/// seconds since 1970, and twelve letters and digits; producers choose their own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[schemars(with = "String")]
pub struct JobId(String);

/// A text that cannot be a job's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{shown}` cannot name a job: 1 to {LONGEST} bytes, without control characters, without spaces at its ends"
)]
pub struct InvalidId {
    shown: String,
}

impl JobId {
    /// A new name for a job that came at `seconds` since 1970.
    pub fn made(seconds: u64) -> Self {
        // The standard library's hasher is seeded by the system for every process and every use.
        let random = RandomState::new().hash_one(seconds);
        Self::from_parts(seconds, random)
    }

    /// The same name for the same parts, whoever asks: for messages that are delivered more than once.
    pub(super) fn derived(seconds: u64, parts: &[&str]) -> Self {
        // FNV-1a with 64 bits (Fowler, Noll, Vo): stable over versions and machines, which the
        // standard library's hasher is not. Of a million events in one second, two share a name once
        // in nine million such seconds.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for part in parts {
            for byte in part.bytes().chain([0]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        Self::from_parts(seconds, hash)
    }

    fn from_parts(seconds: u64, mut random: u64) -> Self {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut tail = String::with_capacity(12);
        for _ in 0..12 {
            tail.push(char::from(DIGITS[(random % 36) as usize]));
            random /= 36;
        }
        Self(format!("job_{seconds:010}_{tail}"))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JobId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let fits =
            (1..=LONGEST).contains(&text.len()) && text.trim() == text && !text.chars().any(char::is_control);
        if fits {
            return Ok(Self(text.to_owned()));
        }
        let shown = text.chars().take(40).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        Err(InvalidId { shown })
    }
}

impl<'de> Deserialize<'de> for JobId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_ours_have_the_known_look_and_differ() {
        let ids: std::collections::BTreeSet<_> = (0..1_000).map(|_| JobId::made(1_234_567_890)).collect();
        assert_eq!(ids.len(), 1_000);
        for id in ids {
            let tail = id.as_str().strip_prefix("job_1234567890_").expect("the known look");
            assert!(
                tail.len() == 12 && tail.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()),
                "{id}"
            );
        }
    }

    #[test]
    fn a_derived_id_depends_on_every_part_and_nothing_else() {
        let id = JobId::derived(7, &["bucket", "key"]);
        assert_eq!(id, JobId::derived(7, &["bucket", "key"]));
        assert_ne!(id, JobId::derived(8, &["bucket", "key"]));
        assert_ne!(id, JobId::derived(7, &["bucketk", "ey"]), "a boundary between parts counts");
        assert!(id.as_str().starts_with("job_0000000007_"), "{id}");
    }

    #[test]
    fn names_that_would_break_a_key_or_a_log_line_are_refused() {
        for wrong in ["", " a", "a\n", "a\u{1b}[0m", &"x".repeat(201)] {
            assert!(wrong.parse::<JobId>().is_err(), "{wrong:?}");
        }
        for right in ["1", "job_1234567890_abc123", "Spiel 7/Süd", &"x".repeat(200)] {
            assert_eq!(right.parse::<JobId>().map(|id| id.to_string()), Ok(right.to_owned()));
        }
    }
}
