use super::*;
use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn allow(entries: &[&str]) -> Allow {
    Allow::new(entries).expect("a good list")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn what_is_not_public_is_refused_by_what_it_is() {
    for (address, word) in [
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("10.0.0.1", "private"),
        ("10.255.255.255", "private"),
        ("100.64.0.1", "provider"),
        ("100.127.255.255", "provider"),
        ("100.100.100.200", "provider"),
        ("127.0.0.1", "loopback"),
        ("127.255.0.9", "loopback"),
        ("168.63.129.16", "Azure"),
        ("169.254.169.254", "metadata"),
        ("172.16.0.0", "private"),
        ("172.31.255.255", "private"),
        ("192.0.0.192", "protocols"),
        ("192.0.2.1", "documentation"),
        ("192.88.99.1", "relay"),
        ("192.168.0.1", "private"),
        ("198.18.0.1", "benchmarks"),
        ("198.19.255.255", "benchmarks"),
        ("198.51.100.7", "documentation"),
        ("203.0.113.7", "documentation"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "broadcast"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "written as IPv6"),
        ("::ffff:8.8.8.8", "written as IPv6"),
        ("::127.0.0.1", "written as IPv6"),
        ("64:ff9b::10.0.0.1", "private"),
        ("64:ff9b::169.254.169.254", "metadata"),
        ("64:ff9b:1::1", "gateway"),
        ("100::1", "nobody"),
        ("2001::1", "Teredo"),
        ("2001:2::1", "protocols"),
        ("2001:db8::1", "documentation"),
        ("2002:7f00:1::", "6to4"),
        ("2002:808:808::1", "6to4"),
        ("3fff::1", "documentation"),
        ("4000::1", "nobody"),
        ("fc00::1", "private"),
        ("fd00:ec2::254", "private"),
        ("fe80::1", "link-local"),
        ("febf::1", "link-local"),
        ("fec0::1", "private"),
        ("ff02::1", "multicast"),
    ] {
        let found = refused_because(ip(address)).unwrap_or_else(|| panic!("{address} was let through"));
        assert!(found.contains(word), "{address}: {found}");
    }
}

#[test]
fn the_neighbours_of_what_is_refused_are_public() {
    for address in [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.15",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.167.255.255",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "64:ff9b::8.8.8.8",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2003::1",
        "2606:4700::1111",
        "3ffe:ffff::1",
    ] {
        assert_eq!(refused_because(ip(address)), None, "{address}");
    }
}

#[test]
fn a_list_lets_through_what_it_names_and_nothing_beside_it() {
    let allow = allow(&["10.1.0.0/16", "192.168.1.7", "fd00::/8", "[::1]", "Hooks.Club.LAN.", "0.0.0.0/32"]);
    for (host, address, good) in [
        (None, "10.1.255.3", true),
        (None, "10.2.0.1", false),
        (None, "192.168.1.7", true),
        (None, "192.168.1.8", false),
        (None, "fdff::1", true),
        (None, "fc00::1", false),
        (None, "::1", true),
        (None, "0.0.0.0", true),
        (None, "0.0.0.1", false),
        (None, "::ffff:10.1.0.1", false),
        (Some("hooks.club.lan"), "172.16.0.1", true),
        (Some("HOOKS.club.lan."), "172.16.0.1", true),
        (Some("evil.hooks.club.lan"), "172.16.0.1", false),
        (Some("elsewhere.example"), "10.1.0.1", true),
    ] {
        assert_eq!(allow.lets_through(host, ip(address)), good, "{host:?} {address}");
    }
    assert!(self::allow(&["0.0.0.0/0"]).lets_through(None, ip("127.0.0.1")));
    assert_eq!(
        allow.to_string(),
        r#"["10.1.0.0/16", "192.168.1.7/32", "fd00::/8", "::1/128", "0.0.0.0/32", "hooks.club.lan"]"#
    );
}

#[test]
fn a_list_with_a_mistake_says_which_and_how_it_is_written() {
    for (entry, words) in [
        ("10.0.0.5/8", "10.0.0.0/8"),
        ("fd00::1/8", "fd00::/8"),
        ("10.0.0.0/33", "no network"),
        ("10.0.0/8", "no network"),
        ("::/129", "no network"),
        ("https://hooks.club.lan", "192.168.1.7"),
        ("hooks.club.lan:8080", "neither"),
        ("10.1", "neither"),
        ("", "neither"),
        ("a b", "neither"),
    ] {
        let error = Allow::new([entry]).expect_err(entry);
        assert!(error.contains(words) && error.contains(entry), "{entry}: {error}");
    }
}

#[test]
fn an_address_in_a_url_is_refused_however_it_is_written() {
    let guard = Guard::new(Allow::default(), "webhook.allow");
    for url in [
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://127.1:8080/",
        "http://①②⑦.0.0.1/",
        "https://user:key@10.0.0.1/a?b#c",
        "https://[::1]/",
        "https://[::ffff:169.254.169.254]/latest/meta-data/",
        "https://[::ffff:a9fe:a9fe]/",
    ] {
        let parsed = Url::parse(url).expect(url);
        let refused = guard.check(&parsed).expect_err(url).to_string();
        assert!(refused.contains("webhook.allow = ["), "{url}: {refused}");
    }
    for url in ["https://1.1.1.1/", "https://[2606:4700::1111]/", "https://hooks.example.org/"] {
        guard.check(&Url::parse(url).expect(url)).expect(url);
    }
    let told = guard.check(&Url::parse("http://10.0.0.1/").expect("a URL")).expect_err("refused").to_string();
    assert_eq!(
        told,
        "10.0.0.1 is a private address (RFC 1918), where requests from outside may not lead; if this one may, set \
         webhook.allow = [\"10.0.0.1\"]"
    );
}

/// Names whose addresses are told in turn; the last ones stay.
struct Told(Mutex<VecDeque<Vec<IpAddr>>>, AtomicUsize);

impl Told {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let answers = answers.iter().map(|answer| answer.iter().copied().map(ip).collect()).collect();
        Arc::new(Self(Mutex::new(answers), AtomicUsize::new(0)))
    }
}

impl Names for Told {
    fn addresses(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.0.lock().expect("a lock");
        if answers.len() > 1 { Ok(answers.pop_front().expect("one")) } else { Ok(answers[0].clone()) }
    }
}

#[test]
fn of_a_names_addresses_only_the_public_ones_are_used() {
    let names = Told::new(&[&["10.0.0.1", "1.1.1.1", "::1"], &["127.0.0.1"], &[]]);
    let guard = Guard::new(Allow::default(), "source.allow").with_names(names);
    assert_eq!(guard.look_up("a.example").expect("one is left"), [ip("1.1.1.1")]);
    let error = guard.look_up("a.example").expect_err("refused");
    let refused = Refused::find(&error).expect("a refusal");
    assert_eq!(
        refused.to_string(),
        "a.example leads to 127.0.0.1, a loopback address: this very machine, where requests from outside may not \
         lead; if this one may, set source.allow = [\"127.0.0.1\"], or = [\"a.example\"]"
    );
    assert!(Refused::find(&guard.look_up("a.example").expect_err("none")).is_none());
}

/// A server on loopback that counts who connects.
fn canary() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            counter.fetch_add(1, Ordering::SeqCst);
            let _request = stream.read(&mut [0; 4096]);
            let _answer =
                stream.write_all(b"HTTP/1.1 200 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    (port, count)
}

fn client(guard: &Guard) -> reqwest::Client {
    let _chosen = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().pool_max_idle_per_host(0).timeout(Duration::from_secs(5));
    guard.protect(builder).build().expect("a client")
}

#[tokio::test]
async fn a_name_that_changes_its_mind_gains_nothing() {
    let (port, count) = canary();
    let url = format!("http://rebind.example:{port}/");
    // First a look that finds nothing wrong, then the loopback: what a rebinding server does. No connection can be
    // made to the first address, which is kept for benchmarks and let through here.
    let names = Told::new(&[&["198.18.0.1"], &["127.0.0.1"]]);
    let guard = Guard::new(allow(&["198.18.0.1"]), "webhook.allow").with_names(names.clone());
    assert_eq!(guard.look_up("rebind.example").expect("good"), [ip("198.18.0.1")]);
    let client = client(&guard);
    for _ in 0..3 {
        let error = client.get(&url).send().await.expect_err("refused");
        let refused = Refused::find(&error).expect("a refusal");
        assert_eq!(refused.address, ip("127.0.0.1"));
    }
    assert_eq!(names.1.load(Ordering::SeqCst), 4, "looked at for each connection");
    assert_eq!(count.load(Ordering::SeqCst), 0, "the canary sings");
}

#[tokio::test]
async fn what_is_allowed_is_reached_at_the_address_that_was_looked_at() {
    let (port, count) = canary();
    for (entry, name) in [("127.0.0.0/8", "a.example"), ("b.example", "b.example")] {
        let names = Told::new(&[&["127.0.0.1"]]);
        let guard = Guard::new(allow(&[entry]), "webhook.allow").with_names(names);
        let response = client(&guard).get(format!("http://{name}:{port}/")).send().await;
        assert!(response.expect("an answer").status().is_success());
    }
    assert_eq!(count.load(Ordering::SeqCst), 2);
    let guard = Guard::new(Allow::default(), "webhook.allow");
    let error = client(&guard).get(format!("http://localhost:{port}/")).send().await.expect_err("refused");
    assert!(Refused::find(&error).is_some(), "{error:?}");
    assert_eq!(count.load(Ordering::SeqCst), 2, "the system's own names are looked at, too");
}
