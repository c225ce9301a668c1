//! Real S3 servers for tests: MinIO and versitygw, each a process of its own on loopback.
//!
//! Used by path from test binaries of `transcode-svc`. The programs come from `.cache/bin`
//! (`scripts/setup` puts them there). A server has its data in a temporary directory and ends with
//! its value, killed by its process id.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use object_store::aws::AmazonS3Builder;
use object_store::path::Path as ObjectPath;
use object_store::signer::{SignedUrlOptions, Signer as _};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The key that every server is started with.
pub const ACCESS_KEY: &str = "test-access-key";
/// Its secret.
pub const SECRET_KEY: &str = "test-secret-key-0123456789";

/// MinIO.
pub struct Minio;

/// versitygw over a directory.
pub struct Versity;

impl Minio {
    /// A server of one's own.
    pub fn start() -> S3Server {
        S3Server::start(Kind::Minio)
    }

    /// One server for all tests that run at the same time; use a bucket of your own.
    pub fn shared() -> Arc<S3Server> {
        static SHARED: Mutex<Weak<S3Server>> = Mutex::new(Weak::new());
        share(&SHARED, Kind::Minio)
    }
}

impl Versity {
    /// A server of one's own.
    pub fn start() -> S3Server {
        S3Server::start(Kind::Versity)
    }

    /// One server for all tests that run at the same time; use a bucket of your own.
    pub fn shared() -> Arc<S3Server> {
        static SHARED: Mutex<Weak<S3Server>> = Mutex::new(Weak::new());
        share(&SHARED, Kind::Versity)
    }
}

fn share(place: &Mutex<Weak<S3Server>>, kind: Kind) -> Arc<S3Server> {
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    place.upgrade().unwrap_or_else(|| {
        let server = Arc::new(S3Server::start(kind));
        *place = Arc::downgrade(&server);
        server
    })
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Minio,
    Versity,
}

/// A running server.
pub struct S3Server {
    kind: Kind,
    port: u16,
    data: tempfile::TempDir,
    child: Mutex<Option<Child>>,
}

/// An answer to a request of a test's own.
pub struct Fetched {
    /// The HTTP status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl S3Server {
    fn start(kind: Kind) -> Self {
        // Another process may take the port between our look and the server's; then it is tried again.
        for _ in 0..5 {
            let data = tempfile::tempdir().unwrap();
            std::fs::create_dir(data.path().join("objects")).unwrap();
            let server = Self { kind, port: free_port(), data, child: Mutex::new(None) };
            if server.try_start() {
                return server;
            }
        }
        panic!("{kind:?} does not start");
    }

    /// Start the process and wait until it answers; false where it ended instead.
    fn try_start(&self) -> bool {
        let address = self.address().to_string();
        let objects = self.data.path().join("objects");
        let log = File::options().create(true).append(true).open(self.data.path().join("log")).unwrap();
        let mut command = match self.kind {
            Kind::Minio => {
                let mut command = Command::new(program("minio"));
                command.args(["server", "--quiet", "--address", &address]).arg(&objects);
                command.env("MINIO_ROOT_USER", ACCESS_KEY).env("MINIO_ROOT_PASSWORD", SECRET_KEY);
                command.env("MINIO_BROWSER", "off").env("MINIO_UPDATE", "off");
                command.env("MINIO_CALLHOME_ENABLE", "off");
                command
            }
            Kind::Versity => {
                let mut command = Command::new(program("versitygw"));
                command.args(["--port", &address, "posix"]).arg(&objects);
                command.env("ROOT_ACCESS_KEY", ACCESS_KEY).env("ROOT_SECRET_KEY", SECRET_KEY);
                command
            }
        };
        command.env("HOME", self.data.path()).stdin(Stdio::null());
        let mut child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let started = Instant::now();
        let ready = loop {
            if child.try_wait().unwrap().is_some() {
                break false;
            }
            if self.is_ready() {
                break true;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "not ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        };
        if ready {
            *self.child() = Some(child);
        }
        ready
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_ready(&self) -> bool {
        let path = match self.kind {
            Kind::Minio => "/minio/health/ready",
            Kind::Versity => "/",
        };
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&self.address(), Duration::from_secs(1))?;
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address())?;
            let mut start = [0; 12];
            stream.read_exact(&mut start)?;
            Ok(String::from_utf8_lossy(&start).into_owned())
        };
        match (self.kind, ask()) {
            (Kind::Minio, Ok(start)) => start == "HTTP/1.1 200",
            (Kind::Versity, Ok(start)) => start.starts_with("HTTP/1.1"),
            (_, Err(_)) => false,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// `http://127.0.0.1:…`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The environment with which the AWS tools, and this product, reach it.
    pub fn variables(&self) -> Vec<(String, String)> {
        [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ENDPOINT_URL", self.endpoint()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// End the process at once, as a power cut would.
    pub fn kill(&self) {
        if let Some(mut child) = self.child().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Start it again, on the same port and with the same data.
    pub fn start_again(&self) {
        assert!(self.try_start(), "it does not come back:\n{}", self.log());
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join("log")).unwrap_or_default()
    }

    /// Make a bucket.
    pub fn create_bucket(&self, bucket: &str) {
        // MinIO says that it is ready a moment before it is.
        let ask = || self.ask("PUT", bucket, "", &[], Vec::new());
        let made = (0..100).map(|_| ask()).find(|made| {
            let later = made.status == 503;
            std::thread::sleep(Duration::from_millis(if later { 50 } else { 0 }));
            !later
        });
        let made = made.unwrap_or_else(ask);
        assert_eq!(made.status, 200, "{}", String::from_utf8_lossy(&made.body));
    }

    /// Let everybody do `actions` (`s3:GetObject`, …) with the objects of a bucket, and nothing else.
    pub fn allow_everybody(&self, bucket: &str, actions: &[&str]) {
        let actions = actions.iter().map(|action| format!("{action:?}")).collect::<Vec<_>>().join(",");
        let policy = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"AWS":["*"]}},
               "Action":[{actions}],"Resource":["arn:aws:s3:::{bucket}/*"]}}]}}"#
        );
        let set = self.ask("PUT", bucket, "", &[("policy", "")], policy.into_bytes());
        assert!(set.status < 300, "{} {}", set.status, String::from_utf8_lossy(&set.body));
    }

    /// Store an object.
    pub fn put(&self, bucket: &str, key: &str, bytes: &[u8]) {
        let put = self.ask("PUT", bucket, key, &[], bytes.to_vec());
        assert_eq!(put.status, 200, "{}", String::from_utf8_lossy(&put.body));
    }

    /// Read an object with its headers, not through the product.
    pub fn get(&self, bucket: &str, key: &str) -> Fetched {
        self.ask("GET", bucket, key, &[], Vec::new())
    }

    /// The uploads in parts that were begun in a bucket and are still open, as XML.
    pub fn unfinished(&self, bucket: &str) -> String {
        let listed = self.ask("GET", bucket, "", &[("uploads", "")], Vec::new());
        assert_eq!(listed.status, 200, "{}", String::from_utf8_lossy(&listed.body));
        String::from_utf8_lossy(&listed.body).into_owned()
    }

    /// A URL with which anybody may GET the object for a minute.
    pub fn signed_url(&self, bucket: &str, key: &str) -> String {
        wait_for(self.sign("GET", bucket, key, &[]))
    }

    async fn sign(&self, method: &str, bucket: &str, key: &str, query: &[(&str, &str)]) -> String {
        let store = AmazonS3Builder::new()
            .with_endpoint(self.endpoint())
            .with_bucket_name(bucket)
            .with_region("us-east-1")
            .with_access_key_id(ACCESS_KEY)
            .with_secret_access_key(SECRET_KEY)
            .with_allow_http(true)
            .build()
            .unwrap();
        let options = SignedUrlOptions::default().with_query(query.iter().copied());
        let (method, key) = (method.parse().unwrap(), ObjectPath::parse(key).unwrap());
        store.signed_url_opts(method, &key, Duration::from_secs(60), &options).await.unwrap().into()
    }

    fn ask(&self, method: &str, bucket: &str, key: &str, query: &[(&str, &str)], body: Vec<u8>) -> Fetched {
        wait_for(async {
            let url = self.sign(method, bucket, key, query).await;
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let request = client.request(method.parse().unwrap(), url).body(body);
            let response = request.send().await.unwrap();
            let headers = response.headers().iter();
            Fetched {
                status: response.status().as_u16(),
                headers: headers.map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect(),
                body: response.bytes().await.unwrap().to_vec(),
            }
        })
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn wait_for<T>(work: impl Future<Output = T>) -> T {
    let _chosen = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// A program that `scripts/setup` built.
pub fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/bin").join(name);
    assert!(path.exists(), "{} is missing: run scripts/setup", path.display());
    path
}

/// A port of the loopback interface that nobody uses right now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
