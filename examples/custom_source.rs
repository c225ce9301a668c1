//! A source of one's own: the bytes of a video that was split into parts, read as if it were whole.
//!
//! `split -n 3 film.mp4 part. && cargo run --example custom_source -- out part.aa part.ab part.ac`
//!
//! A source has three calls. Demuxers make thousands of tiny reads from several threads;
//! `CachedSource` stands in front of whatever answers slowly.
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use transcode_core::media::SourceIdentity;
use transcode_core::source::{CacheOptions, CachedSource, Source, SourceError};
use transcode_core::{Cancel, DirSink, JobSpec, Options, Platform, Profile};

struct Parts {
    name: String,
    /// Where each part begins, and its file.
    files: Vec<(u64, File)>,
    size: u64,
}

impl Parts {
    fn open(paths: &[String]) -> std::io::Result<Self> {
        let (mut files, mut size) = (Vec::new(), 0);
        for path in paths {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            files.push((size, file));
            size += length;
        }
        Ok(Self { name: paths.join("+"), files, size })
    }
}

impl Source for Parts {
    fn identity(&self) -> SourceIdentity {
        SourceIdentity { uri: format!("parts:{}", self.name), size: self.size, version: None }
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8], cancel: &Cancel) -> Result<usize, SourceError> {
        if cancel.is_cancelled() {
            return Err(SourceError::Cancelled);
        }
        let mut filled = 0;
        // A read may begin in one part and end in the next.
        while filled < buffer.len() {
            let at = offset + filled as u64;
            let Some((begin, file)) = self.files.iter().rev().find(|(begin, _)| *begin <= at) else { break };
            let read = file.read_at(&mut buffer[filled..], at - begin).map_err(|error| {
                SourceError::Unavailable { uri: self.name.clone(), offset: at, reason: error.to_string() }
            })?;
            if read == 0 {
                break;
            }
            filled += read;
        }
        Ok(filled)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (output, parts) = arguments.split_first().ok_or("usage: custom_source OUTPUT PART…")?;
    let source = Arc::new(CachedSource::new(Arc::new(Parts::open(parts)?), CacheOptions::default()));
    let platform = Platform::builtin("software")?;
    let media = transcode_core::probe(source.clone(), &platform, &Cancel::new())?;
    let plan = transcode_core::plan(&media, &JobSpec::new(Profile::builtin("match")?), &platform)?;
    let sink = Arc::new(DirSink::create(output)?);
    let report = transcode_core::start(plan, platform, source, sink, Options::default())?.wait()?;
    println!("{} of video, {} rungs", report.duration, report.rungs.len());
    Ok(())
}
