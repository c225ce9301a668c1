//! Every platform that is complete on this machine, on the same film: × realtime, CPU, watts.
//!
//! `cargo bench -p transcode-core --bench platform [-- NAME…] [--clip FILE]`
//!
//! Without names: those of the built-in platforms of which nothing is missing. The film is the 1080p clip of
//! `scripts/media`, or `--clip`. Each of `match`, `abr` and decoding alone runs once to warm up and once to
//! be measured. CPU is user + system of this process. Joules are those of the whole machine or card
//! while it works (see `power`), idle watts are told beside them; a machine that does not tell has "–".

mod power;
mod work;

use power::Meter;
use std::sync::Arc;
use std::time::{Duration, Instant};
use transcode_core::{Platform, Profile};
use work::{Fallible, decode, make, plan_of};

const CLIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.cache/media/big-buck-bunny-1080p.mp4");

/// What the command line says.
struct Wanted {
    names: Vec<String>,
    clip: String,
}

impl Wanted {
    fn read() -> Fallible<Self> {
        let mut wanted = Self { names: Vec::new(), clip: CLIP.to_owned() };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--bench" => {} // from cargo
                "--clip" => wanted.clip = words.next().ok_or("--clip names a file")?,
                other if other.starts_with('-') => {
                    return Err(format!("`{other}`? There are names of platforms, and --clip FILE").into());
                }
                name => wanted.names.push(name.to_owned()),
            }
        }
        if !std::path::Path::new(&wanted.clip).is_file() {
            return Err(
                format!("{}: no such file; run scripts/media, or name one with --clip", wanted.clip).into()
            );
        }
        Ok(wanted)
    }

    /// Those that can run here; names that cannot are an error with what they lack.
    fn platforms(&self) -> Fallible<Vec<Platform>> {
        let mut found = Vec::new();
        let all: Vec<_> = transcode_core::platform::builtin_platforms().map(str::to_owned).collect();
        for name in if self.names.is_empty() { &all } else { &self.names } {
            let platform = Platform::builtin(name)?;
            match transcode_core::missing(&platform)?.first() {
                None => found.push(platform),
                Some(gone) if !self.names.is_empty() => {
                    return Err(format!("{name}: {} is missing: {}", gone.element, gone.package).into());
                }
                Some(gone) => println!("{name}: not here, {} is missing ({})", gone.element, gone.package),
            }
        }
        Ok(found)
    }
}

/// CPU, wall and energy of one piece of work.
struct Spent {
    wall: f64,
    cpu: f64,
    joules: Option<f64>,
}

fn measure(meter: &Arc<Meter>, work: impl FnOnce() -> Fallible<()>) -> Fallible<Spent> {
    let (began, cpu, energy) = (Instant::now(), work::cpu(), meter.start());
    let done = work();
    let joules = energy.stop();
    done.map(|()| Spent { wall: began.elapsed().as_secs_f64(), cpu: work::cpu() - cpu, joules })
}

/// One line of the table.
fn row(platform: &str, what: &str, spent: &Spent, seconds: f64) -> String {
    let minute = seconds / 60.0;
    let energy = spent.joules.map_or_else(
        || "– | –".to_owned(),
        |joules| format!("{:.1} | {:.0}", joules / spent.wall, joules / minute),
    );
    let (speed, cpu) = (seconds / spent.wall, spent.cpu / minute);
    format!("| {platform} | {what} | {speed:.2} | {cpu:.1} | {energy} |")
}

/// Decoding alone, the one rung of `match`, the ladder of `abr`.
fn rows(platform: &Platform, clip: &str, meter: &Arc<Meter>) -> Fallible<()> {
    let ladder = plan_of(clip, Profile::builtin("abr")?, platform)?;
    let flat = plan_of(clip, Profile::builtin("match")?, platform)?;
    let seconds = ladder.timeline.duration().as_secs_f64();
    let works: [(&str, &dyn Fn() -> Fallible<()>); 3] = [
        ("decode", &|| decode(clip, &ladder, platform)),
        ("`match`", &|| make(clip, &flat, platform)),
        ("`abr`", &|| make(clip, &ladder, platform)),
    ];
    for (what, work) in works {
        work()?;
        println!("{}", row(&platform.name, what, &measure(meter, work)?, seconds));
    }
    Ok(())
}

fn main() -> Fallible<()> {
    let wanted = Wanted::read()?;
    let platforms = wanted.platforms()?;
    let meter = Arc::new(Meter::here());
    let idle = measure(&meter, || {
        std::thread::sleep(Duration::from_secs(3));
        Ok(())
    })?;
    match idle.joules {
        Some(joules) => println!("power: {}; idle {:.1} W", meter.what(), joules / idle.wall),
        None => println!("power: this machine does not tell"),
    }
    println!("\n| platform | what | × realtime | CPU s a minute of video | W | J a minute of video |");
    println!("|---|---|---|---|---|---|");
    for platform in &platforms {
        // One that fails says why, and the others go on.
        if let Err(error) = rows(platform, &wanted.clip, &meter) {
            println!("| {} | {error} | | | | |", platform.name);
        }
    }
    Ok(())
}
