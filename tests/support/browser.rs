//! A headless Chromium, driven through the DevTools protocol over a pair of pipes.
//!
//! Owns starting the browser with a fresh profile, one page in it, evaluating JavaScript there, and
//! ending it again. Knows nothing of players. The pipes are the browser's file descriptors 3 and 4
//! (`--remote-debugging-pipe`): messages are JSON, each ended by a zero byte; no port is opened.

#![allow(dead_code, unreachable_pub)]

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long the browser may take for one answer; it starts on a machine that is busy encoding.
const ANSWER: Duration = Duration::from_secs(60);

/// The shell puts its own two ends where Chromium looks for them; nothing is quoted or expanded.
const START: &str = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#;

const FLAGS: &[&str] = &[
    "--remote-debugging-pipe",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    // A hidden page's timers and pictures are throttled; a headless one may count as hidden.
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
];

/// A running browser with one page.
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    session: Option<String>,
    last: u64,
    profile: tempfile::TempDir,
}

impl Browser {
    /// Start a browser and open `url` in a window of `width` × `height`.
    pub fn open(url: &str, width: u32, height: u32) -> Self {
        let profile = tempfile::tempdir().expect("a folder for the browser's profile");
        let log = std::fs::File::create(profile.path().join("log")).expect("a file for its log");
        let mut child = Command::new("sh")
            .args(["-c", START, "chromium"])
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().join("data").display()))
            .arg(format!("--window-size={width},{height}"))
            .arg("about:blank")
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("`sh` starts");
        let to = child.stdin.take().expect("stdin is piped");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, from) = mpsc::channel();
        std::thread::spawn(move || {
            for message in BufReader::new(stdout).split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { break };
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut browser = Self { child, to, from, session: None, last: 0, profile };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone();
        let session = browser.call("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        browser.call("Page.enable", json!({}));
        let screen = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        browser.call("Emulation.setDeviceMetricsOverride", screen);
        browser.go(url);
        browser
    }

    /// Open another address in the page.
    pub fn go(&mut self, url: &str) {
        let answer = self.call("Page.navigate", json!({"url": url}));
        assert!(answer.get("errorText").is_none(), "{url} does not open: {}", answer["errorText"]);
    }

    /// The value of a JavaScript expression in the page; a promise is waited for.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let call = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", call);
        if let Some(wrong) = answer.get("exceptionDetails") {
            panic!("the page threw: {}\nin: {expression}", wrong["exception"]["description"]);
        }
        answer["result"]["value"].clone()
    }

    /// Wait until an expression is true; what `otherwise` evaluates to is said where it never is.
    pub fn wait_for(&mut self, expression: &str, otherwise: &str, limit: Duration) {
        let end = Instant::now() + limit;
        // A page that is still loading has no player yet: that is not an error, only not true.
        let guarded = format!("(() => {{ try {{ return !!({expression}) }} catch {{ return false }} }})()");
        while self.evaluate(&guarded) != json!(true) {
            if Instant::now() > end {
                let state = self.evaluate(&format!("JSON.stringify({otherwise})"));
                panic!("after {limit:?} still not so: {expression}\n{state}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Press a key that has one character, or a named one such as `ArrowRight`.
    pub fn press(&mut self, key: &str) {
        let text = if key.chars().count() == 1 { key } else { "" };
        self.call("Input.dispatchKeyEvent", json!({"type": "keyDown", "key": key, "text": text}));
        self.call("Input.dispatchKeyEvent", json!({"type": "keyUp", "key": key}));
    }

    /// Store a picture of the page as PNG.
    pub fn picture(&mut self, path: &Path) {
        let answer = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let png = from_base64(answer["data"].as_str().expect("a picture comes as text"));
        std::fs::write(path, png).expect("the picture can be stored");
    }

    /// Show the page as somebody sees it whose system is `light` or `dark`.
    pub fn colours(&mut self, scheme: &str) {
        let feature = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", feature);
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        if let Err(error) = self.to.write_all(&bytes) {
            panic!("the browser is gone ({error}): {}", self.log());
        }
        let end = Instant::now() + ANSWER;
        loop {
            match self.from.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(answer) if answer["id"] == json!(self.last) => {
                    assert!(answer.get("error").is_none(), "{method}: {}", answer["error"]);
                    return answer["result"].clone();
                }
                // An event, or the answer to an older call.
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => panic!("{method}: no answer within {ANSWER:?}"),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!(
                        "{method}: the browser ended (is chromium installed? run scripts/setup test): {}",
                        self.log()
                    )
                }
            }
        }
    }

    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.profile.path().join("log")).unwrap_or_default();
        log.lines().rev().take(10).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked to close, it ends its own processes; only one that does not is killed.
        let _ = self.to.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Base64 of RFC 4648 §4, as the protocol writes binary values.
fn from_base64(text: &str) -> Vec<u8> {
    let value = |symbol: u8| match symbol {
        b'A'..=b'Z' => Some(u32::from(symbol - b'A')),
        b'a'..=b'z' => Some(u32::from(symbol - b'a') + 26),
        b'0'..=b'9' => Some(u32::from(symbol - b'0') + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let symbols: Vec<u32> = text.bytes().filter_map(value).collect();
    let group = |group: &[u32]| {
        let bits = group.iter().enumerate().fold(0, |bits, (at, value)| bits | value << (18 - 6 * at));
        let [_, bytes @ ..] = u32::to_be_bytes(bits);
        bytes.into_iter().take(group.len() - 1).collect::<Vec<_>>()
    };
    symbols.chunks(4).flat_map(group).collect()
}
