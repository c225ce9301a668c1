//! What the examples for each kind of machine share: a ladder on the first platform that is complete here.
use std::sync::Arc;
use transcode_core::{Cancel, DirSink, FileSource, JobEvent, JobSpec, Options, Platform, Profile};

/// `PROGRAM INPUT OUTPUT`, on the first of the platforms of which nothing is missing.
pub(crate) fn on(platforms: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    let files = arguments.next().zip(arguments.next());
    let (input, output) = files.ok_or_else(|| format!("usage: {program} INPUT OUTPUT"))?;
    let platform = complete(platforms)?;
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

/// Where none is complete, what the last one lacks, as it asks for the least.
fn complete(names: &[&str]) -> Result<Platform, Box<dyn std::error::Error>> {
    let mut why = "no platform is named".to_owned();
    for name in names {
        let platform = Platform::builtin(name)?;
        match transcode_core::missing(&platform)?.first() {
            None => return Ok(platform),
            Some(gone) => {
                why = format!("{} ({}) is missing: install {}", gone.element, gone.purpose, gone.package);
            }
        }
    }
    Err(why.into())
}
