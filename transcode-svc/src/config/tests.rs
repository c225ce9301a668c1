//! What is read from where, what wins, and what is told about mistakes.

use super::*;
use std::fs;

fn variables(pairs: &[(&str, &str)]) -> Variables {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The configuration of these variables and, where it is not empty, this file.
fn load(file: &str, pairs: &[(&str, &str)]) -> Result<Config, Error> {
    let dir = tempfile::tempdir().expect("a directory");
    if !file.is_empty() {
        fs::write(dir.path().join("transcode.toml"), file).expect("written");
    }
    Config::from_parts(None, &variables(pairs), dir.path())
}

fn mistake(file: &str, pairs: &[(&str, &str)], words: &[&str]) {
    let error = load(file, pairs).expect_err("a mistake");
    let text = format!("{} {error:?}", error.chain());
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
    assert_eq!(error.kind(), transcode_core::ErrorKind::Usage);
}

#[test]
fn without_anything_the_defaults_stand() {
    assert_eq!(load("", &[]).expect("loaded"), Config::default());
}

#[test]
fn the_more_specific_place_wins_and_the_source_takes_after_the_store() {
    let file = r#"
        [store]
        endpoint = "https://file.example/"
        access-key-id = "file"
        secret-access-key = "hunter2"
        request-timeout = "7s"
        [source]
        region = "file-source"
        [cache]
        size = "8MiB"
    "#;
    let pairs = [
        ("AWS_ACCESS_KEY_ID", "aws"),
        ("AWS_SECRET_ACCESS_KEY", "aws-secret"),
        ("AWS_SESSION_TOKEN", "aws-token"),
        ("AWS_ENDPOINT_URL", "https://aws.example"),
        ("AWS_REGION", "aws-region"),
        ("AWS_DEFAULT_REGION", "less-specific"),
        ("TRANSCODE_STORE_REQUEST_TIMEOUT", "9s"),
        ("TRANSCODE_STORE_CHECKSUM", ""),
    ];
    let config = load(file, &pairs).expect("loaded");
    let store = &config.store;
    assert_eq!(store.endpoint.as_ref().map(Endpoint::as_str), Some("https://file.example"));
    assert_eq!(store.region, "aws-region");
    assert_eq!(store.request_timeout, Duration::from_secs(9));
    assert!(store.path_style, "an endpoint was given");
    let keys = store.credentials.as_ref().expect("keys");
    assert_eq!((keys.access_key_id.as_str(), keys.secret_access_key.expose()), ("file", "hunter2"));
    assert_eq!(keys.session_token, None, "a token of other keys is not taken");
    assert_eq!(config.source.region, "file-source");
    assert_eq!(config.source.credentials, store.credentials);
    assert_eq!(config.source.request_timeout, Duration::from_secs(9));
    assert_eq!(config.cache_size, 8 << 20);
    let shown = format!("{config:?}");
    assert!(!shown.contains("hunter2") && shown.contains("***"), "{shown}");

    let aws = load("", &pairs).expect("loaded").store;
    assert_eq!(aws.endpoint.as_ref().map(Endpoint::as_str), Some("https://aws.example"));
    assert_eq!(aws.credentials.and_then(|keys| keys.session_token), Some(Secret::new("aws-token")));
}

#[test]
fn the_first_file_found_is_the_one_that_is_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |path: &str, region: &str| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(&path, format!("[store]\nregion = {region:?}\n")).expect("written");
        path
    };
    let region = |path: Option<&Path>, pairs: &[(&str, &str)]| {
        Config::from_parts(path, &variables(pairs), dir.path()).map(|config| config.store.region)
    };
    let home = dir.path().join("home");
    let home = home.to_str().expect("text");
    write("home/.config/transcode/transcode.toml", "home");
    assert_eq!(region(None, &[("HOME", home)]).expect("read"), "home");
    write("xdg/transcode/transcode.toml", "xdg");
    let xdg = dir.path().join("xdg");
    let pairs = [("HOME", home), ("XDG_CONFIG_HOME", xdg.to_str().expect("text"))];
    assert_eq!(region(None, &pairs).expect("read"), "xdg");
    write("transcode.toml", "here");
    assert_eq!(region(None, &pairs).expect("read"), "here");
    write("named.toml", "variable");
    assert_eq!(region(None, &[("TRANSCODE_CONFIG", "named.toml")]).expect("read"), "variable");
    let option = write("option.toml", "option");
    assert_eq!(region(Some(&option), &[("TRANSCODE_CONFIG", "named.toml")]).expect("read"), "option");

    let missing = region(None, &[("TRANSCODE_CONFIG", "missing.toml")]).expect_err("it was asked for");
    assert!(missing.to_string().contains("TRANSCODE_CONFIG"), "{missing}");
    assert!(region(Some(Path::new("missing.toml")), &[]).is_err());
}

#[test]
fn an_aws_profile_is_read_and_one_that_is_missing_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join(".aws")).expect("made");
    let credentials = "# a comment\n[default]\naws_access_key_id = one\naws_secret_access_key = 1\n\n\
                       [work]\naws_access_key_id=two\naws_secret_access_key=2\naws_session_token = t\n";
    let settings = "[default]\nregion = eu-north-1\n[profile  work]\nregion=eu-west-3\n\
                    endpoint_url = https://work.example\ns3 =\n    addressing_style = path\n";
    fs::write(dir.path().join(".aws/credentials"), credentials).expect("written");
    fs::write(dir.path().join(".aws/config"), settings).expect("written");
    let home = dir.path().to_str().expect("text");
    let load = |pairs: &[(&str, &str)]| {
        let mut pairs = pairs.to_vec();
        pairs.push(("HOME", home));
        Config::from_parts(None, &variables(&pairs), dir.path())
    };
    let key = |config: &Config| config.store.credentials.as_ref().map(|keys| keys.access_key_id.clone());
    let plain = load(&[]).expect("loaded");
    assert_eq!((key(&plain).as_deref(), plain.store.region.as_str()), (Some("one"), "eu-north-1"));
    let work = load(&[("AWS_PROFILE", "work")]).expect("loaded");
    assert_eq!((key(&work).as_deref(), work.store.region.as_str()), (Some("two"), "eu-west-3"));
    assert_eq!(work.store.endpoint.as_ref().map(Endpoint::as_str), Some("https://work.example"));
    let keys = [("AWS_PROFILE", "work"), ("AWS_ACCESS_KEY_ID", "env"), ("AWS_SECRET_ACCESS_KEY", "s")];
    assert_eq!(key(&load(&keys).expect("loaded")).as_deref(), Some("env"), "variables come before profiles");
    let error = load(&[("AWS_PROFILE", "play")]).expect_err("no such profile");
    assert!(error.to_string().contains("`play`"), "{error}");
}

#[test]
fn a_mistake_names_file_line_and_key_and_what_is_allowed() {
    let toml = "transcode.toml";
    mistake("[store]\n\nendpont = \"x\"\n", &[], &[toml, ":3", "endpont", "endpoint"]);
    mistake("[stores]\n", &[], &[toml, ":1", "`store`"]);
    mistake("[store]\nchecksum = \"md5\"\n", &[], &[":2", "checksum", "sha256"]);
    mistake("[store]\npath-style = \"maybe\"\n", &[], &[":2", "path-style", "boolean"]);
    mistake("[store]\nretry-time = \"a while\"\n", &[], &[":2", "retry-time", "like 30s"]);
    mistake("[store]\nretry-time = \"2h\"\n", &[], &["store.retry-time", "0s (never) to 1h"]);
    mistake("[source]\nconnect-timeout = \"1ms\"\n", &[], &["source.connect-timeout", "100ms to 5m"]);
    mistake("[cache]\nsize = \"9GiB\"\n", &[], &[":2", "size", "1MiB to 4GiB"]);
    mistake("[store]\naccess-key-id = \"a\"\n", &[], &["store.secret-access-key is missing", "go together"]);
    mistake("[store]\nendpoint = \"https://key:hunter2@host\"\n", &[], &[":2", "their own names"]);
    mistake(
        "[store]\nendpoint = \"http://store.example\"\n",
        &[],
        &["plain HTTP", "store.allow-http = true"],
    );
    mistake("[store]\nendpoint = \"s3.example\"\n", &[], &[":2", "https://s3.example.com"]);
    mistake("", &[("TRANSCODE_STORE_REGIN", "x")], &["TRANSCODE_STORE_REGIN", "region"]);
    mistake(
        "",
        &[("TRANSCODE_STORE_ANONYMOUS", "perhaps")],
        &["TRANSCODE_STORE_ANONYMOUS", "true nor false"],
    );
    mistake("", &[("AWS_ENDPOINT_URL_S3", "nowhere")], &["AWS_ENDPOINT_URL_S3"]);
    mistake("", &[("AWS_SECRET_ACCESS_KEY", "hunter2")], &["access-key-id is missing"]);
    mistake("", &[("TRANSCODE_CACHE_SIZE", "much")], &["TRANSCODE_CACHE_SIZE", "32MiB"]);
}

#[test]
fn a_mistake_in_a_secrets_line_does_not_repeat_the_secret() {
    mistake("[store]\nsecret-access-key = hunter2\n", &[], &[":2", "secret-access-key"]);
    mistake("[store]\nsecret-access-key = [\"hunter2\"]\n", &[], &[":2"]);
    let error = load("[store]\nsecret-access-key = 1234567\n", &[]).expect_err("a number");
    assert!(!format!("{error:?}").contains("1234567"), "{error:?}");
    assert!(error.to_string().contains("text in quotes"), "{error}");
}

#[test]
fn loopback_is_this_machine_however_it_is_written() {
    for (url, loopback) in [
        ("http://127.0.0.1:9000", true),
        ("http://127.9.9.9", true),
        ("http://[::1]:1", true),
        ("http://[::ffff:127.0.0.1]", true),
        ("http://localhost", true),
        ("http://bucket.localhost:9000", true),
        ("http://2130706433", true),
        ("http://localhost.example.com", false),
        ("http://10.0.0.1", false),
        ("http://0.0.0.0", false),
    ] {
        assert_eq!(is_loopback(&url::Url::parse(url).expect("a URL")), loopback, "{url}");
        let file = format!("[store]\nendpoint = {url:?}\n");
        assert_eq!(load(&file, &[]).is_ok(), loopback, "{url}");
        assert!(load(&format!("{file}allow-http = true\n"), &[]).is_ok(), "{url}");
    }
}

#[test]
fn the_example_in_the_documentation_is_a_file_that_can_be_read() {
    let example: String = include_str!("../config.rs")
        .lines()
        .skip_while(|line| *line != "//! ```toml")
        .skip(1)
        .take_while(|line| *line != "//! ```")
        .map(|line| format!("{}\n", line.trim_start_matches("//!")))
        .collect();
    assert!(example.contains("[cache]"));
    let config = load(&example, &[]).expect("loaded");
    let defaults = Config::default();
    assert_eq!(config.store.connect_timeout, defaults.store.connect_timeout);
    assert_eq!(config.store.request_timeout, defaults.store.request_timeout);
    assert_eq!(config.store.retry_time, defaults.store.retry_time);
    assert_eq!(config.cache_size, defaults.cache_size);
}
