//! A real Redis for tests: Debian's `redis-server`, a process of its own on loopback, with an append-only
//! file. It ends with its value, killed by its process id.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// A running server.
pub struct RedisServer {
    port: u16,
    data: tempfile::TempDir,
    child: Mutex<Option<Child>>,
}

impl RedisServer {
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
        panic!("redis-server does not start");
    }

    /// One server for all tests that run at the same time; use a queue or ids of your own.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<RedisServer>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    fn try_start(&self) -> bool {
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        // Each test may have a database of its own.
        command.args(["--databases", "10000"]);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--logfile", "log"]);
        command.arg("--dir").arg(self.data.path()).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("redis-server cannot be started ({error}): run scripts/setup test");
        });
        let started = Instant::now();
        while !self.answers() {
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "not ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        true
    }

    fn answers(&self) -> bool {
        let ask = || -> std::io::Result<[u8; 5]> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            stream.write_all(b"PING\r\n")?;
            let mut answer = [0; 5];
            stream.read_exact(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| &answer == b"+PONG")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join("log")).unwrap_or_default()
    }

    /// `redis://127.0.0.1:…`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
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

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
