//! What is seen at a joint is as good as in one run: each picture is held against the source's.
//!
//! The clip is equally hard throughout. What ABR gives to which part of an uneven one differs from partition
//! to partition, and is measured by `benches/chunks --quality`.

use super::RUNG;
use super::clips::{SIZE, bytes_of, recipe};
use super::made::{Job, Made, PROFILE};

/// Pictures after a joint in which a new encoder finds its way: half a segment.
const AFTER: usize = 12;

/// How far each picture is from the source's, in dB (luma, 8 bits).
fn psnr(found: &[u8], wanted: &[u8]) -> Vec<f64> {
    let size = SIZE.0 * SIZE.1;
    let pairs = found.chunks_exact(size).zip(wanted.chunks_exact(size));
    pairs
        .map(|(found, wanted)| {
            let squares = found.iter().zip(wanted).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
            10.0 * (255.0f64.powi(2) * size as f64 / squares.sum::<f64>().max(1.0)).log10()
        })
        .collect()
}

fn mean(of: &[f64]) -> f64 {
    of.iter().sum::<f64>() / of.len() as f64
}

fn least(of: &[f64]) -> f64 {
    of.iter().copied().fold(f64::MAX, f64::min)
}

/// By how much the mean over the clip, that over the half second behind a joint, and the worst picture there
/// may be below one run's: in plain ABR an encoder that begins afresh spends more, not less.
const CLIP: f64 = 0.1;
const JOINT: f64 = 0.3;
const PICTURE: f64 = 1.0;

#[test]
fn a_divided_job_looks_as_one_run_does() {
    let source = recipe("closed").file();
    let grey = ["-v", "error", "-nostdin", "-i", source.to_str().unwrap(), "-map", "0:v"];
    let wanted = bytes_of("ffmpeg", &[&grey[..], &["-f", "rawvideo", "-pix_fmt", "gray", "-"]].concat());
    let job = Job::with(source, PROFILE);
    let whole = job.make(&[job.plan.whole()]);
    let shown = whole.shown(RUNG).0;
    let single = psnr(&shown, &wanted);
    // It can tell: one picture late is not the same.
    let late = psnr(&shown[SIZE.0 * SIZE.1..], &wanted);
    assert!(mean(&late) < mean(&single) - 10.0 * CLIP && least(&late) < least(&single) - 2.0 * PICTURE);
    let bytes = |made: &Made| made.facts(RUNG).iter().map(|facts| facts.bytes).sum::<u64>();
    for pieces in [2, 7, 20] {
        let made = job.make(&job.split(pieces));
        let found = psnr(&made.shown(RUNG).0, &wanted);
        assert_eq!(found.len(), single.len());
        let (clip, one) = (mean(&found), mean(&single));
        let more = bytes(&made) as f64 / bytes(&whole) as f64;
        println!("{pieces} chunks: {clip:.2} dB with {more:.3} of the bytes; one run {one:.2} dB");
        assert!(clip > one - CLIP, "{pieces} chunks: {clip:.2} dB, one run {one:.2} dB");
        assert!(more < 1.1, "{pieces} chunks: {more:.3} of the bytes");
        for joint in made.joints() {
            let start = job.plan.timeline.slots_of(joint).start as usize;
            let after = start..(start + AFTER).min(found.len());
            let (there, before) = (mean(&found[after.clone()]), mean(&single[after.clone()]));
            let text =
                format!("{pieces} chunks, behind the joint at {joint}: {there:.2} dB, one run {before:.2}");
            assert!(there > before - JOINT, "{text}");
            let (worst, one) = (least(&found[after]), least(&single));
            assert!(
                worst > one - PICTURE,
                "{text}; a picture of {worst:.2} dB, in one run none below {one:.2}"
            );
        }
    }
}
