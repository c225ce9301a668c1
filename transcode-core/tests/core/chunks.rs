//! Whoever makes segment 17 makes the same segment 17: any source, in any chunks, in any order.
//!
//! Every picture of a source carries its number, and what is played of the finished playlist is read
//! back: no picture may be lost or doubled over any joint. Sound is compared sample by sample.
//! `TRANSCODE_SEED=n` shuffles and divides otherwise.

mod clips;
mod made;
mod quality;
mod rate;
mod sound;
mod split;

use clips::{RECIPES, Recipe, recipe};
use made::{Job, Made};
use transcode_core::plan::Chunk;
use transcode_core::playlist;
use transcode_core::units::SegmentIndex;

const RUNG: &str = "small";

/// A small generator, so that a failure can be had again.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = std::env::var("TRANSCODE_SEED").ok().and_then(|seed| seed.parse().ok());
        Self(seed.unwrap_or(0x9e37_79b9_7f4a_7c15u64) | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}

/// Which picture each slot shows, from the pictures' times alone.
fn expected(recipe: &Recipe, job: &Job, slots: usize) -> Vec<usize> {
    let shown = recipe.shown();
    let rate = job.plan.timeline.rate;
    let first = shown[0].1;
    // Where the first that can be shown is not the first that there is, the grid begins with that.
    let hidden = if recipe.name == "late-key" { rate.time_of(72 - 20) } else { rate.time_of(0) };
    let slot_of = |time| rate.nearest(time - first + hidden);
    (0..slots as i64)
        .map(|slot| {
            let claims = shown.iter().find(|(_, time)| slot_of(*time) == slot);
            let before = || shown.iter().rev().find(|(_, time)| slot_of(*time) < slot);
            claims.or_else(before).unwrap_or(&shown[0]).0
        })
        .collect()
}

/// What a segment is, apart from its bytes.
fn shape(made: &Made) -> Vec<String> {
    let facts = made.facts(RUNG);
    let shape = |f: &transcode_core::event::SegmentFacts| {
        let times = (f.video_start, f.audio_start, f.duration);
        format!("{} {} {} {times:?} {:?}", f.index, f.pictures, f.audio_packets, f.parameter_sets)
    };
    facts.iter().map(shape).collect()
}

/// The same plan in one run and in several, in any order: nothing but bytes may differ.
fn proof(recipe: &Recipe, partitions: &[u32]) {
    let (job, mut dice) = (Job::of(recipe), Dice::new());
    let whole = job.make(&[job.plan.whole()]);
    let (pictures, samples) = whole.played(RUNG);
    let end = whole.reports[0].source_end.unwrap() - job.plan.timeline.start;
    let known = job.plan.timeline.rate.nearest(end) as usize;
    let wanted = expected(recipe, &job, pictures.len());
    for (slot, (found, wanted)) in pictures.iter().zip(&wanted).enumerate().take(known) {
        assert_eq!(*found, Some(*wanted), "{} in one run, slot {slot}", recipe.name);
    }
    let sets = whole.inspected(RUNG).into_iter().map(|segment| segment.video.unwrap().sps);
    let sets: Vec<_> = sets.collect();
    assert!(sets.windows(2).all(|pair| pair[0] == pair[1]), "{}: one SPS", recipe.name);
    for pieces in partitions {
        let what = format!("{} in {pieces}", recipe.name);
        let mut chunks = job.split(*pieces);
        dice.shuffle(&mut chunks);
        let made = job.make(&chunks);
        assert_eq!(shape(&made), shape(&whole), "{what}");
        let again = made.inspected(RUNG).into_iter().map(|segment| segment.video.unwrap().sps);
        assert!(again.eq(sets.iter().cloned()), "{what}: one SPS");
        let (found, sound) = made.played(RUNG);
        for (slot, (found, wanted)) in found.iter().zip(&pictures).enumerate() {
            assert_eq!(found, wanted, "{what}, slot {slot}");
        }
        assert_eq!((found.len(), sound.len()), (pictures.len(), samples.len()), "{what}");
        joints(&what, &job, &made, &sound, &samples);
        let measured = |made: &Made| {
            let facts = made.facts(RUNG);
            playlist::measure(facts.iter().map(|facts| (facts.bytes, facts.duration)))
        };
        let (mixed, single) = (measured(&made).peak, measured(&whole).peak);
        let declared = job.plan.rungs[0].video.as_ref().unwrap().bitrate;
        println!("{what}: peak {mixed}, in one run {single}, asked for {declared}");
    }
}

/// The sound at every joint against that of one run, from a packet before to four behind. Both are the
/// same samples through the same encoder, in another state. What they differ by there, all joints
/// together, is less than a hundredth of the sound, and at none more than a twentieth: a lost sample or
/// a window that does not fit is a tenth.
fn joints(what: &str, job: &Job, made: &Made, sound: &[f32], single: &[f32]) {
    let differs = differences(job, made, &made.joints(), sound, single);
    let (mut worst, mut all) = (f64::MAX, (0.0, 0.0));
    for (joint, (energy, noise)) in differs {
        // Where it is silent there is nothing to compare with.
        if energy < 1e-3 {
            assert!(noise < 1e-3, "{what}, joint {joint}: {noise} where one run is silent");
            continue;
        }
        let db = 10.0 * (energy / (noise + 1e-12)).log10();
        assert!(db > 13.0, "{what}, joint {joint}: {db:.1} dB from one run");
        worst = worst.min(db);
        all = (all.0 + energy, all.1 + noise);
    }
    if all.0 > 0.0 {
        let mean = 10.0 * (all.0 / (all.1 + 1e-12)).log10();
        println!("{what}: sound at the joints {mean:.1} dB from one run, at the worst {worst:.1}");
        assert!(mean > 20.0, "{what}: {mean:.1} dB from one run");
    }
}

/// At each joint: the energy of `single`, and that of its difference from `sound`.
fn differences(
    job: &Job,
    made: &Made,
    joints: &[SegmentIndex],
    sound: &[f32],
    single: &[f32],
) -> Vec<(SegmentIndex, (f64, f64))> {
    let audio = made.plan.rungs[0].audio.as_ref().unwrap();
    let timeline = &job.plan.timeline;
    let stretch = |sound, first| sound::stretch(sound, first, 6, audio.channels as usize);
    joints
        .iter()
        .map(|joint| {
            let first = audio.packets_before(timeline, timeline.slots_of(*joint).start) - 1;
            (*joint, sound::compare(stretch(single, first), stretch(sound, first)))
        })
        .collect()
}

#[test]
fn any_chunks_show_the_same_pictures() {
    proof(&recipe("closed"), &[2, 7, 20]);
    proof(&recipe("ntsc"), &[7]);
}

#[test]
fn open_gops_and_pyramids_lose_nothing_at_a_joint() {
    for name in ["open-gop", "long-open-gop", "pyramid"] {
        proof(&recipe(name), &[7]);
    }
}

#[test]
fn a_hidden_beginning_and_a_late_key_frame_shift_nothing() {
    for name in ["edit-list", "late-key"] {
        proof(&recipe(name), &[7]);
    }
}

#[test]
fn a_variable_rate_fills_every_slot_as_one_run_does() {
    for name in ["variable", "still"] {
        proof(&recipe(name), &[20]);
    }
}

#[test]
fn late_mono_and_resampled_sound_join_to_the_sample() {
    for name in ["late-sound", "mono-441", "resampled"] {
        proof(&recipe(name), &[7]);
    }
}

#[test]
fn containers_that_round_their_stamps_join_to_the_sample() {
    for name in ["matroska", "transport-stream"] {
        proof(&recipe(name), &[7]);
    }
}

/// All clips in many partitions: for whoever changes the graph. `scripts/joints` runs it with a new
/// seed.
#[test]
#[ignore = "a minute and more"]
fn every_clip_in_any_chunks() {
    for recipe in RECIPES {
        proof(&recipe, &[2, 3, 7, 13, 20]);
    }
}

/// A joint is no further from one run than a run is whose encoder has come from another place: that
/// began a segment earlier, and has the joint in its middle.
#[test]
fn a_joint_sounds_as_a_run_from_elsewhere_does() {
    let job = Job::of(&recipe("closed"));
    let whole = job.make(&[job.plan.whole()]).played(RUNG).1;
    let pairs = |parity: u32| -> Vec<Chunk> {
        let firsts = std::iter::once(0).chain((parity..job.segments()).step_by(2).filter(|at| *at > 0));
        let firsts: Vec<u32> = firsts.collect();
        let ends = firsts.iter().copied().skip(1).chain([job.segments()]);
        let chunk = |(first, end)| Chunk { index: 0, first: SegmentIndex(first), end: SegmentIndex(end) };
        firsts.iter().copied().zip(ends).map(chunk).collect()
    };
    let (mut at, mut inside) = ((0.0, 0.0), (0.0, 0.0));
    for parity in [0, 1] {
        let made = job.make(&pairs(parity));
        let sound = made.played(RUNG).1;
        let joints = made.joints();
        let others: Vec<_> =
            (1..job.segments()).map(SegmentIndex).filter(|index| !joints.contains(index)).collect();
        for (joints, sum) in [(joints, &mut at), (others, &mut inside)] {
            for (_, (energy, noise)) in differences(&job, &made, &joints, &sound, &whole) {
                *sum = (sum.0 + energy, sum.1 + noise);
            }
        }
    }
    let db = |(energy, noise): (f64, f64)| 10.0 * (energy / noise).log10();
    println!("from one run: at joints {:.1} dB, in the middle of chunks {:.1} dB", db(at), db(inside));
    assert!(db(at) > db(inside) - 3.0, "{:.1} dB at joints, {:.1} dB elsewhere", db(at), db(inside));
}
