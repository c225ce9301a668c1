//! What only a ledger of objects can get wrong: stores that ignore conditions, keys that may not list, deaths between two
//! objects.

use crate::servers::{Minio, S3Server};
use crate::web::{Reply, Request, Web};
use crate::{Bench, Kind, START, seconds};
use std::collections::BTreeMap;
use std::sync::{Arc, Barrier, Mutex};
use transcode_svc::config::Config;
use transcode_svc::job::JobId;
use transcode_svc::ledger::{Due, Filter, Grant, Ledger, ObjectRecords, Policy, Records, State};
use transcode_svc::store::Stores;
use transcode_svc::time::ManualClock;

/// A store of a few lines, in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conditions {
    Kept,
    Ignored,
    Refused,
}

fn header(name: &str, value: String) -> Vec<(String, String)> {
    vec![(name.to_owned(), value)]
}

/// What goes wrong with a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// It is done, and its answer is lost.
    LostAnswer,
    /// Another one is being done: 409, as Amazon's store says it. To be tried again.
    Conflict,
}

/// The first PUT for which `wrong` is true goes wrong.
fn stub(
    conditions: Conditions,
    trouble: Trouble,
    wrong: impl Fn(&str) -> bool + Send + Sync + 'static,
) -> Web {
    let objects: Mutex<BTreeMap<String, (Vec<u8>, u64)>> = Mutex::default();
    let (count, over) = (Mutex::new(0_u64), Mutex::new(false));
    Web::start(move |_, request: &Request| {
        let mut objects = objects.lock().unwrap();
        let key = request.target.split('?').next().unwrap().to_owned();
        let tag = |number: u64| format!("\"{number:032}\"");
        if request.target.contains("list-type=2") {
            let body =
                "<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>";
            return Reply::status(200, body);
        }
        match request.method.as_str() {
            "GET" => match objects.get(&key) {
                Some((body, number)) => {
                    let mut headers = header("ETag", tag(*number));
                    headers.extend(header("Last-Modified", "Sat, 03 Oct 2026 14:05:09 GMT".to_owned()));
                    Reply::Answer { status: 200, headers, body: body.clone() }
                }
                None => Reply::s3_error(404, "NoSuchKey"),
            },
            "PUT" => {
                let mut over = over.lock().unwrap();
                let now = !*over && wrong(&key);
                *over |= now;
                if now && trouble == Trouble::Conflict {
                    return Reply::s3_error(409, "ConditionalRequestConflict");
                }
                let there = objects.get(&key).map(|(_, number)| tag(*number));
                let absent = request.header("if-none-match").is_some();
                let wanted = request.header("if-match").map(str::to_owned);
                if conditions == Conditions::Refused && (absent || wanted.is_some()) {
                    return Reply::s3_error(501, "NotImplemented");
                }
                let broken = (absent && there.is_some()) || (wanted.is_some() && wanted != there);
                if conditions == Conditions::Kept && broken {
                    return Reply::s3_error(412, "PreconditionFailed");
                }
                let mut count = count.lock().unwrap();
                *count += 1;
                objects.insert(key.clone(), (request.body.clone(), *count));
                if now {
                    return Reply::Drop;
                }
                Reply::Answer { status: 200, headers: header("ETag", tag(*count)), body: Vec::new() }
            }
            _ => {
                objects.remove(&key);
                Reply::status(204, "")
            }
        }
    })
}

/// Records at an endpoint where no keys are needed.
fn open(endpoint: &str, bucket: &str) -> ObjectRecords {
    let variables = [("TRANSCODE_STORE_ENDPOINT", endpoint), ("TRANSCODE_STORE_ANONYMOUS", "true")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let directory = tempfile::tempdir().unwrap();
    let stores = Stores::new(&Config::from_parts(None, &variables, directory.path()).unwrap()).unwrap();
    ObjectRecords::open(&stores, &format!("s3://{bucket}/transcode/ledger")).unwrap()
}

fn ledger(records: ObjectRecords, clock: &Arc<ManualClock>) -> Ledger {
    Ledger::new(Arc::new(records), clock.clone(), Policy::default())
}

fn store(bench: &Bench) -> (&S3Server, String) {
    (bench.store.as_deref().unwrap(), format!("ledger{}", bench.number))
}

fn all(ledger: &Ledger) -> Vec<JobId> {
    let filter = Filter { limit: 100, ..Filter::default() };
    ledger.list(&filter).unwrap().into_iter().map(|record| record.id).collect()
}

#[test]
fn a_store_that_keeps_conditions_and_keys_that_may_all_have_no_weakness() {
    let bench = Bench::new(Kind::Minio);
    for start in ["first", "second"] {
        assert_eq!(bench.objects().weaknesses(), Vec::<String>::new(), "{start} start");
    }
}

#[test]
fn a_store_that_is_not_known_to_keep_conditions_at_one_moment_is_not_trusted() {
    // versitygw looks first and writes then: of two at the same moment both get through.
    let told = Bench::new(Kind::Versity).objects().weaknesses();
    assert!(told.len() == 1 && told[0].contains("at the same moment"), "{told:?}");
}

#[test]
fn a_store_that_does_not_keep_conditions_is_found_at_the_start_and_compared_by_hand() {
    for (conditions, word) in [(Conditions::Ignored, "ignores"), (Conditions::Refused, "refuses")] {
        let web = stub(conditions, Trouble::LostAnswer, |_| false);
        let told = open(&web.endpoint(), "b").weaknesses();
        assert!(
            told.len() == 1 && told[0].contains(word) && told[0].contains("quarter of a second"),
            "{told:?}"
        );

        let bench = Bench::new(Kind::Sqlite);
        let records = open(&web.endpoint(), "b");
        let one = ledger(open(&web.endpoint(), "b"), &bench.clock);
        let id = one.submit(bench.job("a")).unwrap().record.id;
        assert!(!one.submit(bench.job("a")).unwrap().fresh, "{conditions:?}");
        let old = records.read(&id).unwrap().unwrap();
        one.announced(&id).unwrap();
        assert!(!records.replace(&old.version, &old.record).unwrap(), "{conditions:?}: it was changed since");

        let (start, id) = (Barrier::new(2), &id);
        let ask = |worker: &'static str| {
            let ledger = ledger(open(&web.endpoint(), "b"), &bench.clock);
            start.wait();
            matches!(ledger.grant(id, worker, seconds(60)).unwrap(), Grant::Granted { .. })
        };
        let granted = std::thread::scope(|scope| {
            let other = scope.spawn(|| ask("two"));
            [ask("one"), other.join().unwrap()]
        });
        assert_eq!(granted.iter().filter(|granted| **granted).count(), 1, "{conditions:?}");
        assert_eq!(one.get(id).unwrap().unwrap().epoch, 1, "{conditions:?}");
    }
}

#[test]
fn a_write_that_went_wrong_is_made_once() {
    for trouble in [Trouble::LostAnswer, Trouble::Conflict] {
        let bench = Bench::new(Kind::Sqlite);
        for lost in ["/jobs/a.json", "/keys/key.json", "/index/"] {
            let web = stub(Conditions::Kept, trouble, move |key| key.contains(lost));
            let one = ledger(open(&web.endpoint(), "b"), &bench.clock);
            let mut job = bench.job("a");
            job.idempotency_key = Some("key".to_owned());
            assert!(one.submit(job.clone()).unwrap().fresh, "{trouble:?} {lost}");
            assert!(!one.submit(job).unwrap().fresh, "{trouble:?} {lost}");
        }
        // The same for a change: the second write of the record.
        let count = Mutex::new(0);
        let web = stub(Conditions::Kept, trouble, move |key| {
            let mut count = count.lock().unwrap();
            *count += u32::from(key.contains("/jobs/"));
            *count == 2
        });
        let one = ledger(open(&web.endpoint(), "b"), &bench.clock);
        let id = one.admit(bench.job("a")).unwrap().record.id;
        let Grant::Granted { lease, .. } = one.grant(&id, "worker", seconds(60)).unwrap() else {
            panic!("a lease")
        };
        let epoch = one.get(&id).unwrap().unwrap().epoch;
        assert_eq!((lease.epoch, epoch), (1, 1), "{trouble:?}: one grant, not two");
    }
}

#[test]
fn keys_that_may_only_get_and_put_are_enough_and_what_is_weaker_is_told() {
    let (server, bench) = (Minio::shared(), Bench::new(Kind::Sqlite));
    server.create_bucket("ledger-get-put");
    server.allow_everybody("ledger-get-put", &["s3:GetObject", "s3:PutObject"]);
    let told = open(&server.endpoint(), "ledger-get-put").weaknesses();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("may not list") && told[1].contains("may not delete"), "{told:?}");

    let one = ledger(open(&server.endpoint(), "ledger-get-put"), &bench.clock);
    let other = ledger(open(&server.endpoint(), "ledger-get-put"), &bench.clock);
    let job = bench.job("a");
    let outputs = job.outputs().unwrap();
    let id = one.submit(job).unwrap().record.id;
    one.submit(bench.job("b")).unwrap();
    bench.clock.advance(seconds(60));
    assert_eq!(one.stranded(10).unwrap().len(), 2);
    one.announced(&id).unwrap();
    assert_eq!(one.stranded(10).unwrap().len(), 1);
    assert_eq!((all(&one).len(), all(&other).len()), (2, 0), "each knows what it has seen");
    let Grant::Granted { lease, .. } = other.grant(&id, "worker", seconds(60)).unwrap() else {
        panic!("a lease")
    };
    assert!(matches!(one.grant(&id, "another", seconds(60)).unwrap(), Grant::Busy { .. }));
    other.begin_commit(&lease).unwrap();
    other.complete(&lease, &outputs).unwrap();
    assert_eq!(one.get(&id).unwrap().unwrap().state, State::Complete);
    assert_eq!(all(&other), std::slice::from_ref(&id));
    let webhook = other.take_webhook(seconds(30)).unwrap().expect("it is due");
    assert_eq!(webhook.job, id);
}

#[test]
fn what_a_death_leaves_between_two_objects_is_passed_over_and_cleared() {
    let bench = Bench::new(Kind::Minio);
    let (server, bucket) = store(&bench);
    let records = bench.objects();
    let (now, ghost) = (START.millis(), "9897908c8b");
    let mark = format!("transcode/ledger/due/queue/{now:016}-ghost");
    server.put(&bucket, &mark, b"");
    server.put(&bucket, &format!("transcode/ledger/index/{:016}-{ghost}~", 9_999_999_999_999_999 - now), b"");
    server.put(&bucket, "transcode/ledger/index/a stranger's", b"");
    // Who takes a job in that another is taking in at the same time may die before it takes its place away.
    let second = format!("{:016}-8d9a9e93~", 9_999_999_999_999_999 - now - 5);
    server.put(&bucket, &format!("transcode/ledger/index/{second}"), b"");
    server.put(&bucket, "transcode/ledger/workers/odd.json", b"{");
    let known = bench.ledger().submit(bench.job("real")).unwrap().record.id;
    assert_eq!(all(&bench.ledger()), std::slice::from_ref(&known));
    assert!(bench.ledger().workers().unwrap().is_empty());
    bench.clock.advance(seconds(60));
    let due = |time: u64| records.due(Due::Queue, START + seconds(time), 10).unwrap();
    assert_eq!(due(60), std::slice::from_ref(&known));
    assert_eq!(server.get(&bucket, &mark).status, 200, "its record may be on the way");
    assert_eq!(due(601), [known]);
    assert_eq!(server.get(&bucket, &mark).status, 404);
}

#[test]
fn a_key_whose_maker_died_still_makes_one_job() {
    let bench = Bench::new(Kind::Minio);
    let (server, bucket) = store(&bench);
    server.put(&bucket, "transcode/ledger/keys/key=2F1.json", br#"{"job":"reserved"}"#);
    let mut job = bench.job("a");
    (job.id, job.idempotency_key) = (None, Some("key/1".to_owned()));
    let ids: Vec<_> = (0..2).map(|_| bench.ledger().submit(job.clone()).unwrap().record.id).collect();
    assert_eq!(ids.iter().map(JobId::as_str).collect::<Vec<_>>(), ["reserved", "reserved"]);
    bench.clock.advance(seconds(60));
    let stranded = bench.ledger().stranded(10).unwrap();
    assert_eq!(stranded.len(), 1, "and the sweep puts it into the queue");
    assert_eq!(stranded[0].job.id, Some(ids[0].clone()));
}

#[test]
fn any_name_is_kept_as_it_is() {
    let bench = Bench::new(Kind::Versity);
    let names = ["a/b c/ü.mp4", "..", "=2F", "A", "a"];
    let mut ids = Vec::new();
    for name in names {
        let mut job = bench.job("a");
        job.id = Some(name.parse().unwrap());
        ids.insert(0, bench.ledger().submit(job).unwrap().record.id);
        bench.clock.advance(seconds(1));
    }
    assert_eq!(all(&bench.ledger()), ids);
    bench.clock.advance(seconds(60));
    let stranded: Vec<_> =
        bench.ledger().stranded(10).unwrap().into_iter().map(|record| record.id).rev().collect();
    assert_eq!(stranded, ids);
}

#[test]
fn a_store_that_was_killed_comes_back_with_everything() {
    let (server, bench) = (Minio::start(), Bench::new(Kind::Sqlite));
    server.create_bucket("ledger");
    let records = crate::objects(&server.endpoint(), "ledger", bench.directory.path());
    let ledger = ledger(records, &bench.clock);
    let id = ledger.submit(bench.job("a")).unwrap().record.id;
    let Grant::Granted { mut lease, .. } = ledger.grant(&id, "worker", seconds(60)).unwrap() else {
        panic!()
    };
    let before = ledger.get(&id).unwrap();
    server.kill();
    let error = ledger.get(&id).unwrap_err();
    assert!(error.to_string().contains("s3://ledger/transcode/ledger"), "{error}");
    server.start_again();
    assert_eq!(ledger.get(&id).unwrap(), before);
    bench.clock.advance(seconds(20));
    ledger.renew(&mut lease, 1).unwrap();
    assert_eq!(ledger.list(&Filter { limit: 9, ..Filter::default() }).unwrap()[0].id, id);
}
