//! The block cache: the same bytes as without it, few requests, a bound on memory, no thread left.

use super::conformance::{ends_soon_after_cancel, pattern};
use proptest::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use transcode_core::Cancel;
use transcode_core::media::SourceIdentity;
use transcode_core::source::{CacheOptions, CachedSource, Source, SourceError};

const BLOCK: usize = 64 << 10;

/// Bytes in memory that count who asks, and can hold their answers back.
struct Counted {
    bytes: Vec<u8>,
    reads: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    broken: AtomicBool,
    held: Mutex<bool>,
    release: Condvar,
}

impl Counted {
    fn new(size: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes: pattern(size),
            reads: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
            held: Mutex::new(false),
            release: Condvar::new(),
        })
    }

    fn hold(&self, held: bool) {
        *self.held.lock().unwrap() = held;
        self.release.notify_all();
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

impl Source for Counted {
    fn identity(&self) -> SourceIdentity {
        SourceIdentity { uri: "memory".to_owned(), size: self.size(), version: None }
    }

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8], cancel: &Cancel) -> Result<usize, SourceError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        let mut held = self.held.lock().unwrap();
        while *held && !cancel.is_cancelled() {
            held = self.release.wait_timeout(held, Duration::from_millis(5)).unwrap().0;
        }
        drop(held);
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        if cancel.is_cancelled() {
            return Err(SourceError::Cancelled);
        }
        if self.broken.load(Ordering::SeqCst) {
            let reason = "gone".to_owned();
            return Err(SourceError::Unavailable { uri: "memory".to_owned(), offset, reason });
        }
        let start = (offset as usize).min(self.bytes.len());
        let length = buffer.len().min(self.bytes.len() - start);
        buffer[..length].copy_from_slice(&self.bytes[start..start + length]);
        Ok(length)
    }
}

fn options(blocks: usize, threads: usize, read_ahead: usize) -> CacheOptions {
    CacheOptions { block: BLOCK, capacity: blocks * BLOCK, threads, read_ahead }
}

fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("never came true: {what}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_reads_give_the_plain_bytes_within_the_memory(
        size in 1usize..(20 * BLOCK),
        blocks in 4usize..12,
        threads in 0usize..5,
        read_ahead in 0usize..10,
        reads in prop::collection::vec((0.0f64..1.1, 0usize..(3 * BLOCK)), 1..60),
    ) {
        let inner = Counted::new(size);
        let cached = CachedSource::new(Arc::clone(&inner) as _, options(blocks, threads, read_ahead));
        let cancel = Cancel::new();
        for (place, length) in reads {
            let offset = (place * size as f64) as usize;
            let mut buffer = vec![0; length];
            let got = cached.read_at(offset as u64, &mut buffer, &cancel).unwrap();
            let start = offset.min(size);
            prop_assert_eq!(&buffer[..got], &inner.bytes[start..(start + length).min(size)]);
        }
        let stats = cached.stats();
        prop_assert!(stats.peak <= (blocks * BLOCK) as u64, "{:?}", stats);
        prop_assert!(stats.bytes_read <= stats.blocks_read * BLOCK as u64);
    }
}

#[test]
fn thousands_of_tiny_reads_by_turns_cost_each_block_once() {
    // Tables at the end, then audio and video far apart, each with steps back now and then.
    let blocks = 200;
    let inner = Counted::new(blocks * BLOCK);
    let cached = CachedSource::new(Arc::clone(&inner) as _, options(32, 4, 8));
    let cancel = Cancel::new();
    let read = |offset: usize, length: usize| {
        let mut buffer = vec![0; length];
        assert_eq!(cached.read_at(offset as u64, &mut buffer, &cancel).unwrap(), length);
        assert!(buffer == inner.bytes[offset..offset + length], "at {offset}");
    };
    read(0, 16);
    let tables = (blocks - 3) * BLOCK;
    for step in 0..1000 {
        read(tables + step * 150, 100);
    }
    let (video, audio) = (BLOCK, 120 * BLOCK);
    let mut tiny = 1001;
    for step in 0..6000 {
        read(video + step * 900, 900);
        if step % 3 == 0 {
            read(audio + step / 3 * 350, 350);
            read((video + step * 900).saturating_sub(40_000), 64);
            tiny += 2;
        }
        tiny += 1;
    }
    let touched = 1 + 3 + (6000 * 900usize).div_ceil(BLOCK) + 1 + (2000 * 350usize).div_ceil(BLOCK) + 1;
    let stats = cached.stats();
    assert!(stats.hits + stats.misses >= tiny, "{stats:?}");
    assert!(
        stats.blocks_read as usize <= touched + 3 * 8,
        "{touched} blocks were touched, three places may have 8 ahead: {stats:?}"
    );
}

#[test]
fn a_sequence_is_read_ahead_by_several_threads_at_once() {
    let inner = Counted::new(64 * BLOCK);
    let cached = CachedSource::new(Arc::clone(&inner) as _, options(32, 4, 8));
    let cancel = Cancel::new();
    let mut buffer = vec![0; BLOCK];
    for block in 0..4u64 {
        cached.read_at(block * BLOCK as u64, &mut buffer, &cancel).unwrap();
    }
    wait_until("the window is full", || cached.stats().blocks_read >= 8);
    inner.hold(true);
    let before = inner.reads();
    for block in 4..8u64 {
        cached.read_at(block * BLOCK as u64, &mut buffer, &cancel).unwrap();
    }
    wait_until("four are in flight", || inner.reads() >= before + 4);
    assert!(inner.most_at_once.load(Ordering::SeqCst) >= 4);
    inner.hold(false);
}

#[test]
fn a_block_is_asked_for_once_however_many_wait() {
    let inner = Counted::new(3 * BLOCK);
    let cached = Arc::new(CachedSource::new(Arc::clone(&inner) as _, options(8, 2, 0)));
    inner.hold(true);
    let threads: Vec<_> = (0..8u64)
        .map(|thread| {
            let cached = Arc::clone(&cached);
            std::thread::spawn(move || {
                let mut buffer = [0; 100];
                cached.read_at(thread * 1000, &mut buffer, &Cancel::new()).unwrap();
                buffer
            })
        })
        .collect();
    wait_until("all have asked", || cached.stats().misses == 8);
    inner.hold(false);
    for (thread, buffer) in threads.into_iter().map(|thread| thread.join().unwrap()).enumerate() {
        assert_eq!(buffer, inner.bytes[thread * 1000..][..100]);
    }
    assert_eq!(inner.reads(), 1);
}

#[test]
fn an_error_is_passed_on_to_all_who_wait_and_forgotten() {
    let inner = Counted::new(3 * BLOCK);
    let cached = Arc::new(CachedSource::new(Arc::clone(&inner) as _, options(8, 0, 0)));
    inner.hold(true);
    inner.broken.store(true, Ordering::SeqCst);
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let cached = Arc::clone(&cached);
            std::thread::spawn(move || cached.read_at(5, &mut [0; 10], &Cancel::new()))
        })
        .collect();
    wait_until("all wait", || cached.stats().misses == 3);
    inner.hold(false);
    for thread in threads {
        assert!(matches!(thread.join().unwrap(), Err(SourceError::Unavailable { .. })));
    }
    assert_eq!(inner.reads(), 1, "three callers, one request");
    inner.broken.store(false, Ordering::SeqCst);
    assert_eq!(cached.read_at(5, &mut [0; 10], &Cancel::new()).unwrap(), 10);
}

#[test]
fn whoever_is_cancelled_leaves_the_others_their_block() {
    let inner = Counted::new(3 * BLOCK);
    let cached = Arc::new(CachedSource::new(Arc::clone(&inner) as _, options(8, 0, 0)));
    inner.hold(true);
    // The first reads for itself, the second waits for it.
    let first = Cancel::new();
    let reader = {
        let (cached, first) = (Arc::clone(&cached), first.clone());
        std::thread::spawn(move || cached.read_at(0, &mut [0; 10], &first))
    };
    wait_until("the first reads", || inner.reads() == 1);
    let waiter = {
        let cached = Arc::clone(&cached);
        std::thread::spawn(move || cached.read_at(0, &mut [0; 10], &Cancel::new()))
    };
    wait_until("the second waits", || cached.stats().misses == 2);
    first.cancel();
    assert!(matches!(reader.join().unwrap(), Err(SourceError::Cancelled)));
    wait_until("the second reads for itself", || inner.reads() == 2);
    // A third that only waits ends when it is cancelled, though the block never comes.
    let third = Arc::clone(&cached);
    let result = ends_soon_after_cancel(Duration::from_millis(50), move |cancel| {
        third.read_at(0, &mut [0; 10], &cancel)
    });
    assert!(matches!(result, Err(SourceError::Cancelled)));
    inner.hold(false);
    assert_eq!(waiter.join().unwrap().unwrap(), 10);
}

#[test]
fn no_thread_is_left_when_it_is_dropped_in_mid_read() {
    let inner = Counted::new(64 * BLOCK);
    let cached = CachedSource::new(Arc::clone(&inner) as _, options(32, 4, 8));
    let mut buffer = vec![0; BLOCK];
    for block in 0..2u64 {
        cached.read_at(block * BLOCK as u64, &mut buffer, &Cancel::new()).unwrap();
    }
    wait_until("read ahead", || cached.stats().blocks_read >= 3);
    inner.hold(true);
    let before = inner.reads();
    for block in 2..3u64 {
        cached.read_at(block * BLOCK as u64, &mut buffer, &Cancel::new()).unwrap();
    }
    wait_until("a thread hangs in a read", || inner.reads() > before);
    drop(cached);
    // Each thread held the inner source; only this test does now.
    assert_eq!(Arc::strong_count(&inner), 1);
    inner.hold(false);
}
