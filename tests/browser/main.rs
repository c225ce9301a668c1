//! What a viewer sees: the player page in a real browser, over ladders made by the real binary.
//!
//! Owns the claims that only a browser can check: pictures move while the job still runs, the
//! finished film seeks and switches its level, and the picture on the screen is the one that
//! belongs to the time on the clock. Every claim is checked with hls.js (Media Source Extensions)
//! and with the browser's own HLS. Times are in seconds, pictures are counted from 0.

#![allow(unreachable_pub)]

#[path = "../support/browser.rs"]
mod browser;
mod clips;
mod job;
#[path = "../support/web.rs"]
mod web;

use browser::Browser;
use job::{Job, Server};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use web::{Reply, Web};

const STATE: &str = "transcodePlayer.state()";

/// Long enough for a browser that shares two cores with an encoder.
const PATIENCE: Duration = Duration::from_secs(90);

/// Both ways a browser plays HLS; Debian's Chromium has had its own since version 142.
const ENGINES: [&str; 2] = ["hls.js", "native"];

fn open(server: &Server, engine: &str) -> Browser {
    Browser::open(&format!("{}?engine={engine}", server.address), 1280, 900)
}

fn number(state: &Value, key: &str) -> f64 {
    state[key].as_f64().unwrap_or_else(|| panic!("{key} is no number in {state}"))
}

/// Two looks at a page that plays: pictures were decoded and the clock went on between them.
fn assert_pictures_move(page: &mut Browser) -> Value {
    page.wait_for("transcodePlayer.state().frames > 0", STATE, PATIENCE);
    let before = page.evaluate(STATE);
    let enough = format!(
        "transcodePlayer.state().frames > {} && transcodePlayer.state().time > {}",
        number(&before, "frames") + 20.0,
        number(&before, "time") + 0.5
    );
    page.wait_for(&enough, STATE, PATIENCE);
    page.evaluate(STATE)
}

/// Go to a time and wait until a picture of there is shown.
fn seek(page: &mut Browser, time: f64) {
    page.evaluate(&format!("transcodePlayer.seek({time})"));
    let arrived = format!(
        "!transcodePlayer.state().seeking && Math.abs(transcodePlayer.state().picture.mediaTime - {time}) < 1.5"
    );
    page.wait_for(&arrived, STATE, PATIENCE);
}

/// A film behind HTTP whose second half waits.
struct Withheld {
    web: Web,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl Withheld {
    /// Longest wait of one request: below what clients take for a dead server (30 s).
    const WAIT: Duration = Duration::from_secs(20);

    fn start(film: Vec<u8>) -> Self {
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let web = Web::start({
            let gate = Arc::clone(&gate);
            move |_, request| {
                if request.range().is_some_and(|(first, _)| first > film.len() / 2) {
                    let open = gate.0.lock().expect("the gate");
                    drop(gate.1.wait_timeout_while(open, Self::WAIT, |open| !*open));
                }
                Reply::range_of(request, &film, "\"film\"")
            }
        });
        Self { web, gate }
    }

    fn release(&self) {
        *self.gate.0.lock().expect("the gate") = true;
        self.gate.1.notify_all();
    }
}

#[test]
fn a_ladder_plays_while_it_is_made_and_seeks_and_switches_once_it_is_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = clips::looped(Path::new("tests/media/gopro-karma.mp4"), 5, folder.path());
    let output = folder.path().join("out");
    let server = Server::start(&output);
    // However fast the machine: the second half of the film is withheld until pictures have moved.
    let source = Withheld::start(std::fs::read(clip).expect("the clip"));
    let rungs = ["480p:480:1200k:96k", "240p:240:400k:64k"];
    let mut job = Job::start(&source.web.endpoint(), &output, &rungs, &[]);

    let mut pages = ENGINES.map(|engine| (engine, open(&server, engine)));
    for (engine, page) in &mut pages {
        let state = assert_pictures_move(page);
        assert!(job.running(), "{engine}: the job is over already: {state}");
        assert_eq!(state["phase"], "live", "{engine}: {state}");
        assert_eq!(state["engine"], *engine);
        assert!(number(&state, "playable") < number(&state, "total"), "{engine}: {state}");
        assert!(number(&state, "time") < 30.0, "{engine}: it begins at the beginning: {state}");
    }
    source.release();
    job.finish();

    for (engine, page) in &mut pages {
        page.wait_for("transcodePlayer.state().phase === 'finished'", STATE, PATIENCE);
        // The browser's own player reloads a growing playlist when it likes.
        page.wait_for("transcodePlayer.state().duration > 59", STATE, PATIENCE);
        // The report is the last object of a job, written after the playlists have ended.
        page.wait_for("transcodePlayer.state().reported", STATE, PATIENCE);
        let state = page.evaluate(STATE);
        assert_eq!(state["playable"], state["total"], "{engine}: {state}");

        for (time, level, height) in [(40.0, "240p", 240), (20.0, "480p", 480), (30.0, "240p", 240)] {
            seek(page, time);
            page.evaluate("transcodePlayer.video.play()");
            assert_pictures_move(page);
            assert_eq!(page.evaluate(&format!("transcodePlayer.setLevel('{level}')")), true, "{engine}");
            page.wait_for(&format!("transcodePlayer.state().height === {height}"), STATE, PATIENCE);
        }
        seek(page, 7.0);
        page.press("]");
        page.wait_for("transcodePlayer.state().height === 480", STATE, PATIENCE);
        let state = assert_pictures_move(page);
        assert_eq!(state["level"], "480p", "{engine}: a key chooses the next better level: {state}");
        assert_eq!(state["errors"], json!([]), "{engine}");
    }
}

/// How late picture 0 may stand on a player's clock. hls.js puts the first *decoding* time at 0, and
/// x264 decodes up to two pictures before it shows one; the browser's own player puts it at 0.
fn latest_start(engine: &str) -> f64 {
    if engine == "native" { 0.001 } else { 0.1 }
}

#[test]
fn the_picture_on_the_screen_belongs_to_the_time_on_the_clock() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = clips::numbered(folder.path());
    let output = folder.path().join("out");
    let rungs = ["large:540:1500k:96k", "small:270:400k:64k"];
    // Every segment is a chunk: the boundaries below are joints between two processes' work.
    let chunks = ["--jobs", "2", "--chunk", "6s"];
    Job::start(&clip.path.display().to_string(), &output, &rungs, &chunks).finish();
    let server = Server::start(&output);
    let rate = clip.rate.0 / clip.rate.1;

    // Six seconds are ceil(6 × 30000/1001) = 180 pictures; half a picture in, no rounding decides.
    let boundaries = [179, 180, 181, 359, 360, 361, 539, 540];
    let wanted: Vec<u32> =
        [0, 1, 77, 250, 441].into_iter().chain(boundaries).chain([clip.pictures - 2]).collect();

    for engine in ENGINES {
        let mut page = open(&server, engine);
        let mut start = 0.0;
        page.wait_for("transcodePlayer.state().phase === 'finished'", STATE, PATIENCE);
        for (level, height) in [("large", 540), ("small", 270)] {
            page.evaluate(&format!("transcodePlayer.setLevel('{level}')"));
            page.wait_for(&format!("transcodePlayer.state().height === {height}"), STATE, PATIENCE);
            page.evaluate("transcodePlayer.video.pause()");
            page.evaluate(clips::READER);
            let first = page.evaluate("shownAt(0)");
            assert_eq!(first["number"], 0, "{engine}, {level}: {first}");
            start = number(&first, "mediaTime");
            assert!(start < latest_start(engine), "{engine}, {level}: the film begins late: {first}");
            for &picture in &wanted {
                let time = start + (f64::from(picture) + 0.5) / rate;
                let seen = page.evaluate(&format!("shownAt({time})"));
                let told = |what: &str| {
                    format!("{engine}, {level}, picture {picture} at {time:.4} s: {what}: {seen}")
                };
                let clock = ((number(&seen, "mediaTime") - start) * rate).round();
                assert_eq!(seen["number"], picture, "{}", told("another picture is shown"));
                assert_eq!(clock, f64::from(picture), "{}", told("the picture is not the clock's"));
                assert_eq!(seen["height"], height, "{}", told("another level"));
            }
        }
        // The same while it plays, picture by picture.
        page.evaluate("transcodePlayer.seek(5); looks.length = 0; transcodePlayer.video.play()");
        page.wait_for("looks.length > 60", STATE, PATIENCE);
        let seen = page.evaluate("looks");
        let seen = seen.as_array().expect("a list of pictures");
        for look in seen.iter().filter(|look| look["number"].is_number()) {
            // It was called for `mediaTime`, and on a busy machine the picture has moved on until it was
            // read; never further than the clock, which is read after it.
            let at = |key: &str| ((number(look, key) - start) * rate).round();
            let shown = number(look, "number");
            assert!(shown >= at("mediaTime") - 1.0, "{engine}: while it plays, behind: {look}");
            assert!(shown <= at("time") + 1.0, "{engine}: while it plays, ahead: {look}");
        }
        let unreadable = seen.iter().filter(|look| look["number"].is_null()).count();
        assert_eq!(unreadable, 0, "{engine}: {unreadable} of {} pictures are unreadable", seen.len());
        let state = page.evaluate(STATE);
        assert_eq!(state["errors"], json!([]), "{engine}: over the joints");
    }
}

/// Makes the picture of the README; run by `scripts/screenshot`, which says where and of what.
#[test]
#[ignore = "makes docs/images/player.png; scripts/screenshot runs it"]
fn picture_for_the_readme() {
    let address = std::env::var("TRANSCODE_PLAYER").expect("TRANSCODE_PLAYER: the page's address");
    let path = std::env::var("TRANSCODE_PICTURE").expect("TRANSCODE_PICTURE: where the PNG goes");
    let mut page = Browser::open(&address, 1280, 940);
    page.wait_for("transcodePlayer.state().phase === 'finished'", STATE, PATIENCE);
    page.wait_for("transcodePlayer.state().time > 3", STATE, PATIENCE);
    page.wait_for("transcodePlayer.state().height >= 480", STATE, PATIENCE);
    page.picture(Path::new(&path));
}
