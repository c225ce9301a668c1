//! Profiles by name or path, and what the command line changes of them.
//!
//! Knows the profile's shape, no media and no plan. Times are media times.

use super::args::{Asked, Choice};
use crate::engine::platforms::{is_path, read_file};
use transcode_core::Error;
use transcode_core::spec::{AudioPolicy, Clip, JobSpec, Profile, RateControl, builtin_profiles};
use transcode_core::units::MediaTime;

/// The profile of that name, or in that file.
pub(super) fn load(name: &str) -> Result<Profile, Error> {
    if is_path(name) { Profile::parse(name, &read_file("profile", name)?) } else { Profile::builtin(name) }
}

/// `transcode profiles`: one line each, or one of them as a file.
pub(super) fn show(name: Option<&str>) -> Result<String, Error> {
    let Some(name) = name else {
        let lines = builtin_profiles().map(|name| {
            let profile = Profile::builtin(name)?;
            Ok(format!("{name:<10} {}\n", profile.description))
        });
        return lines.collect();
    };
    let profile = load(name)?;
    toml::to_string(&profile).map_err(|error| Error::Config {
        what: format!("profile {name}"),
        reason: format!("it cannot be written as TOML: {error}"),
    })
}

/// The job that the command line asks for.
pub(super) fn job(asked: &Asked, choice: &Choice) -> Result<JobSpec, Error> {
    let mut profile = load(&choice.profile)?;
    change(&mut profile, choice);
    profile.check().map_err(|reason| Error::Config {
        what: format!("profile {} with the options given", profile.name),
        reason,
    })?;
    let (clip, allow_truncated, chunk) = (clip(choice)?, asked.allow_truncated, choice.chunk);
    Ok(JobSpec { clip, allow_truncated, chunk, ..JobSpec::new(profile) })
}

/// Options win over the profile and over what its renditions say for themselves.
fn change(profile: &mut Profile, choice: &Choice) {
    if !choice.rung.is_empty() {
        profile.renditions.clone_from(&choice.rung);
    }
    if let Some(segment) = choice.segment {
        profile.segment = segment;
        // Key frames at least at every boundary: a profile for longer segments follows.
        profile.encoding.key_interval = profile.encoding.key_interval.min(segment);
        for rendition in &mut profile.renditions {
            let own = rendition.encoding.key_interval;
            rendition.encoding.key_interval = own.map(|interval| interval.min(segment));
        }
    }
    let encoding = &mut profile.encoding;
    encoding.preset = choice.preset.unwrap_or(encoding.preset);
    encoding.tune = choice.tune.unwrap_or(encoding.tune);
    encoding.key_interval = choice.key_interval.unwrap_or(encoding.key_interval);
    if let Some(crf) = choice.crf {
        encoding.rate_control = RateControl::CappedCrf { crf };
    }
    for rendition in &mut profile.renditions {
        let own = &mut rendition.encoding;
        own.preset = own.preset.filter(|_| choice.preset.is_none());
        own.tune = own.tune.filter(|_| choice.tune.is_none());
        own.key_interval = own.key_interval.filter(|_| choice.key_interval.is_none());
        own.rate_control = own.rate_control.filter(|_| choice.crf.is_none());
    }
    if choice.no_audio {
        profile.audio = AudioPolicy::None;
    }
}

/// The part of the source that is wanted.
fn clip(choice: &Choice) -> Result<Clip, Error> {
    let start = choice.start;
    let end = match choice.duration {
        Some(duration) => Some(start.unwrap_or(MediaTime::ZERO) + duration),
        None => choice.end,
    };
    let begin = start.unwrap_or(MediaTime::ZERO);
    if let Some(end) = end.filter(|end| *end <= begin) {
        let what = if choice.duration.is_some() { "--duration" } else { "--end" };
        return Err(Error::Config {
            what: what.to_owned(),
            reason: format!(
                "the clip would end at {end} and begin at {begin}; it must end later than it begins"
            ),
        });
    }
    Ok(Clip { start, end })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Args, Command};
    use clap::Parser;

    fn spec(options: &[&str]) -> Result<JobSpec, Error> {
        let line = ["transcode", "run", "in.mp4", "--output", "out"].iter().chain(options);
        let Command::Run(run) = Args::try_parse_from(line).expect("the line is well formed").command else {
            panic!("it is a run");
        };
        job(&run.asked, &run.asked.choice)
    }

    fn time(text: &str) -> MediaTime {
        text.parse().expect("a time")
    }

    #[test]
    fn a_clip_is_given_by_its_end_or_its_duration() {
        let end = spec(&["--start", "1:30", "--end", "00:01:40.5"]).expect("a job").clip;
        let duration = spec(&["--start", "90s", "--duration", "10.5"]).expect("a job").clip;
        assert_eq!(end, duration);
        assert_eq!(end.end, Some(time("100.5s")));
        assert_eq!(spec(&[]).expect("a job").clip, Clip::default());
    }

    #[test]
    fn a_clip_that_ends_before_it_begins_is_refused() {
        for options in [["--start", "10", "--end", "10"], ["--start", "10", "--end", "9"]] {
            let error = spec(&options).expect_err("refused").to_string();
            assert!(error.starts_with("--end") && error.contains("10s"), "{error}");
        }
    }

    #[test]
    fn options_win_over_what_a_rendition_says_for_itself() {
        let file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a file");
        let text = "name = \"own\"\ndescription = \"d\"\nsegment = \"6s\"\n[encoding]\npreset = \"veryfast\"\n\
                    rate-control = \"abr\"\nvbv = \"2s\"\nkey-interval = \"6s\"\n[[rendition]]\nname = \"a\"\n\
                    video = \"1M\"\naudio = \"64k\"\nencoding = { preset = \"slow\", key-interval = \"3s\" }\n";
        std::fs::write(file.path(), text).expect("write");
        let path = file.path().to_str().expect("a path");
        let all = ["--profile", path, "--preset", "medium", "--crf", "20", "--segment", "2s"];
        let profile = spec(&all).expect("a job").profile;
        let encoding = profile.renditions[0].encoding.over(&profile.encoding);
        assert_eq!(encoding.preset, transcode_core::spec::Preset::Medium);
        assert_eq!(encoding.rate_control, RateControl::CappedCrf { crf: 20 });
        assert_eq!(encoding.key_interval, time("2s"), "shorter segments take the key frames along");
    }

    #[test]
    fn rungs_given_by_hand_replace_the_ladder() {
        let profile =
            spec(&["--rung", "a:240:300k:64k", "--rung", "b:source:1M:64k"]).expect("a job").profile;
        let names: Vec<_> = profile.renditions.iter().map(|rendition| rendition.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        let error = spec(&["--profile", "match", "--rung", "a:240:1M:64k", "--rung", "b:120:1M:64k"])
            .expect_err("the flat layout holds one");
        assert!(error.to_string().contains("one rendition"), "{error}");
    }

    #[test]
    fn an_unknown_profile_is_refused_with_the_names_that_exist() {
        let error = spec(&["--profile", "nonsense"]).expect_err("refused").to_string();
        assert!(error.contains("abr, match"), "{error}");
        let error = spec(&["--profile", "./nonsense.toml"]).expect_err("refused").to_string();
        assert!(error.contains("./nonsense.toml"), "{error}");
    }
}
