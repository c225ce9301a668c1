//! A source in pieces: each can be decoded by itself, and has every picture and sample of its chunk.

use super::clips::{bytes_of, numbers, recipe};
use super::made::{Job, PROFILE, software};
use std::path::Path;
use transcode_core::Cancel;
use transcode_core::plan::{Plan, keys};
use transcode_core::sink::DirSink;
use transcode_core::split::{Piece, Pieces, split};

/// Split it as its plan has it, in chunks of three segments.
fn pieces(job: &mut Job, dir: &Path) -> Pieces {
    job.plan.chunks = job.split(job.segments().div_ceil(3));
    let sink = DirSink::create(dir).unwrap();
    let told = std::sync::Mutex::new(0);
    let tell = |_: &Piece, found: bool| {
        assert!(!found);
        *told.lock().unwrap() += 1;
    };
    let made = split(&job.plan, &software(), &job.source, &sink, false, &tell, &Cancel::new());
    let made = made.unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(told.into_inner().unwrap(), job.plan.chunks.len());
    made
}

/// The numbers of the pictures that are decoded of a piece, and when each is shown.
fn decoded(piece: &Path) -> Vec<(usize, f64)> {
    let path = piece.to_str().unwrap();
    let grey = ["-v", "fatal", "-nostdin", "-i", path, "-map", "0:v", "-vsync", "passthrough"];
    let grey = bytes_of("ffmpeg", &[&grey[..], &["-f", "rawvideo", "-pix_fmt", "gray", "-"]].concat());
    let times = ["-v", "fatal", "-select_streams", "v", "-show_entries", "frame=pts_time"];
    let times = bytes_of("ffprobe", &[&times[..], &["-of", "default=nw=1:nk=1", path]].concat());
    let times = String::from_utf8(times).unwrap();
    let times = times.lines().map(|line| line.trim_matches(',').parse::<f64>().unwrap());
    let found: Vec<_> = numbers(&grey).into_iter().zip(times).collect();
    found.into_iter().filter_map(|(number, time)| Some((number?, time))).collect()
}

fn proof(name: &str) {
    let recipe = recipe(name);
    let mut job = Job::with(recipe.file(), PROFILE);
    let whole = job.make(&[job.plan.whole()]);
    let (pictures, sound) = whole.played("small");
    let dir = tempfile::tempdir().unwrap();
    let list = pieces(&mut job, dir.path());
    assert_eq!(list.pieces.len(), job.plan.chunks.len(), "{name}");
    let shift = list.shift.as_secs_f64();
    let rate = job.plan.timeline.rate;
    let samples_a_second = sound.len() as f64 / pictures.len() as f64 * rate.as_f64();
    for piece in &list.pieces {
        let path = dir.path().join(&piece.key);
        assert_eq!(path.metadata().unwrap().len(), piece.bytes);
        let found = decoded(&path);
        let begin = job.plan.timeline.slots_of(piece.first).start as usize;
        let end = (job.plan.timeline.slots_of(piece.end).start as usize).min(pictures.len());
        for slot in begin..end {
            let wanted = pictures[slot].unwrap();
            let shown = found.iter().find(|(number, _)| *number == wanted);
            let Some((_, time)) = shown else { panic!("{name}: {} lacks picture {wanted}", piece.key) };
            // Where the source has this picture in this slot, it stands there in the piece as well.
            let first = slot == 0 || pictures[slot - 1] != pictures[slot];
            let slot_time = (rate.time_of(slot as u64) + job.plan.timeline.start).as_secs_f64();
            let off = (time - shift - slot_time).abs() * rate.as_f64();
            assert!(!first || off < 0.51, "{name}: {} has picture {wanted} at {time}", piece.key);
        }
        let due = job.plan.timeline.begin(piece.first) + job.plan.timeline.start;
        assert!(piece.begins <= due || begin == 0, "{name}: {} begins at {}", piece.key, piece.begins);
        // Its sound is as long as its chunk, at least, where the source has any there.
        let path = path.to_str().unwrap();
        let pcm =
            bytes_of("ffmpeg", &["-v", "error", "-nostdin", "-i", path, "-map", "0:a", "-f", "f32le", "-"]);
        let wanted = (end - begin) as f64 / rate.as_f64() * samples_a_second;
        let enough = name == "late-sound" && begin == 0 || pcm.len() as f64 / 4.0 >= wanted * 0.99;
        assert!(enough, "{name}: {path} has {} samples for {wanted}", pcm.len() / 4);
    }
    // Nobody decodes it all again and again: a piece is about as long as its chunk.
    let all: u64 = list.pieces.iter().map(|piece| piece.packets).sum();
    let once = job.source.size();
    let bytes: u64 = list.pieces.iter().map(|piece| piece.bytes).sum();
    println!("{name}: {} pieces, {all} packets, {bytes} bytes of {once}", list.pieces.len());
}

#[test]
fn every_piece_of_a_split_source_holds_its_chunk() {
    for name in ["closed", "open-gop", "edit-list", "variable"] {
        proof(name);
    }
}

#[test]
fn a_split_of_any_container_holds_its_chunks() {
    for name in ["matroska", "transport-stream", "late-sound", "pyramid", "late-key"] {
        proof(name);
    }
}

#[test]
fn pieces_that_are_there_are_left_and_those_of_another_plan_refused() {
    let mut job = Job::of(&recipe("closed"));
    let dir = tempfile::tempdir().unwrap();
    let first = pieces(&mut job, dir.path());
    let sink = DirSink::create(dir.path()).unwrap();
    let again = |plan: &Plan, overwrite: bool| {
        let found = std::sync::Mutex::new(0);
        let tell = |_: &Piece, was_there: bool| *found.lock().unwrap() += u32::from(was_there);
        let list = split(plan, &software(), &job.source, &sink, overwrite, &tell, &Cancel::new());
        (list, found.into_inner().unwrap())
    };
    // One is damaged: that one is made again.
    std::fs::write(dir.path().join(keys::piece(1)), b"half").unwrap();
    let (list, found) = again(&job.plan, false);
    assert_eq!((list.unwrap().pieces.len(), found), (first.pieces.len(), first.pieces.len() as u32 - 1));
    let mut other = job.plan.clone();
    other.chunks = vec![other.whole()];
    let (refused, _) = again(&other, false);
    assert!(refused.unwrap_err().to_string().contains("another source, plan"));
    let (list, found) = again(&other, true);
    assert_eq!((list.unwrap().pieces.len(), found), (1, 0));
}
