//! `transcode run`: probe, plan, and what is missing of the plan, made, published, and packaged.
//!
//! Owns how it is shown; all the work is the engine's. Wall time is measured for showing only.

use super::args::Run;
use super::output::{Bars, End, Json, Lines, Output, Shown};
use super::{Context, profiles};
use crate::engine::{Order, platforms};
use std::io::IsTerminal;
use std::time::Instant;
use transcode_core::Error;

/// Make the ladder.
pub(super) fn run(context: &Context, run: &Run) -> Result<(), Error> {
    let begun = Instant::now();
    let asked = &run.asked;
    let json = asked.input.json;
    let output: Box<dyn Output> = if json {
        Box::new(Json::default())
    } else if std::io::stderr().is_terminal() && !context.quiet {
        Box::new(Bars::new())
    } else {
        Box::new(Lines::default())
    };
    let shown = Shown::new(output, json, context.quiet);
    let spec = profiles::job(asked, &asked.choice)?;
    let order = Order {
        places: context.stores()?,
        child: &context.child(&asked.input)?,
        input: &asked.input.input,
        candidates: platforms::load(&asked.input.platform)?,
        spec: &spec,
        destination: &run.output,
        overwrite: run.overwrite,
        mp4: &run.mp4,
        jobs: run.jobs,
        cancel: &context.cancel,
    };
    let made = order.make(&shown)?;
    shown.done(&End {
        destination: &made.location,
        master: &made.master(),
        report: &made.report,
        found_finished: made.found_finished,
        elapsed: begun.elapsed(),
        play: play_command(&run.output),
    });
    Ok(())
}

/// `transcode play DIR`, for destinations that are directories.
fn play_command(destination: &str) -> Option<String> {
    if destination.contains("://") {
        return None;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/+=,@".contains(c);
    let quoted = if !destination.is_empty() && destination.chars().all(plain) {
        destination.to_owned()
    } else {
        format!("'{}'", destination.replace('\'', r"'\''"))
    };
    Some(format!("transcode play {quoted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_plays_it_can_be_pasted_into_a_shell() {
        assert_eq!(play_command("out/7").as_deref(), Some("transcode play out/7"));
        assert_eq!(play_command("it's mine").as_deref(), Some(r"transcode play 'it'\''s mine'"));
        assert_eq!(play_command("s3://bucket/out"), None);
    }
}
