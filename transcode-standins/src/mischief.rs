//! What hostile media could make a decoder do: tried for real, and the outcomes printed.
//!
//! Owns: the list of tries and how they are told. Must not know: GStreamer; who forbids what.
//!
//! The tries are in `TRANSCODE_STANDINS_MISCHIEF`, with blanks between: `tcp=127.0.0.1:80`, `udp=127.0.0.1:80`,
//! `unix=/run/x.sock`, `read=/path`, `write=/path`, `remove=/path`, `list=/path`, `run=/bin/true`, and `spy` and
//! `kill`, which are about the parent process. Each is told on stderr, as `WARN transcode_standins::mischief read: …`.

use std::io::{self, Read as _};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::parent_id;
use std::process::Command;
use std::sync::Once;
use std::{env, fs, thread, time::Duration};

/// The variable that says what is tried.
pub const MISCHIEF_VARIABLE: &str = "TRANSCODE_STANDINS_MISCHIEF";

/// Bytes that a hog takes at most: enough to be noticed, and a machine survives it.
const HOG: usize = 2 << 30;

/// Tries all that the environment says, once in this process.
pub(crate) fn all() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for words in env::var(MISCHIEF_VARIABLE).unwrap_or_default().split_whitespace() {
            let (what, target) = words.split_once('=').unwrap_or((words, ""));
            let outcome = match attempt(what, target) {
                Ok(()) => "done".to_owned(),
                Err(error) => error.to_string(),
            };
            eprintln!("WARN transcode_standins::mischief {what}: {outcome}");
        }
    });
}

fn attempt(what: &str, target: &str) -> io::Result<()> {
    match what {
        "tcp" => TcpStream::connect(target).map(drop),
        "udp" => UdpSocket::bind("127.0.0.1:0")?.send_to(b"mischief", target).map(drop),
        "unix" => UnixStream::connect(target).map(drop),
        "datagram" => UnixDatagram::unbound()?.send_to(b"mischief", target).map(drop),
        "read" => fs::File::open(target)?.read(&mut [0]).map(drop),
        "write" => fs::write(target, "mischief"),
        "remove" => fs::remove_file(target),
        "list" => fs::read_dir(target).map(drop),
        "run" => Command::new(target).status().map(drop),
        "spy" => fs::read(format!("/proc/{}/environ", parent_id())).map(drop),
        "kill" => {
            let parent = i32::try_from(parent_id()).ok().and_then(rustix::process::Pid::from_raw);
            let parent = parent.ok_or(io::ErrorKind::NotFound)?;
            Ok(rustix::process::kill_process(parent, rustix::process::Signal::TERM)?)
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "no such mischief")),
    }
}

/// Takes memory and keeps it, up to a bound.
pub(crate) fn hog() {
    let mut taken = Vec::new();
    while taken.len() << 24 < HOG {
        taken.push(vec![1u8; 1 << 24]);
        thread::sleep(Duration::from_millis(2));
    }
}
