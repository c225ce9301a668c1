//! Platforms by name or path, and which of them are used on this machine, in which order.
//!
//! Knows names, files, what is installed, and what was found out in earlier trials; starts a trial
//! where a platform that `auto` may use was never tried. Nothing is tried where nothing but software is
//! installed, so that a run on a bare CPU starts as fast as ever.

use crate::child::{Session, Settings};
use crate::machine::trials::{self, Depth};
use crate::machine::{Keeper, Key, Memory, Verdict, now};
use std::cmp::Ordering;
use transcode_core::event::Fallback;
use transcode_core::platform::{Missing, Platform, builtin_platforms};
use transcode_core::{Cancel, Error};

/// The platform that needs nothing but a CPU: last in every list that is made here, and never tried.
pub(crate) const SOFTWARE: &str = "software";

/// Whether a profile or platform is meant as a file.
pub(crate) fn is_path(text: &str) -> bool {
    text.contains('/') || text.ends_with(".toml")
}

/// The text of a profile's or platform's file.
pub(crate) fn read_file(what: &str, path: &str) -> Result<String, Error> {
    std::fs::read_to_string(path)
        .map_err(|error| Error::Config { what: format!("{what} {path}"), reason: error.to_string() })
}

/// A platform that may be used.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// Which.
    pub(crate) platform: Platform,
    /// Nobody has named it: it must have passed a trial.
    pub(crate) auto: bool,
}

/// The platforms that the command line names, best first, each once; never empty.
pub(crate) fn load(names: &[String]) -> Result<Vec<Candidate>, Error> {
    let mut all: Vec<Candidate> = Vec::new();
    for name in names {
        let (found, auto) = match name.as_str() {
            "auto" => (every()?, true),
            path if is_path(path) => (vec![Platform::parse(path, &read_file("platform", path)?)?], false),
            name => (vec![Platform::builtin(name)?], false),
        };
        for platform in found {
            if !all.iter().any(|known| known.platform == platform) {
                all.push(Candidate { platform, auto });
            }
        }
    }
    if all.is_empty() {
        return Err(Error::Config {
            what: "--platform".to_owned(),
            reason: "no platform is named; write auto or a name from `transcode platforms`".to_owned(),
        });
    }
    Ok(all)
}

/// All that are built in, software last.
pub(crate) fn every() -> Result<Vec<Platform>, Error> {
    let (software, others): (Vec<_>, Vec<_>) = builtin_platforms().partition(|name| *name == SOFTWARE);
    others.into_iter().chain(software).map(Platform::builtin).collect()
}

/// What is used.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// Best first; never empty.
    pub(crate) platforms: Vec<Platform>,
    /// Platforms that would have come before them, and why they do not.
    pub(crate) fallbacks: Vec<Fallback>,
}

/// Find out which of the candidates can be used here; `session` says what is installed. Also the
/// circumstances under which that holds, and all that is known under them.
pub(crate) fn choose(
    candidates: Vec<Candidate>,
    session: &mut Session,
    child: &Settings,
    cancel: &Cancel,
) -> Result<(Chosen, Key, Memory), Error> {
    let all: Vec<Platform> = candidates.iter().map(|candidate| candidate.platform.clone()).collect();
    let examined = session.examine(&all)?;
    let (keeper, key) = (Keeper::here(), Key::here(&examined.gstreamer));
    let mut memory = keeper.recall(&key);
    // One name means that platform or a failure, whatever happened before.
    let only = candidates.len() == 1;
    let mut sorted = Sorted::default();
    for (candidate, missing) in candidates.into_iter().zip(&examined.missing) {
        let Candidate { platform, auto } = candidate;
        if !missing.is_empty() {
            sorted.reject(&platform, format!("it cannot run here: {}", list(missing)), !auto);
            continue;
        }
        let aside = memory.health.get(&platform.name).and_then(|health| health.aside(now()));
        if let Some(left) = aside.filter(|_| !only && platform.name != SOFTWARE) {
            let minutes = left.div_ceil(60);
            sorted.reject(
                &platform,
                format!("it failed too often and is tried again in {minutes} min"),
                true,
            );
            continue;
        }
        let is_new = memory.verdict(&platform).is_none();
        if auto && platform.name != SOFTWARE && is_new {
            log::info!("platform {} is tried, once for this machine and its driver", platform.name);
            let tell = |what: &str| log::debug!("trial of {}: {what}", platform.name);
            let verdict = trials::verdict(&platform, Depth::Speed, child, &tell, cancel)?;
            keep(&keeper, &key, &mut memory, &platform, verdict);
        }
        match memory
            .verdict(&platform)
            .filter(|verdict| auto && platform.name != SOFTWARE && !verdict.passed())
        {
            Some(verdict) => {
                let why = verdict.pairs.first().and_then(|pair| pair.why.clone()).unwrap_or_default();
                sorted.reject(&platform, format!("its trial failed: {why}"), true);
            }
            None => sorted.accept(memory.measured(platform.clone()), auto, memory.verdict(&platform)),
        }
    }
    Ok((sorted.chosen()?, key, memory))
}

/// Keep a verdict, here and for the next commands.
pub(crate) fn keep(keeper: &Keeper, key: &Key, memory: &mut Memory, platform: &Platform, verdict: Verdict) {
    memory.verdicts.insert(platform.name.clone(), verdict.clone());
    keeper.change(key, |memory| {
        memory.verdicts.insert(platform.name.clone(), verdict);
    });
}

/// Elements named for each package; the rest are counted.
const NAMED: usize = 3;

/// ``missing: `nvh264enc`, `nvh264dec` (NVIDIA's driver)``: by what brings them.
pub(crate) fn list(missing: &[Missing]) -> String {
    let mut packages: Vec<(&str, Vec<&str>)> = Vec::new();
    for one in missing {
        match packages.iter_mut().find(|(package, _)| *package == one.package) {
            Some((_, elements)) => elements.push(&one.element),
            None => packages.push((&one.package, vec![&one.element])),
        }
    }
    let group = |(package, elements): &(&str, Vec<&str>)| {
        let named: Vec<String> = elements.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
        let more = elements.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more} ({package})", named.join(", "))
    };
    format!("missing: {}", packages.iter().map(group).collect::<Vec<_>>().join("; "))
}

/// Where `auto` puts a platform.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(crate) struct Rank {
    hardware: bool,
    speed: f64,
}

impl Rank {
    /// By its speed in a trial, where that was measured.
    pub(crate) fn of(name: &str, speed: Option<f64>) -> Self {
        Self { hardware: name != SOFTWARE, speed: speed.unwrap_or(0.0) }
    }

    /// For sorting: fastest first, software last.
    pub(crate) fn best_first(&self, other: &Self) -> Ordering {
        other.partial_cmp(self).unwrap_or(Ordering::Equal)
    }
}

/// Candidates in the order in which they are used.
#[derive(Debug, Default)]
struct Sorted {
    accepted: Vec<(Platform, Option<Rank>)>,
    rejected: Vec<Rejected>,
}

#[derive(Debug)]
struct Rejected {
    name: String,
    why: String,
    /// Where it stood in the list.
    before: usize,
    /// Somebody expected it to be used.
    told: bool,
}

impl Sorted {
    fn reject(&mut self, platform: &Platform, why: String, told: bool) {
        log::debug!("platform {}: {why}", platform.name);
        let (name, before) = (platform.name.clone(), self.accepted.len());
        self.rejected.push(Rejected { name, why, before, told });
    }

    fn accept(&mut self, platform: Platform, auto: bool, verdict: Option<&Verdict>) {
        let rank = auto.then(|| Rank::of(&platform.name, verdict.and_then(|verdict| verdict.speed)));
        self.accepted.push((platform, rank));
    }

    fn chosen(mut self) -> Result<Chosen, Error> {
        // Named ones stay where they are; what `auto` stands for comes fastest first, software last.
        if self.accepted.iter().all(|(_, rank)| rank.is_some()) {
            self.accepted.sort_by(|(_, a), (_, b)| match (a, b) {
                (Some(a), Some(b)) => a.best_first(b),
                _ => Ordering::Equal,
            });
        }
        let Some((first, _)) = self.accepted.first() else {
            let names: Vec<&str> = self.rejected.iter().map(|rejected| rejected.name.as_str()).collect();
            let why: Vec<String> = match &self.rejected[..] {
                [one] => vec![one.why.clone()],
                all => all.iter().map(|one| format!("{}: {}", one.name, one.why)).collect(),
            };
            let known: Vec<&str> = builtin_platforms().collect();
            return Err(Error::Platform {
                platform: names.join(","),
                reason: format!(
                    "{}; there are the platforms {}, `transcode doctor` says which of them work here",
                    why.join("; "),
                    known.join(", ")
                ),
            });
        };
        let to = &first.name;
        let told = self.rejected.iter().filter(|one| one.told && one.before == 0);
        let fallbacks = told.map(|one| Fallback {
            from: one.name.clone(),
            to: to.clone(),
            why: one.why.clone(),
            segment: None,
        });
        let fallbacks = fallbacks.collect();
        Ok(Chosen { platforms: self.accepted.into_iter().map(|(platform, _)| platform).collect(), fallbacks })
    }
}

/// A platform gave up in mid-job: remembered, so that one that fails again and again is set aside.
pub(crate) fn note_failure(name: &str, key: &Key) {
    if name != SOFTWARE {
        let change = |memory: &mut Memory| memory.health.entry(name.to_owned()).or_default().failed(now());
        Keeper::here().change(key, change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn platform(name: &str) -> Platform {
        Platform { name: name.to_owned(), ..Platform::builtin(SOFTWARE).expect("built in") }
    }

    fn order(chosen: &Chosen) -> Vec<&str> {
        chosen.platforms.iter().map(|platform| platform.name.as_str()).collect()
    }

    #[test]
    fn auto_ends_with_software_and_a_list_names_each_once() {
        let auto = load(&names(&["auto"])).expect("platforms");
        assert_eq!(auto.last().map(|last| last.platform.name.as_str()), Some(SOFTWARE));
        assert_eq!(auto.len(), builtin_platforms().count());
        assert_eq!(load(&names(&["software", "auto"])).expect("platforms").len(), auto.len());
        assert!(!load(&names(&["software"])).expect("platforms")[0].auto);
    }

    #[test]
    fn what_auto_finds_is_used_fastest_first_and_software_last() {
        let fast = |speed| Verdict { speed: Some(speed), ..Verdict::default() };
        let mut sorted = Sorted::default();
        sorted.accept(platform(SOFTWARE), true, Some(&fast(99.0)));
        sorted.accept(platform("a"), true, Some(&fast(2.0)));
        sorted.accept(platform("b"), true, Some(&fast(3.0)));
        assert_eq!(order(&sorted.chosen().expect("some")), ["b", "a", SOFTWARE]);
        let mut named = Sorted::default();
        named.accept(platform("a"), false, Some(&fast(2.0)));
        named.accept(platform("b"), false, Some(&fast(3.0)));
        assert_eq!(order(&named.chosen().expect("some")), ["a", "b"], "a list is the order");
    }

    #[test]
    fn what_was_named_and_cannot_be_used_is_told() {
        let mut sorted = Sorted::default();
        sorted.reject(&platform("a"), "no driver".into(), true);
        sorted.reject(&platform("quiet"), "not installed".into(), false);
        sorted.accept(platform("b"), false, None);
        sorted.reject(&platform("c"), "behind".into(), true);
        let chosen = sorted.chosen().expect("one");
        let [told] = &chosen.fallbacks[..] else { panic!("{chosen:?}") };
        assert_eq!((told.from.as_str(), told.to.as_str(), told.segment), ("a", "b", None));
        let mut none = Sorted::default();
        none.reject(&platform("a"), "missing: `x` (y)".into(), true);
        let error = none.chosen().expect_err("none").to_string();
        assert!(error.contains("missing: `x` (y)") && error.contains(SOFTWARE), "{error}");
    }

    #[test]
    fn an_unknown_platform_is_refused_with_the_names_that_exist() {
        let error = load(&names(&["nonsense"])).expect_err("refused").to_string();
        assert!(error.contains("software"), "{error}");
    }
}
