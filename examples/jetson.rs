//! A ladder on a Jetson: the decoder and the scaler are the board's; the encoder too, where it has one
//! (Xavier, Orin NX, AGX Orin), else x264 (Orin Nano).
//!
//! `cargo run --release --example jetson -- film.mp4 out`
use std::sync::Arc;
use transcode_core::{Cancel, DirSink, FileSource, JobEvent, JobSpec, Options, Platform, Profile};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (input, output) = arguments.next().zip(arguments.next()).ok_or("usage: jetson INPUT OUTPUT")?;
    let encodes = Platform::builtin("jetson-nvenc")?;
    let platform =
        if transcode_core::missing(&encodes)?.is_empty() { encodes } else { Platform::builtin("jetson")? };
    if let Some(gone) = transcode_core::missing(&platform)?.first() {
        return Err(
            format!("{} ({}) is missing: install {}", gone.element, gone.purpose, gone.package).into()
        );
    }
    let source = Arc::new(FileSource::open(input)?);
    let media = transcode_core::probe(source.clone(), &platform, &Cancel::new())?;
    let plan = transcode_core::plan(&media, &JobSpec::new(Profile::builtin("abr")?), &platform)?;
    println!("{}", plan.explain());
    let sink = Arc::new(DirSink::create(output)?);
    for event in transcode_core::start(plan, platform, source, sink, Options::default())? {
        match event {
            JobEvent::Segment(segment) => println!("{} {}", segment.rung, segment.index),
            JobEvent::Warning { text } => println!("{text}"),
            JobEvent::Failed(error) => return Err(error.chain().into()),
            _ => {}
        }
    }
    Ok(())
}
