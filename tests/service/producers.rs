//! Producers and readers as users have them: Python's `redis` and `boto3`, with the literal jobs of the systems before.

use crate::elasticmq::ElasticMq;
use crate::fleet::{Fleet, Kind, PATIENCE, QUEUES, Worker};
use crate::servers::{ACCESS_KEY, Minio, SECRET_KEY};
use crate::support::{clip, transcode};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// What a Python program prints as JSON.
#[track_caller]
fn python(program: &str, variables: &[(&str, &str)]) -> Value {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/producers");
    assert!(modules.exists(), "{} is missing: run scripts/setup test", modules.display());
    let mut command = Command::new("python3");
    command.args(["-c", program]).env("PYTHONPATH", &modules).env("PYTHONWARNINGS", "ignore");
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("NO_PROXY", "*");
    let said = command.envs(variables.iter().copied()).output().unwrap();
    assert!(said.status.success(), "{}\n{program}", String::from_utf8_lossy(&said.stderr));
    serde_json::from_slice(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

#[test]
fn pythons_redis_pushes_a_job_and_reads_its_status() {
    let fleet = Fleet::new(Kind::Redis);
    let url = fleet.redis.as_ref().unwrap().url();
    let variables = [("REDIS_URL", url.as_str())];
    let pushed = python(
        r#"
import json, os, redis
client = redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
client.lpush("transcode_jobs", json.dumps({
    "id": "job_1234567890_abc123", "input_bucket": "", "input_key": "in/karma.mp4", "output_bucket": "",
    "output_prefix": "videos/abc", "ladder": [
        {"name": "480p", "height": 480, "bitrate": "2M", "audio_bitrate": "96k"},
        {"name": "360p", "height": 360, "bitrate": "800k", "audio_bitrate": "64k"}]}))
print(json.dumps(client.llen("transcode_jobs")))
"#,
        &variables,
    );
    assert_eq!(pushed, 1);
    let _worker = fleet.worker("one", &[]);
    fleet.complete("job_1234567890_abc123");
    let status = python(
        r#"
import json, os, redis
client = redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
status = client.hgetall("job:job_1234567890_abc123")
status["outputs"] = json.loads(status["outputs"])
print(json.dumps({"status": status, "count": len(client.keys("job:*"))}))
"#,
        &variables,
    );
    assert_eq!(status["count"], 1);
    assert_eq!(status["status"]["status"], "complete");
    assert_eq!(
        status["status"]["outputs"],
        json!([{"profile": "480p", "key": "videos/abc/480p.mp4"}, {"profile": "360p", "key": "videos/abc/360p.mp4"},
               {"profile": "hls", "key": "videos/abc/master.m3u8"}])
    );
    let fields = ["id", "status", "created", "updated", "progress", "outputs", "error", "attempts", "worker"];
    for field in fields {
        assert!(status["status"].get(field).is_some(), "{field} is missing: {status}");
    }
}

/// The hybrid fleet: SQS and a store of another provider with other keys, nothing else.
#[test]
fn pythons_boto3_sends_a_job_and_an_event_and_finds_the_outputs() {
    let (queue, store) = (ElasticMq::shared(), Minio::shared());
    let bucket = "hybrid";
    store.create_bucket(bucket);
    store.put(bucket, "uploads/the game/1.mp4", &fs::read(clip("gopro-karma.mp4")).unwrap());
    let url = queue.lines();
    let keys = [
        ("SQS_TRANSCODE_QUEUE_URL", url.clone()),
        ("AWS_REGION", "eu-west-1".to_owned()),
        ("AWS_DEFAULT_REGION", "eu-west-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "queue".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "queue".to_owned()),
    ];
    let variables: Vec<(&str, &str)> = keys.iter().map(|(name, value)| (*name, value.as_str())).collect();
    python(
        r#"
import boto3, json, os
url = os.environ["SQS_TRANSCODE_QUEUE_URL"]
queue = boto3.client("sqs", endpoint_url=url.rsplit("/", 2)[0])
event = {"Records": [{"eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "eu-west-1",
    "eventTime": "2026-10-03T14:05:09.000Z", "eventName": "ObjectCreated:Put",
    "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": "hybrid", "arn": "arn:aws:s3:::hybrid"},
           "object": {"key": "uploads/the+game/1.mp4", "size": 4134647, "eTag": "abc", "sequencer": "0A"}}}]}
queue.send_message(QueueUrl=url, MessageBody=json.dumps(event))
queue.send_message(QueueUrl=url, MessageBody=json.dumps({
    "id": "clip-7", "input_bucket": "hybrid", "input_key": "uploads/the game/1.mp4", "output_bucket": "hybrid",
    "output_prefix": "clips/7", "profile": "match"}))
print(json.dumps("sent"))
"#,
        &variables,
    );
    let dir = tempfile::tempdir().unwrap();
    let mut command =
        transcode(["worker", "--platform", "software", "--name", "jetson", "--store", "s3://hybrid"]);
    QUEUES.iter().for_each(|name| {
        command.env_remove(name);
    });
    command.current_dir(dir.path()).envs(variables.iter().copied());
    command.env("TRANSCODE_STORE_ENDPOINT", store.endpoint());
    command
        .env("TRANSCODE_STORE_ACCESS_KEY_ID", ACCESS_KEY)
        .env("TRANSCODE_STORE_SECRET_ACCESS_KEY", SECRET_KEY);
    command.env("TRANSCODE_QUEUE_POLL", "2s");
    command.env(
        "TRANSCODE_RULES",
        r#"[{"prefix": "uploads/", "suffix": ".mp4", "profile": "match", "output-prefix": "hls/"}]"#,
    );
    let worker = Worker::launch(command, dir.path().join("jetson.log"));
    let began = Instant::now();
    for key in ["hls/the game/1/output.m3u8", "clips/7/output.m3u8"] {
        loop {
            let found = store.get(bucket, key);
            if found.status == 200 && String::from_utf8_lossy(&found.body).contains("#EXT-X-ENDLIST") {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{key}: {}\n{}", found.status, worker.text());
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
    // Received and deleted, one for one.
    let counts = r#"
import boto3, json, os
url = os.environ["SQS_TRANSCODE_QUEUE_URL"]
queue = boto3.client("sqs", endpoint_url=url.rsplit("/", 2)[0])
names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
print(json.dumps(sum(int(v) for v in queue.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values())))
"#;
    while python(counts, &variables) != 0 {
        assert!(began.elapsed() < PATIENCE, "{}", worker.text());
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    // The truth is in the store.
    let record = store.get(bucket, "transcode/ledger/jobs/clip-7.json");
    assert_eq!(record.status, 200, "{}", worker.text());
}
