//! What a run costs, by stage, from outside the graph.
//!
//! Reads the CPU clocks that Linux keeps for each thread (`/proc/self/task/*/stat`, proc(5)), which
//! GStreamer and the codecs have named after their work. Threads come and go, so it looks whenever
//! progress is told and keeps the last sight of each. Elsewhere than on Linux it finds nothing, and
//! the figures stay zero. Milliseconds of CPU, user and system.

use crate::event::Timings;
use crate::plan::Plan;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// One tick of `/proc`: USER_HZ is 100 on every Linux that programs see (proc(5), sysconf(3)).
const TICK_MS: u64 = 10;

/// Thread names that say what a thread does; Linux keeps the first 15 characters. Others are
/// counted with the process and not with a stage.
pub(super) struct Costs {
    rungs: Vec<String>,
    begun: BTreeMap<u32, u64>,
    process: u64,
    seen: Mutex<BTreeMap<u32, (String, u64)>>,
}

impl Costs {
    /// Begin to count.
    pub(super) fn begin(plan: &Plan) -> Self {
        let begun = threads().into_iter().map(|(id, (_, ticks))| (id, ticks)).collect();
        let rungs = plan.rungs.iter().map(|rung| rung.name.clone()).collect();
        Self { rungs, begun, process: process(), seen: Mutex::default() }
    }

    /// Look at every thread.
    pub(super) fn look(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).extend(threads());
    }

    /// Fill in what was counted since the beginning.
    pub(super) fn report(&self, into: &mut Timings) {
        into.cpu_ms = process().saturating_sub(self.process) * TICK_MS;
        for (id, (name, ticks)) in self.seen.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let cost = ticks.saturating_sub(self.begun.get(id).copied().unwrap_or(0)) * TICK_MS;
            if let Some(stage) = self.stage(name).filter(|_| cost > 0) {
                *into.stages.entry(stage).or_default() += cost;
            }
        }
    }

    /// The stage that a thread works for.
    fn stage(&self, thread: &str) -> Option<String> {
        if thread.starts_with("upload-") {
            return Some("store".to_owned());
        }
        if thread.starts_with("audio-") {
            return Some("audio".to_owned());
        }
        if thread.starts_with("input-audio") {
            return Some("audio".to_owned());
        }
        if thread.starts_with("input-video") || thread.starts_with("av:") {
            return Some("decode".to_owned());
        }
        if thread.starts_with("input-") {
            return Some("demux".to_owned());
        }
        // A rung's branch, and its encoder's threads, which take the name of the thread that made
        // them. Muxing is done on the rung's audio and video queues.
        let rung = self.rungs.iter().filter(|rung| in_branch(thread, rung)).max_by_key(|rung| rung.len());
        rung.map(|rung| {
            let muxes = ["-video", "-audio"].iter().any(|end| {
                let name = format!("{rung}{end}");
                thread.starts_with(name.get(..name.len().min(15)).unwrap_or(&name))
            });
            if muxes { "mux".to_owned() } else { format!("encode {rung}") }
        })
    }
}

fn in_branch(thread: &str, rung: &str) -> bool {
    let name = format!("{rung}-");
    let cut = name.len().min(15);
    name.get(..cut).is_some_and(|name| thread.starts_with(name))
}

/// Ticks of CPU of the whole process so far.
fn process() -> u64 {
    std::fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|text| parse(&text))
        .map_or(0, |(_, ticks)| ticks)
}

/// Name and ticks of every thread of the process.
fn threads() -> BTreeMap<u32, (String, u64)> {
    let Ok(entries) = std::fs::read_dir("/proc/self/task") else { return BTreeMap::new() };
    let one = |entry: std::fs::DirEntry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        Some((id, parse(&std::fs::read_to_string(entry.path().join("stat")).ok()?)?))
    };
    entries.flatten().filter_map(one).collect()
}

/// A line of `stat`: the name stands in brackets and may hold spaces; user and system time are the
/// 14th and 15th field (proc(5)).
fn parse(text: &str) -> Option<(String, u64)> {
    let (head, tail) = text.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let mut fields = tail.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((name.to_owned(), user + system))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threads_line_is_read_whatever_its_name() {
        let line = "42 (720p :) pictures) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0 1 0 99";
        assert_eq!(parse(line), Some(("720p :) pictures".to_owned(), 175)));
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn threads_are_counted_for_the_stage_that_their_name_says() {
        let rungs = vec!["720p".to_owned(), "720p-b".to_owned()];
        let costs = Costs { rungs, begun: BTreeMap::new(), process: 0, seen: Mutex::default() };
        for (thread, stage) in [
            ("input-demux:sin", Some("demux")),
            ("input-video-que", Some("decode")),
            ("av:h264:df0", Some("decode")),
            ("input-audio-que", Some("audio")),
            ("720p-pictures:s", Some("encode 720p")),
            ("720p-b-pictures", Some("encode 720p-b")),
            ("720p-video:src", Some("mux")),
            ("audio-0-samples", Some("audio")),
            ("upload-3", Some("store")),
            ("main", None),
        ] {
            assert_eq!(costs.stage(thread).as_deref(), stage, "{thread}");
        }
    }
}
