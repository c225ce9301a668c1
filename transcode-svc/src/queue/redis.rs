//! The queue in Redis, beside producers that `LPUSH` into `transcode_jobs` as they always did.
//!
//! The lines are their lists. Everything else begins with `transcode:queue:{name of the normal line}:`.
//! Each step is one Lua script, so a crash falls between steps and never into one.
//!
//! | key | holds |
//! |---|---|
//! | `landing:{line}:{worker}` | where `BLMOVE` puts a message before it is held |
//! | `landings`, `stranded` | the landings in use; those seen with a message in them, and since when |
//! | `held`, `due` | messages in somebody's hands, and until when; also those given back for later |
//! | `counters` | takes, receipts, dead letters so far |
//! | `dead` | dead letters |
//!
//! A take first asks a script, which moves and holds in one step. Where nothing waits it blocks in
//! `BLMOVE`, for a second at a time on the normal line: what is pushed there starts at once, what is
//! pushed into the other lines within that second. Whoever dies between `BLMOVE` and the hold leaves the
//! message in its landing; whoever takes next finds it there and puts it back.

use super::{DeadLetter, Delivery, Depth, Hold, Queue, QueueError, rota};
use crate::broker::Redis;
use crate::job::Priority;
use crate::time::{Clock, Timestamp};
use redis::{FromRedisValue, RedisResult, Script};
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long one `BLMOVE` waits: within it other lines, delayed messages and lost holds are not looked at.
const SLICE: Duration = Duration::from_secs(1);

/// A message that lies in a landing for so long was left behind: the step after is a millisecond away, a
/// worker that was stopped in between finds its message gone and goes on.
const GRACE: Duration = Duration::from_secs(10);

/// The lists of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lines {
    /// `{0}_high`, `{0}`, `{0}_low`.
    Three(String),
    /// One list: the worker is pinned to it (`QUEUE_NAME`). All priorities are one there.
    One(String),
}

impl Default for Lines {
    /// Those of the Redis workers' producers: `transcode_jobs` and its two neighbours.
    fn default() -> Self {
        Self::Three("transcode_jobs".to_owned())
    }
}

/// The queue in a [`Redis`].
pub struct RedisQueue {
    redis: Arc<Redis>,
    clock: Arc<dyn Clock>,
    lines: Lines,
    scripts: Scripts,
}

struct Scripts {
    take: Script,
    land: Script,
    extend: Script,
    remove: Script,
    give_back: Script,
    bury: Script,
    revive: Script,
    depth: Script,
}

/// What the scripts have in common: the keys, taking hold, and whether a receipt is still good.
const COMMON: &str = r"
local lines = {KEYS[1], KEYS[2], KEYS[3]}
local held, due, counters, landings, stranded, dead = KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local function hold(line, body, ends)
  local receipt = string.format('%016d', redis.call('HINCRBY', counters, 'receipt', 1))
  redis.call('HINCRBY', counters, 'turn', 1)
  redis.call('HSET', held, receipt, line .. 'h' .. body)
  redis.call('ZADD', due, ends, receipt)
  return {receipt, line, body}
end
local function good(receipt, now)
  local entry = redis.call('HGET', held, receipt)
  if not entry or entry:sub(2, 2) ~= 'h' then return nil end
  if tonumber(redis.call('ZSCORE', due, receipt)) <= tonumber(now) then return nil end
  return entry
end
local function drop(receipt)
  redis.call('HDEL', held, receipt)
  redis.call('ZREM', due, receipt)
end
";

/// ARGV: now, end of the hold, grace, the rota as digits, how landings begin, our landing or nothing.
const TAKE: &str = r"
local now = tonumber(ARGV[1])
local back = redis.call('ZRANGEBYSCORE', due, '-inf', now)
for i = #back, 1, -1 do
  local entry = redis.call('HGET', held, back[i])
  redis.call('RPUSH', lines[tonumber(entry:sub(1, 1))], entry:sub(3))
  if entry:sub(2, 2) == 'd' then redis.call('HINCRBY', counters, 'delayed', -1) end
  drop(back[i])
end
for _, landing in ipairs(redis.call('ZRANGE', landings, 0, -1)) do
  local list = ARGV[5] .. landing
  local seen = redis.call('HGET', stranded, landing)
  if redis.call('LLEN', list) == 0 then
    if seen then redis.call('HDEL', stranded, landing) end
    if now - redis.call('ZSCORE', landings, landing) > 3600000 then redis.call('ZREM', landings, landing) end
  elseif not seen then
    redis.call('HSET', stranded, landing, now)
  elseif now - seen >= tonumber(ARGV[3]) then
    repeat
      local body = redis.call('LPOP', list)
      if body then redis.call('RPUSH', lines[tonumber(landing:sub(1, 1))], body) end
    until not body
    redis.call('HDEL', stranded, landing)
  end
end
local turn = tonumber(redis.call('HGET', counters, 'turn') or 0) % (#ARGV[4] / 3)
for i = 1, 3 do
  local line = tonumber(ARGV[4]:sub(turn * 3 + i, turn * 3 + i))
  local body = redis.call('RPOP', lines[line])
  if body then return hold(line, body, ARGV[2]) end
end
if ARGV[6] ~= '' then redis.call('ZADD', landings, now, ARGV[6]) end
return nil
";

/// The tenth key is the landing. ARGV: its name, the line, the message, the end of the hold.
const LAND: &str = r"
if redis.call('LREM', KEYS[10], 1, ARGV[3]) == 0 then return nil end
redis.call('HDEL', stranded, ARGV[1])
return hold(tonumber(ARGV[2]), ARGV[3], ARGV[4])
";

const EXTEND: &str = r"
if not good(ARGV[1], ARGV[2]) then return 0 end
redis.call('ZADD', due, ARGV[3], ARGV[1])
return 1
";

const REMOVE: &str = r"
if not good(ARGV[1], ARGV[2]) then return 0 end
drop(ARGV[1])
return 1
";

const GIVE_BACK: &str = r"
local entry = good(ARGV[1], ARGV[2])
if not entry then return 0 end
redis.call('HSET', held, ARGV[1], entry:sub(1, 1) .. 'd' .. entry:sub(3))
redis.call('ZADD', due, ARGV[3], ARGV[1])
redis.call('HINCRBY', counters, 'delayed', 1)
return 1
";

const BURY: &str = r"
local entry = good(ARGV[1], ARGV[2])
if not entry then return 0 end
local number = redis.call('HINCRBY', counters, 'dead', 1)
local letter = {line = tonumber(entry:sub(1, 1)), body = entry:sub(3), reason = ARGV[3], at = tonumber(ARGV[2])}
redis.call('HSET', dead, number, cjson.encode(letter))
drop(ARGV[1])
return 1
";

const REVIVE: &str = r"
local letter = redis.call('HGET', dead, ARGV[1])
if not letter then return 0 end
letter = cjson.decode(letter)
redis.call('LPUSH', lines[letter.line], letter.body)
redis.call('HDEL', dead, ARGV[1])
return 1
";

const DEPTH: &str = r"
local delayed = tonumber(redis.call('HGET', counters, 'delayed') or 0)
return {
  redis.call('LLEN', lines[1]), redis.call('LLEN', lines[2]), redis.call('LLEN', lines[3]),
  redis.call('HLEN', held) - delayed, delayed, redis.call('HLEN', dead),
}
";

/// Receipt, line and message; none where nothing waits.
type Taken = Option<(String, usize, Vec<u8>)>;

impl RedisQueue {
    /// The queue of those lists. `clock` is as a rule the server's own: the [`Redis`] itself.
    pub fn new(redis: Arc<Redis>, clock: Arc<dyn Clock>, lines: Lines) -> Self {
        let script = |text: &str| Script::new(&format!("{COMMON}{text}"));
        let scripts = Scripts {
            take: script(TAKE),
            land: script(LAND),
            extend: script(EXTEND),
            remove: script(REMOVE),
            give_back: script(GIVE_BACK),
            bury: script(BURY),
            revive: script(REVIVE),
            depth: script(DEPTH),
        };
        Self { redis, clock, lines, scripts }
    }

    /// The list of a priority.
    pub fn list(&self, priority: Priority) -> String {
        match (&self.lines, priority) {
            (Lines::One(name), _) | (Lines::Three(name), Priority::Normal) => name.clone(),
            (Lines::Three(name), Priority::High) => format!("{name}_high"),
            (Lines::Three(name), Priority::Low) => format!("{name}_low"),
        }
    }

    fn key(&self, name: &str) -> String {
        let (Lines::Three(queue) | Lines::One(queue)) = &self.lines;
        format!("transcode:queue:{queue}:{name}")
    }

    /// The rota as the scripts read it: three digits a take.
    fn rota(&self) -> String {
        match self.lines {
            Lines::One(_) => "222".to_owned(),
            Lines::Three(_) => {
                (0..rota::PERIOD).flat_map(rota::order).map(|line| number(line).to_string()).collect()
            }
        }
    }

    /// Run a script on this queue's keys.
    fn run<T: FromRedisValue>(
        &self,
        what: &'static str,
        script: &Script,
        landing: Option<&str>,
        arguments: &[&[u8]],
    ) -> Result<T, QueueError> {
        let mut call = script.prepare_invoke();
        for priority in Priority::ALL {
            call.key(self.list(priority));
        }
        for name in ["held", "due", "counters", "landings", "stranded", "dead"] {
            call.key(self.key(name));
        }
        if let Some(landing) = landing {
            call.key(landing);
        }
        for argument in arguments {
            call.arg(*argument);
        }
        self.failed(what, self.redis.call(Duration::ZERO, |server| call.invoke(server)))
    }

    fn failed<T>(&self, what: &'static str, done: RedisResult<T>) -> Result<T, QueueError> {
        done.map_err(|error| QueueError::Failed {
            queue: format!("{} ({})", self.redis.name(), self.list(Priority::Normal)),
            what,
            source: error.into(),
        })
    }

    fn held(
        &self,
        what: &'static str,
        script: &Script,
        delivery: &Delivery,
        more: &str,
    ) -> Result<Hold, QueueError> {
        let now = text(self.clock.now());
        let arguments = [delivery.receipt.as_bytes(), now.as_bytes(), more.as_bytes()];
        self.run::<u8>(what, script, None, &arguments).map(|done| Hold::kept(done == 1))
    }

    /// Wait for a message on the normal line, for `slice`.
    fn wait(&self, landing: &str, slice: Duration) -> Result<Option<Vec<u8>>, QueueError> {
        let list = self.list(Priority::Normal);
        // 0 would wait for ever.
        let seconds = slice.max(Duration::from_millis(10)).as_secs_f64();
        let moved = self.redis.call(slice, |server| {
            redis::cmd("BLMOVE").arg(list).arg(landing).arg("RIGHT").arg("LEFT").arg(seconds).query(server)
        });
        self.failed("wait for a message", moved)
    }
}

impl Queue for RedisQueue {
    fn push(&self, priority: Priority, body: &str) -> Result<(), QueueError> {
        let list = self.list(priority);
        let done =
            self.redis.call(Duration::ZERO, |server| redis::cmd("LPUSH").arg(list).arg(body).exec(server));
        self.failed("take a message in", done)
    }

    fn take(&self, worker: &str, hold: Duration, wait: Duration) -> Result<Option<Delivery>, QueueError> {
        let until = Instant::now() + wait;
        let landing = format!("{}:{worker}", number(Priority::Normal));
        let (landings, rota) = (self.key("landing:"), self.rota());
        let list = format!("{landings}{landing}");
        let grace = GRACE.as_millis().to_string();
        loop {
            let now = self.clock.now();
            let left = until.saturating_duration_since(Instant::now());
            let ours = if left.is_zero() { "" } else { landing.as_str() };
            let (from, to) = (text(now), text(now + hold));
            let arguments = [from.as_str(), &to, &grace, &rota, &landings, ours].map(str::as_bytes);
            let taken: Taken = self.run("hand out a message", &self.scripts.take, None, &arguments)?;
            if let Some(taken) = taken {
                return Ok(Some(delivery(taken)));
            }
            if left.is_zero() {
                return Ok(None);
            }
            let Some(body) = self.wait(&list, left.min(SLICE))? else { continue };
            let ends = text(self.clock.now() + hold);
            let line = number(Priority::Normal).to_string();
            let arguments = [landing.as_bytes(), line.as_bytes(), &body, ends.as_bytes()];
            let held: Taken = self.run("hold a message", &self.scripts.land, Some(&list), &arguments)?;
            if let Some(held) = held {
                return Ok(Some(delivery(held)));
            }
        }
    }

    fn extend(&self, delivery: &Delivery, hold: Duration) -> Result<Hold, QueueError> {
        let ends = text(self.clock.now() + hold);
        self.held("hold a message longer", &self.scripts.extend, delivery, &ends)
    }

    fn remove(&self, delivery: &Delivery) -> Result<Hold, QueueError> {
        self.held("remove a message", &self.scripts.remove, delivery, "")
    }

    fn give_back(&self, delivery: &Delivery, after: Duration) -> Result<Hold, QueueError> {
        let due = text(self.clock.now() + after);
        self.held("take a message back", &self.scripts.give_back, delivery, &due)
    }

    fn bury(&self, delivery: &Delivery, reason: &str) -> Result<Hold, QueueError> {
        self.held("lay a message aside", &self.scripts.bury, delivery, reason)
    }

    fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        let key = self.key("dead");
        let all: RedisResult<Vec<(u64, Vec<u8>)>> =
            self.redis.call(Duration::ZERO, |server| redis::cmd("HGETALL").arg(key).query(server));
        let mut all = self.failed("list its dead letters", all)?;
        all.sort_by_key(|(number, _)| *number);
        let letters = all.into_iter().take(limit).map(|(number, bytes)| {
            let letter = serde_json::from_str::<Letter>(&String::from_utf8_lossy(&bytes));
            let letter = letter.map_err(|error| QueueError::Unusable {
                queue: self.redis.name().to_owned(),
                reason: format!("dead letter {number} cannot be read: {error}"),
            })?;
            let Letter { line, body, reason, at } = letter;
            Ok(DeadLetter { number, priority: priority(line), body, reason, at })
        });
        letters.collect()
    }

    fn revive(&self, number: u64) -> Result<bool, QueueError> {
        let number = number.to_string();
        let done: u8 = self.run("revive a dead letter", &self.scripts.revive, None, &[number.as_bytes()])?;
        Ok(done == 1)
    }

    fn depth(&self) -> Result<Depth, QueueError> {
        let [high, normal, low, held, delayed, dead]: [u64; 6] =
            self.run("count its messages", &self.scripts.depth, None, &[])?;
        let only = matches!(self.lines, Lines::One(_));
        let (high, low) = if only { (0, 0) } else { (high, low) };
        Ok(Depth { high, normal, low, held, delayed, dead, oldest: None })
    }
}

#[derive(Deserialize)]
struct Letter {
    line: usize,
    body: String,
    reason: String,
    at: Timestamp,
}

fn delivery((receipt, line, body): (String, usize, Vec<u8>)) -> Delivery {
    // What is no UTF-8 is no job either: whoever reads it will lay it aside, as the bytes it is.
    Delivery { receipt, priority: priority(line), body: String::from_utf8_lossy(&body).into_owned() }
}

/// The scripts count lines from 1.
const fn number(priority: Priority) -> usize {
    match priority {
        Priority::High => 1,
        Priority::Normal => 2,
        Priority::Low => 3,
    }
}

const fn priority(number: usize) -> Priority {
    match number {
        1 => Priority::High,
        3 => Priority::Low,
        _ => Priority::Normal,
    }
}

fn text(time: Timestamp) -> String {
    time.millis().to_string()
}
