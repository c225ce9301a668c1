//! Segments as the real muxer writes them are read and pass; each kind of damage has its own name.

use crate::muxed::{
    AUDIO, PACKET, PAT, PMT, VIDEO, find, of, renumbered, restamped, segments, unit, without,
};
use crate::plans::{audio, plan, rung, timeline, video};
use proptest::prelude::*;
use std::process::Command;
use transcode_core::plan::{Plan, Rung};
use transcode_core::playlist::{Avc, declared, measure};
use transcode_core::segment::{Inspected, PictureKind, SegmentError, check, facts, inspect};
use transcode_core::spec::{Preset, RateControl, Tune};
use transcode_core::units::{Bitrate, MediaTime, SegmentIndex};

/// 29.97 with one group of pictures a segment and sound: three segments, the last one short.
fn ntsc() -> Plan {
    let made = video("320x180", "300k", 30, 30);
    plan(timeline((30_000, 1_001), 75, 30), vec![rung("180p", Some(made), Some(audio("96k", 48_000)))])
}

/// 25 pictures a second, two groups of pictures a segment, sound at 44.1 kHz, the `match` settings.
fn zerolatency() -> Plan {
    let mut made = video("318x178", "300k", 13, 15);
    (made.preset, made.tune) = (Preset::Ultrafast, Tune::Zerolatency);
    made.colorimetry = "bt601".to_owned();
    plan(timeline((25, 1), 75, 30), vec![rung("match", Some(made), Some(audio("64k", 44_100)))])
}

fn silent() -> Plan {
    plan(timeline((25, 1), 50, 25), vec![rung("silent", Some(video("320x180", "300k", 30, 25)), None)])
}

/// 1 s and a bit in 44 packets at 44.1 kHz.
fn sound_only() -> Plan {
    plan(timeline((44_100, 1_024), 100, 44), vec![rung("sound", None, Some(audio("64k", 44_100)))])
}

fn check_one(plan: &Plan, bytes: &[u8], index: u32) -> Result<Inspected, SegmentError> {
    let inspected = inspect(bytes)?;
    check(&inspected, plan, &plan.rungs[0].name, SegmentIndex(index))?;
    Ok(inspected)
}

/// What is wrong with the first segment of `ntsc` once it has been damaged.
fn damaged(damage: impl FnOnce(Vec<u8>) -> Vec<u8>) -> SegmentError {
    let plan = ntsc();
    let whole = segments(&plan).remove(0);
    check_one(&plan, &whole, 0).expect("whole before it is damaged");
    check_one(&plan, &damage(whole), 0).expect_err("damaged")
}

#[test]
fn what_the_muxer_writes_is_what_the_plan_says() {
    for plan in [ntsc(), zerolatency(), silent(), sound_only()] {
        let name = &plan.rungs[0].name;
        let made = segments(&plan);
        assert_eq!(made.len() as u32, plan.timeline.segment_count(), "{name}");
        let (mut duration, mut packets) = (MediaTime::ZERO, 0);
        for (index, bytes) in (0..).map(SegmentIndex).zip(&made) {
            let facts =
                facts(bytes, &plan, name, index).unwrap_or_else(|error| panic!("{name} {index}: {error}"));
            assert_eq!(facts.duration, plan.timeline.length(index), "{name}");
            assert_eq!(facts.bytes, bytes.len() as u64);
            let begin = plan.timeline.begin(index);
            for start in [facts.video_start, facts.audio_start].into_iter().flatten() {
                let late = (start - begin).nanos();
                // Video begins at the boundary, audio at most a packet later.
                assert!((-12_000..24_000_000).contains(&late), "{name} {index}: {late} ns");
            }
            duration = duration + facts.duration;
            packets += facts.audio_packets;
        }
        assert_eq!(duration, plan.timeline.duration());
        let planned = plan.rungs[0]
            .audio
            .as_ref()
            .map_or(0, |audio| audio.packets_before(&plan.timeline, plan.timeline.slots));
        assert_eq!(packets, planned, "{name}");
    }
}

#[test]
fn pictures_sets_and_frames_are_read_as_they_are() {
    let read = check_one(&ntsc(), &segments(&ntsc())[0], 0).unwrap();
    let (video, audio) = (read.video.unwrap(), read.audio.unwrap());
    assert_eq!(video.pictures.len(), 30);
    assert_eq!(video.idrs().collect::<Vec<_>>(), [0]);
    assert!(video.pictures[0].random_access && video.pictures[0].parameter_sets);
    assert!(video.pictures.iter().any(|picture| picture.kind == PictureKind::Bidirectional));
    assert_eq!(video.sps.avc, Avc { profile: 100, constraints: 0, level: 30 });
    assert_eq!(video.sps.size.to_string(), "320x180");
    assert_eq!(video.sps.rate.map(|rate| rate.to_string()), Some("30000/1001".to_owned()));
    let colour = video.sps.colour.unwrap();
    assert_eq!((colour.full_range, colour.primaries, colour.transfer, colour.matrix), (false, 1, 1, 1));
    let format = audio.format.unwrap();
    assert_eq!((format.object_type, format.sample_rate, format.channels), (2, 48_000, 2));
    // 1.001 s × 48 000 / 1024 = 46.9: packets 0 to 46.
    assert_eq!(audio.packets.len(), 47);
    assert!(read.pcrs > 5 && read.first_pcr > 3_500 * 27_000_000);

    // Cropped, several slices a picture, two groups of pictures.
    let read = check_one(&zerolatency(), &segments(&zerolatency())[1], 1).unwrap();
    let video = read.video.unwrap();
    assert_eq!(video.sps.avc.to_string(), "avc1.42c00d");
    assert_eq!(video.sps.size.to_string(), "318x178");
    assert_eq!(video.idrs().collect::<Vec<_>>(), [0, 15]);
}

#[test]
fn ffprobe_reads_the_same_packets() {
    let bytes = &segments(&ntsc())[1];
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, bytes).unwrap();
    let probe = |stream: &str| -> Vec<(u64, bool)> {
        let output = Command::new("ffprobe")
            .args([
                "-v",
                "error",
                "-select_streams",
                stream,
                "-show_entries",
                "packet=pts,flags",
                "-of",
                "csv=p=0",
            ])
            .arg(file.path())
            .output()
            .expect("ffprobe is installed");
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let fields = text.lines().filter_map(|line| line.trim_end_matches(',').split_once(','));
        fields.map(|(pts, flags)| (pts.parse().unwrap(), flags.contains('K'))).collect()
    };
    let read = inspect(bytes).unwrap();
    let ours: Vec<_> =
        read.video.unwrap().pictures.iter().map(|picture| (picture.pts, picture.idr)).collect();
    assert_eq!(ours, probe("v"));
    let ours: Vec<_> = read.audio.unwrap().packets.iter().map(|packet| packet.pts).collect();
    assert_eq!(ours, probe("a").into_iter().map(|(pts, _)| pts).collect::<Vec<_>>());
}

#[test]
fn time_stamps_may_begin_again_in_a_segment() {
    // 32 pictures and 60 AAC packets take 1.28 s both, so the first segment is like all others. As
    // segment 71 752 of a day-long timeline: 2^33 ticks less an hour are 91 843.7 s.
    let made = video("320x180", "300k", 30, 32);
    let rungs = vec![rung("long", Some(made), Some(audio("96k", 48_000)))];
    let mut plan = plan(timeline((25, 1), 32, 32), rungs);
    let made = segments(&plan).remove(0);
    plan.timeline.slots = 32 * 100_000;
    let index = SegmentIndex(71_752);
    let shift = u64::try_from(plan.timeline.begin(index).ticks(90_000)).unwrap();
    let bytes = restamped(made, |_, _, stamp| stamp + shift);
    let pictures = inspect(&bytes).unwrap().video.unwrap().pictures;
    assert!(pictures.iter().any(|picture| picture.pts < 100_000), "the clock begins again here");
    assert!(pictures.iter().any(|picture| picture.pts > (1 << 33) - 100_000), "and not before");
    let facts = facts(&bytes, &plan, "long", index).unwrap();
    let late = (facts.video_start.unwrap() - plan.timeline.begin(index)).nanos();
    assert!(late.abs() < 12_000, "{late} ns");
}

#[test]
fn a_lost_packet_is_a_gap_in_the_continuity() {
    let lost = |bytes: Vec<u8>| without(&bytes, &[of(&bytes, VIDEO)[3]]);
    assert!(matches!(damaged(lost), SegmentError::Continuity { pid: VIDEO, .. }));
    let lost = |bytes: Vec<u8>| without(&bytes, &[of(&bytes, AUDIO)[5]]);
    assert!(matches!(damaged(lost), SegmentError::Continuity { pid: AUDIO, .. }));
}

#[test]
fn swapped_packets_are_out_of_their_turn() {
    let swapped = |mut bytes: Vec<u8>| {
        let at = of(&bytes, VIDEO)[2] * PACKET;
        bytes[at..at + 2 * PACKET].rotate_left(PACKET);
        bytes
    };
    let error = damaged(swapped);
    assert!(matches!(error, SegmentError::Continuity { pid: VIDEO, .. }), "{error}");
}

#[test]
fn sixteen_lost_packets_do_not_pass_as_none() {
    // The counter is right again after 16: then the PES packet's own length tells.
    let lost = |bytes: Vec<u8>| {
        let packets = of(&bytes, AUDIO);
        renumbered(without(&bytes, &packets[1..17]))
    };
    let error = damaged(lost);
    assert!(matches!(error, SegmentError::Field { field: "PES_packet_length", .. }), "{error}");
}

#[test]
fn cut_short_is_told_wherever_the_cut_is() {
    let plan = ntsc();
    let whole = segments(&plan).remove(0);
    assert!(matches!(inspect(&[]), Err(SegmentError::Length { bytes: 0 })));
    assert!(matches!(inspect(&whole[..whole.len() - 1]), Err(SegmentError::Length { .. })));
    for packets in 1..whole.len() / PACKET {
        let error = check_one(&plan, &whole[..packets * PACKET], 0).expect_err("cut short");
        let named = match &error {
            SegmentError::Field { field, .. } => *field == "PES_packet_length",
            SegmentError::Count { found, at_most, .. } => found < at_most,
            SegmentError::Syntax { .. } => packets <= 3,
            SegmentError::Picture { .. } => packets < 10,
            _ => false,
        };
        assert!(named, "{packets} packets: {error}");
    }
}

#[test]
fn bytes_that_are_no_transport_stream_are_told_by_the_sync_byte() {
    let slipped = |mut bytes: Vec<u8>| {
        bytes[PACKET * 4] = 0x48;
        bytes
    };
    assert_eq!(
        damaged(slipped),
        SegmentError::Field { offset: 752, field: "sync_byte", found: 0x48, expected: 0x47 }
    );
}

#[test]
fn a_flipped_bit_in_a_table_is_told_by_its_crc() {
    for (stream, table) in [(PAT, "PAT"), (PMT, "PMT")] {
        let flipped = |mut bytes: Vec<u8>| {
            let last = (of(&bytes, stream)[1] + 1) * PACKET - 1;
            bytes[last] ^= 1;
            bytes
        };
        let error = damaged(flipped);
        assert!(matches!(&error, SegmentError::TableCrc { table: named, .. } if *named == table), "{error}");
    }
}

#[test]
fn a_segment_begins_with_its_tables() {
    let headless = |bytes: Vec<u8>| bytes[PACKET..].to_vec();
    assert!(matches!(damaged(headless), SegmentError::Syntax { offset: 0, .. }));
    let late = |mut bytes: Vec<u8>| {
        bytes[PACKET..3 * PACKET].rotate_left(PACKET);
        bytes
    };
    assert!(matches!(damaged(late), SegmentError::Syntax { offset: 188, .. }));
}

#[test]
fn a_foreign_stream_is_refused() {
    let foreign = |mut bytes: Vec<u8>| {
        let at = of(&bytes, AUDIO)[0] * PACKET;
        bytes[at + 2] = 0x77;
        bytes
    };
    assert!(matches!(damaged(foreign), SegmentError::UnknownPid { pid: 0x77, .. }));
}

#[test]
fn a_missing_parameter_set_is_named() {
    for (nal, missing) in [(0x67, "SPS"), (0x68, "PPS")] {
        // Made a filler NAL unit, which says nothing.
        let without = |mut bytes: Vec<u8>| {
            let at = find(&bytes, of(&bytes, VIDEO)[0], &[0, 0, 1, nal]);
            bytes[at + 3] = 0x0C;
            bytes
        };
        let error = damaged(without);
        assert!(
            matches!(&error, SegmentError::ParameterSet { picture: 0, missing: named, .. } if *named == missing)
        );
    }
}

/// The first packet of a picture, and where the header of its slice is.
fn slice(bytes: &[u8], picture: usize, header: u8) -> usize {
    let packets = unit(bytes, VIDEO, picture);
    let found = packets.iter().find(|packet| {
        bytes[**packet * PACKET..][..PACKET].windows(4).any(|window| window == [0, 0, 1, header])
    });
    find(bytes, *found.expect("a slice"), &[0, 0, 1, header]) + 3
}

#[test]
fn a_segment_that_begins_without_a_key_frame_is_refused() {
    let plain = |mut bytes: Vec<u8>| {
        let at = slice(&bytes, 0, 0x65);
        bytes[at] = 0x61;
        bytes
    };
    assert!(matches!(damaged(plain), SegmentError::NotIdr { .. }));
}

#[test]
fn a_key_frame_more_or_less_is_named() {
    // An IDR picture that refers to others is none: the slice's type gives it away.
    let more = |mut bytes: Vec<u8>| {
        let at = slice(&bytes, 1, 0x41);
        bytes[at] = 0x65;
        bytes
    };
    let error = damaged(more);
    assert!(matches!(error, SegmentError::Picture { picture: 1, .. }), "{error}");

    // A real one where the plan has none, and none where the plan has one.
    let mut plan = zerolatency();
    let made = segments(&plan).remove(0);
    for (gop, number, there) in [(30, 15, true), (10, 10, false)] {
        plan.rungs[0].video.as_mut().unwrap().gop = gop;
        match check_one(&plan, &made, 0) {
            Err(SegmentError::KeyFrame { picture, found, .. }) => {
                assert_eq!((picture, found), (number, there))
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_picture_a_frame_late_is_named_with_its_ticks() {
    // The last one, so that no other has its place.
    let late = |bytes| {
        let last = 29;
        restamped(
            bytes,
            move |stream, number, stamp| {
                if stream == VIDEO && number == last { stamp + 3_003 } else { stamp }
            },
        )
    };
    let error = damaged(late);
    match &error {
        SegmentError::Time { what: "picture", found, expected, .. } => {
            assert!((3_002..=3_004).contains(&(found - expected)));
        }
        other => panic!("{other}"),
    }
    assert!(error.to_string().contains("300"), "{error}");
}

#[test]
fn a_whole_segment_a_frame_late_is_named() {
    let late = |bytes| restamped(bytes, |_, _, stamp| stamp + 3_003);
    assert!(matches!(damaged(late), SegmentError::Time { number: 0, what: "picture", .. }));
    // Against the wrong place in the plan: the same segment, one further.
    let plan = ntsc();
    let error = check_one(&plan, &segments(&plan)[0], 1).expect_err("another's place");
    assert!(matches!(error, SegmentError::Time { number: 0, .. }), "{error}");
}

#[test]
fn decoding_times_must_increase() {
    let back = |bytes| {
        restamped(
            bytes,
            |stream, number, stamp| {
                if stream == VIDEO && number == 7 { stamp - 9_009 } else { stamp }
            },
        )
    };
    assert!(matches!(damaged(back), SegmentError::Order { picture: 7, .. }));
}

#[test]
fn a_missing_audio_packet_is_named() {
    let missing = |number| {
        move |bytes: Vec<u8>| {
            let packets = unit(&bytes, AUDIO, number);
            renumbered(without(&bytes, &packets))
        }
    };
    // In the middle its successor comes where it should have been; the last is missed by the count.
    let error = damaged(missing(20));
    assert!(matches!(error, SegmentError::Time { what: "audio packet", number: 20, .. }), "{error}");
    let error = damaged(missing(46));
    let count = SegmentError::Count { what: "audio packets", found: 46, at_least: 47, at_most: 47 };
    assert_eq!(error, count);
}

#[test]
fn fewer_pictures_pass_only_where_the_end_is_open() {
    let mut plan = ntsc();
    let last = segments(&plan).remove(2);
    // 15 pictures, where the plan has 30.
    plan.timeline.slots = 90;
    let error = check_one(&plan, &last, 2).expect_err("short");
    assert_eq!(error, SegmentError::Count { what: "pictures", found: 15, at_least: 30, at_most: 30 });
    plan.timeline.open_ended = true;
    check_one(&plan, &last, 2).expect("the end is open");
    plan.timeline.open_ended = false;
    plan.allow_truncated = true;
    check_one(&plan, &last, 2).expect("a truncated source is allowed");
    // More than planned never pass.
    plan.timeline.slots = 70;
    let error = check_one(&plan, &last, 2).expect_err("long");
    assert_eq!(error, SegmentError::Count { what: "pictures", found: 15, at_least: 1, at_most: 10 });
}

#[test]
fn an_encoder_that_did_something_else_is_named() {
    let made = segments(&ntsc()).remove(0);
    let against = |change: fn(&mut Rung)| {
        let mut plan = ntsc();
        change(&mut plan.rungs[0]);
        match check_one(&plan, &made, 0) {
            Err(SegmentError::Format { what, .. }) => what,
            other => panic!("{other:?}"),
        }
    };
    let profile_and_level = "H.264 profile and level";
    assert_eq!(against(|rung| rung.video.as_mut().unwrap().profile = "main".to_owned()), profile_and_level);
    assert_eq!(against(|rung| rung.video.as_mut().unwrap().level = 31), profile_and_level);
    assert_eq!(
        against(|rung| rung.video.as_mut().unwrap().size = "320x184".parse().unwrap()),
        "picture size"
    );
    assert_eq!(
        against(|rung| rung.video.as_mut().unwrap().colorimetry = "bt601".to_owned()),
        "colour (range:primaries:transfer:matrix)"
    );
    assert_eq!(against(|rung| rung.audio.as_mut().unwrap().channels = 1), "audio channels");
    assert_eq!(against(|rung| rung.audio.as_mut().unwrap().sample_rate = 44_100), "audio samples a second");
    let mut plan = ntsc();
    plan.timeline = timeline((24, 1), 75, 30);
    assert!(matches!(check_one(&plan, &made, 0), Err(SegmentError::Format { what: "frame rate", .. })));
}

#[test]
fn streams_that_are_missing_or_too_many_are_named() {
    let mut plan = ntsc();
    let made = segments(&plan).remove(0);
    plan.rungs[0].audio = None;
    let error = check_one(&plan, &made, 0).expect_err("sound");
    assert_eq!(error, SegmentError::Stream { stream: "audio", found: true });
    assert_eq!(error.to_string(), "audio is there, but the plan's rung is without it");
    let silent_made = segments(&silent()).remove(0);
    let mut wanted = silent();
    wanted.rungs[0].audio = Some(audio("64k", 48_000));
    let error = check_one(&wanted, &silent_made, 0).expect_err("no sound");
    assert_eq!(error, SegmentError::Stream { stream: "audio", found: false });
    assert!(matches!(check_one(&silent(), &silent_made, 9), Err(SegmentError::NotPlanned { .. })));
}

#[test]
fn profiles_of_every_preset_are_what_the_codecs_say() {
    for profile in ["high", "main", "constrained-baseline"] {
        for preset in [Preset::Ultrafast, Preset::Superfast, Preset::Veryfast] {
            for tune in [Tune::None, Tune::Zerolatency] {
                let mut plan = silent();
                plan.timeline.slots = 25;
                let video = plan.rungs[0].video.as_mut().unwrap();
                (video.profile, video.preset, video.tune) = (profile.to_owned(), preset, tune);
                let declared = Avc::of(video);
                let read = check_one(&plan, &segments(&plan)[0], 0).unwrap();
                assert_eq!(read.video.unwrap().sps.avc, declared, "{profile} {preset:?} {tune:?}");
            }
        }
    }
}

#[test]
fn colours_are_tagged_as_the_plan_names_them() {
    // By name, and in GStreamer's own numbers: BT.601's matrix with BT.709's transfer.
    for (name, tagged) in [
        ("bt601", [6, 6, 6]),
        ("bt2020", [9, 15, 9]),
        ("bt2100-pq", [9, 16, 9]),
        ("bt2100-hlg", [9, 18, 9]),
        ("2:4:5:4", [6, 1, 6]),
        ("2:3:7:1", [1, 13, 1]),
    ] {
        let mut plan = silent();
        plan.timeline.slots = 25;
        plan.rungs[0].video.as_mut().unwrap().colorimetry = name.to_owned();
        let made = segments(&plan).remove(0);
        let colour = check_one(&plan, &made, 0).unwrap().video.unwrap().sps.colour.unwrap();
        assert_eq!([colour.primaries, colour.transfer, colour.matrix], tagged, "{name}");
        plan.rungs[0].video.as_mut().unwrap().colorimetry = "bt709".to_owned();
        check_one(&plan, &made, 0).expect_err("another colour");
    }
}

#[test]
fn the_declared_average_is_what_the_muxer_makes_of_such_bits() {
    for mut plan in [ntsc(), zerolatency(), silent(), sound_only()] {
        let bytes = segments(&plan).remove(0);
        let read = inspect(&bytes).unwrap();
        let length = plan.timeline.length(SegmentIndex(0));
        let rate = |bytes: u64| Bitrate::new((bytes as f64 * 8.0 / length.as_secs_f64()) as u64).unwrap();
        // The plan with the bit rates that the encoders really made.
        let rung = &mut plan.rungs[0];
        if let Some((rung, made)) = rung.video.as_mut().zip(read.video) {
            rung.bitrate = rate(made.pictures.iter().map(|picture| picture.bytes - 6).sum());
            rung.rate_control = RateControl::Cbr;
        }
        if let Some((rung, made)) = rung.audio.as_mut().zip(read.audio) {
            rung.bitrate = rate(made.packets.iter().map(|packet| packet.bytes - 7).sum());
        }
        let declared = declared(&plan, &plan.rungs[0]).average.bits_per_second() as f64;
        let measured = measure([(read.bytes, length)].into_iter()).average.bits_per_second() as f64;
        let ratio = declared / measured;
        assert!((0.98..1.1).contains(&ratio), "{}: {declared} declared, {measured} made", plan.rungs[0].name);
    }
}

proptest! {
    /// Tables, parameter sets, headers and time stamps are in the first packets.
    #[test]
    fn no_damage_makes_the_reader_panic(
        damage in prop::collection::vec((0..PACKET * 12, any::<u8>()), 1..8),
        packets in 1usize..60,
    ) {
        let plan = ntsc();
        let mut bytes = segments(&plan).remove(0);
        bytes.truncate(packets * PACKET);
        for (at, byte) in damage {
            if let Some(there) = bytes.get_mut(at) {
                *there = byte;
            }
        }
        prop_assert!(check_one(&plan, &bytes, 0).is_err(), "cut short at the least");
    }
}
