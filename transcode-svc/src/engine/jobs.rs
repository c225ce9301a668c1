//! How many graphs side by side are worth it on this machine.
//!
//! One graph keeps several cores busy by itself: a thread or more for each rung's encoder, and about
//! one for decoding and scaling. More graphs pay where cores are left over, and cost memory: each has
//! its own decoder, look-ahead and pictures on their way. Bytes; cores are those of the cgroup.

use crate::machine::Cgroup;
use transcode_core::plan::{Chunk, Plan};
use transcode_core::run::joined;
use transcode_core::units::SegmentIndex;

/// What a graph needs whatever it makes: the program, its libraries, the source's blocks.
const BASE: u64 = 120 << 20;

/// Bytes a pixel of all rungs: 1.5 a picture, and some 93 pictures in the decoder, queues, look-ahead
/// and reference lists. Measured with `abr`: 3.6 megapixels in 600 MB (docs/performance.md).
const PER_PIXEL: u64 = 140;

/// What there is to work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: u64,
    /// Memory that can be had without swapping, in bytes; absent where the system does not tell.
    pub memory: Option<u64>,
    /// Encoders that may run at once on the device; absent where no bound is known.
    pub sessions: Option<u64>,
}

impl Machine {
    /// This one, as it is now.
    pub fn here() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        let free = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
        let memory = free.map(|free| Cgroup::here().memory_left().map_or(free, |left| left.min(free)));
        Self { cores, memory, sessions: None }
    }
}

/// `MemAvailable` of proc(5).
fn available(meminfo: &str) -> Option<u64> {
    bytes(meminfo, "MemAvailable:")
}

/// A line of `/proc/meminfo`, in bytes.
pub(crate) fn bytes(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// Graphs side by side, and why not as many as `asked` (a number that a person gave).
///
/// Never more than there are `runs`, never fewer than one.
pub fn jobs(plan: &Plan, runs: usize, asked: Option<u32>, machine: Machine) -> (usize, Option<String>) {
    let videos = || plan.rungs.iter().filter_map(|rung| rung.video.as_ref());
    let busy: u64 = videos().map(|video| u64::from(video.threads)).sum::<u64>() + 1;
    let pixels: u64 =
        videos().map(|video| u64::from(video.size.width()) * u64::from(video.size.height())).sum();
    let graph = BASE + PER_PIXEL * pixels;
    let fit = machine.memory.map_or(u64::MAX, |memory| memory / 5 * 4 / graph).max(1);
    let encodes = (videos().count() as u64).max(1);
    let encoders = machine.sessions.map_or(u64::MAX, |sessions| sessions / encodes).max(1);
    let wanted = asked.map_or(machine.cores / busy, u64::from).max(1);
    let jobs = usize::try_from(wanted.min(fit).min(encoders)).unwrap_or(usize::MAX).min(runs.max(1));
    let memory = machine.memory.unwrap_or(0) >> 20;
    let sessions = machine.sessions.unwrap_or(0);
    let why = asked.filter(|asked| u64::from(*asked) > fit.min(encoders)).map(|_| {
        if encoders < fit {
            format!("--jobs {wanted}: one graph needs {encodes} encoders, the device has {sessions}; {encoders} are run")
        } else {
            format!("--jobs {wanted}: one graph needs some {} MB, {memory} MB are free; {fit} are run", graph >> 20)
        }
    });
    (jobs, why)
}

/// A piece is at most a child's share of what is left, divided by this: so pieces shrink towards the end, and
/// the last ones to work leave the others idle for a segment or two.
const SHARE: u32 = 2;

/// `runs` for `jobs` children: none so long that the others would wait for it at the end, in order.
///
/// One child makes what touches in one go: a graph over all of it costs one start.
pub fn divided(runs: &[Chunk], jobs: usize) -> Vec<Chunk> {
    if jobs <= 1 {
        return joined(runs);
    }
    let shares = u32::try_from(jobs).unwrap_or(u32::MAX).saturating_mul(SHARE);
    let all: usize = runs.iter().map(|run| run.segments().len()).sum();
    let mut left = u32::try_from(all).unwrap_or(u32::MAX);
    let mut pieces = Vec::new();
    for run in runs {
        let mut first = run.first.0;
        while first < run.end.0 {
            let end = first.saturating_add(left.div_ceil(shares).max(1)).min(run.end.0);
            left = left.saturating_sub(end - first);
            pieces.push(Chunk { index: run.index, first: SegmentIndex(first), end: SegmentIndex(end) });
            first = end;
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use transcode_core::media::MediaInfo;
    use transcode_core::platform::Platform;
    use transcode_core::spec::{JobSpec, Profile};

    fn plan(profile: &str) -> Plan {
        plan_on("software", profile)
    }

    fn plan_on(platform: &str, profile: &str) -> Plan {
        let info: MediaInfo = serde_json::from_str(include_str!(
            "../../../transcode-core/tests/golden/media/film-1080p24.json"
        ))
        .expect("a description");
        let spec = JobSpec::new(Profile::builtin(profile).expect("a profile"));
        transcode_core::plan::plan(&info, &spec, &Platform::builtin(platform).expect("a platform"))
            .expect("a plan")
    }

    const fn machine(cores: u64, memory: u64) -> Machine {
        Machine { cores, memory: Some(memory << 30), sessions: None }
    }

    #[test]
    fn a_machine_is_filled_and_not_more() {
        let abr = plan("abr");
        let auto = |cores, memory| jobs(&abr, 50, None, machine(cores, memory)).0;
        assert_eq!([auto(1, 64), auto(2, 64), auto(6, 64), auto(16, 64), auto(64, 64)], [1, 1, 1, 2, 10]);
        assert_eq!(auto(64, 2), 2, "memory is the bound");
        assert_eq!(auto(64, 0), 1);
        assert_eq!(jobs(&plan("match"), 50, None, machine(16, 64)).0, 8);
        assert_eq!(jobs(&abr, 3, None, machine(64, 64)).0, 3, "no more than there are runs");
    }

    /// Six Arm cores and 8 GB, of which the system and the decoder's surfaces leave some six.
    #[test]
    fn a_jetson_orin_nano_makes_one_ladder_or_three_matches_at_a_time() {
        let nano = machine(6, 6);
        let threads = |plan: &Plan| -> u32 {
            plan.rungs.iter().filter_map(|rung| rung.video.as_ref()).map(|video| video.threads).sum()
        };
        let (abr, flat) = (plan_on("jetson", "abr"), plan_on("jetson", "match"));
        assert_eq!((threads(&abr), threads(&flat)), (5, 1), "x264's; decoder and scaler are the board's");
        assert_eq!((jobs(&abr, 50, None, nano).0, jobs(&flat, 50, None, nano).0), (1, 3));
    }

    #[test]
    fn a_number_that_was_asked_for_is_kept_as_far_as_memory_allows() {
        let abr = plan("abr");
        assert_eq!(jobs(&abr, 50, Some(4), machine(2, 64)), (4, None));
        let (count, why) = jobs(&abr, 50, Some(8), machine(2, 2));
        assert_eq!(count, 2);
        assert!(why.is_some_and(|why| why.contains("--jobs 8") && why.contains("2 are run")));
    }

    #[test]
    fn no_more_encoders_run_than_the_device_has() {
        let abr = plan("abr");
        let card = |sessions| Machine { sessions: Some(sessions), ..machine(64, 64) };
        let count = |sessions, asked| jobs(&abr, 50, asked, card(sessions)).0;
        assert_eq!([count(4, None), count(8, None), count(100, None)], [1, 2, 10]);
        assert_eq!(count(2, None), 1, "too few for one: that is for the graph to say");
        let (count, why) = jobs(&abr, 50, Some(3), card(8));
        assert_eq!(count, 2);
        assert!(
            why.is_some_and(|why| why.contains("--jobs 3") && why.contains("the device has 8; 2 are run"))
        );
    }

    #[test]
    fn no_child_is_left_with_a_long_rest() {
        let run = |index, first, end| Chunk { index, first: SegmentIndex(first), end: SegmentIndex(end) };
        let runs = [run(0, 0, 1), run(1, 1, 3), run(2, 3, 7), run(3, 9, 12)];
        assert_eq!(divided(&runs, 1), [run(0, 0, 7), run(3, 9, 12)]);
        let pieces = divided(&runs, 2);
        let firsts: Vec<u32> = pieces.iter().map(|piece| piece.first.0).collect();
        assert_eq!(firsts, [0, 1, 3, 5, 9, 10, 11], "ten segments, shorter pieces towards the end");
        assert_eq!(divided(&runs, 10).len(), 10);
        // Whoever is free takes the next one: both have worked equally long.
        let mut ends = [0, 0];
        for piece in &pieces {
            let next = usize::from(ends[1] < ends[0]);
            ends[next] += piece.segments().len();
        }
        assert_eq!(ends, [5, 5]);
        let long = [run(0, 0, 1), run(1, 1, 10), run(2, 10, 19), run(3, 19, 1_000)];
        assert_eq!(divided(&long, 2)[..3], long[..3], "chunks are short enough already");
    }

    #[test]
    fn free_memory_is_read_from_what_linux_tells() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"), Some(2 << 20));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
        assert!(Machine::here().cores > 0);
    }
}
