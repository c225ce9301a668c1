//! Webhooks on their way: a real receiver, on every ledger. What is sent is signed so that others can tell, comes in
//! order, comes again until it is taken, and goes nowhere where it must not.

use crate::web::{Reply, Request, Web};
use crate::{Bench, Kind, LEDGERS, database, seconds};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};
use transcode_core::{Cancel, ErrorKind};
use transcode_svc::broker::Redis;
use transcode_svc::config::Secret;
use transcode_svc::guard::{Allow, Guard};
use transcode_svc::job::{Job, JobId, Webhook, WebhookShape};
use transcode_svc::ledger::{
    Due, Filter, Grant, Ledger, LedgerError, NoticeState, Policy, Record, Records, RedisRecords,
    SqliteRecords, Stored, Version, WorkerCard,
};
use transcode_svc::time::{Clock, SystemClock, Timestamp};
use transcode_svc::webhook::{Counts, Sender, Settings};

const SECRETS: [&str; 2] =
    ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="];

/// A receiver that keeps what it gets, bodies too.
struct Receiver {
    web: Web,
    got: Arc<Mutex<Vec<Request>>>,
}

impl Receiver {
    fn new(answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let got = Arc::new(Mutex::new(Vec::new()));
        let keep = got.clone();
        let web = Web::start(move |index, request| {
            keep.lock().unwrap().push(request.clone());
            answer(index, request)
        });
        Self { web, got }
    }

    fn got(&self) -> Vec<Request> {
        self.got.lock().unwrap().clone()
    }

    fn ids(&self) -> Vec<String> {
        self.got().iter().map(|request| request.header("webhook-id").unwrap().to_owned()).collect()
    }
}

fn ok() -> Reply {
    Reply::status(200, "thanks")
}

/// Settings that reach the receivers of these tests.
fn settings() -> Settings {
    let guard = Guard::new(Allow::new(["127.0.0.0/8"]).unwrap(), "webhook.allow");
    Settings { timeout: seconds(5), poll: Duration::from_millis(50), ..Settings::new(guard) }
}

fn sender() -> Sender {
    Sender::new(&settings()).unwrap()
}

fn send(sender: &Sender, ledger: &Ledger) -> usize {
    sender.send_due(ledger, &Cancel::new()).unwrap()
}

/// Take a job in that tells `url` how it ends.
fn submit(bench: &Bench, ledger: &Ledger, name: &str, url: &str) -> JobId {
    let webhook = Webhook { url: url.to_owned(), shape: WebhookShape::RedisWorker };
    ledger.submit(Job { webhook: Some(webhook), ..bench.job(name) }).unwrap().record.id
}

fn fail(ledger: &Ledger, id: &JobId) {
    let Grant::Granted { lease, .. } = ledger.grant(id, "worker", seconds(60)).unwrap() else {
        panic!("it is free")
    };
    ledger.fail(&lease, ErrorKind::Input, "no video in it").unwrap();
}

/// A job that failed, so that there is something to tell.
fn failed(bench: &Bench, ledger: &Ledger, name: &str, url: &str) -> JobId {
    let id = submit(bench, ledger, name, url);
    fail(ledger, &id);
    id
}

fn notice(ledger: &Ledger, id: &JobId) -> (NoticeState, u32, Option<String>) {
    let notice = ledger.get(id).unwrap().unwrap().outbox[0].clone();
    (notice.state, notice.tries, notice.last)
}

/// Python's idea of the signatures, by keys, that are good.
fn verified(request: &Request, secrets: &[&str]) -> Vec<bool> {
    let script = r#"
import base64, hashlib, hmac, sys
id, time, given, *secrets = sys.argv[1:]
signed = f"{id}.{time}.".encode() + sys.stdin.buffer.read()
for secret in secrets:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    good = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    print(good in given.split(" "))
"#;
    let header = |name: &str| request.header(name).unwrap().to_owned();
    let mut python = Command::new("python3")
        .args([
            "-c",
            script,
            &header("webhook-id"),
            &header("webhook-timestamp"),
            &header("webhook-signature"),
        ])
        .args(secrets)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(&request.body).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(|line| line == "True").collect()
}

#[test]
fn a_webhook_is_posted_as_json_and_signed_so_that_others_can_tell() {
    for kind in LEDGERS {
        let bench = Bench::new(kind);
        let ledger = bench.ledger();
        let receiver = Receiver::new(|_, _| ok());
        let url = format!("{}/hooks/a?key=b", receiver.web.endpoint());
        let id = failed(&bench, &ledger, "a", &url);
        let secrets = SECRETS.iter().map(|secret| Secret::new(*secret)).collect();
        let signing = Sender::new(&Settings { secrets, ..settings() }).unwrap();
        assert_eq!(send(&signing, &ledger), 1, "{kind:?}");
        failed(&bench, &ledger, "b", &url);
        assert_eq!(send(&sender(), &ledger), 1, "{kind:?}");
        let [signed, unsigned] = &receiver.got()[..] else { panic!("{:?}", receiver.got()) };
        assert_eq!((signed.method.as_str(), signed.target.as_str()), ("POST", "/hooks/a?key=b"));
        assert_eq!(signed.header("content-type"), Some("application/json"));
        assert!(signed.header("user-agent").unwrap().starts_with("transcode/"));
        assert_eq!(signed.header("webhook-id"), Some("msg_a_1"));
        assert_eq!(
            signed.header("webhook-timestamp"),
            Some(bench.clock.now().seconds().to_string().as_str())
        );
        let outbox = ledger.get(&id).unwrap().unwrap().outbox;
        assert_eq!(
            String::from_utf8(signed.body.clone()).unwrap(),
            outbox[0].body,
            "{kind:?}: as it is stored"
        );
        let other = "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
        assert_eq!(verified(signed, &[SECRETS[0], SECRETS[1], other]), [true, true, false], "{kind:?}");
        let tampered = Request { body: b"{}".to_vec(), ..signed.clone() };
        assert_eq!(verified(&tampered, &SECRETS), [false, false], "{kind:?}");
        assert_eq!(unsigned.header("webhook-signature"), None, "as the workers' receivers know it");
        assert_eq!(unsigned.header("webhook-id"), Some("msg_b_1"));
        assert!(matches!(notice(&ledger, &id), (NoticeState::Delivered(_), 1, None)), "{kind:?}");
        assert_eq!(signing.counts(), Counts { delivered: 1, failed: 0, given_up: 0 });
    }
}

#[test]
fn what_is_not_taken_comes_again_by_the_schedule_until_it_is_given_up() {
    for kind in LEDGERS {
        let bench = Bench::new(kind);
        let (ledger, sender) = (bench.ledger(), sender());
        let receiver = Receiver::new(|index, _| Reply::status([500, 404, 429][index % 3], ""));
        let id = failed(&bench, &ledger, "a", &receiver.web.endpoint());
        let waits = Policy::default().webhook;
        for (tries, wait) in waits.iter().enumerate() {
            assert_eq!(send(&sender, &ledger), 1, "{kind:?}: try {tries}");
            bench.clock.advance(*wait - seconds(1));
            assert_eq!(send(&sender, &ledger), 0, "{kind:?}: before its time");
            bench.clock.advance(seconds(1));
        }
        assert_eq!(send(&sender, &ledger), 1, "{kind:?}");
        let (state, tries, last) = notice(&ledger, &id);
        assert!(
            matches!(&state, NoticeState::GivenUp(why) if why.contains("10 tries")),
            "{kind:?}: {state:?}"
        );
        assert_eq!((tries, last.as_deref()), (10, Some("500 Internal Server Error")), "{kind:?}");
        assert_eq!(sender.counts(), Counts { delivered: 0, failed: 10, given_up: 1 });
        assert_eq!(receiver.ids(), vec!["msg_a_1"; 10], "{kind:?}");
        let times: Vec<u64> = receiver
            .got()
            .iter()
            .map(|got| got.header("webhook-timestamp").unwrap().parse().unwrap())
            .collect();
        let gaps: Vec<Duration> = times.windows(2).map(|pair| seconds(pair[1] - pair[0])).collect();
        assert_eq!(gaps, waits, "{kind:?}: each try has its own time");
    }
}

#[test]
fn those_of_a_job_come_in_order_while_others_pass() {
    for kind in LEDGERS {
        let bench = Bench::new(kind);
        let (ledger, sender) = (bench.ledger(), sender());
        let down = Arc::new(AtomicBool::new(true));
        let is_down = down.clone();
        let receiver = Receiver::new(move |_, request| {
            let refuse = request.target == "/a" && is_down.load(Ordering::SeqCst);
            if refuse { Reply::Drop } else { ok() }
        });
        let id = failed(&bench, &ledger, "a", &format!("{}/a", receiver.web.endpoint()));
        ledger.retry(&id).unwrap();
        fail(&ledger, &id);
        failed(&bench, &ledger, "b", &format!("{}/b", receiver.web.endpoint()));
        assert_eq!(send(&sender, &ledger), 2, "{kind:?}");
        let (state, _, last) = notice(&ledger, &id);
        assert!(matches!(state, NoticeState::Due(_)) && last.unwrap().contains("connection"), "{kind:?}");
        down.store(false, Ordering::SeqCst);
        bench.clock.advance(seconds(5));
        assert_eq!(send(&sender, &ledger), 2, "{kind:?}: back, so both go");
        let mut ids = receiver.ids();
        ids.retain(|id| id.starts_with("msg_a"));
        assert_eq!(ids, ["msg_a_1", "msg_a_1", "msg_a_2"], "{kind:?}");
        assert_eq!(receiver.ids().len(), 4, "{kind:?}");
    }
}

#[test]
fn retry_after_is_honoured_as_seconds_and_as_a_date() {
    for kind in LEDGERS {
        for wish in ["1000", "Sat, 03 Oct 2026 14:21:49 GMT"] {
            let bench = Bench::new(kind);
            let (ledger, sender) = (bench.ledger(), sender());
            let receiver = Receiver::new(move |index, _| {
                let headers = vec![("Retry-After".to_owned(), wish.to_owned())];
                if index == 0 { Reply::Answer { status: 503, headers, body: Vec::new() } } else { ok() }
            });
            failed(&bench, &ledger, "a", &receiver.web.endpoint());
            assert_eq!(send(&sender, &ledger), 1);
            bench.clock.advance(seconds(999));
            assert_eq!(send(&sender, &ledger), 0, "{kind:?} {wish}");
            bench.clock.advance(seconds(1));
            assert_eq!(send(&sender, &ledger), 1, "{kind:?} {wish}");
        }
    }
}

#[test]
fn a_receiver_that_is_gone_gets_nothing_more_and_one_that_sends_on_is_not_followed() {
    for kind in LEDGERS {
        let bench = Bench::new(kind);
        let (ledger, sender) = (bench.ledger(), sender());
        let canary = Web::start(|_, _| ok());
        let elsewhere = canary.endpoint();
        let receiver = Receiver::new(move |_, request| match request.target.as_str() {
            "/gone" => Reply::status(410, ""),
            status => {
                let headers = vec![("Location".to_owned(), elsewhere.clone())];
                Reply::Answer { status: status[1..].parse().unwrap(), headers, body: Vec::new() }
            }
        });
        let gone = failed(&bench, &ledger, "a", &format!("{}/gone", receiver.web.endpoint()));
        let moved: Vec<JobId> = [301, 302, 303, 307, 308]
            .iter()
            .map(|status| {
                failed(
                    &bench,
                    &ledger,
                    &format!("m{status}"),
                    &format!("{}/{status}", receiver.web.endpoint()),
                )
            })
            .collect();
        assert_eq!(send(&sender, &ledger), 6, "{kind:?}");
        assert!(matches!(notice(&ledger, &gone).0, NoticeState::GivenUp(why) if why.contains("410")));
        for id in moved {
            let (state, tries, last) = notice(&ledger, &id);
            assert!(matches!(state, NoticeState::Due(_)), "{kind:?}: {state:?}");
            assert_eq!(tries, 1);
            assert!(last.unwrap().contains("not sent on"), "{kind:?}");
        }
        assert_eq!(canary.seen().len(), 0, "{kind:?}: the canary sings");
        assert_eq!(sender.counts(), Counts { delivered: 0, failed: 6, given_up: 1 });
    }
}

#[test]
fn private_receivers_hear_nothing_unless_they_are_allowed() {
    for kind in LEDGERS {
        let bench = Bench::new(kind);
        let ledger = bench.ledger();
        let canary = Web::start(|_, _| ok());
        let port = canary.endpoint().rsplit_once(':').unwrap().1.to_owned();
        let guarded =
            Sender::new(&Settings { guard: Guard::new(Allow::default(), "webhook.allow"), ..settings() })
                .unwrap();
        let hosts = ["127.0.0.1", "localhost", "[::ffff:7f00:1]", "0.0.0.0", "2130706433"];
        let ids: Vec<JobId> = hosts
            .iter()
            .enumerate()
            .map(|(n, host)| {
                failed(&bench, &ledger, &format!("a{n}"), &format!("http://{host}:{port}/?key=hidden"))
            })
            .collect();
        assert_eq!(send(&guarded, &ledger), hosts.len(), "{kind:?}");
        for id in &ids {
            let last = notice(&ledger, id).2.unwrap();
            assert!(last.contains("webhook.allow = [") && !last.contains("hidden"), "{kind:?}: {last}");
        }
        assert_eq!(canary.seen().len(), 0, "{kind:?}: the canary sings");
        bench.clock.advance(seconds(5));
        let named = Allow::new(["localhost", "127.0.0.1"]).unwrap();
        let allowed =
            Sender::new(&Settings { guard: Guard::new(named, "webhook.allow"), ..settings() }).unwrap();
        send(&allowed, &ledger);
        assert_eq!(canary.seen().len(), 3, "{kind:?}: by address, in two spellings, and by name");
    }
}

#[test]
fn a_receiver_that_is_silent_or_not_there_is_a_failure_like_any_other() {
    let bench = Bench::new(Kind::Sqlite);
    let ledger = bench.ledger();
    let receiver = Receiver::new(|_, _| Reply::Silence);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let silent = failed(&bench, &ledger, "a", &receiver.web.endpoint());
    let absent = failed(&bench, &ledger, "b", &format!("http://127.0.0.1:{port}/"));
    let nonsense = failed(&bench, &ledger, "c", "http://");
    let impatient = Sender::new(&Settings { timeout: Duration::from_millis(300), ..settings() }).unwrap();
    assert_eq!(send(&impatient, &ledger), 3);
    for (id, words) in [(silent, "no answer within 0.3 s"), (absent, "cannot connect"), (nonsense, "no URL")]
    {
        let (state, _, last) = notice(&ledger, &id);
        assert!(matches!(state, NoticeState::Due(_)), "{state:?}");
        assert!(last.as_ref().unwrap().contains(words), "{last:?}");
    }
}

#[test]
fn requests_for_several_jobs_are_under_way_at_once_and_not_too_many() {
    let bench = Bench::new(Kind::Sqlite);
    let ledger = bench.ledger();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (inside, seen) = (now.clone(), most.clone());
    let together = Barrier::new(4);
    let receiver = Receiver::new(move |_, _| {
        seen.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        // Nobody is answered before four are there.
        together.wait();
        inside.fetch_sub(1, Ordering::SeqCst);
        ok()
    });
    for n in 0..12 {
        failed(&bench, &ledger, &format!("a{n}"), &receiver.web.endpoint());
    }
    let sender = Sender::new(&Settings { parallel: 4, ..settings() }).unwrap();
    assert_eq!(send(&sender, &ledger), 12);
    assert_eq!(sender.counts().delivered, 12);
    assert_eq!(most.load(Ordering::SeqCst), 4);
}

#[test]
fn several_senders_on_one_ledger_send_each_message_once() {
    for kind in LEDGERS {
        let bench = Bench::new(kind);
        let receiver = Receiver::new(|_, _| ok());
        for n in 0..30 {
            failed(&bench, &bench.ledger(), &format!("a{n}"), &receiver.web.endpoint());
        }
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| send(&sender(), &bench.ledger()));
            }
        });
        // Who lost every race says that nothing is due: what is left now is nothing.
        send(&sender(), &bench.ledger());
        let mut ids = receiver.ids();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 30, "{kind:?}");
        // versitygw compares and writes in two steps: of two writers at one moment, both may be told that they won.
        // What is promised is at least once.
        assert!(kind == Kind::Versity || receiver.got().len() == 30, "{kind:?}: {}", receiver.got().len());
    }
}

#[test]
fn a_webhook_is_delivered_again_when_somebody_asks_for_it() {
    for kind in LEDGERS {
        let bench = Bench::new(kind);
        let (ledger, sender) = (bench.ledger(), sender());
        let receiver = Receiver::new(|index, _| Reply::status([200, 410, 200, 200][index], ""));
        let id = failed(&bench, &ledger, "a", &receiver.web.endpoint());
        send(&sender, &ledger);
        ledger.redeliver(&id, "msg_a_1").unwrap();
        assert!(matches!(notice(&ledger, &id), (NoticeState::Due(at), 0, _) if at == bench.clock.now()));
        send(&sender, &ledger);
        assert!(matches!(notice(&ledger, &id).0, NoticeState::GivenUp(_)), "{kind:?}");
        bench.ledger().redeliver(&id, "msg_a_1").unwrap();
        assert_eq!(send(&sender, &ledger), 1);
        assert!(matches!(notice(&ledger, &id), (NoticeState::Delivered(_), 1, _)), "{kind:?}");
        assert_eq!(receiver.ids(), ["msg_a_1"; 3], "{kind:?}: the same id");
        let error = ledger.redeliver(&id, "msg_a_2").unwrap_err();
        assert_eq!(error.to_string(), "job a has no webhook msg_a_2");
        let unknown = bench.job("b").id.unwrap();
        assert!(
            matches!(ledger.redeliver(&unknown, "msg_b_1"), Err(LedgerError::Unknown { .. })),
            "{kind:?}"
        );
    }
}

#[test]
fn a_sender_at_work_sends_what_comes_and_ends_in_mid_request() {
    for kind in LEDGERS {
        let bench = Bench::new(kind);
        let ledger = bench.ledger();
        let receiver = Receiver::new(|index, _| if index == 0 { ok() } else { Reply::Silence });
        let sender = Sender::new(&Settings { timeout: seconds(3_600), ..settings() }).unwrap();
        let sending = sender.start(bench.ledger()).unwrap();
        let id = failed(&bench, &ledger, "a", &receiver.web.endpoint());
        wait_for("the first is delivered", || matches!(notice(&ledger, &id).0, NoticeState::Delivered(_)));
        let id = failed(&bench, &ledger, "b", &receiver.web.endpoint());
        wait_for("the second is under way", || receiver.got().len() == 2);
        // Would wait for an hour.
        drop(sending);
        assert!(matches!(notice(&ledger, &id), (NoticeState::Due(_), 0, None)), "{kind:?}: sent again later");
    }
}

fn wait_for(what: &str, found: impl Fn() -> bool) {
    let started = Instant::now();
    while !found() {
        assert!(started.elapsed() < seconds(60), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A ledger that stands still when it should write that something was delivered.
struct Stuck {
    inner: Arc<dyn Records>,
    marker: PathBuf,
}

impl Records for Stuck {
    fn read(&self, id: &JobId) -> Result<Option<Stored>, LedgerError> {
        self.inner.read(id)
    }

    fn create(&self, record: &Record) -> Result<Option<Stored>, LedgerError> {
        self.inner.create(record)
    }

    fn replace(&self, version: &Version, record: &Record) -> Result<bool, LedgerError> {
        if record.outbox.iter().any(|notice| matches!(notice.state, NoticeState::Delivered(_))) {
            std::fs::write(&self.marker, "here").unwrap();
            std::thread::sleep(seconds(3_600));
        }
        self.inner.replace(version, record)
    }

    fn list(&self, filter: &Filter) -> Result<Vec<Record>, LedgerError> {
        self.inner.list(filter)
    }

    fn due(&self, what: Due, now: Timestamp, limit: usize) -> Result<Vec<JobId>, LedgerError> {
        self.inner.due(what, now, limit)
    }

    fn put_worker(&self, card: &WorkerCard) -> Result<(), LedgerError> {
        self.inner.put_worker(card)
    }

    fn remove_worker(&self, name: &str) -> Result<(), LedgerError> {
        self.inner.remove_worker(name)
    }

    fn workers(&self) -> Result<Vec<WorkerCard>, LedgerError> {
        self.inner.workers()
    }
}

#[test]
#[ignore = "the process that the next test starts and kills"]
fn child() {
    let Ok(url) = std::env::var("TRANSCODE_TEST_URL") else { return };
    let directory = PathBuf::from(std::env::var("TRANSCODE_TEST_DIRECTORY").unwrap());
    let records: Arc<dyn Records> = if url.is_empty() {
        Arc::new(SqliteRecords::new(database(&directory)))
    } else {
        Arc::new(RedisRecords::new(Arc::new(Redis::new(&url).unwrap())))
    };
    let records = match std::env::var_os("TRANSCODE_TEST_MARKER") {
        Some(marker) => Arc::new(Stuck { inner: records, marker: marker.into() }),
        None => records,
    };
    let ledger = Ledger::new(records, Arc::new(SystemClock), Policy::default());
    let quick = Sender::new(&Settings { timeout: seconds(1), ..settings() }).unwrap();
    let _sending = quick.start(ledger).unwrap();
    std::thread::sleep(seconds(120));
}

#[test]
fn a_sender_killed_between_the_answer_and_its_record_is_followed_by_one_that_sends_the_same_again() {
    for kind in [Kind::Sqlite, Kind::Redis] {
        let bench = Bench::new(kind);
        let ledger = Ledger::new(bench.records(), Arc::new(SystemClock), Policy::default());
        let receiver = Receiver::new(|_, _| ok());
        let id = failed(&bench, &ledger, "a", &receiver.web.endpoint());
        let marker = bench.directory.path().join("marker");
        let start = |marker: Option<&PathBuf>| {
            let url = if kind == Kind::Redis { bench.url() } else { String::new() };
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "delivery::child", "--ignored", "--nocapture"]);
            command.env("TRANSCODE_TEST_URL", url).env("TRANSCODE_TEST_DIRECTORY", bench.directory.path());
            command.envs(marker.map(|marker| ("TRANSCODE_TEST_MARKER", marker)));
            command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
        };
        let mut first = start(Some(&marker));
        wait_for("it is sent and not written down", || marker.exists());
        first.kill().unwrap();
        first.wait().unwrap();
        assert!(matches!(notice(&ledger, &id), (NoticeState::Due(_), 0, None)), "{kind:?}");
        let mut second = start(None);
        wait_for("it is sent again", || matches!(notice(&ledger, &id).0, NoticeState::Delivered(_)));
        second.kill().unwrap();
        second.wait().unwrap();
        assert_eq!(receiver.ids(), ["msg_a_1", "msg_a_1"], "{kind:?}: one id");
        let bodies: Vec<_> = receiver.got().iter().map(|got| got.body.clone()).collect();
        assert_eq!(bodies[0], bodies[1], "{kind:?}");
    }
}
