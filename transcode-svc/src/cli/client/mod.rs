//! `submit`, `jobs`, `job`, `cancel`, `retry`, `queue`, `dead`: a fleet from the command line, through its API.
//!
//! Owns what is asked and how the answers are shown; the API decides everything.

mod ask;
mod show;

use super::Context;
use super::args::{Client, DeadCommand, Jobs, Submit};
use super::output::to_stdout;
use ask::Api;
use serde_json::{Value, json};
use std::time::Duration;
use transcode_core::Error;
use transcode_core::sink::SinkError;

/// Between two looks at a job that is watched.
const LOOK: Duration = Duration::from_millis(500);

/// How a job is waited for.
struct Watching<'a> {
    context: &'a Context,
    json: bool,
}

/// Take a job in.
pub(super) fn submit(context: &Context, submit: &Submit) -> Result<(), Error> {
    let api = Api::new(&submit.client)?;
    let mut job = match &submit.job {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| Error::Config {
                what: path.display().to_string(),
                reason: error.to_string(),
            })?;
            serde_json::from_str(&text).map_err(|error| Error::Config {
                what: path.display().to_string(),
                reason: error.to_string(),
            })?
        }
        None => asked(submit, &api)?,
    };
    if let Some(key) = &submit.idempotency_key {
        job["idempotency_key"] = json!(key);
    }
    let view = api.post("/api/v1/jobs", &job)?;
    let id = view["id"].as_str().unwrap_or_default().to_owned();
    if submit.watch {
        log::info!("job {id}");
        return watch(&Watching { context, json: submit.client.json }, &api, &id);
    }
    to_stdout(&if submit.client.json { format!("{view}\n") } else { format!("{id}\n") });
    Ok(())
}

/// The job that the options ask for.
fn asked(submit: &Submit, api: &Api) -> Result<Value, Error> {
    let (Some(input), Some(output)) = (&submit.input, &submit.output) else {
        return Err(Error::Config {
            what: "submit".to_owned(),
            reason: "an input and --output are needed, or a job as JSON with --job".to_owned(),
        });
    };
    let input = if submit.upload { api.upload(input)? } else { input.clone() };
    let rung = |rung: &transcode_core::spec::Rendition| {
        let mut object = json!({ "name": rung.name, "video": rung.video, "audio": rung.audio });
        if let Some(height) = rung.height {
            object["height"] = json!(height);
        }
        object
    };
    let mut job = json!({
        "version": 1, "sources": [input], "destination": output, "profile": submit.profile,
        "priority": submit.priority, "mp4": if submit.mp4 { "all" } else { "none" },
    });
    if !submit.rung.is_empty() {
        job["ladder"] = submit.rung.iter().map(rung).collect();
    }
    if let Some(id) = &submit.id {
        job["id"] = json!(id);
    }
    if let Some(url) = &submit.webhook {
        job["webhook"] = json!({ "url": url });
    }
    Ok(job)
}

/// List jobs.
pub(super) fn jobs(jobs: &Jobs) -> Result<(), Error> {
    let api = Api::new(&jobs.client)?;
    let mut query = vec![("limit", jobs.limit.to_string())];
    query.extend(jobs.state.iter().map(|state| ("state", state.clone())));
    let list = api.get("/api/v1/jobs", &query)?;
    to_stdout(&if jobs.client.json { format!("{list}\n") } else { show::jobs(&list) });
    Ok(())
}

/// Show a job, once or until it is over.
pub(super) fn job(context: &Context, client: &Client, id: &str, watching: bool) -> Result<(), Error> {
    let api = Api::new(client)?;
    if watching {
        return watch(&Watching { context, json: client.json }, &api, id);
    }
    let view = api.get(&path(id, ""), &[])?;
    to_stdout(&if client.json { format!("{view}\n") } else { show::job(&view) });
    Ok(())
}

/// Cancel it, or try it again.
pub(super) fn change(client: &Client, id: &str, what: &str) -> Result<(), Error> {
    let view = Api::new(client)?.post(&path(id, what), &Value::Null)?;
    to_stdout(&if client.json { format!("{view}\n") } else { format!("{id}: {}\n", show::state(&view)) });
    Ok(())
}

/// Show what waits, and who works.
pub(super) fn queue(client: &Client) -> Result<(), Error> {
    let api = Api::new(client)?;
    let (queue, workers) = (api.get("/api/v1/queue", &[])?, api.get("/api/v1/workers", &[])?);
    let both = json!({ "queue": queue, "workers": workers["workers"] });
    to_stdout(&if client.json { format!("{both}\n") } else { show::queue(&both) });
    Ok(())
}

/// Look at dead letters, or put one into the queue again.
pub(super) fn dead(client: &Client, command: &DeadCommand) -> Result<(), Error> {
    let api = Api::new(client)?;
    let text = match command {
        DeadCommand::List => {
            let list = api.get("/api/v1/dead", &[])?;
            if client.json { format!("{list}\n") } else { show::dead(&list) }
        }
        DeadCommand::Show { number } => {
            let letter = api.get(&format!("/api/v1/dead/{number}"), &[])?;
            if client.json { format!("{letter}\n") } else { show::letter(&letter) }
        }
        DeadCommand::Requeue { number } => {
            let letter = api.post(&format!("/api/v1/dead/{number}/requeue"), &Value::Null)?;
            if client.json {
                format!("{letter}\n")
            } else {
                format!("dead letter {number} is in its line again\n")
            }
        }
    };
    to_stdout(&text);
    Ok(())
}

fn path(id: &str, what: &str) -> String {
    let id: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
    let what = if what.is_empty() { String::new() } else { format!("/{what}") };
    format!("/api/v1/jobs/{}{what}", id.replace('+', "%20"))
}

/// Show how a job gets on until it is over; its failure is this command's.
fn watch(watching: &Watching<'_>, api: &Api, id: &str) -> Result<(), Error> {
    let bar = show::Bar::new(watching.json, watching.context.quiet);
    let mut last = Value::Null;
    loop {
        let view = api.get(&path(id, ""), &[])?;
        if view != last {
            bar.show(&view);
        }
        match view["state"].as_str().unwrap_or_default() {
            "complete" => {
                bar.end();
                if !watching.json {
                    to_stdout(&show::job(&view));
                }
                return Ok(());
            }
            "failed" | "dead" | "cancelled" => {
                bar.end();
                return Err(failure(&view));
            }
            _ => {}
        }
        last = view;
        if watching.context.cancel.sleep(LOOK) {
            bar.end();
            log::info!("job {id} goes on; `transcode cancel {id}` stops it");
            return Err(Error::Interrupted);
        }
    }
}

/// A job's failure as an error of this command, with the exit code of its kind.
fn failure(view: &Value) -> Error {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (id, reason) = (text(&view["id"]), text(&view["error"]));
    let reason = format!("{}: {reason}", show::state(view));
    let cause = view["failures"].as_array().and_then(|all| all.last()).map(|last| text(&last["cause"]));
    match cause.as_deref() {
        Some("input") => Error::Input { uri: format!("job {id}"), reason },
        Some("store") => SinkError::Refused { location: format!("job {id}"), reason }.into(),
        Some("usage") | None => Error::Config { what: format!("job {id}"), reason },
        _ => Error::Platform { platform: format!("of job {id}"), reason },
    }
}
