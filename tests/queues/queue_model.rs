//! Any run of calls, on every queue, held against a model of a few lines.

use crate::{Bench, Kind, ORDERED, START, seconds};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use transcode_svc::job::Priority;
use transcode_svc::queue::{Delivery, Depth, Hold, rota};

#[derive(Debug, Clone)]
enum Op {
    Push(Priority),
    Take(u64),
    Extend(prop::sample::Index, u64),
    Remove(prop::sample::Index),
    GiveBack(prop::sample::Index, u64),
    Bury(prop::sample::Index),
    Revive(prop::sample::Index),
    Pass(u64),
    /// Whoever has the queue open dies, and another opens it.
    Crash,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let priority = prop::sample::select(Priority::ALL.to_vec());
    let which = || any::<prop::sample::Index>();
    let op = prop_oneof![
        6 => priority.prop_map(Op::Push),
        8 => (1..40_u64).prop_map(Op::Take),
        2 => (which(), 1..40_u64).prop_map(|(which, hold)| Op::Extend(which, hold)),
        3 => which().prop_map(Op::Remove),
        3 => (which(), 0..30_u64).prop_map(|(which, after)| Op::GiveBack(which, after)),
        1 => which().prop_map(Op::Bury),
        1 => which().prop_map(Op::Revive),
        4 => (0..30_u64).prop_map(Op::Pass),
        1 => Just(Op::Crash),
    ];
    prop::collection::vec(op, 1..60)
}

/// A queue as the documentation has it. Times are seconds from the start.
#[derive(Default)]
struct Model {
    now: u64,
    pushed: u32,
    takes: u64,
    waiting: BTreeMap<Priority, VecDeque<String>>,
    /// By number of the take: until when, in whose hands or (false) in nobody's, line, message.
    away: BTreeMap<u64, (u64, bool, Priority, String)>,
    dead: Vec<(u64, Priority, String)>,
    deaths: u64,
}

impl Model {
    fn push(&mut self, priority: Priority) -> String {
        self.pushed += 1;
        let body = format!("message {}", self.pushed);
        self.waiting.entry(priority).or_default().push_back(body.clone());
        body
    }

    fn take(&mut self, hold: u64) -> Option<(u64, Priority, String)> {
        let mut back: Vec<_> = self
            .away
            .iter()
            .filter(|(_, away)| away.0 <= self.now)
            .map(|(take, away)| (away.0, *take))
            .collect();
        back.sort();
        for (_, take) in back.into_iter().rev() {
            let (_, _, line, body) = self.away.remove(&take).unwrap();
            self.waiting.entry(line).or_default().push_front(body);
        }
        for line in rota::order(self.takes) {
            if let Some(body) = self.waiting.entry(line).or_default().pop_front() {
                self.takes += 1;
                self.away.insert(self.takes, (self.now + hold, true, line, body.clone()));
                return Some((self.takes, line, body));
            }
        }
        None
    }

    /// The entry of a take whose hold is good.
    fn held(&mut self, take: u64) -> Option<&mut (u64, bool, Priority, String)> {
        self.away.get_mut(&take).filter(|away| away.1 && away.0 > self.now)
    }

    fn depth(&self) -> Depth {
        let waiting = |line| self.waiting.get(&line).map_or(0, |line| line.len() as u64);
        let away = |held| self.away.values().filter(|away| away.1 == held).count() as u64;
        Depth {
            high: waiting(Priority::High),
            normal: waiting(Priority::Normal),
            low: waiting(Priority::Low),
            held: away(true),
            delayed: away(false),
            dead: self.dead.len() as u64,
            oldest: None,
        }
    }
}

fn kept(expected: bool) -> Hold {
    if expected { Hold::Kept } else { Hold::Lost }
}

fn same(kind: Kind, ops: &[Op]) -> Result<(), TestCaseError> {
    let bench = Bench::new(kind);
    let mut queue = bench.queue();
    let mut model = Model::default();
    let mut takes: Vec<(u64, Delivery)> = Vec::new();
    for op in ops {
        let chosen = |which: &prop::sample::Index| (!takes.is_empty()).then(|| which.get(&takes).clone());
        match op {
            Op::Push(priority) => queue.push(*priority, &model.push(*priority)).unwrap(),
            Op::Take(hold) => {
                let taken = queue.take("worker", seconds(*hold), Duration::ZERO).unwrap();
                let expected = model.take(*hold);
                let found = taken.as_ref().map(|taken| (taken.priority, taken.body.clone()));
                prop_assert_eq!(found, expected.clone().map(|(_, line, body)| (line, body)));
                takes.extend(expected.map(|(take, _, _)| take).zip(taken));
            }
            Op::Extend(which, hold) => {
                let Some((take, delivery)) = chosen(which) else { continue };
                let until = model.now + hold;
                let good = model.held(take).map(|away| away.0 = until).is_some();
                prop_assert_eq!(queue.extend(&delivery, seconds(*hold)).unwrap(), kept(good));
            }
            Op::Remove(which) => {
                let Some((take, delivery)) = chosen(which) else { continue };
                let good = model.held(take).is_some();
                if good {
                    model.away.remove(&take);
                }
                prop_assert_eq!(queue.remove(&delivery).unwrap(), kept(good));
            }
            Op::GiveBack(which, after) => {
                let Some((take, delivery)) = chosen(which) else { continue };
                let due = model.now + after;
                let good = model.held(take).map(|away| (away.0, away.1) = (due, false)).is_some();
                prop_assert_eq!(queue.give_back(&delivery, seconds(*after)).unwrap(), kept(good));
            }
            Op::Bury(which) => {
                let Some((take, delivery)) = chosen(which) else { continue };
                let good = model.held(take).is_some();
                if good {
                    let (_, _, line, body) = model.away.remove(&take).unwrap();
                    model.deaths += 1;
                    model.dead.push((model.deaths, line, body));
                }
                prop_assert_eq!(queue.bury(&delivery, "it is odd").unwrap(), kept(good));
            }
            Op::Revive(which) => {
                let at = which.index(model.dead.len() + 1);
                let number = model.dead.get(at).map_or(1_000, |letter| letter.0);
                prop_assert_eq!(queue.revive(number).unwrap(), at < model.dead.len());
                if at < model.dead.len() {
                    let (_, line, body) = model.dead.remove(at);
                    model.waiting.entry(line).or_default().push_back(body);
                }
            }
            Op::Pass(time) => {
                model.now += time;
                bench.clock.advance(seconds(*time));
            }
            Op::Crash => queue = bench.queue(),
        }
        let depth = queue.depth().unwrap();
        prop_assert_eq!(Depth { oldest: None, ..depth }, model.depth(), "after {:?}", op);
        prop_assert!(depth.oldest.is_none_or(|oldest| oldest >= START));
    }
    let letters = queue.dead_letters(100).unwrap();
    let letters: Vec<_> =
        letters.into_iter().map(|letter| (letter.number, letter.priority, letter.body)).collect();
    prop_assert_eq!(letters, model.dead.clone());
    // Nothing is lost: when all holds have run out, every message that is neither removed nor buried comes.
    bench.clock.advance(seconds(100));
    model.now += 100;
    while let Some((_, line, body)) = model.take(1_000) {
        let taken =
            queue.take("worker", seconds(1_000), Duration::ZERO).unwrap().expect("as many as the model has");
        prop_assert_eq!((taken.priority, taken.body), (line, body));
    }
    prop_assert_eq!(queue.take("worker", seconds(1), Duration::ZERO).unwrap(), None);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_queue_does_what_the_model_does(ops in ops()) {
        for kind in ORDERED {
            same(kind, &ops)?;
        }
    }
}
