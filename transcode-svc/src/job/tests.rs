//! Every format by example, and texts that nobody would send.
//!
//! `golden/NAME.json` is a message, `golden/NAME.expected.json` what it means under [`rules`]. Write
//! the latter anew with `TRANSCODE_GOLDEN=write cargo test -p transcode-svc job::`, and read the difference.

use super::*;
use proptest::prelude::*;
use serde_json::json;
use std::path::{Path, PathBuf};

fn rules() -> Rules {
    let text = r#"
        [[rule]]
        prefix = "uploads/"
        suffix = ".txt"
        action = "ignore"
        [[rule]]
        bucket = "matches"
        prefix = "uploads/"
        output-prefix = "hls/"
        [[rule]]
        prefix = "clips/"
        suffix = ".mov"
        profile = "abr"
        output-bucket = "players"
        output-prefix = "clips/"
    "#;
    #[derive(serde::Deserialize)]
    struct File {
        rule: Vec<Rule>,
    }
    let objects = toml::from_str::<File>(text).expect("rules").rule;
    Rules { bucket: Some("lyve".into()), webhook_url: Some("https://example.org/default".into()), objects }
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/job/golden")
}

/// Hold `found` against a file, or write that file where somebody asks for it.
fn same_as_file(path: &Path, found: &Value) {
    let text = format!("{found:#}\n");
    if std::env::var("TRANSCODE_GOLDEN").is_ok_and(|what| what == "write") {
        std::fs::write(path, &text).expect("write");
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(text, expected, "{}", path.display());
}

#[test]
fn every_format_means_what_its_golden_file_says() {
    let mut seen = 0;
    for entry in std::fs::read_dir(golden()).expect("the golden files") {
        let path = entry.expect("entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let Some(stem) = name.strip_suffix(".json").filter(|stem| !stem.contains('.')) else { continue };
        let text = std::fs::read_to_string(&path).expect("read");
        let found = match read(&text, &rules()) {
            Ok(Message::Jobs(jobs)) => {
                let jobs =
                    jobs.iter().map(|job| json!({"job": job, "outputs": job.outputs().expect("outputs")}));
                json!({"jobs": jobs.collect::<Vec<_>>()})
            }
            Ok(Message::Nothing { why }) => json!({"nothing": why}),
            Err(error) => json!({"unreadable": error.to_string()}),
        };
        same_as_file(&golden().join(format!("{stem}.expected.json")), &found);
        seen += 1;
    }
    assert!(seen > 20, "{seen} examples");
}

#[test]
fn a_job_of_our_own_survives_being_written_and_read() {
    for name in ["own", "worker", "worker-match", "event-bridge", "event-s3"] {
        let text = std::fs::read_to_string(golden().join(format!("{name}.json"))).expect("read");
        let Ok(Message::Jobs(jobs)) = read(&text, &rules()) else { panic!("{name}") };
        for job in jobs {
            let again = read(&serde_json::to_string(&job).expect("JSON"), &rules());
            assert_eq!(again, Ok(Message::Jobs(vec![job])), "{name}");
        }
    }
}

#[test]
fn the_schema_is_the_published_one() {
    let schema = job_schema();
    same_as_file(&golden().join("schema/job.schema.json"), &schema);
    // Nothing that the schema promises is refused, and every field that jobs have is in it.
    let text = std::fs::read_to_string(golden().join("own.json")).expect("read");
    let job: Value = serde_json::from_str(&text).expect("JSON");
    let known = schema["properties"].as_object().expect("properties");
    for field in job.as_object().expect("an object").keys() {
        assert!(known.contains_key(field), "{field}");
    }
    assert_eq!(schema["additionalProperties"], json!(false));
}

#[test]
fn what_the_http_api_of_the_workers_takes_becomes_four_rungs_with_an_mp4_each() {
    let text = r#"{"inputKey":"in/a.mp4","profile":"roku-hls","outputPrefix":"out/a"}"#;
    let job = read_submission(text, &rules()).expect("a job");
    let outputs = job.outputs().expect("outputs");
    let pairs: Vec<_> = outputs.iter().map(|output| (output.profile.as_str(), output.key.as_str())).collect();
    assert_eq!(
        pairs,
        [
            ("1080p", "out/a/1080p.mp4"),
            ("720p", "out/a/720p.mp4"),
            ("480p", "out/a/480p.mp4"),
            ("360p", "out/a/360p.mp4"),
            ("hls", "out/a/master.m3u8")
        ]
    );
    assert_eq!((job.id.as_ref(), job.sources[0].as_str()), (None, "s3://lyve/in/a.mp4"));
    let here = read_submission(text, &Rules::default()).expect("a job");
    assert_eq!(here.sources, ["in/a.mp4"], "without a bucket, keys are keys of the store");
}

#[test]
fn an_event_delivered_twice_is_one_job_and_two_uploads_are_two() {
    let text = std::fs::read_to_string(golden().join("event-s3.json")).expect("read");
    let id = |text: &str| match read(text, &rules()) {
        Ok(Message::Jobs(jobs)) => jobs[0].id.clone().expect("an id"),
        other => panic!("{other:?}"),
    };
    assert_eq!(id(&text), id(&text));
    assert_ne!(id(&text), id(&text.replace("0055AED6DCD90281E5", "0055AED6DCD90281E6")));
    assert!(id(&text).as_str().starts_with("job_1791036309_"), "{}", id(&text));
}

#[test]
fn rules_that_would_feed_on_their_own_output_are_refused() {
    let with =
        |text: &str| Rules { objects: vec![toml::from_str(text).expect("a rule")], ..Rules::default() };
    for wrong in [
        "",
        "prefix = \"a/\"",
        "prefix = \"a/b/\"\noutput-prefix = \"a/\"",
        "prefix=\"x/\"\noutput-prefix=\"x/\"",
    ] {
        let told = with(wrong).check().expect_err(wrong);
        assert!(told.contains("output-prefix"), "{told}");
    }
    for right in
        ["output-prefix = \"out/\"", "bucket = \"in\"\noutput-bucket = \"out\"", "action = \"ignore\""]
    {
        assert_eq!(with(right).check(), Ok(()), "{right}");
    }
    let told = rules().check().expect_err("clips of the bucket `players` would be input and output");
    assert!(told.starts_with("rule 3"), "{told}");
}

/// Any JSON, with our formats' own names in it more often than by chance.
fn values() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "version",
        "id",
        "sources",
        "clip",
        "start",
        "end",
        "profile",
        "ladder",
        "name",
        "height",
        "video",
        "audio",
        "mp4",
        "destination",
        "base_url",
        "priority",
        "webhook",
        "url",
        "input_key",
        "input_bucket",
        "output_prefix",
        "bitrate",
        "audio_bitrate",
        "inputKey",
        "outputPrefix",
        "Records",
        "eventName",
        "eventTime",
        "s3",
        "bucket",
        "object",
        "key",
        "detail-type",
        "detail",
        "time",
        "Event",
        "other",
    ]);
    let texts = prop_oneof![
        prop::sample::select(vec![
            "ObjectCreated:Put",
            "Object Created",
            "2026-10-03T14:05:09Z",
            "uploads/%",
            "uploads/a.mp4",
            "4M",
            "-1s",
            "1:30",
            "s3://",
            "s3://b/k",
            "abr",
            "high",
            "matches",
            "uploads/.",
            "uploads/é%C3",
            "99999999999999999999M",
            "roku-hls",
        ])
        .prop_map(str::to_owned),
        ".{0,12}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(json!(1)),
        texts.prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(names.clone(), inner, 0..8).prop_map(|map| Value::Object(
                map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            )),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        let _job_or_reason = (read(&text, &rules()), read_submission(&text, &rules()));
    }

    #[test]
    fn no_json_makes_it_panic_and_what_is_read_is_whole(value in values()) {
        let text = value.to_string();
        let _job_or_reason = read_submission(&text, &rules());
        if let Ok(Message::Jobs(jobs)) = read(&text, &rules()) {
            prop_assert!(!jobs.is_empty());
            for job in jobs {
                prop_assert!(job.id.is_some());
                prop_assert!(find(&job.outputs().expect("outputs"), "hls").is_some());
            }
        }
    }

    #[test]
    fn no_change_of_an_example_makes_it_panic(
        which in prop::sample::select(vec!["worker", "own", "event-s3", "event-bridge", "event-minio-two"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = std::fs::read(golden().join(format!("{which}.json"))).expect("read");
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _job_or_reason = read(&String::from_utf8_lossy(&bytes), &rules());
    }

    #[test]
    fn keys_come_back_from_their_encoding(key in "[a-zA-Z0-9/ +%()é:._-]{1,40}") {
        let encoded: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
        let text = json!({"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"matches"},
            "object":{"key":format!("uploads%2F{encoded}")}}}]}).to_string();
        let key = format!("uploads/{key}");
        match read(&text, &rules()) {
            Ok(Message::Jobs(jobs)) => prop_assert_eq!(&jobs[0].sources, &[format!("s3://matches/{key}")]),
            Ok(Message::Nothing { .. }) => prop_assert!(key.ends_with('/') || key.ends_with(".txt")),
            Err(error) => prop_assert!(key.contains(".."), "{}", error),
        }
    }
}
