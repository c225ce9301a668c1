//! `transcode plan`: what would be made, and why.

use super::args::Plan;
use super::output::to_stdout;
use super::{Context, probe, profiles};
use transcode_core::Error;

/// Plan and print; nothing is made.
pub(super) fn plan(context: &Context, plan: &Plan) -> Result<(), Error> {
    let asked = &plan.asked;
    let spec = profiles::job(asked, &asked.choice)?;
    let looked = probe::look(context, &asked.input, &context.cancel)?;
    let planned = transcode_core::plan::plan(&looked.info, &spec, &looked.platform)?;
    let text = if asked.input.json { planned.to_json() } else { planned.explain() };
    to_stdout(text.trim_end());
    to_stdout("\n");
    Ok(())
}
