//! What a person counts on, each by itself, on every queue.

use crate::{Bench, Kind, QUEUES, START, seconds};
use std::time::{Duration, Instant};
use transcode_svc::job::Priority;
use transcode_svc::queue::{Hold, Queue};
use transcode_svc::time::{Clock as _, SystemClock};

fn next(queue: &dyn Queue) -> String {
    let taken = queue.take("worker", seconds(600), Duration::ZERO).unwrap().expect("a message");
    assert_eq!(queue.remove(&taken).unwrap(), Hold::Kept);
    taken.body
}

#[test]
fn high_ones_pass_a_hundred_low_ones_and_low_ones_do_not_starve() {
    for kind in QUEUES {
        let bench = Bench::new(kind);
        let queue = bench.queue();
        for n in 0..100 {
            queue.push(Priority::Low, &format!("low {n}")).unwrap();
        }
        for n in 0..40 {
            queue.push(Priority::High, &format!("high {n}")).unwrap();
        }
        let order: Vec<String> = (0..48).map(|_| next(&*queue)).collect();
        assert!(order[0].starts_with("high"), "{kind:?}: the first high one waits for nobody");
        let low: Vec<_> = order.iter().enumerate().filter(|(_, body)| body.starts_with("low")).collect();
        let at: Vec<usize> = low.iter().take(2).map(|(at, _)| *at).collect();
        assert_eq!(at, [15, 31], "{kind:?}: one of sixteen");
        if kind == Kind::Sqs {
            continue;
        }
        let high: Vec<_> = order.iter().filter(|body| body.starts_with("high")).cloned().collect();
        assert_eq!(
            high,
            (0..40).map(|n| format!("high {n}")).collect::<Vec<_>>(),
            "{kind:?}: in their order"
        );
        assert_eq!(low[0].1, "low 0", "{kind:?}: and the low ones in theirs");
    }
}

#[test]
fn ten_at_once_come_in_the_order_in_which_they_were_pushed() {
    for kind in QUEUES {
        let bench = Bench::new(kind);
        let queue = bench.queue();
        (0..10).for_each(|n| queue.push(Priority::Normal, &n.to_string()).unwrap());
        let mut order: Vec<String> = (0..10).map(|_| next(&*queue)).collect();
        if kind == Kind::Sqs {
            order.sort();
        }
        assert_eq!(order, (0..10).map(|n| n.to_string()).collect::<Vec<_>>(), "{kind:?}");
    }
}

#[test]
fn one_message_goes_to_one_of_many_workers() {
    for kind in QUEUES {
        let bench = Bench::new(kind);
        let queue = bench.queue();
        (0..60).for_each(|n| queue.push(Priority::Normal, &n.to_string()).unwrap());
        let mut all: Vec<String> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..6)
                .map(|worker| {
                    let queue = bench.queue();
                    scope.spawn(move || {
                        let worker = format!("worker {worker}");
                        let take = || queue.take(&worker, seconds(600), Duration::ZERO).unwrap();
                        std::iter::from_fn(take).map(|taken| taken.body).collect::<Vec<_>>()
                    })
                })
                .collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        all.sort_by_key(|body| body.parse::<u32>().unwrap());
        assert_eq!(all, (0..60).map(|n| n.to_string()).collect::<Vec<_>>(), "{kind:?}");
    }
}

#[test]
fn a_waiting_worker_gets_what_is_pushed_into_any_line() {
    for kind in QUEUES {
        for priority in Priority::ALL {
            let bench = Bench::new(kind);
            let (taking, pushing) = (bench.queue(), bench.queue());
            std::thread::scope(|scope| {
                let taken = scope.spawn(|| taking.take("worker", seconds(60), seconds(20)).unwrap());
                std::thread::sleep(Duration::from_millis(200));
                pushing.push(priority, "at last").unwrap();
                let taken = taken.join().unwrap().expect("it came within the wait");
                assert_eq!((taken.priority, taken.body.as_str()), (priority, "at last"), "{kind:?}");
                assert_eq!(taking.remove(&taken).unwrap(), Hold::Kept, "{kind:?}: it is held like any other");
            });
        }
    }
}

#[test]
fn an_empty_queue_is_left_when_the_wait_is_over() {
    for kind in QUEUES {
        let bench = Bench::new(kind);
        let asked = Instant::now();
        assert_eq!(bench.queue().take("worker", seconds(60), Duration::from_millis(300)).unwrap(), None);
        assert!(asked.elapsed() >= Duration::from_millis(300), "{kind:?}: it waited");
    }
}

#[test]
fn a_dead_letter_says_why_and_when_and_can_be_revived() {
    for kind in QUEUES {
        let bench = Bench::new(kind);
        let queue = bench.queue();
        let odd = "{\"odd\": \"Ünïcode \u{1F3AC} and \\u0000\"}";
        queue.push(Priority::High, odd).unwrap();
        let taken = queue.take("worker", seconds(60), Duration::ZERO).unwrap().unwrap();
        assert_eq!(queue.bury(&taken, "no known job format").unwrap(), Hold::Kept);
        let letters = queue.dead_letters(10).unwrap();
        assert_eq!(
            (letters[0].body.as_str(), letters[0].reason.as_str()),
            (odd, "no known job format"),
            "{kind:?}"
        );
        assert_eq!(letters[0].priority, Priority::High, "{kind:?}");
        let real = SystemClock.now().since(letters[0].at) < seconds(60);
        assert!(if kind == Kind::Sqs { real } else { letters[0].at == START }, "{kind:?}: {}", letters[0].at);
        assert!(queue.revive(letters[0].number).unwrap());
        assert!(!queue.revive(letters[0].number).unwrap(), "{kind:?}: once");
        assert_eq!(next(&*queue), odd);
    }
}
