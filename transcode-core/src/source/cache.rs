//! The block cache between a demuxer's thousands of tiny reads and a store.
//!
//! Owns the blocks in memory (least recently used goes first), the threads that read ahead, and the
//! rule that a block is read once however many wait for it. Where to read ahead is decided in
//! `ahead`. Knows nothing of where the bytes come from. Offsets and sizes are bytes, blocks are
//! counted from 0; there is no clock: "recent" is a counter of reads.
//!
//! Locks: one mutex holds everything; it is never held while the inner source reads.

use super::ahead::Ahead;
use super::{Source, SourceError};
use crate::cancel::Cancel;
use crate::media::SourceIdentity;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

/// How much a [`CachedSource`] keeps and how eagerly it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheOptions {
    /// Bytes of one block: what one request to the store asks for. 64 KiB to 16 MiB.
    pub block: usize,
    /// Bytes of all blocks, those still being read included; at least four blocks. A block that is
    /// being copied out while it is pushed out adds itself for that moment.
    pub capacity: usize,
    /// Threads that read ahead, so requests in flight beside those of the callers. 0 to 16; 0 never
    /// reads ahead.
    pub threads: usize,
    /// How many blocks to read ahead of each place that is read in sequence; kept below what the
    /// capacity has room for.
    pub read_ahead: usize,
}

impl Default for CacheOptions {
    /// 1 MiB blocks, 32 MiB in all, four threads, eight blocks ahead: four requests of 1 MiB in
    /// flight fill 80 MiB/s at 50 ms of latency, and a 4K input at 100 Mbit/s needs 12.
    fn default() -> Self {
        Self { block: 1 << 20, capacity: 32 << 20, threads: 4, read_ahead: 8 }
    }
}

impl CacheOptions {
    /// The defaults with another capacity in bytes; smaller blocks where it has not room for 16.
    pub fn with_capacity(capacity: usize) -> Self {
        let defaults = Self::default();
        Self { block: defaults.block.min(capacity / 16), capacity, ..defaults }.within_limits()
    }

    fn within_limits(self) -> Self {
        let block = self.block.clamp(64 << 10, 16 << 20);
        let capacity = self.capacity.max(4 * block);
        // A thread for each block would leave no room for the callers themselves.
        let threads = self.threads.min(16).min(capacity / block / 2);
        Self { block, capacity, threads, read_ahead: self.read_ahead }
    }
}

/// What a [`CachedSource`] did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Pieces of reads that found their block in memory.
    pub hits: u64,
    /// Pieces of reads that had to wait for their block, whoever was reading it.
    pub misses: u64,
    /// Blocks asked of the inner source.
    pub blocks_read: u64,
    /// Bytes that the inner source gave.
    pub bytes_read: u64,
    /// Of `blocks_read`, those that were read ahead.
    pub read_ahead: u64,
    /// Bytes in memory at the most, blocks in flight included.
    pub peak: u64,
}

/// A source with a bounded block cache and parallel read-ahead over another one.
///
/// Small reads in any order near places read before cost a copy; places read in sequence (a demuxer
/// has two or three: audio, video, tables) are read ahead by own threads, which end when this is
/// dropped. Errors are passed on to whoever waits and are not remembered.
pub struct CachedSource {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    inner: Arc<dyn Source>,
    size: u64,
    options: CacheOptions,
    max_blocks: usize,
    /// Cancelled when the cache is dropped; what the reading-ahead threads read under.
    stop: Cancel,
    state: Mutex<State>,
    /// Something changed: a block came, a place became free, a job was queued, somebody cancelled.
    changed: Condvar,
}

struct State {
    blocks: HashMap<u64, Block>,
    flights: HashMap<u64, Arc<Flight>>,
    queue: VecDeque<u64>,
    ahead: Ahead,
    tick: u64,
    stats: CacheStats,
}

struct Block {
    bytes: Arc<Vec<u8>>,
    used: u64,
}

/// One block on its way; those who wait hold on to it.
#[derive(Default)]
struct Flight {
    landed: OnceLock<Result<Arc<Vec<u8>>, SourceError>>,
}

impl CachedSource {
    /// A cache over `inner`; options out of range are moved to the nearest that is in it.
    pub fn new(inner: Arc<dyn Source>, options: CacheOptions) -> Self {
        let options = options.within_limits();
        let size = inner.size();
        let max_blocks = options.capacity / options.block;
        let blocks_in_all = size.div_ceil(options.block as u64);
        let shared = Arc::new(Shared {
            inner,
            size,
            options,
            max_blocks,
            stop: Cancel::new(),
            state: Mutex::new(State {
                blocks: HashMap::new(),
                flights: HashMap::new(),
                queue: VecDeque::new(),
                ahead: Ahead::new(options.read_ahead, max_blocks, blocks_in_all),
                tick: 0,
                stats: CacheStats::default(),
            }),
            changed: Condvar::new(),
        });
        let wanted = options.threads.min(usize::try_from(blocks_in_all).unwrap_or(usize::MAX));
        let threads = (0..wanted)
            .filter_map(|index| {
                let shared = Arc::clone(&shared);
                // Without a thread the callers read for themselves: slower, not wrong.
                std::thread::Builder::new()
                    .name(format!("read-ahead-{index}"))
                    .spawn(move || shared.read_ahead())
                    .inspect_err(|error| log::warn!("no thread to read ahead with: {error}"))
                    .ok()
            })
            .collect();
        Self { shared, threads }
    }

    /// What was done so far.
    pub fn stats(&self) -> CacheStats {
        self.shared.lock().stats
    }

    /// The options in use, after the limits.
    pub fn options(&self) -> CacheOptions {
        self.shared.options
    }
}

impl std::fmt::Debug for CachedSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CachedSource")
            .field("inner", &self.shared.inner.identity().uri)
            .field("options", &self.shared.options)
            .field("stats", &self.stats())
            .finish()
    }
}

impl Drop for CachedSource {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        self.shared.wake();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a thread that reads ahead panicked");
            }
        }
    }
}

impl Source for CachedSource {
    fn identity(&self) -> SourceIdentity {
        self.shared.inner.identity()
    }

    fn size(&self) -> u64 {
        self.shared.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8], cancel: &Cancel) -> Result<usize, SourceError> {
        let left = usize::try_from(self.shared.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let size = self.shared.options.block as u64;
        let mut done = 0;
        while done < wanted {
            let at = offset + done as u64;
            let bytes = self.shared.block(at / size, cancel)?;
            let within = (at % size) as usize;
            let piece = (bytes.len() - within).min(wanted - done);
            buffer[done..done + piece].copy_from_slice(&bytes[within..within + piece]);
            done += piece;
        }
        Ok(done)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wake everybody. Under the lock, so that nobody who looked just before misses it.
    fn wake(&self) {
        let _state = self.lock();
        self.changed.notify_all();
    }

    /// The bytes of block `index`, from memory, from whoever is reading it, or from the inner source.
    fn block(self: &Arc<Self>, index: u64, cancel: &Cancel) -> Result<Arc<Vec<u8>>, SourceError> {
        if cancel.is_cancelled() {
            return Err(SourceError::Cancelled);
        }
        let mut state = self.lock();
        state.tick += 1;
        let tick = state.tick;
        self.plan_ahead(&mut state, index);
        if let Some(block) = state.blocks.get_mut(&index) {
            block.used = tick;
            let bytes = Arc::clone(&block.bytes);
            state.stats.hits += 1;
            return Ok(bytes);
        }
        state.stats.misses += 1;
        // Registered without the lock: a handle cancelled already calls back on this very thread.
        drop(state);
        let shared = Arc::clone(self);
        let _woken = cancel.on_cancel(move || shared.wake());
        let mut state = self.lock();
        loop {
            if cancel.is_cancelled() {
                return Err(SourceError::Cancelled);
            }
            if let Some(block) = state.blocks.get_mut(&index) {
                block.used = tick;
                return Ok(Arc::clone(&block.bytes));
            }
            if let Some(flight) = state.flights.get(&index).map(Arc::clone) {
                while flight.landed.get().is_none() && !cancel.is_cancelled() {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                match flight.landed.get() {
                    Some(Ok(bytes)) => return Ok(Arc::clone(bytes)),
                    // Whoever read it gave up for a reason of its own; this caller has not.
                    Some(Err(SourceError::Cancelled)) | None => continue,
                    Some(Err(error)) => return Err(error.clone()),
                }
            }
            if let Some(flight) = self.depart(&mut state, index) {
                state.queue.retain(|queued| *queued != index);
                drop(state);
                return self.fetch(index, &flight, cancel);
            }
            // Everything in memory is in flight; a place becomes free when one lands.
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Queue what should be read ahead after a read of `index`.
    fn plan_ahead(&self, state: &mut State, index: u64) {
        if self.options.threads == 0 {
            return;
        }
        let State { blocks, flights, queue, ahead, .. } = state;
        let Some(wanted) = ahead.read(index) else { return };
        // What was queued for a place that is left behind is not read any more.
        queue.retain(|queued| ahead.wants(*queued));
        let mut added = false;
        for next in wanted {
            if !blocks.contains_key(&next) && !flights.contains_key(&next) && !queue.contains(&next) {
                queue.push_back(next);
                added = true;
            }
        }
        if added {
            self.changed.notify_all();
        }
    }

    /// Take a place in memory for block `index`; `None` where all places are in flight.
    fn depart(&self, state: &mut State, index: u64) -> Option<Arc<Flight>> {
        while state.blocks.len() + state.flights.len() >= self.max_blocks {
            let oldest = state.blocks.iter().min_by_key(|(_, block)| block.used).map(|(index, _)| *index)?;
            state.blocks.remove(&oldest);
        }
        let flight = Arc::new(Flight::default());
        state.flights.insert(index, Arc::clone(&flight));
        let held = (state.blocks.len() + state.flights.len()) * self.options.block;
        state.stats.peak = state.stats.peak.max(held as u64);
        Some(flight)
    }

    /// Read block `index` from the inner source and land it, whatever comes of it.
    fn fetch(&self, index: u64, flight: &Flight, cancel: &Cancel) -> Result<Arc<Vec<u8>>, SourceError> {
        /// Lands the flight even where the inner source panics, so that nobody waits for ever.
        struct Landing<'a>(&'a Shared, u64, &'a Flight, Result<Arc<Vec<u8>>, SourceError>);
        impl Drop for Landing<'_> {
            fn drop(&mut self) {
                let mut state = self.0.lock();
                state.flights.remove(&self.1);
                state.stats.blocks_read += 1;
                if let Ok(bytes) = &self.3 {
                    state.stats.bytes_read += bytes.len() as u64;
                    let used = state.tick;
                    state.blocks.insert(self.1, Block { bytes: Arc::clone(bytes), used });
                }
                let _first = self.2.landed.set(self.3.clone());
                self.0.changed.notify_all();
            }
        }
        let mut landing = Landing(self, index, flight, Err(SourceError::Cancelled));
        landing.3 = self.read_block(index, cancel).map(Arc::new);
        landing.3.clone()
    }

    fn read_block(&self, index: u64, cancel: &Cancel) -> Result<Vec<u8>, SourceError> {
        let start = index * self.options.block as u64;
        let length = (self.options.block as u64).min(self.size - start) as usize;
        let mut bytes = vec![0; length];
        let mut done = 0;
        while done < length {
            match self.inner.read_at(start + done as u64, &mut bytes[done..], cancel)? {
                0 => {
                    return Err(SourceError::Changed {
                        uri: self.inner.identity().uri,
                        reason: format!(
                            "it ends at byte {} now and had {} bytes when it was opened",
                            start + done as u64,
                            self.size
                        ),
                    });
                }
                more => done += more,
            }
        }
        Ok(bytes)
    }

    /// What each thread does until the cache is dropped.
    fn read_ahead(&self) {
        let mut state = self.lock();
        while !self.stop.is_cancelled() {
            let Some(index) = state.queue.pop_front() else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if state.blocks.contains_key(&index) || state.flights.contains_key(&index) {
                continue;
            }
            // No place: the callers hold them all, and reading ahead is a favour, not a duty.
            let Some(flight) = self.depart(&mut state, index) else { continue };
            state.stats.read_ahead += 1;
            drop(state);
            if let Err(error) = self.fetch(index, &flight, &self.stop) {
                log::debug!("reading ahead: {error}");
            }
            state = self.lock();
        }
    }
}
