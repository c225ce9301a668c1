//! Any run of calls on SQS, held against what is left of the model where no order is promised. Holds outlast the test:
//! the server's clock cannot be turned.

use crate::{Bench, Kind, seconds};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use transcode_svc::job::Priority;
use transcode_svc::queue::{Delivery, Depth, Hold, rota};

#[derive(Debug, Clone)]
enum Op {
    Push(Priority),
    Take,
    Extend(prop::sample::Index),
    Remove(prop::sample::Index),
    GiveBack(prop::sample::Index),
    Bury(prop::sample::Index),
    Revive(prop::sample::Index),
    Crash,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let which = || any::<prop::sample::Index>();
    let op = prop_oneof![
        6 => prop::sample::select(Priority::ALL.to_vec()).prop_map(Op::Push),
        8 => Just(Op::Take),
        2 => which().prop_map(Op::Extend),
        3 => which().prop_map(Op::Remove),
        3 => which().prop_map(Op::GiveBack),
        2 => which().prop_map(Op::Bury),
        1 => which().prop_map(Op::Revive),
        1 => Just(Op::Crash),
    ];
    prop::collection::vec(op, 1..50)
}

#[derive(Default)]
struct Model {
    pushed: u32,
    /// Counted by each process for itself.
    turn: u64,
    waiting: BTreeMap<Priority, BTreeSet<String>>,
    held: BTreeMap<usize, (Priority, String)>,
    dead: BTreeSet<String>,
    lines: BTreeMap<String, Priority>,
}

impl Model {
    fn wait(&mut self, line: Priority, body: String) {
        self.waiting.entry(line).or_default().insert(body);
    }

    fn depth(&self) -> Depth {
        let waiting = |line| self.waiting.get(&line).map_or(0, |line| line.len() as u64);
        Depth {
            high: waiting(Priority::High),
            normal: waiting(Priority::Normal),
            low: waiting(Priority::Low),
            held: self.held.len() as u64,
            dead: self.dead.len() as u64,
            ..Depth::default()
        }
    }
}

fn kept(yes: bool) -> Hold {
    if yes { Hold::Kept } else { Hold::Lost }
}

fn same(ops: &[Op]) -> Result<(), TestCaseError> {
    let bench = Bench::new(Kind::Sqs);
    let mut queue = bench.queue();
    let mut model = Model::default();
    let mut takes: Vec<Delivery> = Vec::new();
    for op in ops {
        let chosen = |which: &prop::sample::Index| (!takes.is_empty()).then(|| which.index(takes.len()));
        match op {
            Op::Push(priority) => {
                model.pushed += 1;
                let body = format!("message {}", model.pushed);
                queue.push(*priority, &body).unwrap();
                model.lines.insert(body.clone(), *priority);
                model.wait(*priority, body);
            }
            Op::Take => {
                let taken = queue.take("worker", seconds(600), Duration::ZERO).unwrap();
                let line = rota::order(model.turn)
                    .into_iter()
                    .find(|line| model.waiting.get(line).is_some_and(|line| !line.is_empty()));
                prop_assert_eq!(taken.as_ref().map(|taken| taken.priority), line);
                let Some(taken) = taken else { continue };
                let of_that_line = model.waiting.entry(taken.priority).or_default().remove(&taken.body);
                prop_assert!(of_that_line, "{:?}", taken);
                model.turn += 1;
                model.held.insert(takes.len(), (taken.priority, taken.body.clone()));
                takes.push(taken);
            }
            Op::Extend(which) => {
                let Some(take) = chosen(which) else { continue };
                let good = model.held.contains_key(&take);
                prop_assert_eq!(queue.extend(&takes[take], seconds(600)).unwrap(), kept(good));
            }
            Op::Remove(which) => {
                let Some(take) = chosen(which) else { continue };
                let good = model.held.remove(&take).is_some();
                prop_assert_eq!(queue.remove(&takes[take]).unwrap(), kept(good));
            }
            Op::GiveBack(which) => {
                let Some(take) = chosen(which) else { continue };
                let good = model.held.remove(&take);
                prop_assert_eq!(queue.give_back(&takes[take], Duration::ZERO).unwrap(), kept(good.is_some()));
                if let Some((line, body)) = good {
                    model.wait(line, body);
                }
            }
            Op::Bury(which) => {
                let Some(take) = chosen(which) else { continue };
                let good = model.held.remove(&take);
                prop_assert_eq!(queue.bury(&takes[take], "it is odd").unwrap(), kept(good.is_some()));
                model.dead.extend(good.map(|(_, body)| body));
            }
            Op::Revive(which) => {
                let letters = queue.dead_letters(100).unwrap();
                let bodies: BTreeSet<_> = letters.iter().map(|letter| letter.body.clone()).collect();
                prop_assert_eq!(&bodies, &model.dead);
                prop_assert!(!queue.revive(1).unwrap(), "there is none of that number");
                let Some(letter) = (!letters.is_empty()).then(|| which.get(&letters)) else { continue };
                prop_assert_eq!(letter.priority, model.lines[&letter.body]);
                prop_assert!(queue.revive(letter.number).unwrap());
                model.dead.remove(&letter.body);
                model.wait(letter.priority, letter.body.clone());
            }
            Op::Crash => {
                queue = bench.queue();
                model.turn = 0;
            }
        }
        prop_assert_eq!(queue.depth().unwrap(), model.depth(), "after {:?}", op);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn sqs_does_what_the_model_without_order_does(ops in ops()) {
        same(&ops)?;
    }
}
