//! A sink of one's own: segments stay in memory, and a playlist is printed each time it grows.
//!
//! `cargo run --example memory_sink -- film.mp4`
//!
//! A sink has six calls. Segments are created once, from several threads at once; playlists and
//! documents are replaced; a job that was broken off reads back what is there.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use transcode_core::sink::{Created, ObjectKind, Sink, SinkError};
use transcode_core::{Cancel, FileSource, JobEvent, JobSpec, Options, Platform, Profile};

#[derive(Default)]
struct Memory {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl Memory {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> T {
        act(&mut self.objects.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sink for Memory {
    fn create(&self, key: &str, _: ObjectKind, bytes: &[u8], _: &Cancel) -> Result<Created, SinkError> {
        self.with(|objects| {
            if objects.contains_key(key) {
                return Ok(Created::Existed);
            }
            objects.insert(key.to_owned(), bytes.to_vec());
            Ok(Created::New)
        })
    }

    fn replace(&self, key: &str, kind: ObjectKind, bytes: &[u8], _: &Cancel) -> Result<(), SinkError> {
        if matches!(kind, ObjectKind::LivePlaylist | ObjectKind::FinalPlaylist) {
            println!("--- {key}\n{}", String::from_utf8_lossy(bytes));
        }
        self.with(|objects| objects.insert(key.to_owned(), bytes.to_vec()));
        Ok(())
    }

    fn read(&self, key: &str, _: &Cancel) -> Result<Option<Vec<u8>>, SinkError> {
        Ok(self.with(|objects| objects.get(key).cloned()))
    }

    fn size_of(&self, key: &str, _: &Cancel) -> Result<Option<u64>, SinkError> {
        Ok(self.with(|objects| objects.get(key).map(|bytes| bytes.len() as u64)))
    }

    fn remove(&self, key: &str, _: &Cancel) -> Result<(), SinkError> {
        self.with(|objects| objects.remove(key));
        Ok(())
    }

    fn location(&self) -> String {
        "memory".to_owned()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let input = std::env::args().nth(1).ok_or("usage: memory_sink INPUT")?;
    let source = Arc::new(FileSource::open(input)?);
    let platform = Platform::builtin("software")?;
    let media = transcode_core::probe(source.clone(), &platform, &Cancel::new())?;
    let plan = transcode_core::plan(&media, &JobSpec::new(Profile::builtin("match")?), &platform)?;
    let sink = Arc::new(Memory::default());
    for event in transcode_core::start(plan, platform, source, sink.clone(), Options::default())? {
        if let JobEvent::Failed(error) = event {
            return Err(error.chain().into());
        }
    }
    let sizes = sink
        .with(|objects| objects.iter().map(|(key, bytes)| (key.clone(), bytes.len())).collect::<Vec<_>>());
    sizes.iter().for_each(|(key, bytes)| println!("{bytes:>9} {key}"));
    Ok(())
}
