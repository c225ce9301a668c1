//! A source in pieces: each is a source by itself, and together they are the whole.

use super::clips::{bytes_of, recipe};
use super::made::{Job, PROFILE, software};
use std::path::{Path, PathBuf};
use transcode_core::plan::{Plan, keys};
use transcode_core::sink::DirSink;
use transcode_core::split::{Options, Piece, Pieces, split};
use transcode_core::{Cancel, Error};

/// Split it as its plan has it, in chunks of three segments.
fn pieces(job: &mut Job, dir: &Path) -> Result<Pieces, Error> {
    job.plan.chunks = job.split(job.segments().div_ceil(3));
    let sink = DirSink::create(dir).unwrap();
    let told = std::sync::Mutex::new(0);
    let tell = |_: &Piece, found: bool| {
        assert!(!found);
        *told.lock().unwrap() += 1;
    };
    let made = split(&job.plan, &software(), &job.source, &sink, Options::default(), &tell, &Cancel::new())?;
    assert_eq!(told.into_inner().unwrap(), made.pieces.len());
    Ok(made)
}

/// The number in every picture that a file shows, and what is heard with it, through our own graph.
fn played(path: PathBuf) -> (Vec<Option<usize>>, usize) {
    let job = Job::with(path, PROFILE);
    let channels = job.plan.rungs[0].audio.as_ref().map_or(1, |audio| audio.channels as usize);
    let (pictures, sound) = job.make(&[job.plan.whole()]).played("small");
    (pictures, sound.len() / channels)
}

/// A digest of each packet of a track, as ffmpeg finds them.
fn packets(path: &Path, track: &str) -> Vec<String> {
    let show = ["-v", "fatal", "-select_streams", track, "-show_data_hash", "md5"];
    let path = ["-show_entries", "packet=data_hash", "-of", "default=nw=1:nk=1", path.to_str().unwrap()];
    let found = String::from_utf8(bytes_of("ffprobe", &[&show[..], &path].concat())).unwrap();
    found.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn same(name: &str, what: &str, found: &[String], wanted: &[String]) {
    assert_eq!(found.len(), wanted.len(), "{name}: packets of {what}");
    let differ = found.iter().zip(wanted).filter(|(found, wanted)| found != wanted).count();
    let first = found.iter().zip(wanted).position(|(found, wanted)| found != wanted);
    assert_eq!(differ, 0, "{name}: packets of {what} that differ, the first at {first:?}");
}

/// The clip in pieces, and that its packets are in them.
fn divided(name: &str, least: usize) -> (Job, tempfile::TempDir, Pieces) {
    let recipe = recipe(name);
    let mut job = Job::with(recipe.file(), PROFILE);
    let dir = tempfile::tempdir().unwrap();
    let list = pieces(&mut job, dir.path()).unwrap_or_else(|error| panic!("{name}: {}", error.chain()));
    assert!(list.pieces.len() >= least, "{name}: {} pieces", list.pieces.len());
    let mut copied = [Vec::new(), Vec::new()];
    for piece in &list.pieces {
        let path = dir.path().join(&piece.key);
        assert_eq!(path.metadata().unwrap().len(), piece.bytes);
        for (at, track) in ["v", "a"].into_iter().enumerate() {
            copied[at].extend(packets(&path, track));
        }
    }
    let count = |count: fn(&Piece) -> u64| list.pieces.iter().map(count).sum::<u64>() as usize;
    assert_eq!(count(|piece| piece.pictures), copied[0].len(), "{name}");
    assert_eq!(count(|piece| piece.audio_packets), copied[1].len(), "{name}");
    if name != "transport-stream" {
        let (pictures, sound) = (packets(&recipe.file(), "v"), packets(&recipe.file(), "a"));
        same(name, "pictures", &copied[0], &pictures);
        // An edit list hides the priming, a packet in front; qtdemux gives no packet that it ends in.
        let front = usize::from(sound.len() > copied[1].len());
        let behind = sound.len() - front - copied[1].len();
        assert!(behind <= 1, "{name}: {behind} packets of sound are missing");
        same(name, "sound", &copied[1], &sound[front..sound.len() - behind]);
    }
    (job, dir, list)
}

/// What our graph plays of the pieces, one after the other, is what it plays of the whole.
fn proof(name: &str, least: usize) {
    let (job, dir, list) = divided(name, least);
    let (pictures, samples) = played(recipe(name).file());
    let (mut shown, mut heard) = (Vec::new(), 0);
    for piece in &list.pieces {
        // Where it begins is where its first picture stands in the whole.
        let slot = job.plan.timeline.rate.nearest(piece.begins - job.plan.timeline.start);
        assert_eq!(slot.max(0) as usize, shown.len(), "{name}, {}", piece.key);
        let (pictures, samples) = played(dir.path().join(&piece.key));
        shown.extend(pictures);
        heard += samples;
    }
    assert_eq!(shown.len(), pictures.len(), "{name}");
    for (slot, (found, wanted)) in shown.iter().zip(&pictures).enumerate() {
        assert_eq!(found, wanted, "{name}, slot {slot}");
    }
    // A run's sound goes on to the end of a packet: so it does in each piece.
    let most = samples + list.pieces.len() * 1_024;
    assert!((samples..most).contains(&heard), "{name}: {heard} samples, {samples} in the whole");
}

#[test]
fn pieces_of_a_source_are_together_the_whole() {
    for name in ["closed", "ntsc", "late-key"] {
        proof(name, 5);
    }
    // Played alone, each would have a grid of its own.
    divided("variable", 5);
}

#[test]
fn pieces_of_other_containers_are_together_the_whole() {
    for name in ["matroska", "transport-stream", "late-sound", "mono-441"] {
        proof(name, 5);
    }
}

/// No piece can begin where pictures are shown before the key frame that they follow.
#[test]
fn open_groups_of_pictures_stay_in_one_piece() {
    proof("open-gop", 1);
    let mut job = Job::of(&recipe("open-gop"));
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(pieces(&mut job, dir.path()).unwrap().pieces.len(), 1);
}

#[test]
fn what_pieces_cannot_say_is_refused() {
    let mut job = Job::of(&recipe("edit-list"));
    let dir = tempfile::tempdir().unwrap();
    let text = pieces(&mut job, dir.path()).unwrap_err().chain();
    assert!(text.contains("an edit list hides a picture") && text.contains("`transcode run`"), "{text}");
    let left = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 0, "something is left");
}

#[test]
fn pieces_that_are_there_are_left_and_those_of_another_plan_refused() {
    let mut job = Job::of(&recipe("closed"));
    let dir = tempfile::tempdir().unwrap();
    let first = pieces(&mut job, dir.path()).unwrap();
    let count = first.pieces.len();
    let sink = DirSink::create(dir.path()).unwrap();
    let again = |plan: &Plan, overwrite: bool| {
        let found = std::sync::Mutex::new(0);
        let tell = |_: &Piece, was_there: bool| *found.lock().unwrap() += usize::from(was_there);
        let options = Options { overwrite, every: None };
        let list = split(plan, &software(), &job.source, &sink, options, &tell, &Cancel::new());
        (list, found.into_inner().unwrap())
    };
    let (list, found) = again(&job.plan, false);
    assert_eq!((list.unwrap(), found), (first, count));
    // One is damaged, or gone: they are made again.
    std::fs::write(dir.path().join(keys::piece(1)), b"half").unwrap();
    let (list, found) = again(&job.plan, false);
    assert_eq!((list.unwrap().pieces.len(), found), (count, 0));
    std::fs::remove_file(dir.path().join(keys::piece(1))).unwrap();
    let (list, found) = again(&job.plan, false);
    assert_eq!((list.unwrap().pieces.len(), found), (count, 0));

    let mut other = job.plan.clone();
    other.chunks = vec![other.whole()];
    let (refused, _) = again(&other, false);
    assert!(refused.unwrap_err().to_string().contains("another source, plan"));
    let (list, found) = again(&other, true);
    assert_eq!((list.unwrap().pieces.len(), found), (1, 0));
    let left = std::fs::read_dir(dir.path().join("chunks/source")).unwrap().count();
    assert_eq!(left, 1, "pieces of the plan before are left");
}
