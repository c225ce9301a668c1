//! What a store and a pair of keys can do, found out once at the start with objects that nobody needs.

use crate::store::{Objects, When, Written};
use transcode_core::sink::SinkError;

/// The object with which conditions are tried. It stays, and may be anybody's.
const PROBE: &str = "probe.json";

/// An object that never is.
const NOTHING: &str = "probe-nothing.json";

/// Stores that are known to keep conditions of requests that come at the same moment: Amazon's, and MinIO by
/// `tests/queues`. No probe can tell: versitygw fails one time in ten, and only under load.
const TRUSTED: [&str; 2] = ["AmazonS3", "MinIO"];

/// How often a true If-Match is tried while others are at it.
const ROUNDS: usize = 20;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abilities {
    /// How If-None-Match and If-Match are taken.
    pub(super) conditions: Conditions,
    /// Whether these keys may list.
    pub(super) lists: bool,
    /// Whether these keys may delete.
    pub(super) deletes: bool,
}

/// How a store takes conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conditions {
    /// It keeps them.
    Honoured,
    /// It keeps them where one request comes after the other; of several at the same moment nobody knows.
    Unproven,
    /// It says that it does not know them.
    Refused,
    /// It writes whatever they say.
    Ignored,
    /// It never lets If-Match through, also where it is true.
    Unmatched,
}

/// Try it.
pub(super) fn probe(objects: &Objects) -> Result<Abilities, SinkError> {
    Ok(Abilities {
        conditions: conditions(objects)?,
        lists: objects.list("jobs", None, 1)?.is_some(),
        deletes: objects.delete(NOTHING)?,
    })
}

fn conditions(objects: &Objects) -> Result<Conditions, SinkError> {
    let wrong = |written: Written| match written {
        Written::No => None,
        Written::Yes => Some(Conditions::Ignored),
        Written::Refused(_) => Some(Conditions::Refused),
    };
    let create = |text: &str| objects.put(PROBE, text.as_bytes(), When::Absent);
    // The first may find nothing there; then the second does not. They differ: the same bytes would count as ours.
    let first = create("1")?;
    if first != Written::No {
        if let Some(found) = wrong(create("2")?) {
            return Ok(found);
        }
    }
    // An ETag that no object has.
    let stale = objects.put(PROBE, b"3", When::Is("\"00000000000000000000000000000000\""))?;
    if let Some(found) = wrong(stale) {
        return Ok(found);
    }
    // Others may try at the same time: a write that fails while the object stays as it was tells.
    for round in 0..ROUNDS {
        let Some(found) = objects.get(PROBE)? else { continue };
        // It differs from what is there.
        let other = format!("{round}{}", " ".repeat(found.bytes.len() % 7 + 1));
        let written = objects.put(PROBE, other.as_bytes(), When::Is(&found.tag))?;
        if written != Written::Yes && objects.get(PROBE)?.is_some_and(|now| now.tag == found.tag) {
            return Ok(Conditions::Unmatched);
        }
        if written == Written::Yes || round + 1 == ROUNDS {
            let server = objects.server()?;
            let trusted = TRUSTED.iter().any(|name| server.starts_with(name));
            return Ok(if trusted { Conditions::Honoured } else { Conditions::Unproven });
        }
    }
    Ok(Conditions::Unmatched)
}

impl Abilities {
    /// What is weaker at `location`, in words for whoever runs it.
    pub(super) fn weaknesses(self, location: &str) -> Vec<String> {
        let mut found = Vec::new();
        let how = match self.conditions {
            Conditions::Honoured => None,
            Conditions::Unproven => {
                Some("is not known to keep If-Match where requests come at the same moment")
            }
            Conditions::Refused => Some("refuses If-Match or If-None-Match"),
            Conditions::Ignored => Some("ignores If-Match or If-None-Match"),
            Conditions::Unmatched => Some("lets no If-Match through"),
        };
        if let Some(how) = how {
            found.push(format!(
                "{location}: this store {how}: records are read again after they are written; of two workers that \
                 ask for one job within a quarter of a second both may get it, and publish the same output"
            ));
        }
        if !self.lists {
            found.push(format!(
                "{location}: these keys may not list: jobs, workers and what is overdue are known only as far as each \
                 process has seen them itself; allow ListBucket"
            ));
        }
        if !self.deletes {
            found.push(format!(
                "{location}: these keys may not delete: marks of what was due stay and make looking for what is due \
                 slower; allow DeleteObject below due/ and index/, or let due/ expire after a week"
            ));
        }
        found
    }
}
