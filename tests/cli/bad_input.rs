//! Inputs that are not what they should be: one clear line, the right exit code, no hang, and nothing
//! published as finished that is not.

use crate::support::{
    QUICK, clip, fetched, files, finish, is_finished, is_not_finished, made, run, small, transcode,
};
use std::path::Path;

/// An input that is refused before anything is made.
#[track_caller]
fn is_refused(dir: &Path, name: &str, bytes: &[u8], words: &[&str]) {
    let input = dir.join(name);
    std::fs::write(&input, bytes).unwrap();
    let out = dir.join("out");
    let words = [words, &[name]].concat();
    finish(run(input.to_str().unwrap(), &out, &QUICK)).failed_in_one_line(3, &words);
    assert_eq!(files(&out), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_missing_file_is_the_inputs_fault() {
    let dir = tempfile::tempdir().unwrap();
    finish(run("/does/not/exist.mp4", &dir.path().join("out"), &QUICK))
        .failed_in_one_line(3, &["/does/not/exist.mp4"]);
    let dir_as_input = dir.path().to_str().unwrap();
    finish(run(dir_as_input, &dir.path().join("out"), &QUICK)).failed_in_one_line(3, &[dir_as_input]);
}

#[test]
fn what_is_no_video_is_refused_before_a_demuxer_sees_it() {
    let dir = tempfile::tempdir().unwrap();
    is_refused(dir.path(), "empty.mp4", b"", &[]);
    is_refused(dir.path(), "text.mp4", b"Dear diary,\nno video again today.\n", &[]);
    let secret = dir.path().join("secret.ts");
    std::fs::write(&secret, "secret").unwrap();
    let playlist = format!("#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\nfile://{}\n", secret.display());
    is_refused(dir.path(), "upload.mp4", playlist.as_bytes(), &[]);
    let smil = b"<smil><body><video src=\"file:///etc/passwd\"/></body></smil>";
    is_refused(dir.path(), "smil.mp4", smil, &[]);
}

#[test]
fn a_video_without_its_header_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let input = made(dir.path(), "late.mp4", &["-i", &small(), "-c", "copy"]);
    let bytes = std::fs::read(input).unwrap();
    let moov = bytes.windows(4).position(|window| window == b"moov").expect("a header") - 4;
    assert!(moov > bytes.len() / 2, "ffmpeg writes it at the end");
    is_refused(dir.path(), "headless.mp4", &bytes[..moov], &[]);
}

#[test]
fn a_track_without_samples_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    // A fragmented file whose recording ended before its first fragment.
    let fragmented = ["-i", &small(), "-c", "copy", "-movflags", "+empty_moov+frag_keyframe"];
    let bytes = std::fs::read(made(dir.path(), "fragmented.mp4", &fragmented)).unwrap();
    let first = bytes.windows(4).position(|window| window == b"moof").expect("a fragment") - 4;
    is_refused(dir.path(), "nothing.mp4", &bytes[..first], &[]);
    // Tables that list nothing.
    let input = made(dir.path(), "none.mp4", &["-i", &small(), "-frames:v", "0", "-c", "copy"]);
    is_refused(dir.path(), "no-track.mp4", &std::fs::read(input).unwrap(), &[]);
}

#[test]
fn a_video_that_ends_early_fails_or_is_published_as_far_as_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let whole = made(
        dir.path(),
        "whole.mp4",
        &["-i", &clip("gopro-karma.mp4"), "-c", "copy", "-movflags", "+faststart"],
    );
    let bytes = std::fs::read(whole).unwrap();
    let input = dir.path().join("cut.mp4");
    std::fs::write(&input, &bytes[..bytes.len() * 6 / 10]).unwrap();
    let input = input.to_str().unwrap();
    let out = dir.path().join("out");
    finish(run(input, &out, &QUICK)).failed(3, &["cut.mp4", "--allow-truncated"]);
    is_not_finished(&out);
    let out = dir.path().join("allowed");
    let allowed = finish(run(input, &out, &[&QUICK[..], &["--allow-truncated"]].concat())).succeeded();
    let said = |text: &str| text.matches("cut off").count() + text.matches("the source ends after").count();
    assert_eq!((said(&allowed.stdout), said(&allowed.stderr)), (1, 1), "{allowed:#?}");
    let count = crate::support::segments(&crate::support::renditions(&out)[0]).len();
    assert!((4..12).contains(&count), "{count} segments of 13");
    is_finished(&out, count);
}

/// Matroska states no length that a cut could be told by; its cluster and segment sizes tell.
#[test]
fn a_cut_is_told_where_no_length_is_stated_too() {
    let dir = tempfile::tempdir().unwrap();
    let whole = made(dir.path(), "whole.mkv", &["-i", &small(), "-c", "copy"]);
    let bytes = std::fs::read(whole).unwrap();
    is_refused(dir.path(), "cut.mkv", &bytes[..bytes.len() * 6 / 10], &["cut off", "--allow-truncated"]);
}

/// From the middle on there is nothing but zeros, as a download leaves behind that was given its space
/// first. A decoder that gives up there (as all did before GStreamer 1.22) ends the source.
#[test]
fn where_decoding_fails_the_source_ends_if_that_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let whole = made(
        dir.path(),
        "whole.mp4",
        &["-i", &clip("gopro-karma.mp4"), "-c", "copy", "-movflags", "+faststart"],
    );
    let mut bytes = std::fs::read(whole).unwrap();
    let middle = bytes.len() * 6 / 10;
    bytes[middle..].fill(0);
    let input = dir.path().join("zeros.mp4");
    std::fs::write(&input, bytes).unwrap();
    let input = input.to_str().unwrap();
    let software = finish(transcode(["platforms", "software"])).succeeded().stdout;
    let pictures = ("output-corrupt = false", "output-corrupt = false\nmax-errors = 0");
    let sound = ("[decode-audio.aac]", "[decode-audio.aac]\nproperties = { max-errors = 0 }");
    for (lax, severe) in [pictures, sound] {
        let strict = software.replacen(lax, severe, 1);
        assert_ne!(strict, software);
        let platform = dir.path().join("strict.toml");
        std::fs::write(&platform, strict).unwrap();
        let options = [&QUICK[..], &["--platform", platform.to_str().unwrap()]].concat();
        let out = dir.path().join(format!("refused-{}", lax.len()));
        finish(run(input, &out, &options)).failed(3, &["zeros.mp4", "decoding failed", "--allow-truncated"]);
        is_not_finished(&out);
        let out = dir.path().join(format!("allowed-{}", lax.len()));
        let allowed = finish(run(input, &out, &[&options[..], &["--allow-truncated"]].concat())).succeeded();
        assert!(allowed.stderr.contains("decoding failed"), "{allowed:#?}");
        assert!(allowed.stdout.contains("the source ends after"), "{allowed:#?}");
        let count = crate::support::segments(&crate::support::renditions(&out)[0]).len();
        assert!((4..12).contains(&count), "{count} segments of 13");
        is_finished(&out, count);
    }
}

#[test]
fn sound_alone_makes_an_audio_ladder() {
    let dir = tempfile::tempdir().unwrap();
    let input =
        made(dir.path(), "sound.mp4", &["-i", &clip("gopro-karma.mp4"), "-t", "4", "-vn", "-c:a", "copy"]);
    let out = dir.path().join("out");
    finish(run(&input, &out, &QUICK)).succeeded();
    let count = crate::support::segments(&crate::support::renditions(&out)[0]).len();
    assert!((4..=5).contains(&count), "{count}");
    is_finished(&out, count);
}

#[test]
fn a_silent_video_is_fine() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    finish(run(&fetched("bikes.mp4"), &out, &[&QUICK[..], &["--end", "3"]].concat())).succeeded();
    is_finished(&out, 3);
}

#[test]
fn tiny_and_odd_sizes_are_made_even() {
    let dir = tempfile::tempdir().unwrap();
    for (size, name) in [("1x1", "one.mp4"), ("353x201", "odd.mp4")] {
        let filter = format!("format=yuv444p,crop={}:exact=1", size.replace('x', ":"));
        let source = ["-f", "lavfi", "-i", "color=red:size=354x202:rate=25:duration=2", "-vf", &filter];
        let coded = [&source[..], &["-c:v", "libx264", "-pix_fmt", "yuv444p"]].concat();
        let input = made(dir.path(), name, &coded);
        let out = dir.path().join(size);
        let options = ["--rung", "own:source:200k:32k", "--segment", "1s", "--preset", "ultrafast", "--json"];
        let finished = finish(run(&input, &out, &options)).succeeded();
        is_finished(&out, 2);
        let planned: serde_json::Value =
            serde_json::from_str(finished.stdout.lines().next().unwrap()).unwrap();
        for side in ["width", "height"] {
            assert_eq!(planned["rungs"][0][side].as_u64().map(|side| side % 2), Some(0), "{planned}");
        }
    }
}
