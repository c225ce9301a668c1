//! A platform file as it is written: what it leaves out comes from the platform it is based on.

use super::schema::{AudioDecoder, AudioEncoder, ChunkCost, Encoder, Pictures, Platform, VideoDecoder};
use crate::error::Error;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The keys of a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct PlatformFile {
    name: String,
    description: String,
    /// The platform that has what is not here: containers, audio, and decoders for what the ones here
    /// do not take.
    base: Option<String>,
    tried: Option<bool>,
    #[serde(default)]
    packages: BTreeMap<String, String>,
    decode: Option<BTreeMap<String, Vec<VideoDecoder>>>,
    decode_audio: Option<BTreeMap<String, AudioDecoder>>,
    demux: Option<BTreeMap<String, String>>,
    pictures: Vec<Pictures>,
    encode: Encoder,
    encode_audio: Option<AudioEncoder>,
    chunk: Option<ChunkCost>,
}

impl PlatformFile {
    /// The whole platform.
    ///
    /// # Errors
    /// A sentence: the base is not known, or a table is neither here nor there.
    pub(super) fn complete(self) -> Result<Platform, String> {
        let base = match &self.base {
            Some(name) => Some(Platform::builtin(name).map_err(|error| match error {
                Error::Config { reason, .. } => format!("base `{name}`: {reason}"),
                other => other.to_string(),
            })?),
            None => None,
        };
        let base = base.as_ref();
        let missing = |table: &str| {
            format!("the table [{table}] is missing; write it, or take it over with base = \"software\"")
        };
        let mut packages = base.map(|base| base.packages.clone()).unwrap_or_default();
        packages.extend(self.packages);
        let mut decode = self.decode.unwrap_or_default();
        for (codec, decoders) in base.into_iter().flat_map(|base| &base.decode) {
            decode.entry(codec.clone()).or_default().extend(decoders.iter().cloned());
        }
        if decode.is_empty() {
            return Err(missing("decode"));
        }
        Ok(Platform {
            name: self.name,
            description: self.description,
            tried: self.tried.unwrap_or(true),
            packages,
            decode,
            decode_audio: self
                .decode_audio
                .or_else(|| base.map(|base| base.decode_audio.clone()))
                .ok_or_else(|| missing("decode-audio"))?,
            demux: self
                .demux
                .or_else(|| base.map(|base| base.demux.clone()))
                .ok_or_else(|| missing("demux"))?,
            pictures: self.pictures,
            encode: self.encode,
            encode_audio: self
                .encode_audio
                .or_else(|| base.map(|base| base.encode_audio.clone()))
                .ok_or_else(|| missing("encode-audio"))?,
            chunk: self.chunk.or_else(|| base.map(|base| base.chunk)).ok_or_else(|| missing("chunk"))?,
        })
    }
}
