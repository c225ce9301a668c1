//! The keys of the ledger's objects: what sorts how, and how a name is read back. Pure.
//!
//! Stores list by bytes. So the index counts time and names backwards, and the newest job comes first.

use crate::job::JobId;
use crate::ledger::Due;
use crate::time::Timestamp;

/// The largest time that has sixteen digits.
const LAST: u64 = 9_999_999_999_999_999;

/// The folder of the index.
pub(super) const INDEX: &str = "index";

/// The folder of the workers' cards.
pub(super) const WORKERS: &str = "workers";

/// The folder of what is due.
pub(super) const fn folder(what: Due) -> &'static str {
    match what {
        Due::Queue => "due/queue",
        Due::Webhook => "due/webhook",
    }
}

/// Any text as part of a key: letters, digits, `_` and `-` as they are, every other byte as `=2F`.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("={byte:02X}"));
        }
    }
    escaped
}

fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('=');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend(rest.bytes());
    }
    String::from_utf8(bytes).ok()
}

/// The object of a job's record.
pub(super) fn record(id: &JobId) -> String {
    format!("jobs/{}.json", escaped(id.as_str()))
}

/// The object that says which job was made with an idempotency key.
pub(super) fn idempotency(key: &str) -> String {
    format!("keys/{}.json", escaped(key))
}

/// The object of a worker's card.
pub(super) fn worker(name: &str) -> String {
    format!("{WORKERS}/{}.json", escaped(name))
}

/// The place of a job in the index: sorts the newest first, and of one time the last name first.
pub(super) fn place(created: Timestamp, id: &JobId) -> String {
    let backwards: String = id.as_str().bytes().map(|byte| format!("{:02x}", !byte)).collect();
    // What goes on stands before what ends here.
    format!("{:016}-{backwards}~", LAST.saturating_sub(created.millis()))
}

/// Which job has that place in the index.
pub(super) fn placed(name: &str) -> Option<(Timestamp, JobId)> {
    let (time, id) = name.strip_suffix('~')?.split_once('-')?;
    let created = Timestamp::from_millis(LAST.checked_sub(time.parse().ok()?)?);
    let digits = id.as_bytes().chunks_exact(2);
    let byte = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    let bytes = digits.map(|digits| byte(digits).map(|byte| !byte)).collect::<Option<Vec<u8>>>()?;
    Some((created, String::from_utf8(bytes).ok()?.parse().ok()?))
}

/// The mark of a job that is due at a time: sorts the longest due first.
pub(super) fn mark(at: Timestamp, id: &JobId) -> String {
    format!("{:016}-{}", at.millis().min(LAST), escaped(id.as_str()))
}

/// Which job is marked, and for when.
pub(super) fn marked(name: &str) -> Option<(Timestamp, JobId)> {
    let (time, id) = name.split_once('-')?;
    Some((Timestamp::from_millis(time.parse().ok()?), unescaped(id)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> JobId {
        text.parse().expect("a name")
    }

    #[test]
    fn any_name_of_a_job_is_read_back_and_is_one_part_of_a_key() {
        for name in ["job_1234567890_abc123", "a/b c", "..", "ünï.mp4", "=2F~-", "%41"] {
            let at = Timestamp::from_millis(1_791_036_309_123);
            assert_eq!(placed(&place(at, &id(name))), Some((at, id(name))));
            assert_eq!(marked(&mark(at, &id(name))), Some((at, id(name))));
            for key in [escaped(name), place(at, &id(name)), mark(at, &id(name))] {
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '=' | '~');
                assert!(key.chars().all(plain), "{key}");
            }
        }
        let long = "\u{1F3AC}".repeat(50);
        assert!(place(Timestamp::default(), &id(&long)).len() < 700 && record(&id(&long)).len() < 700);
        for foreign in ["", "x", "12-=zz", "12-=4", "probe.json"] {
            assert_eq!((placed(foreign), marked(foreign)), (None, None), "{foreign}");
        }
    }

    #[test]
    fn the_index_sorts_the_newest_first_and_marks_the_oldest() {
        let at = Timestamp::from_millis;
        let order = [(9, "a"), (5, "b"), (5, "ab"), (5, "a"), (1, "z")];
        let places: Vec<_> = order.iter().map(|(time, name)| place(at(*time), &id(name))).collect();
        assert!(places.is_sorted(), "{places:?}");
        let marks: Vec<_> = [1, 5, 10, 100].map(|time| mark(at(time), &id("a"))).to_vec();
        assert!(marks.is_sorted(), "{marks:?}");
    }
}
