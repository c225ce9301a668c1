//! SQS beside producers that stay as they are, its own clock, and what only SQS can get wrong. Holds are a second or
//! two: ElasticMQ's clock is the real one.

use crate::elasticmq::ElasticMq;
use crate::{Bench, Kind, seconds, sqs};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use transcode_svc::job::Priority;
use transcode_svc::queue::{Delivery, Depth, Hold, Queue, SqsQueue, SqsSettings, SqsTraffic};

fn open(settings: SqsSettings) -> SqsQueue {
    SqsQueue::new(settings).unwrap()
}

fn take(queue: &dyn Queue, hold: u64) -> Option<Delivery> {
    queue.take("worker", seconds(hold), Duration::ZERO).unwrap()
}

fn pause(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

fn server(bench: &Bench) -> (&Arc<ElasticMq>, &str) {
    let (server, url) = bench.sqs.as_ref().unwrap();
    (server, url)
}

/// Put a message there as boto3 does.
fn produce(bench: &Bench, body: &str, attributes: &[(&str, &str, &str)]) {
    let (server, url) = server(bench);
    let attributes: serde_json::Map<String, Value> = attributes
        .iter()
        .map(|(name, kind, text)| ((*name).to_owned(), json!({"DataType": kind, "StringValue": text})))
        .collect();
    let message = json!({"QueueUrl": url, "MessageBody": body, "MessageAttributes": attributes});
    server.ask("SendMessage", &message);
}

/// Every call with a hold that is lost says so.
fn lost(queue: &dyn Queue, old: &Delivery) {
    assert_eq!(queue.extend(old, seconds(60)).unwrap(), Hold::Lost);
    assert_eq!(queue.remove(old).unwrap(), Hold::Lost);
    assert_eq!(queue.give_back(old, Duration::ZERO).unwrap(), Hold::Lost);
    assert_eq!(queue.bury(old, "it is odd").unwrap(), Hold::Lost);
}

#[test]
fn whoever_lost_a_hold_changes_nothing_in_any_process() {
    let bench = Bench::new(Kind::Sqs);
    let (first, second, third) = (bench.queue(), bench.queue(), bench.queue());
    first.push(Priority::Normal, "a").unwrap();
    let old = take(&*first, 1).expect("the message");
    assert_eq!(take(&*second, 1), None, "it is held from the moment of its receipt");
    pause(1_300);
    // Nobody else came, and it is lost all the same.
    lost(&*first, &old);
    let new = take(&*second, 60).expect("it came back");
    assert_eq!(new.body, "a");
    lost(&*first, &old);
    // A process that knows nothing of it has only the server to ask.
    lost(&*third, &old);
    let expected = Depth { held: 1, ..Depth::default() };
    assert_eq!(second.depth().unwrap(), expected, "no copy was made and nothing deleted");
    assert_eq!(third.remove(&new).unwrap(), Hold::Kept, "a good receipt is good anywhere");
    assert_eq!(second.depth().unwrap(), Depth::default());
}

#[test]
fn heartbeats_keep_a_message_for_longer_than_its_first_hold() {
    let bench = Bench::new(Kind::Sqs);
    let (worker, other) = (bench.queue(), bench.queue());
    worker.push(Priority::Normal, "match").unwrap();
    let held = take(&*worker, 2).expect("the message");
    for _ in 0..5 {
        pause(700);
        assert_eq!(worker.extend(&held, seconds(2)).unwrap(), Hold::Kept);
        assert_eq!(take(&*other, 2), None);
    }
    // It dies. No later than a hold after its last word, the message comes.
    let taken = other.take("other", seconds(60), seconds(6)).unwrap().expect("within a hold and a poll");
    assert_eq!(taken.body, "match");
    assert_eq!(worker.remove(&held).unwrap(), Hold::Lost);
}

#[test]
fn near_the_cap_a_copy_takes_the_messages_place() {
    let bench = Bench::new(Kind::Sqs);
    let worker = open(SqsSettings { cap: seconds(4), ..bench.sqs() });
    produce(&bench, "a long one", &[("VisibilityTimeout", "Number", "900")]);
    let held = take(&worker, 2).expect("the message");
    assert_eq!(worker.extend(&held, seconds(2)).unwrap(), Hold::Kept);
    pause(1_200);
    assert_eq!(worker.extend(&held, seconds(3)).unwrap(), Hold::Kept, "this is where the copy is made");
    let depth = Depth { delayed: 1, ..Depth::default() };
    assert_eq!(worker.depth().unwrap(), depth, "the original is gone, nobody can take the copy yet");
    lost(&worker, &held);
    assert_eq!(worker.depth().unwrap(), depth);
    // The copy is as the original was, with a life of its own.
    let unsteady = open(SqsSettings { heartbeat: false, ..bench.sqs() });
    let copy = unsteady.take("other", seconds(1), seconds(8)).unwrap().expect("the copy");
    assert_eq!((copy.body.as_str(), copy.priority), ("a long one", Priority::Normal));
    pause(1_300);
    assert_eq!(take(&worker, 1), None, "its attribute went with it");
}

#[test]
fn what_is_given_back_does_not_count_as_received_and_what_died_does() {
    let bench = Bench::new(Kind::Sqs);
    let (server, _) = server(&bench);
    server.create("counted_grave", &json!({}));
    let grave = "arn:aws:sqs:elasticmq:000000000000:counted_grave";
    let policy = json!({"deadLetterTargetArn": grave, "maxReceiveCount": 2}).to_string();
    server.create("counted", &json!({"RedrivePolicy": policy}));
    let queue = open(sqs(&server.url("counted")));
    queue.push(Priority::Normal, "a").unwrap();
    for turn in 0..6 {
        let held = take(&queue, 60).unwrap_or_else(|| panic!("it is there at turn {turn}"));
        assert_eq!(queue.give_back(&held, Duration::ZERO).unwrap(), Hold::Kept);
    }
    assert_eq!(queue.traffic(), SqsTraffic { received: 6, deleted: 6 }, "one for one");
    for _ in 0..2 {
        assert_eq!(take(&queue, 1).expect("the message").body, "a");
        pause(1_300);
    }
    assert_eq!(take(&queue, 1), None, "two died on it: SQS itself lays it aside");
    let letters = queue.dead_letters(10).unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].body, "a");
    assert!(letters[0].reason.contains("received too often"), "{letters:?}");
    assert!(queue.revive(letters[0].number).unwrap());
    assert_eq!(take(&queue, 60).expect("once more").body, "a");
    let told = queue.weaknesses().unwrap();
    assert!(told.len() == 1 && told[0].contains("`maxReceiveCount` is 2"), "{told:?}");
}

#[test]
fn a_delay_is_honoured_to_the_second() {
    let bench = Bench::new(Kind::Sqs);
    let queue = bench.queue();
    queue.push(Priority::Low, "later").unwrap();
    let held = take(&*queue, 60).expect("the message");
    assert_eq!(queue.give_back(&held, Duration::from_millis(1_500)).unwrap(), Hold::Kept);
    assert_eq!(queue.depth().unwrap(), Depth { delayed: 1, ..Depth::default() });
    pause(1_000);
    assert_eq!(take(&*queue, 60), None, "not before its time");
    let again = queue.take("worker", seconds(60), seconds(5)).unwrap().expect("after it");
    assert_eq!((again.body.as_str(), again.priority), ("later", Priority::Low));
    // Longer than SQS delays a new message: this one stays, invisible.
    assert_eq!(queue.give_back(&again, seconds(3_600)).unwrap(), Hold::Kept);
    assert_eq!(queue.depth().unwrap(), Depth { held: 1, ..Depth::default() });
    lost(&*queue, &again);
}

#[test]
fn without_heartbeats_the_producers_time_is_the_hold() {
    let bench = Bench::new(Kind::Sqs);
    let queue = open(SqsSettings { heartbeat: false, ..bench.sqs() });
    produce(&bench, "short", &[("VisibilityTimeout", "Number", "2")]);
    let held = take(&queue, 60).expect("the message");
    assert_eq!(queue.extend(&held, seconds(60)).unwrap(), Hold::Kept, "and nothing is asked of SQS");
    assert_eq!(take(&queue, 60), None);
    pause(2_300);
    assert_eq!(queue.extend(&held, seconds(60)).unwrap(), Hold::Lost);
    let again = take(&queue, 60).expect("its time is over");
    assert_eq!(queue.remove(&again).unwrap(), Hold::Kept);
    assert!(queue.weaknesses().unwrap().iter().any(|told| told.contains("heartbeats are off")));
}

#[test]
fn the_priority_attribute_counts_where_there_is_no_queue_for_it() {
    let bench = Bench::new(Kind::Sqs);
    let queue = bench.queue();
    produce(&bench, "low", &[("Priority", "String", "low")]);
    produce(&bench, "plain", &[]);
    produce(&bench, "high", &[("Priority", "String", "HIGH")]);
    let mut taken = Vec::new();
    while let Some(delivery) = take(&*queue, 60) {
        taken.push((delivery.priority, delivery.body.clone()));
        assert_eq!(queue.remove(&delivery).unwrap(), Hold::Kept);
    }
    assert_eq!(taken.pop().unwrap(), (Priority::Low, "low".to_owned()), "it was moved behind the others");
    taken.sort();
    assert_eq!(taken, [(Priority::High, "high".to_owned()), (Priority::Normal, "plain".to_owned())]);

    let alone = open(SqsSettings { siblings: false, ..bench.sqs() });
    alone.push(Priority::High, "pinned").unwrap();
    assert_eq!(alone.depth().unwrap().normal, 1);
    assert_eq!(take(&alone, 60).unwrap().priority, Priority::High);
}

#[test]
fn a_queue_without_siblings_or_grave_still_works_and_says_what_is_weaker() {
    let server = ElasticMq::shared();
    server.create("lonely", &json!({}));
    let queue = open(sqs(&server.url("lonely")));
    let told = queue.weaknesses().unwrap();
    assert!(told.len() == 1 && told[0].contains("no queue for dead letters"), "{told:?}");
    for priority in Priority::ALL {
        queue.push(priority, "nonsense").unwrap();
    }
    let mut found: Vec<_> = std::iter::from_fn(|| take(&queue, 60)).collect();
    found.sort_by_key(|delivery| delivery.priority);
    assert_eq!(found.iter().map(|delivery| delivery.priority).collect::<Vec<_>>(), Priority::ALL);
    for delivery in &found {
        assert_eq!(queue.bury(delivery, "no known job format").unwrap(), Hold::Kept);
    }
    assert_eq!((queue.depth().unwrap(), queue.dead_letters(9).unwrap()), (Depth::default(), Vec::new()));
    assert!(!queue.revive(1).unwrap());
}

#[test]
fn a_server_that_was_killed_comes_back_with_everything() {
    let server = ElasticMq::start();
    let url = server.lines();
    let queue = open(sqs(&url));
    queue.push(Priority::Normal, "a").unwrap();
    queue.push(Priority::High, "b").unwrap();
    let taken = take(&queue, 60).unwrap();
    assert_eq!(taken.body, "b");
    server.kill();
    let error = queue.extend(&taken, seconds(60)).unwrap_err();
    assert!(error.to_string().contains(&url), "{error}");
    assert!(queue.push(Priority::Normal, "c").is_err());
    server.start_again();
    assert_eq!(queue.extend(&taken, seconds(60)).unwrap(), Hold::Kept, "it is still held");
    assert_eq!(queue.remove(&taken).unwrap(), Hold::Kept);
    assert_eq!(take(&queue, 60).unwrap().body, "a");
    assert_eq!(take(&queue, 60), None);
}

#[test]
fn settings_that_cannot_be_are_told_with_what_to_do_and_without_secrets() {
    let shown = format!("{:?}", sqs("http://127.0.0.1:1/000000000000/q"));
    assert!(shown.contains("access_key_id") && shown.contains("***"), "{shown}");
    let refused = |settings: SqsSettings| SqsQueue::new(settings).map(drop).unwrap_err().to_string();
    for (url, what) in [
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/jobs.fifo", "standard queue"),
        ("http://sqs.example.org/queue/jobs", "plain HTTP"),
        ("jobs", "no queue URL"),
    ] {
        let told = refused(sqs(url));
        assert!(told.contains(what), "{url}: {told}");
    }
    let told = refused(SqsSettings { credentials: None, ..sqs("http://127.0.0.1:1/000000000000/q") });
    assert!(told.contains("AWS_ACCESS_KEY_ID"), "{told}");
    let absent = open(sqs(&ElasticMq::shared().url("never-made")));
    let told = absent.take("worker", seconds(1), Duration::ZERO).unwrap_err().to_string();
    assert!(told.contains("never-made") && told.contains("make it"), "{told}");
}
