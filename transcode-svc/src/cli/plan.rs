//! `transcode plan`: what would be made, and why.

use super::args::Plan;
use super::output::to_stdout;
use super::{Context, profiles};
use crate::engine::platforms::load;
use transcode_core::Error;

/// Plan and print; nothing is made.
pub(super) fn plan(context: &Context, plan: &Plan) -> Result<(), Error> {
    let asked = &plan.asked;
    let spec = profiles::job(asked, &asked.choice)?;
    let mut looked = context.look(&asked.input, load(&asked.input.platform)?)?;
    let planned = looked.plan(&spec)?;
    looked.fallbacks.iter().for_each(|fallback| log::warn!("{fallback}"));
    let text = if asked.input.json { planned.to_json() } else { planned.explain() };
    to_stdout(text.trim_end());
    to_stdout("\n");
    Ok(())
}
