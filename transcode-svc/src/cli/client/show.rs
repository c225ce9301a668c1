//! The API's answers as people read them.

use crate::cli::output::{all_bars, to_stdout};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::cell::Cell;
use std::io::IsTerminal as _;

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// `processing, 42 %, 2.10× realtime, 1:05 to go`.
pub(super) fn state(view: &Value) -> String {
    let progress = &view["progress"];
    let mut line = text(&view["state"]).to_owned();
    if matches!(line.as_str(), "processing" | "committing") {
        line.push_str(&format!(", {} %", progress["percent"]));
        if let Some(speed) = progress["speed"].as_f64() {
            line.push_str(&format!(", {speed:.2}× realtime"));
        }
        if let Some(seconds) = progress["seconds_to_go"].as_f64().filter(|seconds| *seconds > 0.0) {
            line.push_str(&format!(", {} to go", crate::cli::output::clock(seconds)));
        }
    }
    line
}

/// A line a job.
pub(super) fn jobs(list: &Value) -> String {
    let rows: Vec<[String; 5]> = list["jobs"].as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        return "no jobs\n".to_owned();
    }
    let mut text = table(&["job", "state", "created", "worker", "source"], &rows);
    if list["cursor"].is_string() {
        text.push_str("there are more: --limit, --state\n");
    }
    text
}

fn row(view: &Value) -> [String; 5] {
    let source = text(&view["sources"][0]);
    let created = text(&view["created"]).get(..19).unwrap_or_default().replace('T', " ");
    [text(&view["id"]).to_owned(), state(view), created, text(&view["worker"]).to_owned(), source.to_owned()]
}

fn table<const N: usize>(head: &[&str; N], rows: &[[String; N]]) -> String {
    let wide =
        |at: usize| rows.iter().map(|row| row[at].chars().count()).chain([head[at].len()]).max().unwrap_or(0);
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().enumerate().map(|(at, cell)| format!("{cell:<width$}", width = wide(at)));
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    let body = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(line(head.to_vec())).chain(body).collect()
}

/// All that is known of a job.
pub(super) fn job(view: &Value) -> String {
    let mut text_of = format!("{}: {}\n", text(&view["id"]), state(view));
    let mut add = |name: &str, value: &str| {
        if !value.is_empty() {
            text_of.push_str(&format!("  {name:<12} {value}\n"));
        }
    };
    for source in view["sources"].as_array().into_iter().flatten() {
        add("source", text(source));
    }
    add("destination", text(&view["destination"]));
    add("profile", text(&view["profile"]));
    add("created", text(&view["created"]));
    add("worker", text(&view["worker"]));
    add("platform", text(&view["progress"]["platform"]));
    for rung in view["progress"]["rungs"].as_array().into_iter().flatten() {
        let of = rung["segments"].as_u64().map(|all| format!("/{all}")).unwrap_or_default();
        add(text(&rung["rung"]), &format!("{}{of} segments playable", rung["playable"]));
    }
    for failure in view["failures"].as_array().into_iter().flatten() {
        add(
            "went wrong",
            &format!(
                "{}, {}: {}",
                text(&failure["worker"]),
                text(&failure["cause"]),
                text(&failure["reason"])
            ),
        );
    }
    add("error", text(&view["error"]));
    for output in view["outputs"].as_array().into_iter().flatten() {
        add(text(&output["profile"]), text(&output["key"]));
    }
    add("watch", text(&view["play"]["page"]));
    text_of
}

/// What waits, and who works.
pub(super) fn queue(both: &Value) -> String {
    let (queue, waiting) = (&both["queue"], &both["queue"]["waiting"]);
    let mut text_of = format!(
        "waiting {} (high {}, normal {}, low {}), in work {}, later {}, dead letters {}\n",
        waiting["total"],
        waiting["high"],
        waiting["normal"],
        waiting["low"],
        queue["held"],
        queue["delayed"],
        queue["dead"]
    );
    if let Some(seconds) = queue["oldest_seconds"].as_f64() {
        text_of.push_str(&format!("the oldest waits for {}\n", crate::cli::output::clock(seconds)));
    }
    let rows: Vec<[String; 4]> = both["workers"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|worker| ["name", "state", "platform", "job"].map(|field| text(&worker[field]).to_owned()))
        .collect();
    text_of.push_str(&if rows.is_empty() {
        "no workers\n".to_owned()
    } else {
        table(&["worker", "state", "platform", "job"], &rows)
    });
    text_of
}

/// A line a dead letter.
pub(super) fn dead(list: &Value) -> String {
    let rows: Vec<[String; 4]> = list["dead"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|letter| {
            let reason: String = text(&letter["reason"]).chars().take(100).collect();
            [
                letter["number"].to_string(),
                text(&letter["at"]).to_owned(),
                text(&letter["job"]).to_owned(),
                reason,
            ]
        })
        .collect();
    if rows.is_empty() {
        "no dead letters\n".to_owned()
    } else {
        table(&["number", "at", "job", "reason"], &rows)
    }
}

/// One of them, whole.
pub(super) fn letter(letter: &Value) -> String {
    format!(
        "dead letter {} of {}, line {}\n  reason  {}\n  body    {}\n",
        letter["number"],
        text(&letter["at"]),
        text(&letter["priority"]),
        text(&letter["reason"]),
        text(&letter["body"])
    )
}

/// How a job that is watched shows itself.
pub(super) struct Bar {
    json: bool,
    bar: Option<ProgressBar>,
    /// The last ten per cent that were told.
    told: Cell<u64>,
}

impl Bar {
    pub(super) fn new(json: bool, quiet: bool) -> Self {
        let bar = (!json && !quiet && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{prefix} [{bar:40.cyan/blue}] {msg}");
            all_bars()
                .add(ProgressBar::new(100).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
        });
        Self { json, bar, told: Cell::new(u64::MAX) }
    }

    pub(super) fn show(&self, view: &Value) {
        if self.json {
            return to_stdout(&format!("{view}\n"));
        }
        let percent = view["progress"]["percent"].as_u64().unwrap_or(0);
        if let Some(bar) = &self.bar {
            bar.set_prefix(text(&view["id"]).to_owned());
            bar.set_position(percent);
            bar.set_message(state(view));
        } else if self.told.replace(percent / 10) != percent / 10 {
            log::info!("{}: {}", text(&view["id"]), state(view));
        }
    }

    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
