//! `transcode split`: the source in pieces, a chunk each.
//!
//! Owns what is shown. A child looks at the input, as everywhere; copying runs in this process: it
//! decodes nothing.

use super::args::Split;
use super::output::{json, to_stdout};
use super::{Context, probe, profiles};
use serde_json::json;
use transcode_core::Error;
use transcode_core::plan::keys;

/// Copy each chunk's part of the source.
pub(super) fn split(context: &Context, split: &Split) -> Result<(), Error> {
    let asked = &split.asked;
    let spec = profiles::job(asked, &asked.choice)?;
    let looked = probe::look(context, &asked.input, &context.cancel)?;
    let plan = transcode_core::plan::plan(&looked.info, &spec, &looked.platform)?;
    drop(looked.session);
    let sink = context.stores()?.open_stream_sink(&split.output, &context.cancel)?;
    let location = sink.location();
    let at = |key: &str| format!("{}/{key}", location.trim_end_matches('/'));
    let is_json = asked.input.json;
    let tell = |piece: &transcode_core::split::Piece, found: bool| {
        if is_json {
            let mut object = json!({ "event": "piece", "found": found });
            if let (Some(object), Ok(serde_json::Value::Object(fields))) =
                (object.as_object_mut(), serde_json::to_value(piece))
            {
                object.extend(fields);
            }
            json::write(&object);
        } else {
            let last = piece.end.0.saturating_sub(1);
            let found = if found { "; there before" } else { "" };
            let size = super::output::size(piece.bytes);
            to_stdout(&format!("{}: segments {} to {last}, {size}{found}\n", at(&piece.key), piece.first));
        }
    };
    let pieces = transcode_core::split::split(
        &plan,
        &looked.platform,
        &looked.source,
        &*sink,
        split.overwrite,
        &tell,
        &context.cancel,
    )?;
    if is_json {
        let bytes: u64 = pieces.pieces.iter().map(|piece| piece.bytes).sum();
        json::write(
            &json!({ "event": "done", "list": at(keys::PIECES), "pieces": pieces.pieces.len(), "bytes": bytes }),
        );
    }
    Ok(())
}
