//! A small HTTP server for tests: each request goes through a function that decides the answer,
//! which may be to ask a real server behind it, or to break off.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A request as it came in.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// First and last byte of `Range: bytes=first-last`.
    pub fn range(&self) -> Option<(usize, usize)> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?))
    }
}

/// What to send back.
#[derive(Debug, Clone)]
pub enum Reply {
    /// An answer.
    Answer { status: u16, headers: Vec<(String, String)>, body: Vec<u8> },
    /// The same, but the connection ends after so many bytes of the body.
    Cut { status: u16, headers: Vec<(String, String)>, body: Vec<u8>, after: usize },
    /// The bytes of another server's answer as they are.
    Raw(Vec<u8>),
    /// Nothing, and the connection ends.
    Drop,
    /// Nothing, and the connection stays.
    Silence,
}

impl Reply {
    /// An answer without headers.
    pub fn status(status: u16, body: &str) -> Self {
        Self::Answer { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
    }

    /// What S3 answers with an error code.
    pub fn s3_error(status: u16, code: &str) -> Self {
        Self::status(
            status,
            &format!("<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>"),
        )
    }

    /// The part of `bytes` that `request` asks for, as a good server gives it.
    pub fn range_of(request: &Request, bytes: &[u8], etag: &str) -> Self {
        let size = bytes.len();
        let headers =
            |range: String| vec![("Content-Range".to_owned(), range), ("ETag".to_owned(), etag.to_owned())];
        match request.range() {
            Some((first, last)) if first < size => {
                let last = last.min(size - 1);
                let headers = headers(format!("bytes {first}-{last}/{size}"));
                Self::Answer { status: 206, headers, body: bytes[first..=last].to_vec() }
            }
            Some(_) => {
                Self::Answer { status: 416, headers: headers(format!("bytes */{size}")), body: Vec::new() }
            }
            None => Self::Answer { status: 200, headers: Vec::new(), body: bytes.to_vec() },
        }
    }
}

/// A running server; ends with its value.
pub struct Web {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    /// Answer each request with what `answer` says; it is told how many came before.
    pub fn start(answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let answer = Arc::new(answer);
        let thread = std::thread::spawn({
            let (seen, stop) = (Arc::clone(&seen), Arc::clone(&stop));
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let (seen, stop, answer) = (Arc::clone(&seen), Arc::clone(&stop), Arc::clone(&answer));
                    // A client that goes away in mid-answer is part of the tests.
                    std::thread::spawn(move || drop(serve(stream, &seen, &stop, &*answer)));
                }
            }
        });
        Self { address, seen, stop, thread: Some(thread) }
    }

    /// Stand in front of a real server; requests for which `rule` says nothing go through.
    pub fn before(
        upstream: SocketAddr,
        rule: impl Fn(usize, &Request) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        Self::start(move |index, request| rule(index, request).unwrap_or_else(|| forward(request, upstream)))
    }

    /// `http://127.0.0.1:…`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _woken = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn serve(
    stream: TcpStream,
    seen: &Mutex<Vec<Request>>,
    stop: &AtomicBool,
    answer: &(dyn Fn(usize, &Request) -> Reply + Send + Sync),
) -> io::Result<()> {
    let request = read(&mut BufReader::new(stream.try_clone()?))?;
    let index = {
        let mut seen = seen.lock().unwrap();
        seen.push(Request { body: Vec::new(), ..request.clone() });
        seen.len() - 1
    };
    let mut stream = stream;
    match answer(index, &request) {
        Reply::Answer { status, headers, body } => {
            stream.write_all(&head(status, &headers, body.len()))?;
            if request.method != "HEAD" {
                stream.write_all(&body)?;
            }
        }
        Reply::Cut { status, headers, body, after } => {
            stream.write_all(&head(status, &headers, body.len()))?;
            stream.write_all(&body[..after])?;
        }
        Reply::Raw(bytes) => stream.write_all(&bytes)?,
        Reply::Drop => {}
        Reply::Silence => {
            while !stop.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
    stream.flush()
}

fn head(status: u16, headers: &[(String, String)], length: usize) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Request> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let mut parts = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(target)) = (parts.next(), parts.next()) else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Request { method, target, headers, body })
}

/// What the server at `upstream` answers to `request`, as it is.
pub fn forward(request: &Request, upstream: SocketAddr) -> Reply {
    let ask = || -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(upstream)?;
        // Not `Connection: close`: a server that answers before it has read the body would then reset
        // the connection, and its answer with it.
        let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
        for (name, value) in request.headers.iter().filter(|(name, _)| *name != "connection") {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(&[head.as_bytes(), &request.body].concat())?;
        answer(&mut BufReader::new(stream), request.method == "HEAD")
    };
    ask().map_or(Reply::Drop, Reply::Raw)
}

/// One answer, whole, with `Connection: close` put in.
fn answer(stream: &mut BufReader<TcpStream>, no_body: bool) -> io::Result<Vec<u8>> {
    let mut raw = String::new();
    stream.read_line(&mut raw)?;
    let no_body = no_body || raw.contains(" 204 ") || raw.contains(" 304 ");
    raw.push_str("Connection: close\r\n");
    let (mut length, mut chunked) = (0, false);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let lower = line.to_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        chunked |= lower.starts_with("transfer-encoding:") && lower.contains("chunked");
        if !lower.starts_with("connection:") {
            raw.push_str(&line);
        }
        if line.trim_end().is_empty() {
            break;
        }
    }
    let mut raw = raw.into_bytes();
    while chunked && !no_body {
        let mut size = String::new();
        stream.read_line(&mut size)?;
        let size_of_chunk = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut chunk = vec![0; size_of_chunk + 2];
        stream.read_exact(&mut chunk)?;
        raw.extend_from_slice(size.as_bytes());
        raw.extend_from_slice(&chunk);
        chunked = size_of_chunk > 0;
    }
    if !no_body {
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        raw.extend_from_slice(&body);
    }
    Ok(raw)
}
