//! What a child may do, and how much it may take.
//!
//! Owns the limits as plain data, their text form, and the watch over them: memory as it is really used and not as
//! it is reserved (CUDA reserves terabytes of addresses), time and output by how much is made. Which files and calls
//! a confined child has left is `confine`'s. Sizes are bytes, times seconds of the wall.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// How much one request may take: so much, and so much more for each second of the timeline that it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// In any case.
    pub least: u64,
    /// For each second.
    pub per_second: u64,
}

impl Bound {
    const fn of(self, seconds: u64) -> u64 {
        self.least.saturating_add(self.per_second.saturating_mul(seconds))
    }
}

/// What a child may do and take. By default, all that its user may.
///
/// As text: `on`, `off`, or `on` with limits in the place of its own:
/// `on,memory=2GiB,time=600+30,output=64MiB+100MiB`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sandbox {
    /// Whether the kernel takes away what making a chunk does not need: networks, files beside GStreamer's, new
    /// processes. Graphics devices stay.
    pub confine: bool,
    /// Bytes of memory that it may really use (resident set), with what it shares with others.
    pub memory: Option<u64>,
    /// Seconds that a request may take, while nothing is owed to the child.
    pub time: Option<Bound>,
    /// Bytes that a request may store.
    pub output: Option<Bound>,
}

impl Sandbox {
    /// The variable that a person may set for `transcode run`.
    pub(super) const VARIABLE: &str = "TRANSCODE_SANDBOX";

    /// For media that others send: confined; thirty times as long as it plays and ten minutes, where the slowest
    /// board makes a ladder in three times; 100 MiB for each second, where the highest level of H.264 has 36
    /// (Table A-1, level 5.2 in High: 300 Mbit/s); and `memory` bytes, if that is known.
    pub const fn for_service(memory: Option<u64>) -> Self {
        Self {
            confine: true,
            memory,
            time: Some(Bound { least: 600, per_second: 30 }),
            output: Some(Bound { least: 64 << 20, per_second: 100 << 20 }),
        }
    }

    /// What the environment says; nothing, where it says nothing.
    pub(super) fn from_environment() -> Result<Self, String> {
        match std::env::var(Self::VARIABLE) {
            Ok(text) => text.parse(),
            Err(_) => Ok(Self::default()),
        }
    }
}

impl FromStr for Sandbox {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut sandbox = Self::default();
        for part in text.split(',').map(str::trim) {
            let wrong = || {
                format!(
                    "`{part}` is no limit; write on, off, or on,memory=2GiB,time=600+30,output=64MiB+100MiB"
                )
            };
            let bound = |text: &str| {
                let (least, per_second) = text.split_once('+').unwrap_or((text, "0"));
                Some(Bound { least: number(least)?, per_second: number(per_second)? })
            };
            match part.split_once('=') {
                None if part == "on" => sandbox = Self::for_service(None),
                None if part == "off" => sandbox = Self::default(),
                Some(("memory", value)) => sandbox.memory = Some(number(value).ok_or_else(wrong)?),
                Some(("time", value)) => sandbox.time = Some(bound(value).ok_or_else(wrong)?),
                Some(("output", value)) => sandbox.output = Some(bound(value).ok_or_else(wrong)?),
                _ => return Err(wrong()),
            }
        }
        Ok(sandbox)
    }
}

/// A whole number with `KiB`, `MiB`, `GiB` or nothing behind it.
fn number(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// A number of bytes for people.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB", self.0.div_ceil(1 << 20))
    }
}

/// How often the memory of a child is looked at: in this time it can take some hundred MiB.
const LOOK: Duration = Duration::from_millis(20);

/// What a source of unknown length is taken for: twelve hours.
const UNKNOWN: u64 = 12 * 3_600;

/// Watches one child.
#[derive(Debug)]
pub(super) struct Watch {
    sandbox: Sandbox,
    process: u32,
    /// Bytes.
    page: u64,
    looked: Instant,
    /// Time of this request that counts.
    spent: Duration,
    /// Seconds of the timeline that are made.
    seconds: u64,
    /// Bytes that were received before this request.
    before: u64,
}

impl Watch {
    pub(super) fn new(sandbox: Sandbox, process: u32) -> Self {
        let page = u64::try_from(rustix::param::page_size()).unwrap_or(4_096);
        let (looked, spent) = (Instant::now(), Duration::ZERO);
        Self { sandbox, process, page, looked, spent, seconds: 0, before: 0 }
    }

    /// A request begins that makes so many seconds of the timeline; `None`: nobody knows how many. So many
    /// bytes were received so far.
    pub(super) fn begin(&mut self, seconds: Option<u64>, received: u64) {
        self.seconds = seconds.unwrap_or(UNKNOWN);
        self.before = received;
        self.spent = Duration::ZERO;
        self.looked = Instant::now();
    }

    /// By what the child goes too far, if it does: so many bytes were received so far, and the child waits for
    /// us (`owed`) or works. To be asked often; looks only every [`LOOK`].
    pub(super) fn breach(&mut self, received: u64, owed: bool) -> Option<String> {
        let passed = self.looked.elapsed();
        if passed < LOOK {
            return None;
        }
        self.looked = Instant::now();
        if !owed {
            // A pause of this process is not the child's time.
            self.spent += passed.min(LOOK * 5);
        }
        let Sandbox { memory, time, output, .. } = self.sandbox;
        if let Some((used, allowed)) = memory.and_then(|allowed| Some((self.resident()?, allowed))) {
            if used > allowed {
                return Some(format!("took {} of memory, where {} are allowed", Bytes(used), Bytes(allowed)));
            }
        }
        let allowed = time.map(|bound| bound.of(self.seconds));
        if let Some(allowed) = allowed.filter(|allowed| self.spent > Duration::from_secs(*allowed)) {
            return Some(format!("worked for more than the {allowed} s that are allowed"));
        }
        let stored = received.saturating_sub(self.before);
        let allowed = output.map(|bound| bound.of(self.seconds));
        if let Some(allowed) = allowed.filter(|allowed| stored > *allowed) {
            let (stored, allowed) = (Bytes(stored), Bytes(allowed));
            return Some(format!("stored {stored}, where {allowed} are allowed"));
        }
        None
    }

    /// Bytes of memory that the child uses; `None` where it has ended.
    fn resident(&self) -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.process)).ok()?;
        text.split(' ').nth(1)?.parse::<u64>().ok()?.checked_mul(self.page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_is_written_with_its_limits_and_a_mistake_is_told() {
        let read = |text: &str| text.parse::<Sandbox>().expect(text);
        assert_eq!(read("off"), Sandbox::default());
        assert_eq!(read("on"), Sandbox::for_service(None));
        let all = read("on, memory=2GiB,time=5,output=1KiB+7");
        assert_eq!(
            all,
            Sandbox {
                confine: true,
                memory: Some(2 << 30),
                time: Some(Bound { least: 5, per_second: 0 }),
                output: Some(Bound { least: 1_024, per_second: 7 }),
            }
        );
        let limits_alone = read("memory=600MiB");
        assert_eq!(limits_alone, Sandbox { memory: Some(600 << 20), ..Sandbox::default() });
        for wrong in ["", "yes", "memory=", "memory=2GB", "memory=-1", "time=5s", "time=1+", "cpu=3", "on=1"]
        {
            let error = wrong.parse::<Sandbox>().expect_err(wrong);
            assert!(error.contains("memory=2GiB"), "{wrong}: {error}");
        }
    }

    /// A watch whose last look was long ago.
    fn watch(text: &str) -> Watch {
        let mut watch = Watch::new(text.parse().expect("a sandbox"), std::process::id());
        watch.begin(Some(10), 1_000);
        watch.looked = Instant::now().checked_sub(Duration::from_secs(3_600)).expect("an hour ago");
        watch
    }

    #[test]
    fn each_limit_is_told_with_what_was_taken_and_what_is_allowed() {
        let breach = watch("memory=1MiB").breach(1_000, false).expect("a test takes more");
        assert!(breach.contains("of memory, where 1 MiB are allowed"), "{breach}");
        assert_eq!(watch("memory=100GiB").breach(1_000, false), None);
        let breach = watch("output=1MiB+1MiB").breach(1_001 + (11 << 20), false);
        assert_eq!(breach.as_deref(), Some("stored 12 MiB, where 11 MiB are allowed"));
        assert_eq!(
            watch("output=1MiB+1MiB").breach(1_000 + (11 << 20), false),
            None,
            "what came before is not of it"
        );
        let mut slow = watch("time=1+1");
        assert_eq!(slow.breach(0, false), None, "a pause of this process is not the child's time");
        slow.spent = Duration::from_millis(11_001);
        assert_eq!(slow.breach(0, true), None, "too soon to look again");
        slow.looked = watch("off").looked;
        let breach = slow.breach(0, true).expect("too long");
        assert_eq!(breach, "worked for more than the 11 s that are allowed");
    }

    #[test]
    fn time_in_which_the_child_waits_for_us_does_not_count() {
        let mut waiting = watch("time=1");
        waiting.breach(0, true);
        assert_eq!(waiting.spent, Duration::ZERO);
        waiting.looked = watch("off").looked;
        waiting.breach(0, false);
        assert_eq!(waiting.spent, LOOK * 5);
    }
}
