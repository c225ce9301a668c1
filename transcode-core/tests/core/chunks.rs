//! Whoever makes segment 17 makes the same segment 17: any source, in any chunks, in any order.

mod clips;
mod made;

use clips::recipe;
use made::Job;

#[test]
#[ignore = "looks"]
fn look() {
    let names = std::env::var("CLIPS").unwrap();
    for name in names.split(',') {
        let recipe = recipe(name);
        let job = Job::of(&recipe);
        let t = std::time::Instant::now();
        println!("{name}: {:?} segments {}", job.plan.timeline, job.segments());
        println!("  audio {:?}", job.plan.rungs[0].audio);
        let info = transcode_core::probe(job.source.clone(), &made::software(), &Default::default()).unwrap();
        println!(
            "  video {:?} {:?}  audio {:?} {:?} edits {:?} {:?}",
            info.video[0].start,
            info.video[0].duration,
            info.audio[0].start,
            info.audio[0].duration,
            info.video[0].edits,
            info.audio[0].edits
        );
        if let Ok(c) = std::env::var("CHUNK") {
            let (a, b) = c.split_once('-').unwrap();
            let made = job.make(&[transcode_core::plan::Chunk {
                index: 0,
                first: transcode_core::units::SegmentIndex(a.parse().unwrap()),
                end: transcode_core::units::SegmentIndex(b.parse().unwrap()),
            }]);
            println!("{:?}", made.reports[0]);
            return;
        }
        let whole = job.make(&[job.plan.whole()]);
        println!("  whole {:?}", t.elapsed());
        let (numbers, sound) = whole.played("small");
        println!("  {} pictures {} samples", numbers.len(), sound.len());
        let n: Vec<i64> = numbers.iter().map(|n| n.map_or(-1, |n| n as i64)).collect();
        println!("  {:?} ... {:?}", &n[..40.min(n.len())], &n[n.len().saturating_sub(6)..]);
        println!(
            "  breaks {:?}",
            (1..n.len())
                .filter(|i| n[*i] != n[i - 1] + 1)
                .map(|i| (i, n[i - 1], n[i]))
                .take(30)
                .collect::<Vec<_>>()
        );
        let r = &whole.reports[0];
        println!(
            "  dec {} out {} drop {} rep {} sil {}",
            r.decoded, r.outside, r.dropped, r.repeated, r.silence
        );
        for pieces in [2, 7, 20] {
            let t = std::time::Instant::now();
            let made = job.make(&job.split(pieces));
            let e = t.elapsed();
            let (n, s) = made.played("small");
            let diff: Vec<_> = (0..numbers.len().max(n.len()))
                .filter(|at| numbers.get(*at) != n.get(*at))
                .map(|at| (at, numbers.get(at).copied().flatten(), n.get(at).copied().flatten()))
                .collect();
            let c: Vec<_> = made
                .reports
                .iter()
                .map(|r| (r.decoded, r.outside, r.dropped, r.repeated, r.silence, r.timings.first_picture_ms))
                .collect();
            println!("  {pieces}: {e:?} {} {} diff {diff:?}", n.len(), s.len());
            println!("     {c:?}");
        }
    }
}
