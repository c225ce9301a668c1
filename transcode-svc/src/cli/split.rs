//! `transcode split`: the source in pieces, a chunk each.
//!
//! Owns what is shown. A child looks at the input, as everywhere; copying runs in this process: it
//! decodes nothing.

use super::args::Split;
use super::output::{json, size, to_stdout};
use super::{Context, profiles};
use crate::engine::platforms::load;
use serde_json::{Value, json};
use transcode_core::Error;
use transcode_core::plan::{Plan, keys};
use transcode_core::spec::Clip;
use transcode_core::split::{Options, Piece, Pieces};

/// Copy each chunk's part of the source.
pub(super) fn split(context: &Context, split: &Split) -> Result<(), Error> {
    let asked = &split.asked;
    let spec = profiles::job(asked, &asked.choice)?;
    if spec.clip != Clip::default() {
        return Err(Error::Config {
            what: "--start, --end, --duration".to_owned(),
            reason: "pieces are of the whole source; leave them out here, and give them to `transcode run`"
                .to_owned(),
        });
    }
    let mut looked = context.look(&asked.input, load(&asked.input.platform)?)?;
    let plan = looked.plan(&spec)?;
    drop(looked.session);
    let sink = context.stores()?.open_stream_sink(&split.output, &context.cancel)?;
    let location = sink.location();
    let at = |key: &str| format!("{}/{key}", location.trim_end_matches('/'));
    let is_json = asked.input.json;
    let tell = |piece: &Piece, found: bool| {
        if is_json {
            let mut object = json!({ "event": "piece", "found": found });
            if let (Some(object), Ok(Value::Object(fields))) =
                (object.as_object_mut(), serde_json::to_value(piece))
            {
                object.extend(fields);
            }
            json::write(&object);
        } else if !context.quiet {
            let found = if found { "; there before" } else { "" };
            let of = match piece.pictures {
                0 => format!("{} packets of sound", piece.audio_packets),
                pictures => format!("{pictures} pictures"),
            };
            to_stdout(&format!("{}: {of}, {}{found}\n", at(&piece.key), size(piece.bytes)));
        }
    };
    let platform = &looked.platforms[0];
    let pieces = transcode_core::split::split(
        &plan,
        platform,
        &looked.source,
        &*sink,
        Options { overwrite: split.overwrite, every: asked.choice.chunk },
        &tell,
        &context.cancel,
    )?;
    fewer(&plan, &pieces);
    if is_json {
        let bytes: u64 = pieces.pieces.iter().map(|piece| piece.bytes).sum();
        json::write(
            &json!({ "event": "done", "list": at(keys::PIECES), "pieces": pieces.pieces.len(), "bytes": bytes }),
        );
    }
    Ok(())
}

/// Say it where there are fewer pieces than were asked for.
fn fewer(plan: &Plan, pieces: &Pieces) {
    let known = plan.timeline.expected_segments().unwrap_or(u32::MAX);
    let wanted = plan.chunks.iter().filter(|chunk| chunk.first.0 < known).count();
    let made = pieces.pieces.len();
    if made < wanted {
        log::warn!(
            "{made} pieces for {wanted} chunks: a piece begins with a key frame that no picture behind it is shown \
             before, and this source has few of them"
        );
    }
}
