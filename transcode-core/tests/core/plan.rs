//! Golden plans: for each source in `tests/golden/media`, the plan (`.json`) and what is told of it
//! (`.txt`) are files, reviewed as diffs. `TRANSCODE_BLESS=1` writes them again.

use std::path::PathBuf;
use transcode_core::Error;
use transcode_core::media::{Container, MediaInfo};
use transcode_core::plan::{Note, Plan, Reason, plan};
use transcode_core::platform::Platform;
use transcode_core::spec::{AudioPolicy, Clip, JobSpec, Preset, Profile, Tune};
use transcode_core::units::{MediaTime, Resolution, SegmentIndex};

pub(crate) fn time(text: &str) -> MediaTime {
    text.parse().expect(text)
}

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

pub(crate) fn media(name: &str) -> MediaInfo {
    let path = golden().join("media").join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn spec(profile: &str) -> JobSpec {
    JobSpec::new(Profile::builtin(profile).expect(profile))
}

pub(crate) fn software() -> Platform {
    Platform::builtin("software").expect("platform")
}

pub(crate) fn planned(info: &MediaInfo, spec: &JobSpec) -> Plan {
    plan(info, spec, &software()).unwrap_or_else(|error| panic!("{}", error.chain()))
}

fn refused(info: &MediaInfo, spec: &JobSpec) -> Error {
    match plan(info, spec, &software()) {
        Ok(plan) => panic!("{}", plan.explain()),
        Err(error) => error,
    }
}

fn clip(start: Option<&str>, end: Option<&str>) -> Clip {
    Clip { start: start.map(time), end: end.map(time) }
}

/// Every golden plan: its name, the source, the request.
fn cases() -> Vec<(&'static str, &'static str, JobSpec)> {
    let with_clip = |start, end| JobSpec { clip: clip(start, end), ..spec("abr") };
    let mut key_frames = spec("abr");
    key_frames.profile.encoding.key_interval = time("2s");
    key_frames.profile.encoding.preset = Preset::Medium;
    key_frames.profile.encoding.rate_control = transcode_core::spec::RateControl::CappedCrf { crf: 21 };
    vec![
        ("film-1080p24", "film-1080p24", spec("abr")),
        ("film-1080p24-match", "film-1080p24", spec("match")),
        ("film-1080p24-clip", "film-1080p24", with_clip(Some("10.01s"), Some("17s"))),
        ("film-1080p24-crf", "film-1080p24", key_frames),
        ("action-camera-2997", "action-camera-2997", spec("abr")),
        ("upright-phone", "upright-phone", spec("abr")),
        ("4k60", "4k60", spec("abr")),
        ("pal-interlaced", "pal-interlaced", spec("abr")),
        ("screen-variable", "screen-variable", spec("abr")),
        ("podcast", "podcast", spec("abr")),
        ("song", "song", spec("match")),
        ("silent", "silent", spec("abr")),
        ("one-pixel", "one-pixel", spec("abr")),
        ("odd-sides", "odd-sides", spec("match")),
        ("cut-off", "cut-off", JobSpec { allow_truncated: true, ..spec("abr") }),
        ("hlg-10-bit", "hlg-10-bit", spec("abr")),
        ("live-recording", "live-recording", spec("match")),
        ("slow-motion-240", "slow-motion-240", spec("abr")),
    ]
}

#[test]
fn plans_are_those_that_were_reviewed() {
    let bless = std::env::var_os("TRANSCODE_BLESS").is_some();
    let mut wrong = Vec::new();
    for (name, source, spec) in cases() {
        let plan = planned(&media(source), &spec);
        for (file, text) in
            [(format!("{name}.json"), plan.to_json()), (format!("{name}.txt"), plan.explain())]
        {
            let path = golden().join(&file);
            if bless {
                std::fs::write(&path, &text).expect("golden file");
            }
            let stored = std::fs::read_to_string(&path).unwrap_or_default();
            if stored != text {
                let line = stored.lines().zip(text.lines()).find(|(left, right)| left != right);
                wrong.push(format!("{file}: {line:?}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "plans changed; look at `TRANSCODE_BLESS=1 cargo test -p transcode-core --test core plan` and `git diff`:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_golden_file_belongs_to_a_case() {
    let names: Vec<_> = cases().iter().map(|(name, _, _)| (*name).to_owned()).collect();
    for entry in std::fs::read_dir(golden()).expect("golden").map(|entry| entry.expect("entry").path()) {
        let stem = entry.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        assert!(entry.is_dir() || names.contains(&stem), "{} is left over", entry.display());
    }
}

#[test]
fn a_stored_plan_reads_back_equal_and_other_versions_are_refused() {
    let plan = planned(&media("film-1080p24"), &spec("abr"));
    let json = plan.to_json();
    assert_eq!(Plan::from_json(json.as_bytes()).unwrap(), plan);
    let newer = json.replacen("\"version\": 3", "\"version\": 4", 1);
    let error = Plan::from_json(newer.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("version 4") && error.to_string().contains("version 3"), "{error}");
    for (text, expected) in
        [("", "not JSON"), ("{}", "no version"), ("[1]", "no version"), ("{\"version\": 3}", "missing field")]
    {
        let error = Plan::from_json(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let unknown = json.replacen("\"profile\":", "\"surprise\": 1,\n  \"profile\":", 1);
    let error = Plan::from_json(unknown.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("surprise"), "{error}");
}

#[test]
fn differences_name_every_value_that_differs_and_nothing_else() {
    let info = media("film-1080p24");
    let left = planned(&info, &spec("abr"));
    assert_eq!(left.differences(&left), []);
    let mut right = left.clone();
    let video = right.rungs[1].video.as_mut().unwrap();
    video.bitrate = "3M".parse().unwrap();
    video.scale_from = Some("1080p".into());
    right.thumbnail = None;
    right.rungs.swap(2, 3);
    let texts: Vec<String> = left.differences(&right).iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 4, "{texts:#?}");
    assert!(texts.contains(&"rungs.720p.video.bitrate: 4M, not 3M".to_owned()), "{texts:#?}");
    assert!(texts.contains(&"rungs.720p.video.scale_from: nothing, not 1080p".to_owned()), "{texts:#?}");
    assert!(
        texts.contains(&"rungs: 1080p, 720p, 480p, 360p, not 1080p, 720p, 360p, 480p".to_owned()),
        "{texts:#?}"
    );
    assert!(
        texts.iter().any(|text| text.starts_with("thumbnail: {") && text.ends_with("not nothing")),
        "{texts:#?}"
    );
    let back: Vec<String> = right.differences(&left).iter().map(|one| one.path.clone()).collect();
    assert_eq!(back.len(), 4, "{back:?}");
}

#[test]
fn a_cut_off_source_is_refused_unless_allowed() {
    let info = media("cut-off");
    let error = refused(&info, &spec("abr"));
    assert!(matches!(error, Error::Input { .. }));
    let text = error.to_string();
    for expected in ["27500000 bytes", "7.5 s of 30 s", "--allow-truncated", "file:///media/cut-off.mp4"] {
        assert!(text.contains(expected), "{text}");
    }
    // What is there before the cut may be had without asking.
    let before = JobSpec { clip: clip(None, Some("5s")), ..spec("abr") };
    let plan = planned(&info, &before);
    assert_eq!((plan.timeline.slots, plan.allow_truncated), (120, false));
    assert!(plan.report.notes.iter().any(|note| matches!(note.reason, Reason::TruncatedLater { .. })));
    // What is behind it cannot be had at all.
    let behind = JobSpec { clip: clip(Some("8s"), None), allow_truncated: true, ..spec("abr") };
    assert!(matches!(refused(&info, &behind), Error::Input { .. }));
    let whole = planned(&info, &JobSpec { allow_truncated: true, ..spec("abr") });
    assert_eq!((whole.timeline.slots, whole.allow_truncated, whole.timeline.open_ended), (180, true, false));
}

#[test]
fn a_clip_outside_the_source_is_refused_with_the_sources_end() {
    let info = media("film-1080p24");
    for (start, end, expected) in [
        (Some("30s"), None, "the source ends at 30 s"),
        (Some("1:00:00"), Some("1:00:05"), "the source ends at 30 s"),
        (Some("5s"), Some("5s"), "not after its beginning at 5 s"),
        (Some("5s"), Some("4s"), "not after its beginning at 5 s"),
        (Some("-1s"), None, "-1 s is before"),
        (Some("29.99s"), None, "nothing of the source begins at or after 29.99 s"),
    ] {
        let error = refused(&info, &JobSpec { clip: clip(start, end), ..spec("abr") });
        assert!(matches!(error, Error::Config { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    // An end behind the source's is the source's.
    let plan = planned(&info, &JobSpec { clip: clip(Some("29s"), Some("35s")), ..spec("abr") });
    assert_eq!((plan.timeline.slots, plan.timeline.start), (24, time("29s")));
    assert!(plan.report.notes.iter().any(|note| matches!(note.reason, Reason::ClipEndsWithSource { .. })));
    // Before the first picture there is nothing to show.
    let error = refused(&media("pal-interlaced"), &JobSpec { clip: clip(None, Some("50ms")), ..spec("abr") });
    assert!(error.to_string().contains("first picture, which is shown at 0.08 s"), "{error}");
}

#[test]
fn a_clip_begins_on_the_sources_grid_and_ends_before_its_end() {
    let info = media("action-camera-2997");
    let plan = planned(&info, &JobSpec { clip: clip(Some("1s"), Some("2s")), ..spec("abr") });
    // Picture 30 is shown at 1.001 s, picture 59 at 1.968…, picture 60 at 2.002 s.
    assert_eq!((plan.timeline.start, plan.timeline.slots), (time("1.001s"), 30));
    let exact = planned(&info, &JobSpec { clip: clip(Some("1.001s"), Some("2.002s")), ..spec("abr") });
    assert_eq!((exact.timeline.start, exact.timeline.slots), (time("1.001s"), 30));
    assert!(!exact.report.notes.iter().any(|note| matches!(note.reason, Reason::ClipMoved { .. })));
}

#[test]
fn a_codec_without_a_decoder_is_refused_with_those_that_have_one() {
    let mut info = media("film-1080p24");
    info.video[0].codec = "vvc".into();
    let text = refused(&info, &spec("abr")).to_string();
    assert!(text.contains("its video is vvc") && text.contains("av1, h264, hevc"), "{text}");
    // Another track takes its place.
    let mut second = media("silent").video;
    second[0].pad = "video_1".into();
    info.video.extend(second);
    let plan = planned(&info, &spec("abr"));
    assert_eq!(plan.input.video.unwrap().pad, "video_1");
    assert!(
        plan.report
            .notes
            .iter()
            .any(|note| matches!(note.reason, Reason::TrackPassedOver { empty: false, .. }))
    );

    let mut info = media("film-1080p24");
    info.audio[0].codec = "ac4".into();
    let text = refused(&info, &spec("abr")).to_string();
    assert!(text.contains("its audio is ac4") && text.contains("audio = \"none\""), "{text}");
    let mut silent = spec("abr");
    silent.profile.audio = AudioPolicy::None;
    assert!(planned(&info, &silent).rungs.iter().all(|rung| rung.audio.is_none()));
}

#[test]
fn a_source_with_nothing_in_it_is_refused() {
    let mut info = media("film-1080p24");
    info.video[0].pictures = Some(0);
    info.audio.clear();
    assert!(matches!(refused(&info, &spec("abr")), Error::Input { .. }));
    let mut info = media("song");
    info.audio[0].duration = Some(MediaTime::ZERO);
    assert!(matches!(refused(&info, &spec("abr")), Error::Input { .. }));
    let mut silent = spec("abr");
    silent.profile.audio = AudioPolicy::None;
    let text = refused(&media("song"), &silent).to_string();
    assert!(text.contains("the profile wants no sound"), "{text}");
}

#[test]
fn a_platform_without_the_means_is_named_with_what_it_has() {
    let info = media("film-1080p24");
    let mut platform = software();
    platform.encode.preset.values.remove(&Preset::Veryfast);
    let text = plan(&info, &spec("abr"), &platform).unwrap_err().to_string();
    assert!(
        text.contains("rendition 1080p: preset `veryfast`") && text.contains("ultrafast, superfast, faster"),
        "{text}"
    );
    let mut platform = software();
    platform.encode.tune.values.remove(&Tune::Zerolatency);
    let text = plan(&info, &spec("match"), &platform).unwrap_err().to_string();
    assert!(text.contains("tune `zerolatency`"), "{text}");
    let mut platform = software();
    platform.demux.remove("mp4");
    let text = plan(&info, &spec("abr"), &platform).unwrap_err().to_string();
    assert!(text.contains("does not open mp4"), "{text}");
    let mut info = media("podcast");
    platform.demux.clear();
    assert!(plan(&info, &spec("abr"), &platform).is_ok(), "a bare stream needs no demuxer");
    info.container = Container::Ogg;
    assert!(plan(&info, &spec("abr"), &platform).is_err());
}

#[test]
fn a_profile_made_by_hand_is_checked_as_well() {
    let mut twice = spec("abr");
    twice.profile.renditions[1].name = "1080p".into();
    let error = refused(&media("film-1080p24"), &twice);
    assert!(
        matches!(error, Error::Config { .. }) && error.to_string().contains("`1080p` is there twice"),
        "{error}"
    );
}

#[test]
fn a_picture_beyond_every_level_is_refused() {
    let mut info = media("film-1080p24");
    info.video[0].display = Resolution::new(16_384, 8_192).unwrap();
    let text = refused(&info, &spec("match")).to_string();
    assert!(text.contains("16384x8192") && text.contains("level 6.2"), "{text}");
    // A ladder below it is fine.
    assert_eq!(planned(&info, &spec("abr")).rungs.len(), 4);
}

#[test]
fn an_open_end_is_bounded_by_bytes_and_never_by_a_guess() {
    let mut info = media("live-recording");
    let plan = planned(&info, &spec("match"));
    assert!(plan.timeline.open_ended);
    assert_eq!((plan.timeline.expected_slots(), plan.timeline.expected_duration()), (None, None));
    // 50 MB at a byte a millisecond, and a minute.
    assert_eq!(plan.timeline.duration(), time("50060s"));
    assert_eq!(plan.thumbnail.as_ref().unwrap().frame, 0);
    // A guess is for the progress only.
    info.video[0].duration = Some(time("100s"));
    let plan = planned(&info, &spec("match"));
    assert_eq!(plan.timeline.expected_duration(), Some(time("100s")));
    assert_eq!(plan.timeline.duration(), time("50060s"));
    assert_eq!(plan.thumbnail.unwrap().frame, 600);
    // The end of a clip is an end.
    let plan = planned(&info, &JobSpec { clip: clip(None, Some("60.1s")), ..spec("match") });
    assert_eq!((plan.timeline.duration(), plan.timeline.open_ended), (time("60s"), true));
    // A huge file does not make numbers overflow.
    info.source.size = u64::MAX;
    assert_eq!(planned(&info, &spec("match")).timeline.duration(), time("3600000s"));
}

#[test]
fn sound_that_lies_off_the_pictures_is_told() {
    let reasons = |info: &MediaInfo, spec: &JobSpec| -> Vec<String> {
        let notes = planned(info, spec).report.notes;
        let sound = |note: &&Note| {
            matches!(
                note.reason,
                Reason::SoundBeforePictures { .. }
                    | Reason::SoundBeginsLate { .. }
                    | Reason::SoundAfterPictures { .. }
                    | Reason::SoundEndsEarly { .. }
            )
        };
        notes.iter().filter(sound).map(ToString::to_string).collect()
    };
    let mut info = media("film-1080p24");
    assert_eq!(reasons(&info, &spec("abr")), [""; 0]);
    info.video[0].start = time("1s");
    info.video[0].duration = Some(time("20s"));
    assert_eq!(
        reasons(&info, &spec("abr")),
        [
            "1 s of sound before the first picture are left out",
            "9 s of sound after the last picture are left out"
        ]
    );
    info.audio[0].start = time("3s");
    info.audio[0].duration = Some(time("10s"));
    assert_eq!(
        reasons(&info, &spec("abr")),
        ["sound begins late: 2 s of silence before it", "sound ends early: 8 s of silence behind it"]
    );
    assert_eq!(reasons(&info, &JobSpec { clip: clip(Some("3s"), Some("13s")), ..spec("abr") }), [""; 0]);
}

#[test]
fn an_audio_ladder_stands_on_the_grid_of_packets() {
    let plan = planned(&media("podcast"), &spec("abr"));
    assert_eq!(plan.timeline.rate.to_string(), "11025/256");
    let packets: Vec<u64> = (0..4)
        .map(|at| plan.timeline.slots_of(SegmentIndex(at)))
        .map(|slots| slots.end - slots.start)
        .collect();
    assert_eq!(packets, [259; 4], "ceil(6 × 44100 / 1024)");
    let audio = plan.rungs[0].audio.as_ref().unwrap();
    for at in 0..4 {
        let slot = plan.timeline.slots_of(SegmentIndex(at)).start;
        assert_eq!(audio.packets_before(&plan.timeline, slot), slot, "a slot is a packet");
    }
    assert!(plan.input.video.is_none() && plan.thumbnail.is_none());
}

#[test]
fn a_stream_beyond_the_first_decoder_goes_to_the_next_and_the_report_says_so() {
    let nvidia = Platform::builtin("nvidia").unwrap();
    let mut info = media("film-1080p24");
    let plain = plan(&info, &spec("abr"), &nvidia).unwrap();
    assert_eq!(
        (&plain.timeline, &plain.rungs),
        (&planned(&info, &spec("abr")).timeline, &planned(&info, &spec("abr")).rungs)
    );
    let next = |plan: &Plan| -> Vec<String> {
        let notes = plan.report.notes.iter();
        notes.filter(|n| matches!(n.reason, Reason::NextDecoder { .. })).map(ToString::to_string).collect()
    };
    assert!(next(&plain).is_empty());
    info.video[0].chroma = "4:2:2".into();
    info.video[0].bit_depth = 10;
    let odd = plan(&info, &spec("abr"), &nvidia).unwrap();
    let expected = "4:2:2, 10 bits a sample is nothing that nvh264dec decodes: avdec_h264 instead";
    assert_eq!(next(&odd), [expected]);
    assert_eq!((&odd.timeline, &odd.rungs), (&plain.timeline, &plain.rungs));
    info.video[0] = media("film-1080p24").video[0].clone();
    info.video[0].coded = Resolution::new(8192, 4320).unwrap();
    let large = plan(&info, &spec("abr"), &nvidia).unwrap();
    assert!(next(&large)[0].starts_with("8192x4320 is nothing that nvh264dec decodes"), "{:?}", next(&large));
}

#[test]
fn what_an_encoder_has_nothing_for_is_left_out_with_a_word() {
    let va = Platform::builtin("va").unwrap();
    let mut spec = spec("abr");
    spec.profile.encoding.tune = Tune::Film;
    let plan = plan(&media("film-1080p24"), &spec, &va).unwrap();
    let notes: Vec<String> = plan.report.notes.iter().map(ToString::to_string).collect();
    let expected = "720p: platform va encodes without tune film: it has nothing of the kind";
    assert!(notes.iter().any(|note| note == expected), "{notes:?}");
}
