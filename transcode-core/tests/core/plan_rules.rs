//! Rules that hold for every plan, tried on sources and requests of all kinds.

use crate::plan::{planned, software, spec};
use proptest::prelude::*;
use transcode_core::media::*;
use transcode_core::plan::{Plan, Reason, plan};
use transcode_core::spec::{Clip, JobSpec, Preset, Rendition};
use transcode_core::units::{Bitrate, FrameRate, MediaTime, Resolution, SegmentIndex};

fn rate() -> impl Strategy<Value = FrameRate> {
    let usual = prop::sample::select(vec![
        (24, 1),
        (25, 1),
        (30, 1),
        (30_000, 1_001),
        (24_000, 1_001),
        (60_000, 1_001),
        (240, 1),
        (1_000, 1),
        (90_000, 1),
        (1, 4),
    ]);
    prop_oneof![usual, (1..120_000u32, 1..2_000u32)].prop_map(|(num, den)| FrameRate::new(num, den).unwrap())
}

fn millis(range: std::ops::Range<i64>) -> impl Strategy<Value = MediaTime> {
    range.prop_map(|millis| MediaTime::new(millis, 1_000).unwrap())
}

fn size() -> impl Strategy<Value = Resolution> {
    let side = || prop_oneof![1..64u32, 64..4_400u32];
    (side(), side()).prop_map(|(width, height)| Resolution::new(width, height).unwrap())
}

prop_compose! {
    fn video()(
        rate in rate(),
        variable_rate in any::<bool>(),
        display in size(),
        start in millis(0..3_000),
        duration in proptest::option::weighted(0.9, millis(1..8_000_000)),
        counted in any::<bool>(),
        interlaced in any::<bool>(),
    ) -> VideoTrack {
        VideoTrack {
            pad: "video_0".into(),
            codec: "h264".into(),
            profile: None,
            coded: display,
            pixel_aspect: (1, 1),
            rotation: Rotation::None,
            display,
            frame_rate: rate,
            variable_rate,
            bit_depth: 8,
            chroma: "4:2:0".into(),
            colour: Colour { range_kind: DynamicRange::Sdr, colorimetry: String::new() },
            scan: if interlaced { Scan::Interlaced } else { Scan::Progressive },
            start,
            duration,
            pictures: duration
                .filter(|_| counted)
                .map(|length| u64::try_from(rate.nearest(length)).unwrap_or(0).max(1)),
            key_frames: None,
            edits: Vec::new(),
        }
    }
}

prop_compose! {
    fn audio()(
        sample_rate in prop::sample::select(vec![8_000u32, 22_050, 44_100, 48_000, 96_000]),
        channels in 1..9u32,
        start in millis(0..3_000),
        duration in proptest::option::weighted(0.9, millis(1..8_000_000)),
    ) -> AudioTrack {
        AudioTrack {
            pad: "audio_0".into(),
            codec: "aac".into(),
            sample_rate,
            channels,
            layout: "any".into(),
            language: None,
            start,
            duration,
            edits: Vec::new(),
        }
    }
}

prop_compose! {
    fn source()(
        container in prop::sample::select(vec![Container::Mp4, Container::Matroska, Container::MpegTs, Container::Flv]),
        size in 1_000..100_000_000_000u64,
        video in proptest::option::weighted(0.9, video()),
        audio in proptest::option::weighted(0.8, audio()),
    ) -> MediaInfo {
        let ends = video.iter().map(|track| (track.start, track.duration));
        let ends = ends.chain(audio.iter().map(|track| (track.start, track.duration)));
        let duration = ends.filter_map(|(start, length)| length.map(|length| start + length)).max();
        MediaInfo {
            source: SourceIdentity { uri: "memory:any".into(), size, version: None },
            container,
            duration,
            video: video.into_iter().collect(),
            audio: audio.into_iter().collect(),
            other: Vec::new(),
            truncated: None,
            remarks: Vec::new(),
        }
    }
}

prop_compose! {
    fn renditions()(
        rows in prop::collection::vec(
            (proptest::option::weighted(0.9, 2..2_200u32), 20_000..20_000_000u64, 8_000..640_000u64),
            1..7,
        )
    ) -> Vec<Rendition> {
        let rendition = |(at, (height, video, audio)): (usize, (Option<u32>, u64, u64))| Rendition {
            name: format!("rung{at}"),
            height,
            video: Bitrate::new(video).unwrap(),
            audio: Bitrate::new(audio).unwrap(),
            encoding: Default::default(),
        };
        rows.into_iter().enumerate().map(rendition).collect()
    }
}

prop_compose! {
    fn request()(
        renditions in renditions(),
        segment in millis(1_000..12_000),
        keys in 1..7i64,
        preset in prop::sample::select(vec![Preset::Ultrafast, Preset::Veryfast, Preset::Slower]),
        start in proptest::option::of(millis(0..10_000)),
        length in proptest::option::of(millis(1..20_000)),
        chunk in proptest::option::of(millis(1..100_000)),
    ) -> JobSpec {
        let mut spec = spec("abr");
        spec.profile.renditions = renditions;
        spec.profile.segment = segment;
        spec.profile.encoding.key_interval = MediaTime::new(segment.nanos() / keys, 1_000_000_000).unwrap();
        spec.profile.encoding.preset = preset;
        let end = length.map(|length| start.unwrap_or(MediaTime::ZERO) + length);
        spec.clip = Clip { start, end };
        spec.chunk = chunk;
        spec
    }
}

/// A plan, where the request fits the source.
fn any_plan() -> impl Strategy<Value = (MediaInfo, JobSpec, Plan)> {
    (source(), request()).prop_filter_map("the request does not fit", |(info, spec)| {
        let plan = plan(&info, &spec, &software()).ok()?;
        Some((info, spec, plan))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_global_rejects: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn segments_tile_the_timeline((_, _, plan) in any_plan()) {
        let timeline = &plan.timeline;
        prop_assert!(timeline.slots > 0 && timeline.segment_slots > 0);
        let count = timeline.segment_count();
        prop_assert!(count >= 1);
        // The first, the last, and those between as far as that is quick.
        let looked_at = (0..count.min(500)).chain(count.saturating_sub(2)..count);
        for index in looked_at {
            let slots = timeline.slots_of(SegmentIndex(index));
            let full = u64::from(timeline.segment_slots);
            prop_assert_eq!(slots.start, u64::from(index) * full);
            prop_assert!(slots.end - slots.start == full || (index + 1 == count && slots.end > slots.start));
            prop_assert_eq!(timeline.segment_of(slots.start), SegmentIndex(index));
            prop_assert_eq!(timeline.segment_of(slots.end - 1), SegmentIndex(index));
            let exact = slots.end - slots.start;
            prop_assert_eq!(timeline.length(SegmentIndex(index)), timeline.rate.time_of(exact));
        }
        prop_assert_eq!(timeline.slots_of(SegmentIndex(count - 1)).end, timeline.slots);
        prop_assert!(timeline.expected_slots().is_none_or(|expected| expected <= timeline.slots));
    }

    #[test]
    fn segments_are_no_shorter_than_asked_and_key_frames_no_further_apart((_, spec, plan) in any_plan()) {
        let timeline = &plan.timeline;
        let segment = timeline.rate.time_of(u64::from(timeline.segment_slots));
        prop_assert!(segment >= spec.profile.segment);
        for video in plan.rungs.iter().filter_map(|rung| rung.video.as_ref()) {
            prop_assert!(video.gop > 0 && timeline.segment_slots % video.gop == 0, "{} {}", timeline.segment_slots, video.gop);
            // Rounded up to a picture.
            let most = u64::try_from(timeline.rate.ceil(spec.profile.encoding.key_interval)).unwrap();
            prop_assert!(u64::from(video.gop) <= most, "{} > {most}", video.gop);
        }
    }

    #[test]
    fn planning_again_changes_nothing((info, spec, plan) in any_plan()) {
        let again = planned(&info, &spec);
        prop_assert_eq!(plan.differences(&again), vec![]);
        prop_assert_eq!(plan.to_json(), again.to_json());
        prop_assert_eq!(plan.explain(), again.explain());
    }

    #[test]
    fn rungs_never_upscale_and_are_even((info, _, plan) in any_plan()) {
        for video in plan.rungs.iter().filter_map(|rung| rung.video.as_ref()) {
            let (size, source) = (video.size, info.video[0].display);
            prop_assert!(size.width() % 2 == 0 && size.height() % 2 == 0);
            // 2×2 is the smallest that can be encoded.
            prop_assert!(size.width() <= source.width().max(2) && size.height() <= source.height().max(2), "{size} of {source}");
        }
    }

    #[test]
    fn rungs_keep_the_pictures_aspect((info, _, plan) in any_plan()) {
        for video in plan.rungs.iter().filter_map(|rung| rung.video.as_ref()) {
            let (size, source) = (video.size, info.video[0].display);
            let (long, short) = (u64::from(size.width().max(size.height())), u64::from(size.width().min(size.height())));
            let (source_long, source_short) =
                (u64::from(source.width().max(source.height())), u64::from(source.width().min(source.height())));
            // Each side is within one pixel (two where a side of 1 becomes 2, or both are cut).
            let error = (long * source_short).abs_diff(short * source_long);
            prop_assert!(error <= 2 * (source_long + source_short), "{size} of {source}");
        }
    }

    #[test]
    fn rungs_are_best_first_and_scaled_from_rungs_before_them((_, _, plan) in any_plan()) {
        for (at, rung) in plan.rungs.iter().enumerate() {
            let Some(video) = &rung.video else { continue };
            if let Some(before) = at.checked_sub(1).and_then(|at| plan.rungs[at].video.as_ref()) {
                prop_assert!(before.size.pixels() >= video.size.pixels());
            }
            if let Some(from) = &video.scale_from {
                let parent = plan.rungs[..at].iter().find(|other| other.name == *from);
                let parent = parent.and_then(|parent| parent.video.as_ref()).expect("a rung before it");
                let halves = parent.size.width() * 10 >= video.size.width() * 19
                    && parent.size.height() * 10 >= video.size.height() * 19;
                prop_assert!(parent.size == video.size || halves);
            }
        }
    }

    #[test]
    fn a_plan_survives_its_file((_, _, plan) in any_plan()) {
        prop_assert_eq!(Plan::from_json(plan.to_json().as_bytes()).unwrap(), plan);
    }

    #[test]
    fn chunks_tile_the_segments((_, _, plan) in any_plan()) {
        let mut next = 0;
        for (at, chunk) in plan.chunks.iter().enumerate() {
            prop_assert_eq!(chunk.index as usize, at);
            prop_assert_eq!(chunk.first.0, next);
            prop_assert!(chunk.end > chunk.first);
            next = chunk.end.0;
        }
        prop_assert_eq!(next, plan.timeline.segment_count());
    }

    #[test]
    fn every_rendition_is_kept_or_dropped_for_a_reason((info, spec, plan) in any_plan()) {
        prop_assert!(!plan.rungs.is_empty());
        for rendition in &spec.profile.renditions {
            let kept = plan.rungs.iter().filter(|rung| rung.name == rendition.name).count();
            let reasons: Vec<_> =
                plan.report.notes.iter().filter(|note| note.rung.as_ref() == Some(&rendition.name)).map(|note| &note.reason).collect();
            let in_ladder = reasons.iter().filter(|reason| {
                matches!(reason, Reason::Kept | Reason::ClampedToSource { .. } | Reason::SoundOnly)
            });
            let dropped = reasons
                .iter()
                .filter(|reason| matches!(reason, Reason::AboveSource { .. } | Reason::SameSound { .. }));
            prop_assert_eq!((kept, in_ladder.count()), if kept == 1 { (1, 1) } else { (0, 0) }, "{:?}", reasons);
            prop_assert_eq!(dropped.count(), 1 - kept, "{:?}", reasons);
            // Whoever is dropped names a rung that is there.
            for reason in reasons {
                if let Reason::AboveSource { instead, .. } | Reason::SameSound { instead } = reason {
                    prop_assert!(plan.rung(instead).is_some(), "{instead}");
                }
            }
        }
        prop_assert!(plan.rungs.iter().all(|rung| rung.video.is_some() != info.video.is_empty()));
    }

    #[test]
    fn rungs_share_one_sound_but_for_its_bits((_, _, plan) in any_plan()) {
        let formats: Vec<_> = plan.rungs.iter().filter_map(|rung| rung.audio.as_ref()).map(|audio| (audio.sample_rate, audio.channels)).collect();
        prop_assert!(formats.windows(2).all(|pair| pair[0] == pair[1]));
        prop_assert!(formats.iter().all(|(rate, channels)| matches!(rate, 44_100 | 48_000) && matches!(channels, 1 | 2)));
        prop_assert!(plan.rungs.iter().all(|rung| rung.video.is_some() || rung.audio.is_some()));
    }

    #[test]
    fn the_preview_is_a_picture_of_the_timeline((_, _, plan) in any_plan()) {
        if let Some(preview) = &plan.thumbnail {
            prop_assert!(preview.frame <= preview.last && preview.last < plan.timeline.slots && preview.retry_every > 0);
            let at = plan.timeline.rate.time_of(preview.frame);
            let ten_seconds = MediaTime::new(10, 1).unwrap();
            prop_assert!(at <= ten_seconds + plan.timeline.rate.time_of(1));
        }
    }
}
