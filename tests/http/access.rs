//! Who may do what: tokens, scopes, rates, sizes, origins.

use crate::server::{Server, job};
use transcode_svc::http::{Auth, Rate, Scope, Settings, Token};

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[test]
fn a_token_opens_what_its_scopes_say_and_nothing_else() {
    let (submit, one) = Token::make("producer", &[Scope::Submit]);
    let (read, two) = Token::make("dashboard", &[Scope::Read]);
    let (admin, three) = Token::make("operator", &[Scope::Admin]);
    let server = Server::with(Settings { tokens: vec![one, two, three], ..Settings::default() });
    let (nobody, stranger) = ("", bearer("tc_0000"));
    let tokens = [nobody.to_owned(), stranger, bearer(&submit), bearer(&read), bearer(&admin)];
    let ask = |method: &str, target: &str, token: &str| {
        let body = match (method, target) {
            ("POST", "/api/v1/jobs" | "/api/transcode/submit") => job("a").into_bytes(),
            _ => Vec::new(),
        };
        let headers: &[(&str, &str)] = if token.is_empty() { &[] } else { &[("authorization", token)] };
        server.ask(method, target, headers, &body)
    };
    // What each of the five gets; 0 stands for anything but 401 and 403.
    for (method, target, wanted) in [
        ("GET", "/healthz", [0, 0, 0, 0, 0]),
        ("GET", "/readyz", [0, 0, 0, 0, 0]),
        ("GET", "/", [0, 0, 0, 0, 0]),
        ("GET", "/api", [0, 0, 0, 0, 0]),
        ("GET", "/api/v1/openapi.json", [0, 0, 0, 0, 0]),
        ("GET", "/metrics", [401, 401, 403, 0, 0]),
        ("POST", "/api/v1/jobs", [401, 401, 0, 403, 0]),
        ("POST", "/api/transcode/submit", [401, 401, 0, 403, 0]),
        ("GET", "/api/transcode/status/a", [401, 401, 403, 0, 0]),
        ("GET", "/api/transcode/jobs", [401, 401, 403, 0, 0]),
        ("GET", "/api/v1/jobs", [401, 401, 403, 0, 0]),
        ("GET", "/api/v1/jobs/a", [401, 401, 403, 0, 0]),
        ("POST", "/api/v1/jobs/a/retry", [401, 401, 0, 403, 0]),
        ("PATCH", "/api/v1/jobs/a", [401, 401, 0, 403, 0]),
        ("POST", "/api/v1/sources", [401, 401, 0, 403, 0]),
        ("POST", "/api/v1/sources/presign", [401, 401, 0, 403, 0]),
        ("GET", "/api/v1/jobs/a/webhooks", [401, 401, 403, 0, 0]),
        ("POST", "/api/v1/jobs/a/webhooks/x/redeliver", [401, 401, 403, 403, 0]),
        ("GET", "/api/v1/workers", [401, 401, 403, 0, 0]),
        ("GET", "/api/v1/queue", [401, 401, 403, 0, 0]),
        ("GET", "/api/v1/dead", [401, 401, 403, 0, 0]),
        ("POST", "/api/v1/dead/1/requeue", [401, 401, 403, 403, 0]),
        ("GET", "/play/a/master.m3u8", [401, 401, 403, 0, 0]),
    ] {
        for (token, wanted) in tokens.iter().zip(wanted) {
            let answer = ask(method, target, token);
            let told = format!("{method} {target} as {token:?}: {}", answer.status);
            match wanted {
                0 => assert!(!matches!(answer.status, 401 | 403), "{told}"),
                401 => {
                    assert!(answer.header("www-authenticate").starts_with("Bearer realm="), "{answer:?}");
                    answer.problem(401, "token");
                }
                _ => {
                    assert!(
                        answer.header("www-authenticate").contains("error=\"insufficient_scope\""),
                        "{told}"
                    );
                    answer.problem(403, "scope");
                }
            }
        }
    }
    // A token in the address is none, nor is one of another kind.
    server.get(&format!("/api/v1/jobs?access_token={read}")).problem(401, "token");
    server
        .ask("GET", "/api/v1/jobs", &[("authorization", &format!("Basic {read}"))], b"")
        .problem(401, "token");
}

#[test]
fn with_auth_none_producers_need_no_header() {
    let server = Server::with(Settings { auth: Auth::None, ..Settings::default() });
    let body = r#"{"inputKey":"a.mp4","profile":"roku-hls","outputPrefix":"a"}"#;
    server.post("/api/transcode/submit", body).is(200);
    // By whatever name they reach it.
    server.ask("GET", "/api/v1/jobs", &[("host", "transcode.example.org")], b"").is(200);
}

#[test]
fn bodies_and_rates_have_limits_and_addresses_an_end() {
    let server = Server::with(Settings {
        json_limit: 2_000,
        rate: Some(Rate { per_second: 1, burst: 12 }),
        ..Settings::default()
    });
    let long = format!(r#"{{"version":1,"sources":["{}"],"destination":"x"}}"#, "a".repeat(2_000));
    server.post("/api/v1/jobs", &long).problem(413, "too-large");
    let text = [("content-type", "text/plain")];
    server.ask("POST", "/api/v1/jobs", &text, job("a").as_bytes()).problem(415, "unsupported-media-type");
    let json = [("content-type", "application/json; charset=utf-8")];
    server.ask("POST", "/api/v1/jobs", &json, job("a").as_bytes()).is(201);
    server.ask("POST", "/api/v1/jobs", &json, b"\xff\xfe").problem(400, "wrong-request");
    server.post("/api/v1/jobs", "[1]").problem(422, "wrong-job");
    server.post("/api/v1/jobs", r#"{"version":2}"#).problem(422, "wrong-job");
    let answer = server.ask("DELETE", "/api/v1/jobs", &[], b"");
    assert!(answer.header("allow").contains("GET") && answer.header("allow").contains("POST"), "{answer:?}");
    answer.problem(405, "method-not-allowed");
    server.get("/nothing/here").problem(404, "not-found");

    let mut refused = None;
    for _ in 0..20 {
        let answer = server.get("/api/v1/queue");
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("the thirteenth request is one too many");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    refused.problem(429, "rate");
    server.get("/healthz").is(200);
}

#[test]
fn pages_of_other_origins_may_only_what_was_written_down() {
    let club = "https://club.example.org";
    let plain = Server::plain();
    let listed = Server::with(Settings { origins: vec![club.to_owned()], ..Settings::default() });
    let own = format!("http://{}", plain.address);
    let body = job("a");
    let post = |server: &Server, origin: &str| {
        server.ask("POST", "/api/v1/jobs", &[("origin", origin)], body.as_bytes())
    };
    post(&plain, club).problem(403, "origin");
    post(&plain, "null").problem(403, "origin");
    post(&plain, &own).is(201);
    let answer = plain.ask("GET", "/api/v1/jobs", &[("origin", club)], b"").is(200);
    assert_eq!(answer.header("access-control-allow-origin"), "", "off by default");

    let answer = post(&listed, club).is(201);
    assert_eq!(answer.header("access-control-allow-origin"), club);
    assert!(answer.header("vary").to_lowercase().contains("origin"));
    post(&listed, "https://evil.example.org").problem(403, "origin");
    let asking = [("origin", club), ("access-control-request-method", "PATCH")];
    let answer = listed.ask("OPTIONS", "/api/v1/jobs/a", &asking, b"").is(200);
    assert!(answer.header("access-control-allow-methods").contains("PATCH"));
    assert!(answer.header("access-control-allow-headers").contains("authorization"));

    // A page whose name leads to this machine is not this machine.
    for host in ["evil.example.org", "evil.example.org:8000", "127.0.0.1.evil.example.org"] {
        plain.ask("GET", "/api/v1/jobs", &[("host", host)], b"").problem(403, "origin");
    }
    for host in ["localhost:8000", "127.0.0.1:1", "[::1]:8000", "transcode.localhost"] {
        plain.ask("GET", "/api/v1/jobs", &[("host", host)], b"").is(200);
    }
}
