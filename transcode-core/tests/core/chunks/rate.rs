//! What a rung promises of its bit rate holds over joints as within a run.

use super::RUNG;
use super::clips::recipe;
use super::made::{Job, Made, PROFILE};
use transcode_core::playlist;
use transcode_core::segment::{Buffer, Vbv};

/// A picture that costs a lot at a rate that is too low for it: the buffer is used to its end.
fn job(control: &str) -> Job {
    let profile = PROFILE.replace("\"abr\"", control).replace("\"300k\"", "\"600k\"");
    Job::with(recipe("closed").file(), &profile)
}

fn buffer(job: &Job) -> Buffer {
    Buffer::of(job.plan.rungs[0].video.as_ref().unwrap(), job.plan.timeline.rate).expect("it has one")
}

fn vbv(job: &Job, made: &Made) -> Vbv {
    let (facts, joints) = (made.facts(RUNG), made.joints());
    let segments = facts.iter().map(|facts| (facts.index, facts.bucket.as_ref()));
    buffer(job).run(segments, |index| joints.contains(&index)).expect("there are segments")
}

/// What the master playlists declare, before and after, holds for every segment (RFC 8216 §4.3.4.2).
fn bandwidth_holds(job: &Job, made: &Made, what: &str) {
    let facts = made.facts(RUNG);
    let measured = playlist::measure(facts.iter().map(|facts| (facts.bytes, facts.duration)));
    let finished = [(RUNG.to_owned(), measured)].into_iter().collect();
    for (when, master) in [
        ("growing", playlist::master(&job.plan, None)),
        ("finished", playlist::master(&job.plan, Some(&finished))),
    ] {
        let master = m3u8_rs::parse_master_playlist_res(master.as_bytes()).unwrap();
        let declared = master.variants[0].bandwidth;
        for facts in &facts {
            // A last one that is too short to count by itself is not held against it.
            if facts.duration.as_secs_f64() < 0.5 {
                continue;
            }
            let rate = (facts.bytes * 8) as f64 / facts.duration.as_secs_f64();
            let text = format!("{what}: segment {} has {rate:.0} bit/s, BANDWIDTH={declared}", facts.index);
            assert!(rate.ceil() <= declared as f64, "{when} {text}");
        }
    }
}

fn proof(control: &str) {
    let job = job(control);
    let single = job.make(&[job.plan.whole()]);
    let alone = vbv(&job, &single);
    println!("{control} in one run: {alone:?}");
    bandwidth_holds(&job, &single, control);
    for pieces in [7, 20] {
        let made = job.make(&job.split(pieces));
        let found = vbv(&job, &made);
        println!("{control} in {pieces}: {found:?}");
        assert_eq!(found.at_joints, 0, "{control} in {pieces}: bits are late at joints: {found:?}");
        assert!(
            found.lowest >= alone.lowest.min(0),
            "{control} in {pieces}: {found:?}, in one run {alone:?}"
        );
        bandwidth_holds(&job, &made, &format!("{control} in {pieces}"));
    }
}

#[test]
fn a_constant_rate_fits_its_buffer_over_every_joint() {
    proof("\"cbr\"");
}

#[test]
fn a_capped_quality_fits_its_buffer_over_every_joint() {
    proof("{ capped-crf = { crf = 12 } }");
}
