//! Stores on real servers: the conformance suites on MinIO and versitygw, and everything that goes
//! wrong with a store.
#![allow(clippy::unwrap_used)]

#[path = "conformance.rs"]
mod conformance;
mod guard;
mod http;
#[path = "pieces.rs"]
mod pieces;
mod s3;
#[path = "../support/servers.rs"]
mod servers;
mod trouble;
mod uploads;
#[path = "../support/web.rs"]
mod web;

use std::path::Path;
use std::sync::Arc;
use transcode_core::sink::Sink;
use transcode_core::source::Source;
use transcode_core::{Cancel, Error};
use transcode_svc::config::{Config, Variables};
use transcode_svc::store::Stores;

/// The configuration that these variables make, in a directory without a file.
fn config(variables: &[(&str, &str)]) -> Config {
    let empty = tempfile::tempdir().unwrap();
    let variables: Variables =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::from_parts(None, &variables, empty.path()).unwrap()
}

/// Stores that reach `endpoint` with the servers' keys; `more` wins.
fn stores_at(endpoint: &str, more: &[(&str, &str)]) -> Stores {
    let mut variables = vec![
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", servers::ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", servers::SECRET_KEY),
    ];
    variables.extend_from_slice(more);
    Stores::new(&config(&variables)).unwrap()
}

fn sink(stores: &Stores, dest: &str) -> Result<Arc<dyn Sink>, Error> {
    stores.open_sink(dest, &Cancel::new())
}

fn source(stores: &Stores, input: &str) -> Result<Arc<dyn Source>, Error> {
    stores.open_source(input, &Cancel::new())
}

fn read_all(source: &dyn Source) -> Vec<u8> {
    let mut bytes = vec![0; source.size() as usize];
    assert_eq!(source.read_at(0, &mut bytes, &Cancel::new()).unwrap(), bytes.len());
    bytes
}

/// An error for a person holds no secret, and says enough.
fn told(error: &Error, words: &[&str]) {
    let text = format!("{} {error:?}", error.chain());
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
    assert!(!text.contains(servers::SECRET_KEY) && !text.contains("Signature="), "{text}");
}

#[test]
fn a_path_a_file_url_and_a_directory_need_no_network() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a b.mp4");
    std::fs::write(&path, b"bytes").unwrap();
    let stores = Stores::new(&config(&[])).unwrap();
    let path = path.to_str().unwrap();
    let plain = source(&stores, path).unwrap();
    let url = plain.identity().uri;
    assert_eq!(source(&stores, &url).unwrap().identity(), plain.identity(), "{url}");
    assert_eq!(read_all(&*plain), b"bytes");
    let out = sink(&stores, dir.path().join("out").to_str().unwrap()).unwrap();
    conformance::sink_keeps_its_promises(&*out, conformance::Race::OneWins);
    let job = stores.open_job(dir.path().join("out").to_str().unwrap(), &Cancel::new()).unwrap();
    assert_eq!(job.location(), out.location());
}

#[test]
fn an_address_that_cannot_be_is_a_usage_error() {
    use transcode_core::ErrorKind::{Input, Usage};
    let stores = stores_at("http://127.0.0.1:1", &[]);
    for (input, kind, words) in [
        ("ftp://host/a.mp4", Usage, "s3://"),
        ("s3://", Usage, "names no bucket"),
        ("s3://bucket", Usage, "names no object"),
        ("s3://bucket/dir/", Usage, "names no object"),
        ("s3://bu cket/a", Usage, "names no bucket"),
        ("https://", Usage, "no URL"),
        ("http://192.0.2.1/a.mp4", Usage, "allow-http"),
        ("file://elsewhere/a.mp4", Usage, "names no file"),
        ("no/such/file.mp4", Input, "no such file"),
        ("s3://bucket/a//b", Input, "empty parts"),
    ] {
        let error = source(&stores, input).err().unwrap_or_else(|| panic!("{input} was let in"));
        assert_eq!(error.kind(), kind, "{input}: {}", error.chain());
        told(&error, &[words]);
    }
    for (dest, words) in [("https://host/out", "s3://"), ("", "empty"), ("s3:///x", "names no bucket")] {
        let error = sink(&stores, dest).err().unwrap_or_else(|| panic!("{dest} was let in"));
        assert_eq!(error.kind(), Usage, "{dest}: {}", error.chain());
        told(&error, &[words]);
    }
    let keyless = Stores::new(&config(&[("AWS_ENDPOINT_URL", "https://s3.example.com")])).unwrap();
    let error = sink(&keyless, "s3://bucket/x").err().unwrap();
    assert_eq!(error.kind(), Usage);
    told(&error, &["AWS_ACCESS_KEY_ID", "store.anonymous"]);
    assert!(!Path::new("s3:").exists());
}
