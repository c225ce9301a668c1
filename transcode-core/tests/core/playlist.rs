//! Playlists: as RFC 8216 has them, as a parser that is not ours reads them, and back in again.

use crate::plans::{abr, audio, plan, rung, timeline, video};
use m3u8_rs::{MasterPlaylist, MediaPlaylist, MediaPlaylistType};
use proptest::prelude::*;
use std::collections::BTreeMap;
use transcode_core::plan::Plan;
use transcode_core::playlist::{
    Avc, Bandwidth, Checked, Entry, PlaylistError, State, codecs, declared, master, measure, media,
    read_media, target_duration,
};
use transcode_core::spec::{Layout, Preset, RateControl, Tune};
use transcode_core::units::{Bitrate, MediaTime, SegmentIndex};

fn lengths(plan: &Plan) -> Vec<Entry> {
    (0..plan.timeline.segment_count()).map(|index| plan.timeline.length(SegmentIndex(index)).into()).collect()
}

fn seconds(text: &str) -> MediaTime {
    text.parse().unwrap()
}

/// m3u8-rs, and nothing in the text that it does not know.
fn third_party_media(text: &str) -> MediaPlaylist {
    let (rest, playlist) = m3u8_rs::parse_media_playlist(text.as_bytes()).expect("a media playlist");
    assert!(rest.is_empty(), "unread: {}", String::from_utf8_lossy(rest));
    assert_eq!(playlist.unknown_tags, []);
    playlist
}

fn third_party_master(text: &str) -> MasterPlaylist {
    let (rest, playlist) = m3u8_rs::parse_master_playlist(text.as_bytes()).expect("a master playlist");
    assert!(rest.is_empty(), "unread: {}", String::from_utf8_lossy(rest));
    assert_eq!(playlist.unknown_tags, []);
    assert!(playlist.variants.iter().all(|variant| variant.other_attributes.is_none()));
    playlist
}

#[test]
fn a_growing_playlist_is_an_event() {
    let plan = abr(400);
    let text = media(&plan, "720p", &lengths(&plan)[..2], State::Event);
    assert_eq!(
        text,
        "#EXTM3U\n\
         #EXT-X-VERSION:3\n\
         #EXT-X-TARGETDURATION:6\n\
         #EXT-X-MEDIA-SEQUENCE:0\n\
         #EXT-X-PLAYLIST-TYPE:EVENT\n\
         #EXT-X-INDEPENDENT-SEGMENTS\n\
         #EXTINF:6.006000,\n\
         00000.ts\n\
         #EXTINF:6.006000,\n\
         00001.ts\n"
    );
}

#[test]
fn a_finished_playlist_is_vod_and_ends() {
    let mut plan = abr(400);
    plan.layout = Layout::Flat;
    plan.rungs.truncate(1);
    let text = media(&plan, "1080p", &lengths(&plan), State::Vod);
    assert_eq!(
        text,
        "#EXTM3U\n\
         #EXT-X-VERSION:3\n\
         #EXT-X-TARGETDURATION:6\n\
         #EXT-X-MEDIA-SEQUENCE:0\n\
         #EXT-X-PLAYLIST-TYPE:VOD\n\
         #EXT-X-INDEPENDENT-SEGMENTS\n\
         #EXTINF:6.006000,\n\
         output_00000.ts\n\
         #EXTINF:6.006000,\n\
         output_00001.ts\n\
         #EXTINF:1.334667,\n\
         output_00002.ts\n\
         #EXT-X-ENDLIST\n"
    );
}

#[test]
fn the_target_duration_is_the_plans_and_never_zero() {
    // 6.006 s to the nearest second; RFC 8216 §4.3.3.1 rounds EXTINF before it compares.
    assert_eq!(target_duration(&abr(1_000)), 6);
    // One segment shorter than the others would be: known at once, unless the end is open.
    let mut short = abr(50);
    assert_eq!(target_duration(&short), 2);
    short.timeline.open_ended = true;
    assert_eq!(target_duration(&short), 6);
    assert_eq!(target_duration(&abr(1)), 1);
}

#[test]
fn the_master_lists_the_plans_rungs_best_first() {
    let plan = abr(1_800);
    insta::assert_snapshot!(master(&plan, None), @r#"
    #EXTM3U
    #EXT-X-VERSION:3
    #EXT-X-INDEPENDENT-SEGMENTS
    #EXT-X-STREAM-INF:BANDWIDTH=12574993,AVERAGE-BANDWIDTH=8474085,CODECS="avc1.640028,mp4a.40.2",RESOLUTION=1920x1080,FRAME-RATE=29.970,CLOSED-CAPTIONS=NONE
    1080p/playlist.m3u8
    #EXT-X-STREAM-INF:BANDWIDTH=6379418,AVERAGE-BANDWIDTH=4321738,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=29.970,CLOSED-CAPTIONS=NONE
    720p/playlist.m3u8
    #EXT-X-STREAM-INF:BANDWIDTH=3281631,AVERAGE-BANDWIDTH=2245564,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=854x480,FRAME-RATE=29.970,CLOSED-CAPTIONS=NONE
    480p/playlist.m3u8
    #EXT-X-STREAM-INF:BANDWIDTH=1433177,AVERAGE-BANDWIDTH=1027503,CODECS="avc1.64001e,mp4a.40.2",RESOLUTION=640x360,FRAME-RATE=29.970,CLOSED-CAPTIONS=NONE
    360p/playlist.m3u8
    "#);
}

#[test]
fn a_finished_master_states_what_was_measured() {
    let mut plan = abr(1_800);
    plan.layout = Layout::Flat;
    plan.rungs.truncate(1);
    let bits = |bits| Bitrate::new(bits).unwrap();
    let measured =
        BTreeMap::from([("1080p".to_owned(), Bandwidth { peak: bits(9_123_456), average: bits(8_100_001) })]);
    assert_eq!(
        master(&plan, Some(&measured)),
        "#EXTM3U\n\
         #EXT-X-VERSION:3\n\
         #EXT-X-INDEPENDENT-SEGMENTS\n\
         #EXT-X-STREAM-INF:BANDWIDTH=9123456,AVERAGE-BANDWIDTH=8100001,CODECS=\"avc1.640028,mp4a.40.2\",\
         RESOLUTION=1920x1080,FRAME-RATE=29.970,CLOSED-CAPTIONS=NONE\n\
         output.m3u8\n"
    );
}

#[test]
fn an_audio_ladder_has_neither_resolution_nor_frame_rate() {
    let rungs =
        vec![rung("192k", None, Some(audio("192k", 44_100))), rung("64k", None, Some(audio("64k", 44_100)))];
    let plan = plan(timeline((44_100, 1_024), 1_000, 259), rungs);
    let playlist = third_party_master(&master(&plan, None));
    for variant in &playlist.variants {
        assert_eq!(variant.codecs.as_deref(), Some("mp4a.40.2"));
        assert_eq!((variant.resolution, variant.frame_rate), (None, None));
    }
    assert_eq!(playlist.variants.len(), 2);
}

#[test]
fn codecs_are_what_x264_signals() {
    let codec = |profile: &str, preset, tune, tuning: &str| {
        let mut video = video("1280x720", "4M", 31, 48);
        video.profile = profile.to_owned();
        (video.preset, video.tune) = (preset, tune);
        video.tuning.insert("x264".to_owned(), tuning.to_owned());
        codecs(&rung("720p", Some(video), None))
    };
    assert_eq!(codec("high", Preset::Veryfast, Tune::None, ""), "avc1.64001f");
    assert_eq!(codec("high", Preset::Superfast, Tune::Zerolatency, ""), "avc1.64001f");
    assert_eq!(codec("main", Preset::Veryfast, Tune::Zerolatency, ""), "avc1.4d401f");
    assert_eq!(codec("constrained-baseline", Preset::Medium, Tune::None, ""), "avc1.42c01f");
    // ultrafast turns off every tool that main and high are for.
    assert_eq!(codec("high", Preset::Ultrafast, Tune::Zerolatency, ""), "avc1.42c01f");
    assert_eq!(codec("high", Preset::Ultrafast, Tune::None, "cabac=1:me=dia"), "avc1.4d401f");
    assert_eq!(codec("high", Preset::Veryfast, Tune::None, "me=dia:8x8dct=0"), "avc1.4d401f");
}

#[test]
fn a_decoder_takes_its_own_profile_and_the_ones_below() {
    let avc = |profile, constraints, level| Avc { profile, constraints, level };
    let high = avc(100, 0, 31);
    // Constrained high sets flags 4 and 5: still high.
    for signalled in [high, avc(100, 0x0C, 31), avc(77, 0x40, 31), avc(77, 0, 31), avc(66, 0xC0, 31)] {
        assert!(high.takes(signalled), "{signalled}");
    }
    // Plain baseline has tools that neither main nor high has; other levels are not the plan's.
    for signalled in [avc(66, 0x80, 31), avc(110, 0, 31), avc(100, 0, 40), avc(100, 0, 30)] {
        assert!(!high.takes(signalled), "{signalled}");
    }
    assert!(!avc(77, 0x40, 31).takes(high));
    assert!(!avc(66, 0xC0, 31).takes(avc(66, 0x80, 31)));
}

#[test]
fn vbv_bounds_the_declared_peak() {
    let mut plan = abr(1_800);
    let abr_peak = declared(&plan, &plan.rungs[0]).peak;
    let video = plan.rungs[0].video.as_mut().unwrap();
    video.rate_control = RateControl::CappedCrf { crf: 23 };
    let capped = declared(&plan, &plan.rungs[0]);
    // A buffer of 2 s in a segment of 6.006 s: a third more, and the transport stream's 3 %.
    let bits = capped.peak.bits_per_second();
    assert!((10_900_000..11_300_000).contains(&bits), "{bits}");
    assert!(capped.peak < abr_peak && capped.average < capped.peak);
}

#[test]
fn a_short_last_segment_does_not_set_the_peak() {
    // The last one is nearly all key frame: 8 Mbit/s over a tenth of a second.
    let segments = [(750_000, seconds("6s")), (900_000, seconds("6s")), (100_000, seconds("100ms"))];
    let found = measure(segments.into_iter());
    // With the one before it: 1 000 000 bytes in 6.1 s.
    assert_eq!(found.peak.bits_per_second(), 8_000_000 * 10 / 61 + 1);
    assert_eq!(found.average.bits_per_second(), 1_750_000 * 80 / 121 + 1);
}

#[test]
fn every_set_of_about_a_target_duration_counts() {
    // Target 4 s: sets of 2 to 6 s. The two middle ones together are the peak.
    let lengths = ["4s", "2s", "2s", "4s"];
    let bytes = [1_000_000u64, 900_000, 900_000, 1_000_000];
    let found = measure(bytes.into_iter().zip(lengths.into_iter().map(seconds)));
    assert_eq!(found.peak.bits_per_second(), 3_600_000);
    // Alone, a clip shorter than half a second is its own average.
    let tiny = measure([(10_000, seconds("100ms"))].into_iter());
    assert_eq!((tiny.peak, tiny.average), ("800k".parse().unwrap(), "800k".parse().unwrap()));
}

#[test]
fn what_is_not_our_playlist_is_refused_with_its_line() {
    let plan = abr(400);
    let good = media(&plan, "720p", &lengths(&plan), State::Vod);
    let line = |from: &str, to: &str| match read_media(&good.replacen(from, to, 1)) {
        Err(PlaylistError::Line { line, .. }) => Some(line),
        other => panic!("{from} → {to}: {other:?}"),
    };
    assert_eq!(line("#EXTM3U", "#EXTM3U8"), Some(1));
    assert_eq!(line("VERSION:3", "VERSION:7"), Some(2));
    assert_eq!(line("DURATION:6", "DURATION:"), Some(3));
    assert_eq!(line("SEQUENCE:0", "SEQUENCE:1"), Some(4));
    assert_eq!(line("TYPE:VOD", "TYPE:LIVE"), Some(5));
    assert_eq!(line("TYPE:VOD", "TYPE:EVENT"), Some(13));
    assert_eq!(line("6.006000,", "6.006,"), Some(7));
    assert_eq!(line("00000.ts\n", "#EXT-X-GAP\n"), Some(8));
    assert_eq!(line("ENDLIST\n", "ENDLIST\nmore\n"), Some(14));
    for whole in good.char_indices().map(|(at, _)| at).skip(1) {
        assert!(read_media(&good[..whole]).is_err(), "cut to {whole} bytes");
    }
}

proptest! {
    #[test]
    fn every_media_playlist_says_the_timeline_and_is_read_by_others(
        rate in prop::sample::select(vec![
            (24u32, 1u32), (25, 1), (30_000, 1_001), (24_000, 1_001), (60, 1), (44_100, 1_024), (48_000, 1_024), (7, 3),
        ]),
        slots in 1u64..20_000,
        segment in 1u32..400,
        flat in any::<bool>(),
        vod in any::<bool>(),
        known in any::<bool>(),
        breaks in prop::collection::btree_set(1usize..100, 0..5),
    ) {
        let rungs = vec![rung("a_rung-1", Some(video("640x360", "800k", 30, segment)), None)];
        let mut plan = plan(timeline(rate, slots, segment), rungs);
        plan.layout = if flat { Layout::Flat } else { Layout::Folders };
        let mut lengths = lengths(&plan);
        for (at, entry) in lengths.iter_mut().enumerate() {
            entry.discontinuity = breaks.contains(&at);
            let sets = (at % 3 > 0).then_some(at as u32);
            let checked = Checked { bytes: 188 * at as u64, crc32: u32::MAX - at as u32, parameter_sets: sets };
            entry.checked = Some(checked).filter(|_| known && !vod);
        }
        let state = if vod { State::Vod } else { State::Event };
        let text = media(&plan, "a_rung-1", &lengths, state);

        let segments = read_media(&text).unwrap();
        let total = segments.iter().fold(MediaTime::ZERO, |sum, (_, entry)| sum + entry.duration);
        let off = (total - plan.timeline.duration()).nanos().abs();
        prop_assert!(off <= 1_000, "{off} ns");
        let read: Vec<Entry> = segments.iter().map(|(_, entry)| *entry).collect();
        for (entry, read) in lengths.iter().zip(&read) {
            prop_assert_eq!((entry.discontinuity, entry.checked), (read.discontinuity, read.checked));
        }
        prop_assert_eq!(&media(&plan, "a_rung-1", &read, state), &text);

        let theirs = third_party_media(&text);
        prop_assert_eq!(theirs.end_list, vod);
        let kind = if vod { MediaPlaylistType::Vod } else { MediaPlaylistType::Event };
        prop_assert_eq!(theirs.playlist_type, Some(kind));
        prop_assert!(theirs.independent_segments);
        prop_assert_eq!((theirs.version, theirs.media_sequence), (Some(3), 0));
        prop_assert_eq!(theirs.segments.len(), segments.len());
        for (index, (theirs_one, (uri, entry))) in (0..).zip(theirs.segments.iter().zip(&segments)) {
            let length = entry.duration;
            prop_assert_eq!(theirs_one.discontinuity, entry.discontinuity);
            prop_assert_eq!(&theirs_one.uri, uri);
            prop_assert!((f64::from(theirs_one.duration) - length.as_secs_f64()).abs() < 1e-3);
            prop_assert!(length.ticks(1) <= theirs.target_duration as i64, "{length} of {}", theirs.target_duration);
            // From the playlist's place, the URI is the segment's key.
            let playlist = plan.playlist_key("a_rung-1");
            let base = url_folder(&playlist);
            prop_assert_eq!(format!("{base}{uri}"), plan.segment_key("a_rung-1", SegmentIndex(index)));
        }
    }

    #[test]
    fn a_playlist_grows_without_changing_what_is_there(slots in 1u64..5_000, more in 1u64..2_000) {
        let (short, long) = (abr(slots), abr(slots + more));
        let whole = slots / 180;
        let before = media(&long, "720p", &lengths(&short)[..whole as usize], State::Event);
        let after = media(&long, "720p", &lengths(&long), State::Event);
        prop_assert!(after.starts_with(&before));
    }

    #[test]
    fn every_master_is_read_by_others(
        num in 1u32..240_000, den in prop::sample::select(vec![1u32, 1_000, 1_001]),
        peak in 1_000u64..100_000_000, average in 1_000u64..100_000_000, known in any::<bool>(),
    ) {
        prop_assume!(num / den <= 300);
        let mut plan = abr(1_000);
        plan.timeline = timeline((num, den), 1_000, 180);
        let bits = |bits| Bitrate::new(bits).unwrap();
        let measured: BTreeMap<_, _> = plan.rungs.iter()
            .map(|rung| (rung.name.clone(), Bandwidth { peak: bits(peak), average: bits(average) })).collect();
        let playlist = third_party_master(&master(&plan, known.then_some(&measured)));
        prop_assert!(playlist.independent_segments);
        prop_assert_eq!(playlist.variants.len(), plan.rungs.len());
        for (variant, rung) in playlist.variants.iter().zip(&plan.rungs) {
            let video = rung.video.as_ref().unwrap();
            let size = variant.resolution.unwrap();
            prop_assert_eq!((size.width, size.height), (video.size.width().into(), video.size.height().into()));
            prop_assert_eq!(variant.codecs.clone(), Some(codecs(rung)));
            let rate = f64::from(num) / f64::from(den);
            prop_assert!((variant.frame_rate.unwrap() - rate).abs() <= 0.000_501);
            prop_assert_eq!(&variant.uri, &plan.playlist_key(&rung.name));
            let expected = if known { measured[&rung.name] } else { declared(&plan, rung) };
            prop_assert_eq!(variant.bandwidth, expected.peak.bits_per_second());
            prop_assert_eq!(variant.average_bandwidth, Some(expected.average.bits_per_second()));
        }
    }

    #[test]
    fn the_peak_is_never_below_the_average(
        segments in prop::collection::vec((1u64..10_000_000, 1i64..6_000), 1..40),
    ) {
        let found = measure(segments.into_iter().map(|(bytes, ms)| (bytes, MediaTime::new(ms, 1_000).unwrap())));
        prop_assert!(found.peak >= found.average);
    }
}

fn url_folder(key: &str) -> &str {
    key.rfind('/').map_or("", |at| &key[..=at])
}
