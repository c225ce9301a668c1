//! The outbox, on every ledger: nothing is forgotten, nothing is out of order.

use crate::{Bench, LEDGERS, seconds};
use serde_json::{Value, json};
use std::time::Duration;
use transcode_core::ErrorKind;
use transcode_svc::job::{Job, JobId, Webhook, WebhookShape};
use transcode_svc::ledger::{Delivered, Grant, Ledger, NoticeState, Outgoing};

/// Start it, and end it as the input's fault.
fn fail(ledger: &Ledger, id: &JobId) {
    let Grant::Granted { lease, .. } = ledger.grant(id, "worker", seconds(60)).unwrap() else {
        panic!("it is free")
    };
    ledger.fail(&lease, ErrorKind::Input, "no video in it").unwrap();
}

fn take(ledger: &Ledger) -> Option<Outgoing> {
    ledger.take_webhook(seconds(30)).unwrap()
}

fn no(reason: &str) -> Delivered {
    Delivered::No { reason: reason.to_owned(), retry_after: None }
}

#[test]
fn a_webhook_has_one_id_however_often_it_is_sent_and_is_given_up_after_three_days() {
    for kind in LEDGERS {
        let bench = Bench::new(kind);
        let ledger = bench.ledger();
        let id = ledger.submit(bench.job("a")).unwrap().record.id;
        fail(&ledger, &id);
        let mut ids = Vec::new();
        let mut waited = Duration::ZERO;
        loop {
            let Some(outgoing) = take(&ledger) else {
                let state = ledger.get(&id).unwrap().unwrap().outbox[0].state.clone();
                if let NoticeState::GivenUp(reason) = state {
                    assert_eq!(reason, "10 tries, the last: 500", "{kind:?}");
                    break;
                }
                bench.clock.advance(seconds(600));
                waited += seconds(600);
                continue;
            };
            assert_eq!(take(&bench.ledger()), None, "{kind:?}: while one sends it, no other does");
            ids.push(outgoing.id.clone());
            ledger.webhook_sent(&outgoing, no("500")).unwrap();
        }
        assert_eq!(ids.len(), 10, "{kind:?}");
        ids.dedup();
        assert_eq!(ids.len(), 1, "{kind:?}");
        assert!((seconds(72 * 3_600)..seconds(80 * 3_600)).contains(&waited), "{kind:?}: {waited:?}");
    }
}

#[test]
fn whoever_died_while_sending_is_followed_by_another() {
    for kind in LEDGERS {
        let bench = Bench::new(kind);
        let ledger = bench.ledger();
        let id = ledger.submit(bench.job("a")).unwrap().record.id;
        fail(&ledger, &id);
        let first = take(&ledger).expect("it is due");
        bench.clock.advance(seconds(30));
        let second = take(&bench.ledger()).expect("it is due again");
        assert_eq!(first, second, "{kind:?}");
        ledger.webhook_sent(&second, Delivered::Yes).unwrap();
        ledger.webhook_sent(&first, no("too late")).unwrap();
        bench.clock.advance(seconds(1_000_000));
        assert_eq!(take(&ledger), None, "{kind:?}: delivered is delivered");
    }
}

#[test]
fn retry_after_is_honoured_and_gone_is_gone() {
    for kind in LEDGERS {
        let bench = Bench::new(kind);
        let ledger = bench.ledger();
        let id = ledger.submit(bench.job("a")).unwrap().record.id;
        fail(&ledger, &id);
        let outgoing = take(&ledger).expect("it is due");
        let later = Delivered::No { reason: "429".to_owned(), retry_after: Some(seconds(1_000)) };
        ledger.webhook_sent(&outgoing, later).unwrap();
        bench.clock.advance(seconds(999));
        assert_eq!(take(&ledger), None, "{kind:?}");
        bench.clock.advance(seconds(1));
        let outgoing = take(&ledger).expect("it is due");
        ledger.webhook_sent(&outgoing, Delivered::Gone).unwrap();
        let notice = &ledger.get(&id).unwrap().unwrap().outbox[0];
        assert!(matches!(&notice.state, NoticeState::GivenUp(why) if why.contains("410")), "{notice:?}");
    }
}

#[test]
fn messages_about_a_job_come_in_order() {
    for kind in LEDGERS {
        let bench = Bench::new(kind);
        let ledger = bench.ledger();
        let id = ledger.submit(bench.job("a")).unwrap().record.id;
        fail(&ledger, &id);
        let first = take(&ledger).expect("it is due");
        ledger.webhook_sent(&first, no("500")).unwrap();
        ledger.retry(&id).unwrap();
        fail(&ledger, &id);
        assert_eq!(take(&ledger), None, "{kind:?}: the second waits for the first");
        bench.clock.advance(seconds(5));
        let again = take(&ledger).expect("the first one");
        assert_eq!((again.id.as_str(), again.tries), (first.id.as_str(), 1), "{kind:?}");
        ledger.webhook_sent(&again, Delivered::Yes).unwrap();
        let second = take(&ledger).expect("now the second");
        assert_ne!(second.id, first.id, "{kind:?}");
    }
}

#[test]
fn the_bodies_are_those_that_receivers_know() {
    for kind in LEDGERS {
        let bench = Bench::new(kind);
        let ledger = bench.ledger();
        let complete = |job: Job| -> (JobId, Value) {
            let outputs = job.outputs().unwrap();
            let id = ledger.submit(job).unwrap().record.id;
            let Grant::Granted { lease, .. } = ledger.grant(&id, "worker", seconds(60)).unwrap() else {
                panic!()
            };
            ledger.begin_commit(&lease).unwrap();
            ledger.complete(&lease, &outputs).unwrap();
            let outgoing = take(&ledger).expect("it is due");
            (id, serde_json::from_str(&outgoing.body).unwrap())
        };
        let (id, body) = complete(bench.job("a"));
        assert_eq!(
            body,
            json!({"job_id": id, "status": "complete", "error": null, "outputs": [
                {"profile": "1080p", "key": "a/1080p.mp4"}, {"profile": "720p", "key": "a/720p.mp4"},
                {"profile": "480p", "key": "a/480p.mp4"}, {"profile": "360p", "key": "a/360p.mp4"},
                {"profile": "hls", "key": "a/master.m3u8"}]}),
            "{kind:?}"
        );
        let url = "https://example.org/b".to_owned();
        let (id, body) = complete(Job {
            webhook: Some(Webhook { url, shape: WebhookShape::Transcode }),
            ..bench.job("b")
        });
        assert_eq!(body["type"], "job.complete");
        assert_eq!(body["timestamp"], "2026-10-03T14:05:09.000Z");
        assert_eq!((&body["data"]["id"], &body["data"]["status"]), (&json!(id), &json!("complete")));
    }
}
