//! The library in ten lines: a file in, a ladder out, events on the way.
//!
//! `cargo run --example embed -- film.mp4 out`
use std::sync::Arc;
use transcode_core::{Cancel, DirSink, FileSource, JobSpec, Options, Platform, Profile};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (input, output) = arguments.next().zip(arguments.next()).ok_or("usage: embed INPUT OUTPUT")?;
    let source = Arc::new(FileSource::open(input)?);
    let platform = Platform::builtin("software")?;
    let media = transcode_core::probe(source.clone(), &platform, &Cancel::new())?;
    let plan = transcode_core::plan(&media, &JobSpec::new(Profile::builtin("abr")?), &platform)?;
    let sink = Arc::new(DirSink::create(output)?);
    for event in transcode_core::start(plan, platform, source, sink, Options::default())? {
        println!("{event:?}");
    }
    Ok(())
}
