//! The pages, in a real browser.

use crate::browser::Browser;
use crate::server::Server;
use std::path::Path;
use std::time::Duration;
use transcode_svc::http::{Scope, Settings, Token};
use transcode_svc::job::Priority;
use transcode_svc::ledger::{Playable, Progress, Stage, WorkerCard};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn the_start_page_shows_what_goes_on_and_follows_it() {
    let (text, token) = Token::make("people", &[Scope::Admin]);
    let server = Server::with(Settings { tokens: vec![token], ..Settings::default() });
    let dispatch = &server.parts.dispatch;
    for name in ["match-2026-10-03", "clip-17", "training", "final"] {
        let job = serde_json::from_str(&crate::server::job(name)).unwrap();
        dispatch.submit(job).unwrap();
    }
    let mut work = server.take("clubhouse-1").expect("the match");
    let progress = Progress {
        percent: 42,
        stage: Stage::Encode,
        speed_percent: 310,
        seconds_to_go: Some(740),
        platform: "software".to_owned(),
        rungs: vec![Playable { rung: "720p".to_owned(), playable: 12, segments: Some(40) }],
    };
    dispatch.renew_with(&mut work, &progress).unwrap();
    let failed = server.take("clubhouse-2").expect("the clip");
    dispatch
        .fail(&failed, transcode_core::ErrorKind::Input, "in/clip-17.mp4: there is no such object")
        .unwrap();
    let now = dispatch.ledger().now();
    let card = WorkerCard {
        name: "clubhouse-1".to_owned(),
        host: "clubhouse".to_owned(),
        version: "0.1.0".to_owned(),
        platform: "software".to_owned(),
        started: now,
        seen: now,
        job: Some(work.record.id.clone()),
        since: now,
        stopping: false,
    };
    dispatch.ledger().worker_seen(card).unwrap();
    dispatch.queue().push(Priority::Low, "{}").unwrap();

    let mut browser = Browser::open(&format!("http://{}/", server.address), 1280, 720);
    browser.wait_for("!document.getElementById('login').hidden", "document.body.innerText", SOON);
    browser.evaluate(
        &format!("token.value = {text:?}; login.requestSubmit()")
            .replace("token.value", "document.getElementById('token').value")
            .replace("login.", "document.getElementById('login')."),
    );
    browser.wait_for("document.body.dataset.ready", "document.body.innerText", SOON);
    browser.wait_for("document.getElementById('live').className === 'on'", "document.body.innerText", SOON);
    let rows = browser.evaluate("document.getElementById('jobs').innerText").as_str().unwrap().to_owned();
    for part in [
        "match-2026-10-03",
        "42 %",
        "3.1×",
        "12 min",
        "clubhouse-1",
        "failed",
        "there is no such object",
        "queued",
        "watch",
        "cancel",
        "try again",
    ] {
        assert!(rows.contains(part), "no `{part}` in {rows}");
    }
    // It follows, without being loaded again.
    std::thread::sleep(Duration::from_millis(1_500));
    dispatch.begin_commit(&work).unwrap();
    dispatch.complete(&work, &work.record.job.outputs().unwrap()).unwrap();
    let complete = "document.getElementById('jobs').innerText.includes('complete')";
    browser.wait_for(complete, "document.getElementById('jobs').innerText", SOON);
    // Buttons act.
    let cancel = "[...document.querySelectorAll('#jobs tr')].find((row) => row.innerText.includes('training')).querySelector('button').click()";
    browser.evaluate(cancel);
    browser.wait_for(
        "document.getElementById('jobs').innerText.includes('cancelled')",
        "document.body.innerText",
        SOON,
    );
    assert_eq!(
        dispatch.ledger().get(&"training".parse().unwrap()).unwrap().unwrap().state.name(),
        "cancelled"
    );
    assert_eq!(browser.evaluate("document.getElementById('trouble').hidden"), true);
    shoot(&mut browser, "start");
    let wide = browser.evaluate("document.documentElement.scrollWidth <= innerWidth");
    assert_eq!(wide, true, "nothing sticks out");
}

#[test]
fn the_api_page_shows_every_route() {
    let server = Server::plain();
    let mut browser = Browser::open(&format!("http://{}/api", server.address), 1280, 720);
    browser.wait_for("document.body.dataset.ready", "document.body.innerText", SOON);
    let shown = browser.evaluate("document.querySelectorAll('details[id] .method').length");
    let paths = server.description["paths"].as_object().unwrap();
    let described: usize = paths.values().map(|item| item.as_object().unwrap().len()).sum();
    assert_eq!(shown, described);
    browser.evaluate("document.getElementById('create_job').open = true; document.getElementById('create_job').scrollIntoView()");
    shoot(&mut browser, "api");
}

/// Keep pictures of a page where `TRANSCODE_TEST_PICTURES` says, for people.
fn shoot(browser: &mut Browser, name: &str) {
    let Some(directory) = std::env::var_os("TRANSCODE_TEST_PICTURES") else { return };
    for scheme in ["light", "dark"] {
        browser.colours(scheme);
        browser.picture(&Path::new(&directory).join(format!("{name}-{scheme}.png")));
    }
}
