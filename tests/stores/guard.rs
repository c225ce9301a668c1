//! What the sources of a service's jobs may lead to: nothing of the machine's own network, by no way.

use super::conformance::pattern;
use super::web::{Reply, Web};
use super::{config, read_all, sink, source, told};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use transcode_core::{Error, ErrorKind};
use transcode_svc::guard::{Allow, Guard, Names};
use transcode_svc::store::Stores;

/// Every name leads to this machine; the first look-ups tell of another.
struct Rebinding(AtomicUsize);

impl Names for Rebinding {
    fn addresses(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let first = self.0.fetch_add(1, Ordering::SeqCst) == 0;
        Ok(vec![if first { [198, 18, 0, 1] } else { [127, 0, 0, 1] }.into()])
    }
}

/// Stores for sources that jobs name.
fn stores(allow: &[&str], names: Option<Arc<dyn Names>>, more: &[(&str, &str)]) -> Stores {
    let mut variables = vec![
        ("TRANSCODE_SOURCE_RETRY_TIME", "1s"),
        ("TRANSCODE_SOURCE_CONNECT_TIMEOUT", "200ms"),
        ("TRANSCODE_SOURCE_ALLOW_HTTP", "true"),
        // Would hear of every address, and look it up itself.
        ("HTTP_PROXY", "http://127.0.0.1:1"),
    ];
    variables.extend_from_slice(more);
    let mut guard = Guard::new(Allow::new(allow).unwrap(), "source.allow");
    if let Some(names) = names {
        guard = guard.with_names(names);
    }
    Stores::new(&config(&variables)).unwrap().guarded(guard.clone()).with_guarded_endpoints(guard)
}

fn refused(stores: &Stores, url: &str) -> Error {
    let error = source(stores, url).err().unwrap_or_else(|| panic!("{url} was let in"));
    assert_eq!(error.kind(), ErrorKind::Input, "{url}: {}", error.chain());
    told(&error, &["source.allow = ["]);
    assert!(!error.chain().contains("secret"), "{}", error.chain());
    error
}

#[test]
fn a_source_on_this_machine_is_refused_by_address_by_name_and_by_redirect_and_hears_nothing() {
    let canary = Web::start(|_, _| Reply::status(200, "sings"));
    let port = canary.endpoint().rsplit_once(':').unwrap().1.to_owned();
    let stores = stores(&[], None, &[]);
    for host in ["127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "0.0.0.0", "localhost"] {
        refused(&stores, &format!("http://{host}:{port}/a.mp4?signature=secret"));
    }
    // A server that is let through sends on to one that is not.
    let port = port.clone();
    let front = Web::start(move |index, _| Reply::Answer {
        status: 302,
        headers: vec![(
            "Location".to_owned(),
            format!("http://{}:{port}/latest?secret", ["127.0.0.2", "localhost"][index % 2]),
        )],
        body: Vec::new(),
    });
    let stores = self::stores(&["127.0.0.1"], Some(Arc::new(Elsewhere)), &[]);
    for _ in 0..2 {
        refused(&stores, &format!("{}/a.mp4", front.endpoint()));
    }
    assert_eq!(canary.seen().len(), 0, "the canary sings");
    assert_eq!(front.seen().len(), 2);
}

/// Every name leads to this machine's second address.
struct Elsewhere;

impl Names for Elsewhere {
    fn addresses(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Ok(vec![[127, 0, 0, 2].into()])
    }
}

#[test]
fn a_source_whose_name_changes_its_mind_is_refused_at_the_next_connection() {
    let canary = Web::start(|_, _| Reply::status(200, "sings"));
    let port = canary.endpoint().rsplit_once(':').unwrap().1.to_owned();
    let names = Arc::new(Rebinding(AtomicUsize::new(0)));
    // The first address takes no connection; the source tries again, and is told of the second.
    let stores = stores(&["198.18.0.1"], Some(names.clone()), &[]);
    let error = refused(&stores, &format!("http://rebind.example:{port}/a.mp4"));
    told(&error, &["rebind.example leads to 127.0.0.1"]);
    assert!(names.0.load(Ordering::SeqCst) >= 2);
    assert_eq!(canary.seen().len(), 0, "the canary sings");
}

#[test]
fn what_is_allowed_is_a_source_like_any_other() {
    let bytes = pattern(300_000);
    let served = bytes.clone();
    let web = Web::start(move |_, request| Reply::range_of(request, &served, "\"v1\""));
    let opened = source(&stores(&["127.0.0.0/8"], None, &[]), &format!("{}/a.mp4", web.endpoint())).unwrap();
    assert!(read_all(&*opened) == bytes);
    let unguarded = Stores::new(&config(&[])).unwrap();
    assert!(source(&unguarded, &format!("{}/a.mp4", web.endpoint())).is_ok(), "a command line's own");
}

#[test]
fn an_endpoint_that_a_job_names_is_refused_by_address_and_by_name() {
    let canary = Web::start(|_, _| Reply::status(200, "sings"));
    let port = canary.endpoint().rsplit_once(':').unwrap().1.to_owned();
    for host in ["127.0.0.1", "localhost"] {
        let endpoint = format!("http://{host}:{port}");
        let keys = [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "hidden"),
        ];
        let stores = stores(&[], None, &keys);
        for error in [
            sink(&stores, "s3://bucket/out").err().expect("refused"),
            source(&stores, "s3://bucket/in.mp4").err().expect("refused"),
        ] {
            told(&error, &["a loopback address", "source.allow = ["]);
        }
    }
    assert_eq!(canary.seen().len(), 0, "the canary sings");
}
