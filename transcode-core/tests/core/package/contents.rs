//! What is in the files: every sample once, at its exact time, by parsers that did not write it.

use super::support::{boxes, finished, ladder, made, reordered, samples};
use crate::run::support::output;
use std::sync::Arc;
use transcode_core::Cancel;
use transcode_core::media::MediaInfo;
use transcode_core::package::Format;
use transcode_core::plan::Plan;
use transcode_core::platform::Platform;
use transcode_core::sink::{MemorySink, Sink};
use transcode_core::source::FileSource;
use transcode_core::units::{MediaTime, SegmentIndex};

const PACKETS: u64 = 567;

/// The NAL units of a sample: each behind its length.
fn nal_units(sample: &[u8]) -> Vec<&[u8]> {
    let (mut found, mut rest) = (Vec::new(), sample);
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        found.push(&rest[4..4 + length]);
        rest = &rest[4 + length..];
    }
    found
}

#[test]
fn a_progressive_file_lists_every_sample_once_at_its_exact_time() {
    let sink = ladder();
    let (told, file) = made(&sink, "360p", Format::Progressive);
    assert_eq!((told.pictures, told.audio_packets, told.segments), (362, PACKETS, 7));
    assert_eq!((told.priming, told.found), (1_024, false));
    let names: Vec<_> = boxes(&file, 0).iter().map(|found| found.name).collect();
    assert_eq!(names, [*b"ftyp", *b"moov", *b"mdat"], "the header stands in front");

    let parsed = mp4parse::read_mp4(&mut file.as_slice()).unwrap();
    let [video, audio] = &parsed.tracks[..] else { panic!("{} tracks", parsed.tracks.len()) };
    // 29.97 exactly: 1001 ticks of 30000 a picture; the movie's clock has both tracks' ticks.
    assert_eq!(parsed.timescale.unwrap().0, 240_000);
    assert_eq!(video.timescale.unwrap().0, 30_000);
    assert_eq!(video.duration.unwrap().0, 362 * 1_001);
    assert_eq!(video.edited_duration.unwrap().0, 362 * 1_001 * 8);
    let delay = u64::from(told.reordering_delay);
    assert!((1..=3).contains(&delay), "the encoder reorders: {delay}");
    assert_eq!(video.media_time.unwrap().0, delay * 1_001);
    let stts: Vec<_> =
        video.stts.as_ref().unwrap().samples.iter().map(|s| (s.sample_count, s.sample_delta)).collect();
    assert_eq!(stts, [(362, 1_001)]);
    let stss: Vec<u32> = video.stss.as_ref().unwrap().samples.iter().copied().collect();
    assert_eq!(stss, (1..=362).step_by(60).collect::<Vec<_>>());

    // Shown at every slot once, never before it is decoded.
    let mut shown = Vec::new();
    let mut decoded = 0u64;
    for entry in video.ctts.as_ref().unwrap().samples.iter() {
        // This parser takes every offset as signed.
        let mp4parse::TimeOffsetVersion::Version1(offset) = entry.time_offset else { panic!("unsigned") };
        for _ in 0..entry.sample_count {
            shown.push(decoded * 1_001 + u64::try_from(offset).unwrap());
            decoded += 1;
        }
    }
    shown.sort_unstable();
    assert_eq!(shown, (0..362).map(|slot| (slot + delay) * 1_001).collect::<Vec<_>>());

    assert_eq!(audio.timescale.unwrap().0, 48_000);
    assert_eq!(audio.media_time.unwrap().0, 1_024);
    assert_eq!(audio.duration.unwrap().0, (PACKETS + 1) * 1_024);
    assert_eq!(audio.edited_duration.unwrap().0, PACKETS * 1_024 * 5);

    // Samples fill mdat to its last byte, with pictures that hold no set and no delimiter.
    let (pictures, packets) = (samples(video, &file), samples(audio, &file));
    assert_eq!((pictures.len(), packets.len() as u64), (362, PACKETS + 1));
    let mdat = boxes(&file, 0).pop().unwrap();
    let bytes: usize = pictures.iter().chain(&packets).map(|sample| sample.len()).sum();
    assert_eq!(bytes, mdat.content.len());
    for (number, picture) in pictures.iter().enumerate() {
        let kinds: Vec<u8> = nal_units(picture).iter().map(|nal| nal[0] & 0x1F).collect();
        assert!(kinds.iter().all(|kind| matches!(kind, 1 | 5 | 6)), "{number}: {kinds:?}");
        assert_eq!(kinds.contains(&5), number % 60 == 0, "{number}: {kinds:?}");
    }
}

#[test]
fn pictures_and_sound_of_a_second_stand_side_by_side() {
    let (_, file) = made(&ladder(), "180p", Format::Progressive);
    let parsed = mp4parse::read_mp4(&mut file.as_slice()).unwrap();
    let offsets =
        |track: &mp4parse::Track| track.stco.as_ref().unwrap().offsets.iter().copied().collect::<Vec<_>>();
    let (video, audio) = (offsets(&parsed.tracks[0]), offsets(&parsed.tracks[1]));
    assert_eq!((video.len(), audio.len()), (13, 13));
    assert!(video.iter().zip(&audio).all(|(video, audio)| video < audio));
    assert!(audio.iter().zip(&video[1..]).all(|(audio, next)| audio < next));
}

#[test]
fn a_fragmented_file_has_a_fragment_for_each_segment_and_an_index() {
    let (told, file) = made(&ladder(), "360p", Format::Fragmented);
    assert_eq!((told.pictures, told.audio_packets, told.priming), (362, PACKETS, 0));
    let all = boxes(&file, 0);
    let names: Vec<_> = all.iter().map(|found| std::str::from_utf8(&found.name).unwrap()).collect();
    let fragments = ["moof", "mdat"].repeat(7);
    assert_eq!(names, [&["ftyp", "moov"][..], &fragments, &["mfra"]].concat());
    assert!(mp4parse::read_mp4(&mut file.as_slice()).unwrap().mvex.is_some());
    // The index says where each moof is, and when it begins.
    let index = boxes(all.last().unwrap().content, 0);
    let entries = index[0].content[16..].chunks(19).map(|entry| {
        let number = |at: usize| u64::from_be_bytes(entry[at..at + 8].try_into().unwrap());
        (number(0), usize::try_from(number(8)).unwrap())
    });
    let moofs = all.iter().filter(|found| &found.name == b"moof").map(|found| found.at - 8);
    let expected: Vec<_> = (0..7).map(|index| index * 60 * 1_001).zip(moofs).collect();
    assert_eq!(entries.collect::<Vec<_>>(), expected);
    let size = u32::from_be_bytes(index[1].content[4..].try_into().unwrap()) as usize;
    assert_eq!(size, file.len() - (all.last().unwrap().at - 8), "found from the file's end");
}

/// What a decoder makes of a stream, as a digest.
fn decoded(path: &str, stream: &str) -> String {
    output(
        "ffmpeg",
        &["-v", "error", "-xerror", "-i", path, "-map", &format!("0:{stream}"), "-f", "md5", "-"],
    )
}

fn count(path: &str, stream: &str) -> String {
    let entries = ["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"];
    let fixed = ["-v", "error", "-count_frames", "-select_streams", stream];
    let counted = output("ffprobe", &[&fixed[..], &entries, &[path]].concat());
    counted.lines().find(|line| !line.is_empty()).unwrap().trim_matches(',').to_owned()
}

/// Every object as a file.
fn stored(sink: &MemorySink, folder: &std::path::Path) {
    for (key, object) in sink.objects() {
        let path = folder.join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &object.bytes).unwrap();
    }
}

/// What is decoded of the files is what is decoded of the HLS rendition, to the last bit.
fn decodes_as_the_rendition(plan: &Plan, sink: &MemorySink, streams: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let rung = &plan.rungs[0].name;
    let formats = [Format::Progressive, Format::Fragmented];
    for format in formats {
        made(sink, rung, format);
    }
    stored(sink, folder.path());
    let at = |key: &str| folder.path().join(key).to_str().unwrap().to_owned();
    let rendition = at(&plan.playlist_key(rung));
    for file in formats.map(|format| at(&format.key(rung))) {
        for stream in streams {
            assert_eq!(decoded(&file, stream), decoded(&rendition, stream), "{file} {stream}");
            assert_eq!(count(&file, stream), count(&rendition, stream), "{file} {stream}");
            let entries = ["-show_entries", "stream=start_time", "-of", "csv=p=0"];
            let start = output(
                "ffprobe",
                &[&["-v", "error", "-select_streams", stream], &entries[..], &[&file]].concat(),
            );
            assert_eq!(start.trim().trim_matches(','), "0.000000", "{file} {stream}");
        }
    }
}

#[test]
fn what_is_decoded_is_what_the_rendition_decodes_to() {
    decodes_as_the_rendition(&reordered(), &ladder(), &["v", "a"]);
}

#[test]
fn pictures_alone_and_sound_alone_are_packaged() {
    let mut silent = reordered();
    silent.rungs.truncate(1);
    silent.input.audio = None;
    silent.rungs[0].audio = None;
    decodes_as_the_rendition(&silent, &finished(&silent), &["v"]);

    let mut sound = reordered();
    sound.rungs.truncate(1);
    sound.input.video = None;
    sound.rungs[0].video = None;
    sound.timeline.rate = transcode_core::units::FrameRate::new(48_000, 1_024).unwrap();
    sound.timeline.slots = 560;
    sound.timeline.segment_slots = 94;
    sound.chunks = vec![sound.whole()];
    assert_eq!(sound.timeline.segment_of(559), SegmentIndex(5));
    decodes_as_the_rendition(&sound, &finished(&sound), &["a"]);
}

#[test]
fn a_job_whose_plan_did_not_know_its_end_is_packaged_as_far_as_it_goes() {
    let mut plan = reordered();
    plan.rungs.truncate(1);
    plan.timeline.open_ended = true;
    plan.timeline.slots = 100_000;
    plan.chunks = vec![plan.whole()];
    let sink = finished(&plan);
    let (told, _) = made(&sink, "360p", Format::Progressive);
    assert_eq!((told.pictures, told.segments), (362, 7));
    sink.remove("360p.mp4", &Cancel::new()).unwrap();
    decodes_as_the_rendition(&plan, &sink, &["v", "a"]);
}

/// What our own probe, and qtdemux below it, say of a file.
fn probed(bytes: &[u8]) -> MediaInfo {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.mp4");
    std::fs::write(&path, bytes).unwrap();
    let source = Arc::new(FileSource::open(path).unwrap());
    transcode_core::probe(source, &Platform::builtin("software").unwrap(), &Cancel::new()).unwrap()
}

#[test]
fn a_packaged_file_is_an_input_again() {
    let sink = ladder();
    for format in [Format::Progressive, Format::Fragmented] {
        let (told, file) = made(&sink, "360p", format);
        let info = probed(&file);
        let ([video], [audio]) = (&info.video[..], &info.audio[..]) else { panic!("{info:?}") };
        assert_eq!((video.codec.as_str(), video.display.to_string()), ("h264", "640x360".to_owned()));
        assert_eq!((video.frame_rate.to_string(), video.variable_rate), ("30000/1001".to_owned(), false));
        assert_eq!((audio.codec.as_str(), audio.sample_rate, audio.channels), ("aac", 48_000, 2));
        assert!(info.truncated.is_none() && info.remarks.is_empty(), "{info:?}");
        // Picture and sound are shown from 0 on: the edits begin where the file says.
        assert_eq!((video.start, audio.start), (MediaTime::ZERO, MediaTime::ZERO), "{info:?}");
        let delay = MediaTime::new(i64::from(told.reordering_delay) * 1_001, 30_000);
        assert_eq!(video.edits[0].media_time, delay);
        assert_eq!(audio.edits[0].media_time, MediaTime::new(i64::from(told.priming), 48_000));
        if format == Format::Progressive {
            let keys = video.key_frames.as_ref().unwrap();
            assert_eq!((video.pictures, keys.count, keys.longest_gap), (Some(362), 7, 60));
        }
        assert_eq!(info.duration, Some(told.duration), "{info:?}");
    }
}
