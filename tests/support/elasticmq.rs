//! A real queue server that speaks as SQS does, for tests: ElasticMQ, a process of its own on loopback, whose
//! messages are in a file. It ends with its value, killed by its process id.
//!
//! It refuses stale receipts, which other stand-ins for SQS do not. `scripts/servers-build` fetches it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use serde_json::{Value, json};
use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// A running server.
pub struct ElasticMq {
    port: u16,
    data: tempfile::TempDir,
    child: Mutex<Option<Child>>,
}

impl ElasticMq {
    /// A server of one's own.
    pub fn start() -> Self {
        // Another process may take the port between our look and the server's; then it is tried again.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let server = Self { port, data: tempfile::tempdir().unwrap(), child: Mutex::new(None) };
            if server.try_start() {
                return server;
            }
        }
        panic!("ElasticMQ does not start");
    }

    /// One server for all tests that run at the same time; use queues of your own.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<ElasticMq>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    fn try_start(&self) -> bool {
        let jars = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/elasticmq");
        assert!(
            jars.exists(),
            "{} is missing: run scripts/setup test and scripts/servers-build",
            jars.display()
        );
        let (port, data) = (self.port, self.data.path());
        let settings = format!(
            r#"include classpath("application.conf")
               node-address {{ protocol = http, host = "127.0.0.1", port = {port}, context-path = "" }}
               rest-sqs {{ enabled = true, bind-port = {port}, bind-hostname = "127.0.0.1", sqs-limits = strict }}
               rest-stats {{ enabled = false }}
               queues-storage {{ enabled = false }}
               messages-storage {{
                 enabled = true, driver-class = "org.h2.Driver", username = "", password = ""
                 uri = "jdbc:h2:{}/messages;WRITE_DELAY=0", prune-data-on-init = false
               }}"#,
            data.display()
        );
        std::fs::write(data.join("settings.conf"), settings).unwrap();
        let log = File::options().create(true).append(true).open(data.join("log")).unwrap();
        let mut command = Command::new("java");
        // A small machine and a short life.
        command.args(["-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        command.arg(format!("-Dconfig.file={}", data.join("settings.conf").display()));
        command.arg("-cp").arg(jars.join("*")).arg("org.elasticmq.server.Main").stdin(Stdio::null());
        let mut child =
            command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap_or_else(|error| {
                panic!("java cannot be started ({error}): run scripts/setup test");
            });
        let started = Instant::now();
        while self.try_ask("ListQueues", &json!({})).is_err() {
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "not ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        true
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join("log")).unwrap_or_default()
    }

    /// The URL of a queue.
    pub fn url(&self, queue: &str) -> String {
        format!("http://127.0.0.1:{}/000000000000/{queue}", self.port)
    }

    /// Make a queue.
    pub fn create(&self, queue: &str, attributes: &Value) {
        self.ask("CreateQueue", &json!({"QueueName": queue, "Attributes": attributes}));
    }

    /// Make a queue with its `…_high`, `…_low` and `…_dead`, under a name of its own; the first one's URL.
    pub fn lines(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("jobs{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        for suffix in ["", "_high", "_low", "_dead"] {
            self.create(&format!("{name}{suffix}"), &json!({}));
        }
        self.url(&name)
    }

    /// Ask the server something as a producer would, not through the product.
    pub fn ask(&self, action: &str, body: &Value) -> Value {
        self.try_ask(action, body).unwrap_or_else(|error| panic!("{action} {body}: {error}"))
    }

    fn try_ask(&self, action: &str, body: &Value) -> Result<Value, String> {
        let _chosen = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let request = client
                .post(format!("http://127.0.0.1:{}/", self.port))
                .header("x-amz-target", format!("AmazonSQS.{action}"))
                .header("content-type", "application/x-amz-json-1.0")
                .body(body.to_string());
            let answer = request.send().await.map_err(|error| error.to_string())?;
            let status = answer.status();
            let text = answer.text().await.map_err(|error| error.to_string())?;
            if !status.is_success() {
                return Err(format!("{status} {text}"));
            }
            Ok(serde_json::from_str(&text).unwrap_or_default())
        })
    }

    /// End the process at once, as a power cut would.
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap_or_else(PoisonError::into_inner).take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Start it again, on the same port and with the same data.
    pub fn start_again(&self) {
        assert!(self.try_start(), "it does not come back:\n{}", self.log());
    }
}

impl Drop for ElasticMq {
    fn drop(&mut self) {
        self.kill();
    }
}
