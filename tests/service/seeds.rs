//! The test plan of the Redis workers, each point under its name, on their queue and with their literal jobs.

use crate::fleet::{Fleet, Kind};
use crate::servers::Minio;
use crate::support::{is_finished, made};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use transcode_svc::ledger::State;

/// Push as a producer does.
fn push(fleet: &Fleet, list: &str, job: &Value) {
    redis(fleet, &["LPUSH", list, &job.to_string()]);
}

/// What `redis-cli` answers.
fn redis(fleet: &Fleet, words: &[&str]) -> String {
    let url = fleet.redis.as_ref().unwrap().url();
    let answer = Command::new("redis-cli").args(["-u", &url]).args(words).output().unwrap();
    String::from_utf8(answer.stdout).unwrap().trim().to_owned()
}

/// A field of `job:{id}`, as dashboards read it.
fn status(fleet: &Fleet, id: &str, field: &str) -> String {
    redis(fleet, &["HGET", &format!("job:{id}"), field])
}

fn literal(id: &str, input: &str) -> Value {
    json!({
        "id": id, "input_bucket": "", "input_key": input, "output_bucket": "", "output_prefix": format!("out/{id}"),
        "ladder": [{"name": "360p", "height": 360, "bitrate": "800k", "audio_bitrate": "64k"}],
    })
}

#[test]
fn basic_job() {
    let fleet = Fleet::new(Kind::Redis);
    let _worker = fleet.worker("one", &[]);
    push(&fleet, "transcode_jobs", &literal("job_1", "in/karma.mp4"));
    fleet.complete("job_1");
    assert_eq!(status(&fleet, "job_1", "status"), "complete");
    assert_eq!(status(&fleet, "job_1", "progress"), "100");
    let outputs: Value = serde_json::from_str(&status(&fleet, "job_1", "outputs")).unwrap();
    assert_eq!(
        outputs,
        json!([{"profile": "360p", "key": "out/job_1/360p.mp4"},
               {"profile": "hls", "key": "out/job_1/master.m3u8"}])
    );
    for output in outputs.as_array().unwrap() {
        assert!(fleet.store().join(output["key"].as_str().unwrap()).is_file(), "{output}");
    }
    is_finished(&fleet.store().join("out/job_1"), 3);
    assert_eq!(redis(&fleet, &["KEYS", "job:*"]), "job:job_1", "dashboards count these keys");
}

/// Four faults in one queue, and a good job behind them: the worker goes on.
#[test]
fn missing_input_and_corrupt_video_fail_with_the_reason_and_the_worker_goes_on() {
    let fleet = Fleet::new(Kind::Redis);
    let noise: Vec<u8> = (0..200_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(fleet.store().join("in/noise.mp4"), noise).unwrap();
    let mut cut = fs::read(fleet.store().join("in/karma.mp4")).unwrap();
    cut.truncate(cut.len() / 2);
    fs::write(fleet.store().join("in/cut.mp4"), cut).unwrap();
    let _worker = fleet.worker("one", &[]);
    push(&fleet, "transcode_jobs", &literal("missing", "in/nothing.mp4"));
    push(&fleet, "transcode_jobs", &literal("corrupt", "in/noise.mp4"));
    push(&fleet, "transcode_jobs", &literal("cut", "in/cut.mp4"));
    redis(&fleet, &["LPUSH", "transcode_jobs", "{\"what\": \"is this\"}"]);
    push(&fleet, "transcode_jobs", &literal("outside", "../../etc/passwd"));
    push(&fleet, "transcode_jobs", &literal("good", "in/karma.mp4"));
    fleet.complete("good");
    for (id, words) in
        [("missing", &["in/nothing.mp4"][..]), ("corrupt", &["in/noise.mp4"]), ("cut", &["in/cut.mp4"])]
    {
        let record = fleet.over(id);
        assert_eq!(record.state, State::Failed, "{id}: {record:#?}");
        assert_eq!(record.attempts, 1, "the input's fault is not tried again: {record:#?}");
        assert_eq!(status(&fleet, id, "status"), "failed");
        let error = status(&fleet, id, "error");
        for word in words {
            assert!(error.contains(word), "{id}: `{word}` is missing in: {error}");
        }
    }
    let dead = fleet.dispatch.queue().dead_letters(10).unwrap();
    assert_eq!(dead.len(), 2, "what no adapter takes blocks nothing: {dead:?}");
    assert!(dead[0].reason.contains("`what`"), "{dead:?}");
    assert!(dead[1].reason.contains("../../etc/passwd"), "{dead:?}");
}

/// For collectors: every line is an object, and every line of a job says which job, attempt and lease.
#[test]
fn lines_are_objects_that_name_their_job_if_asked_for() {
    let fleet = Fleet::new(Kind::Sqlite);
    let worker = fleet.worker("one", &[("TRANSCODE_LOG", "json"), ("RUST_LOG", "info,transcode=debug")]);
    fleet.submit(&fleet.job("a"));
    fleet.complete("a");
    let lines: Vec<Value> = worker
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let complete = lines.iter().find(|line| line["message"] == "complete").expect("a line about the end");
    assert_eq!(
        (&complete["job"], &complete["attempt"], &complete["epoch"], &complete["level"]),
        (&"a".into(), &1.into(), &1.into(), &"info".into())
    );
    let of_graph = lines.iter().any(|line| {
        line["target"].as_str().is_some_and(|target| target.starts_with("transcode_svc::child"))
            && line["job"] == "a"
    });
    assert!(of_graph, "the graph's own lines name it, too: {}", worker.text());
}

#[test]
fn wrong_credentials() {
    let fleet = Fleet::new(Kind::Redis);
    let server = Minio::shared();
    let endpoint = server.endpoint();
    let bucket = "seeds";
    let settings = [
        ("LYVE_ENDPOINT", endpoint.as_str()),
        ("LYVE_ACCESS_KEY", "nobody"),
        ("LYVE_SECRET_KEY", "wrong-wrong-wrong"),
        ("TRANSCODE_STORE_RETRY_TIME", "2s"),
    ];
    let _worker = fleet.worker("one", &settings);
    let job = json!({"id": "keys", "input_bucket": bucket, "input_key": "in/a.mp4", "output_bucket": bucket,
                     "output_prefix": "out/keys"});
    push(&fleet, "transcode_jobs", &job);
    push(&fleet, "transcode_jobs", &literal("good", "in/karma.mp4"));
    let record = fleet.over("keys");
    assert_eq!((record.state, record.attempts), (State::Failed, 1), "{record:#?}");
    let error = status(&fleet, "keys", "error");
    assert!(error.contains("in/a.mp4"), "{error}");
    assert!(!error.contains("wrong-wrong"), "{error}");
    fleet.complete("good");
}

#[test]
fn four_rungs_with_sizes_1080_720_480_360() {
    let fleet = Fleet::new(Kind::Redis);
    made(
        &fleet.store().join("in"),
        "hd.mp4",
        &[
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=1920x1080:r=25:d=4",
            "-f",
            "lavfi",
            "-i",
            "sine=440:d=4",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-c:a",
            "aac",
        ],
    );
    let _worker = fleet.worker("one", &[("TRANSCODE_JOBS_BASE_URL", "https://cdn.example.org/videos")]);
    let job =
        json!({"id": "four", "input_key": "in/hd.mp4", "output_prefix": "out/four", "profile": "roku-hls"});
    push(&fleet, "transcode_jobs", &job);
    let record = fleet.complete("four");
    let size = |name: &str| fs::metadata(fleet.store().join(format!("out/four/{name}.mp4"))).unwrap().len();
    let sizes = ["1080p", "720p", "480p", "360p"].map(size);
    assert!(sizes.windows(2).all(|pair| pair[0] > pair[1]), "{sizes:?}");
    assert_eq!(record.outputs.len(), 5);
    // Absolute addresses, as Roku wants them.
    let master = fs::read_to_string(fleet.store().join("out/four/master.m3u8")).unwrap();
    assert!(master.contains("\nhttps://cdn.example.org/videos/out/four/720p/playlist.m3u8\n"), "{master}");
    let media = fs::read_to_string(fleet.store().join("out/four/720p/playlist.m3u8")).unwrap();
    assert!(media.contains("\nhttps://cdn.example.org/videos/out/four/720p/00000.ts\n"), "{media}");
}

#[test]
fn a_name_that_was_asked_for_is_there_even_if_the_source_is_smaller() {
    let fleet = Fleet::new(Kind::Redis);
    let _worker = fleet.worker("one", &[]);
    let job = json!({
        "id": "small", "input_key": "in/karma.mp4", "output_prefix": "out/small",
        "ladder": [{"name": "720p", "height": 720, "bitrate": "600k"}, {"name": "240p", "height": 240, "bitrate": "200k"}],
    });
    push(&fleet, "transcode_jobs", &job);
    fleet.complete("small");
    assert!(fleet.store().join("out/small/720p.mp4").is_file());
    let report = fs::read_to_string(fleet.store().join("out/small/report.json")).unwrap();
    assert!(report.contains("720p"), "{report}");
}

#[test]
fn ten_jobs_at_once_in_fifo_order_and_priorities_before() {
    let fleet = Fleet::new(Kind::Redis);
    let tiny = |id: &str| {
        json!({"version": 1, "id": id, "sources": ["in/karma.mp4"], "destination": format!("out/{id}"),
               "clip": {"end": "1s"}, "ladder": [{"name": "96p", "height": 96, "video": "60k", "audio": "32k"}]})
    };
    for number in 0..10 {
        push(&fleet, "transcode_jobs", &tiny(&format!("n{number}")));
    }
    push(&fleet, "transcode_jobs_low", &tiny("low"));
    push(&fleet, "transcode_jobs_high", &tiny("high"));
    let _worker = fleet.worker("one", &[]);
    let mut order: Vec<(u64, String)> = Vec::new();
    let names = (0..10).map(|number| format!("n{number}")).chain(["low".to_owned(), "high".to_owned()]);
    for name in names {
        order.push((fleet.complete(&name).updated.millis(), name));
    }
    order.sort();
    let order: Vec<&str> = order.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(order[0], "high");
    assert_eq!(order[11], "low", "{order:?}");
    let normal: Vec<&str> = order[1..11].to_vec();
    assert_eq!(normal, ["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9"]);
}

/// A worker that is pinned to a queue leaves the others alone.
#[test]
fn queue_name_names_exactly_the_queue_that_is_served() {
    let fleet = Fleet::new(Kind::Redis);
    push(&fleet, "transcode_jobs", &literal("other", "in/karma.mp4"));
    push(&fleet, "transcode_jobs_high", &literal("mine", "in/karma.mp4"));
    let _worker = fleet.worker("one", &[("QUEUE_NAME", "transcode_jobs_high")]);
    fleet.complete("mine");
    assert_eq!(redis(&fleet, &["LLEN", "transcode_jobs"]), "1");
    assert!(fleet.record("other").is_none());
}
