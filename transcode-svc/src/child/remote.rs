//! The child's view of the world: a source and a sink at the other end of a socket.
//!
//! Every call is a question with a number; many may be open at once, each waits for its own answer.
//! At most [`OBJECTS`] calls of the sink are open, so that reads never queue up behind an object that
//! the parent has no room for. Knows the wire and the two traits.

use super::protocol::{Answer, Call, MAX_READ, ToParent, write_frame};
use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use transcode_core::Cancel;
use transcode_core::media::SourceIdentity;
use transcode_core::sink::{Created, ObjectKind, Sink, SinkError};
use transcode_core::source::{Source, SourceError};

/// Calls of the sink that are open at once; the parent serves as many.
const OBJECTS: usize = 4;

/// How often a call that waits for its answer looks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(25);

type Reply = (Answer, Vec<u8>);

/// The socket, shared by everything in the child that asks or tells.
pub(super) struct Link {
    out: Mutex<UnixStream>,
    open: Mutex<HashMap<u64, SyncSender<Reply>>>,
    next: AtomicU64,
    objects: Mutex<usize>,
    object_done: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    pub(super) fn new(out: UnixStream) -> Self {
        Self {
            out: Mutex::new(out),
            open: Mutex::new(HashMap::new()),
            next: AtomicU64::new(0),
            objects: Mutex::new(0),
            object_done: Condvar::new(),
        }
    }

    /// Tell the parent something.
    pub(super) fn tell(&self, header: &ToParent, body: &[u8]) -> io::Result<()> {
        write_frame(&mut *lock(&self.out), header, body)
    }

    /// Hand an answer to whoever waits for it; late ones are dropped.
    pub(super) fn answered(&self, id: u64, answer: Answer, body: Vec<u8>) {
        if let Some(waiting) = lock(&self.open).remove(&id) {
            let _gone_meanwhile = waiting.send((answer, body));
        }
    }

    fn expect_answer(&self) -> (u64, Receiver<Reply>) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = sync_channel(1);
        lock(&self.open).insert(id, sender);
        (id, receiver)
    }

    /// Wait for the answer; `None` where cancelled before.
    fn wait(&self, id: u64, receiver: &Receiver<Reply>, cancel: &Cancel) -> Option<Reply> {
        loop {
            match receiver.recv_timeout(LOOK) {
                Ok(reply) => return Some(reply),
                Err(RecvTimeoutError::Timeout) if !cancel.is_cancelled() => {}
                Err(_) => {
                    lock(&self.open).remove(&id);
                    return None;
                }
            }
        }
    }

    fn call(&self, call: Call, key: &str, bytes: &[u8], cancel: &Cancel) -> Result<Reply, SinkError> {
        let _permit = self.permit(cancel).ok_or(SinkError::Cancelled)?;
        let (id, receiver) = self.expect_answer();
        let question = ToParent::Object { id, call, key: key.to_owned() };
        self.tell(&question, bytes)
            .map_err(|error| SinkError::Refused { location: key.to_owned(), reason: error.to_string() })?;
        match self.wait(id, &receiver, cancel).ok_or(SinkError::Cancelled)? {
            (Answer::SinkFailed(failure), _) => Err(failure.into()),
            reply => Ok(reply),
        }
    }

    /// Leave to make one call of the sink.
    fn permit(&self, cancel: &Cancel) -> Option<Permit<'_>> {
        let mut open = lock(&self.objects);
        while *open >= OBJECTS {
            if cancel.is_cancelled() {
                return None;
            }
            open = self.object_done.wait_timeout(open, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        *open += 1;
        Some(Permit(self))
    }
}

struct Permit<'a>(&'a Link);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *lock(&self.0.objects) -= 1;
        self.0.object_done.notify_one();
    }
}

/// The parent's source.
pub(super) struct SocketSource {
    pub(super) link: Arc<Link>,
    pub(super) identity: SourceIdentity,
    pub(super) size: u64,
}

impl SocketSource {
    /// The source fails for reasons of the socket: only when the parent has gone.
    fn broken(&self, offset: u64, reason: &str) -> SourceError {
        SourceError::Unavailable { uri: self.identity.uri.clone(), offset, reason: reason.to_owned() }
    }
}

impl Source for SocketSource {
    fn identity(&self) -> SourceIdentity {
        self.identity.clone()
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8], cancel: &Cancel) -> Result<usize, SourceError> {
        let mut filled = 0;
        for piece in buffer.chunks_mut(MAX_READ as usize) {
            let (offset, wanted) = (offset + filled as u64, piece.len());
            let (id, receiver) = self.link.expect_answer();
            let length = u32::try_from(wanted).unwrap_or(MAX_READ);
            let said = self.link.tell(&ToParent::Read { id, offset, length }, b"");
            said.map_err(|error| self.broken(offset, &error.to_string()))?;
            match self.link.wait(id, &receiver, cancel).ok_or(SourceError::Cancelled)? {
                (Answer::Bytes, bytes) if bytes.len() <= wanted => {
                    piece[..bytes.len()].copy_from_slice(&bytes);
                    filled += bytes.len();
                    if bytes.len() < wanted {
                        break;
                    }
                }
                (Answer::SourceFailed(failure), _) => return Err(failure.into()),
                (other, _) => return Err(self.broken(offset, &format!("the answer {other:?} fits no read"))),
            }
        }
        Ok(filled)
    }
}

/// The parent's sink.
pub(super) struct SocketSink {
    pub(super) link: Arc<Link>,
}

/// An answer that fits no question of its kind: a bug of ours on the other side.
fn misfit(key: &str, answer: &Answer) -> SinkError {
    SinkError::Refused {
        location: key.to_owned(),
        reason: format!("the answer {answer:?} fits no such call"),
    }
}

impl Sink for SocketSink {
    fn create(
        &self,
        key: &str,
        kind: ObjectKind,
        bytes: &[u8],
        cancel: &Cancel,
    ) -> Result<Created, SinkError> {
        match self.link.call(Call::Create(kind), key, bytes, cancel)? {
            (Answer::New, _) => Ok(Created::New),
            (Answer::Existed, _) => Ok(Created::Existed),
            (other, _) => Err(misfit(key, &other)),
        }
    }

    fn replace(&self, key: &str, kind: ObjectKind, bytes: &[u8], cancel: &Cancel) -> Result<(), SinkError> {
        match self.link.call(Call::Replace(kind), key, bytes, cancel)? {
            (Answer::Done, _) => Ok(()),
            (other, _) => Err(misfit(key, &other)),
        }
    }

    fn read(&self, key: &str, cancel: &Cancel) -> Result<Option<Vec<u8>>, SinkError> {
        match self.link.call(Call::Read, key, b"", cancel)? {
            (Answer::Bytes, bytes) => Ok(Some(bytes)),
            (Answer::Nothing, _) => Ok(None),
            (other, _) => Err(misfit(key, &other)),
        }
    }

    fn size_of(&self, key: &str, cancel: &Cancel) -> Result<Option<u64>, SinkError> {
        match self.link.call(Call::SizeOf, key, b"", cancel)? {
            (Answer::Size(size), _) => Ok(size),
            (other, _) => Err(misfit(key, &other)),
        }
    }

    fn remove(&self, key: &str, cancel: &Cancel) -> Result<(), SinkError> {
        match self.link.call(Call::Remove, key, b"", cancel)? {
            (Answer::Done, _) => Ok(()),
            (other, _) => Err(misfit(key, &other)),
        }
    }

    fn location(&self) -> String {
        "the destination".to_owned()
    }
}
