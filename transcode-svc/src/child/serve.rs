//! Answers the child's questions: reads of the source, calls of the sink.
//!
//! Two small pools of threads with bounded queues, so that a slow sink does not hold up reads, and
//! nothing piles up: a body is taken from the socket only when there is room for it, and until then
//! the child waits in its write. Knows the two traits and the wire, not the process behind it.

use super::protocol::{Answer, Call, MAX_READ, ToChild, write_frame};
use std::collections::VecDeque;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use transcode_core::Cancel;
use transcode_core::sink::{Created, Sink};
use transcode_core::source::Source;

/// Reads served at once.
const READERS: usize = 8;

/// Reads waiting beyond those: a few numbers each.
const READS_WAITING: usize = 64;

/// Objects being received or stored at once: so many bodies at most are in memory.
const WRITERS: usize = 4;

/// What the threads of one session share.
pub(super) struct Shared {
    /// The socket's writing half; whoever holds the lock writes one whole frame.
    out: Mutex<UnixStream>,
    /// Where the child's reads go.
    source: Arc<dyn Source>,
    /// Where the child's objects go, while it makes a chunk.
    sink: Mutex<Option<Arc<dyn Sink>>>,
    /// Ends calls of the two.
    pub(super) cancel: Cancel,
    /// Questions that wait for us: while there are any, silence is not the child's fault.
    owed: AtomicUsize,
    /// Grows with every sign of life.
    signs: AtomicU64,
    /// Bytes of objects that the child has sent.
    received: AtomicU64,
}

impl Shared {
    pub(super) fn new(out: UnixStream, source: Arc<dyn Source>, cancel: Cancel) -> Self {
        Self {
            out: Mutex::new(out),
            source,
            sink: Mutex::new(None),
            cancel,
            owed: AtomicUsize::new(0),
            signs: AtomicU64::new(0),
            received: AtomicU64::new(0),
        }
    }

    /// Write one frame. An error means that the child has gone, which the reader finds out too.
    pub(super) fn say(&self, header: &ToChild, body: &[u8]) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = write_frame(&mut *out, header, body).and_then(|()| out.flush()) {
            log::debug!("the graph's process does not listen: {error}");
        }
    }

    /// Where objects go from now on.
    pub(super) fn set_sink(&self, sink: Option<Arc<dyn Sink>>) {
        *self.sink.lock().unwrap_or_else(PoisonError::into_inner) = sink;
    }

    /// The child has shown that it lives.
    pub(super) fn sign(&self) {
        self.signs.fetch_add(1, Ordering::SeqCst);
    }

    /// The child sends an object of so many bytes.
    pub(super) fn receives(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::SeqCst);
    }

    /// Bytes of objects that it has sent so far.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::SeqCst)
    }

    /// Signs of life so far, and whether the child waits for us.
    pub(super) fn life(&self) -> (u64, bool) {
        (self.signs.load(Ordering::SeqCst), self.owed.load(Ordering::SeqCst) > 0)
    }

    /// Serve one question and send the answer. What we owe ends before the answer is written: a
    /// child that does not take its answer is silent by its own fault.
    fn serve(&self, question: Question) {
        let (id, answer, body) = match question {
            Question::Read { id, offset, length } => {
                let (answer, body) = self.read(offset, length);
                (id, answer, body)
            }
            Question::Object { id, call, key, bytes } => {
                let (answer, body) = self.object(call, &key, &bytes);
                (id, answer, body)
            }
        };
        self.sign();
        self.owed.fetch_sub(1, Ordering::SeqCst);
        self.say(&ToChild::Answer { id, answer }, &body);
    }

    fn read(&self, offset: u64, length: u32) -> (Answer, Vec<u8>) {
        let mut buffer = vec![0u8; length.min(MAX_READ) as usize];
        match self.source.read_at(offset, &mut buffer, &self.cancel) {
            Ok(count) => {
                buffer.truncate(count);
                (Answer::Bytes, buffer)
            }
            Err(error) => (Answer::SourceFailed(error.into()), Vec::new()),
        }
    }

    fn object(&self, call: Call, key: &str, bytes: &[u8]) -> (Answer, Vec<u8>) {
        let sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(sink) = sink else {
            // A late call of a chunk that is over.
            return (Answer::SinkFailed(super::failure::SinkFailure::Cancelled), Vec::new());
        };
        let cancel = &self.cancel;
        let mut body = Vec::new();
        let answer = match call {
            Call::Create(kind) => sink.create(key, kind, bytes, cancel).map(|created| match created {
                Created::New => Answer::New,
                Created::Existed => Answer::Existed,
            }),
            Call::Replace(kind) => sink.replace(key, kind, bytes, cancel).map(|()| Answer::Done),
            Call::Read => sink.read(key, cancel).map(|object| match object {
                Some(bytes) => {
                    body = bytes;
                    Answer::Bytes
                }
                None => Answer::Nothing,
            }),
            Call::SizeOf => sink.size_of(key, cancel).map(Answer::Size),
            Call::Remove => sink.remove(key, cancel).map(|()| Answer::Done),
        };
        (answer.unwrap_or_else(|error| Answer::SinkFailed(error.into())), body)
    }
}

/// A question of the child.
pub(super) enum Question {
    /// A read of the source.
    Read { id: u64, offset: u64, length: u32 },
    /// A call of the sink.
    Object { id: u64, call: Call, key: String, bytes: Vec<u8> },
}

/// The two pools; closed when dropped.
pub(super) struct Servers {
    shared: Arc<Shared>,
    reads: Arc<Queue>,
    objects: Arc<Queue>,
}

impl Servers {
    /// Start the threads.
    pub(super) fn start(shared: Arc<Shared>) -> std::io::Result<Self> {
        let reads = Arc::new(Queue::new(READERS + READS_WAITING));
        let objects = Arc::new(Queue::new(WRITERS));
        let servers = Self { shared, reads, objects };
        for (name, count, queue) in
            [("child-read", READERS, &servers.reads), ("child-write", WRITERS, &servers.objects)]
        {
            for _ in 0..count {
                let (queue, shared) = (queue.clone(), servers.shared.clone());
                std::thread::Builder::new().name(name.to_owned()).spawn(move || {
                    while let Some(question) = queue.next() {
                        shared.serve(question);
                        queue.finished();
                    }
                })?;
            }
        }
        Ok(servers)
    }

    /// A question was asked: from now on we owe an answer.
    pub(super) fn asked(&self) {
        self.shared.owed.fetch_add(1, Ordering::SeqCst);
    }

    /// Wait for room for one more object, before its bytes are taken from the socket. False when
    /// the session is over.
    pub(super) fn wait_for_room(&self) -> bool {
        self.objects.wait_for_room()
    }

    /// Have a question served, waiting for room. False when the session is over.
    pub(super) fn serve(&self, question: Question) -> bool {
        match question {
            Question::Read { .. } => self.reads.push(question),
            Question::Object { .. } => self.objects.push(question),
        }
    }

    /// Let the threads go; what waits is dropped.
    pub(super) fn close(&self) {
        self.reads.close();
        self.objects.close();
    }
}

/// A bounded queue: what waits and what is being served count alike.
struct Queue {
    bound: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Question>,
    serving: usize,
    closed: bool,
}

impl Queue {
    fn new(bound: usize) -> Self {
        Self { bound, state: Mutex::new(State::default()), changed: Condvar::new() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wait until there is room; only one thread puts in, so it stays until that does.
    fn wait_for_room(&self) -> bool {
        let full = |state: &mut State| !state.closed && state.waiting.len() + state.serving >= self.bound;
        let state = self.changed.wait_while(self.lock(), full).unwrap_or_else(PoisonError::into_inner);
        !state.closed
    }

    fn push(&self, question: Question) -> bool {
        if !self.wait_for_room() {
            return false;
        }
        self.lock().waiting.push_back(question);
        self.changed.notify_all();
        true
    }

    fn next(&self) -> Option<Question> {
        let idle = |state: &mut State| !state.closed && state.waiting.is_empty();
        let mut state = self.changed.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        let question = state.waiting.pop_front()?;
        state.serving += 1;
        Some(question)
    }

    fn finished(&self) {
        self.lock().serving -= 1;
        self.changed.notify_all();
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.waiting.clear();
        drop(state);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn question(id: u64) -> Question {
        Question::Read { id, offset: 0, length: 1 }
    }

    #[test]
    fn a_full_queue_makes_its_feeder_wait_until_one_is_served() {
        let queue = Arc::new(Queue::new(2));
        assert!(queue.push(question(0)) && queue.push(question(1)));
        let (feeder, fed) = (queue.clone(), Arc::new(AtomicUsize::new(0)));
        let count = fed.clone();
        let thread = std::thread::spawn(move || {
            assert!(feeder.push(question(2)));
            count.store(1, Ordering::SeqCst);
        });
        assert!(queue.next().is_some(), "being served");
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(fed.load(Ordering::SeqCst), 0, "what is being served takes its room still");
        queue.finished();
        thread.join().expect("the feeder goes on");
    }

    #[test]
    fn closing_wakes_everybody_and_drops_what_waits() {
        let queue = Arc::new(Queue::new(1));
        assert!(queue.push(question(0)));
        let (feeder, idle) = (queue.clone(), Arc::new(Queue::new(1)));
        let taker = idle.clone();
        let blocked = std::thread::spawn(move || feeder.push(question(1)));
        let waiting = std::thread::spawn(move || taker.next().is_none());
        std::thread::sleep(Duration::from_millis(50));
        queue.close();
        idle.close();
        assert!(!blocked.join().expect("joined"), "refused");
        assert!(waiting.join().expect("joined"), "nothing more");
        assert!(queue.next().is_none());
    }
}
