//! Redis beside producers and readers that stay as they are, and what only Redis can get wrong.

use crate::{Bench, Kind, seconds};
use redis::Commands as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use transcode_svc::broker::Redis;
use transcode_svc::job::{self, JobId, Message, Priority, Rules};
use transcode_svc::ledger::{Grant, Ledger, Policy, RedisRecords};
use transcode_svc::queue::{Hold, Lines, Queue, RedisQueue};
use transcode_svc::time::{Clock, SystemClock};

/// The job of the Redis workers' own manual.
const LITERAL: &str = r#"{"id":"job_1234567890_abc123","input_bucket":"uploads","input_key":"in.mp4","output_bucket":"videos","output_prefix":"out/7","ladder":[{"name":"720p","height":720,"bitrate":"4M","audio_bitrate":"128k"},{"name":"480p","height":480,"bitrate":"2M","audio_bitrate":"96k"}],"webhook_url":"https://example.org/hook"}"#;

fn plain(bench: &Bench) -> redis::Connection {
    redis::Client::open(bench.url()).unwrap().get_connection().unwrap()
}

fn take(queue: &dyn Queue) -> Option<transcode_svc::queue::Delivery> {
    queue.take("worker", seconds(60), Duration::ZERO).unwrap()
}

#[test]
fn a_producer_and_a_reader_of_the_old_workers_see_no_difference() {
    let bench = Bench::new(Kind::Redis);
    let mut plain = plain(&bench);
    let _: u32 = plain.lpush("transcode_jobs", LITERAL).unwrap();
    let (queue, ledger) = (bench.queue(), bench.ledger());
    let taken = take(&*queue).expect("what was pushed");
    let Message::Jobs(jobs) = job::read(&taken.body, &Rules::default()).unwrap() else { panic!("a job") };
    let outputs = jobs[0].outputs().unwrap();
    let id = ledger.admit(jobs[0].clone()).unwrap().record.id;
    let status = |plain: &mut redis::Connection| -> BTreeMap<String, String> {
        plain.hgetall("job:job_1234567890_abc123").unwrap()
    };
    let found = status(&mut plain);
    assert_eq!(found["status"], "queued");
    let names: Vec<_> = found.keys().map(String::as_str).collect();
    let expected =
        ["attempts", "created", "error", "id", "outputs", "progress", "status", "updated", "worker"];
    assert_eq!(names, expected);

    let Grant::Granted { mut lease, .. } = ledger.grant(&id, "jetson", seconds(60)).unwrap() else {
        panic!()
    };
    bench.clock.advance(seconds(20));
    ledger.renew(&mut lease, 40).unwrap();
    let found = status(&mut plain);
    let fields =
        ["status", "progress", "worker", "attempts", "created", "updated"].map(|name| found[name].as_str());
    let times = ["2026-10-03T14:05:09.000Z", "2026-10-03T14:05:29.000Z"];
    assert_eq!(fields, ["processing", "40", "jetson", "1", times[0], times[1]]);

    ledger.begin_commit(&lease).unwrap();
    assert_eq!(status(&mut plain)["status"], "processing", "readers know four states");
    ledger.complete(&lease, &outputs).unwrap();
    assert_eq!(queue.remove(&taken).unwrap(), Hold::Kept);
    let found = status(&mut plain);
    assert_eq!((found["status"].as_str(), found["progress"].as_str()), ("complete", "100"));
    let outputs: Vec<BTreeMap<String, String>> = serde_json::from_str(&found["outputs"]).unwrap();
    let hls = outputs.iter().find(|output| output["profile"] == "hls").unwrap();
    assert_eq!(hls["key"], "out/7/master.m3u8");

    let jobs: Vec<String> = plain.keys("job:*").unwrap();
    assert_eq!(jobs, ["job:job_1234567890_abc123"], "dashboards count these");
    let others: Vec<String> = plain.keys("*").unwrap();
    let strange = |key: &&String| !key.starts_with("transcode:") && !key.starts_with("job:");
    assert_eq!(others.iter().find(strange), None);
}

#[test]
fn a_worker_pinned_to_a_list_serves_that_one_and_no_other() {
    let bench = Bench::new(Kind::Redis);
    let mut plain = plain(&bench);
    for list in ["transcode_jobs", "transcode_jobs_high", "transcode_jobs_low"] {
        let _: u32 = plain.lpush(list, list).unwrap();
    }
    let queue =
        RedisQueue::new(bench.redis(), bench.clock.clone(), Lines::One("transcode_jobs_low".to_owned()));
    assert_eq!(take(&queue).unwrap().body, "transcode_jobs_low");
    assert_eq!(take(&queue), None);
    queue.push(Priority::High, "pushed").unwrap();
    let length: u32 = plain.llen("transcode_jobs_low").unwrap();
    assert_eq!((length, queue.depth().unwrap().normal), (1, 1));
}

#[test]
fn a_message_that_was_moved_and_never_held_is_put_back() {
    let bench = Bench::new(Kind::Redis);
    let mut plain = plain(&bench);
    let (dead, living) = (bench.queue(), bench.queue());
    // The first worker announces its landing, waits, and dies right after BLMOVE has moved a message.
    assert_eq!(dead.take("dead", seconds(60), Duration::from_millis(20)).unwrap(), None);
    let landing = "transcode:queue:transcode_jobs:landing:2:dead";
    for body in ["newer", "older"] {
        let _: u32 = plain.rpush(landing, body).unwrap();
    }
    living.push(Priority::Normal, "behind").unwrap();
    assert_eq!(take(&*living).unwrap().body, "behind", "it may be on its way: nobody touches it yet");
    bench.clock.advance(seconds(9));
    assert_eq!(take(&*living), None);
    bench.clock.advance(seconds(1));
    assert_eq!(take(&*living).unwrap().body, "older");
    assert_eq!(take(&*living).unwrap().body, "newer");
    assert_eq!(take(&*living), None, "once each");
    let left: u32 = plain.llen(landing).unwrap();
    assert_eq!(left, 0);
}

#[test]
fn bytes_that_are_no_text_are_handed_out_and_block_nothing() {
    let bench = Bench::new(Kind::Redis);
    let _: u32 = plain(&bench).lpush("transcode_jobs", &[0xff_u8, 0, b'{'][..]).unwrap();
    let queue = bench.queue();
    queue.push(Priority::Normal, "behind").unwrap();
    let odd = take(&*queue).unwrap();
    assert!(job::read(&odd.body, &Rules::default()).is_err());
    assert_eq!(queue.bury(&odd, "this is no JSON").unwrap(), Hold::Kept);
    assert_eq!(queue.dead_letters(1).unwrap()[0].reason, "this is no JSON");
    assert_eq!(take(&*queue).unwrap().body, "behind");
}

#[test]
fn a_foreign_key_in_the_place_of_the_status_changes_nothing() {
    let bench = Bench::new(Kind::Redis);
    let _: () = plain(&bench).set("job:a", "something else").unwrap();
    let ledger = bench.ledger();
    assert!(ledger.submit(bench.job("a")).is_err());
    assert_eq!(ledger.get(&"a".parse::<JobId>().unwrap()).unwrap(), None, "all of it or nothing");
}

#[test]
fn a_server_that_was_killed_comes_back_with_everything() {
    let server = crate::RedisServer::start();
    let redis = Arc::new(Redis::new(&server.url()).unwrap());
    let queue = RedisQueue::new(redis.clone(), redis.clone(), Lines::default());
    let ledger = Ledger::new(Arc::new(RedisRecords::new(redis.clone())), redis.clone(), Policy::default());
    let bench = Bench::new(Kind::Sqlite);
    let id = ledger.submit(bench.job("a")).unwrap().record.id;
    queue.push(Priority::Normal, "a").unwrap();
    queue.push(Priority::Normal, "b").unwrap();
    let taken = take(&queue).unwrap();
    let Grant::Granted { mut lease, .. } = ledger.grant(&id, "worker", seconds(60)).unwrap() else {
        panic!()
    };
    let before = ledger.get(&id).unwrap();
    server.kill();
    let error = queue.extend(&taken, seconds(60)).unwrap_err();
    assert!(error.to_string().contains("redis://127.0.0.1"), "{error}");
    assert!(ledger.renew(&mut lease, 1).is_err());
    server.start_again();
    assert_eq!(ledger.get(&id).unwrap(), before);
    ledger.renew(&mut lease, 1).unwrap();
    assert_eq!(queue.remove(&taken).unwrap(), Hold::Kept);
    assert_eq!(take(&queue).unwrap().body, "b");
}

#[test]
fn all_workers_have_the_servers_clock() {
    let bench = Bench::new(Kind::Redis);
    let here = SystemClock.now();
    let there = bench.redis().now();
    assert!(there.since(here) < seconds(5) && here.since(there) < seconds(5), "{here} {there}");
    assert!(
        bench.redis().weaknesses().unwrap().is_empty(),
        "the tests' server keeps a log and evicts nothing"
    );
    let mut plain = plain(&bench);
    let _: () =
        redis::cmd("CONFIG").arg("SET").arg("maxmemory-policy").arg("allkeys-lru").query(&mut plain).unwrap();
    assert!(bench.redis().weaknesses().unwrap().is_empty(), "without a limit nothing is evicted");
    let _: () =
        redis::cmd("CONFIG").arg("SET").arg("maxmemory-policy").arg("noeviction").query(&mut plain).unwrap();
}

#[test]
fn an_address_with_a_password_is_never_shown() {
    let redis = Redis::new("redis://user:secret@127.0.0.1:1/").unwrap();
    assert_eq!(redis.name(), "redis://127.0.0.1:1");
    let queue = RedisQueue::new(Arc::new(redis), Arc::new(SystemClock), Lines::default());
    let error = queue.push(Priority::Normal, "a").unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(!text.contains("secret"), "{text}");
    for wrong in ["secret", "http://secret@host", "redis://user:secret@:x"] {
        let told = Redis::new(wrong).map(drop).unwrap_err();
        assert!(!told.contains("secret") && told.contains("redis://host:6379"), "{told}");
    }
}
